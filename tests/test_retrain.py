"""A design trained again: for longer, with another seed, on all training images; resumable, and exported by the same command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch

from fastrcaps_dse import data, store, trainer
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.objectives import selected_epoch
from fastrcaps_dse.problem.study_spec import override
from fastrcaps_dse.store import Store
from fastrcaps_dse.trainer import Training
from tests.conftest import Command
from tests.sessions import Heard, curves, explored, opened, spec_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_capsnet")]


@pytest.fixture
def explored_study(command: Command, tmp_path: Path, tiny: Path) -> Store:
    with opened(tmp_path, spec_of(tiny)) as study:
        explored(study)
    return Store(store.parse_url(str(tmp_path / "s.db")))


def test_another_seed_and_more_epochs(command: Command, explored_study: Store) -> None:
    first = explored_study.trials(explored_study.study("s"))[0]
    said = command("retrain", 0, "--study", "s", "--storage", "s.db", "--epochs", 6, "--seed", 5, "--device", "cpu", "--json")
    assert said.code == 0 and "fastrcaps-dse export 0 --study 'train one-cycle" in said.err
    shown = json.loads(said.out)
    (run,) = shown["runs"]
    assert shown["design"]["decoder"] == first.design.decoder and run["seed"] == 5 and len(run["epochs"]) == 6
    again = command("retrain", 0, "--study", "s", "--storage", "s.db", "--epochs", 6, "--seed", 5, "--device", "cpu", "--json")
    assert json.loads(again.out) == shown and len(explored_study.studies()) == 2  # it was found, not trained again


def test_all_images(command: Command, explored_study: Store, tiny: Path) -> None:
    """As many images train as there are; the last epoch's weights are kept, whatever epoch was the most accurate."""
    options = ("--study", "s", "--storage", "s.db", "--device", "cpu", "--all-images", "--name", "whole", "--json")
    shown = json.loads(command("retrain", 0, *options).out)
    row = explored_study.study("whole")
    (run,) = shown["runs"]
    accuracies = [epoch["acc"] for epoch in run["epochs"]]
    dataset = data.load(str(tiny))
    assert row.train_images == len(dataset.train) and run["measurement"]["selected_epoch"] == len(accuracies) == 4
    assert shown["values"]["acc"] == accuracies[-1] == run["measurement"]["test_acc"]
    point = explored_study.trials(row)[0].design
    whole = Training(point, 0, dataset, epochs=4, protocol="all-images", device=trainer.choose_device("cpu"))
    assert [epoch.acc for epoch in whole.epochs()] == accuracies
    loaded = trainer.load_network(run["weights"], point, dataset.shape)
    for kept, expected in zip(loaded.parameters(), whole.network.parameters(), strict=True):
        assert kept.equal(expected)


@pytest.mark.parametrize("stop", [1, pytest.param(2, marks=pytest.mark.thorough), 3])
def test_a_stopped_run_on_all_images_goes_on(tmp_path: Path, tiny: Path, stop: int) -> None:
    spec = override(spec_of(tiny), protocol="all-images")
    for place, after in (("whole", None), ("begun", stop)):
        with opened(tmp_path / place, spec) as study:
            if after is None:
                explored(study)
                continue
            with pytest.raises(KeyboardInterrupt):
                explored(study, Heard(stop_after=after))
    with opened(tmp_path / "begun", spec) as study:
        heard = Heard()
        explored(study, heard)
        assert heard.begun == [stop]
    stores = [Store(store.parse_url(str(tmp_path / place / "s.db"))) for place in ("whole", "begun")]
    whole, begun = (ours.runs(ours.study().study_id)[0] for ours in stores)
    assert whole.measurement is not None and begun.measurement is not None
    assert whole.measurement.test_acc == begun.measurement.test_acc and begun.measurement.selected_epoch == 4
    assert curves(stores[0]) == curves(stores[1])
    left, right = (safetensors.torch.load_file(run.weights or "") for run in (whole, begun))
    assert left.keys() == right.keys() and all(tensor.equal(right[name]) for name, tensor in left.items())


def test_the_last_epoch_counts_where_nothing_selects() -> None:
    assert selected_epoch([90.0, 99.0, 95.0]) == 2 and selected_epoch([90.0, 99.0, 95.0], last=True) == 3


def test_bad_input(command: Command, explored_study: Store, tiny: Path) -> None:
    said = command("retrain", 7, "--storage", "s.db")
    assert said.code == 2 and "there is no trial 7 in the study 's'" in said.err
    said = command("retrain", 0, "--storage", "s.db", "--epochs", -1)
    assert said.code == 2 and "epochs must be at least 1" in said.err
    with pytest.raises(InputError, match="are not pruned"):
        override(spec_of(tiny), protocol="all-images", pruning="safe")
