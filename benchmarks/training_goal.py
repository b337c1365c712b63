"""How long training takes to reach an accuracy: whole runs of the trainer and of the yardsticks from the same weights."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.plain_run import RUNS
from benchmarks.yardstick import CannotCompile
from fastrcaps_dse import data
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.problem.space import DesignPoint, parse_design
from fastrcaps_dse.trainer import Training


def seconds_to(
    accuracy: float,
    form: str,
    point: DesignPoint,
    dataset: DataSet,
    device: torch.device,
    *,
    epochs: int,
    end: float = math.inf,
) -> dict[str, Any]:
    """Train a run of so many epochs until the test accuracy, in percent, is reached at the end of one.

    `form` is a yardstick or a precision of the trainer; `end` is the moment of time.monotonic() after which no epoch begins.
    Returns the training seconds (None if it is never reached), those of warm-up, the epochs taken and the accuracy after each.
    """
    precision: Any = "float32" if form in RUNS else form
    kind = RUNS.get(form, Training)
    run = kind(point, 0, dataset, epochs=epochs, protocol="paper", device=device, precision=precision)
    trained = warm_up = 0.0
    accuracies: list[float] = []
    try:
        while run.done < epochs and time.monotonic() < end and (not accuracies or accuracies[-1] < accuracy):
            epoch = run.run_epoch()
            trained, warm_up = trained + epoch.train_seconds, warm_up + epoch.warm_up_seconds
            accuracies.append(round(epoch.acc, 3))
    except CannotCompile as error:
        return {"form": form, "skipped": str(error)}
    reached = bool(accuracies) and accuracies[-1] >= accuracy
    return {
        "form": form,
        "design": point.label,
        "dataset": dataset.name,
        "accuracy": accuracy,
        "seconds": round(trained, 3) if reached else None,
        "trained_seconds": round(trained, 3),
        "warm_up_seconds": round(warm_up, 3),
        "epochs": len(accuracies),
        "accuracies": accuracies,
    }


def load_goal(dataset: str, design: str, data_dir: Path | None) -> tuple[DesignPoint, DataSet]:
    """The design of a text, and the images. Raises UserErrors."""
    return parse_design(design), data.load(dataset, data_dir, download=False)
