"""What a record says of a graphics card: its name, memory, driver and clocks. What a machine does not tell is None."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import torch

FIELDS = {
    "driver": "driver_version",
    "clock_mhz": "clocks.sm",
    "highest_clock_mhz": "clocks.max.sm",
    "memory_clock_mhz": "clocks.mem",
    "power_limit_w": "power.limit",
}


def card(device: torch.device) -> dict[str, Any]:
    """Name, memory in GB, compute capability, driver and clocks in MHz of a CUDA device; an empty dict for another one."""
    if device.type != "cuda":
        return {}
    properties = torch.cuda.get_device_properties(device)
    found: dict[str, Any] = {
        "card": properties.name,
        "memory_gb": round(properties.total_memory / 1e9, 1),
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
    }
    told = _told_by_driver(str(getattr(properties, "uuid", "")))
    if told["clock_mhz"] is None:
        told["clock_mhz"] = _clock_of_torch(device)
    return found | told


def _told_by_driver(uuid: str) -> dict[str, Any]:
    """What nvidia-smi says of the card with this identity."""
    nothing = dict.fromkeys(FIELDS)
    program = shutil.which("nvidia-smi")
    if program is None or not uuid:
        return nothing
    command = [program, f"--id=GPU-{uuid}", f"--query-gpu={','.join(FIELDS.values())}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return nothing
    return parse_answer(said)


def parse_answer(said: str) -> dict[str, Any]:
    """The fields of a line of nvidia-smi; numbers as numbers, and None for what the card does not tell."""
    values = [value.strip() for value in (said.splitlines() or [""])[0].split(",")]
    if len(values) != len(FIELDS):
        return dict.fromkeys(FIELDS)
    return dict(zip(FIELDS, map(_value, values), strict=True))


def _value(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        return text if text and text[0].isdigit() else None  # a driver's version has two points; "[N/A]" is no value


def _clock_of_torch(device: torch.device) -> float | None:
    try:
        return float(torch.cuda.clock_rate(device))
    except (ModuleNotFoundError, RuntimeError, AttributeError):  # it needs a library that torch does not bring
        return None
