"""One exploration, put together: storage, study, data, trainer and explorer."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from fastrcaps_dse import data, explorer, store, trainer
from fastrcaps_dse.capsnet.sizes import ImageShape, parameter_count
from fastrcaps_dse.errors import BudgetSpent, InputError, MachineError, RunFailed
from fastrcaps_dse.foresight import Foresight
from fastrcaps_dse.noise import next_to_seed
from fastrcaps_dse.objectives import Measurement, format_seconds
from fastrcaps_dse.picks import Limit
from fastrcaps_dse.records import front_of, standings_of
from fastrcaps_dse.runs import Runner, RunObserver
from fastrcaps_dse.schedules import build_timeline
from fastrcaps_dse.space import DesignPoint
from fastrcaps_dse.store import URL, Store, StudyRow, TrialRow
from fastrcaps_dse.studyspec import UNBOUNDED, StudySpec, differences, override


class SessionObserver(RunObserver, Protocol):
    """What is told of an exploration and of its runs; `front` is the size of the front so far."""

    def trial_started(self, trial: int, point: DesignPoint, *, finished: int, target: int, resumed: bool) -> None: ...

    def trial_finished(self, trial: int, point: DesignPoint, measurement: Measurement, front: int) -> None: ...

    def trial_failed(self, trial: int, point: DesignPoint, reason: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an exploration ended."""

    study: StudyRow
    trials: int  # finished ones
    exhausted: bool  # the space has no more designs
    spent: bool  # the budget is
    seeds: int = 0  # further runs of designs whose place on the front was open


class Session:
    """An exploration that is ready to go. Raises UserErrors for everything that can be known before training."""

    def __init__(
        self,
        spec: StudySpec,
        url: URL,
        observer: SessionObserver,
        *,
        data_dir: Path | None = None,
        device: str | None = None,
        precision: str | None = None,
        limits: Sequence[Limit] = (),
        budget: float | None = None,
        fresh: bool = False,
    ) -> None:
        """`budget` is how many seconds the exploration may take, from now on; `fresh` reuses no earlier run."""
        self.budget, self.deadline = budget, math.inf if budget is None else time.monotonic() + budget
        self.spec, self.observer, self.limits = spec, observer, limits
        self.device = trainer.choose_device(device)
        self.precision = trainer.choose_precision(self.device, precision)
        self.dataset = data.load(spec.dataset, data_dir)
        check_designs(spec, self.dataset.shape)
        self.storage = explorer.open_storage(url)
        with store.clear_errors(url):
            self.store, self.study = self._open_study(url)
        self.foresight = Foresight(
            store=self.store,
            spec=spec,
            dataset=self.dataset,
            train_images=self.study.train_images,
            device=self.device,
            precision=self.precision,
            warned=observer.warned,
        )
        self.runner = Runner(
            foresight=self.foresight,
            store=self.store,
            study=self.study,
            spec=spec,
            dataset=self.dataset,
            folder=store.runs_folder(url),
            device=self.device,
            precision=self.precision,
            observer=observer,
            fresh=fresh,
            time_is_up=lambda: time.monotonic() >= self.deadline,
        )
        self.url = url

    def _open_study(self, url: URL) -> tuple[Store, StudyRow]:
        """The stored study: made, or found and the same. Raises InputError where it is another."""
        ours = Store(url, create=True)
        study, existed = explorer.find_study(self.spec, self.storage)
        known = {row.name: row for row in ours.studies()}
        if self.spec.name not in known:
            if existed and study.get_trials(deepcopy=False):
                raise InputError(
                    f"the study {self.spec.name!r} in this storage was not made by fastrcaps-dse", "name another with --study"
                )
            ours.add_study(
                {
                    "study_id": self.storage.get_study_id_from_name(self.spec.name),
                    "identity": self.spec.identity(),
                    "spec_text": self.spec.text,
                    "target_trials": 0,
                    "dataset_fingerprint": self.dataset.fingerprint(),
                    "image_shape": asdict(self.dataset.shape),
                    "train_images": len(trainer.split_for(self.dataset, self.spec.protocol)[0]),
                }
            )
            return ours, ours.study(self.spec.name)
        row = known[self.spec.name]
        differing = differences(row.identity, self.spec.identity())
        if row.dataset_fingerprint != self.dataset.fingerprint():
            differing.append("the images of the data set")
        if differing:
            raise InputError(
                f"the study {self.spec.name!r} was started differently: " + "; ".join(differing),
                "continue it as it was started, or begin another with --study NAME",
            )
        return ours, row

    def target(self, trials: int | None) -> int:
        """How many trials the study shall have: as asked; else as it was stopped on the way to; else as many again."""
        finished = sum(
            t.state.is_finished() for t in explorer.find_study(self.spec, self.storage)[0].get_trials(deepcopy=False)
        )
        if trials is not None:
            wanted = trials
        elif self.budget is not None:
            return UNBOUNDED
        elif self.study.target_trials > finished:
            wanted = self.study.target_trials
        else:
            wanted = finished + self.spec.trials
        self.store.set_target(self.study.study_id, wanted)
        return wanted

    def run(self, trials: int | None = None) -> Outcome:
        """Explore. `trials` is how many the study shall have in all; see `target`."""
        with store.clear_errors(self.url):
            self._refuse_company()
            self._warn_of_another_device()
            target = self.target(trials)
            session = explorer.Explorer(
                self.spec,
                self.storage,
                self.runner.evaluate,
                _Watch(self),
                limits=self.limits,
                bounds=self.foresight.bounds,
                foresight=self.foresight.foresee,
            )
            exhausted = spent = False
            try:
                exhausted = session.run(target, before_each=self._check_budget)
            except BudgetSpent:
                spent = True
            return Outcome(study=self.study, trials=session.finished(), exhausted=exhausted, spent=spent)

    def settle(self, most: int) -> int:
        """Train more seeds of the designs of which it is open whether they are on the front, up to `most` each; how many runs.

        It ends where each is on it with more than 95 % or less than 5 % probability, or where the budget is spent.
        """
        runs = 0
        whole = replace(self.runner, spec=override(self.spec, stopping="off"))
        while True:
            trials = [t for t in self.store.trials(self.study) if t.measurement is not None]
            known = [*standings_of(trials, self.study.objectives).values()]
            index = next_to_seed(known, most)
            if index is None or time.monotonic() >= self.deadline:
                return runs
            trial = trials[index]
            seed = next(s for s in itertools.count(self.spec.seed) if s not in _tried(trial))
            try:
                whole.evaluate(trial.design, seed, trial.trial)
            except RunFailed as failure:
                self.observer.warned(f"trial {trial.trial} failed with seed {seed}: {failure}")
            except BudgetSpent:
                return runs
            runs += 1
            self.tidy()

    def _check_budget(self, point: DesignPoint) -> None:
        """Raises BudgetSpent where the budget is over, InputError where it is shorter than one epoch of the first design."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise BudgetSpent
        if self.budget is not None and not self.store.runs(self.study.study_id):
            needed = self.foresight.first_epoch_seconds(point)
            if needed > self.budget:
                raise InputError(
                    f"a budget of {format_seconds(self.budget)} is shorter than one epoch of {point.label}, "
                    f"about {format_seconds(needed)}",
                    "give it more, or use larger batches",
                )

    def _refuse_company(self) -> None:
        """One process explores a study at a time."""
        for run in self.store.owners(self.study.study_id):
            if store.is_alive(run["owner"], run["heartbeat"]):
                raise MachineError(
                    f"the study {self.spec.name!r} is being explored by another process",
                    "wait for it, stop it, or use --study NAME",
                )

    def _warn_of_another_device(self) -> None:
        """Times of different devices or precisions are not comparable."""
        here = (trainer.device_name(self.device), self.precision)
        there = {(run.device, run.precision) for run in self.store.runs(self.study.study_id) if run.device} - {here}
        for device, precision in sorted(there, key=str):
            self.observer.warned(
                f"earlier runs of this study were trained on {device} in {precision}, not on {here[0]} in {here[1]}: "
                "their times are not comparable"
            )

    def tidy(self) -> int:
        """Keep the weights of the front only; the size of the front."""
        trials = self.store.trials(self.study)
        front = front_of(trials, self.study.objectives)
        self.runner.keep_weights_of(front, trials)
        return len(front)


def _tried(trial: TrialRow) -> set[int]:
    """The seeds that a design has a finished run of."""
    return {run.seed for run in trial.runs if run.state != "running"}


class _Watch:
    """Passes on what the explorer tells, and tidies up after each trial."""

    def __init__(self, session: Session) -> None:
        self.session, self.to = session, session.observer

    def trial_started(self, trial: int, point: DesignPoint, *, finished: int, target: int, resumed: bool) -> None:
        self.to.trial_started(trial, point, finished=finished, target=target, resumed=resumed)

    def trial_finished(self, trial: int, point: DesignPoint, measurement: Measurement) -> None:
        self.to.trial_finished(trial, point, measurement, self.session.tidy())

    def trial_failed(self, trial: int, point: DesignPoint, reason: str) -> None:
        self.to.trial_failed(trial, point, reason)


def check_designs(spec: StudySpec, shape: ImageShape) -> None:
    """Raises InputError where the images do not fit the networks of the space."""
    for point in [*spec.first_designs, DesignPoint(network=spec.space.network[0])]:
        parameter_count(point, shape)


# --- what it would cost -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PlannedDesign:
    """A design that a study would train first, and what that is estimated to take."""

    point: DesignPoint
    params: int
    steps: int  # of one run
    seconds: float  # of one run, training only


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study would train."""

    first: tuple[PlannedDesign, ...]  # the named designs, tried first
    designs: int  # how many it would try in all
    size: int | None  # of the space; None where it is infinite
    seconds: float  # of training, for all designs and seeds


def plan(spec: StudySpec, *, data_dir: Path | None, device: str | None, precision: str | None) -> Plan:
    """What the study would train. Measures a few steps of each batch size here. Raises UserErrors."""
    place = trainer.choose_device(device)
    work = trainer.choose_precision(place, precision)
    dataset = data.load(spec.dataset, data_dir)
    check_designs(spec, dataset.shape)
    images = len(trainer.split_for(dataset, spec.protocol)[0])
    measured: dict[tuple[str, bool, int], float] = {}  # seconds a step, by network, weight sharing and batch size

    def planned(point: DesignPoint) -> PlannedDesign:
        line = build_timeline(point.batch_schedule, epochs=spec.epochs, images=images)
        seconds = 0.0
        for phase in line.phases:
            key = (point.network, point.weight_sharing, phase.batch_size)
            if key not in measured:
                measured[key] = trainer.measure_step(point, dataset, phase.batch_size, place, work, groups=3).seconds
            seconds += measured[key] * phase.epochs * phase.steps_per_epoch
        return PlannedDesign(point=point, params=parameter_count(point, dataset.shape), steps=line.total_steps, seconds=seconds)

    size = spec.space.size()
    designs = spec.trials if size is None else min(spec.trials, size)
    first = tuple(planned(point) for point in spec.first_designs[:designs])
    rest = [planned(point) for point in spec.space.examples()] if designs > len(first) else []
    mean_of_rest = math.fsum(d.seconds for d in rest) / max(1, len(rest))
    total = math.fsum(d.seconds for d in first) + mean_of_rest * (designs - len(first))
    return Plan(first=first, designs=designs, size=size, seconds=total * spec.seeds)
