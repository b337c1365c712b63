"""The same exploration with the plain training and with the trainer: the seconds of `explore`, each in a process of its own.

Both are the product's own exploration; the plain one is handed another training. The record is reports/benchmarks/exploration.json.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import record
from benchmarks.plain_run import PlainRun
from fastrcaps_dse import session
from fastrcaps_dse.problem.study_file import find_study_file
from fastrcaps_dse.runs.executors import InProcess
from fastrcaps_dse.runs.runner import Runner
from fastrcaps_dse.search.optuna_storage import quiet_optuna
from fastrcaps_dse.trainer import Training

FORMS = {"trainer": Training, "plain": PlainRun}


def explore(form: str, study_file: str, trials: int | None, folder: str) -> dict[str, Any]:
    """Seconds, and what was found."""
    quiet_optuna()
    spec = find_study_file(study_file)
    start = time.perf_counter()
    with session.open_study(spec, str(Path(folder) / f"{form}.db"), device="cpu") as study:
        runner = Runner(context=study.context, cost_model=study.cost_model, make_training=FORMS[form])
        session.explore(study, InProcess(runner=runner), trials=trials)
        seconds = time.perf_counter() - start
        found = session.results(study)
    columns = ["label", "acc", "time"]
    designs = found.trials[columns].round({"time": 2}).to_dict("records")
    return {"seconds": round(seconds, 1), "designs": designs, "front": len(found.front)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="quick")
    parser.add_argument("--trials", type=int)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found[form] = pool.apply(explore, (form, asked.study, asked.trials, folder))
            print(form, found[form], flush=True)
    ratio = round(found["plain"]["seconds"] / found["trainer"]["seconds"], 2)
    print(record.write("exploration", "benchmarks.exploration", torch.device("cpu"), {"times_faster": ratio} | found))


if __name__ == "__main__":
    main()
