"""Trains the runs of one study: a run is claimed, reused, forked or trained, epoch by epoch, and measured."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fastrcaps_dse import store
from fastrcaps_dse.capsnet.algorithms import Algorithms, algorithms_from_dict
from fastrcaps_dse.errors import RunFailed, TooLittleMemory, UserError
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict
from fastrcaps_dse.runs.budget import Budget
from fastrcaps_dse.runs.context import Context
from fastrcaps_dse.runs.cost_model import CostModel
from fastrcaps_dse.runs.files import RunFiles
from fastrcaps_dse.runs.prefix_cache import PrefixCache
from fastrcaps_dse.runs.pruner import make_pruner
from fastrcaps_dse.runs.recounting import as_counted_here, counted_again
from fastrcaps_dse.search.protocols import (
    EpochFinished,
    Failed,
    Measured,
    Message,
    OutOfTime,
    Request,
    RunStarted,
    StepsTaken,
)
from fastrcaps_dse.search.pruning import Prune
from fastrcaps_dse.store import EpochRow, RunRow
from fastrcaps_dse.trainer import Epoch, Training, beside_others, device_name, free_memory, software, translate_device_errors

HEARTBEAT_SECONDS = 20.0
PREFIXES = "prefixes"  # the folder of the prefix cache

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Trains runs of one study on one device."""

    context: Context
    cost_model: CostModel
    budget: Budget = field(default_factory=Budget)
    fresh: bool = False  # train again what an equal run or a cached prefix could give
    make_training: Callable[..., Training] = Training

    def run(self, request: Request) -> Iterator[Message]:
        """Train, continue, or just look up the run of a request. The last message says how it ended. Raises UserErrors."""
        run = self._claim(request)
        if run.state == "failed":
            yield Failed(request=request, reason=run.reason or "it failed before")
            return
        measured = run.measurement or (None if self.fresh else self._reuse(run))
        if measured is not None:
            yield Measured(request=request, measurement=measured)
            return
        try:
            with self._heart(run.run_id):
                yield from self._train(run, request)
            return
        except RunFailed as failure:
            reason = str(failure)
        except Exception as error:
            reason = _lack_of_memory(error)  # keep no error in a variable: it refers to all that the run has allocated
        finally:
            self.leave(request)
        free_memory()  # for the next design, now that the error and what it refers to are gone
        self._fail(run.run_id, reason)
        yield Failed(request=request, reason=reason)

    def abandon(self, request: Request, reason: str) -> None:
        """Fail the run of a request that no living process is training."""
        self._fail(self._claim(request).run_id, reason)

    def leave(self, request: Request) -> None:
        """Let the run of a request be interrupted, unless it is finished: this process ends its training."""
        here = self.context
        with suppress(UserError):  # a process that cannot write ends, and its runs count as interrupted anyway
            here.store.leave_run(here.study.study_id, request.point.key, request.seed)

    def _claim(self, request: Request) -> RunRow:
        here, point = self.context, request.point
        return here.store.claim_run(here.study.study_id, request.trial, design_to_dict(point), point.key, request.seed)

    def _fail(self, run_id: int, reason: str) -> None:
        self.context.store.fail_run(run_id, reason)
        shutil.rmtree(self._folder(run_id), ignore_errors=True)

    def _folder(self, run_id: int) -> Path:
        return store.run_folder(store.runs_folder(self.context.store.url), run_id)

    def _train(self, run: RunRow, request: Request) -> Iterator[Message]:
        here = self.context
        if (refusal := self.cost_model.memory.refusal(request.point)) is not None:
            raise TooLittleMemory(refusal)
        algorithms = self._algorithms(run)
        training = self._training(request, algorithms)
        files = self._files(run.run_id, training, algorithms)
        estimated = self.cost_model.is_estimated(request.point)
        begun = {"params": training.params, "algorithms": algorithms.to_dict(), "time_estimated": int(estimated)}
        here.store.start_run(run.run_id, **begun, **self._environment(request.point))
        rows = counted_again(here.store, run.run_id, files.resume(training), files.step_seconds)
        keys = [] if self.fresh else training.prefix_keys()
        if not rows and keys:
            rows = files.fork(training, keys[:-1])
            if rows:
                logger.info("run %d: %d epochs from the prefix cache", run.run_id, len(rows))
        yield RunStarted(request=request, epochs=here.spec.epochs, accuracies=tuple(row.acc for row in rows))
        pruner = make_pruner(self.cost_model, request.point, files.step_seconds) if request.prune else None
        while (prune := pruner.decide(rows) if pruner else None) is None and training.done < here.spec.epochs:
            epoch = yield from self._epoch(training, request)
            rows.append(files.keep(training, epoch, best=epoch.acc > max((row.acc for row in rows), default=-1.0)))
            if keys and training.done in _ends_of_phases(training):
                files.keep_prefix(keys[training.done - 1], rows)
            yield EpochFinished(request=request, epoch=rows[-1])
            if training.done < here.spec.epochs and self.budget.over:
                yield OutOfTime(request=request)
                return
        yield Measured(request=request, measurement=self._finish(training, files, rows, prune))

    def _epoch(self, training: Training, request: Request) -> Generator[Message, None, Epoch]:
        """Train the next epoch, and say now and then how far it is."""
        number, size = training.done + 1, len(training.train_split)
        with beside_others(self.context.device):
            parts = training.epoch_in_parts()
            while True:
                try:
                    yield StepsTaken(request=request, epoch=number, images=next(parts), of=size)
                except StopIteration as stop:
                    epoch: Epoch = stop.value
                    return epoch

    def _algorithms(self, run: RunRow) -> Algorithms:
        """The convolution algorithms with which a run was begun, else those that are the fastest here."""
        if run.algorithms is not None:
            return algorithms_from_dict(run.algorithms)
        sizes = {phase.batch_size for phase in self.context.timeline(run.design).phases}
        return self.cost_model.kept_algorithms.algorithms(run.design, sizes)

    def _training(self, request: Request, algorithms: Algorithms) -> Training:
        here = self.context
        return self.make_training(
            request.point,
            request.seed,
            here.dataset,
            epochs=here.spec.epochs,
            protocol=here.spec.protocol,
            device=here.device,
            precision=here.precision,
            algorithms=algorithms,
        )

    def _files(self, run_id: int, training: Training, algorithms: Algorithms) -> RunFiles:
        by_steps = self.context.spec.time == "steps"
        return RunFiles(
            store=self.context.store,
            run_id=run_id,
            folder=self._folder(run_id),
            prefixes=PrefixCache(folder=store.runs_folder(self.context.store.url) / PREFIXES),
            last_counts=self.context.spec.protocol == "all-images",
            step_seconds=self.cost_model.seconds_by_batch_size(training.timeline, training.point, algorithms)
            if by_steps
            else None,
        )

    def _environment(self, point: DesignPoint) -> dict[str, str]:
        """Device, precision and software of a run."""
        precision = self.context.precision if point.network == "capsnet" else "float32"
        return {"device": device_name(self.context.device), "precision": precision, "software": software()}

    def _reuse(self, run: RunRow) -> Measurement | None:
        """The measurement of an equal run of another study of this storage, now also that of this run; None if there is none."""
        ours, spec = self.context.store, self.context.spec
        environment = self._environment(run.design)
        equal = ours.equal_run(self.context.study, run, environment)
        if equal is None or equal.measurement is None:
            return None
        if not all(objective.name in equal.measurement.values for objective in spec.objectives):
            return None
        measurement, rows = as_counted_here(self.cost_model, equal, ours.epochs(equal.run_id))
        if measurement is None:
            return None
        kept = None
        if equal.weights and Path(equal.weights).exists():
            self._folder(run.run_id).mkdir(parents=True, exist_ok=True)
            kept = str(shutil.copyfile(equal.weights, self._folder(run.run_id) / Path(equal.weights).name))
        begun = {"params": int(measurement["params"]), "algorithms": dict(equal.algorithms or {})}
        ours.start_run(run.run_id, **begun, time_estimated=int(measurement.time_estimated), **environment)
        for row in rows:
            ours.set_epoch(run.run_id, row)
        ours.finish_run(run.run_id, measurement, equal.wall_time or equal.measurement["time"], kept)
        logger.info("run %d: taken over from run %d of another study", run.run_id, equal.run_id)
        return measurement

    def _finish(self, training: Training, files: RunFiles, rows: list[EpochRow], prune: Prune | None) -> Measurement:
        """Select the epoch, test it once, keep its weights, and store the measurement."""
        selected = files.selected([row.acc for row in rows])
        test_acc = rows[selected - 1].acc
        if self.context.spec.protocol == "validation":
            training.load_weights(files.best_weights(selected))
            test_acc = training.test_accuracy(selected)
        measurement = Measurement(
            values=self.cost_model.values(training.point, rows, selected),
            test_acc=test_acc,
            selected_epoch=selected,
            pruned_after=len(rows) if prune and prune.censored else None,
            time_estimated=self.cost_model.is_estimated(training.point),
        )
        seconds = sum(row.train_seconds for row in rows[:selected])
        kept = files.select(selected)
        self.context.store.finish_run(files.run_id, measurement, seconds, str(kept), prune.reason if prune else None)
        files.tidy()
        return measurement

    @contextmanager
    def _heart(self, run_id: int) -> Iterator[None]:
        """Beat while the run is trained, so that other machines see that it is alive."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(HEARTBEAT_SECONDS):
                self.context.store.beat(run_id)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _lack_of_memory(error: Exception) -> str:
    """The reason of a run that failed for lack of memory. Raises all other errors, clear ones for those of the device."""
    translated = translate_device_errors(error)
    if translated is None:
        raise error
    if not isinstance(translated, TooLittleMemory):
        raise translated from None
    return translated.message


def _ends_of_phases(training: Training) -> set[int]:
    """The epochs after which a prefix is kept: the ends of phases, and of the run if a longer one begins in the same way."""
    ends = {phase.first_epoch + phase.epochs for phase in training.timeline.phases}
    return ends if training.begins_longer_runs() else ends - {training.timeline.epochs}
