"""The worker pool: processes that train side by side, on one device or on several, for one exploration.

The exploring process hands out requests; each worker trains one at a time and says how it goes over a pipe. A worker that dies is
replaced, and its run goes on from its last epoch; several deaths without a new epoch fail the run.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path

from fastrcaps_dse import data, interruption, trainer
from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.errors import UserError
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.runs.budget import Budget
from fastrcaps_dse.runs.context import Context
from fastrcaps_dse.runs.cost_model import CostModel
from fastrcaps_dse.runs.place_choice import choose_place
from fastrcaps_dse.runs.runner import Runner
from fastrcaps_dse.search.protocols import LAST_MESSAGES, Message, Request
from fastrcaps_dse.store import HEARTBEAT_SECONDS, OUTAGE_SECONDS, URL, Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """All that a process needs to train runs of a study; one attribute for each thing that it cannot find out itself."""

    spec: StudySpec
    url: URL
    runs: Path  # the folder of all runs' files
    runs_place: str | None  # where they are instead, as the user has named it
    data_dir: Path | None
    device: str
    precision: Precision
    beside: int  # workers that share the device, this one included
    bytes_of_a_run: int  # of memory that a run may take
    budget: Budget
    fresh: bool


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A line of a worker's log."""

    logger: str
    level: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Broken:
    """The error that ends an exploration."""

    error: UserError


# --- in a worker ------------------------------------------------------------------------------------------------------


class _ToPipe(logging.Handler):
    """Sends the log to the exploring process."""

    def __init__(self, pipe: connection.Connection) -> None:
        super().__init__()
        self.pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        self.pipe.send(Logged(logger=record.name, level=record.levelno, text=record.getMessage()))


def _work(pipe: connection.Connection, setup: WorkerSetup) -> None:
    """What a worker does: train what it is asked for, until the exploring process ends."""
    interruption.leave_to_parent()
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (connection.wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    logs = logging.getLogger("fastrcaps_dse")
    logs.addHandler(_ToPipe(pipe))
    logs.propagate = False
    trainer.take_share(setup.beside)
    try:
        runner = _runner(setup)
        while True:
            for message in runner.run(pipe.recv()):
                pipe.send(message)
    except UserError as error:
        pipe.send(Broken(error=error))


def _runner(setup: WorkerSetup) -> Runner:
    ours = Store(setup.url, runs=setup.runs)
    ours.patience = OUTAGE_SECONDS
    context = Context(
        spec=setup.spec,
        study=choose_place(ours, ours.study(setup.spec.name), setup.runs_place),
        store=ours,
        dataset=data.load_for(setup.spec, setup.data_dir),
        device=trainer.choose_device(setup.device),
        precision=setup.precision,
    )
    cost_model = CostModel(context)
    cost_model.memory.bytes_of_a_run = setup.bytes_of_a_run
    return Runner(context=context, cost_model=cost_model, budget=setup.budget, fresh=setup.fresh)


# --- in the exploring process -----------------------------------------------------------------------------------------


class _Worker:
    """A process, its pipe, and the request that it is training."""

    def __init__(self, setup: WorkerSetup) -> None:
        self.setup = setup
        self.request: Request | None = None
        self.is_at_work = False  # it has said something of the request: from then on its own heart beats
        self.start()

    def start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(theirs, self.setup), daemon=True)
        with interruption.starting_processes():
            self.process.start()
        theirs.close()  # the worker alone holds its end, so that its death closes the pipe

    def ask(self, request: Request) -> None:
        self.request, self.is_at_work = request, False
        with suppress(OSError):  # a dead worker's pipe will say so when it is heard
            self.pipe.send(request)

    def end(self) -> int | None:
        """End the process, if it is alive; its exit code."""
        self.process.terminate()
        self.process.join(5)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.pipe.close()
        return self.process.exitcode


class WorkerPool:
    """An executor with a process for each setup; as a context manager it ends them."""

    def __init__(self, setups: Sequence[WorkerSetup], runner: Runner) -> None:
        """`runner`, of the exploring process, keeps the failure of a run whose workers have died."""
        self.setups, self.runner = setups, runner
        self.processes: list[_Worker] = []
        self.looked = time.monotonic()  # when workers were looked at that may be frozen
        self.silent: set[int] = set()  # ids of their runs that had given no sign of life then

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self.setups)

    def __enter__(self) -> WorkerPool:
        self.processes = [_Worker(setup) for setup in self.setups]
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers; their runs go on from their last epochs another time."""
        for worker in self.processes:
            worker.end()
            if worker.request is not None:
                self.runner.leave(worker.request)

    def run(self, next_request: Callable[[], Request | None]) -> Iterator[Message]:
        """See `Executor`."""
        while True:
            for worker in self.processes:
                if worker.request is None and (request := next_request()) is not None:
                    worker.ask(request)
            busy = {worker.pipe: worker for worker in self.processes if worker.request is not None}
            if not busy:
                return
            heard = connection.wait(list(busy), timeout=HEARTBEAT_SECONDS)
            for worker in [busy[pipe] for pipe in heard] + self._frozen(busy.values()):  # type: ignore[index]
                message = self._heard(worker) if worker.pipe.poll() else self._replaced(worker)
                if isinstance(message, LAST_MESSAGES):
                    worker.request = None
                if message is not None:
                    yield message

    def _frozen(self, busy: Iterable[_Worker]) -> list[_Worker]:
        """Workers that have given no sign of life for too long: at two looks, as this process may have been frozen with them."""
        now = time.monotonic()
        if now < self.looked + HEARTBEAT_SECONDS:
            return []
        self.looked = now
        requests = {worker: worker.request for worker in busy if worker.request is not None}
        for worker, request in requests.items():
            if not worker.is_at_work:  # it still starts
                self.runner.beat(request)
        left = self.runner.left_runs()
        before, self.silent = self.silent, {request.run_id for request in requests.values()} & left
        return [w for w, request in requests.items() if request.run_id in before & self.silent and not w.pipe.poll()]

    def _heard(self, worker: _Worker) -> Message | None:
        """The next message of a worker; None for what is none, such as its log. Raises UserErrors."""
        try:
            said: Message | Logged | Broken = worker.pipe.recv()
        except (EOFError, OSError):
            return self._replaced(worker)
        match said:
            case Logged():
                logging.getLogger(said.logger).log(said.level, said.text)
                return None
            case Broken():
                raise said.error
            case _:
                worker.is_at_work = True
                return said

    def _replaced(self, worker: _Worker) -> Message | None:
        """Put another process in the place of a dead one, and let it take the run up again, or fail the run."""
        request, code = worker.request, worker.end()
        assert request is not None
        worker.start()
        again = self.runner.renew(request, code)
        if isinstance(again, Request):
            logger.warning("the worker of trial %d died (exit code %s); its run is taken up again", request.trial, code)
            worker.ask(again)
            return None
        return again
