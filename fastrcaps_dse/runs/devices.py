"""Device assignment: how many workers an exploration has, and which device each of them uses."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from fastrcaps_dse import trainer
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.runs.cost_model import CostModel

if TYPE_CHECKING:
    import torch

OCCUPANCY_DESIGNS = 5  # designs that are timed to see how busy they keep a GPU
MOST_ON_A_DEVICE = 4  # workers


def check_workers(workers: int | None, device: torch.device, spec: StudySpec) -> None:
    """Raises InputError where workers would share a device while the clock tells the time objective."""
    devices = len(trainer.all_like(device))
    if workers is not None and workers > devices and spec.time == "measured":
        raise InputError(
            f"{workers} workers on {counted(devices, 'device')} distort the time that the clock measures",
            f"use --time steps, or --workers {devices}",
        )


def assign_devices(workers: int | None, cost_model: CostModel) -> list[str]:
    """The device of each worker; None for as many workers as the GPUs have use for, or one without a GPU."""
    device, spec = cost_model.context.device, cost_model.context.spec
    devices = trainer.all_like(device)
    if workers is None:
        shared = device.type == "cuda" and spec.time == "steps"
        workers = len(devices) * (_fitting_here(cost_model) if shared else 1)
    return [str(devices[index % len(devices)]) for index in range(workers)]


def _fitting_here(cost_model: CostModel) -> int:
    """How many runs fill one GPU, judged by the first designs of the study."""
    device, spec = cost_model.context.device, cost_model.context.spec
    designs = [*spec.first_designs, *spec.space.examples()][:OCCUPANCY_DESIGNS]
    return fitting(statistics.median(cost_model.occupancy(point) for point in designs), *trainer.memory_of(device))


def fitting(occupancy: float, run_bytes: int, free_bytes: int, most: int = MOST_ON_A_DEVICE) -> int:
    """How many runs fill a device, if a step of each keeps it busy for this share of its time."""
    by_time = math.floor(1 / max(occupancy, 1e-9))
    by_memory = free_bytes // max(1, run_bytes)
    return max(1, min(by_time, by_memory, most))
