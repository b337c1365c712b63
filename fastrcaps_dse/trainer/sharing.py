"""One device, several processes: they train beside each other, and each measures alone.

Two locks of the host for each device: a process that trains holds `device` with others, one that measures holds it alone. Whoever
wants `device` passes through `gate` first, so that those who train do not keep out one who measures. A process that dies
gives its locks back.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch

try:
    import fcntl

    HAS_LOCKS = True
except ImportError:  # processes know nothing of each other
    HAS_LOCKS = False

PATIENCE = 900.0  # s to wait for a process that was put to sleep, before a measurement is made beside it
_threads: list[int] = []  # of the processor, before this process took its share


def all_threads() -> int:
    """The threads that a process has which trains alone."""
    return _threads[0] if _threads else torch.get_num_threads()


def take_share(workers: int) -> None:
    """Train with this process's part of the processor's threads from now on, one of `workers`."""
    if not _threads:
        _threads.append(torch.get_num_threads())
    torch.set_num_threads(max(1, _threads[0] // workers))


@contextmanager
def beside_others(device: torch.device) -> Iterator[None]:
    """Train on a device; wait first while another process measures there."""
    with ExitStack() as held:
        with _locked(device, "gate", alone=True):
            held.enter_context(_locked(device, "device", alone=False))
        yield


@contextmanager
def alone(device: torch.device) -> Iterator[None]:
    """Measure on a device, with all threads, while no other process trains there."""
    own = torch.get_num_threads()
    with _locked(device, "gate", alone=True), _locked(device, "device", alone=True):
        torch.set_num_threads(all_threads())
        try:
            yield
        finally:
            torch.set_num_threads(own)


@contextmanager
def _locked(device: torch.device, kind: str, *, alone: bool) -> Iterator[None]:
    """Hold a lock of the host; where it cannot be had in time, or files cannot be locked there, go on without."""
    if not HAS_LOCKS:
        yield
        return
    with ExitStack() as stack:
        with suppress(OSError):
            folder = Path(tempfile.gettempdir()) / f"fastrcaps-dse-{os.getuid()}"
            folder.mkdir(mode=0o700, exist_ok=True)
            file = stack.enter_context((folder / f"{_identity(device)}.{kind}").open("a"))
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.01)
        yield


def _identity(device: torch.device) -> str:
    """A device by what does not change with the numbers that a process gives its devices."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else device.type
