"""Several processes on one device: they train beside each other, and each measures alone.

The host has two locks for each device. Processes that train hold `device` together; a process that measures holds it alone.
A process takes `gate` before it takes `device`, so that those that train cannot keep out one that wants to measure. A process
that dies gives its locks back.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch

from fastrcaps_dse.trainer.threads import measuring

try:
    import fcntl

    HAS_LOCKS = True
except ImportError:  # not on this system: processes do not wait for each other
    HAS_LOCKS = False

PATIENCE = 900.0  # s to wait for a process, which may be suspended, before measuring beside it


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
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.01)
        yield


def _identity(device: torch.device) -> str:
    """A name of a device that is the same in all processes, whatever number each gives to it."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else device.type
