"""A study in a process whose memory is limited, for `test_memory`: one design does not fit, the other does.

python -m tests.limited_memory WHERE FOLDER
"""

from __future__ import annotations

import json
import logging
import resource
import sys
from pathlib import Path
from typing import Any

from fastrcaps_dse import session
from fastrcaps_dse.capsnet import sizes
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, override
from fastrcaps_dse.runs import worker_pool
from fastrcaps_dse.runs.executors import open_executor
from fastrcaps_dse.search.optuna_storage import quiet_optuna
from fastrcaps_dse.trainer import Training, stopwatch, training
from tests.sessions import Heard
from tests.small_networks import SMALL, small_worker

ROOM = 200 * 10**6  # bytes beyond those of the process before it trains
IMAGES = 3000  # of the data set, and of the large batch
SPEC = """
name = "limited"
dataset = "{folder}/images"
epochs = 1
trials = 3
protocol = "{protocol}"
time = "{time}"
sampler = "exhaustive"
first = {first}
[space]
lr_policy = ["fixed"]
batch_schedule = {batches}
weight_sharing = {weight_sharing}
decoder = ["small"]
shift = [0]
"""
WHERE = ("timing", "training", "evaluation", "test", "workers", "estimate")


def spec_of(where: str, folder: Path) -> StudySpec:
    """The study: in `evaluation` and `test` weight sharing decides what fits, else the batch size."""
    by_evaluation = where in ("evaluation", "test")
    batch = '["batch_schedule={} decoder=small shift=0", "batch_schedule={} decoder=small shift=0"]'
    text = SPEC.format(
        folder=folder,
        protocol="validation" if where == "test" else "paper",
        time="measured" if where == "training" else "steps",
        first="[]" if by_evaluation else batch.format(IMAGES, 100),
        batches="[100]" if by_evaluation else f"[{IMAGES}, 100, 50]",
        weight_sharing="[true, false]" if by_evaluation else "[false]",
    )
    return override(parse_study(text, default_name="limited"), trials=2 if by_evaluation else 3)


def limit_memory() -> None:
    """Let the process take `ROOM` bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, resource.RLIM_INFINITY))


def main(where: str, folder: Path) -> dict[str, Any]:
    """Explore; what became of the designs, by batch size and weight sharing, and how often each step was measured."""
    for name, value in SMALL.items():
        setattr(sizes, name, value)
    stopwatch.GROUP_SECONDS = 0.01
    quiet_optuna()
    measured: list[int] = []
    take = Training.train_on

    def counted(self: Training, images: Any, batch_size: int, rates: Any) -> Any:
        measured.append(batch_size)
        return take(self, images, batch_size, rates)

    Training.train_on = counted  # type: ignore[method-assign]
    worker_pool._work = small_worker
    if where in ("evaluation", "test"):
        training.evaluation_batch = lambda point, *_: IMAGES if point.weight_sharing else 50  # type: ignore[attr-defined]
    heard = Heard()
    logging.getLogger("fastrcaps_dse").setLevel(logging.INFO)
    with session.open_study(spec_of(where, folder), str(folder / "s.db"), device="cpu", precision="float32") as study:
        session.results(study)  # loads what reads them
        limit_memory()
        if where != "estimate":
            study.cost_model.memory.bytes_of_a_run = 2**60
        workers = 2 if where == "workers" else 1
        with heard.listening(), open_executor(study.cost_model, workers=workers) as executor:
            session.explore(study, executor)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            found = session.results(study)
    designs = zip(found.trials["batch_schedule"], found.trials["weight_sharing"], found.trials["state"], strict=True)
    return {
        "states": {f"{batch}{' ws' if weight_sharing else ''}": state for batch, weight_sharing, state in designs},
        "reasons": found.runs["reason"].dropna().tolist(),
        "warnings": heard.warnings,
        "epochs": len(found.epochs),
        "front": len(found.front),
        "large_steps": measured.count(IMAGES),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
