"""The same exploration with the plain training and with the trainer: the seconds of `explore`, each in a process of its own.

The record is reports/benchmarks/exploration.json.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import plain_run, record
from fastrcaps_dse import runs, store
from fastrcaps_dse.analysis import results
from fastrcaps_dse.problem import study_spec
from fastrcaps_dse.session import Session


def explore(form: str, study: str, trials: int | None, folder: str) -> dict[str, Any]:
    """Seconds, and what was found."""
    if form == "plain":
        plain_run.be_plain()
        runs.Training = plain_run.PlainRun  # type: ignore[misc]
    spec = study_spec.find_study_file(study)
    url = store.open_url(str(Path(folder) / f"{form}.db"))
    start = time.perf_counter()
    session = Session(spec, url, record.Silent(), device="cpu")
    session.run(trials)
    seconds = time.perf_counter() - start
    found = session.store.trials(session.study)
    rows = [
        {"label": t.design.label, "acc": t.measurement["acc"], "time": round(t.measurement["time"], 2)}
        for t in found
        if t.measurement
    ]
    return {
        "seconds": round(seconds, 1),
        "designs": rows,
        "front": len(results.front_of(found, session.study.objectives)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="quick")
    parser.add_argument("--trials", type=int)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for form in ("trainer", "plain"):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found[form] = pool.apply(explore, (form, asked.study, asked.trials, folder))
            print(form, found[form], flush=True)
    ratio = round(found["plain"]["seconds"] / found["trainer"]["seconds"], 2)
    print(record.write("exploration", "benchmarks.exploration", torch.device("cpu"), {"times_faster": ratio} | found))


if __name__ == "__main__":
    main()
