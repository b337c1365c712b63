"""Runs: the trainer bound to the store. Trains a design with a seed, keeps every epoch, and continues what was stopped."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.errors import RunFailed
from fastrcaps_dse.objectives import Measurement
from fastrcaps_dse.space import DesignPoint, design_to_dict
from fastrcaps_dse.store import RunRow, Store, StudyRow, TrialRow
from fastrcaps_dse.studyspec import StudySpec
from fastrcaps_dse.trainer import CheckpointError, Epoch, Training, device_name, software, translate_device_errors

if TYPE_CHECKING:
    import torch

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"
HEARTBEAT_SECONDS = 20.0


class RunObserver(Protocol):
    """What is told of a run as it goes."""

    def run_started(self, seed: int, epochs: int, done: int) -> None: ...

    def epoch_finished(self, epoch: Epoch) -> None: ...

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

    def evaluate(self, point: DesignPoint, seed: int, trial: int) -> Measurement:
        """Train, or continue, or just look up the run of this design and seed. Raises RunFailed."""
        run = self.store.claim_run(self.study.study_id, trial, design_to_dict(point), point.key, seed)
        if run.measurement is not None:
            return run.measurement
        if run.state == "failed":
            raise RunFailed(run.reason or "it failed before")
        try:
            with self._heart(run.run_id):
                return self._train(run, point, seed)
        except RunFailed as failure:
            self.store.fail_run(run.run_id, str(failure))
            shutil.rmtree(self._place(run.run_id), ignore_errors=True)
            raise
        except RuntimeError as error:
            known = translate_device_errors(error)
            if known is None:
                raise
            raise known from None

    def _place(self, run_id: int) -> Path:
        return self.folder / f"run-{run_id:06d}"

    def _train(self, run: RunRow, point: DesignPoint, seed: int) -> Measurement:
        training = Training(
            point,
            seed,
            self.dataset,
            epochs=self.spec.epochs,
            protocol=self.spec.protocol,
            device=self.device,
            precision=self.precision,
        )
        self.store.start_run(
            run.run_id,
            device=device_name(self.device),
            precision=training.precision,
            software=software(),
            params=training.params,
        )
        place = self._place(run.run_id)
        self._continue(training, place, run.run_id)
        self.observer.run_started(seed, self.spec.epochs, training.done)
        best = max((row.acc for row in self.store.epochs(run.run_id)), default=-1.0)
        for epoch in training.epochs():
            self.store.set_epoch(run.run_id, asdict(epoch))
            if epoch.acc > best:
                best = epoch.acc
                training.save_weights(place / weights_name(epoch.epoch))
            if (place / LAST).exists():
                (place / LAST).replace(place / PREVIOUS)
            training.save(place / LAST)
            self._drop_old_weights(place)
            self.observer.epoch_finished(epoch)
        return self._finish(training, run.run_id, place)

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

    def _finish(self, training: Training, run_id: int, place: Path) -> Measurement:
        """Select the epoch, test it once, keep its weights, and store the measurement."""
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
            time=sum(row.train_seconds for row in rows[:selected]),
            params=training.params,
            test_acc=test_acc,
            selected_epoch=selected,
        )
        kept = weights.replace(place / "weights.safetensors")
        self.store.finish_run(run_id, measurement, str(kept))
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


def done_runs(trial: TrialRow) -> list[RunRow]:
    """The runs of a design that gave a measurement."""
    return [run for run in trial.runs if run.measurement is not None]


def weights_name(epoch: int) -> str:
    return f"epoch-{epoch:04d}.safetensors"


def selected_epoch(accuracies: Sequence[float]) -> int:
    """The first epoch of the highest accuracy, counted from 1."""
    return max(range(len(accuracies)), key=lambda k: accuracies[k]) + 1
