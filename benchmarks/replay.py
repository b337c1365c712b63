"""Searches over a recorded table: the product's own loop, with an executor that answers from recorded runs and counts their seconds.

`benchmarks.replay_others` has what it is compared with.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.boards import MemoryBoard, run_row
from benchmarks.recorded import OBJECTIVES, Cost, Recorded, RecordedTable, mean_cost
from benchmarks.shares import BY_EPOCH, Truth, View, Volume, truth_of
from benchmarks.snapping import snapping_sampler
from fastrcaps_dse.analysis.pareto import front
from fastrcaps_dse.problem.objectives import Measurement, selected_epoch
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import Pruning, Sampler, StudySpec
from fastrcaps_dse.search.explorer import Explorer
from fastrcaps_dse.search.freeze_thaw import make_planner
from fastrcaps_dse.search.optuna_storage import quiet_optuna
from fastrcaps_dse.search.proposers import make_proposers
from fastrcaps_dse.search.protocols import (
    EpochFinished,
    Forecast,
    Forecaster,
    Measured,
    Message,
    Paused,
    Proposer,
    Request,
    RunStarted,
)
from fastrcaps_dse.search.pruning import FinishedCurve, PartialRun, Prune, decide
from fastrcaps_dse.search.racing import Race
from fastrcaps_dse.store import EpochRow, RunRow

OPTUNAS: tuple[Sampler, ...] = ("tpe", "nsga2", "random", "gp")


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What a search had found when it had spent so many seconds of training."""

    seconds: float
    found: float  # share of the hypervolume of true values
    reported: float  # the same of the whole designs that the measurements put on the front; not a number for epochs


@dataclass(kw_only=True)
class Tally:
    """What a search has found, in each view."""

    truth: Truth
    runs: dict[str, list[Cost]] = field(default_factory=lambda: defaultdict(list))  # costs of whole runs, by the design's key
    censored: dict[str, Cost] = field(default_factory=dict)  # costs of pruned runs
    curves: list[FinishedCurve] = field(default_factory=list)  # of whole runs
    measured: dict[int, RunRow] = field(default_factory=dict)  # by trial, its last run
    traces: dict[View, list[Moment]] = field(default_factory=lambda: defaultdict(list))  # a moment for each gain
    volumes: dict[View, Volume] = field(default_factory=lambda: defaultdict(Volume))  # of the epochs so far

    def take_epoch(self, key: str, epoch: int, spent: float) -> None:
        """Take in that an epoch of a design was trained."""
        for view in BY_EPOCH:
            before = self.volumes[view].volume
            after = self.volumes[view].add(self.truth.points(view, key, epoch - 1, epoch))
            if after > before:
                self.traces[view].append(Moment(seconds=spent, found=after / self.truth.volumes[view], reported=math.nan))

    def take_run(self, request: Request, curve: Sequence[float], measurement: Measurement, spent: float) -> None:
        """Take in a run that has ended."""
        key = request.point.key
        design = self.truth.designs[key]
        if measurement.pruned_after is None:
            self.runs[key].append(design.cost(curve))
            self.curves.append(FinishedCurve(policy=request.point.lr_policy.name, accuracies=tuple(curve)))
        else:
            self.censored[key] = design.cost(curve)
        run = run_row(request.trial + 1, request.trial, request.point, request.seed)
        self.measured[request.trial] = replace(run, state="done", measurement=measurement)
        keys = [*self.runs]
        members = front([mean_cost(self.runs[k]) for k in keys])
        reported = self.truth.share([keys[m] for m in members])
        self.traces["whole"].append(Moment(seconds=spent, found=self.truth.share(keys), reported=reported))

    def others(self, key: str) -> list[Cost]:
        """The costs of what was measured, but for one design."""
        costs = [mean_cost(costs) for other, costs in self.runs.items() if other != key]
        return costs + [cost for other, cost in self.censored.items() if other != key]


@dataclass(kw_only=True)
class Replay:
    """An executor that answers with recorded runs, epoch by epoch, and counts the seconds of each epoch once."""

    truth: Truth
    seeds: int  # recorded
    tally: Tally
    pruning: Pruning = "off"
    trained: set[tuple[int, int]] = field(default_factory=set)  # (prefix, seed): the prefix cache
    paused: dict[int, int] = field(default_factory=dict)  # epochs of runs under way, by run id
    spent: float = 0.0  # s of training
    thinking: list[float] = field(default_factory=list)  # s of each decision; of the last one, that there is nothing to do

    @property
    def workers(self) -> int:
        """One."""
        return 1

    def run(self, next_request: Callable[[], Request | None]) -> Iterator[Message]:
        """Answer each request with the recorded run of its design and seed, up to where it pauses or pruning ends it."""
        while (request := self._decided(next_request)) is not None:
            yield from self.answers(request)

    def _decided(self, next_request: Callable[[], Request | None]) -> Request | None:
        began = time.perf_counter()
        request = next_request()
        self.thinking.append(time.perf_counter() - began)
        return request

    def answers(self, request: Request) -> Iterator[Message]:
        """What happens to a request."""
        design = self.truth.designs[request.point.key]
        curve = design.curves[request.seed % self.seeds]
        done, until = self.paused.pop(request.run_id, 0), request.until or design.epochs
        yield RunStarted(request=request, epochs=design.epochs, accuracies=curve[:done])
        prune = None
        while done < until and prune is None:
            done += 1
            yield EpochFinished(request=request, epoch=self._train(request, design, done))
            prune = self._prune(request, design, curve[:done])
        if done < design.epochs and not request.ends and not prune:
            self.paused[request.run_id] = done
            yield Paused(request=request, epochs=done)
            return
        is_cut = done < design.epochs and (prune is None or prune.censored)
        yield Measured(request=request, measurement=self._measured(request, design, curve[:done], done if is_cut else None))

    def answer(self, request: Request) -> Measurement:
        """The measurement of a request for a whole run."""
        *_, last = self.answers(request)
        assert isinstance(last, Measured)
        return last.measurement

    def _train(self, request: Request, design: Recorded, epoch: int) -> EpochRow:
        """Count the seconds of an epoch, which no run with the same prefix and seed has to train again."""
        prefix = design.prefixes[epoch - 1], request.seed
        if prefix not in self.trained:
            self.spent += design.seconds[epoch - 1]
        self.trained.add(prefix)
        self.tally.take_epoch(request.point.key, epoch, self.spent)
        return _epoch_row(epoch, design.curves[request.seed % self.seeds][epoch - 1], design.seconds[epoch - 1])

    def _prune(self, request: Request, design: Recorded, accuracies: Sequence[float]) -> Prune | None:
        if self.pruning == "off" or not request.prune:
            return None
        run = PartialRun(
            policy=request.point.lr_policy.name,
            fixed={"params": float(design.params)},
            seconds=design.seconds,
            accuracies=tuple(accuracies),
        )
        return decide(run, OBJECTIVES, self.tally.others(request.point.key), self.tally.curves, self.pruning)

    def _measured(self, request: Request, design: Recorded, curve: Sequence[float], cut: int | None) -> Measurement:
        measurement = Measurement(values=design.values(curve), selected_epoch=selected_epoch(curve), pruned_after=cut)
        self.tally.take_run(request, curve, measurement, self.spent)
        return measurement


def _epoch_row(epoch: int, acc: float, seconds: float) -> EpochRow:
    """A recorded epoch; what the table does not hold is not a number."""
    rates = {"lr_first": math.nan, "lr_last": math.nan, "margin_loss": math.nan, "reconstruction_loss": math.nan}
    clock = {"warm_up_seconds": 0.0, "train_seconds": seconds, "eval_seconds": 0.0, "counted_seconds": seconds}
    return EpochRow(epoch=epoch, batch_size=0, steps=0, acc=acc, **rates, **clock)


def make_replay(table: RecordedTable, pruning: Pruning = "off", truth: Truth | None = None) -> Replay:
    """An executor for one search. `truth` is that of the table, if somebody has it already."""
    known = truth or truth_of(table)
    return Replay(truth=known, seeds=table.seeds, tally=Tally(truth=known), pruning=pruning)


def explored(
    table: RecordedTable, seed: int, *, sampler: Sampler, pruning: Pruning = "off", truth: Truth | None = None
) -> Replay:
    """The product's loop over the whole table; what it has spent and found."""
    quiet_optuna()
    executor = make_replay(table, pruning, truth)
    spec = StudySpec(
        name="replay",
        space=table.space,
        epochs=table.epochs,
        trials=len(table.designs),
        sampler=sampler,
        seed=seed,
        pruning=pruning,
        anytime=sampler == "freeze-thaw",
    )
    explorer = Explorer(
        spec=spec,
        board=MemoryBoard(target=len(table.designs)),
        proposers=_proposers(spec, table, executor),
        planner=make_planner(spec, forecaster(executor.truth)),
    )
    explorer.run(executor)
    return executor


def forecaster(truth: Truth) -> Forecaster:
    """What is certain of a design before it is trained, from the table."""

    def forecast(point: DesignPoint) -> Forecast:
        design = truth.designs[point.key]
        return Forecast(seconds=math.fsum(design.seconds), fixed={"params": float(design.params)}, by_epoch=design.seconds)

    return forecast


def _proposers(spec: StudySpec, table: RecordedTable, executor: Replay) -> Sequence[Proposer]:
    if table.is_sample and spec.sampler in OPTUNAS:
        return (snapping_sampler(spec, table),)
    return make_proposers(spec, forecaster(executor.truth))


def raced(executor: Replay, seed: int, max_seeds: int) -> Replay:
    """Race the measured designs of a search."""
    measured = executor.tally.measured
    board = MemoryBoard(target=0, told=[*measured.values()], runs=len(measured))
    Race(board=board, objectives=OBJECTIVES, seeds=1, max_seeds=max_seeds, first_seed=seed).run(executor)
    return executor
