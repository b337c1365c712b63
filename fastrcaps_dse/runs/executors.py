"""Executors of runs on this machine: in this process, or in a pool of workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastrcaps_dse.runs.budget import Budget
from fastrcaps_dse.runs.cost_model import CostModel
from fastrcaps_dse.runs.devices import assign_devices, check_workers
from fastrcaps_dse.runs.runner import Runner
from fastrcaps_dse.runs.worker_pool import WorkerPool, WorkerSetup
from fastrcaps_dse.search.protocols import Executor, Message, Request


@dataclass(frozen=True, kw_only=True)
class InProcess:
    """Trains one run after the other in this process."""

    runner: Runner

    @property
    def workers(self) -> int:
        """One."""
        return 1

    def run(self, next_request: Callable[[], Request | None]) -> Iterator[Message]:
        """See `Executor`."""
        while (request := next_request()) is not None:
            yield from self.runner.run(request)


@contextmanager
def open_executor(
    cost_model: CostModel,
    *,
    workers: int | None = 1,
    data_dir: Path | None = None,
    budget: Budget | None = None,
    fresh: bool = False,
    trials: int | None = None,
) -> Iterator[Executor]:
    """What trains the runs of a study on this machine; its workers end with the context.

    `workers` are processes, on the GPUs in turn; one trains in this process; None is as many as the GPUs have use for, or as fill the
    cores of a processor. `data_dir` is where workers find the data set. `fresh` reuses no earlier run. `trials` are asked for. Raises
    InputError where workers would distort the time objective.
    """
    here, budget = cost_model.context, budget or Budget()
    check_workers(workers, here.device, here.spec)
    devices = assign_devices(workers, cost_model, trials)
    runner = Runner(context=here, cost_model=cost_model, budget=budget, fresh=fresh)
    on_device = Counter(devices)
    cost_model.memory.beside = max(on_device.values())
    if len(devices) == 1:
        yield InProcess(runner=runner)
        return
    setups = [
        WorkerSetup(
            spec=here.spec,
            url=here.store.url,
            runs=here.store.runs_places.default.folder,
            runs_place=here.store.runs_places.named,
            data_dir=data_dir,
            device=device,
            precision=here.precision,
            beside=on_device[device],
            bytes_of_a_run=cost_model.memory.room,
            budget=budget,
            fresh=fresh,
        )
        for device in devices
    ]
    if here.spec.time == "steps":  # measured alone, for which workers that train would have to wait
        for point in here.spec.first_designs[: trials or here.spec.trials]:
            cost_model.run_seconds(point)
    with WorkerPool(setups, runner) as pool:
        yield pool
