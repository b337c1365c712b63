"""The Optuna study around an injected `evaluate`: which design next, what is finished, when to stop. Knows no torch.

Two studies are at work. The *stored* one holds every trial, once each. The *view* is a copy in memory that the sampler
sees; proposals of designs that are known already are turned down there, and never reach the data base.
"""

from __future__ import annotations

import itertools
import math
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from fastrcaps_dse import store
from fastrcaps_dse.errors import InputError, MachineError, NothingFits, RunFailed
from fastrcaps_dse.objectives import Measurement, find_objective, format_value, mean_measurement, needs_asking
from fastrcaps_dse.picks import Limit, check_limits
from fastrcaps_dse.space import (
    PLAIN_DIMENSIONS,
    DesignPoint,
    DesignSpace,
    Range,
    make_point,
    parse_policy,
    parse_schedule,
    to_text,
)
from fastrcaps_dse.studyspec import StudySpec, is_whole
from fastrcaps_dse.surrogate import Foreseen, Guide, Known, Seen, features_of

Report = Callable[[int, float], None]
"""Is told (epoch, accuracy in %) of each epoch of a run."""

Evaluate = Callable[[DesignPoint, int, int, Report], Measurement]
"""Trains (design, seed) for a trial number. Raises RunFailed where the run gives no measurement."""

Bounds = Callable[[DesignPoint, str], tuple[float, float] | None]
"""(least, most) that an objective of a design can reach, where that is known before it is trained."""

Foresight = Callable[[DesignPoint], Foreseen]
"""What is known of a design before it is trained."""

CANDIDATES = 256  # designs that the guide chooses from at most
PROPOSALS = 20  # of the sampler, before a known design is replaced by one drawn at random

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Observer(Protocol):
    """What is told of an exploration as it goes."""

    def trial_started(self, trial: int, point: DesignPoint, *, finished: int, target: int, resumed: bool) -> None: ...

    def trial_finished(self, trial: int, point: DesignPoint, measurement: Measurement) -> None: ...

    def trial_failed(self, trial: int, point: DesignPoint, reason: str) -> None: ...


# --- storage ----------------------------------------------------------------------------------------------------------


def open_storage(url: store.URL) -> RDBStorage:
    """Optuna's storage; its tables are made where they are not there. Raises InputError, MachineError."""
    path = store.sqlite_path(url)
    if path:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(f"the folder {path.parent} cannot be made: {error.strerror}", "name another --storage") from None
    engine_options = {"connect_args": {"timeout": 60}} if path else {"pool_pre_ping": True}
    with store.clear_errors(url):
        try:
            storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=engine_options)
        except RuntimeError as error:
            raise InputError(
                f"{store.shown(url)} was written by another version of Optuna: {str(error).splitlines()[0]}",
                "`optuna storage upgrade`, or name another data base with --storage",
            ) from None
        store.begin_immediate(storage.engine)
    return storage


def find_study(spec: StudySpec, storage: RDBStorage) -> tuple[optuna.Study, bool]:
    """(the stored study of this name, whether it was there already)."""
    directions = [objective.direction for objective in spec.objectives]
    try:
        study = optuna.create_study(study_name=spec.name, storage=storage, directions=directions)
    except optuna.exceptions.DuplicatedStudyError:
        return optuna.load_study(study_name=spec.name, storage=storage), True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # all that dashboards show names by
        study.set_metric_names([f"{objective.name} ({objective.unit})" for objective in spec.objectives])
    return study, False


# --- designs and Optuna's parameters ----------------------------------------------------------------------------------


def distributions(space: DesignSpace) -> dict[str, BaseDistribution]:
    """Optuna's distributions for the dimensions that every design has."""
    category = optuna.distributions.CategoricalDistribution
    policies: list[Any] = [to_text(part) for part in space.lr_policy]
    schedules: list[Any] = [to_text(part) for part in space.batch_schedule]
    return {
        "lr_policy": category(policies),
        "batch_schedule": category(schedules),
        **{name: category(list(getattr(space, name))) for name in PLAIN_DIMENSIONS},
    }


def field_distribution(name: str, choice: Range | tuple[float | str, ...]) -> BaseDistribution:
    """Optuna's distribution for an open field of a policy or schedule."""
    if not isinstance(choice, Range):
        return optuna.distributions.CategoricalDistribution(list(choice))
    if is_whole(name):
        return optuna.distributions.IntDistribution(int(choice.low), int(choice.high), step=int(choice.step or 1))
    return optuna.distributions.FloatDistribution(choice.low, choice.high, log=choice.log, step=choice.step)


def suggest(trial: optuna.trial.BaseTrial, space: DesignSpace) -> DesignPoint:
    """The design that the sampler proposes, or that a fixed trial holds."""
    values: dict[str, Any] = {name: suggest_one(trial, name, d) for name, d in distributions(space).items()}
    parts: dict[str, Any] = {
        "lr_policy": parse_policy(values["lr_policy"]),
        "batch_schedule": parse_schedule(values["batch_schedule"]),
    }
    for dimension, part in parts.items():
        opened = {
            name: suggest_one(trial, f"{dimension}.{name}", field_distribution(name, choice))
            for name, choice in space.fields_of(part).items()
        }
        values[dimension] = space.with_fields(part, opened)
    return make_point(**values)


def draw(space: DesignSpace, generator: random.Random) -> DesignPoint:
    """A design at random: choices alike, ranges evenly (by their logarithm where they say so)."""

    def part(base: Any) -> Any:
        return space.with_fields(base, {name: _draw_one(choice, generator) for name, choice in space.fields_of(base).items()})

    plain = {name: generator.choice(getattr(space, name)) for name in PLAIN_DIMENSIONS}
    policy, schedule = generator.choice(space.lr_policy), generator.choice(space.batch_schedule)
    return make_point(lr_policy=part(policy), batch_schedule=part(schedule), **plain)


def _draw_one(choice: Range | tuple[float | str, ...], generator: random.Random) -> float | str:
    if not isinstance(choice, Range):
        return generator.choice(choice)
    if choice.log:
        return math.exp(generator.uniform(math.log(choice.low), math.log(choice.high)))
    if choice.step is None:
        return generator.uniform(choice.low, choice.high)
    return choice.low + choice.step * generator.randrange(int((choice.high - choice.low) / choice.step + 1e-9) + 1)


def suggest_one(trial: optuna.trial.BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    """One parameter of a trial, through Optuna's public methods."""
    match distribution:
        case optuna.distributions.CategoricalDistribution():
            return trial.suggest_categorical(name, distribution.choices)
        case optuna.distributions.IntDistribution():
            return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step)
        case optuna.distributions.FloatDistribution():
            return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
    raise TypeError(f"unknown distribution {distribution}")


def parameters(point: DesignPoint, space: DesignSpace) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """(Optuna's parameters, their distributions) of a design that the space admits."""
    chosen = distributions(space)
    values: dict[str, Any] = {name: getattr(point, name) for name in chosen}
    for dimension in ("lr_policy", "batch_schedule"):
        part = getattr(point, dimension)
        base = space.base_of(part)
        if base is None:
            raise ValueError(f"the space does not admit {to_text(part)}")
        values[dimension] = to_text(base)
        for name, choice in space.fields_of(part).items():
            chosen[f"{dimension}.{name}"] = field_distribution(name, choice)
            values[f"{dimension}.{name}"] = getattr(part, name)
    return values, chosen


def point_of(trial: FrozenTrial, space: DesignSpace) -> DesignPoint:
    """The design of a stored trial."""
    return suggest(optuna.trial.FixedTrial(dict(trial.params)), space)


def make_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler of this name."""
    samplers = optuna.samplers
    makers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "tpe": lambda: samplers.TPESampler(seed=seed),
        "nsga2": lambda: samplers.NSGAIISampler(seed=seed, population_size=20),
        "gp": lambda: samplers.GPSampler(seed=seed),
        "random": lambda: samplers.RandomSampler(seed=seed),
        "exhaustive": lambda: samplers.RandomSampler(seed=seed),  # never asked: designs come in their order
        "guided": lambda: samplers.RandomSampler(seed=seed),  # draws the candidates of an infinite space
    }
    return makers[name]()


def _untold(epoch: int, accuracy: float) -> None:
    """The curves of further seeds stay in our own tables."""


# --- the exploration --------------------------------------------------------------------------------------------------


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
        foresight: Foresight | None = None,
    ) -> None:
        """`limits` rule out designs before they are trained, by their `bounds`; they are Optuna's constraints, too.

        The guided sampler needs a `foresight`. Raises InputError.
        """
        self.foresight = foresight
        self.seen: dict[int, Seen] = {}  # by trial
        self.spec, self.storage, self.evaluate, self.observer = spec, storage, evaluate, observer
        check_limits(limits)
        for limit in limits:
            if needs_asking(limit.objective) and limit.objective not in [o.name for o in spec.objectives]:
                raise InputError(
                    f"the limit {limit} needs an objective that is not measured", f"add {limit.objective} to --objectives"
                )
        self.limits, self.bounds = limits, bounds
        self.study, _ = find_study(spec, storage)
        self.study_id = storage.get_study_id_from_name(spec.name)
        self.view = optuna.create_study(directions=self.study.directions)
        self.known: set[str] = set()  # keys of the designs that have a trial
        for trial in self.study.get_trials(deepcopy=False):
            self.known.add(point_of(trial, spec.space).key)
            if trial.state.is_finished():
                self.view.add_trial(trial)

    def finished(self) -> int:
        """How many trials are done or failed."""
        return sum(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False))

    def run(self, target: int, *, before_each: Callable[[DesignPoint], None] = lambda _: None) -> bool:
        """Explore until the study has `target` finished trials. Returns whether the space is exhausted.

        `before_each` is shown each design before its trial is made, and may raise. Raises NothingFits where the limits rule out
        every design.
        """
        self._refuse_empty()
        while self.finished() < target:
            running = [t for t in self.study.get_trials(deepcopy=False) if t.state == TrialState.RUNNING]
            if running:  # of an earlier process that was stopped
                self._evaluate(running[0], point_of(running[0], self.spec.space), None, target, resumed=True)
                continue
            proposed = self._propose()
            if proposed is None:
                return True
            point, asked = proposed
            before_each(point)
            self._evaluate(self._new_trial(point), point, asked, target, resumed=False)
        return False

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
        self.view.sampler = make_sampler(self.spec.sampler, self._seed())
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
        for t in self.study.get_trials(deepcopy=False):
            if t.number not in self.seen and t.state == TrialState.COMPLETE:
                known = self._known(point_of(t, self.spec.space))
                self.seen[t.number] = Seen(known=known, acc=t.user_attrs["acc"], time=t.user_attrs["time"])
        guide = Guide(self.spec.objectives, generator.getrandbits(32))
        return unknown[guide.next([*self.seen.values()], [self._known(point) for point in unknown])], None

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
        """A run for each seed; a run that is stopped early spares the seeds after it.

        The first one's curve becomes the trial's intermediate values, which Optuna's tools draw.
        """
        runs: list[Measurement] = []
        for index in range(self.spec.seeds):
            report: Report = partial(self.storage.set_trial_intermediate_value, trial._trial_id) if index == 0 else _untold
            runs.append(self.evaluate(point, self.spec.seed + index, trial.number, report))
            if runs[-1].stopped_after is not None:
                break
        return runs

    def _evaluate(
        self, trial: FrozenTrial, point: DesignPoint, asked: optuna.Trial | None, target: int, *, resumed: bool
    ) -> None:
        """Train the trial's design with each seed, and tell both studies."""
        finished = self.finished()
        self.observer.trial_started(trial.number, point, finished=finished, target=target, resumed=resumed)
        try:
            runs = self._runs(trial, point)
        except RunFailed as failure:
            self.storage.set_trial_user_attr(trial._trial_id, "reason", str(failure))
            self.study.tell(trial.number, state=TrialState.FAIL)
            if asked is not None:
                self.view.tell(asked, state=TrialState.FAIL)
            self.observer.trial_failed(trial.number, point, str(failure))
            return
        mean = mean_measurement(runs)
        for f in fields(mean):
            self.storage.set_trial_user_attr(trial._trial_id, f.name, getattr(mean, f.name))
        values = [mean.value(wanted) for wanted in self.spec.objectives]
        told_both = [optuna.Trial(self.study, trial._trial_id), *([asked] if asked is not None else [])]
        for limit, constrained in itertools.product(self.limits, told_both):
            constrained.set_constraint(str(limit), limit.violation(mean.value(find_objective(limit.objective))))
        told = self.study.tell(trial.number, values)
        if asked is not None:
            self.view.tell(asked, values)
        else:
            self.view.add_trial(told)
        self.observer.trial_finished(trial.number, point, mean)
