"""Objectives and measurements: what a design is judged by. The one place where a sign is turned."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fastrcaps_dse.errors import InputError, nearest


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One thing to maximise or minimise."""

    name: str
    unit: str
    direction: Literal["maximize", "minimize"]
    title: str


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(name="acc", unit="%", direction="maximize", title="accuracy"),
        Objective(name="time", unit="s", direction="minimize", title="time to max accuracy"),
        Objective(name="params", unit="parameters", direction="minimize", title="trainable parameters"),
    )
}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one run reached (one design, one seed)."""

    acc: float  # %, the highest accuracy over the epochs of the run (on the split that selects the epoch)
    time: float  # s of training up to the end of the first epoch of that accuracy; evaluation excluded
    params: int  # trainable parameters
    test_acc: float | None = None  # %, on the test set at the selected epoch
    selected_epoch: int = 0  # counted from 1; 0 where it makes no sense (a mean over seeds)

    def value(self, objective: Objective) -> float:
        return float(getattr(self, objective.name))


def mean_measurement(runs: Sequence[Measurement]) -> Measurement:
    """The mean over the seeds of one design. Raises ValueError for none."""
    if not runs:
        raise ValueError("no runs to take a mean of")
    tests = [run.test_acc for run in runs if run.test_acc is not None]
    return Measurement(
        acc=math.fsum(run.acc for run in runs) / len(runs),
        time=math.fsum(run.time for run in runs) / len(runs),
        params=runs[0].params,
        test_acc=math.fsum(tests) / len(tests) if len(tests) == len(runs) else None,
        selected_epoch=runs[0].selected_epoch if len(runs) == 1 else 0,
    )


def parse_objectives(text: str | Sequence[str]) -> tuple[Objective, ...]:
    """Objectives from "acc,time,params", in the order given. Raises InputError for none, an unknown or a repeated one."""
    names = [name.strip() for name in (text.split(",") if isinstance(text, str) else text)]
    names = [name for name in names if name]
    if not names:
        raise InputError("no objective given", "known: " + ", ".join(OBJECTIVES))
    for index, name in enumerate(names):
        if name not in OBJECTIVES:
            raise InputError(f"unknown objective {name!r}", nearest(name, OBJECTIVES))
        if name in names[:index]:
            raise InputError(f"objective {name!r} is given twice", "name each objective once")
    return tuple(OBJECTIVES[name] for name in names)


def minimised(objectives: Sequence[Objective], values: Mapping[str, float]) -> tuple[float, ...]:
    """The values as costs: what is maximised changes its sign. Raises ValueError where one is not finite."""
    costs = tuple(-values[o.name] if o.direction == "maximize" else values[o.name] for o in objectives)
    if not all(math.isfinite(cost) for cost in costs):
        raise ValueError(f"objective values must be finite, got {dict(values)}")
    return costs


_NUMBER = r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
_FACTORS: dict[str, dict[str, float]] = {
    "params": {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "m": 1e6, "G": 1e9, "B": 1e9},
    "time": {"": 1, "s": 1, "ms": 1e-3, "m": 60, "min": 60, "h": 3600, "d": 86400},
    "acc": {"": 1, "%": 1},
}
_EXAMPLES = {"params": "7M, 6.7e6 or 500k", "time": "90s, 10m or 2h", "acc": "99.2 or 99.2% (percent)"}


def parse_quantity(objective: str, text: str) -> float:
    """A quantity as people write it, in the objective's unit: "7M", "90s", "99.2%". Raises InputError for anything else."""
    match = re.fullmatch(_NUMBER + r"\s*([A-Za-z%]*)", text.strip())
    factor = _FACTORS[objective].get(match[2]) if match else None
    if match is None or factor is None:
        raise InputError(f"{text!r} is no quantity for {objective}", f"write it as {_EXAMPLES[objective]}")
    value = float(match[1]) * factor
    if not math.isfinite(value) or value < 0 or (objective == "acc" and value > 100):
        raise InputError(f"{text!r} is out of range for {objective}", f"write it as {_EXAMPLES[objective]}")
    return value


def format_value(objective: str, value: float) -> str:
    """A value as people read it, with its unit: "99.37 %", "12.4 s", "6,708,400"."""
    if objective == "acc":
        return f"{value:.2f} %"
    if objective == "time":
        return format_seconds(value)
    return f"{value:,.0f}"


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
