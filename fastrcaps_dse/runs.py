"""Runs: the trainer bound to the store. Trains a design with a seed, keeps every epoch, and continues what was stopped."""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fastrcaps_dse.beginnings import Beginnings
from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.errors import BudgetSpent, RunFailed
from fastrcaps_dse.foresight import Foresight
from fastrcaps_dse.objectives import BASIC, Measurement, minimised, selected_epoch
from fastrcaps_dse.space import DesignPoint, design_to_dict
from fastrcaps_dse.stopping import Course, Finished, Stop, judge
from fastrcaps_dse.store import RunRow, Store, StudyRow, TrialRow
from fastrcaps_dse.studyspec import StudySpec
from fastrcaps_dse.trainer import (
    CheckpointError,
    Epoch,
    Training,
    beside_others,
    device_name,
    software,
    translate_device_errors,
)

if TYPE_CHECKING:
    import torch

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"
HEARTBEAT_SECONDS = 20.0

Report = Callable[[int, float], None]
"""Is told (epoch, accuracy in %) of each epoch."""


class RunObserver(Protocol):
    """What is told of a run as it goes."""

    def run_started(self, trial: int, seed: int, epochs: int, done: int) -> None: ...

    def epoch_finished(self, trial: int, epoch: Epoch) -> None: ...

    def warned(self, message: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Trains designs for one study on one device."""

    store: Store
    study: StudyRow
    spec: StudySpec
    dataset: DataSet
    folder: Path  # of all runs of this storage
    device: torch.device
    precision: Precision
    observer: RunObserver
    foresight: Foresight
    fresh: bool = False  # train everything again that an equal run or an equal beginning could give
    time_is_up: Callable[[], bool] = lambda: False  # asked after each epoch

    def evaluate(self, point: DesignPoint, seed: int, trial: int, report: Report = lambda *_: None) -> Measurement:
        """Train, or continue, or just look up the run of this design and seed; `report` each epoch. Raises RunFailed."""
        run = self.store.claim_run(self.study.study_id, trial, design_to_dict(point), point.key, seed)
        if run.measurement is not None:
            return run.measurement
        if run.state == "failed":
            raise RunFailed(run.reason or "it failed before")
        if not self.fresh and (measured := self._reuse(run)) is not None:
            return measured
        try:
            with self._heart(run.run_id):
                return self._train(run, point, seed, report)
        except RunFailed as failure:
            self.store.fail_run(run.run_id, str(failure))
            shutil.rmtree(self._place(run.run_id), ignore_errors=True)
            raise
        except RuntimeError as error:
            known = translate_device_errors(error)
            if known is None:
                raise
            raise known from None

    def whole(self) -> Runner:
        """The same, but it stops no run early."""
        return replace(self, spec=replace(self.spec, stopping="off"))

    def abandon(self, point: DesignPoint, seed: int, trial: int, reason: str) -> None:
        """Fail the run of this design and seed, that no living process trains."""
        run = self.store.claim_run(self.study.study_id, trial, design_to_dict(point), point.key, seed)
        self.store.fail_run(run.run_id, reason)
        shutil.rmtree(self._place(run.run_id), ignore_errors=True)

    def _place(self, run_id: int) -> Path:
        return self.folder / f"run-{run_id:06d}"

    def _train(self, run: RunRow, point: DesignPoint, seed: int, report: Report) -> Measurement:
        training = Training(
            point,
            seed,
            self.dataset,
            epochs=self.spec.epochs,
            protocol=self.spec.protocol,
            device=self.device,
            precision=self.precision,
        )
        step_seconds = self.foresight.step_seconds(training.timeline, point) if self.spec.time == "steps" else None
        self.store.start_run(
            run.run_id,
            device=device_name(self.device),
            precision=training.precision,
            software=software(),
            params=training.params,
        )
        place = self._place(run.run_id)
        self._continue(training, place, run.run_id)
        keys = [] if self.fresh else training.beginning_keys()
        if training.done == 0 and keys:
            self._fork(training, keys[:-1], place, run.run_id, step_seconds)
        self.observer.run_started(run.trial, seed, self.spec.epochs, training.done)
        earlier = self.store.epochs(run.run_id)
        for row in earlier:
            report(row.epoch, row.acc)
        best = max((row.acc for row in earlier), default=-1.0)
        judged = self._judge(training, run.run_id, step_seconds)
        while (stop := judged()) is None and training.done < self.spec.epochs:
            with beside_others(self.device):
                epoch = training.run_epoch()
            report(epoch.epoch, epoch.acc)
            self.store.set_epoch(run.run_id, _counted(asdict(epoch), step_seconds))
            if epoch.acc > best:
                best = epoch.acc
                training.save_weights(place / weights_name(epoch.epoch))
            if (place / LAST).exists():
                (place / LAST).replace(place / PREVIOUS)
            training.save(place / LAST)
            self._drop_old_weights(place)
            if keys and self._is_kept(training):
                self._keep_beginning(keys[training.done - 1], place, run.run_id)
            self.observer.epoch_finished(run.trial, epoch)
            if epoch.epoch < self.spec.epochs and self.time_is_up():
                raise BudgetSpent
        return self._finish(training, run.run_id, place, stop)

    def _judge(self, training: Training, run_id: int, step_seconds: Mapping[int, float] | None) -> Callable[[], Stop | None]:
        """Tells from the epochs of a run whether it should stop; against what the study had measured when it began."""
        if self.spec.stopping == "off":
            return lambda: None
        trials = self.store.trials(self.study)
        objectives = self.study.objectives
        measured = [t.measurement for t in trials if t.measurement is not None]
        costs = [minimised(objectives, {o.name: m.value(o) for o in objectives}) for m in measured]
        curves = self.store.epochs_of(self.study.study_id)
        finished = [
            Finished(policy=trial.design.lr_policy.name, accuracies=tuple(row.acc for row in curves[run.run_id]))
            for trial in trials
            for run in trial.runs
            if run.measurement is not None and run.measurement.stopped_after is None
        ]
        point = training.point
        known = self.foresight.fixed(point)
        phases = [training.timeline.phase_of_epoch(epoch) for epoch in range(training.timeline.epochs)]

        def judged() -> Stop | None:
            rows = self.store.epochs(run_id)
            if not rows:
                return None
            mean = math.fsum(row.counted_seconds for row in rows) / sum(row.steps for row in rows)
            rest = [p.steps_per_epoch * (step_seconds or {}).get(p.batch_size, mean) for p in phases[len(rows) :]]
            course = Course(
                policy=point.lr_policy.name,
                known=known,
                seconds=(*(row.counted_seconds for row in rows), *rest),
                accuracies=tuple(row.acc for row in rows),
            )
            return judge(course, objectives, costs, finished, self.spec.stopping)

        return judged

    def _reuse(self, run: RunRow) -> Measurement | None:
        """The measurement of an equal run of another study of this storage, made this run's too; None where there is none."""
        wanted = [o.name for o in self.spec.objectives if o.name not in BASIC]
        place = {"device": device_name(self.device), "precision": self._precision_of(run.design), "software": software()}
        equal = self.store.equal_run(self.study, run, place)
        if equal is None or equal.measurement is None or not all(name in equal.measurement.others for name in wanted):
            return None
        kept = None
        if equal.weights and Path(equal.weights).exists():
            self._place(run.run_id).mkdir(parents=True, exist_ok=True)
            kept = str(shutil.copyfile(equal.weights, self._place(run.run_id) / Path(equal.weights).name))
        self.store.start_run(run.run_id, params=equal.measurement.params, **place)
        for row in self.store.epochs(equal.run_id):
            self.store.set_epoch(run.run_id, asdict(row))
        self.store.finish_run(run.run_id, equal.measurement, equal.wall_time or equal.measurement.time, kept)
        return equal.measurement

    def _precision_of(self, point: DesignPoint) -> Precision:
        return self.precision if point.network == "capsnet" else "float32"

    def _is_kept(self, training: Training) -> bool:
        """Whether the beginning up to here may serve another run: at the ends of phases, and of the run, for longer ones."""
        return training.done in {phase.first_epoch + phase.epochs for phase in training.timeline.phases}

    def _keep_beginning(self, key: str, place: Path, run_id: int) -> None:
        rows = self.store.epochs(run_id)
        best = place / weights_name(selected_epoch([row.acc for row in rows]))
        self._beginnings.keep(key, place / LAST, best, [asdict(row) for row in rows])

    @property
    def _beginnings(self) -> Beginnings:
        return Beginnings(self.folder / "beginnings")

    def _fork(
        self, training: Training, keys: Sequence[str], place: Path, run_id: int, step_seconds: Mapping[int, float] | None
    ) -> None:
        """Start from the longest beginning that another run has trained, if there is one."""
        found = self._beginnings.longest(keys)
        if found is None:
            return
        try:
            training.load(found.checkpoint, fork=True)
            best = place / weights_name(selected_epoch([epoch["acc"] for epoch in found.epochs]))
            best.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found.best, best)
            for epoch in found.epochs:
                self.store.set_epoch(run_id, _counted(epoch, step_seconds))
        except (CheckpointError, KeyError, OSError) as error:
            training.reset()
            self.store.drop_epochs(run_id, after=0)
            self.observer.warned(f"a shared beginning cannot be used ({error}); training it again")

    def _continue(self, training: Training, place: Path, run_id: int) -> None:
        """Load the last checkpoint, or the one before it where that is broken, or begin anew."""
        for name in (LAST, PREVIOUS):
            if not (place / name).exists():
                continue
            try:
                training.load(place / name)
                if not self._has_best_weights(run_id, place, training.done):
                    raise CheckpointError(f"the weights that belong to {place / name} are gone")
                break
            except (CheckpointError, KeyError) as error:
                training.reset()
                self.observer.warned(f"a checkpoint cannot be used ({error}); going back to the one before it")
        self.store.drop_epochs(run_id, after=training.done)
        for path in place.glob("epoch-*.safetensors"):
            if path.name > weights_name(training.done):  # of epochs that will be trained again
                path.unlink()

    def _has_best_weights(self, run_id: int, place: Path, done: int) -> bool:
        rows = [row for row in self.store.epochs(run_id) if row.epoch <= done]
        return len(rows) == done and (place / weights_name(selected_epoch([row.acc for row in rows]))).exists()

    def _drop_old_weights(self, place: Path) -> None:
        """Keep the weights of the last two best epochs: the second serves a run that falls back to its previous checkpoint."""
        for path in sorted(place.glob("epoch-*.safetensors"))[:-2]:
            path.unlink()

    def _finish(self, training: Training, run_id: int, place: Path, stop: Stop | None) -> Measurement:
        """Select the epoch, test it once, keep its weights, and store the measurement; `stop` is why it was stopped early."""
        rows = self.store.epochs(run_id)
        selected = selected_epoch([row.acc for row in rows])
        weights = place / weights_name(selected)
        acc = rows[selected - 1].acc
        test_acc = acc
        if self.spec.protocol == "validation":
            training.load_weights(weights)
            test_acc = training.test_accuracy()
        measurement = Measurement(
            acc=acc,
            time=sum(row.counted_seconds for row in rows[:selected]),
            params=training.params,
            test_acc=test_acc,
            selected_epoch=selected,
            stopped_after=len(rows) if stop and not stop.settled else None,
            others=self.foresight.others(training.point, rows, selected),
        )
        kept = weights.replace(place / "weights.safetensors")
        seconds = sum(row.train_seconds for row in rows[:selected])
        self.store.finish_run(run_id, measurement, seconds, str(kept), stop.reason if stop else None)
        for path in place.glob("*.safetensors"):
            if path != kept:
                path.unlink()
        return measurement

    def keep_weights_of(self, front: Sequence[TrialRow], trials: Sequence[TrialRow]) -> None:
        """Delete the weights of designs that are not on the front, and of all but the most accurate seed of those that are."""
        keep = {max(done_runs(trial), key=lambda run: run.measurement.acc if run.measurement else 0).run_id for trial in front}
        for trial in trials:
            for run in done_runs(trial):
                if run.weights and run.run_id not in keep:
                    self.store.forget_weights(run.run_id)
                    shutil.rmtree(self._place(run.run_id), ignore_errors=True)

    @contextmanager
    def _heart(self, run_id: int) -> Iterator[None]:
        """Beat while the run is trained, so that other machines see that it lives."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(HEARTBEAT_SECONDS):
                self.store.beat(run_id)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _counted(epoch: Mapping[str, Any], step_seconds: Mapping[int, float] | None) -> dict[str, Any]:
    """An epoch's record with the seconds that it adds to the time objective: by steps, or as the clock told."""
    by_steps = None if step_seconds is None else epoch["steps"] * step_seconds[epoch["batch_size"]]
    return {**epoch, "counted_seconds": epoch["train_seconds"] if by_steps is None else by_steps}


def done_runs(trial: TrialRow) -> list[RunRow]:
    """The runs of a design that gave a measurement."""
    return [run for run in trial.runs if run.measurement is not None]


def weights_name(epoch: int) -> str:
    return f"epoch-{epoch:04d}.safetensors"
