"""What a search over the recorded table gives: its designs, and searches that ask for them."""

from __future__ import annotations

import csv
import json
import math
import random
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import optuna
import torch

from benchmarks import record
from benchmarks.search_table import DATASET, EPOCHS, TABLE, designs, names_of
from fastrcaps_dse import data, search
from fastrcaps_dse.analysis.pareto import dominates, front, hypervolume
from fastrcaps_dse.analysis.uncertainty import next_to_seed, standings
from fastrcaps_dse.capsnet.sizes import ImageShape, parameter_count
from fastrcaps_dse.problem.objectives import costs_of, parse_objectives, selected_epoch
from fastrcaps_dse.problem.schedules import build_timeline, learning_rate
from fastrcaps_dse.problem.space import DesignPoint, DesignSpace
from fastrcaps_dse.problem.study_spec import Pruning
from fastrcaps_dse.search.guided import Guide, Known, Seen, features_of
from fastrcaps_dse.search.pruning import Course, Finished, highest, judge
from fastrcaps_dse.trainer import choose_precision, step_key

OBJECTIVES = parse_objectives("acc,time,params")
REFERENCE = (1.1, 1.1, 1.1)
Told = Literal["reached", "nothing", "foreseen"]
"""What a sampler is told of a stopped run: what it had reached, nothing, or the accuracy that half of such runs exceed at the end."""
DRAWS = 200  # for the probability of being on the front, while seeds are raced


@dataclass(frozen=True, kw_only=True)
class Design:
    """A design of the table."""

    point: DesignPoint
    params: int
    seconds: tuple[float, ...]  # of each epoch
    curves: dict[int, tuple[float, ...]]  # accuracy after each epoch, by seed
    keys: tuple[str, ...]  # of what is trained up to the end of each epoch

    def measured(self, accuracies: Sequence[float]) -> tuple[float, ...]:
        """Costs of a run with this curve: -acc, time, params."""
        best = selected_epoch(accuracies)
        values = {"acc": accuracies[best - 1], "time": math.fsum(self.seconds[:best]), "params": float(self.params)}
        return costs_of(OBJECTIVES, values)

    def true(self) -> tuple[float, ...]:
        """The mean over the recorded seeds."""
        return tuple(statistics.fmean(column) for column in zip(*map(self.measured, self.curves.values()), strict=True))


def load_table(seeds: int) -> list[Design]:
    """The designs of which every run is recorded."""
    curves: dict[tuple[str, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with TABLE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            curves[tuple(row[name] for name in ("lr_policy", "batch_schedule", "weight_sharing", "decoder"))][
                int(row["seed"])
            ].append(float(row["acc"]))
    shape = ImageShape(channels=1, height=28, width=28, classes=10)
    images = len(data.load(DATASET).train)
    steps = json.loads((record.PLACE / "step-times.json").read_text(encoding="utf-8"))["steps"]
    precision = choose_precision(torch.device("cpu"))
    found = []
    for point in designs():
        runs = {s: tuple(c) for s, c in curves[tuple(names_of(point))].items() if len(c) == EPOCHS and s < seeds}
        if len(runs) < seeds:
            continue
        line = build_timeline(point.batch_schedule, epochs=EPOCHS, images=images)
        phases = [line.phase_of_epoch(epoch) for epoch in range(EPOCHS)]
        seconds = [p.steps_per_epoch * steps[step_key(point, shape, p.batch_size, precision)]["seconds"] for p in phases]
        keys, trained = [], f"{point.weight_sharing} {point.decoder}"
        for epoch, phase in enumerate(phases):
            rates = [learning_rate(point.lr_policy, line.first_step(epoch) + k, line) for k in range(phase.steps_per_epoch)]
            trained = str(hash((trained, phase.batch_size, tuple(rates))))
            keys.append(trained)
        found.append(
            Design(point=point, params=parameter_count(point, shape), seconds=tuple(seconds), curves=runs, keys=tuple(keys))
        )
    return found


@dataclass
class Replay:
    """One search: what it has measured and what that cost."""

    table: list[Design]
    seeds: int
    sharing: bool = False
    pruning: Pruning = "off"
    told: Told = "reached"
    spent: float = 0.0  # s of training
    trained: set[tuple[str, int]] = field(default_factory=set)  # beginnings, by seed
    whole: dict[int, list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))  # costs by design
    stopped: dict[int, tuple[float, ...] | None] = field(default_factory=dict)  # as a sampler is told of them
    finished: list[Finished] = field(default_factory=list)
    trace: list[tuple[float, float, float]] = field(default_factory=list)  # (seconds spent, share found, share reported)

    def __post_init__(self) -> None:
        true = [design.true() for design in self.table]
        columns = list(zip(*[self._scale(cost) for cost in true], strict=True))
        self.low = [min(c) for c in columns]
        self.span = [(max(c) - min(c)) or 1.0 for c in columns]
        self.true = [self._normal(cost) for cost in true]
        self.all = hypervolume(self.true, REFERENCE)

    @staticmethod
    def _scale(cost: Sequence[float]) -> list[float]:
        return [cost[0], math.log(cost[1]), math.log(cost[2])]

    def _normal(self, cost: Sequence[float]) -> list[float]:
        return [(v - low) / span for v, low, span in zip(self._scale(cost), self.low, self.span, strict=True)]

    def train(self, index: int, seed: int) -> tuple[float, ...] | None:
        """Train a design with a seed, or as far as the stopping lets it; what a sampler is told of its costs."""
        design = self.table[index]
        curve = design.curves[seed % self.seeds]
        known = [self.mean(i) for i in self.whole if i != index]
        done, stop = 0, None
        for epoch in range(EPOCHS):
            if not (self.sharing and (design.keys[epoch], seed) in self.trained):
                self.spent += design.seconds[epoch]
            self.trained.add((design.keys[epoch], seed))
            done = epoch + 1
            course = Course(
                policy=design.point.lr_policy.name,
                known={"params": float(design.params)},
                seconds=design.seconds,
                accuracies=curve[:done],
            )
            stop = judge(course, OBJECTIVES, known, self.finished, self.pruning)
            if stop:
                break
        reached = design.measured(curve[:done])
        told: tuple[float, ...] | None = reached
        if stop is None or stop.settled:
            self.whole[index].append(reached)
            self.finished.append(Finished(policy=design.point.lr_policy.name, accuracies=curve[:done]))
        else:
            told = self.stopped[index] = self._told_of(design, course, reached)
        self.trace.append((self.spent, *self.shares()))
        return told

    def _told_of(self, design: Design, course: Course, reached: tuple[float, ...]) -> tuple[float, ...] | None:
        """The costs that a sampler is told of a stopped run."""
        if self.told == "reached":
            return reached
        if self.told == "nothing":
            return None
        last = highest(course, EPOCHS, self.finished, confidence=0.5)
        between = [0.0] * (EPOCHS - len(course.accuracies) - 1)
        return design.measured([*course.accuracies, *between, last])

    def mean(self, index: int) -> tuple[float, ...]:
        return tuple(statistics.fmean(column) for column in zip(*self.whole[index], strict=True))

    def shares(self) -> tuple[float, float]:
        """The hypervolume of the true values of what was trained whole, and of the front of it, as shares of all designs'."""
        indices = list(self.whole)
        members = front([self.mean(i) for i in indices])
        found, reported = ([self.true[i] for i in some] for some in (indices, [indices[m] for m in members]))
        return hypervolume(found, REFERENCE) / self.all, hypervolume(reported, REFERENCE) / self.all


def space_of(table: Sequence[Design]) -> DesignSpace:
    """The space of the table's designs."""
    points = [design.point for design in table]
    return DesignSpace(
        lr_policy=tuple({p.lr_policy: None for p in points}),
        batch_schedule=tuple({p.batch_schedule: None for p in points}),
        weight_sharing=(False, True),
        decoder=("full", "small"),
    )


def plain(replay: Replay, seed: int, *, sampler: str, trials: int) -> None:
    """Plain Optuna: whole runs, as its sampler proposes them, repeats included."""
    by_key = {design.point.key: index for index, design in enumerate(replay.table)}
    space = space_of(replay.table)
    study = optuna.create_study(directions=["minimize"] * 3, sampler=search.make_sampler(sampler, seed))
    for _ in range(trials):
        trial = study.ask()
        index = by_key[search.suggest(trial, space).key]
        replay.whole.pop(index, None)  # the same run again gives the same
        study.tell(trial, replay.train(index, seed))


def unrepeated(replay: Replay, seed: int, *, sampler: str, proposals: int) -> None:
    """As the explorer uses a sampler of Optuna: no design twice; where it proposes known ones only, one at random."""
    by_key = {design.point.key: index for index, design in enumerate(replay.table)}
    space = space_of(replay.table)
    study = optuna.create_study(directions=["minimize"] * 3, sampler=search.make_sampler(sampler, seed))
    unknown = {*range(len(replay.table))}
    generator = random.Random(seed)
    while unknown:
        trial, index = None, generator.choice([*unknown])
        for _ in range(proposals):
            trial = study.ask()
            proposed = by_key[search.suggest(trial, space).key]
            if proposed in unknown:
                index = proposed
                break
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            trial = None
        cost = replay.train(index, seed)
        unknown.discard(index)
        if cost is None:
            if trial is not None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif trial is None:
            values, chosen = search.parameters(replay.table[index].point, space)
            study.add_trial(optuna.trial.create_trial(values=cost, params=values, distributions=chosen))
        else:
            study.tell(trial, cost)


def guided(replay: Replay, seed: int) -> None:
    """The guide: each design once, the most promising for a second of training next."""
    unknown = dict(enumerate(replay.table))
    while unknown:
        indices = [*unknown]
        index = indices[Guide(OBJECTIVES, seed).next(seen_of(replay), [known_of(replay, i, seed) for i in indices])]
        replay.train(index, seed)
        del unknown[index]


def race(replay: Replay, seed: int, most: int) -> None:
    """Further seeds of designs whose membership of the front is open, up to `most` of each."""
    replay.pruning = "off"  # as the session does: a further seed is trained whole
    indices = [*replay.whole]
    while (place := next_to_seed(standings([replay.whole[i] for i in indices], samples=DRAWS), most)) is not None:
        index = indices[place]
        replay.train(index, seed + len(replay.whole[index]))


def at_random(replay: Replay, seed: int) -> None:
    """Each design once, in a random order."""
    order = list(range(len(replay.table)))
    random.Random(seed).shuffle(order)
    for index in order:
        replay.train(index, seed)


def known_of(replay: Replay, index: int, seed: int) -> Known:
    design = replay.table[index]
    shared = sum(s for s, k in zip(design.seconds, design.keys, strict=True) if replay.sharing and (k, seed) in replay.trained)
    whole = math.fsum(design.seconds)
    return Known(
        features=features_of(design.point),
        epochs=EPOCHS,
        seconds=whole,
        cost=whole - shared,
        fixed={"params": float(design.params)},
    )


def seen_of(replay: Replay) -> list[Seen]:
    told = {index: cost for index, cost in replay.stopped.items() if cost is not None}
    measured = {**told, **{i: replay.mean(i) for i in replay.whole}}
    return [Seen(known=known_of(replay, index, 0), acc=-cost[0], time=cost[1]) for index, cost in measured.items()]


def spared_at_most(table: list[Design]) -> float:
    """The share of all training that stopping could spare at most: if each run's future and all other designs were known."""
    true = [design.true() for design in table]
    whole = spared = 0.0
    for index, design in enumerate(table):
        others = [cost for place, cost in enumerate(true) if place != index]
        for curve in design.curves.values():
            whole += math.fsum(design.seconds)
            best = [selected_epoch(curve[:k]) for k in range(1, EPOCHS + 1)]
            for done in range(1, EPOCHS):
                futures = [design.measured(curve[:epoch]) for epoch in {*best[done - 1 :]}]
                if all(any(dominates(other, cost) for other in others) for cost in futures):
                    spared += math.fsum(design.seconds[done:])
                    break
    return spared / whole
