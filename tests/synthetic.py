"""Studies of any size without training: rows as the runs of real ones would leave them."""

from __future__ import annotations

import math
import random
import time
from pathlib import Path
from typing import Any

from fastrcaps_dse import store
from fastrcaps_dse.problem.objectives import parse_objectives, time_to
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, override
from fastrcaps_dse.search.optuna_storage import open_optuna_study, open_storage
from fastrcaps_dse.search.parameters import sample_design
from fastrcaps_dse.store import EpochRow, Store, StudyRow, tables
from fastrcaps_dse.store.owner import process_name

SPACE = """
dataset = "mnist-sample"
epochs = {epochs}
seeds = {seeds}
[space]
lr_policy = ["fixed", "exp-decay", "one-cycle", "warm-restarts"]
batch_schedule = ["fixed", "adabatch"]
[space.fields]
lr = {{ low = 5e-4, high = 5e-3, log = true }}
lr_max = {{ low = 5e-4, high = 5e-3, log = true }}
size = [1, 4, 16, 32, 64, 128]
"""


def epoch_row(epoch: int, acc: float, seconds: float) -> EpochRow:
    """An epoch as a run stores it."""
    return EpochRow(
        epoch=epoch,
        acc=acc,
        batch_size=16,
        steps=3,
        lr_first=1e-3,
        lr_last=1e-4,
        margin_loss=0.1,
        reconstruction_loss=0.1,
        warm_up_seconds=0.0,
        train_seconds=seconds,
        eval_seconds=0.1,
        counted_seconds=seconds,
    )


def make_spec(
    name: str, *, epochs: int = 6, seeds: int = 1, objectives: str = "acc,time,params", anytime: bool = False
) -> StudySpec:
    spec = parse_study(SPACE.format(epochs=epochs, seeds=seeds), default_name="s")
    return override(spec, name=name, objectives=parse_objectives(objectives), anytime=anytime)


def write_study(path: Path, designs: int, *, name: str = "synthetic", failed: int = 0, running: int = 0, **how: Any) -> Store:
    """A database with a study of so many measured designs, and some that failed or are running."""
    spec, url = make_spec(name, **how), store.parse_url(str(path))
    study = open_optuna_study(spec, open_storage(url))
    ours = Store(url, create=True)
    ours.add_study(
        {
            "study_id": study.study_id,
            "identity": spec.identity(),
            "spec_text": spec.text,
            "target_trials": designs,
            "dataset_fingerprint": "0" * 32,
            "image_shape": {"channels": 1, "height": 28, "width": 28, "classes": 10},
            "train_images": 1667,
        }
    )
    add_designs(ours, ours.study(name), spec, designs, failed=failed, running=running)
    return ours


def add_designs(ours: Store, study: StudyRow, spec: StudySpec, designs: int, *, failed: int = 0, running: int = 0) -> None:
    """More designs, after those that are there."""
    first = len(ours.trials(study))
    generator = random.Random(first + 1)
    runs: list[dict[str, Any]] = []
    epochs: list[dict[str, Any]] = []
    base = max((run.run_id for other in ours.studies() for run in ours.runs(other.study_id)), default=0)
    states = ["done"] * designs + ["failed"] * failed + ["running"] * running
    for index, state in enumerate(states):
        point = sample_design(spec.space, generator)
        for seed in range(spec.seeds):
            run_id = base + len(runs) + 1
            curve = _curve(point, spec.epochs, generator)
            run = _run(run_id, study, first + index, point, seed, state, curve)
            runs.append(run)
            shown = curve if state == "done" else curve[: spec.epochs // 2]
            epochs += [_epoch(run_id, number, acc, point) for number, acc in enumerate(shown, start=1)]
    with ours.engine.begin() as connection:
        for table, rows in ((tables.run, runs), (tables.epoch, epochs)):
            if rows:
                connection.execute(table.insert(), rows)


def _seconds(point: DesignPoint) -> float:
    """Of an epoch."""
    size = getattr(point.batch_schedule, "size", 16)
    return float(5 + 90 / math.sqrt(size) - 2 * point.weight_sharing)


def _curve(point: DesignPoint, epochs: int, generator: random.Random) -> list[float]:
    size = getattr(point.batch_schedule, "size", 16)
    top = 99.4 - 0.6 * point.weight_sharing - 0.5 * (point.lr_policy.name == "fixed") - 0.01 * size + generator.gauss(0, 0.15)
    return [round(top - 22 * math.exp(-0.9 * k) - generator.random() * 0.3, 3) for k in range(epochs)]


def _run(
    run_id: int, study: StudyRow, trial: int, point: DesignPoint, seed: int, state: str, curve: list[float]
) -> dict[str, Any]:
    params = 8_215_728 - 1_433_600 * point.weight_sharing - 73_728 * (point.decoder == "small")
    best = max(range(len(curve)), key=curve.__getitem__)
    now = 1_790_000_000.0 + run_id
    row: dict[str, Any] = {"run_id": run_id, "study_id": study.study_id, "trial": trial, "design": design_to_dict(point)}
    row |= {"design_key": f"{point.key} {trial}", "seed": seed, "state": state, "started": now, "heartbeat": now}
    row |= {"reason": "the loss is not finite after epoch 2" if state == "failed" else None, "ended": None, "device": "cpu"}
    measured: dict[str, Any] = {
        "acc": curve[best],
        "time": _seconds(point) * (best + 1),
        "params": params,
        "test_acc": curve[best] - 0.2,
    }
    measured |= {"selected_epoch": best + 1, "wall_time": 1.0, "pruned_after": None}
    measured |= {"others": {"epochs": best + 1.0, "macs": 2e8 + 1e3 * params % 7e6, "memory": params * 4 / 1e6}}
    wanted = [(o.name, o.wanted_acc) for o in study.objectives if o.wanted_acc is not None]
    measured["others"] |= {name: time_to(acc, curve, [_seconds(point)] * len(curve)) for name, acc in wanted}
    if any(o.name == "robust" for o in study.objectives):
        measured["others"]["robust"], measured["test_robust"] = round(curve[0] - 9 * point.weight_sharing, 3), curve[0] - 5
    if state != "done":
        measured = dict.fromkeys(measured)
    return row | measured | {"precision": "float32", "software": "x", "weights": None} | _ended(state, now)


def _ended(state: str, now: float) -> dict[str, Any]:
    if state == "running":
        return {"ended": None, "owner": process_name(), "heartbeat": time.time()}  # it lives now
    return {"ended": now, "owner": None}


def _epoch(run_id: int, number: int, acc: float, point: DesignPoint) -> dict[str, Any]:
    seconds = _seconds(point)
    row: dict[str, Any] = {"run_id": run_id, "epoch": number, "batch_size": 16, "steps": 100, "acc": acc}
    row |= {"lr_first": 1e-3 / number, "lr_last": 1e-3 / (number + 1), "margin_loss": 0.1, "reconstruction_loss": 0.1}
    return row | {"warm_up_seconds": 0.0, "train_seconds": seconds, "eval_seconds": 0.5, "counted_seconds": seconds}


def beat(ours: Store) -> None:
    """Let the study look changed."""
    with ours.engine.begin() as connection:
        connection.execute(tables.run.update().values(heartbeat=time.time()))
