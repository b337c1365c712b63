"""Searches over spaces with continuous fields: the product's own loop on synthetic problems whose true front is known.

`benchmarks.landscapes` has the problems. The share of the true front's hypervolume that the trained designs have by their true values is
recorded over the trials (accuracy scaled to the front's range, time and parameters by their logarithm), and the seconds that a proposal
takes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any, get_args

import numpy as np
import torch

from benchmarks import record
from benchmarks.boards import MemoryBoard
from benchmarks.landscapes import SPACES, Landscape, landscape
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import Sampler, StudySpec
from fastrcaps_dse.search.explorer import Explorer
from fastrcaps_dse.search.history import FinishedTrial, History
from fastrcaps_dse.search.optuna_storage import quiet_optuna
from fastrcaps_dse.search.parameters import sample_design
from fastrcaps_dse.search.proposers import make_proposers
from fastrcaps_dse.search.protocols import Forecast, Measured, Message, Proposer, Request

TARGET = 0.95  # of the true hypervolume
STEP = 20  # trials between two points of a recorded curve
NEAR = 20  # decisions whose seconds are averaged, around 100 trials and at the end


@dataclass(kw_only=True)
class Answers:
    """An executor that answers by the formulas of a problem."""

    problem: Landscape
    trained: list[DesignPoint] = field(default_factory=list)

    @property
    def workers(self) -> int:
        """One."""
        return 1

    def run(self, next_request: Callable[[], Request | None]) -> Iterator[Message]:
        """Answer each request."""
        while (request := next_request()) is not None:
            self.trained.append(request.point)
            values = self.problem.measured(request.point, request.seed)
            epoch = max(1, round(self.problem.epochs * values["time"] / self.problem.seconds(request.point)))
            yield Measured(request=request, measurement=Measurement(values=values, selected_epoch=epoch))


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A proposer, and the seconds of each of its proposals."""

    proposer: Proposer
    seconds: list[float] = field(default_factory=list)

    def propose(self, history: History) -> DesignPoint | None:
        """What the proposer proposes."""
        began = time.perf_counter()
        point = self.proposer.propose(history)
        self.seconds.append(time.perf_counter() - began)
        return point


def searched(name: str, sampler: Sampler, trials: int, seed: int) -> tuple[list[float], list[float]]:
    """(share of the true hypervolume after each trial, seconds of each proposal) of one search."""
    torch.set_num_threads(1)
    quiet_optuna()
    problem = landscape(name)
    spec = StudySpec(name=name, space=problem.space, epochs=problem.epochs, trials=trials, sampler=sampler, seed=seed)

    def forecast(point: DesignPoint) -> Forecast:
        return Forecast(seconds=problem.seconds(point), fixed={"params": problem.params(point)})

    *first, chosen = make_proposers(spec, forecast)
    timed, executor = Timed(proposer=chosen), Answers(problem=problem)
    Explorer(spec=spec, board=MemoryBoard(target=trials), proposers=[*first, timed]).run(executor)
    costs = problem.costs(executor.trained)
    return [problem.share(costs[: k + 1]) for k in range(len(costs))], timed.seconds


def summary(found: Sequence[tuple[list[float], list[float]]], trials: int) -> dict[str, Any]:
    """What the searches of one sampler on one problem reached."""
    shares = np.array([shares for shares, _ in found])  # [searches, trials]
    reached = [next((k + 1 for k, share in enumerate(row) if share >= TARGET), None) for row in shares]
    think = {
        f"seconds_a_decision_at_{at}_trials": record.spread(
            [statistics.fmean(seconds[max(0, at - NEAR) : at]) for _, seconds in found if len(seconds) >= at - NEAR]
        )
        for at in sorted({min(100, trials), trials})
    }
    at = [*range(STEP - 1, trials, STEP)]
    return {
        "share_at_the_end": record.spread(shares[:, -1].tolist(), 4),
        "searches_that_reach_the_target": sum(k is not None for k in reached),
        "trials_to_the_target": record.spread([k for k in reached if k is not None], 4) if any(reached) else None,
        **think,
        "slowest_decision_seconds": round(max(max(seconds) for _, seconds in found), 4),
        "curve": [[k + 1, *np.quantile(shares[:, k], (0.25, 0.5, 0.75)).round(4).tolist()] for k in at],
    }


def thinking(trials: int) -> dict[str, float]:
    """The seconds of a decision of the guided search when so many random designs of the first problem are measured."""
    torch.set_num_threads(1)
    quiet_optuna()
    problem = landscape(next(iter(SPACES)))
    spec = StudySpec(name=problem.name, space=problem.space, epochs=problem.epochs, trials=trials)

    def forecast(point: DesignPoint) -> Forecast:
        return Forecast(seconds=problem.seconds(point), fixed={"params": problem.params(point)})

    proposer, history, generator = Timed(proposer=make_proposers(spec, forecast)[-1]), History(), random.Random(0)
    while len(history.finished) < trials + NEAR:
        many = len(history.finished) >= trials
        point = proposer.propose(history) if many else sample_design(problem.space, generator)
        assert point is not None
        measurement = Measurement(values=problem.measured(point, 0), selected_epoch=1)
        history.finished.append(FinishedTrial(number=len(history.finished), point=point, measurement=measurement))
        history.keys.add(point.key)
    return record.spread(proposer.seconds) | {"first": round(proposer.seconds[0], 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", default=",".join(SPACES))
    parser.add_argument("--samplers", default="guided,nsga2,tpe,random")
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--think", default="", help="numbers of measured designs with which a decision is timed, e.g. 100,2000")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--add", action="store_true", help="keep what the record has of other problems and samplers")
    asked = parser.parse_args()
    path = record.PLACE / "continuous.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if asked.add and path.exists() else {}
    found: dict[str, Any] = {name: earlier.get(name, {}) for name in ("seconds_a_decision_of_guided", "problems")}
    found = {"target": TARGET, "trials": asked.trials} | found
    for trials in filter(None, asked.think.split(",")):
        found["seconds_a_decision_of_guided"][trials] = thinking(int(trials))
        print(trials, found["seconds_a_decision_of_guided"][trials], flush=True)
        record.write("continuous", "benchmarks.continuous", torch.device("cpu"), found)
    with ProcessPoolExecutor(asked.processes, get_context("spawn")) as pool:
        for name in filter(None, asked.problems.split(",")):
            problem = landscape(name)
            known = {"true_hypervolume": round(problem.scale[2], 5), "designs_of_the_true_front": len(problem.true_front)}
            of_problem: dict[str, Any] = found["problems"].setdefault(name, {})
            of_problem |= known
            for sampler in [s for s in asked.samplers.split(",") if s in get_args(Sampler)]:
                search = partial(searched, name, sampler, asked.trials)
                of_problem[sampler] = summary([*pool.map(search, range(asked.searches))], asked.trials)
                print(name, sampler, json.dumps({k: v for k, v in of_problem[sampler].items() if k != "curve"}), flush=True)
                record.write("continuous", "benchmarks.continuous", torch.device("cpu"), found)


if __name__ == "__main__":
    main()
