"""The weights of designs that stop early: kept while they fit, else made again bit for bit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch

from fastrcaps_dse import data, store
from fastrcaps_dse.analysis.anytime import anytime_trials
from fastrcaps_dse.analysis.results import front_of
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.export.writing import WEIGHTS
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.runs.stopped_weights import FOLDER, StoppedWeights
from fastrcaps_dse.session.exporting import weights_of
from fastrcaps_dse.session.stopped import find_stopped, stopped_weights
from fastrcaps_dse.store import Store, TrialRow
from fastrcaps_dse.trainer import Training, stopwatch
from fastrcaps_dse.trainer.checkpoint import read_tensors
from tests.conftest import Command
from tests.sessions import Heard, explore, small_sizes

STUDY = """
dataset = "{tiny}"
sampler = "exhaustive"
epochs = 4
first = []
[space]
lr_policy = ["one-cycle"]
batch_schedule = [4, 8]
weight_sharing = [false]
decoder = ["small"]
shift = [0]
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.conftest import write_tiny

    return write_tiny(tmp_path_factory.mktemp("images") / "tiny")


def made(folder: Path, tiny: Path, *, anytime: bool) -> Path:
    spec = replace(parse_study(STUDY.format(tiny=tiny), default_name="a"), anytime=anytime)
    with small_sizes(), mock.patch.object(stopwatch, "GROUP_SECONDS", 0.01):
        explore(folder, spec, trials=2).close()
    return folder


@pytest.fixture(scope="module")
def anytime_study(tmp_path_factory: pytest.TempPathFactory, tiny_images: Path) -> Path:
    """A folder with an anytime study of two designs; tests read it."""
    return made(tmp_path_factory.mktemp("anytime"), tiny_images, anytime=True)


@pytest.fixture
def whole_study(tmp_path: Path, anytime_study: Path) -> Path:
    """The same as a study of whole runs, which keeps no weights of epochs."""
    shutil.copytree(anytime_study, tmp_path / "s")
    shutil.rmtree(stopped_folder(tmp_path / "s"))
    return tmp_path / "s"


def stopped_folder(folder: Path) -> Path:
    return opened(folder).runs_folder / FOLDER


def opened(folder: Path) -> Store:
    return Store(store.parse_url(str(folder / "s.db")))


def points_of(ours: Store) -> list[TrialRow]:
    row = ours.study()
    return anytime_trials(ours.trials(row), ours.epochs_of(row.study_id), row)


def bits(path: Path) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in read_tensors(path)[0].items()}


def trained(tiny: Path, point: TrialRow, folder: Path) -> dict[str, bytes]:
    """The weights of a point, as plain training of so many epochs gives them."""
    assert point.runs[0].measurement is not None
    training = Training(point.design, 0, data.load(str(tiny)), epochs=4, device=torch.device("cpu"))
    for _ in range(point.runs[0].measurement.selected_epoch):
        training.run_epoch()
    training.save_weights(folder / "oracle.safetensors")
    return bits(folder / "oracle.safetensors")


@pytest.mark.usefixtures("small_capsnet")
def test_weights_on_the_front_are_kept(anytime_study: Path, tiny_images: Path, tmp_path: Path) -> None:
    ours = opened(anytime_study)
    front = front_of(points_of(ours), ours.study().objectives)
    assert any((p.stop_after or 4) < 4 for p in front)
    said: list[str] = []
    for point in front:
        _, path = stopped_weights(ours, ours.study(), point, say=said.append)
        assert bits(path) == trained(tiny_images, point, tmp_path)
    assert not said  # nothing was trained again
    kept = {path.name.rpartition("-")[0] for path in stopped_folder(anytime_study).iterdir()}
    ended = {run.run_id: run.measurement for run in ours.runs(ours.study().study_id) if run.weights}
    wanted = {(p.runs[0].run_id, p.runs[0].measurement.selected_epoch) for p in front if p.runs[0].measurement}
    own = {(run_id, measured.selected_epoch) for run_id, measured in ended.items() if measured}
    assert kept == {f"run-{run_id:06d}-epoch-{epoch:04d}" for run_id, epoch in wanted - own}


@pytest.mark.usefixtures("small_capsnet")
def test_what_is_not_kept_is_made_again(whole_study: Path, tiny_images: Path, tmp_path: Path) -> None:
    ours = opened(whole_study)
    point = min(points_of(ours), key=lambda p: (-(p.stop_after or 0) % 4, p.trial))
    point = next(p for p in points_of(ours) if p.trial == point.trial and p.stop_after == 1)
    said: list[str] = []
    run, path = stopped_weights(ours, ours.study(), point, say=said.append)
    assert said == [f"trial {point.trial}: epoch 1 of 1 is trained again"]
    assert bits(path) == trained(tiny_images, point, tmp_path) and run.run_id == point.runs[0].run_id
    assert stopped_weights(ours, ours.study(), point, say=said.append)[1] == path and len(said) == 1


@pytest.mark.usefixtures("small_capsnet")
def test_a_design_that_came_to_the_front_later_has_its_weights(whole_study: Path, tiny_images: Path, tmp_path: Path) -> None:
    ours = opened(whole_study)
    row, trial = ours.study(), front_of(ours.trials(ours.study()), ours.study().objectives)[0]
    assert trial.measurement is not None
    for run in trial.runs:
        ours.forget_weights(run.run_id)
    point = find_stopped(ours, row, trial.trial, trial.measurement.selected_epoch)
    _, path = weights_of(ours, row, ours.trials(row)[trial.trial])
    assert bits(path) == trained(tiny_images, point, tmp_path)


@pytest.mark.usefixtures("small_capsnet")
def test_another_result_is_told(whole_study: Path) -> None:
    ours = opened(whole_study)
    point = find_stopped(ours, ours.study(), 1, 1)
    with ours.engine.begin() as connection:
        connection.execute(store.tables.epoch.update().values(acc=store.tables.epoch.c.acc + 0.5))
    heard = Heard()
    with heard.listening():
        stopped_weights(ours, ours.study(), point)
    assert len(heard.warnings) == 1 and "but not the same" in heard.warnings[0]


def test_a_design_is_found_by_trial_and_epoch(anytime_study: Path) -> None:
    ours = opened(anytime_study)
    row, points = ours.study(), points_of(ours)
    for trial in (0, 1):
        stops = [p.stop_after for p in points if p.trial == trial]
        for epoch in range(1, 5):
            assert find_stopped(ours, row, trial, epoch).stop_after == max(s for s in stops if s and s <= epoch)
        for wrong in (0, 5, -1):
            with pytest.raises(InputError, match="has 4 epochs"):
                find_stopped(ours, row, trial, wrong)


@pytest.mark.usefixtures("small_capsnet")
def test_exported_and_made_again_from_the_command_line(whole_study: Path, command: Command, tmp_path: Path) -> None:
    storage = ("--storage", str(whole_study / "s.db"))
    answer = command("retrain", "0", "--stop-after", "1", "--json", *storage)
    assert answer.code == 0, answer.err
    made_again = json.loads(answer.out)
    assert (made_again["stop_after"], made_again["epoch"]) == (1, 1) and Path(made_again["weights"]).is_file()
    assert command("retrain", "0", "--stop-after", "1", "--epochs", "9", *storage).code == 2
    assert command("export", "0", "--stop-after", "9", "--out", str(tmp_path / "e"), *storage).code == 2
    answer = command("export", "0", "--stop-after", "1", "--out", str(tmp_path / "e"), "--no-onnx", "--json", *storage)
    assert answer.code == 0, answer.err
    card = json.loads(answer.out)["card"]
    assert (card["stop_after"], card["epoch"], card["epochs"]) == (1, 1, 4) and "stop after epoch 1 of 4" in card["label"]
    assert bits(Path(made_again["weights"])).items() <= bits(tmp_path / "e" / WEIGHTS).items()


def test_the_bound_spares_what_is_dear_to_make_again(tmp_path: Path) -> None:
    stopped = StoppedWeights(folder=tmp_path / FOLDER, limit=250)
    (tmp_path / "w").write_bytes(b"x" * 100)
    for run_id, epoch in ((1, 1), (1, 2), (2, 1), (2, 3), (3, 1)):
        assert stopped.keep(run_id, epoch, f"{run_id}{epoch}", tmp_path / "w") is not None
    assert stopped.trim({1: {1: 10.0, 2: 20.0}, 2: {3: 5.0}}) == 1  # run 3 is of another study, and counts
    left = sorted(path.name for path in stopped.folder.iterdir())
    assert left == ["run-000001-epoch-0002-12.safetensors", "run-000003-epoch-0001-31.safetensors"]
    assert stopped.find("12") is not None and stopped.find("2") is None
    stopped.drop({1})
    assert [path.name for path in stopped.folder.iterdir()] == ["run-000003-epoch-0001-31.safetensors"]
    (tmp_path / "file").touch()
    heard = Heard()
    with heard.listening():
        assert StoppedWeights(folder=tmp_path / "file").keep(1, 1, "a", tmp_path / "w") is None
    assert "are not kept" in heard.warnings[0]
