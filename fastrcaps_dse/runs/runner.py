"""Trains designs for one study: a run is claimed, reused, forked or trained, epoch by epoch, and measured."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.errors import BudgetSpent, RunFailed
from fastrcaps_dse.problem.objectives import Measurement, selected_epoch
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.runs.cost_model import Foresight
from fastrcaps_dse.runs.files import RunFiles
from fastrcaps_dse.runs.judging import Judge, measured_so_far
from fastrcaps_dse.runs.prefix_cache import Beginnings
from fastrcaps_dse.search.pruning import Stop
from fastrcaps_dse.store import RunRow, Store, StudyRow, TrialRow
from fastrcaps_dse.trainer import Epoch, Training, beside_others, device_name, software, translate_device_errors

if TYPE_CHECKING:
    import torch

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
        return replace(self, spec=replace(self.spec, pruning="off"))

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
        files = self._files(run.run_id, training)
        self.store.start_run(run.run_id, params=training.params, **self._environment(point))
        files.resume(training)
        keys = [] if self.fresh else training.beginning_keys()
        if training.done == 0 and keys:
            files.fork(training, keys[:-1])
        self.observer.run_started(run.trial, seed, self.spec.epochs, training.done)
        earlier = self.store.epochs(run.run_id)
        for row in earlier:
            report(row.epoch, row.acc)
        best = max((row.acc for row in earlier), default=-1.0)
        judge = self._judge(training, files)

        def judged() -> Stop | None:
            return judge(self.store.epochs(run.run_id)) if judge else None

        while (stop := judged()) is None and training.done < self.spec.epochs:
            with beside_others(self.device):
                epoch = training.run_epoch()
            report(epoch.epoch, epoch.acc)
            files.keep(training, epoch, best=epoch.acc > best)
            best = max(best, epoch.acc)
            if keys and training.done in _ends_of_phases(training):
                files.keep_beginning(keys[training.done - 1])
            self.observer.epoch_finished(run.trial, epoch)
            if epoch.epoch < self.spec.epochs and self.time_is_up():
                raise BudgetSpent
        return self._finish(training, files, stop)

    def _files(self, run_id: int, training: Training) -> RunFiles:
        by_steps = self.spec.time == "steps"
        return RunFiles(
            store=self.store,
            run_id=run_id,
            place=self._place(run_id),
            beginnings=Beginnings(self.folder / "beginnings"),
            step_seconds=self.foresight.step_seconds(training.timeline, training.point) if by_steps else None,
            warned=self.observer.warned,
        )

    def _judge(self, training: Training, files: RunFiles) -> Judge | None:
        """What may stop the run early; None where nothing may."""
        if self.spec.pruning == "off":
            return None
        costs, finished = measured_so_far(self.store, self.study)
        return Judge(
            point=training.point,
            timeline=training.timeline,
            known=self.foresight.fixed(training.point),
            step_seconds=files.step_seconds,
            objectives=self.study.objectives,
            costs=costs,
            finished=finished,
            mode=self.spec.pruning,
        )

    def _environment(self, point: DesignPoint) -> dict[str, str]:
        """Device, precision and software of a run."""
        precision = self.precision if point.network == "capsnet" else "float32"
        return {"device": device_name(self.device), "precision": precision, "software": software()}

    def _reuse(self, run: RunRow) -> Measurement | None:
        """The measurement of an equal run of another study of this storage, made this run's too; None where there is none."""
        wanted = [o.name for o in self.spec.objectives]
        place = self._environment(run.design)
        equal = self.store.equal_run(self.study, run, place)
        if equal is None or equal.measurement is None or not all(name in equal.measurement.values for name in wanted):
            return None
        kept = None
        if equal.weights and Path(equal.weights).exists():
            self._place(run.run_id).mkdir(parents=True, exist_ok=True)
            kept = str(shutil.copyfile(equal.weights, self._place(run.run_id) / Path(equal.weights).name))
        self.store.start_run(run.run_id, params=equal.measurement["params"], **place)
        for row in self.store.epochs(equal.run_id):
            self.store.set_epoch(run.run_id, asdict(row))
        self.store.finish_run(run.run_id, equal.measurement, equal.wall_time or equal.measurement["time"], kept)
        return equal.measurement

    def _finish(self, training: Training, files: RunFiles, stop: Stop | None) -> Measurement:
        """Select the epoch, test it once, keep its weights, and store the measurement; `stop` is why it was pruned."""
        rows = self.store.epochs(files.run_id)
        selected = selected_epoch([row.acc for row in rows])
        acc = rows[selected - 1].acc
        test_acc = acc
        if self.spec.protocol == "validation":
            training.load_weights(files.best_weights(selected))
            test_acc = training.test_accuracy()
        measurement = Measurement(
            values={
                "acc": acc,
                "time": sum(row.counted_seconds for row in rows[:selected]),
                "params": float(training.params),
                **self.foresight.others(training.point, rows, selected),
            },
            test_acc=test_acc,
            selected_epoch=selected,
            pruned_after=len(rows) if stop and not stop.settled else None,
        )
        seconds = sum(row.train_seconds for row in rows[:selected])
        kept = files.select(selected)
        self.store.finish_run(files.run_id, measurement, seconds, str(kept), stop.reason if stop else None)
        files.tidy()
        return measurement

    def keep_weights_of(self, front: Sequence[TrialRow], trials: Sequence[TrialRow]) -> None:
        """Delete the weights of designs that are not on the front, and of all but the most accurate seed of those that are."""
        keep = {
            max(done_runs(trial), key=lambda run: run.measurement["acc"] if run.measurement else 0).run_id for trial in front
        }
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


def _ends_of_phases(training: Training) -> set[int]:
    """The epochs after which others may begin with what was trained: those of phases, and of the run, for longer ones."""
    return {phase.first_epoch + phase.epochs for phase in training.timeline.phases}


def done_runs(trial: TrialRow) -> list[RunRow]:
    """The runs of a design that gave a measurement."""
    return [run for run in trial.runs if run.measurement is not None]
