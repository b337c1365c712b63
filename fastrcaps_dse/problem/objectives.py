"""Objectives and measurements: what a design is judged by. The one place where a sign is turned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.problem.quantities import NEVER, ROBUST, TIME_TO, parse_quantity


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One thing to maximize or minimize."""

    name: str
    unit: str
    direction: Literal["maximize", "minimize"]
    title: str

    @property
    def wanted_acc(self) -> float | None:
        """The accuracy (%) of `time_to:ACC`; None of the other objectives."""
        head, _, accuracy = self.name.partition(":")
        return float(accuracy) if head == TIME_TO else None


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(name="acc", unit="%", direction="maximize", title="accuracy"),
        Objective(name="time", unit="s", direction="minimize", title="time to max accuracy"),
        Objective(name="params", unit="parameters", direction="minimize", title="trainable parameters"),
        Objective(name="epochs", unit="epochs", direction="minimize", title="epochs to max accuracy"),
        Objective(name="macs", unit="multiply-adds", direction="minimize", title="multiply-adds to classify an image"),
        Objective(name="memory", unit="MB", direction="minimize", title="memory to classify an image"),
        Objective(name="latency", unit="ms", direction="minimize", title="time to classify an image"),
        Objective(name="robust", unit="%", direction="maximize", title="accuracy on affine copies"),
    )
}
BASIC = ("acc", "time", "params")  # shown of every design


def find_objective(name: str) -> Objective:
    """The objective of a name; `time_to:ACC` is the training time until the accuracy first reaches ACC %. Raises InputError."""
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    head, colon, accuracy = name.partition(":")
    if head == TIME_TO and colon:
        percent = parse_quantity("acc", accuracy)
        return Objective(name=f"{TIME_TO}:{percent:g}", unit="s", direction="minimize", title=f"time to {percent:g} % accuracy")
    raise InputError(f"unknown objective {name!r}", nearest(name, [*OBJECTIVES, f"{TIME_TO}:ACC"]))


def needs_asking(name: str) -> bool:
    """Whether an objective is measured only in a study that has it among its own."""
    return name in ("latency", ROBUST) or name.startswith(f"{TIME_TO}:")


def with_basic(objectives: Sequence[Objective] = ()) -> list[Objective]:
    """What is shown of every design: the basic objectives, then those of the study."""
    return [*(OBJECTIVES[name] for name in BASIC), *(o for o in objectives if o.name not in BASIC)]


ANYTIME_TITLES = {"time": "training time", "epochs": "epochs"}
"""What objectives are called in the anytime view, in which a run may end before its maximum accuracy."""


def titled(objectives: Iterable[Objective], anytime: bool) -> list[Objective]:
    """The objectives with their titles in a view."""
    return [replace(o, title=ANYTIME_TITLES.get(o.name, o.title)) if anytime else o for o in objectives]


def time_to(accuracy: float, accuracies: Sequence[float], seconds: Sequence[float]) -> float:
    """Seconds until a run first reaches an accuracy (%), given those of its epochs and each epoch's seconds; see NEVER."""
    total = 0.0
    for acc, spent in zip(accuracies, seconds, strict=True):
        total += spent
        if acc >= accuracy:
            return total
    return NEVER * (1 + (accuracy - max(accuracies)) / 100)


def selected_epoch(accuracies: Sequence[float], *, last: bool = False) -> int:
    """The first epoch of the highest accuracy, counted from 1; with `last`, the last epoch, which no accuracy selects."""
    if last:
        return len(accuracies)
    return max(range(len(accuracies)), key=lambda k: accuracies[k]) + 1


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a run (one design, one seed) reached, or the mean over the seeds of a design.

    With early pruning a measurement may be censored: `pruned_after` epochs the run ended, and `values` are what it had reached.
    """

    values: Mapping[str, float]  # by objective name, each in the objective's unit
    test_acc: float | None = None  # %, on the test set at the selected epoch
    test_robust: float | None = None  # %, on affine copies of the test images at that epoch, where the study measures that
    selected_epoch: int = 0  # counted from 1; 0 for a mean over seeds
    pruned_after: int | None = None  # epochs
    time_estimated: bool = False  # the values that count seconds are estimates

    def __getitem__(self, objective: str) -> float:
        """The value of an objective by its name. Raises InputError where it was not measured."""
        if objective not in self.values:
            raise not_measured(objective, self.values)
        return self.values[objective]


def not_measured(objective: str, values: Iterable[str]) -> InputError:
    """The error for an objective that the runs of a study have no value of; `values` names those that they have."""
    return InputError(
        f"{objective} was not measured in this study", f"it has {', '.join(values)}; or explore with it, in another study"
    )


def mean_measurement(runs: Sequence[Measurement]) -> Measurement:
    """The mean over the seeds of one design. Raises ValueError for none."""
    if not runs:
        raise ValueError("no runs to take a mean of")
    names = [name for name in runs[0].values if all(name in run.values for run in runs)]
    return Measurement(
        values={name: math.fsum(run.values[name] for run in runs) / len(runs) for name in names},
        test_acc=_mean_of([run.test_acc for run in runs]),
        test_robust=_mean_of([run.test_robust for run in runs]),
        selected_epoch=runs[0].selected_epoch if len(runs) == 1 else 0,
        pruned_after=next((run.pruned_after for run in runs if run.pruned_after is not None), None),
        time_estimated=any(run.time_estimated for run in runs),
    )


def _mean_of(values: Sequence[float | None]) -> float | None:
    """Their mean; None where one is missing."""
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if len(there) == len(values) else None


def parse_objectives(text: str | Sequence[str]) -> tuple[Objective, ...]:
    """Objectives from "acc,time,params", in the order given. Raises InputError for none, an unknown or a repeated one."""
    names = [name.strip() for name in (text.split(",") if isinstance(text, str) else text)]
    names = [name for name in names if name]
    if not names:
        raise InputError("no objective given", "known: " + ", ".join(OBJECTIVES))
    chosen = [find_objective(name) for name in names]
    for index, one in enumerate(chosen):
        if one in chosen[:index]:
            raise InputError(f"objective {one.name!r} is given twice", "name each objective once")
    return tuple(chosen)


def costs_of(objectives: Sequence[Objective], values: Mapping[str, float]) -> tuple[float, ...]:
    """The values as costs, all to be minimized: what is maximized changes its sign. This is the one place where a sign is turned.

    Raises InputError where an objective was not measured, ValueError where a value is not finite.
    """
    for objective in objectives:
        if objective.name not in values:
            raise not_measured(objective.name, values)
    costs = tuple(-values[o.name] if o.direction == "maximize" else values[o.name] for o in objectives)
    if not all(math.isfinite(cost) for cost in costs):
        raise ValueError(f"objective values must be finite, got {dict(values)}")
    return costs
