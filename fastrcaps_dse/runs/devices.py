"""Where the workers of an exploration train: how many, and each on which device."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from fastrcaps_dse import trainer
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.runs.cost_model import Foresight

if TYPE_CHECKING:
    import torch

OCCUPANCY_DESIGNS = 5


def refuse_distortion(workers: int | None, device: torch.device, spec: StudySpec) -> None:
    """Raises InputError where workers would share a device whose clock is to tell the time objective."""
    devices = len(trainer.all_like(device))
    if workers is not None and workers > devices and spec.time == "measured":
        raise InputError(
            f"{workers} workers on {counted(devices, 'device')} distort the time by the clock",
            f"use --time steps, or --workers {devices}",
        )


def placements(workers: int | None, device: torch.device, spec: StudySpec, foresight: Foresight) -> list[str]:
    """The device of each worker; for None as many as the machine has use for: one without a GPU."""
    devices = trainer.all_like(device)
    if workers is None:
        shared = device.type == "cuda" and spec.time == "steps"
        workers = len(devices) * (_fitting_here(device, spec, foresight) if shared else 1)
    return [str(devices[index % len(devices)]) for index in range(workers)]


def _fitting_here(device: torch.device, spec: StudySpec, foresight: Foresight) -> int:
    """How many runs fill one GPU, as the first designs of the study keep it busy."""
    few = [*spec.first_designs, *spec.space.examples()][:OCCUPANCY_DESIGNS]
    return fitting(statistics.median(foresight.occupancy(point) for point in few), *trainer.memory_of(device))


def fitting(occupancy: float, run_bytes: int, free_bytes: int, most: int = 4) -> int:
    """How many runs fill a device, of each of which a step keeps it busy for this share of its time."""
    by_time = math.floor(1 / max(occupancy, 1e-9))
    by_memory = free_bytes // max(1, run_bytes)
    return max(1, min(by_time, by_memory, most))
