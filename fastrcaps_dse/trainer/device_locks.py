"""Several processes on one device: they train beside each other, and each measures alone.

The host has two locks for each device. Processes that train hold `device` together; a process that measures holds it alone.
A process takes `gate` before it takes `device`, so that those that train cannot keep out one that wants to measure. A process
that dies gives its locks back.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import torch

from fastrcaps_dse.trainer.threads import measuring

try:
    import fcntl

    HAS_LOCKS = True
except ImportError:  # not on this system: processes do not wait for each other
    HAS_LOCKS = False

PATIENCE = 300.0  # s to wait for a process, which may be suspended, before going on beside it
TOLD_AFTER = 3.0  # s of waiting

logger = logging.getLogger(__name__)


@contextmanager
def beside_others(device: torch.device) -> Iterator[None]:
    """A context in which to train on a device. It is entered once no other process measures there."""
    with ExitStack() as held:
        with _locked(device, "gate", alone=True):
            held.enter_context(_locked(device, "device", alone=False))
        yield


@contextmanager
def alone(device: torch.device) -> Iterator[None]:
    """A context in which to measure on a device, with all threads. It is entered once no other process trains there."""
    with _locked(device, "gate", alone=True), _locked(device, "device", alone=True), measuring():
        yield


@contextmanager
def _locked(device: torch.device, kind: str, *, alone: bool) -> Iterator[None]:
    """Hold a lock of the host; without it, if it is not free in time or files cannot be locked there."""
    if not HAS_LOCKS:
        yield
        return
    with ExitStack() as stack:
        with suppress(OSError):
            folder = Path(tempfile.gettempdir()) / f"fastrcaps-dse-{os.getuid()}"
            folder.mkdir(mode=0o700, exist_ok=True)
            file = stack.enter_context((folder / f"{_identity(device)}.{kind}").open("a"))
            _wait(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, device)
        yield


def _wait(file: IO[str], kind: int, device: torch.device) -> None:
    """Try to take a lock until it is free, or for so long as patience lasts. Waiting for another exploration is told."""
    start, is_told = time.monotonic(), False
    while (waited := time.monotonic() - start) < PATIENCE:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.01)
        if waited > TOLD_AFTER and not is_told and _is_held_by_others(os.fstat(file.fileno()).st_ino):
            is_told = True
            logger.warning(
                "waiting for another process that uses %s: step times are measured alone (for %.0f s at most)", device, PATIENCE
            )
    logger.warning(
        "another process has used %s for %.0f s: going on beside it, so step times may be too long", device, PATIENCE
    )


def _is_held_by_others(inode: int) -> bool:
    """Whether a process that is not of this exploration holds the lock of a file; True where that cannot be known."""
    parent = multiprocessing.parent_process()
    root = os.getpid() if parent is None or parent.pid is None else parent.pid  # the process that has the workers
    try:
        lines = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
        holders = [int(words[-4]) for words in lines if "->" not in words and words[-3].endswith(f":{inode}")]
        return any(pid != root and (pid <= 0 or _parent_of(pid) != root) for pid in holders)
    except (OSError, ValueError, IndexError):
        return True


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()[1])


def _identity(device: torch.device) -> str:
    """A name of a device that is the same in all processes, whatever number each gives to it."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else device.type
