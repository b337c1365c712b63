"""Searches replayed on a table of real runs: training seconds spent against the hypervolume that is found.

`benchmarks.search_table` recorded the runs, `benchmarks.step_times` the seconds of their steps. A search asks for designs; the
replay answers with what the recorded run of that design and seed did, and counts the seconds. True values are the means over
the recorded seeds. Two shares of the hypervolume of all designs' true values are told (objectives scaled to the table's ranges, time
and parameters by their logarithm): that of the designs that were trained whole (`found`), and that of those among them which
the measurements put on the front (`reported`), from which the noise of a single seed takes some. Where seeds are raced, further
seeds go to designs of which it is open whether they are on the front. Last, how often designs that are said to be on the front
with more than 95 % probability are: on the front of a seed that was held out, and on that of the means over all seeds.
"""

from __future__ import annotations

import argparse
import bisect
import csv
import json
import math
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
import torch

from benchmarks import record
from benchmarks.search_table import DATASET, EPOCHS, TABLE, designs, names_of
from fastrcaps_dse import data, explorer
from fastrcaps_dse.capsnet.sizes import ImageShape, parameter_count
from fastrcaps_dse.noise import SURE, next_to_seed, standings
from fastrcaps_dse.objectives import minimised, parse_objectives
from fastrcaps_dse.pareto import front, hypervolume
from fastrcaps_dse.schedules import build_timeline, learning_rate
from fastrcaps_dse.space import DesignPoint, DesignSpace
from fastrcaps_dse.stopping import Course, Finished, judge
from fastrcaps_dse.studyspec import Mode
from fastrcaps_dse.surrogate import Guide, Known, Seen, features_of
from fastrcaps_dse.trainer import choose_precision, step_key

OBJECTIVES = parse_objectives("acc,time,params")
REFERENCE = (1.1, 1.1, 1.1)
GOAL = 0.99  # of the table's hypervolume
POINTS, END = 120, 12_000.0  # of a drawn curve; s


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
        best = max(range(len(accuracies)), key=lambda k: accuracies[k])
        values = {"acc": accuracies[best], "time": math.fsum(self.seconds[: best + 1]), "params": float(self.params)}
        return minimised(OBJECTIVES, values)

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
    stopping: Mode = "off"
    spent: float = 0.0  # s of training
    trained: set[tuple[str, int]] = field(default_factory=set)  # beginnings, by seed
    whole: dict[int, list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))  # costs by design
    stopped: dict[int, tuple[float, ...]] = field(default_factory=dict)
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

    def train(self, index: int, seed: int) -> tuple[float, ...]:
        """Train a design with a seed, or as far as the stopping lets it; its costs."""
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
            stop = judge(course, OBJECTIVES, known, self.finished, self.stopping)
            if stop:
                break
        cost = design.measured(curve[:done])
        if stop is None or stop.settled:
            self.whole[index].append(cost)
            self.finished.append(Finished(policy=design.point.lr_policy.name, accuracies=curve[:done]))
        else:
            self.stopped[index] = cost
        self.trace.append((self.spent, *self.shares()))
        return cost

    def mean(self, index: int) -> tuple[float, ...]:
        return tuple(statistics.fmean(column) for column in zip(*self.whole[index], strict=True))

    def shares(self) -> tuple[float, float]:
        """The hypervolume of the true values of what was trained whole, and of the front of it, as shares of all designs'."""
        indices = list(self.whole)
        members = front([self.mean(i) for i in indices])
        found, reported = ([self.true[i] for i in some] for some in (indices, [indices[m] for m in members]))
        return hypervolume(found, REFERENCE) / self.all, hypervolume(reported, REFERENCE) / self.all


def plain(replay: Replay, sampler: str, seed: int, trials: int) -> None:
    """Plain Optuna: whole runs, as its sampler proposes them, repeats included."""
    by_key = {design.point.key: index for index, design in enumerate(replay.table)}
    first = [design.point for design in replay.table]
    space = DesignSpace(
        lr_policy=tuple({p.lr_policy: None for p in first}),
        batch_schedule=tuple({p.batch_schedule: None for p in first}),
        weight_sharing=(False, True),
        decoder=("full", "small"),
    )
    study = optuna.create_study(directions=["minimize"] * 3, sampler=explorer.make_sampler(sampler, seed))
    for _ in range(trials):
        trial = study.ask()
        index = by_key.get(explorer.suggest(trial, space).key)
        if index is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        replay.whole.pop(index, None)  # the same run again gives the same
        study.tell(trial, replay.train(index, seed))


def guided(replay: Replay, seed: int) -> None:
    """The guide: each design once, the most promising for a second of training next."""
    unknown = dict(enumerate(replay.table))
    while unknown:
        indices = [*unknown]
        index = indices[Guide(OBJECTIVES, seed).next(seen_of(replay), [known_of(replay, i, seed) for i in indices])]
        replay.train(index, seed)
        del unknown[index]


def raced(replay: Replay, seed: int) -> None:
    """The guide, then seeds where membership of the front is open, until it is settled or all recorded seeds are used."""
    guided(replay, seed)
    race(replay, seed, replay.seeds)


def race(replay: Replay, seed: int, most: int) -> None:
    """Further seeds of designs whose membership of the front is open, up to `most` of each."""
    indices = [*replay.whole]
    while (place := next_to_seed(standings([replay.whole[i] for i in indices]), most)) is not None:
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
    measured = {**replay.stopped, **{i: replay.mean(i) for i in replay.whole}}
    return [Seen(known=known_of(replay, index, 0), acc=-cost[0], time=cost[1]) for index, cost in measured.items()]


METHODS: dict[str, tuple[Callable[..., None], dict[str, Any], dict[str, Any]]] = {
    "optuna tpe": (plain, {"sampler": "tpe"}, {}),
    "optuna nsga2": (plain, {"sampler": "nsga2"}, {}),
    "optuna gp": (plain, {"sampler": "gp"}, {}),
    "optuna random": (plain, {"sampler": "random"}, {}),
    "each once": (at_random, {}, {}),
    "each once, sharing, stopping": (at_random, {}, {"sharing": True, "stopping": "on"}),
    "guided": (guided, {}, {}),
    "guided, sharing": (guided, {}, {"sharing": True}),
    "guided, sharing, safe": (guided, {}, {"sharing": True, "stopping": "safe"}),
    "guided, sharing, stopping": (guided, {}, {"sharing": True, "stopping": "on"}),
    "guided, sharing, racing": (raced, {}, {"sharing": True}),
}


def calibration(table: list[Design], searches: int, seeds: int) -> dict[str, Any]:
    """Of designs said to be on the front with more than 95 % probability: how many are, by what was held out and by all seeds."""
    counts = {"designs_said_to_be_sure": 0, "on_the_front_of_the_seed_held_out": 0, "on_the_front_of_the_means_of_all_seeds": 0}
    every = set(front([design.true() for design in table]))
    for search in range(searches):
        held = search % seeds
        kept = [s for s in range(seeds) if s != held]
        fewer = [replace(d, curves={k: d.curves[s] for k, s in enumerate(kept)}) for d in table]
        replay = Replay(table=fewer, seeds=seeds - 1, sharing=True)
        at_random(replay, search)
        race(replay, search, seeds - 1)
        sure = {i for i, s in zip(replay.whole, standings([*replay.whole.values()]), strict=True) if (s.on_front or 0) > SURE}
        there = set(front([design.measured(design.curves[held]) for design in table]))
        counts["designs_said_to_be_sure"] += len(sure)
        counts["on_the_front_of_the_seed_held_out"] += len(sure & there)
        counts["on_the_front_of_the_means_of_all_seeds"] += len(sure & every)
    return counts


def quartiles(traces: Sequence[Sequence[tuple[float, float, float]]], column: int) -> list[list[float]]:
    """[seconds, lower quartile, median, upper quartile] of a share over the training seconds of several searches."""
    end = max(trace[-1][0] for trace in traces)
    rows = []
    for step in range(1, POINTS + 1):
        at = END * step / POINTS
        shares = []
        for trace in traces:
            last = bisect.bisect_right([t[0] for t in trace], at) - 1
            shares.append(trace[last][column] if last >= 0 else 0.0)
        rows.append([round(at, 1), *(round(q, 4) for q in statistics.quantiles(shares, n=4, method="inclusive"))])
        if at > end:
            break
    return rows


def reached(trace: Sequence[tuple[float, float, float]], goal: float) -> float | None:
    """Seconds until the share found reaches the goal."""
    return next((seconds for seconds, found, _ in trace if found >= goal), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3, help="recorded seeds that are used")
    parser.add_argument("--trials", type=int, default=150, help="of plain Optuna")
    parser.add_argument("--gp-trials", type=int, default=100, help="of Optuna's GP sampler, which thinks long")
    parser.add_argument("--methods", default=",".join(f"'{m}'" for m in METHODS))
    asked = parser.parse_args()
    table = load_table(asked.seeds)
    found: dict[str, Any] = {"designs": len(table), "searches": asked.searches, "methods": {}}
    for name, (search, how, kind) in METHODS.items():
        if f"'{name}'" not in asked.methods:
            continue
        traces = []
        began = time.perf_counter()
        for seed in range(asked.searches):
            replay = Replay(table=table, seeds=asked.seeds, **kind)
            if search is plain:
                trials = asked.gp_trials if how["sampler"] == "gp" else asked.trials
                search(replay, seed=seed, trials=trials, **how)
            else:
                search(replay, seed=seed)
            traces.append(replay.trace)
        times = [reached(trace, GOAL) for trace in traces]
        reaching = [t for t in times if t is not None]
        ranked = statistics.median(math.inf if t is None else t for t in times)
        found["methods"][name] = {
            "seconds_to_goal": record.spread(reaching, 4) if reaching else None,
            "searches_that_reach_it": len(reaching),
            "median_seconds_of_all_searches": None if math.isinf(ranked) else round(ranked),
            "found_at_the_end": record.spread([trace[-1][1] for trace in traces], 4),
            "reported_at_the_end": record.spread([trace[-1][2] for trace in traces], 4),
            "seconds_in_all": record.spread([trace[-1][0] for trace in traces], 4),
            "overhead_seconds_a_trial": round((time.perf_counter() - began) / sum(map(len, traces)), 4),
        }
        print(name, json.dumps(found["methods"][name]), flush=True)
        found["methods"][name]["found"] = quartiles(traces, 1)
        found["methods"][name]["reported"] = quartiles(traces, 2)
    found["calibration"] = calibration(table, asked.searches, asked.seeds) if asked.seeds > 1 else None
    print(found["calibration"])
    print(record.write("search", "benchmarks.search", torch.device("cpu"), found))


if __name__ == "__main__":
    main()
