"""Class folders: their names, what is skipped, what is refused, which parts are used; paths and names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fastrcaps_dse import data
from fastrcaps_dse.data.class_folders import natural_order
from fastrcaps_dse.errors import InputError, MachineError
from tests.conftest import write_tiny
from tests.picture_files import gray, write_classes, write_tree, written

GRAY = gray()


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["10", "9", "1", "0", "2"], ["0", "1", "2", "9", "10"]),
        (["b", "A", "c"], ["A", "b", "c"]),
        (["class10", "class9"], ["class9", "class10"]),
        (["x2y10", "x2y9", "x10"], ["x2y9", "x2y10", "x10"]),
        (["a", "1"], ["1", "a"]),
        (["01", "1", "00"], ["00", "01", "1"]),
        (["²", "2"], ["2", "²"]),
    ],
)
def test_natural_order(names: list[str], order: list[str]) -> None:
    assert sorted(names, key=natural_order) == order


def test_labels_follow_the_natural_order(tmp_path: Path) -> None:
    files = {f"{part}/{name}/x.png": gray(int(name)) for part in ("train", "test") for name in ("0", "1", "2", "10", "11")}
    found = data.load(write_tree(tmp_path, files))
    assert found.classes == ("0", "1", "2", "10", "11")
    for split in (found.train, found.test):
        assert split.images[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 11] and split.labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("extra", "message", "hint"),
    [
        ({"test/Owl/1.png": GRAY}, "test also has Owl", "must be equal"),
        ({"train/owl/1.png": GRAY}, "test lacks owl", "must be equal"),
        ({"train/cat/1.png": GRAY, "test/Cat/1.png": GRAY}, "test lacks cat; test also has Cat", "is Cat meant as cat?"),
        ({"train/cat/1.png": GRAY, "test/cats/1.png": GRAY}, "test lacks cat; test also has cats", "is cats meant as cat?"),
        ({"train/cat/1.png": GRAY, "test/xyz/1.png": GRAY}, "test lacks cat; test also has xyz", "must be equal"),
        ({"val/a/1.png": GRAY}, "validation lacks b", "must be equal"),
        ({"train/c": None, "test/c/1.png": GRAY}, "no pictures of a class: .*train/c", "remove the class"),
        ({"train/c/.DS_Store": written(b"x"), "test/c/1.png": GRAY}, "no pictures of a class: .*train/c", "remove"),
        ({"train/c": None, "test/c": None}, "train/c, .*test/c", "add pictures"),
        ({"train/stray.png": GRAY}, "stray.png cannot be used: in no folder of a class", "remove it"),
        ({"train/labels.csv": written(b"x")}, "labels.csv cannot be used", "remove it"),
        ({"train/a/notes.txt": written(b"x"), "test/b/1.svg": written(b"x")}, "2 files cannot be used: .*notes.txt.*1.svg", ""),
        ({"Training/a/1.png": GRAY}, "has both Training/ and train/", "keep one"),
    ],
)
def test_folders_that_do_not_match(tmp_path: Path, extra: dict[str, Any], message: str, hint: str) -> None:
    write_tree(write_classes(tmp_path), extra)
    with pytest.raises(InputError, match=message) as error:
        data.load(tmp_path)
    assert hint in error.value.hint


def test_what_systems_leave_behind_is_skipped_and_counted(tmp_path: Path) -> None:
    write_classes(tmp_path)
    expected = data.load(tmp_path)
    trash = written(b"trash")
    write_tree(
        tmp_path,
        {
            ".DS_Store": trash,
            "__MACOSX/train/a/._0.png": trash,
            "train/.ipynb_checkpoints/0-checkpoint.png": trash,
            "train/Thumbs.db": trash,
            "train/a/._0.png": trash,
            "train/a/.ipynb_checkpoints/0.png": trash,
            "test/b/desktop.ini": trash,
        },
    )
    found = data.load(tmp_path)
    assert found.fingerprint() == expected.fingerprint() and found.notes == ("skipped 7 hidden or system files",)


def test_other_files_beside_the_parts_are_named(tmp_path: Path) -> None:
    write_tree(write_classes(tmp_path), {"README.md": written(b"x"), "extra/a/1.png": GRAY})
    assert data.load(tmp_path).notes == ("not used: README.md, extra/",)


def test_pictures_without_folders_of_classes(tmp_path: Path) -> None:
    write_tree(tmp_path, {"train/1.png": GRAY, "train/2.png": GRAY, "test/1.png": GRAY})
    with pytest.raises(InputError, match=r"3 files cannot be used: .*train/1\.png \(in no folder of a class\)"):
        data.load(tmp_path)
    with pytest.raises(InputError, match="holds no images"):
        data.load(write_tree(tmp_path / "empty", {"train": None, "test": None}))


def test_folders_inside_a_class_belong_to_it(tmp_path: Path) -> None:
    write_tree(write_classes(tmp_path), {"train/a/session 1/deep/x.png": gray(9)})
    found = data.load(tmp_path)
    assert found.train.labels.tolist() == [0, 0, 0, 1, 1] and found.notes == ("1 pictures lie in folders inside their class",)


def test_links_are_followed_once(tmp_path: Path) -> None:
    write_classes(tmp_path / "real")
    (tmp_path / "linked" / "train").mkdir(parents=True)
    for name in "ab":
        (tmp_path / "linked" / "train" / name).symlink_to(tmp_path / "real" / "train" / name)
    (tmp_path / "linked" / "test").symlink_to(tmp_path / "real" / "test")
    assert data.load(tmp_path / "linked").fingerprint() == data.load(tmp_path / "real").fingerprint()
    (tmp_path / "real" / "train" / "a" / "around").symlink_to(tmp_path / "real" / "train" / "a")
    assert len(data.load(tmp_path / "real").train) == 4
    (tmp_path / "real" / "test" / "b" / "gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "real" / "test" / "b" / "pipe.png")
    with pytest.raises(data.BadFiles, match=r"gone\.png \(a link that leads nowhere\), .*pipe\.png \(no file\)"):
        data.load(tmp_path / "real")


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, onerror: Callable[[OSError], None], **__: object) -> list[Any]:
        onerror(PermissionError(13, "Permission denied", "train/a"))
        return []

    write_classes(tmp_path)
    monkeypatch.setattr("os.walk", refuse)
    with pytest.raises(MachineError, match=r"train/a cannot be read: Permission denied"):
        data.load(tmp_path)


def test_names_of_any_bytes_can_be_printed(tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9"), "two\nlines", "日本"]
    for part in ("train", "test"):
        for name in names:
            write_tree(tmp_path, {f"{part}/{name}/0.png": GRAY})
    found = data.load(tmp_path)
    assert sorted(found.classes) == ["caf\N{REPLACEMENT CHARACTER}", "two\N{REPLACEMENT CHARACTER}lines", "日本"]
    data.summary_line(found).encode()
    write_tree(tmp_path, {"train/日本/two\nlines.txt": written(b"x")})
    with pytest.raises(InputError, match="two\N{REPLACEMENT CHARACTER}lines.txt is not an image"):
        data.load(tmp_path)


def test_one_class_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has only one class: a"):
        data.load(write_classes(tmp_path, classes="a"))


# --- parts --------------------------------------------------------------------------------------------------------------


def numbered(folder: Path, *parts: str, each: int = 10, classes: str = "ab") -> Path:
    """Pictures whose value tells class and number."""
    files = {
        f"{part}/{name}/{k:02d}.png": gray(100 * "ab".index(name) + k)
        for part in parts
        for name in classes
        for k in range(each)
    }
    return write_tree(folder, files)


@pytest.mark.parametrize("parts", [("train",), (".",)])
def test_a_share_is_split_off_for_testing(tmp_path: Path, parts: tuple[str, ...]) -> None:
    numbered(tmp_path, *parts)
    with pytest.raises(InputError, match="has no test set") as error:
        data.load(tmp_path)
    assert "--test-share 0.2" in error.value.hint and "test_share = 0.2" in error.value.hint
    found = data.load(tmp_path, test_share=0.2)
    assert found.train.counts(2) == [8, 8] and found.test.counts(2) == [2, 2]
    values = torch.cat([found.train.images, found.test.images])[:, 0, 0, 0].tolist()
    assert sorted(values) == [*range(10), *range(100, 110)]
    again = data.load(tmp_path, test_share=0.2)
    assert again.fingerprint() == found.fingerprint() != data.load(tmp_path, test_share=0.3).fingerprint()
    assert found.notes == ("0.2 of the images of each class are for testing",)


def test_shares_that_make_no_sense(tmp_path: Path) -> None:
    numbered(tmp_path / "one", "train", each=1)
    with pytest.raises(InputError, match="the label 0 has a single image"):
        data.load(tmp_path / "one", test_share=0.5)
    for share in (0, 1, -0.1, 0.95):
        with pytest.raises(InputError, match="share of test images"):
            data.load(tmp_path / "one", test_share=share)
    with pytest.raises(InputError, match="has a test set of its own"):
        data.load(numbered(tmp_path / "two", "train", "test"), test_share=0.2)
    small = data.load(numbered(tmp_path / "three", "train", each=2), test_share=0.01)
    assert small.test.counts(2) == [1, 1]


def test_validation_images_join_the_training_images(tmp_path: Path) -> None:
    numbered(tmp_path, "Train", each=6)
    numbered(tmp_path, "Valid", each=3)
    with pytest.raises(InputError, match="has no test set"):
        data.load(tmp_path)
    numbered(tmp_path, "Test", each=2)
    found = data.load(tmp_path)
    assert found.train.counts(2) == [9, 9] and found.test.counts(2) == [2, 2]
    assert found.notes == ("its 6 validation images join the training images, of which some are held out",)


def test_a_test_folder_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has test/ but no train/"):
        data.load(write_classes(tmp_path, "test"))


# --- paths and names ----------------------------------------------------------------------------------------------------


def test_one_folder_written_in_many_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classes(tmp_path / "d" / "plain")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    ways: list[str | Path] = [
        "d/plain",
        "d/plain/",
        "./d/../d/plain",
        "~/d/plain",
        str(tmp_path / "d" / "plain"),
        Path("d/plain"),
    ]
    loaded = [data.load(way) for way in ways]
    assert {found.name for found in loaded} == {"plain"} and len({found.fingerprint() for found in loaded}) == 1
    assert all(data.same_source("d/plain", str(way)) for way in ways)
    assert not data.same_source("mnist", "./mnist") and not data.same_source("d/plain", "d/other")
    monkeypatch.chdir(tmp_path / "d" / "plain")
    assert data.load(".").name == "plain"


def test_a_name_beside_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "data" / "MNIST" / "raw")
    write_classes(tmp_path / "mnist")
    named, folder = data.load("mnist", download=False), data.load("./mnist")
    assert len(named.train) == 48 and len(folder.train) == 4 and len(data.load(Path("mnist")).train) == 4
    assert "not the folder beside it, which is ./mnist" in data.summary_line(named)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("mnst", "unknown data set 'mnst'", "did you mean 'mnist'"),
        ("d/plian", "there is no folder d/plian", "did you mean 'plain'?"),
        ("~/nothing", "there is no folder .*/nothing", "check the path"),
        ("", "unknown data set ''", "known:"),
        ("d/plain/train/a/0.png", "is a file of no kind", "a folder, a .npz or a .mat file"),
        ("d", "the folder d holds no data set", "did you mean d/plain?"),
        ("e", "the folder e holds no data set", "train/CLASS"),
    ],
)
def test_paths_that_lead_to_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str, hint: str
) -> None:
    write_classes(tmp_path / "d" / "plain")
    (tmp_path / "e").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=message) as error:
        data.load(text)
    assert hint in error.value.hint
