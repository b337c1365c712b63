"""One exploration, put together: storage, study, data, trainer and explorer."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from fastrcaps_dse import data, search, store, trainer
from fastrcaps_dse.analysis.picks import Limit
from fastrcaps_dse.analysis.results import front_of, standings_of
from fastrcaps_dse.analysis.uncertainty import next_to_seed
from fastrcaps_dse.errors import BudgetSpent, InputError, MachineError, RunFailed
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.quantities import format_seconds
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import UNBOUNDED, StudySpec, differences
from fastrcaps_dse.runs.devices import placements, refuse_distortion
from fastrcaps_dse.runs.estimates import Remaining, check_designs
from fastrcaps_dse.runs.progress import SessionObserver, Watch
from fastrcaps_dse.runs.worker_pool import Crew, Setup
from fastrcaps_dse.search.concurrency import Job, side_by_side
from fastrcaps_dse.store import URL, Store, StudyRow, TrialRow


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an exploration ended."""

    study: StudyRow
    trials: int  # finished ones
    exhausted: bool  # the space has no more designs
    spent: bool  # the budget is
    seeds: int = 0  # further runs of designs whose place on the front was open


@dataclass(frozen=True, kw_only=True)
class Staff:
    """What trains the designs of an exploration: in this process, or in others."""

    evaluate: search.Evaluate
    evaluate_whole: Callable[[DesignPoint, int, int], Measurement]  # no run is pruned
    end: Callable[[], None]  # what is under way, where the exploration is interrupted


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
        workers: int | None = 1,
    ) -> None:
        """`budget` is how many seconds the exploration may take, from now on; `fresh` reuses no earlier run. With more than one of
        the `workers`, each is a process of its own, on the GPUs in turn; None is as many as the machine has use for.
        """
        self.budget = budget
        deadline = math.inf if budget is None else time.monotonic() + budget
        self.spec, self.observer, self.limits = spec, observer, limits
        self.device = trainer.choose_device(device)
        refuse_distortion(workers, self.device, spec)
        self.precision = trainer.choose_precision(self.device, precision)
        self.dataset = data.load(spec.dataset, data_dir)
        check_designs(spec, self.dataset.shape)
        self.storage = search.open_storage(url)
        with store.clear_errors(url):
            self.store, self.study = self._open_study(url)
        self.setup = Setup(
            spec=spec,
            url=url,
            data_dir=data_dir,
            device=str(self.device),
            precision=self.precision,
            fresh=fresh,
            deadline=deadline,
        )
        self.runner = self.setup.runner(observer, self.store, self.study, self.dataset)
        self.foresight = self.runner.foresight
        self.url = url
        with store.clear_errors(url):
            self.places = placements(workers, self.device, spec, self.foresight)

    def close(self) -> None:
        """Let go of the storage's connections."""
        self.store.close()
        self.storage.engine.dispose()

    @property
    def deadline(self) -> float:
        """When the budget is spent, on the monotonic clock."""
        return self.setup.deadline

    def _open_study(self, url: URL) -> tuple[Store, StudyRow]:
        """The stored study: made, or found and the same. Raises InputError where it is another."""
        ours = Store(url, create=True)
        study, existed = search.find_study(self.spec, self.storage)
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
        finished = sum(t.state.is_finished() for t in search.find_study(self.spec, self.storage)[0].get_trials(deepcopy=False))
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
            with self._staff() as staff:
                session = search.Explorer(
                    self.spec,
                    self.storage,
                    staff.evaluate,
                    self._watch(),
                    limits=self.limits,
                    bounds=self.foresight.bounds,
                    foresight=self.foresight.foresee,
                    workers=len(self.places),
                    abandon=staff.end,
                )
                exhausted = spent = False
                try:
                    exhausted = session.run(target, before_each=self._check_budget)
                except BudgetSpent:
                    spent = True
                return Outcome(study=self.study, trials=session.finished, exhausted=exhausted, spent=spent)

    def _watch(self) -> Watch:
        remaining = Remaining(self.spec, self.foresight.guess, len(self.places))
        return Watch(
            to=self.observer,
            remaining=remaining,
            tidy=self.tidy,
            size=self.spec.space.size(),
            deadline=self.deadline,
        )

    @contextmanager
    def _staff(self) -> Iterator[Staff]:
        """What trains: this process for one worker, else as many others."""
        if len(self.places) == 1:
            yield Staff(evaluate=self.runner.evaluate, evaluate_whole=self.runner.whole().evaluate, end=lambda: None)
            return
        count = Counter(self.places)
        setups = [replace(self.setup, device=place, beside=count[place]) for place in self.places]
        with store.clear_errors(self.url):
            crew = Crew(setups, self.runner)
            try:
                yield Staff(evaluate=crew.evaluate, evaluate_whole=partial(crew.evaluate, whole=True), end=crew.end)
            finally:
                crew.end()

    def settle(self, most: int) -> int:
        """Train more seeds of the designs of which it is open whether they are on the front, up to `most` each; how many runs.

        It ends where that is known of each with 95 % confidence, all looks at it together, or where the budget is spent.
        """
        runs = 0
        under_way: set[int] = set()  # trials

        def next_job() -> Job | None:
            trials = [t for t in self.store.trials(self.study) if t.measurement is not None]
            known = [*standings_of(trials, self.study.objectives).values()]
            index = next_to_seed(known, most, [k for k, t in enumerate(trials) if t.trial in under_way])
            if index is None or time.monotonic() >= self.deadline:
                return None
            trial = trials[index]
            seed = next(s for s in itertools.count(self.spec.seed) if s not in _tried(trial))
            under_way.add(trial.trial)

            def work() -> None:
                try:
                    staff.evaluate_whole(trial.design, seed, trial.trial)
                except RunFailed as failure:
                    self.observer.warned(f"trial {trial.trial} failed with seed {seed}: {failure}")

            def finish(_: None) -> None:
                nonlocal runs
                under_way.discard(trial.trial)
                runs += 1
                self.tidy()

            return work, finish

        with self._staff() as staff, suppress(BudgetSpent):
            side_by_side(len(self.places), next_job, staff.end)
        return runs

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
