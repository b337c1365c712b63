"""Searches over the recorded table: the product's own loop, with an executor that answers from recorded runs and counts their seconds.

Beside it plain Optuna, as a script of one's own would use it: whole runs, as its sampler proposes them, repeats included.
"""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import optuna
import torch

from benchmarks import record
from benchmarks.boards import MemoryBoard, run_row
from benchmarks.search_table import names_of
from benchmarks.tables import TABLES
from fastrcaps_dse import data
from fastrcaps_dse.analysis.pareto import dominates, front, hypervolume
from fastrcaps_dse.capsnet.sizes import ImageShape, parameter_count
from fastrcaps_dse.problem.objectives import Measurement, costs_of, parse_objectives, selected_epoch
from fastrcaps_dse.problem.schedules import build_timeline, learning_rate
from fastrcaps_dse.problem.space import DesignPoint, DesignSpace
from fastrcaps_dse.problem.study_spec import Pruning, Sampler, StudySpec
from fastrcaps_dse.search.explorer import Explorer
from fastrcaps_dse.search.optuna_storage import quiet_optuna
from fastrcaps_dse.search.parameters import make_sampler, suggest
from fastrcaps_dse.search.proposers import make_proposers
from fastrcaps_dse.search.protocols import Forecast, Measured, Message, Request
from fastrcaps_dse.search.pruning import FinishedCurve, PartialRun, Prune, decide
from fastrcaps_dse.search.racing import Race
from fastrcaps_dse.store import RunRow
from fastrcaps_dse.trainer import choose_precision, step_key

PLAN = TABLES["grid"]
EPOCHS = PLAN.epochs
OBJECTIVES = parse_objectives("acc,time,params")
REFERENCE = (1.1, 1.1, 1.1)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A design of the table."""

    point: DesignPoint
    params: int
    seconds: tuple[float, ...]  # of each epoch
    curves: dict[int, tuple[float, ...]]  # accuracy after each epoch, by seed
    prefixes: tuple[int, ...]  # a number for what is trained up to the end of each epoch

    def values(self, accuracies: Sequence[float]) -> dict[str, float]:
        """The objectives of a run with this curve."""
        best = selected_epoch(accuracies)
        return {"acc": accuracies[best - 1], "time": math.fsum(self.seconds[:best]), "params": float(self.params)}

    def cost(self, accuracies: Sequence[float]) -> tuple[float, ...]:
        """The same as costs."""
        return costs_of(OBJECTIVES, self.values(accuracies))

    def true_cost(self) -> tuple[float, ...]:
        """The mean over the recorded seeds."""
        return mean_cost([self.cost(curve) for curve in self.curves.values()])


def mean_cost(costs: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """The mean of several costs, objective by objective."""
    return tuple(statistics.fmean(column) for column in zip(*costs, strict=True))


def load_table(seeds: int) -> list[Recorded]:
    """The designs for which all these seeds are recorded."""
    curves: dict[tuple[str, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with PLAN.csv.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = tuple(row[name] for name in ("lr_policy", "batch_schedule", "weight_sharing", "decoder"))
            curves[key][int(row["seed"])].append(float(row["acc"]))
    shape = ImageShape(channels=1, height=28, width=28, classes=10)
    images = len(data.load(PLAN.dataset).train)
    steps = json.loads((record.PLACE / f"{PLAN.steps}.json").read_text(encoding="utf-8"))["steps"]
    precision = choose_precision(torch.device("cpu"))
    found = []
    for point in PLAN.designs():
        runs = {s: tuple(c) for s, c in curves[tuple(names_of(point))].items() if len(c) == EPOCHS and s < seeds}
        if len(runs) < seeds:
            continue
        line = build_timeline(point.batch_schedule, epochs=EPOCHS, images=images)
        phases = [line.phase_of_epoch(epoch) for epoch in range(EPOCHS)]
        seconds = [p.steps_per_epoch * steps[str(step_key(point, shape, p.batch_size, precision))]["seconds"] for p in phases]
        prefixes, trained = [], hash((point.weight_sharing, point.decoder))
        for epoch, phase in enumerate(phases):
            rates = [learning_rate(point.lr_policy, line.first_step(epoch) + k, line) for k in range(phase.steps_per_epoch)]
            trained = hash((trained, phase.batch_size, tuple(rates)))
            prefixes.append(trained)
        params = parameter_count(point, shape)
        found.append(Recorded(point=point, params=params, seconds=tuple(seconds), curves=runs, prefixes=tuple(prefixes)))
    return found


def space_of(table: Sequence[Recorded]) -> DesignSpace:
    """The space of the table's designs."""
    points = [design.point for design in table]
    return DesignSpace(
        lr_policy=tuple({p.lr_policy: None for p in points}),
        batch_schedule=tuple({p.batch_schedule: None for p in points}),
        weight_sharing=(False, True),
        decoder=("full", "small"),
    )


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The hypervolume of the table's designs, objectives scaled to their ranges, time and parameters by their logarithm."""

    low: tuple[float, ...]
    span: tuple[float, ...]
    true: dict[str, list[float]]  # scaled true costs, by the design's key

    def share(self, keys: Sequence[str]) -> float:
        """The hypervolume of these designs' true costs, as a share of that of all."""
        return hypervolume([self.true[key] for key in keys], REFERENCE) / hypervolume([*self.true.values()], REFERENCE)


def scale_of(table: Sequence[Recorded]) -> Scale:
    """The scale of a table."""
    costs = [_logarithmic(design.true_cost()) for design in table]
    low = tuple(min(column) for column in zip(*costs, strict=True))
    span = tuple((max(column) - min(column)) or 1.0 for column in zip(*costs, strict=True))
    scaled = [[(c - a) / s for c, a, s in zip(cost, low, span, strict=True)] for cost in costs]
    return Scale(low=low, span=span, true=dict(zip((design.point.key for design in table), scaled, strict=True)))


def _logarithmic(cost: Sequence[float]) -> list[float]:
    return [cost[0], math.log(cost[1]), math.log(cost[2])]


@dataclass(kw_only=True)
class Table:
    """An executor that answers with recorded runs, and keeps what a search has spent and found."""

    designs: dict[str, Recorded]  # by key
    scale: Scale
    seeds: int  # recorded
    pruning: Pruning = "off"
    trained: set[tuple[int, int]] = field(default_factory=set)  # (prefix, seed): the prefix cache
    runs: dict[str, list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))  # costs of whole runs
    censored: dict[str, tuple[float, ...]] = field(default_factory=dict)  # costs of pruned runs
    curves: list[FinishedCurve] = field(default_factory=list)  # of whole runs
    measured: dict[int, RunRow] = field(default_factory=dict)  # by trial, its last run
    trace: list[tuple[float, float, float]] = field(default_factory=list)  # (seconds spent, share found, share reported)
    spent: float = 0.0  # s of training

    @property
    def workers(self) -> int:
        """One."""
        return 1

    def run(self, next_request: Callable[[], Request | None]) -> Iterator[Message]:
        """Answer each request with the recorded run of its design and seed, up to where pruning ends it."""
        while (request := next_request()) is not None:
            yield Measured(request=request, measurement=self.answer(request))

    def answer(self, request: Request) -> Measurement:
        """The measurement of a request."""
        design = self.designs[request.point.key]
        curve = design.curves[request.seed % self.seeds]
        done, prune = self._train(request, design, curve)
        measurement = Measurement(
            values=design.values(curve[:done]),
            selected_epoch=selected_epoch(curve[:done]),
            pruned_after=done if prune and prune.censored else None,
        )
        if measurement.pruned_after is None:
            self.runs[request.point.key].append(design.cost(curve[:done]))
            self.curves.append(FinishedCurve(policy=request.point.lr_policy.name, accuracies=curve[:done]))
        else:
            self.censored[request.point.key] = design.cost(curve[:done])
        run = run_row(request.trial + 1, request.trial, request.point, request.seed)
        self.measured[request.trial] = replace(run, state="done", measurement=measurement)
        self.trace.append((self.spent, *self.shares()))
        return measurement

    def _train(self, request: Request, design: Recorded, curve: Sequence[float]) -> tuple[int, Prune | None]:
        """Count the seconds of a run; (epochs that it has, why it is pruned)."""
        mode: Pruning = self.pruning if request.prune else "off"
        others = [mean_cost(costs) for key, costs in self.runs.items() if key != request.point.key]
        others += [cost for key, cost in self.censored.items() if key != request.point.key]
        for epoch in range(EPOCHS):
            if (design.prefixes[epoch], request.seed) not in self.trained:
                self.spent += design.seconds[epoch]
            self.trained.add((design.prefixes[epoch], request.seed))
            run = PartialRun(
                policy=request.point.lr_policy.name,
                fixed={"params": float(design.params)},
                seconds=design.seconds,
                accuracies=tuple(curve[: epoch + 1]),
            )
            prune = decide(run, OBJECTIVES, others, self.curves, mode)
            if prune:
                return epoch + 1, prune
        return EPOCHS, None

    def shares(self) -> tuple[float, float]:
        """The hypervolume of what was trained whole, and of the front of it, by true costs, as shares of that of all designs."""
        keys = [*self.runs]
        members = front([mean_cost(self.runs[key]) for key in keys])
        return self.scale.share(keys), self.scale.share([keys[m] for m in members])


def make_table(table: Sequence[Recorded], seeds: int, pruning: Pruning = "off") -> Table:
    """An executor for one search."""
    return Table(designs={design.point.key: design for design in table}, scale=scale_of(table), seeds=seeds, pruning=pruning)


def explored(table: Sequence[Recorded], seeds: int, seed: int, *, sampler: Sampler, pruning: Pruning = "off") -> Table:
    """The product's loop over the whole table; what it has spent and found."""
    quiet_optuna()
    executor = make_table(table, seeds, pruning)
    spec = StudySpec(
        name="replay", space=space_of(table), epochs=EPOCHS, trials=len(table), sampler=sampler, seed=seed, pruning=pruning
    )

    def forecast(point: DesignPoint) -> Forecast:
        design = executor.designs[point.key]
        return Forecast(seconds=math.fsum(design.seconds), fixed={"params": float(design.params)})

    Explorer(spec=spec, board=MemoryBoard(target=len(table)), proposers=make_proposers(spec, forecast)).run(executor)
    return executor


def raced(executor: Table, seed: int, max_seeds: int) -> Table:
    """Race the measured designs of a search."""
    board = MemoryBoard(target=0, told=[*executor.measured.values()], runs=len(executor.measured))
    Race(board=board, objectives=OBJECTIVES, seeds=1, max_seeds=max_seeds, first_seed=seed).run(executor)
    return executor


def plain_optuna(table: Sequence[Recorded], seeds: int, seed: int, *, sampler: str, trials: int) -> Table:
    """Plain Optuna: whole runs, as its sampler proposes them."""
    quiet_optuna()
    executor = make_table(table, seeds)
    space = space_of(table)
    study = optuna.create_study(directions=[o.direction for o in OBJECTIVES], sampler=make_sampler(sampler, seed))
    for number in range(trials):
        trial = study.ask()
        point = suggest(trial, space)
        executor.runs.pop(point.key, None)  # the same run again gives the same
        executor.trained.clear()  # and is trained again
        measured = executor.answer(Request(trial=number, point=point, seed=seed, run_id=number, attempt=1))
        study.tell(trial, [measured[o.name] for o in OBJECTIVES])
    return executor


def oracle(table: Sequence[Recorded], seeds: int, seed: int) -> Table:
    """Who knows every true result: next is what adds the most hypervolume for a second of training."""
    executor = make_table(table, seeds)
    rest = {design.point.key: design for design in table}
    while rest:
        found = [*executor.runs]
        key = max(
            rest, key=lambda k: (executor.scale.share([*found, k]) - executor.scale.share(found)) / math.fsum(rest[k].seconds)
        )
        executor.answer(Request(trial=len(found), point=rest.pop(key).point, seed=seed, run_id=len(found), attempt=1))
    return executor


def spared_at_most(table: Sequence[Recorded]) -> float:
    """The share of all training that pruning could spare at most: if each run's future and all other designs were known."""
    true = [design.true_cost() for design in table]
    whole = spared = 0.0
    for index, design in enumerate(table):
        others = [cost for other, cost in enumerate(true) if other != index]
        for curve in design.curves.values():
            whole += math.fsum(design.seconds)
            best = [selected_epoch(curve[:k]) for k in range(1, EPOCHS + 1)]
            for done in range(1, EPOCHS):
                futures = [design.cost(curve[:epoch]) for epoch in {*best[done - 1 :]}]
                if all(any(dominates(other, cost) for other in others) for cost in futures):
                    spared += math.fsum(design.seconds[done:])
                    break
    return spared / whole
