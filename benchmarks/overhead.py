"""What the explorer itself costs a trial: milliseconds between two runs that take no time, epochs not reported.

The record, reports/benchmarks/overhead.json, has for each sampler the median of the last 20 trials of a study of so many.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks import record
from benchmarks.boards import open_board
from fastrcaps_dse import store
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import override
from fastrcaps_dse.search.explorer import Explorer
from fastrcaps_dse.search.optuna_storage import quiet_optuna
from fastrcaps_dse.search.proposers import make_proposers
from fastrcaps_dse.search.protocols import Forecast, Measured, Message, Request

STUDY = """
[space]
lr_policy = ["fixed", "one-cycle", "warm-restarts"]
batch_schedule = ["fixed", "adabatch"]
[space.fields]
lr = { low = 5e-4, high = 5e-3, log = true }
lr_max = { low = 5e-4, high = 5e-3, log = true }
size = [8, 16, 32, 64, 128]
head_batch = [1, 2, 4, 8]
"""


def forecast(point: DesignPoint) -> Forecast:
    """Sizes and seconds of a design, made up."""
    return Forecast(seconds=50.0, fixed={"params": 8e6 - 1e6 * point.weight_sharing})


@dataclass(frozen=True, kw_only=True)
class Instant:
    """An executor whose runs take no time, and that stores what they reach."""

    ours: store.Store
    workers: int = 1
    stamps: list[float] = field(default_factory=list)  # s, when each run was asked for

    def run(self, next_request: Callable[[], Request | None]) -> Iterator[Message]:
        """Answer each request at once."""
        while (request := next_request()) is not None:
            self.stamps.append(time.perf_counter())
            random_ = random.Random(request.point.key)
            values = {"acc": 90 + 9 * random_.random(), "time": 10 + 40 * random_.random()}
            measured = Measurement(values={**values, **forecast(request.point).fixed})
            self.ours.finish_run(request.run_id, request.attempt, measured, 1.0, None)
            yield Measured(request=request, measurement=measured)


def gaps(sampler: str, trials: int) -> list[float]:
    """Milliseconds between the runs of a study."""
    quiet_optuna()
    spec = override(parse_study(STUDY, default_name="overhead"), sampler=sampler)
    with tempfile.TemporaryDirectory() as folder:
        board = open_board(spec, store.parse_url(str(Path(folder) / "s.db")), trials)
        executor = Instant(ours=board.store)
        Explorer(spec=spec, board=board, proposers=make_proposers(spec, forecast)).run(executor)
    return [1e3 * (b - a) for a, b in zip(executor.stamps, executor.stamps[1:], strict=False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", default="random:100,tpe:100,guided:100,guided:2000", help="SAMPLER:TRIALS, ...")
    asked = parser.parse_args()
    found = {}
    for study in asked.studies.split(","):
        sampler, trials = study.split(":")
        found[study] = record.spread(gaps(sampler, int(trials))[-20:])
        print(study, found[study], flush=True)
    print(record.write("overhead", "benchmarks.overhead", torch.device("cpu"), {"milliseconds_a_trial": found}))


if __name__ == "__main__":
    main()
