"""Labels: gaps, ranges, types, names; IDX files by every name, and .npz files."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastrcaps_dse import data
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.errors import InputError, MachineError
from tests.conftest import write_tiny

RANDOM = np.random.default_rng(3)
CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: NDArray[Any], kind: str = "u1") -> bytes:
    """An IDX file of any type of values."""
    head = bytes([0, 0, CODES[kind], array.ndim]) + np.asarray(array.shape, dtype=">u4").tobytes()
    return head + array.astype(f">{kind}").tobytes()


def images_of(count: int, side: int = 18) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, (count, side, side), dtype=np.uint8)


def write_labeled(folder: Path, train: Any, test: Any, kind: str = "u1", names: str = "{part}-{what}-idx{dims}-ubyte") -> Path:
    """IDX files with these labels."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, labels in (("train", np.asarray(train)), ("t10k", np.asarray(test))):
        stored = {"images": idx_bytes(images_of(len(labels))), "labels": idx_bytes(labels, kind)}
        for what, dims in (("images", 3), ("labels", labels.ndim)):
            (folder / names.format(part=part, what=what, dims=dims)).write_bytes(stored[what])
    return folder


@pytest.mark.parametrize(
    ("train", "test", "absent", "classes"),
    [
        ([1, 2, 3, 1], [1, 2, 3], "no image has the label 0 (1 of 4 classes)", ("1", "2", "3")),
        ([0, 50, 255], [0, 50], "no image has the label 1 to 49, 51 to 254 (253 of 256 classes)", ("0", "50", "255")),
        ([3, 9, 3], [9], "no image has the label 0 to 2, 4 to 8 (8 of 10 classes)", ("3", "9")),
        ([0, 2, 4, 6, 8, 10, 12], [12], "1, 3, 5, 7, 9, ... (6 of 13 classes)", ("0", "2", "4", "6", "8", "10", "12")),
    ],
)
def test_gaps_are_refused_or_renumbered(
    tmp_path: Path, train: list[int], test: list[int], absent: str, classes: tuple[str, ...]
) -> None:
    write_labeled(tmp_path, train, test)
    with pytest.raises(InputError) as error:
        data.load(tmp_path)
    assert absent in error.value.message and "--relabel" in error.value.hint and "relabel = true" in error.value.hint
    found = data.load(tmp_path, relabel=True)
    assert found.classes == classes and found.shape.classes == len(classes)
    for split, labels in ((found.train, train), (found.test, test)):
        assert [int(classes[label]) for label in split.labels.tolist()] == labels
    assert any(note.startswith("labels ") and "are numbered 0 to" in note for note in found.notes)


@given(st.sets(st.integers(0, 255), min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_renumbering_keeps_the_order(labels: set[int], random: Any) -> None:
    train = [*labels, *labels]
    random.shuffle(train)
    test = random.sample(sorted(labels), 1)
    made = DataSet.from_arrays(images_of(len(train), 2), train, images_of(1, 2), test, relabel=True)
    order = sorted(labels)  # the oracle: the position of a label in the sorted ones
    assert made.train.labels.tolist() == [order.index(label) for label in train]
    assert made.test.labels.tolist() == [order.index(label) for label in test] and made.classes == tuple(map(str, order))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0, 1, 2], [0, 9], "the test labels reach 9, the training labels 2; no training image has the label 9"),
        ([0, 2, 4], [1], "no training image has the label 1"),
        ([0, 0], [0], "has only one class: 0"),
        ([], [], "0 training and 0 test images"),
        ([0, 1], [], "2 training and 0 test images"),
    ],
)
def test_labels_that_do_not_match(tmp_path: Path, train: list[int], test: list[int], message: str) -> None:
    write_labeled(tmp_path, np.array(train, dtype=np.uint8), np.array(test, dtype=np.uint8))
    for relabel in (False, True):
        with pytest.raises(InputError, match=message):
            data.load(tmp_path, relabel=relabel)


def test_a_class_that_is_not_tested_is_said(tmp_path: Path) -> None:
    assert data.load(write_labeled(tmp_path, [0, 1, 2], [0, 2])).notes == ("no test image of 1",)


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "i4"])
def test_label_files_of_every_whole_type(tmp_path: Path, kind: str) -> None:
    found = data.load(write_labeled(tmp_path, [0, 1, 2, 1], [2, 1], kind))
    assert found.train.labels.tolist() == [0, 1, 2, 1] and found.test.labels.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        ([0, -1, 1], "i4", "reach from -1 to 1"),
        ([0, -1, 1], "i1", "reach from -1 to 1"),
        ([0, 1, 2], "f4", "not an IDX file of whole numbers"),
        ([0, 1, 2], "f8", "not an IDX file of whole numbers"),
        (np.zeros((3, 2)), "u1", "several labels for an image"),
        (np.zeros((3, 8)), "u1", "several labels for an image"),
    ],
)
def test_label_files_that_are_refused(tmp_path: Path, labels: Any, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        data.load(write_labeled(tmp_path, labels, labels, kind))
    assert "labels-idx" in error.value.message


def test_qmnist_has_the_class_in_its_first_column(tmp_path: Path) -> None:
    train, test = (RANDOM.integers(0, 10**5, (count, 8)) for count in (6, 3))
    train[:, 0], test[:, 0] = [0, 1, 2, 0, 1, 2], [2, 1, 0]
    for part, labels in (("train", train), ("test", test)):
        (tmp_path / f"qmnist-{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images_of(len(labels)))))
        (tmp_path / f"qmnist-{part}-labels-idx2-int.gz").write_bytes(gzip.compress(idx_bytes(labels, "i4")))
    found = data.load(tmp_path)
    assert found.train.labels.tolist() == [0, 1, 2, 0, 1, 2] and found.test.labels.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    "names",
    [
        "{part}-{what}-idx{dims}-ubyte",
        "{part}-{what}.idx{dims}-ubyte",
        "{part}-{what}-idx{dims}-ubyte.gz",
        "{part}-{what}.idx{dims}-ubyte.gz",
        "own-{part}-{what}-idx{dims}-ubyte",
    ],
)
def test_names_of_idx_files(tmp_path: Path, names: str) -> None:
    """What a file holds, not what it is called, tells whether it is gzip."""
    found = data.load(write_labeled(tmp_path, [0, 1, 2], [1], names=names))
    assert found.train.labels.tolist() == [0, 1, 2] and found.test.labels.tolist() == [1]


@pytest.mark.parametrize("split", ["balanced", "letters", "byclass", "digits"])
def test_every_split_of_emnist_is_turned_upright(tmp_path: Path, split: str) -> None:
    write_labeled(tmp_path, [0, 1, 2], [1], names=f"emnist-{split}-{{part}}-{{what}}-idx{{dims}}-ubyte")
    stored = data.read_idx(tmp_path / f"emnist-{split}-train-images-idx3-ubyte").transpose(0, 2, 1)
    by_folder, by_name = data.load(tmp_path), data.load(f"emnist-{split}", tmp_path, download=False)
    for found in (by_folder, by_name):
        assert np.array_equal(found.train.images[:, 0].numpy(), stored)
    write_labeled(tmp_path, [0, 1], [1])
    with pytest.raises(InputError, match=rf"several data sets: emnist-{split}-\*, train-\*|several data sets: train"):
        data.load(tmp_path)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("train-labels-idx1-ubyte", "has train-images-idx3-ubyte, but no train-labels-idx"),
        ("t10k-images-idx3-ubyte", "has t10k-labels-idx1-ubyte, but no t10k-images"),
    ],
)
def test_a_file_that_is_missing_is_named(tmp_path: Path, gone: str, message: str) -> None:
    (write_labeled(tmp_path, [0, 1], [1]) / gone).unlink()
    with pytest.raises(InputError, match=message):
        data.load(tmp_path)


def test_training_files_alone_are_split(tmp_path: Path) -> None:
    write_labeled(tmp_path, [0, 1] * 5, [1])
    for path in tmp_path.glob("t10k*"):
        path.unlink()
    with pytest.raises(InputError, match="has no test set"):
        data.load(tmp_path)
    assert data.load(tmp_path, test_share=0.2).test.counts(2) == [1, 1]


def test_files_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny(tmp_path)  # gzip: its header tells
    monkeypatch.setattr("fastrcaps_dse.data.memory.NEGLIGIBLE", 0)
    monkeypatch.setattr("fastrcaps_dse.cores.available_memory", lambda: 2 * 48 * 17 * 17 - 1)
    with pytest.raises(MachineError, match=r"train-images.* needs about .* GB of memory") as error:
        data.load(tmp_path)
    assert "whole" in error.value.hint
    monkeypatch.setattr("fastrcaps_dse.cores.available_memory", lambda: 2 * 48 * 17 * 17)
    assert len(data.load(tmp_path).train) == 48


# --- .npz ---------------------------------------------------------------------------------------------------------------

IMAGES, LABELS = images_of(6), np.array([0, 1, 2, 0, 1, 2])
MEDMNIST = {
    "train_images": IMAGES[:3],
    "train_labels": LABELS[:3, None].astype(np.uint8),
    "val_images": IMAGES[3:4],
    "val_labels": LABELS[3:4, None].astype(np.uint8),
    "test_images": IMAGES[4:],
    "test_labels": LABELS[4:, None].astype(np.uint8),
}
KERAS = {"x_train": IMAGES[:4], "y_train": LABELS[:4], "x_test": IMAGES[4:], "y_test": LABELS[4:]}


def write_npz(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("arrays", [MEDMNIST, KERAS], ids=["medmnist", "keras"])
def test_npz_files(tmp_path: Path, arrays: dict[str, Any]) -> None:
    path = write_npz(tmp_path / "own.npz", arrays)
    for source in (path, str(path), tmp_path):
        found = data.load(source)
        assert np.array_equal(found.train.images[:, 0].numpy(), IMAGES[:4])
        assert np.array_equal(found.test.images[:, 0].numpy(), IMAGES[4:])
        assert found.train.labels.tolist() == [0, 1, 2, 0] and found.test.labels.tolist() == [1, 2]
    assert ("its 1 validation images" in "".join(found.notes)) == (arrays is MEDMNIST)


def altered(arrays: dict[str, Any], **changes: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, allow_pickle=True, **{k: v for k, v in (arrays | changes).items() if v is not None})


def zip_of_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for key in KERAS:
            archive.writestr(f"{key}.npy", "no array")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (altered(KERAS, x_train=np.array([1, "a"] * 2, dtype=object)), "x_train of .* holds Python objects, which need pickle"),
        (altered(KERAS, y_train=np.array([0, None, 1, 2], dtype=object)), "y_train of .* need pickle"),
        (altered(KERAS, x_train=None), "lacks training images and labels; its keys are x_test, y_test, y_train"),
        (altered(KERAS, x_test=None), "has no test set"),
        (altered(KERAS, y_train=np.eye(4, 3)), "several labels for an image"),
        (altered(KERAS, y_train=LABELS[:3]), "4 train images and 3 labels"),
        (altered(KERAS, y_train=LABELS[:4] - 1), "reach from -1"),
        (altered(KERAS, y_train=LABELS[:4] + 0.5), "not whole numbers but float64"),
        (altered(KERAS, x_train=IMAGES[:4] / 100.0), "images of the types float64, uint8"),
        (altered(KERAS, x_train=IMAGES[:4].reshape(4, -1)), "train images of the shape"),
        (altered(KERAS, x_train=IMAGES[:4, :17]), r"training images are \(1, 17, 18\)"),
        (zip_of_text, "x_train of .* is broken: it is no array"),
        (lambda path: path.write_bytes(b"no archive"), "is broken or no .npz file"),
        (lambda path: path.write_bytes(b""), "is broken or no .npz file"),
        (lambda path: path.write_bytes(b"\x80\x04K\x01."), "is broken or no .npz file"),  # a pickle
    ],
)
def test_npz_files_that_are_refused(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "own.npz"
    write(path)
    with pytest.raises(InputError, match=message):
        data.load(path)


def test_a_cut_npz_file(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "own.npz", KERAS)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is broken or no .npz file"):
        data.load(path)
    write_npz(tmp_path / "a.npz", KERAS)
    with pytest.raises(InputError, match=r"several data sets: a\.npz, own\.npz"):
        data.load(tmp_path)


# --- names, fingerprints, the summary -----------------------------------------------------------------------------------


def test_names_of_classes() -> None:
    assert data.load("mnist-sample").classes == tuple("0123456789")
    assert data.load("fashion-mnist-sample").classes[:2] == ("T-shirt/top", "trouser")


def test_the_fingerprint_tells_all_that_decides_training() -> None:
    images, labels = images_of(6, 4), [0, 1, 2, 0, 1, 2]

    def made(train: Any = images, own: Any = labels, test: Any = images, theirs: Any = labels, **how: Any) -> DataSet:
        return DataSet.from_arrays(train, own, test, theirs, **how)

    one = made()
    different = {
        "shape": made(images.reshape(6, 2, 8), test=images.reshape(6, 2, 8)),
        "names": made(classes=["a", "b", "c"]),
        "pixels": made(255 - images),
        "labels": made(own=[1, 0, 2, 0, 1, 2]),
        "axes": made(images.reshape(6, 1, 2, 8), test=images.reshape(6, 1, 2, 8), layout="NCHW"),
        "channels": made(images.reshape(6, 4, 2, 2), test=images.reshape(6, 4, 2, 2), layout="NCHW"),
    }
    prints = [one.fingerprint(), *(other.fingerprint() for other in different.values())]
    assert prints[1] == different["axes"].fingerprint() == prints[5] and len(set(prints)) == len(prints) - 1
    assert one.legacy_fingerprint() == different["shape"].legacy_fingerprint()  # which is why it is not used any more
    assert made(name="another").fingerprint() == one.fingerprint()


def test_the_legacy_fingerprint_is_that_of_schema_5() -> None:
    import hashlib

    sample = data.load("mnist-sample")
    digest = hashlib.blake2b(digest_size=8)
    for split in (sample.train, sample.test):
        digest.update(split.images.numpy().tobytes())
        digest.update(split.labels.numpy().tobytes())
    assert sample.legacy_fingerprint() == digest.hexdigest()


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        ([0, 1], [0, 1], "n: 2 training and 2 test images of 18x18, gray; 2 classes of 1 + 1: 0, 1"),
        ([0, 1, 1], [0], "n: 3 training and 1 test images of 18x18, gray; 2 classes: 0 1 + 1, 1 2 + 0; no test image of 1"),
        ([*range(13), 12], [*range(13)], "13 classes of 1 to 2 + 1 images: 0, 1, 2, ..., 12"),
    ],
)
def test_the_summary(train: list[int], test: list[int], expected: str) -> None:
    made = DataSet.from_arrays(images_of(len(train)), train, images_of(len(test)), test, name="n")
    assert data.summary_line(made).endswith(expected)
