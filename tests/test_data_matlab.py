"""MATLAB files as affNIST's, written by scipy: their order of pixels, their parts, and what is refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import loadmat, savemat

from fastrcaps_dse import data
from fastrcaps_dse.data.mat5 import DamagedFile, read_arrays
from fastrcaps_dse.errors import InputError

SIDE = 20


def some(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8)


def columns(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The images as affNIST has them: in each column, the rows of an image from the top."""
    made = np.zeros((SIDE * SIDE, len(images)), dtype=np.uint8)
    for n, image in enumerate(images):
        for y in range(SIDE):
            for x in range(SIDE):
                made[y * SIDE + x, n] = image[y, x]
    return made


def write(path: Path, images: NDArray[np.uint8], labels: Any = None, **further: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = np.arange(len(images), dtype=np.uint8)[None] % 3 if labels is None else labels
    record = {"image": columns(images), "label_int": numbers, "label_one_of_n": np.eye(3), "human_readable_transform": "none"}
    savemat(path, {"affNISTdata": record | further}, do_compression=True)


def test_a_folder_of_parts(tmp_path: Path) -> None:
    """Batches in the order of their numbers; validation images join the training images; an L stands upright."""
    upright = np.zeros((1, SIDE, SIDE), dtype=np.uint8)
    upright[0, 2:18, 4], upright[0, 17, 4:12] = 255, 255  # taller than wide, with its foot to the right at the bottom
    batches = [np.concatenate([upright, some(5, 1)]), some(6, 2), some(6, 3)]
    for number, batch in zip((1, 2, 10), batches, strict=True):
        write(tmp_path / "training_batches" / f"{number}.mat", batch)
    write(tmp_path / "validation.mat", some(6, 4))
    write(tmp_path / "Test.mat", some(9, 5), labels=np.array([0.0, 1.0, 2.0] * 3)[:, None])
    (tmp_path / "README").write_text("what is beside them is not read", encoding="utf-8")
    found = data.load(str(tmp_path))
    expected = np.concatenate([*batches, some(6, 4)])[:, None]
    assert torch.equal(found.train.images, torch.from_numpy(expected)) and found.train.labels.tolist() == [0, 1, 2] * 8
    assert torch.equal(found.test.images, torch.from_numpy(some(9, 5)[:, None])) and found.test.labels.tolist() == [0, 1, 2] * 3
    assert (found.shape.height, found.shape.width, found.shape.channels, found.shape.classes) == (SIDE, SIDE, 1, 3)


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_are_those_of_scipy(tmp_path: Path, compressed: bool) -> None:
    """Of every type of numbers and any shape, with fields beside them that are no numbers."""
    types = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
    generator = np.random.default_rng(1)
    fields: dict[str, Any] = {f"of_{t}": generator.integers(0, 100, (3, 4 + k, 2)).astype(t) for k, t in enumerate(types)}
    fields |= {"one": 7.5, "none": np.zeros((0, 3)), "text": "any", "cell": np.array(["a", 1], dtype=object), "s": {"x": 1}}
    savemat(tmp_path / "a.mat", {"z": np.eye(3), "s": fields, "t": "text"}, do_compression=compressed)
    z, s, t = read_arrays((tmp_path / "a.mat").read_bytes())
    assert (z.name, s.name, t.name) == ("z", "s", "t") and (z.numbers() == np.eye(3)).all() and z.fields() == {}
    found, expected = s.fields(), loadmat(tmp_path / "a.mat")["s"][0, 0]
    assert tuple(found) == expected.dtype.names
    for name in (*(f"of_{t}" for t in types), "one", "none"):
        numbers = found[name].numbers()
        assert numbers.dtype == expected[name].dtype and numbers.shape == expected[name].shape
        assert (numbers == expected[name]).all()
    assert (found["s"].fields()["x"].numbers() == 1).all()
    for name in ("text", "cell", "s"):
        with pytest.raises(DamagedFile, match="no real numbers"):
            found[name].numbers()


def test_a_file_of_the_other_byte_order() -> None:
    """Written by hand: the bytes of each number turned around, a double stored as 16 bits, as MATLAB stores whole numbers."""

    def element(kind: int, contents: bytes) -> bytes:
        return struct.pack(">II", kind, len(contents)) + contents + bytes(-len(contents) % 8)

    parts = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 1, 3)) + struct.pack(">HH4s", 2, 1, b"ab")
    data = b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + element(14, parts + element(3, struct.pack(">hhh", 5, -6, 700)))
    (array,) = read_arrays(data)
    assert array.name == "ab" and array.numbers().tolist() == [[5.0, -6.0, 700.0]] and array.numbers().dtype == np.float64


def test_a_single_file_trains(tmp_path: Path) -> None:
    write(tmp_path / "any.mat", some(30))
    with pytest.raises(InputError, match="no test set"):
        data.load(str(tmp_path / "any.mat"))
    found = data.load(str(tmp_path / "any.mat"), test_share=0.2)
    assert (len(found.train), len(found.test)) == (24, 6)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "other variables": ({"x": 1, "y": 2}, "lacks affNISTdata; it has x, y"),
    "no labels": ({"affNISTdata": {"image": columns(some(6))}}, "lacks affNISTdata.label_int; it has image"),
    "no struct": ({"affNISTdata": np.zeros((400, 6))}, "lacks affNISTdata.image and affNISTdata.label_int; it has nothing else"),
    "floats": ({"affNISTdata": {"image": np.zeros((400, 6)), "label_int": np.zeros(6)}}, "is float64 of the shape"),
    "no squares": ({"affNISTdata": {"image": np.zeros((401, 6), np.uint8), "label_int": np.zeros(6)}}, r"uint8 of the shape \(401, 6\)"),
    "fewer labels": ({"affNISTdata": {"image": columns(some(6)), "label_int": np.zeros(5)}}, "6 images and 5 labels"),
    "halves": ({"affNISTdata": {"image": columns(some(6)), "label_int": np.arange(6) / 2}}, "not whole numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_variables_that_are_refused(tmp_path: Path, name: str) -> None:
    variables, message = BAD[name]
    savemat(tmp_path / "a.mat", variables)
    with pytest.raises(InputError, match=message) as error:
        data.load(str(tmp_path / "a.mat"))
    assert "\n" not in error.value.message and error.value.hint


def test_broken_files_are_refused_in_a_line(tmp_path: Path) -> None:
    write(tmp_path / "whole.mat", some(6))
    whole = (tmp_path / "whole.mat").read_bytes()
    cut = [whole[:n] for n in (0, 3, 100, 127, 130, 140, 300, len(whole) // 2, len(whole) - 9)]
    generator = np.random.default_rng(3)
    for _ in range(60):
        changed = bytearray(whole)
        for place in generator.integers(128, len(whole), 3).tolist():
            changed[place] = int(generator.integers(0, 256))
        cut.append(bytes(changed))
    refused = 0
    for contents in (*cut, b"no file of MATLAB at all, but long enough to look like one" * 4):
        (tmp_path / "a.mat").write_bytes(contents)
        try:
            data.load(str(tmp_path / "a.mat"), test_share=0.2)
        except InputError as error:
            refused += 1
            assert ("\n" not in error.message and str(tmp_path / "a.mat") in error.message) or "a.mat" in error.message
    assert refused >= len(cut) // 2
    for contents in (
        b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n",
        b"\x89HDF\r\n\x1a\n" + bytes(600),
    ):
        (tmp_path / "a.mat").write_bytes(contents)
        with pytest.raises(InputError, match="MATLAB 7.3"):
            data.load(str(tmp_path / "a.mat"))


def test_folders_that_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a" / "test.mat", some(6))
    with pytest.raises(InputError, match="lacks training images; it has test.mat"):
        data.load(str(tmp_path / "a"))
    for name in ("training.mat", "training_batches/1.mat"):
        write(tmp_path / "b" / name, some(6))
    with pytest.raises(InputError, match=r"several train sets: training.mat, training_batches"):
        data.load(str(tmp_path / "b"))
    for name in ("training_and_validation.mat", "validation_batches/1.mat"):  # held-out images would be trained on
        write(tmp_path / "d" / name, some(6))
    with pytest.raises(InputError, match=r"several train sets: training_and_validation.mat, validation_batches"):
        data.load(str(tmp_path / "d"))
    write(tmp_path / "c" / "training_batches" / "1.mat", some(6))
    savemat(
        tmp_path / "c" / "training_batches" / "2.mat",
        {"affNISTdata": {"image": np.zeros((25, 2), np.uint8), "label_int": [0, 1]}},
    )
    with pytest.raises(InputError, match="images of 5 pixels a side, 1.mat of 20"):
        data.load(str(tmp_path / "c"))
