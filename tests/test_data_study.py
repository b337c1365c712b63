"""The data set of a study: what is stored of it, when a study goes on, what belongs to its identity."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import safetensors
import sqlalchemy as sa

from fastrcaps_dse import data
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import dataset_label
from fastrcaps_dse.session import exporting
from fastrcaps_dse.store import Store, parse_url, tables
from tests.conftest import Command, write_tiny
from tests.sessions import Heard, explore, opened, spec_of
from tests.test_data_labels import write_labeled


def test_classes_shape_and_scaling_are_stored(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny)) as study:
        assert study.row.classes == ["0", "1", "2"] and study.row.pixel_scaling == "value / 255"
        assert study.row.image_shape == {"channels": 1, "height": 17, "width": 17, "classes": 3}
        assert study.row.dataset_fingerprint == study.context.dataset.fingerprint()


@pytest.mark.usefixtures("small_capsnet")
def test_weights_say_what_they_classify(tmp_path: Path, tiny: Path) -> None:
    explore(tmp_path, spec_of(tiny, epochs=1))
    (path,) = tmp_path.rglob("weights.safetensors")
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["classes"]) == ["0", "1", "2"] and metadata["pixel_scaling"] == "value / 255"
    assert json.loads(metadata["image_shape"]) == {"channels": 1, "height": 17, "width": 17, "classes": 3}
    assert "batch_schedule" in metadata["design"]


def test_a_study_of_schema_5_goes_on_and_learns_the_rest(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny)) as study:
        dataset = study.context.dataset
        with study.store.engine.begin() as connection:
            old = {"dataset_fingerprint": dataset.legacy_fingerprint(), "classes": None, "pixel_scaling": None}
            connection.execute(tables.study.update().values(**old))
    with opened(tmp_path, spec_of(tiny)) as study:
        assert study.row.dataset_fingerprint == dataset.fingerprint() and study.row.classes == ["0", "1", "2"]
    with study.store.engine.begin() as connection:  # the same pixels in another shape
        shape = {"channels": 1, "height": 289, "width": 1, "classes": 3}
        connection.execute(tables.study.update().values(**old | {"image_shape": shape}))
    with pytest.raises(InputError, match="the images of the data set"):
        opened(tmp_path, spec_of(tiny))


def test_columns_are_added_to_a_database_of_schema_5(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny)) as study, study.store.engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX fastrcaps_run_revision"))
        later = ("revision", "deadline", "reference", "runs_place", "outlook", "mirrored_until")
        for column in ("classes", "pixel_scaling", "selection", *later):
            connection.execute(sa.text(f"ALTER TABLE fastrcaps_study DROP COLUMN {column}"))
        connection.execute(sa.text("ALTER TABLE fastrcaps_epoch DROP COLUMN test_acc"))
        for column in ("attempt", "revision", "deaths", "time_estimated", "test_robust"):
            connection.execute(sa.text(f"ALTER TABLE fastrcaps_run DROP COLUMN {column}"))
        connection.execute(sa.text("UPDATE fastrcaps_schema SET version = 5"))
    row = Store(parse_url(str(tmp_path / "s.db"))).study("s")
    assert row.classes is None and row.pixel_scaling is None


def test_a_data_set_that_moved_is_recognized(tmp_path: Path) -> None:
    before, after = write_tiny(tmp_path / "before"), tmp_path / "after"
    opened(tmp_path, spec_of(before)).close()
    shutil.move(before, after)
    heard = Heard()
    with heard.listening(), opened(tmp_path, spec_of(after)) as study:
        assert study.context.dataset.name == "after"
    assert heard.warnings == [f"the data set {before} is now {after}: its images are the same"]
    data.write_idx(after / "t10k-labels-idx1-ubyte.gz", data.read_idx(after / "t10k-labels-idx1-ubyte.gz")[::-1].copy())
    with pytest.raises(InputError, match="dataset: .*before there, .*after here; the images of the data set"):
        opened(tmp_path, spec_of(after))


def test_a_folder_written_otherwise_is_no_word_worth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny(tmp_path / "d" / "own")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    heard = Heard()
    with heard.listening():
        for text in ("d/own", "d/own/", "~/d/own", str(tmp_path / "d" / "own")):
            opened(tmp_path, spec_of(tmp_path, dataset=text)).close()
    assert not heard.warnings


def test_relabel_and_test_share_belong_to_the_identity(tmp_path: Path) -> None:
    own = write_labeled(tmp_path / "own", [1, 2, 3] * 8, [1, 2, 3])
    with pytest.raises(InputError, match="no image has the label 0"):
        opened(tmp_path, spec_of(own))
    spec = spec_of(own, relabel=True)
    with opened(tmp_path, spec) as study:
        assert study.row.identity["relabel"] is True and study.row.classes == ["1", "2", "3"]
        assert len(exporting.test_images(study.row)) == 3  # an export finds them, too
    opened(tmp_path, spec).close()
    assert "relabel" not in spec_of(own).identity() and "test_share" not in spec_of(own).identity()
    for path in own.glob("t10k*"):
        path.unlink()
    with pytest.raises(InputError, match="the images of the data set"):
        opened(tmp_path, spec_of(own, relabel=True, test_share=0.25))
    with opened(tmp_path, spec_of(own, relabel=True, test_share=0.25, name="t")) as study:
        assert study.row.identity["test_share"] == 0.25
        assert len(study.context.dataset.test) == len(exporting.test_images(study.row)) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("relabel = 1", "relabel must be true or false"),
        ('test_share = "0.2"', "test_share must be a number"),
        ("test_share = true", "test_share must be a number"),
        ("test_share = 1.5", "test_share must be above 0"),
        ("test_share = 0", "test_share must be above 0"),
        ("relable = true", "unknown key 'relable'"),
    ],
)
def test_keys_of_study_files(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_study(text, default_name="s")
    spec = parse_study("relabel = true\ntest_share = 0.2", default_name="s")
    assert spec.relabel and spec.test_share == 0.2


def test_names_of_studies_from_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [dataset_label(text) for text in ("mnist", "d/own", "d/own/", "~/own", ".")] == [
        "mnist",
        "own",
        "own",
        "own",
        tmp_path.name,
    ]


@pytest.mark.usefixtures("small_capsnet")
def test_a_line_says_what_is_trained_on(command: Command, tmp_path: Path) -> None:
    write_labeled(tmp_path / "own", [1, 2] * 12, [1, 2])
    said = command("train", "--design", "lenet5", "--dataset", "own", "--relabel", "--epochs", 1, "--device", "cpu")
    assert said.code == 0, said.err
    line = (
        "data: own: 24 training and 2 test images of 18x18, gray; 2 classes of 12 + 1: 1, 2; labels 1 to 2 are numbered 0 to 1"
    )
    assert said.err.splitlines()[0] == line
    found = command("find-lr", "--design", "lenet5", "--dataset", "own", "--relabel", "--steps", 10, "--device", "cpu")
    assert found.code == 0 and line in found.err
