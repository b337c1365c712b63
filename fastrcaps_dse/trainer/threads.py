"""The number of threads on a CPU: a process trains with its share of the cores, and with fewer while other programs compute.

Half or a quarter of the threads give the same bits as all of them (`cores.REPEATABLE`), so a run is repeatable whatever the load. Other
parts can split a row of an operation between two threads, which changes the last digit; so the number is only ever halved.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from fastrcaps_dse import cores

LOOK_SECONDS = 0.25  # from one look at the load to the next; the system counts in hundredths
HYSTERESIS = 0.6  # cores by which the free ones must differ from the threads before their number changes


@dataclass(kw_only=True)
class _State:
    """What torch's own setting does not tell."""

    share: int = 1  # 1 / the part of all threads that this process has
    all: int | None = None  # before this module changed the number
    chosen: int | None = None  # what this module set last
    follows: bool = True  # the load
    looked: float = 0.0  # s on the clock
    usage: cores.Usage | None = None


_state = _State()


def all_threads() -> int:
    """The number of threads of a process that trains alone: as set by the person, else one for each core that it may use."""
    now = torch.get_num_threads()
    if now != _state.chosen:  # set by somebody else, since
        untouched = now == len(cores.own_processors()) and not cores.threads_are_set()
        _state.all = min(now, cores.available_cores()) if untouched else now
        _state.chosen = now
    assert _state.all is not None
    return _state.all


def take_share(workers: int) -> None:
    """From now on, train with the share of the threads that one of so many workers has; at least one thread."""
    all_threads()
    _state.share = workers
    _set(own_threads())


@contextmanager
def with_share_of(workers: int) -> Iterator[None]:
    """A context in which this process trains with the share of one of so many workers, whatever the load is."""
    before, followed = _state.share, _state.follows
    _state.follows = False
    take_share(workers)
    try:
        yield
    finally:
        _state.follows = followed
        take_share(before)


def own_threads() -> int:
    """The most threads with which this process trains: its share of all."""
    return max(1, all_threads() // _state.share)


def _set(threads: int) -> None:
    all_threads()
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    _state.chosen = threads


@contextmanager
def measuring() -> Iterator[None]:
    """A context with all threads, whatever the load is."""
    before, followed = torch.get_num_threads(), _state.follows
    _set(all_threads())
    _state.follows = False
    try:
        yield
    finally:
        _state.follows = followed
        _set(before)


def follow_load(device: torch.device) -> None:
    """Choose the number of threads for the next step, by how busy other programs keep the cores.

    A thread that waits for a core keeps all others waiting. Nothing changes on a GPU, and where a person has set the number.
    """
    if device.type != "cpu" or not _state.follows or cores.threads_are_set():
        return
    most = own_threads()
    if most == 1:
        _set(1)
        return
    now = time.monotonic()
    if now - _state.looked < LOOK_SECONDS:
        return
    before, _state.usage = _state.usage, cores.usage()
    elapsed, _state.looked = now - _state.looked, now
    if before is None or _state.usage is None or elapsed > 40 * LOOK_SECONDS:
        _set(most)
        return
    others = (_state.usage.all_busy - before.all_busy - (_state.usage.own - before.own)) / elapsed
    _set(threads_beside(others, len(cores.own_processors()), torch.get_num_threads(), most))


def threads_beside(others: float, processors: int, threads: int, most: int) -> int:
    """How many threads to use beside programs that keep `others` of the `processors` busy: `most`, or half of it, or a quarter, ...

    `threads` are in use now.
    """
    free = processors - others
    wanted = threads if abs(free - threads) <= HYSTERESIS else round(free)
    while most > max(1, wanted):
        most //= 2
    return most
