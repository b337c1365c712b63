"""What the explorer itself costs a trial: milliseconds between two evaluations that take no time, epochs not reported.

The record, reports/benchmarks/overhead.json, has for each sampler the median of the last 20 trials of a study of so many.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import record
from fastrcaps_dse import store
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import override, parse_study
from fastrcaps_dse.search import Explorer, Report, open_storage
from fastrcaps_dse.search.guided import Foreseen

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


def foresee(point: DesignPoint) -> Foreseen:
    return Foreseen(seconds=50.0, fixed={"params": 8e6 - 1e6 * point.weight_sharing})


def gaps(sampler: str, trials: int) -> list[float]:
    """Milliseconds between the evaluations of a study."""
    stamps: list[float] = []

    def evaluate(point: DesignPoint, seed: int, trial: int, report: Report) -> Measurement:
        stamps.append(time.perf_counter())
        drawn = random.Random(point.key)
        params = int(foresee(point).fixed["params"])
        return Measurement(values={"acc": 90 + 9 * drawn.random(), "time": 10 + 40 * drawn.random(), "params": float(params)})

    spec = override(parse_study(STUDY, default_name="overhead"), sampler=sampler)
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(store.parse_url(str(Path(folder) / "s.db")))
        Explorer(spec, storage, evaluate, record.Silent(), foresight=foresee).run(trials)
    return [1e3 * (b - a) for a, b in zip(stamps, stamps[1:], strict=False)]


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
