"""The recorded runs of a table, as searches see them: curves, seconds, true values.

A table may be recorded in part: its designs are those that have the same seeds, from the first on.
"""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import record
from benchmarks.tables import TablePlan
from fastrcaps_dse import data
from fastrcaps_dse.capsnet.sizes import ImageShape, parameter_count
from fastrcaps_dse.problem.objectives import costs_of, parse_objectives, selected_epoch
from fastrcaps_dse.problem.rates import learning_rate
from fastrcaps_dse.problem.space import DesignPoint, DesignSpace, parse_design
from fastrcaps_dse.problem.timelines import build_timeline
from fastrcaps_dse.trainer import choose_precision, step_key

OBJECTIVES = parse_objectives("acc,time,params")
SHAPE = ImageShape(channels=1, height=28, width=28, classes=10)
Cost = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A design of the table."""

    point: DesignPoint
    params: int
    seconds: tuple[float, ...]  # of each epoch
    curves: Mapping[int, tuple[float, ...]]  # accuracy after each epoch, by seed
    prefixes: tuple[int, ...]  # a number for what is trained up to the end of each epoch

    @property
    def epochs(self) -> int:
        """Those of a whole run."""
        return len(self.seconds)

    def values(self, accuracies: Sequence[float]) -> dict[str, float]:
        """The objectives of a run with this curve."""
        best = selected_epoch(accuracies)
        return {"acc": accuracies[best - 1], "time": math.fsum(self.seconds[:best]), "params": float(self.params)}

    def cost(self, accuracies: Sequence[float]) -> Cost:
        """The same as costs."""
        return costs_of(OBJECTIVES, self.values(accuracies))

    def true_cost(self) -> Cost:
        """The mean over the recorded seeds."""
        return mean_cost([self.cost(curve) for curve in self.curves.values()])

    def stopped_cost(self, accuracies: Sequence[float]) -> Cost:
        """The costs of a run with these epochs as the anytime view counts them: all its seconds so far."""
        time = math.fsum(self.seconds[: len(accuracies)])
        return costs_of(OBJECTIVES, {"acc": max(accuracies), "time": time, "params": float(self.params)})

    def true_stopped_costs(self) -> list[Cost]:
        """The mean over the recorded seeds, for each number of epochs from 1 on."""
        return [mean_cost([self.stopped_cost(c[:k]) for c in self.curves.values()]) for k in range(1, self.epochs + 1)]


@dataclass(frozen=True, kw_only=True)
class RecordedTable:
    """The designs of a table that are recorded with the same seeds."""

    designs: tuple[Recorded, ...]
    around: DesignSpace  # which they are all of, or a sample

    @property
    def seeds(self) -> int:
        """The recorded seeds of each design."""
        return min(len(design.curves) for design in self.designs)

    @property
    def epochs(self) -> int:
        """Those of a whole run."""
        return self.designs[0].epochs

    @property
    def is_sample(self) -> bool:
        """Whether the space has more designs than are recorded."""
        return self.around.size() != len(self.designs)

    @property
    def space(self) -> DesignSpace:
        """The space of the recorded designs."""
        return listed_space([design.point for design in self.designs]) if self.is_sample else self.around

    def facts(self) -> dict[str, Any]:
        """What a record says of the table that it rests on."""
        accuracies = [-design.true_cost()[0] for design in self.designs]
        return {
            "designs": len(self.designs),
            "seeds": self.seeds,
            "runs": len(self.designs) * self.seeds,
            "epochs_of_a_run": self.epochs,
            "accuracy": {"min": round(min(accuracies), 2), "max": round(max(accuracies), 2)},
            "seconds_of_a_run_of_each": round(sum(math.fsum(design.seconds) for design in self.designs)),
        }


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """The mean of several costs, objective by objective."""
    return tuple(statistics.fmean(column) for column in zip(*costs, strict=True))


def load_table(plan: TablePlan, seeds: int | None = None) -> RecordedTable:
    """The designs for which all these seeds are recorded; None for as many seeds as all designs have that were begun.

    Raises SystemExit where nothing is recorded.
    """
    curves = _curves(plan)
    if not curves:
        raise SystemExit(f"{plan.csv.name} has no whole run: python -m benchmarks.search_table --table {plan.name}")
    wanted = seeds or min(map(_seeds_of, curves.values()))
    seconds = _StepSeconds(plan=plan, steps=_steps(plan), images=len(data.load(plan.dataset).train))
    kept = {point: runs for point, runs in curves.items() if _seeds_of(runs) >= wanted}
    designs = [seconds.recorded(point, {s: c for s, c in runs.items() if s < wanted}) for point, runs in kept.items()]
    return RecordedTable(designs=tuple(designs), around=plan.space())


def _curves(plan: TablePlan) -> dict[DesignPoint, dict[int, tuple[float, ...]]]:
    """The whole runs of the table whose design has its first seed: by design, in the order of the plan, and seed."""
    found: dict[str, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    if plan.csv.exists():
        with plan.csv.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found[_point_of(row, plan.network).key][int(row["seed"])][int(row["epoch"])] = float(row["acc"])
    whole: dict[DesignPoint, dict[int, tuple[float, ...]]] = {}
    for point in plan.designs():
        runs = {seed: tuple(c[k] for k in sorted(c)) for seed, c in found[point.key].items() if len(c) == plan.epochs}
        if 0 in runs:
            whole[point] = runs
    return whole


def _point_of(row: Mapping[str, str], network: str) -> DesignPoint:
    chosen = [f"{k}={row[k]}" for k in ("lr_policy", "batch_schedule", "weight_sharing", "decoder")]
    return parse_design(" ".join([*chosen, f"network={network}"]))


def _seeds_of(runs: Mapping[int, Any]) -> int:
    """How many seeds there are from 0 on."""
    return next(seed for seed in range(len(runs) + 1) if seed not in runs)


def _steps(plan: TablePlan) -> dict[str, Any]:
    steps: dict[str, Any] = json.loads((record.PLACE / f"{plan.steps}.json").read_text(encoding="utf-8"))["steps"]
    return steps


@dataclass(frozen=True, kw_only=True)
class _StepSeconds:
    """Turns runs into designs of the table, with the measured seconds of a step."""

    plan: TablePlan
    steps: Mapping[str, Any]  # by step key
    images: int  # of an epoch

    def recorded(self, point: DesignPoint, runs: Mapping[int, tuple[float, ...]]) -> Recorded:
        """A design with these runs."""
        line = build_timeline(point.batch_schedule, epochs=self.plan.epochs, images=self.images)
        phases = [line.phase_of_epoch(epoch) for epoch in range(self.plan.epochs)]
        keys = [str(step_key(point, SHAPE, phase.batch_size, choose_precision(torch.device("cpu")))) for phase in phases]
        prefixes, trained = [], hash((point.weight_sharing, point.decoder))
        for epoch, phase in enumerate(phases):
            rates = [learning_rate(point.lr_policy, line.first_step(epoch) + k, line) for k in range(phase.steps_per_epoch)]
            trained = hash((trained, phase.batch_size, tuple(rates)))
            prefixes.append(trained)
        return Recorded(
            point=point,
            params=parameter_count(point, SHAPE),
            seconds=tuple(p.steps_per_epoch * self.steps[key]["seconds"] for p, key in zip(phases, keys, strict=True)),
            curves=runs,
            prefixes=tuple(prefixes),
        )


@dataclass(frozen=True, kw_only=True)
class ListedSpace(DesignSpace):
    """A space that has the given designs alone."""

    listed: tuple[DesignPoint, ...]

    @property
    def finite(self) -> bool:
        """Whether the space has finitely many designs."""
        return True

    def size(self) -> int | None:
        """The number of designs."""
        return len(self.listed)

    def designs(self) -> Iterator[DesignPoint]:
        """All of them, in their order."""
        return iter(self.listed)

    def admits(self, point: DesignPoint) -> bool:
        """Whether the design is one of them."""
        return point in self.listed


def listed_space(points: Sequence[DesignPoint]) -> ListedSpace:
    """The space of these designs."""
    parts: dict[str, Any] = {
        "lr_policy": tuple({p.lr_policy: None for p in points}),
        "batch_schedule": tuple({p.batch_schedule: None for p in points}),
        "weight_sharing": tuple(sorted({p.weight_sharing for p in points})),
        "decoder": tuple(sorted({p.decoder for p in points})),
        "network": tuple(sorted({p.network for p in points})),
    }
    return ListedSpace(**parts, listed=tuple(points))
