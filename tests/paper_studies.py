"""Studies of the paper's designs, as runs would leave them: each run by its accuracies over the epochs and the seconds of an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fastrcaps_dse import store
from fastrcaps_dse.problem.objectives import selected_epoch
from fastrcaps_dse.problem.space import design_to_dict, parse_design
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import override
from fastrcaps_dse.search.optuna_storage import open_optuna_study, open_storage
from fastrcaps_dse.store import Store, tables
from fastrcaps_dse.store.owner import process_name
from tests.synthetic import epoch_row

SHAPE = {"channels": 1, "height": 28, "width": 28, "classes": 10}
NOW = 1_790_000_000.0


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A run with one seed: accuracies (%) by epoch on the images that select, and on the test set."""

    seed: int
    curve: Sequence[float]
    test: Sequence[float] | None = None  # by default the curve
    seconds: float = 10.0  # of an epoch
    ends: str = "done"  # done, failed, running or pruned


def write_paper_study(
    path: Path,
    designs: Mapping[str, Sequence[Trained]],
    *,
    name: str = "small",
    dataset: str = "mnist",
    protocol: str = "paper",
    images: int = 60_000,
) -> Store:
    """A study of these designs in the database `path`."""
    epochs = max((len(run.curve) for runs in designs.values() for run in runs), default=1)
    seeds = max(map(len, designs.values()), default=1)
    text = f'epochs = {epochs}\nseeds = {seeds}\nprotocol = "{protocol}"\n'
    spec = override(parse_study(text, default_name=name), name=name, dataset=dataset, first=())
    url = store.parse_url(str(path))
    study = open_optuna_study(spec, open_storage(url))
    ours = Store(url, create=True)
    row = {"identity": spec.identity(), "spec_text": "", "target_trials": 8, "dataset_fingerprint": "0", "image_shape": SHAPE}
    ours.add_study(row | {"study_id": study.study_id, "train_images": images})
    runs: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for trial, (design, of_design) in enumerate(designs.items()):
        for trained in of_design:
            runs.append(_run(len(runs) + 1, study.study_id, trial, design, trained, protocol))
            rows += _epochs(len(runs), trained, protocol)
    with ours.engine.begin() as connection:
        for table, values in ((tables.run, runs), (tables.epoch, rows)):
            if values:
                connection.execute(table.insert(), values)
    return ours


def _run(run_id: int, study: int, trial: int, design: str, trained: Trained, protocol: str) -> dict[str, Any]:
    point, tests = parse_design(design), trained.test or trained.curve
    row: dict[str, Any] = {"run_id": run_id, "study_id": study, "trial": trial, "design": design_to_dict(point)}
    row |= {
        "design_key": f"{point.key} {trial}",
        "seed": trained.seed,
        "device": "cpu",
        "precision": "float32",
        "software": "x",
    }
    selected = selected_epoch(trained.curve, last=protocol == "all-images")
    params = 8_215_728 - (1_433_600 if point.weight_sharing else 0) - (73_728 if point.decoder == "small" else 0)
    measured: dict[str, Any] = {"acc": trained.curve[selected - 1], "time": selected * trained.seconds, "params": params}
    measured |= {"test_acc": tests[selected - 1], "selected_epoch": selected, "wall_time": 1.0, "others": {}}
    measured["pruned_after"] = len(trained.curve) if trained.ends == "pruned" else None
    if trained.ends not in ("done", "pruned"):
        measured = dict.fromkeys(measured)
    state = "done" if trained.ends == "pruned" else trained.ends
    owner, ended = (process_name(), None) if state == "running" else (None, NOW)
    return row | measured | {"state": state, "reason": None, "started": NOW, "heartbeat": NOW, "ended": ended, "owner": owner}


def _epochs(run_id: int, trained: Trained, protocol: str) -> list[dict[str, Any]]:
    tests = trained.test or trained.curve
    rows = []
    for number, (acc, test) in enumerate(zip(trained.curve, tests, strict=True), start=1):
        row = epoch_row(number, acc, trained.seconds)
        rows.append({"run_id": run_id} | asdict(replace(row, test_acc=test if protocol == "both" else None)))
    return rows
