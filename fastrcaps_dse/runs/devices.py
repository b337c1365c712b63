"""Device assignment: how many workers an exploration has, and which device each of them uses."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastrcaps_dse import cores, trainer
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.runs.cost_model import CostModel
from fastrcaps_dse.runs.memory_guard import PROCESS_BYTES

if TYPE_CHECKING:
    import torch

FIRST_DESIGNS = 5  # designs that tell how many workers a device has use for
MOST_ON_A_DEVICE = 4  # workers


def check_workers(workers: int | None, device: torch.device, spec: StudySpec) -> None:
    """Raises InputError where workers would share a device while the clock tells the time objective."""
    devices = len(trainer.all_like(device))
    if workers is not None and workers > devices and spec.time == "measured":
        raise InputError(
            f"{workers} workers on {counted(devices, 'device')} distort the time that the clock measures",
            f"use --time steps, or --workers {devices}",
        )


def assign_devices(workers: int | None, cost_model: CostModel, trials: int | None = None) -> list[str]:
    """The device of each worker; None for as many workers as the GPUs have use for, or as fill the cores of a processor.

    `trials` is how many designs are asked for; by default the study's number.
    """
    here = cost_model.context
    devices = trainer.all_like(here.device)
    if workers is None:
        workers = len(devices)
        if here.spec.time == "steps" and here.device.type == "cuda":
            workers *= _fitting_here(cost_model)
        if here.spec.time == "steps" and here.device.type == "cpu":
            designs = [*here.spec.first_designs, *here.spec.space.examples()]
            needs = [cost_model.memory.bytes_of(point) for point in designs]
            workers = workers_of_processor(needs, trials or here.spec.trials)
    return [str(devices[index % len(devices)]) for index in range(workers)]


def workers_of_processor(needs: Sequence[int], trials: int) -> int:
    """How many workers fill the cores of this machine; `needs` are the bytes of the runs of some designs, without their processes."""
    free = cores.available_memory()
    fitting_alone = [PROCESS_BYTES + need for need in needs if PROCESS_BYTES + need <= free]  # others are ruled out
    return filling(trainer.all_threads(), free, max(fitting_alone, default=max(1, free)), trials)


def _fitting_here(cost_model: CostModel) -> int:
    """How many runs fill one GPU, judged by the first designs of the study."""
    device, spec = cost_model.context.device, cost_model.context.spec
    return fitting(statistics.median(cost_model.occupancy(p) for p in _first_designs(spec)), *trainer.memory_of(device))


def _first_designs(spec: StudySpec) -> list[DesignPoint]:
    """Some designs of a study, those to try first before others."""
    return [*spec.first_designs, *spec.space.examples()][:FIRST_DESIGNS]


def filling(threads: int, free_bytes: int, run_bytes: int, trials: int) -> int:
    """How many runs fill a processor: one for each thread, which is worth more than a second thread for a run.

    There are no more than fit into the memory, of which each needs `run_bytes`, and no more than there are trials.
    """
    return max(1, min(threads, free_bytes // run_bytes, trials))


def fitting(occupancy: float, run_bytes: int, free_bytes: int, most: int = MOST_ON_A_DEVICE) -> int:
    """How many runs fill a device, if a step of each keeps it busy for this share of its time."""
    by_time = math.floor(1 / max(occupancy, 1e-9))
    by_memory = free_bytes // max(1, run_bytes)
    return max(1, min(by_time, by_memory, most))
