"""Objectives and measurements: what a design is judged by. The one place where a sign is turned."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fastrcaps_dse.errors import InputError, nearest


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One thing to maximise or minimise."""

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
    )
}
BASIC = ("acc", "time", "params")  # shown of every design
TIME_TO = "time_to"
NEVER = 1e9
"""The value of `time_to:ACC` in s where ACC is never reached: this, and more the further the run stayed below (1 % of it for
each percent), so that it is worse than every value that is reached and still orders those that are not."""


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
    return name == "latency" or name.startswith(f"{TIME_TO}:")


def shown(objectives: Sequence[Objective] = ()) -> list[Objective]:
    """What is shown of every design: the basic objectives, then those of the study."""
    return [*(OBJECTIVES[name] for name in BASIC), *(o for o in objectives if o.name not in BASIC)]


def time_to(accuracy: float, accuracies: Sequence[float], seconds: Sequence[float]) -> float:
    """Seconds until a run first reaches an accuracy (%), given those of its epochs and each epoch's seconds; see NEVER."""
    total = 0.0
    for acc, spent in zip(accuracies, seconds, strict=True):
        total += spent
        if acc >= accuracy:
            return total
    return NEVER * (1 + (accuracy - max(accuracies)) / 100)


def selected_epoch(accuracies: Sequence[float]) -> int:
    """The first epoch of the highest accuracy, counted from 1."""
    return max(range(len(accuracies)), key=lambda k: accuracies[k]) + 1


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one run reached (one design, one seed)."""

    acc: float  # %, the highest accuracy over the epochs of the run (on the split that selects the epoch)
    time: float  # s of training up to the end of the first epoch of that accuracy; evaluation excluded
    params: int  # trainable parameters
    test_acc: float | None = None  # %, on the test set at the selected epoch
    selected_epoch: int = 0  # counted from 1; 0 where it makes no sense (a mean over seeds)
    stopped_after: int | None = None  # epochs, where the run was stopped early: a censored measurement, of what it had reached
    others: Mapping[str, float] = field(default_factory=dict)  # of the other objectives, by name

    def value(self, objective: Objective) -> float:
        """Of an objective. Raises InputError where it was not measured."""
        if objective.name in BASIC:
            return float(getattr(self, objective.name))
        if objective.name not in self.others:
            known = ", ".join([*BASIC, *self.others])
            raise InputError(
                f"{objective.name} was not measured in this study", f"it has {known}; or explore with it, in another study"
            )
        return self.others[objective.name]


def mean_measurement(runs: Sequence[Measurement]) -> Measurement:
    """The mean over the seeds of one design. Raises ValueError for none."""
    if not runs:
        raise ValueError("no runs to take a mean of")
    tests = [run.test_acc for run in runs if run.test_acc is not None]
    names = [name for name in runs[0].others if all(name in run.others for run in runs)]
    return Measurement(
        acc=math.fsum(run.acc for run in runs) / len(runs),
        time=math.fsum(run.time for run in runs) / len(runs),
        params=runs[0].params,
        test_acc=math.fsum(tests) / len(tests) if len(tests) == len(runs) else None,
        selected_epoch=runs[0].selected_epoch if len(runs) == 1 else 0,
        stopped_after=next((run.stopped_after for run in runs if run.stopped_after is not None), None),
        others={name: math.fsum(run.others[name] for run in runs) / len(runs) for name in names},
    )


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


def minimised(objectives: Sequence[Objective], values: Mapping[str, float]) -> tuple[float, ...]:
    """The values as costs: what is maximised changes its sign. Raises ValueError where one is not finite."""
    costs = tuple(-values[o.name] if o.direction == "maximize" else values[o.name] for o in objectives)
    if not all(math.isfinite(cost) for cost in costs):
        raise ValueError(f"objective values must be finite, got {dict(values)}")
    return costs


_NUMBER = r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
_COUNT = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "m": 1e6, "G": 1e9, "B": 1e9}
_SECONDS = {"": 1, "s": 1, "ms": 1e-3, "m": 60, "min": 60, "h": 3600, "d": 86400}
_FACTORS: dict[str, dict[str, float]] = {
    "params": _COUNT,
    "macs": _COUNT,
    "epochs": {"": 1},
    "time": _SECONDS,
    TIME_TO: _SECONDS,
    "latency": {"": 1, "ms": 1, "us": 1e-3, "s": 1e3},
    "memory": {"": 1, "MB": 1, "M": 1, "kB": 1e-3, "KB": 1e-3, "GB": 1e3},
    "acc": {"": 1, "%": 1},
}
_EXAMPLES = {
    "params": "7M, 6.7e6 or 500k",
    "macs": "200M",
    "epochs": "12",
    "time": "90s, 10m or 2h",
    TIME_TO: "90s, 10m or 2h",
    "latency": "5ms",
    "memory": "20MB",
    "acc": "99.2 or 99.2% (percent)",
}


def _kind(name: str) -> str:
    """What a quantity of this objective is written like."""
    return name.partition(":")[0]


def parse_quantity(objective: str, text: str) -> float:
    """A quantity as people write it, in the objective's unit: "7M", "90s", "99.2%". Raises InputError for anything else."""
    kind = _kind(objective)
    match = re.fullmatch(_NUMBER + r"\s*([A-Za-z%]*)", text.strip())
    factor = _FACTORS[kind].get(match[2]) if match else None
    if match is None or factor is None:
        raise InputError(f"{text!r} is no quantity for {objective}", f"write it as {_EXAMPLES[kind]}")
    value = float(match[1]) * factor
    if not math.isfinite(value) or value < 0 or (kind == "acc" and value > 100):
        raise InputError(f"{text!r} is out of range for {objective}", f"write it as {_EXAMPLES[kind]}")
    return value


def format_value(objective: str, value: float) -> str:
    """A value as people read it, with its unit: "99.37 %", "12.4 s", "6,708,400"."""
    kind = _kind(objective)
    if kind == "acc":
        return f"{value:.2f} %"
    if kind == TIME_TO and value >= NEVER:
        return "not reached"
    if kind in ("time", TIME_TO):
        return format_seconds(value)
    if kind in ("latency", "memory"):
        return f"{value:.3g} {OBJECTIVES[kind].unit}"
    return f"{value:,.0f}" if value == round(value) or value > 1000 else f"{value:,.1f}"


def counted(n: int, noun: str) -> str:
    """A number with its noun: "1 run", "2 runs"."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def format_seconds(seconds: float) -> str:
    """Seconds as people read them: "0.85 s", "12.4 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"
