"""Memory that does not suffice: how it is recognized, and what is done so that the next run has it."""

from __future__ import annotations

import ctypes
import errno
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from fastrcaps_dse import cores
from fastrcaps_dse.errors import TooLittleMemory, UserError

SAID = (
    "not enough memory",  # torch on Windows, and of shared memory
    "can't allocate memory",  # torch on Linux: DefaultCPUAllocator
    "cannot allocate memory",  # the C library
    "out of memory",  # CUDA, MPS
    "bad_alloc",
    "bad allocation",
    "alloc_failed",  # of cuBLAS and cuDNN: CUBLAS_STATUS_ALLOC_FAILED
    "invalid buffer size",  # MPS
)
"""What errors say that have no type of their own."""


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is a lack of memory: of the device, of this process or of its container."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, (MemoryError, torch.OutOfMemoryError, TooLittleMemory)):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, RuntimeError) and any(text in str(error).lower() for text in SAID):
            return True
        error = error.__cause__ or error.__context__
    return False


def translate_device_errors(error: BaseException) -> UserError | None:
    """The error of the device as one that says how to fix it, or None for an error that is not recognized."""
    if isinstance(error, UserError):
        return error
    return _too_little() if lacks_memory(error) else None


def _too_little() -> TooLittleMemory:
    return TooLittleMemory("the device has too little memory for this batch size", "use smaller batch sizes or --device cpu")


@contextmanager
def clear_device_errors() -> Iterator[None]:
    """A context, or a decorator, whose errors of the device are UserErrors that say how to fix them, if they are recognized.

    What was allocated within is free again once the error is handled.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        if not lacks_memory(error):
            raise
        _forget_frames(error)
        raise _too_little() from None  # in no variable of this frame, which the error refers to


def _forget_frames(error: BaseException | None) -> None:
    """Let go of what the frames of an error hold: it lives as long as the error that it is translated to."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def free_memory() -> None:
    """Give back what nothing refers to any more, to the device and to the system. Call it outside of `except`."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def room(device: torch.device) -> int:
    """Bytes that a run on this device may take; without a bound where nothing tells."""
    if device.type == "cpu":
        free_memory()
        return cores.available_memory()
    if device.type == "cuda":
        free_memory()
        return int(torch.cuda.mem_get_info(device)[0])
    return sys.maxsize
