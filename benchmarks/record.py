"""What every record says: when, where, with what and by which command it was measured."""

from __future__ import annotations

import datetime
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fastrcaps_dse import trainer
from fastrcaps_dse.trainer.device import cpu_name

PLACE = Path(__file__).parent.parent / "reports" / "benchmarks"


def machine(device: torch.device) -> dict[str, Any]:
    """The hardware and software in words."""
    able = torch.cpu.get_capabilities()
    return {
        "processor": cpu_name(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "matrix_units": bool(able.get("amx_bf16")),
        "avx512": bool(able.get("avx512_f")),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "device": trainer.device_name(device),
        "software": trainer.software(),
    }


def commit() -> str:
    """The commit that is checked out, with "+" if files differ from it; empty where there is no repository."""
    said = subprocess.run(
        ["git", "describe", "--always", "--exclude=*", "--dirty=+"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip()


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Median, smallest and largest of n values."""
    shown = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.{digits}g}") for name, value in shown.items()} | {"n": len(values)}


def write(name: str, module: str, device: torch.device, found: dict[str, Any]) -> Path:
    """The record as JSON in reports/benchmarks/."""
    head = {
        "command": " ".join(["python", "-m", module, *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine(device),
    }
    PLACE.mkdir(parents=True, exist_ok=True)
    path = PLACE / f"{name}.json"
    path.write_text(json.dumps(head | found, indent=1) + "\n", encoding="utf-8")
    return path
