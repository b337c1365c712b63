"""A storage that was moved: its paths are those of where it is now, seen from wherever the program runs."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from fastrcaps_dse import data
from fastrcaps_dse.page.content import study_content
from fastrcaps_dse.session import load_picked
from fastrcaps_dse.store import parse_url, runs_folder
from fastrcaps_dse.store.url import weights_from_store, weights_to_store
from tests.conftest import Command
from tests.exporting import explored_study, noisy_images, opened, write_pictures

pytestmark = pytest.mark.usefixtures("small_capsnet")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return noisy_images(tmp_path / "noisy")


def trained(folder: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train one design in a storage that is named by a relative path."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    explored_study(Path("studies"), images, epochs=1)


def moved(source: Path, target: Path) -> Path:
    """The database, after it and its runs have gone to another folder."""
    target.mkdir(parents=True)
    for name in ("s.db", "s.runs"):
        shutil.move(source / "studies" / name, target / name)
    return target / "s.db"


def stored_paths(database: Path) -> list[str]:
    with sa.create_engine(f"sqlite:///{database}").connect() as connection:
        query = "SELECT weights FROM fastrcaps_run WHERE weights IS NOT NULL"
        return [row[0] for row in connection.exec_driver_sql(query)]


def test_every_command_has_the_path_of_now(
    command: Command, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(tmp_path / "there", images, monkeypatch)
    database = moved(tmp_path / "there", tmp_path / "here" / "deep")
    assert stored_paths(database) == ["run-000001/attempt-1/weights.safetensors"]
    (tmp_path / "here" / "elsewhere").mkdir()
    for directory, storage in ((tmp_path / "here", Path("deep/s.db")), (tmp_path / "here/elsewhere", Path("../deep/s.db"))):
        monkeypatch.chdir(directory)
        weights = str(storage.parent / "s.runs/run-000001/attempt-1/weights.safetensors")
        assert Path(weights).is_file()
        where = ("--storage", storage)
        assert f"weights: {weights}\n" in command("pick", *where).out
        assert f"weights: {weights}\n" in command("show", 0, *where).out
        assert json.loads(command("pick", *where, "--json").out)["pick"]["weights"] == weights
        assert json.loads(command("show", 0, *where, "--json").out)["runs"][0]["weights"] == weights
        (row,) = csv.DictReader(io.StringIO(command("front", *where, "--csv").out))
        assert row["weights"] == weights
        ours = opened(storage)
        study = ours.study()
        content = study_content(study, ours.trials(study), study.objectives, {})
        assert [design["weights"] for design in content["designs"]] == [weights]
        left_over = [kind["kind"] for kind in json.loads(command("clean", *where, "--json").out)["kinds"] if kind["files"]]
        assert left_over == ["weights"]


@pytest.mark.slow
def test_a_moved_network_is_exported_and_predicts(
    command: Command, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(tmp_path / "there", images, monkeypatch)
    pictures = write_pictures(tmp_path / "pictures", data.load(str(images)).test, classes=3)
    before = json.loads(command("predict", 0, pictures, "--storage", tmp_path / "there/studies/s.db", "--json").out)
    where = ("--storage", moved(tmp_path / "there", tmp_path / "here").relative_to(tmp_path))
    monkeypatch.chdir(tmp_path)
    after = json.loads(command("predict", 0, pictures, *where, "--json").out)
    assert after["accuracy"] == before["accuracy"] and after["predictions"] == before["predictions"]
    assert command("export", 0, *where, "--out", "out", "--no-onnx").code == 0
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert (
        load_picked("here/s.db").design.label
        == opened(Path("here/s.db")).trials(opened(Path("here/s.db")).study())[0].design.label
    )


RUNS = Path("studies/s.runs")


@pytest.mark.parametrize("absolute", [False, True])
def test_what_is_stored_is_relative_to_the_runs(absolute: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = RUNS.absolute() if absolute else RUNS
    path = RUNS / "run-000007" / "weights.safetensors"
    assert weights_to_store(runs, path) == "run-000007/weights.safetensors"
    assert weights_from_store(runs, 7, "run-000007/weights.safetensors") == str(runs / "run-000007/weights.safetensors")
    assert weights_from_store(runs, 7, None) is None


def test_paths_of_earlier_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were as the training process saw them: from its directory, or absolute."""
    monkeypatch.chdir(tmp_path)
    beside = RUNS / "run-000007" / "weights.safetensors"
    for written in ("old/t.runs/run-000007/weights.safetensors", "/gone/s.runs/run-000007/weights.safetensors"):
        assert weights_from_store(RUNS, 7, written) == str(beside)  # the folder of runs is beside its database
    assert weights_from_store(RUNS, 7, "kept/mine.safetensors") == "kept/mine.safetensors"  # never one of ours
    alive = tmp_path / "t.runs" / "run-000007" / "weights.safetensors"
    alive.parent.mkdir(parents=True)
    alive.touch()
    assert weights_from_store(RUNS, 7, str(alive)) == str(alive)  # the database alone was copied
    beside.parent.mkdir(parents=True)
    beside.touch()
    assert weights_from_store(RUNS, 7, str(alive)) == str(beside)  # its own files come first
    assert weights_from_store(RUNS, 7, "nowhere/weights.safetensors") == str(beside)


def test_postgresql_has_its_runs_in_a_folder_of_its_name() -> None:
    runs = runs_folder(parse_url("postgresql://me@host/lab"))
    assert weights_from_store(runs, 3, weights_to_store(runs, runs / "run-000003" / "w.safetensors")) == str(
        Path("studies/lab.runs/run-000003/w.safetensors")
    )
