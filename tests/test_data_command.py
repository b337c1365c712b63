"""The command `data`, and the options that tell how a data set is read."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastrcaps_dse import data
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.figures.contact_sheet import GAP, TEXT_WIDTH, contact_sheet
from tests.conftest import Command, write_tiny
from tests.picture_files import gray, write_classes, write_tree, written
from tests.test_data_labels import write_labeled


def test_it_prints_classes_with_counts(command: Command, tmp_path: Path) -> None:
    write_tree(write_classes(tmp_path / "own"), {"train/b/9.png": gray(), "train/.DS_Store": written(b"x")})
    said = command("data", "own")
    assert said.code == 0 and not said.err
    assert said.out.splitlines()[0] == (
        "own: 5 training and 4 test images of 20x20, gray; 2 classes: a 2 + 2, b 3 + 2; skipped 1 hidden or system files"
    )
    assert [line.split() for line in said.out.splitlines()[2:]] == [["0", "a", "2", "2"], ["1", "b", "3", "2"]]
    record = json.loads(command("data", "own", "--json").out)
    assert record["classes"][1] == {"label": 1, "name": "b", "train": 3, "test": 2}
    assert {k: record[k] for k in ("train_images", "test_images", "height", "width", "channels", "scaling")} == {
        "train_images": 5,
        "test_images": 4,
        "height": 20,
        "width": 20,
        "channels": 1,
        "scaling": "value / 255",
    }
    assert record["notes"] == ["skipped 1 hidden or system files"]
    assert record["fingerprint"] == data.load(tmp_path / "own").fingerprint()
    rows = list(csv.DictReader(io.StringIO(command("data", "own", "--csv").out)))
    assert [row["name"] for row in rows] == ["a", "b"] and rows[1]["train"] == "3"


def test_it_lists_every_bad_file(command: Command, tmp_path: Path) -> None:
    names = [f"train/a/{k:02d}.txt" for k in range(15)]
    write_tree(write_classes(tmp_path / "own"), dict.fromkeys(names, written(b"text")))
    said = command("data", "own")
    assert said.code == 2 and not said.out
    assert [line for line in said.err.splitlines() if line.endswith(": no picture")] == [
        f"own/{name}: no picture" for name in names
    ]
    assert "error: 15 files of own cannot be used" in said.err
    explored = command("explore", "--dataset", "own", "--device", "cpu")
    assert explored.code == 2 and "and 5 more" in explored.err and "`fastrcaps-dse data own` lists all" in explored.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["own"], 2, "no image has the label 0"),
        (["own", "--test-share", "0.2"], 2, "has a test set of its own"),
        (["own", "--relabel", "--picture", "a.jpg"], 2, "the picture is a PNG file"),
        (["gone/own"], 2, "there is no folder"),
        (["kmnist"], 1, "cannot be downloaded"),
        ([], 2, "Missing argument"),
    ],
)
def test_exit_codes(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    def offline(name: str, root: Path) -> None:
        raise data.sets._not_found(name, root)

    monkeypatch.setattr("fastrcaps_dse.data.sets._torchvision", offline)
    write_labeled(tmp_path / "own", [1, 2], [1, 2])
    said = command("data", *arguments)
    assert said.code == code and said.err.startswith("error: ") and message in said.err
    assert "hint:" in said.err and "Traceback" not in said.err


def test_options_reach_the_data(command: Command, tmp_path: Path) -> None:
    write_labeled(tmp_path / "own", [1, 2, 4], [1, 2])
    record = json.loads(command("data", "own", "--relabel", "--json").out)
    assert [row["name"] for row in record["classes"]] == ["1", "2", "4"] and record["classes"][2]["test"] == 0
    write_classes(tmp_path / "alone", "train")
    record = json.loads(command("data", "alone", "--test-share", "0.5", "--json").out)
    assert (record["train_images"], record["test_images"]) == (2, 2)


def test_the_picture_has_the_pixels_of_the_trainer(command: Command, tmp_path: Path) -> None:
    write_tiny(tmp_path / "own")
    said = command("data", "own", "--picture", "new/own.png")
    assert said.code == 0 and "picture: new/own.png" in said.err
    sheet = np.asarray(Image.open(tmp_path / "new" / "own.png"))
    loaded, factor = data.load(tmp_path / "own"), 4
    side = factor * 17
    for label in range(3):
        images = loaded.train.images[loaded.train.labels == label, 0].numpy()
        for column in range(10):
            top, left = GAP + label * (side + GAP), TEXT_WIDTH + column * (side + GAP)
            window = sheet[top : top + side : factor, left : left + side : factor]
            assert np.array_equal(window, np.dstack([images[column]] * 3))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_sheet_of_any_names_and_channels(channels: int) -> None:
    images = np.zeros((6, channels, 3, 70), dtype=np.uint8)
    names = ["日本", "a name that is much longer than the room that there is for it", "c"]
    dataset = DataSet.from_arrays(images, [0, 1, 2] * 2, images, [0, 1, 2] * 2, classes=names, layout="NCHW")
    sheet = Image.open(io.BytesIO(contact_sheet(dataset, each=2)))
    assert sheet.size == (TEXT_WIDTH + 2 * (70 * 19 + GAP) + GAP, 3 * (3 * 19 + GAP) + GAP)
