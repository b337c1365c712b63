"""What the product's searches are compared with on a recorded table: plain Optuna, and oracles that know every true value.

Plain Optuna is used as a script of one's own would: whole runs, as its sampler proposes them, repeats included. On a table that is a
sample of a continuous space there are no repeats; see `benchmarks.snapping`.
"""

from __future__ import annotations

import heapq
import math
import time
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState, create_trial

from benchmarks.recorded import OBJECTIVES, RecordedTable
from benchmarks.replay import Replay, make_replay
from benchmarks.shares import Truth, View, Volume
from benchmarks.snapping import OF_ITS_OWN, Nearest
from fastrcaps_dse.analysis.pareto import dominates
from fastrcaps_dse.problem.objectives import selected_epoch
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.search.optuna_storage import quiet_optuna
from fastrcaps_dse.search.parameters import make_sampler, parameters, suggest
from fastrcaps_dse.search.protocols import Request


def plain_optuna(table: RecordedTable, seed: int, *, sampler: str, trials: int, truth: Truth | None = None) -> Replay:
    """Plain Optuna: whole runs, as its sampler proposes them; on a sample of a space, until every design is trained."""
    quiet_optuna()
    executor = make_replay(table, truth=truth)
    study = optuna.create_study(directions=[o.direction for o in OBJECTIVES], sampler=make_sampler(sampler, seed))
    nearest = Nearest(space=table.around, recorded=[design.point for design in table.designs])
    for number in range(min(trials, len(table.designs)) if table.is_sample else trials):
        began = time.perf_counter()
        trial = study.ask()
        point = suggest(trial, table.around)
        if table.is_sample:
            point = nearest.to(point, lambda other: other.key not in executor.tally.runs) or point
        else:
            executor.tally.runs.pop(point.key, None)  # the same run again gives the same
            executor.trained.clear()  # and is trained again
        executor.thinking.append(time.perf_counter() - began)
        measured = executor.answer(_request(number, point, seed))
        values = [measured[objective.name] for objective in OBJECTIVES]
        if not table.is_sample or sampler == OF_ITS_OWN:
            study.tell(trial, values)
        else:
            study.tell(trial, state=TrialState.FAIL)
            chosen, distributions = parameters(point, table.around)
            study.add_trial(create_trial(values=values, params=chosen, distributions=distributions))
    return executor


def _request(number: int, point: DesignPoint, seed: int, until: int | None = None) -> Request:
    return Request(trial=number, point=point, seed=seed, run_id=number, attempt=1, until=until)


@dataclass(kw_only=True)
class _Extension:
    """The best way to go on with a design: up to so many epochs, for so much hypervolume a second."""

    truth: Truth
    view: View
    volume: Volume = field(default_factory=Volume)

    def best(self, key: str, done: int) -> tuple[float, int]:
        """(gain a second, epochs that the run has then); later ones gain no more than now."""
        design = self.truth.designs[key]
        ends = range(done + 1, design.epochs + 1) if self.view != "whole" else [design.epochs]
        gains = [
            (self.volume.gain(self.truth.points(self.view, key, done, end)) / math.fsum(design.seconds[done:end]), -end)
            for end in ends
        ]
        rate, end = max(gains)
        return rate, -end


def oracle(table: RecordedTable, seed: int, *, view: View, truth: Truth | None = None) -> Replay:
    """Who knows every true value: next is what adds the most hypervolume for a second of training.

    Where epochs count, that is a design and the number of epochs up to which it is trained now; it may go on later.
    """
    executor = make_replay(table, truth=truth)
    extension = _Extension(truth=executor.truth, view=view)
    keys = [*executor.truth.designs]
    waiting = [(-extension.best(key, 0)[0], number, 0) for number, key in enumerate(keys)]  # gains only fall
    heapq.heapify(waiting)
    while waiting:
        _, number, done = heapq.heappop(waiting)
        key = keys[number]
        rate, end = extension.best(key, done)
        if waiting and rate < -waiting[0][0]:
            heapq.heappush(waiting, (-rate, number, done))
            continue
        extension.volume.add(executor.truth.points(view, key, done, end))
        for _message in executor.answers(_request(number, executor.truth.designs[key].point, seed, end)):
            pass
        if end < executor.truth.designs[key].epochs:
            heapq.heappush(waiting, (-extension.best(key, end)[0], number, end))
    return executor


def spared_at_most(table: RecordedTable) -> float:
    """The share of all training that pruning could spare at most: if each run's future and all other designs were known."""
    true = [design.true_cost() for design in table.designs]
    whole = spared = 0.0
    for index, design in enumerate(table.designs):
        others = [cost for other, cost in enumerate(true) if other != index]
        for curve in design.curves.values():
            whole += math.fsum(design.seconds)
            best = [selected_epoch(curve[:k]) for k in range(1, design.epochs + 1)]
            for done in range(1, design.epochs):
                futures = [design.cost(curve[:epoch]) for epoch in {*best[done - 1 :]}]
                if all(any(dominates(other, cost) for other in others) for cost in futures):
                    spared += math.fsum(design.seconds[done:])
                    break
    return spared / whole
