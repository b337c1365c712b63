"""The device and its precision: how they are chosen, and what records call them."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

import torch

from fastrcaps_dse import __version__
from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.trainer.threads import all_threads

CONTEXT_BYTES = 700 * 10**6  # allowance for what each process keeps on a GPU beside its tensors


def choose_device(name: str | None = None) -> torch.device:
    """The device of this name; for None or "auto" the first available one of CUDA, MPS and CPU.

    Raises InputError for a device that is not available.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name in (None, "auto"):
        return torch.device(next(kind for kind, there in available.items() if there))
    try:
        device = torch.device(str(name))
    except RuntimeError:
        device = None
    if device is None or not available.get(device.type, False):
        there = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise InputError(f"there is no device {name!r} here", f"this machine has: {there}")
    return device


def all_like(device: torch.device) -> list[torch.device]:
    """The devices that a choice stands for: all GPUs for "cuda" without a number, else the device itself."""
    if device.type != "cuda" or ":" in str(device):
        return [device]
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]


def memory_of(device: torch.device) -> tuple[int, int]:
    """The (most bytes that this process has used, bytes that are free) on a GPU."""
    return torch.cuda.max_memory_reserved(device) + CONTEXT_BYTES, torch.cuda.mem_get_info(device)[0]


def choose_precision(device: torch.device, name: str | None = None) -> Precision:
    """The precision of this name; for None or "auto" bfloat16 on devices with matrix units for it, else float32.

    Such devices are recent GPUs and processors with AMX. Raises InputError for an unknown name.
    """
    if name in ("float32", "bfloat16"):
        return "float32" if name == "float32" else "bfloat16"
    if name not in (None, "auto"):
        raise InputError(f"unknown precision {name!r}", "known: auto, float32, bfloat16")
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float32"
    has_units = device.type == "cpu" and torch.cpu.get_capabilities().get("amx_bf16", False)
    return "bfloat16" if has_units else "float32"


@cache
def keep_memory() -> bool:
    """Let glibc's malloc keep freed memory for the next step, which saves the page faults of large tensors.

    Returns whether malloc could be told so.
    """
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, 2**31 - 1))


def device_name(device: torch.device) -> str:
    """The device in words, for records: the GPU, or the processor and its threads."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{cpu_name()}, {all_threads()} threads" if device.type == "cpu" else device.type


def software() -> str:
    """The software of a run in words, for records."""
    return f"fastrcaps-dse {__version__}, torch {torch.__version__}, Python {platform.python_version()}"


def cpu_name() -> str:
    """The processor in words."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as info:
            return next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
