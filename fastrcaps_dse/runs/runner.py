"""Trains the runs of one study: a run is claimed, reused, forked or trained, epoch by epoch, and measured."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fastrcaps_dse import store
from fastrcaps_dse.capsnet.algorithms import Algorithms, algorithms_from_dict
from fastrcaps_dse.errors import RunFailed, TooLittleMemory, UserError
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.quantities import ROBUST
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.runs.budget import Budget
from fastrcaps_dse.runs.context import Context
from fastrcaps_dse.runs.cost_model import CostModel
from fastrcaps_dse.runs.files import RunFiles, drop_superseded
from fastrcaps_dse.runs.prefix_cache import PrefixCache
from fastrcaps_dse.runs.pruner import make_pruner
from fastrcaps_dse.runs.recounting import as_counted_here, counted_again
from fastrcaps_dse.runs.robustness import Robustness, measure_robust, measures_robust, without_robust
from fastrcaps_dse.search.protocols import (
    EpochFinished,
    Failed,
    GivenUp,
    Measured,
    Message,
    OutOfTime,
    Paused,
    Request,
    RunStarted,
    StepsTaken,
)
from fastrcaps_dse.search.pruning import Prune
from fastrcaps_dse.store import EpochRow, RunRow
from fastrcaps_dse.trainer import Epoch, Training, beside_others, device_name, free_memory, software, translate_device_errors

JOIN_SECONDS = 5.0  # to wait for the heart, which may be waiting for the database
MOST_WORKER_DEATHS = 3  # without a new epoch, of workers of one exploration: their run is given up
MOST_DEATHS = 10  # likewise, of processes anywhere, which may have died for other reasons
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
        reason = ""
        try:
            run = self.context.store.take_run(request.run_id, request.attempt)
            if run.deaths >= MOST_DEATHS:
                raise RunFailed(f"its processes died {run.deaths} times without finishing an epoch")
            yield from self._measure(run, request)
            return
        except store.Superseded:
            pass
        except RunFailed as failure:
            reason = str(failure)
        except Exception as error:
            if self._is_ours(request):  # else its files may be gone
                # keep no error in a variable: it refers to all that was allocated
                reason = self._lack_of_memory(error, request)
        except BaseException:
            self.leave(request)
            raise
        free_memory()  # for the next design, now that the error and what it refers to are gone
        yield self._ended(request, reason)

    def _ended(self, request: Request, reason: str) -> Message:
        """Fail the run of a request for a reason, if it still is this process's."""
        if reason and self.abandon(request, reason):
            return Failed(request=request, reason=reason)
        logger.warning(
            "another process has taken trial %d over, as this one gave no sign of life; going on with another", request.trial
        )
        drop_superseded(self.context.store.runs_folder, request.run_id, request.attempt)
        return GivenUp(request=request)

    def _is_ours(self, request: Request) -> bool:
        with suppress(UserError):
            return self.context.store.beat(request.run_id, request.attempt)
        return True

    def _lack_of_memory(self, error: Exception, request: Request) -> str:
        """The reason of a run that failed for lack of memory. Raises all other errors, clear ones for those of the device."""
        translated = translate_device_errors(error)
        if isinstance(translated, TooLittleMemory):
            return translated.message
        self.leave(request)
        if translated is None:
            raise error
        raise translated from None

    def abandon(self, request: Request, reason: str) -> bool:
        """Fail the run of a request; False where it is another process's by now."""
        try:
            self.context.store.fail_run(request.run_id, request.attempt, reason)
        except store.Superseded:
            return False
        folder = store.run_folder(self.context.store.runs_folder, request.run_id)
        shutil.rmtree(folder, ignore_errors=True)
        self.context.store.runs_places.here.drop(folder)
        return True

    def leave(self, request: Request) -> None:
        """Let the run of a request be interrupted, unless it is finished: this process ends its training."""
        with suppress(UserError):  # a process that cannot write ends, and its runs count as interrupted anyway
            self.context.store.leave_run(request.run_id, request.attempt)

    def beat(self, request: Request) -> None:
        """Say that the run of a request is about to be trained."""
        with suppress(UserError):
            self.context.store.beat_while_mine(request.run_id, request.attempt)

    def left_runs(self) -> set[int]:
        """The ids of the study's runs that no living process has, as far as is known."""
        return {run.run_id for run in self.context.store.left_runs(self.context.study.study_id)}

    def renew(self, request: Request, code: int | None) -> Request | Message:
        """The request of a worker that has died with an exit code, for another one; how it has ended, if that is too often without a
        new epoch, or if another exploration was faster.
        """
        try:
            run = self.context.store.retake_run(request.run_id, request.attempt)
        except store.Superseded:
            return self._ended(request, "")
        again = replace(request, attempt=run.attempt)
        if run.deaths < MOST_WORKER_DEATHS:
            return again
        return self._ended(again, f"its worker died {run.deaths} times without finishing an epoch, last with exit code {code}")

    def _measure(self, run: RunRow, request: Request) -> Iterator[Message]:
        """Look the run up in other studies, or train it while this process says that it lives."""
        measured = None if self.fresh else self._reuse(run)
        if measured is not None:
            yield Measured(request=request, measurement=measured)
            return
        with self._heart(run) as lost:
            yield from self._train(run, request, lost)

    def _train(self, run: RunRow, request: Request, lost: threading.Event) -> Iterator[Message]:
        here = self.context
        if (refusal := self.cost_model.memory.refusal(request.point)) is not None:
            raise TooLittleMemory(refusal)
        algorithms = self._algorithms(run)
        training = here.training(request.point, request.seed, algorithms, self.make_training)
        files = self._files(run, training, algorithms)
        estimated = self.cost_model.is_estimated(request.point)
        begun = {"params": training.params, "algorithms": algorithms.to_dict(), "time_estimated": int(estimated)}
        here.store.start_run(run.run_id, run.attempt, {**begun, **self._environment(request.point)})
        rows = counted_again(here.store, run, files.resume(training), files.step_seconds)
        keys = [] if self.fresh else training.prefix_keys()
        if not rows and keys:
            rows = files.fork(training, keys[:-1])
            if rows:
                logger.info("run %d: %d epochs from the prefix cache", run.run_id, len(rows))
        yield RunStarted(request=request, epochs=here.spec.epochs, accuracies=tuple(row.acc for row in rows))
        pruner = make_pruner(self.cost_model, request.point, files.step_seconds) if request.prune else None
        until = here.spec.epochs if request.until is None else request.until
        while (prune := pruner.decide(rows) if pruner else None) is None and training.done < until:
            epoch = yield from self._epoch(training, request, lost)
            best = epoch.acc > max((row.acc for row in rows), default=-1.0)
            rows.append(files.keep(training, epoch, best=best))
            if here.spec.anytime and keys and (best or files.last_counts):
                files.keep_stopped(keys[training.done - 1], training.done)
            if keys and training.done in _ends_of_phases(training):
                files.keep_prefix(keys[training.done - 1], rows)
            yield EpochFinished(request=request, epoch=rows[-1])
            if training.done < here.spec.epochs and self.budget.over:
                self.leave(request)
                yield OutOfTime(request=request)
                return
        if prune is None and training.done < here.spec.epochs:
            if not request.ends:
                yield self._paused(request, files, training.done)
                return
            prune = Prune(reason="no further epoch promises enough", censored=True)
        yield Measured(request=request, measurement=self._finish(training, files, rows, prune))

    def _paused(self, request: Request, files: RunFiles, done: int) -> Message:
        """Let a run wait, with its checkpoint, until this or another process takes it up again."""
        files.drop_earlier()
        self.leave(request)
        return Paused(request=request, epochs=done)

    def _epoch(self, training: Training, request: Request, lost: threading.Event) -> Generator[Message, None, Epoch]:
        """Train the next epoch, and say now and then how far it is. Raises Superseded once the run is `lost`."""
        number, size = training.done + 1, len(training.train_split)
        with beside_others(self.context.device):
            parts = training.epoch_in_parts()
            while True:
                if lost.is_set():
                    raise store.Superseded
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

    def _files(self, run: RunRow, training: Training, algorithms: Algorithms) -> RunFiles:
        by_steps = self.context.spec.time == "steps"
        return RunFiles(
            store=self.context.store,
            run_id=run.run_id,
            attempt=run.attempt,
            prefixes=PrefixCache(folder=self.context.store.runs_folder / PREFIXES),
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
        ours = self.context.store
        environment = self._environment(run.design)
        equal = ours.equal_run(self.context.study, run, environment)
        if equal is None or equal.measurement is None:
            return None
        measurement, rows = as_counted_here(self.cost_model, equal, ours.epochs(equal.run_id))
        if measurement is None:
            return None
        if not measures_robust(self.context.spec):
            measurement = without_robust(measurement)
        kept = None
        if equal.weights and ours.runs_places.bring(equal.weights):
            folder = store.attempt_folder(ours.runs_folder, run.run_id, run.attempt)
            folder.mkdir(parents=True, exist_ok=True)
            kept = str(shutil.copyfile(equal.weights, folder / Path(equal.weights).name))
            ours.runs_places.here.push(folder)
        mine = run.run_id, run.attempt
        begun = {"params": int(measurement["params"]), "algorithms": dict(equal.algorithms or {})}
        ours.start_run(*mine, {**begun, "time_estimated": int(measurement.time_estimated), **environment})
        for row in rows:
            ours.set_epoch(*mine, row)
        ours.finish_run(*mine, measurement, equal.wall_time or equal.measurement["time"], kept)
        logger.info("run %d: taken over from run %d of another study", run.run_id, equal.run_id)
        return measurement

    def _finish(self, training: Training, files: RunFiles, rows: list[EpochRow], prune: Prune | None) -> Measurement:
        """Select the epoch, test it once, keep its weights, and store the measurement."""
        selected = files.selected([row.acc for row in rows])
        test_acc: float | None = rows[selected - 1].acc
        if self.context.spec.protocol == "both":
            test_acc = rows[selected - 1].test_acc
        elif self.context.spec.protocol == "validation":
            training.load_weights(files.best_weights(selected))
            test_acc = training.test_accuracy(selected)
        robust = self._robustness(training, files.best_weights(selected), selected)
        copies = {} if robust is None else {ROBUST: robust.selecting}
        measurement = Measurement(
            values=self.cost_model.values(training.point, rows, selected) | copies,
            test_acc=test_acc,
            test_robust=None if robust is None else robust.test,
            selected_epoch=selected,
            pruned_after=len(rows) if prune and prune.censored else None,
            time_estimated=self.cost_model.is_estimated(training.point),
        )
        seconds = sum(row.train_seconds for row in rows[:selected])
        kept = files.select(selected)
        ours = self.context.store
        ours.finish_run(files.run_id, files.attempt, measurement, seconds, str(kept), prune.reason if prune else None)
        files.tidy()
        return measurement

    def _robustness(self, training: Training, weights: Path, selected: int) -> Robustness | None:
        """What the weights of the selected epoch reach on affine copies; None in a study that does not ask for it."""
        if not measures_robust(self.context.spec):
            return None
        training.load_weights(weights)
        return measure_robust(training, self.context.spec.protocol, selected)

    @contextmanager
    def _heart(self, run: RunRow) -> Iterator[threading.Event]:
        """Beat while the run is trained, so that others see that it is alive. The event says that another process has taken it over."""
        stop, lost = threading.Event(), threading.Event()

        def beat() -> None:
            while not stop.wait(store.HEARTBEAT_SECONDS) and not lost.is_set():
                with suppress(UserError):  # of a database that is out of reach: whoever writes an epoch says so
                    if not self.context.store.beat(run.run_id, run.attempt) and not stop.is_set():
                        lost.set()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            stop.set()
            thread.join(JOIN_SECONDS)


def _ends_of_phases(training: Training) -> set[int]:
    """The epochs after which a prefix is kept: the ends of phases, and of the run if a longer one begins in the same way."""
    ends = {phase.first_epoch + phase.epochs for phase in training.timeline.phases}
    return ends if training.begins_longer_runs() else ends - {training.timeline.epochs}
