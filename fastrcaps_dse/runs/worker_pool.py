"""Workers: processes that train side by side, on one device or on several, for one exploration.

The exploring process proposes designs and takes in what they gave; each worker trains one design at a time and tells how it
goes over a pipe. A worker that dies is replaced, and its run goes on from its last epoch, once; a second death fails the run.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastrcaps_dse import data, store, trainer
from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.errors import BudgetSpent, MachineError, RunFailed, UserError
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.runs import Report, Runner, RunObserver
from fastrcaps_dse.runs.cost_model import Foresight
from fastrcaps_dse.store import URL, Store, StudyRow

if TYPE_CHECKING:
    from fastrcaps_dse.trainer import Epoch

TRIES = 2  # of a run whose worker dies


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that a process needs to train designs of a study."""

    spec: StudySpec
    url: URL
    data_dir: Path | None
    device: str
    precision: Precision
    fresh: bool
    deadline: float  # on the monotonic clock, which the processes of a machine share
    beside: int = 1  # workers that share the device

    def runner(self, observer: RunObserver, ours: Store, study: StudyRow, dataset: DataSet) -> Runner:
        """What trains designs of the study in this process."""
        device = trainer.choose_device(self.device)
        foresight = Foresight(
            store=ours,
            spec=self.spec,
            dataset=dataset,
            train_images=study.train_images,
            device=device,
            precision=self.precision,
            warned=observer.warned,
        )
        return Runner(
            foresight=foresight,
            store=ours,
            study=study,
            spec=self.spec,
            dataset=dataset,
            folder=store.runs_folder(self.url),
            device=device,
            precision=self.precision,
            observer=observer,
            fresh=self.fresh,
            time_is_up=lambda: time.monotonic() >= self.deadline,
        )


# --- in a worker ------------------------------------------------------------------------------------------------------


class _Teller:
    """Passes what a run tells through the pipe."""

    def __init__(self, pipe: connection.Connection) -> None:
        self.pipe = pipe

    def run_started(self, trial: int, seed: int, epochs: int, done: int) -> None:
        self.pipe.send(("run_started", (trial, seed, epochs, done)))

    def epoch_finished(self, trial: int, epoch: Epoch) -> None:
        self.pipe.send(("epoch_finished", (trial, epoch)))

    def warned(self, message: str) -> None:
        self.pipe.send(("warned", (message,)))


def _work(pipe: connection.Connection, setup: Setup) -> None:
    """What a worker does: train what it is asked for, until the exploring process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the exploring process is interrupted, and ends its workers
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (connection.wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    trainer.take_share(setup.beside)
    teller = _Teller(pipe)
    try:
        ours = Store(setup.url)
        dataset = data.load(setup.spec.dataset, setup.data_dir)
        runner = setup.runner(teller, ours, ours.study(setup.spec.name), dataset)
        whole = runner.whole()
    except UserError as error:
        pipe.recv()
        pipe.send(("error", (type(error), error.message, error.hint)))
        return
    while True:
        point, seed, trial, is_whole = pipe.recv()
        try:
            measured = (whole if is_whole else runner).evaluate(point, seed, trial, lambda *e: pipe.send(("report", e)))
            pipe.send(("measured", (measured,)))
        except RunFailed as failure:
            pipe.send(("failed", (str(failure),)))
        except BudgetSpent:
            pipe.send(("spent", ()))
        except UserError as error:
            pipe.send(("error", (type(error), error.message, error.hint)))


# --- beside the explorer ----------------------------------------------------------------------------------------------


class _Died(Exception):
    """The other end of the pipe is gone."""


class _Worker:
    """A process and its pipe."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.start()

    def start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(theirs, self.setup), daemon=True)
        self.process.start()
        theirs.close()  # so that its end is the worker's alone, and is heard of

    def ask(self, *what: Any) -> None:
        try:
            self.pipe.send(what)
        except OSError:
            raise _Died from None

    def hear(self) -> tuple[str, tuple[Any, ...]]:
        """What it tells next: its kind and its details."""
        try:
            kind, details = self.pipe.recv()
        except (EOFError, OSError):
            raise _Died from None
        return kind, details

    def end(self) -> int | None:
        """End the process, where it lives; its exit code."""
        self.process.terminate()
        self.process.join(5)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.pipe.close()
        return self.process.exitcode


class Crew:
    """The workers of an exploration. `evaluate` may be called from as many threads as there are workers."""

    def __init__(self, setups: Sequence[Setup], runner: Runner) -> None:
        """`runner`, of the exploring process, keeps the failure of a run that has no worker any more."""
        self.runner, self.ended = runner, False
        self.idle: queue.Queue[_Worker] = queue.Queue()
        self.workers = [_Worker(setup) for setup in setups]
        for worker in self.workers:
            self.idle.put(worker)

    def evaluate(
        self, point: DesignPoint, seed: int, trial: int, report: Report = lambda *_: None, *, whole: bool = False
    ) -> Measurement:
        """`Runner.evaluate`, in a worker; `whole` lets no run be pruned. Raises RunFailed, BudgetSpent, UserErrors."""
        worker = self.idle.get()
        try:
            for attempt in range(1, TRIES + 1):
                try:
                    worker.ask(point, seed, trial, whole)
                    return self._heard(worker, report)
                except _Died:
                    if self.ended:
                        raise MachineError("the exploration was interrupted", "run the same command again") from None
                    code = worker.end()
                    worker.start()
                    if attempt < TRIES:
                        self.runner.observer.warned(
                            f"the worker of trial {trial} died (exit code {code}); its run is taken up again"
                        )
            reason = f"its worker died {TRIES} times, last with exit code {code}"
            self.runner.abandon(point, seed, trial, reason)
            raise RunFailed(reason)
        finally:
            self.idle.put(worker)

    def _heard(self, worker: _Worker, report: Report) -> Measurement:
        """Pass on what a run tells, up to its end."""
        while True:
            kind, details = worker.hear()
            match kind:
                case "measured":
                    measured: Measurement = details[0]
                    return measured
                case "failed":
                    raise RunFailed(*details)
                case "spent":
                    raise BudgetSpent
                case "error":
                    raise details[0](*details[1:])
                case "report":
                    report(*details)
                case _:
                    getattr(self.runner.observer, kind)(*details)

    def end(self) -> None:
        """End all workers; their runs go on from their last epochs another time."""
        self.ended = True
        for worker in self.workers:
            worker.end()
