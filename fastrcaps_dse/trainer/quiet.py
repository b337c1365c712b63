"""Whether other programs compute while this process measures, and waiting until they do not.

Threads that wait for a core keep all others waiting: beside one busy program, a step on all cores takes up to three times as long, and
evenly so. The spread of the timings does not tell; what the system says of its cores does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from fastrcaps_dse import cores

BUSY = 0.2  # cores that other programs keep busy, from which a measurement is too long
LOOK_SECONDS = 0.3  # of the shortest look; the system counts in hundredths
PATIENCE = 10.0  # s to wait for the others
GIVE_UP_SECONDS = 120.0  # after waiting in vain, in which nobody waits again


@dataclass(kw_only=True)
class Load:
    """How busy others were."""

    others: float = 0.0  # cores for which they compete with this process; 0 where nothing is known


@dataclass(kw_only=True)
class _State:
    """When waiting was in vain."""

    gave_up: float | None = None  # s on the clock


_state = _State()


@contextmanager
def watching(device: torch.device) -> Iterator[Load]:
    """A context that tells, at its end, how many cores other programs kept busy. On a GPU, and in too short a time, it tells nothing."""
    load = Load()
    before, start = cores.usage(low_priority=True), time.monotonic()
    yield load
    after, elapsed = cores.usage(low_priority=True), time.monotonic() - start
    if device.type == "cpu" and before is not None and after is not None and elapsed >= LOOK_SECONDS:
        load.others = competing(before, after, elapsed, len(cores.own_processors()), torch.get_num_threads())


def competing(before: cores.Usage, after: cores.Usage, elapsed: float, processors: int, threads: int) -> float:
    """The cores that others kept busy in `elapsed` seconds, beyond those for which this process has no thread."""
    others = (after.all_busy - before.all_busy - (after.own - before.own)) / elapsed
    return max(0.0, others - max(0, processors - threads))


def wait_for_quiet(device: torch.device) -> bool:
    """Wait until other programs rest; False if they do not in time, or did not a moment ago."""
    now = time.monotonic()
    if _state.gave_up is not None and now - _state.gave_up < GIVE_UP_SECONDS:
        return False
    while time.monotonic() - now < PATIENCE:
        with watching(device) as load:
            time.sleep(LOOK_SECONDS * 1.1)
        if load.others <= BUSY:
            return True
    _state.gave_up = time.monotonic()
    return False
