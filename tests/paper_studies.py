"""Studies of the paper's designs, as runs would leave them: each run by its curves of accuracies and the seconds of an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fastrcaps_dse import store
from fastrcaps_dse.problem.objectives import Measurement, selected_epoch
from fastrcaps_dse.problem.space import design_to_dict, parse_design
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import override
from fastrcaps_dse.search.optuna_storage import open_optuna_study, open_storage
from fastrcaps_dse.store import Store
from tests.synthetic import epoch_row

SHAPE = {"channels": 1, "height": 28, "width": 28, "classes": 10}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A run with one seed: accuracies (%) by epoch on the images that select, and on the test set."""

    seed: int
    curve: Sequence[float]
    test: Sequence[float] | None = None  # by default the curve
    seconds: float = 10.0  # of an epoch
    ends: str = "done"  # done, failed, running, pruned


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
    spec = parse_study(f'epochs = {epochs}\nseeds = {max(map(len, designs.values()), default=1)}\nprotocol = "{protocol}"\n', default_name=name)
    spec = override(spec, name=name, dataset=dataset)
    url = store.parse_url(str(path))
    study = open_optuna_study(spec, open_storage(url))
    ours = Store(url, create=True)
    row = {"identity": spec.identity(), "spec_text": "", "target_trials": 8, "dataset_fingerprint": "0", "image_shape": SHAPE}
    ours.add_study(row | {"study_id": study.study_id, "train_images": images})
    for trial, (design, runs) in enumerate(designs.items()):
        for trained in runs:
            _write_run(ours, study.study_id, trial, design, trained, protocol)
    return ours


def _write_run(ours: Store, study: int, trial: int, design: str, trained: Trained, protocol: str) -> None:
    point, tests = parse_design(design), trained.test or trained.curve
    run = ours.claim_run(study, trial, design_to_dict(point), point.key, trained.seed)
    mine = run.run_id, run.attempt
    ours.start_run(*mine, {"device": "cpu", "precision": "float32", "software": "x", "params": 1, "time_estimated": 0})
    for number, acc in enumerate(trained.curve, start=1):
        row = epoch_row(number, acc, trained.seconds)
        ours.set_epoch(*mine, replace(row, test_acc=tests[number - 1]) if protocol == "both" else row)
    if trained.ends == "running":
        return
    if trained.ends == "failed":
        ours.fail_run(*mine, "the loss is not finite after epoch 2")
        return
    selected = selected_epoch(trained.curve, last=protocol == "all-images")
    params = 8_215_728 - (1_433_600 if point.weight_sharing else 0) - (73_728 if point.decoder == "small" else 0)
    measured = Measurement(
        values={"acc": trained.curve[selected - 1], "time": selected * trained.seconds, "params": params},
        test_acc=tests[selected - 1],
        selected_epoch=selected,
        pruned_after=len(trained.curve) if trained.ends == "pruned" else None,
    )
    ours.finish_run(*mine, measured, 1.0, None)
