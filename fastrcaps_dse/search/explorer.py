"""The Optuna study around an injected `evaluate`: which design next, what is finished, when to stop. Knows no torch.

Two studies are at work. The *stored* one holds every trial, once each. The *view* is a copy in memory that the sampler
sees; proposals of designs that are known already are turned down there, and never reach the database.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from fastrcaps_dse.analysis.picks import Limit, check_limits
from fastrcaps_dse.errors import InputError, NothingFits, RunFailed
from fastrcaps_dse.problem.objectives import Measurement, mean_measurement, needs_asking
from fastrcaps_dse.problem.quantities import format_value
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.concurrency import Job, side_by_side
from fastrcaps_dse.search.guided import Guide, Known, Seen, features_of
from fastrcaps_dse.search.optuna_storage import find_study
from fastrcaps_dse.search.parameters import draw, make_sampler, parameters, point_of, suggest
from fastrcaps_dse.search.protocols import Bounds, Evaluate, Foresee, Observer, Report

CANDIDATES = 128  # designs that the guide chooses from at most
PROPOSALS = 20  # of the sampler, before a known design is replaced by one drawn at random


def _untold(epoch: int, accuracy: float) -> None:
    """The curves of further seeds stay in our own tables."""


def _check_limits(limits: Sequence[Limit], spec: StudySpec) -> None:
    """Raises InputError where limits contradict each other, or one is of an objective that is not measured."""
    check_limits(limits)
    for limit in limits:
        if needs_asking(limit.objective) and limit.objective not in [o.name for o in spec.objectives]:
            raise InputError(
                f"the limit {limit} needs an objective that is not measured", f"add {limit.objective} to --objectives"
            )


class Explorer:
    """Explores the designs of a spec until its study has `target` trials or the space has no more."""

    def __init__(
        self,
        spec: StudySpec,
        storage: RDBStorage,
        evaluate: Evaluate,
        observer: Observer,
        *,
        limits: Sequence[Limit] = (),
        bounds: Bounds = lambda *_: None,
        foresight: Foresee | None = None,
        workers: int = 1,
        abandon: Callable[[], None] = lambda: None,
    ) -> None:
        """`limits` rule out designs before they are trained, by their `bounds`; they are Optuna's constraints, too.

        The guided sampler needs a `foresight`. `evaluate` is called from up to `workers` threads at once; `abandon` ends what they
        do where the exploration is interrupted. Raises InputError.
        """
        self.workers, self.abandon = workers, abandon
        self.under_way: dict[int, DesignPoint] = {}  # by trial
        self.foresight = foresight
        self.seen: list[Seen] = []
        self.spec, self.storage, self.evaluate, self.observer = spec, storage, evaluate, observer
        _check_limits(limits, spec)
        self.limits, self.bounds = limits, bounds
        self.study, _ = find_study(spec, storage)
        self.study_id = storage.get_study_id_from_name(spec.name)
        self.view = optuna.create_study(directions=self.study.directions)
        self.known: set[str] = set()  # keys of the designs that have a trial
        self.finished = 0  # trials that are done or failed
        self.stopped: list[FrozenTrial] = []  # with an earlier process
        self._recall()

    def _recall(self) -> None:
        """Take in the trials of earlier processes."""
        for trial in self.study.get_trials(deepcopy=False):
            point = point_of(trial, self.spec.space)
            self.known.add(point.key)
            if trial.state.is_finished():
                self.finished += 1
                self.view.add_trial(trial)
            else:
                self.stopped.append(trial)
            if trial.state == TrialState.COMPLETE:
                self._see(point, Measurement(**trial.user_attrs["measurement"]))

    def run(self, target: int, *, before_each: Callable[[DesignPoint], None] = lambda _: None) -> bool:
        """Explore until the study has `target` finished trials. Returns whether the space is exhausted.

        `before_each` is shown each design before its trial is made, and may raise. Raises NothingFits where the limits rule out
        every design.
        """
        self._refuse_empty()
        exhausted = False

        def next_job() -> Job | None:
            nonlocal exhausted
            if self.finished + len(self.under_way) >= target:
                return None
            if self.stopped:
                trial = self.stopped.pop(0)
                return self._job(trial, point_of(trial, self.spec.space), None, target, resumed=True)
            proposed = self._propose()
            if proposed is None:
                exhausted = True
                return None
            point, asked = proposed
            before_each(point)
            return self._job(self._new_trial(point), point, asked, target, resumed=False)

        side_by_side(self.workers, next_job, self.abandon)
        return exhausted

    def _propose(self) -> tuple[DesignPoint, optuna.Trial | None] | None:
        """The next design and the view's trial that asked for it, if one did; None where the space is exhausted."""
        for point in self.spec.first_designs:
            if self._is_new(point):
                return point, None
        rest = self._unknown_designs() if self.spec.space.finite else None
        if rest is not None and self.spec.sampler == "exhaustive":
            point_or_none = next(rest, None)
            return None if point_or_none is None else (point_or_none, None)
        unknown = list(rest) if rest is not None else None
        if unknown == []:
            return None
        if self.spec.sampler == "guided":
            return self._guided(unknown)
        self.view.sampler = make_sampler(self.spec.sampler, self._seed(), crowded=self.workers > 1)
        for _ in range(PROPOSALS):
            asked = self.view.ask()
            point = suggest(asked, self.spec.space)
            if self._is_new(point):
                return point, asked
            self.view.tell(asked, state=TrialState.FAIL)
        generator = random.Random(self._seed())
        return (generator.choice(unknown), None) if unknown else self._draw_unknown()

    def _guided(self, unknown: list[DesignPoint] | None) -> tuple[DesignPoint, None] | None:
        """The design that promises most for a second of training; None where no new one is found."""
        assert self.foresight is not None
        generator = random.Random(self._seed())
        if unknown is None:
            drawn = (draw(self.spec.space, generator) for _ in range(CANDIDATES))
            unknown = list({point.key: point for point in drawn if self._is_new(point)}.values())
        if len(unknown) > CANDIDATES:
            unknown = generator.sample(unknown, CANDIDATES)
        if not unknown:
            return None
        guide = Guide(self.spec.objectives, generator.getrandbits(32))
        pending = [self._known(point) for point in self.under_way.values()]
        return unknown[guide.next(self.seen, [self._known(point) for point in unknown], pending)], None

    def _see(self, point: DesignPoint, measured: Measurement) -> None:
        """Let the guide know a measured design."""
        if self.spec.sampler == "guided":
            self.seen.append(Seen(known=self._known(point), acc=measured["acc"], time=measured["time"]))

    def _known(self, point: DesignPoint) -> Known:
        """A design as the guide sees it."""
        assert self.foresight is not None
        foreseen = self.foresight(point)
        return Known(
            features=features_of(point),
            epochs=self.spec.epochs,
            seconds=foreseen.seconds,
            cost=foreseen.seconds,
            fixed=foreseen.fixed,
        )

    def _unknown_designs(self) -> Iterator[DesignPoint]:
        return (point for point in self.spec.space.designs() if self._is_new(point))

    def _draw_unknown(self) -> tuple[DesignPoint, optuna.Trial | None] | None:
        """A new design of an infinite space, at random; None where a thousand draws find none."""
        self.view.sampler = make_sampler("random", self._seed())
        for _ in range(1000):
            asked = self.view.ask()
            point = suggest(asked, self.spec.space)
            if self._is_new(point):
                return point, asked
            self.view.tell(asked, state=TrialState.FAIL)
        return None

    def _is_new(self, point: DesignPoint) -> bool:
        """Whether a design has no trial yet, and no limit rules it out."""
        return point.key not in self.known and not self._excluding(point)

    def _excluding(self, point: DesignPoint) -> list[Limit]:
        """The limits that a design cannot keep, whatever its training gives."""
        return [limit for limit in self.limits if limit.violation(self._nearest(point, limit)) > 0]

    def _nearest(self, point: DesignPoint, limit: Limit) -> float:
        """The value that comes nearest to keeping a limit, of those that a design can reach."""
        bounds = self.bounds(point, limit.objective)
        return limit.value if bounds is None else bounds[limit.bound == "min"]

    def _refuse_empty(self) -> None:
        """Raises NothingFits where the limits exclude every design, or each of a thousand of an infinite space."""
        if not self.limits:
            return
        generator = optuna.create_study(sampler=make_sampler("random", self.spec.seed))
        drawn = (suggest(generator.ask(), self.spec.space) for _ in range(1000))
        designs = self.spec.space.designs() if self.spec.space.finite else itertools.chain(self.spec.first_designs, drawn)
        least: dict[Limit, float] = {}
        for point in designs:
            excluding = self._excluding(point)
            if not excluding:
                return
            for limit in excluding:
                value = self._nearest(point, limit)
                least[limit] = min(least.get(limit, value), value, key=limit.violation)
        nearest = ", ".join(
            f"{limit}, of which the nearest is {format_value(limit.objective, least[limit])}" for limit in least
        )
        raise NothingFits(f"no design of the space satisfies {nearest}", "loosen the limits or widen the space")

    def _seed(self) -> int:
        """A seed for the next proposal: a continued study proposes what an uninterrupted one would."""
        return random.Random(f"{self.spec.seed}:{len(self.known)}").getrandbits(32)

    def _new_trial(self, point: DesignPoint) -> FrozenTrial:
        """Create the stored trial, running from the start: no other process can take it."""
        values, chosen = parameters(point, self.spec.space)
        template = create_trial(state=TrialState.RUNNING, params=values, distributions=chosen)
        template.datetime_start = datetime.now()
        template.user_attrs = {"label": point.label, "design": point.key}
        trial_id = self.storage.create_new_trial(self.study_id, template)
        self.known.add(point.key)
        return self.storage.get_trial(trial_id)

    def _runs(self, trial: FrozenTrial, point: DesignPoint) -> list[Measurement]:
        """A run for each seed; a run that is pruned spares the seeds after it.

        The first one's curve becomes the trial's intermediate values, which Optuna's tools draw.
        """
        runs: list[Measurement] = []
        for index in range(self.spec.seeds):
            report: Report = partial(self.storage.set_trial_intermediate_value, trial._trial_id) if index == 0 else _untold
            runs.append(self.evaluate(point, self.spec.seed + index, trial.number, report))
            if runs[-1].pruned_after is not None:
                break
        return runs

    def _job(self, trial: FrozenTrial, point: DesignPoint, asked: optuna.Trial | None, target: int, *, resumed: bool) -> Job:
        """Train the trial's design with each seed, then tell both studies."""
        self.observer.trial_started(trial.number, point, finished=self.finished, target=target, resumed=resumed)
        self.under_way[trial.number] = point

        def work() -> list[Measurement] | RunFailed:
            try:
                return self._runs(trial, point)
            except RunFailed as failure:
                return failure

        def finish(result: list[Measurement] | RunFailed) -> None:
            del self.under_way[trial.number]
            self.finished += 1
            if isinstance(result, RunFailed):
                self._fail(trial, point, asked, str(result))
            else:
                self._complete(trial, point, asked, mean_measurement(result))

        return work, finish

    def _fail(self, trial: FrozenTrial, point: DesignPoint, asked: optuna.Trial | None, reason: str) -> None:
        self.storage.set_trial_user_attr(trial._trial_id, "reason", reason)
        self.study.tell(trial.number, state=TrialState.FAIL)
        if asked is not None:
            self.view.tell(asked, state=TrialState.FAIL)
        self.observer.trial_failed(trial.number, point, reason)

    def _complete(self, trial: FrozenTrial, point: DesignPoint, asked: optuna.Trial | None, mean: Measurement) -> None:
        self.storage.set_trial_user_attr(trial._trial_id, "measurement", asdict(mean))
        values = [mean[wanted.name] for wanted in self.spec.objectives]
        told_both = [optuna.Trial(self.study, trial._trial_id), *([asked] if asked is not None else [])]
        for limit, constrained in itertools.product(self.limits, told_both):
            constrained.set_constraint(str(limit), limit.violation(mean[limit.objective]))
        told = self.study.tell(trial.number, values)
        if asked is not None:
            self.view.tell(asked, values)
        else:
            self.view.add_trial(told)
        self._see(point, mean)
        self.observer.trial_finished(trial.number, point, mean)
