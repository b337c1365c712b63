"""What the page shows of a design over the epochs: accuracies as they were measured, learning rate and batch size as planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastrcaps_dse.figures.plots import batch_curve, rate_curve
from fastrcaps_dse.store import EpochRow, RunRow, StudyRow, TrialRow


def curves_content(study: StudyRow, trial: TrialRow, epochs_of: Mapping[int, Sequence[EpochRow]]) -> dict[str, Any]:
    """The curves of a design.

    `runs` has its runs, each with the accuracy (%) of its epochs; a run without an epoch is left out. `rate` and `batch` have the learning
    rate and the batch size (images) over the whole run as [epochs, values], whatever was trained of it. `epochs_of` maps run ids to epochs.
    """
    plan = {"name": "", "epochs": study.identity["epochs"], "images": study.train_images}
    scaled = study.identity.get("scale_decay", False)
    rate, batch = rate_curve(trial.design, **plan, scale_decay=scaled), batch_curve(trial.design, **plan)
    return {
        "runs": [_run(run, epochs_of[run.run_id]) for run in trial.runs if epochs_of.get(run.run_id)],
        "rate": [[round(x, 4) for x in rate.x], [float(f"{y:.5g}") for y in rate.y]],
        "batch": [list(batch.x), list(batch.y)],
    }


def _run(run: RunRow, epochs: Sequence[EpochRow]) -> dict[str, Any]:
    return {"seed": run.seed, "acc": [round(epoch.acc, 3) for epoch in epochs]}


def shared_plans(curves: Mapping[int, Mapping[str, Any]]) -> tuple[dict[int, dict[str, Any]], list[Any]]:
    """The curves by trial with numbers in place of their plans (`rate`, `batch`), and the list of plans that the numbers count from 0.

    Many designs of a study have equal plans, and a file holds each once.
    """
    plans: list[Any] = []
    numbers: dict[str, int] = {}

    def number(plan: Any) -> int:
        key = repr(plan)
        if key not in numbers:
            numbers[key] = len(plans)
            plans.append(plan)
        return numbers[key]

    packed = {
        trial: {**found, "rate": number(found["rate"]), "batch": number(found["batch"])} for trial, found in curves.items()
    }
    return packed, plans
