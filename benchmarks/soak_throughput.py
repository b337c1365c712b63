"""How many runs a second processes can claim and finish on one database, if training takes no time.

Each process does what an exploration does with the store for a run: it looks for changes, claims a new design, stores an epoch and ends the
run. No sampler, and no mirror for Optuna, takes part.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import statistics
import time
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from fastrcaps_dse import store
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.schedules import FixedBatch
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.search.optuna_storage import open_optuna_study, open_storage
from fastrcaps_dse.store import EpochRow, Store
from tests.postgres import running_server

MEASURED = Measurement(values={"acc": 90.0, "time": 1.0, "params": 1e6}, test_acc=90.0, selected_epoch=1)
LOSSES = {"margin_loss": 0.1, "reconstruction_loss": 0.1, "acc": 90.0, "lr_first": 1e-3, "lr_last": 1e-3}
SECONDS = dict.fromkeys(("warm_up_seconds", "train_seconds", "eval_seconds", "counted_seconds"), 1.0)
EPOCH = EpochRow(epoch=1, batch_size=16, steps=3, **LOSSES, **SECONDS)
SHAPE = {"channels": 1, "height": 28, "width": 28, "classes": 10}


def open_study(url: store.URL) -> None:
    """Make an empty study."""
    spec = parse_study("", default_name="s")
    study = open_optuna_study(spec, open_storage(url))
    ours = Store(url, create=True)
    row = {"identity": spec.identity(), "spec_text": "", "target_trials": 10**6, "dataset_fingerprint": "0"}
    ours.add_study(row | {"study_id": study.study_id, "train_images": 10, "image_shape": SHAPE})
    ours.close()
    study.close()


def _work(url: store.URL, number: int, start: float, end: float, told: Queue[list[float]]) -> None:
    """Claim and finish runs from `start` to `end`; tells the seconds of each claim."""
    ours = Store(url)
    ours.owner = json.dumps([f"machine-{number}", number + 1, ""])
    study_id, seen = ours.study().study_id, -1
    claims: list[float] = []
    time.sleep(max(0.0, start - time.monotonic()))
    for size in itertools.count(1):
        if time.monotonic() > end:
            break
        seen = (
            ours.state(study_id).revision if seen < 0 else max([seen, *(r.revision for r in ours.changed_runs(study_id, seen))])
        )
        point = DesignPoint(batch_schedule=FixedBatch(size=1000 * size + number))
        begun = time.monotonic()
        run = ours.claim_run(study_id, None, design_to_dict(point), point.key, 0)
        claims.append(time.monotonic() - begun)
        ours.set_epoch(run.run_id, run.attempt, EPOCH)
        ours.finish_run(run.run_id, run.attempt, MEASURED, 1.0, None)
    told.put(claims)


def rate(url: store.URL, processes: int, seconds: float) -> dict[str, float]:
    """Runs a second of so many processes, and the milliseconds of a claim."""
    open_study(url)
    spawn = multiprocessing.get_context("spawn")
    told: Queue[list[float]] = spawn.Queue()
    start = time.monotonic() + 6.0 + processes  # once all have started
    at_work = [spawn.Process(target=_work, args=(url, k, start, start + seconds, told)) for k in range(processes)]
    for process in at_work:
        process.start()
    claims = [took for _ in at_work for took in told.get(timeout=120)]
    for process in at_work:
        process.join()
    milliseconds = sorted(1e3 * took for took in claims)
    return {
        "processes": processes,
        "runs_a_second": round(len(claims) / seconds, 1),
        "claim_ms_median": round(statistics.median(milliseconds), 2),
        "claim_ms_95": round(milliseconds[int(0.95 * len(milliseconds))], 2),
    }


def measure(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """The rates on both engines."""
    counts = [int(text) for text in asked.processes.split(",")]
    found: dict[str, Any] = {}
    if "postgresql" in asked.engines:
        with running_server() as server:
            found["postgresql"] = [rate(server.new_database(), count, asked.window) for count in counts]
    if "sqlite" in asked.engines:
        urls = [store.parse_url(str(folder / f"{count}.db")) for count in counts]
        found["sqlite"] = [rate(url, count, asked.window) for url, count in zip(urls, counts, strict=True)]
    return found
