"""Data sets: the shipped samples, IDX files in every dress, broken ones refused by name."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fastrcaps_dse import data
from fastrcaps_dse.data.samples.make_samples import balanced_subset
from fastrcaps_dse.errors import InputError, MachineError


def write_set(folder: Path, *, packed: bool = True, train: int = 20, test: int = 10, side: int = 20) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for part, count in (("train", train), ("t10k", test)):
        for stem, array in (
            ("images-idx3", generator.integers(0, 256, (count, side, side), dtype=np.uint8)),
            ("labels-idx1", np.arange(count, dtype=np.uint8) % 5),
        ):
            path = folder / f"{part}-{stem}-ubyte.gz"
            data.write_idx(path, array)
            if not packed:
                path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
                path.unlink()


@pytest.mark.parametrize("name", data.SAMPLES)
def test_samples(name: str) -> None:
    sample = data.load(name)
    assert sample.train.images.shape == (2000, 1, 28, 28) and sample.test.images.shape == (1000, 1, 28, 28)
    assert sample.train.labels.bincount().tolist() == [200] * 10
    assert sample.test.labels.bincount().tolist() == [100] * 10
    assert sample.train.images.dtype == torch.uint8 and sample.train.images.float().std() > 50


def test_a_sample_has_each_class_alike_and_repeats_itself() -> None:
    labels = torch.arange(1000) % 10
    split = data.Split(images=torch.arange(1000).to(torch.uint8).view(-1, 1, 1, 1), labels=labels)
    first, second = balanced_subset(split, 7), balanced_subset(split, 7)
    assert first.labels.bincount().tolist() == [7] * 10
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, balanced_subset(split, 7, seed=1).images)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("folder", ["MNIST/raw", "MNIST", "."])
def test_idx_sets_are_found_packed_or_not(tmp_path: Path, packed: bool, folder: str) -> None:
    write_set(tmp_path / folder, packed=packed)
    found = data.load("mnist", tmp_path, download=False)
    assert (len(found.train), len(found.test), found.shape.classes) == (20, 10, 5)
    own = data.load(str(tmp_path / folder))
    assert torch.equal(own.train.images, found.train.images) and own.fingerprint() == found.fingerprint()


def test_emnist_is_turned_upright(tmp_path: Path) -> None:
    write_set(tmp_path / "EMNIST" / "raw")
    for path in (tmp_path / "EMNIST" / "raw").iterdir():
        path.rename(path.with_name("emnist-digits-" + path.name.replace("t10k", "test")))
    stored = data.read_idx(tmp_path / "EMNIST" / "raw" / "emnist-digits-train-images-idx3-ubyte.gz")
    upright = data.load("emnist-digits", tmp_path, download=False).train.images[:, 0].numpy()
    assert np.array_equal(upright, stored.transpose(0, 2, 1))


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    from PIL import Image

    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for k in range(3):
                Image.fromarray(np.full((20, 18, 3), (40 * k, 0, 9), dtype=np.uint8)).save(tmp_path / part / name / f"{k}.png")
    found = data.load(str(tmp_path))
    assert found.shape.channels == 3 and (found.shape.height, found.shape.width, found.shape.classes) == (20, 18, 2)
    assert found.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    (tmp_path / "train" / "cat" / "9.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"9\.png is not an image"):
        data.load(str(tmp_path))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda raw: raw[: len(raw) // 2], "cut short or broken"),
        (lambda raw: gzip.compress(gzip.decompress(raw)[:-7]), "holds 7993 bytes where its header asks for 8000"),
        (lambda raw: gzip.decompress(raw)[:10], "cut short"),
        (lambda raw: b"hello, world", "not an IDX file"),
        (lambda raw: b"", "not an IDX file"),
        (lambda raw: gzip.compress(b"\0\0\x0d\x01\0\0\0\1abcd"), "not an IDX file of unsigned bytes"),
    ],
)
def test_broken_files_are_refused_by_name(tmp_path: Path, harm: Callable[[bytes], bytes], message: str) -> None:
    write_set(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(InputError, match=message) as error:
        data.load("mnist", tmp_path, download=False)
    assert str(path) in error.value.message


def test_mismatched_files_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    data.write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(19, dtype=np.uint8))
    with pytest.raises(InputError, match="do not match"):
        data.load("mnist", tmp_path, download=False)
    write_set(tmp_path)
    data.write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", np.zeros((10, 21, 20), dtype=np.uint8))
    with pytest.raises(InputError, match=r"test images \(1, 21, 20\)"):
        data.load("mnist", tmp_path, download=False)
    write_set(tmp_path)
    data.write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.full(10, 9, dtype=np.uint8))
    with pytest.raises(InputError, match="the test labels reach 9"):
        data.load("mnist", tmp_path, download=False)


def test_unknown_and_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown data set 'mnst'") as error:
        data.load("mnst")
    assert "did you mean 'mnist'" in error.value.hint
    with pytest.raises(MachineError, match="cannot be downloaded"):
        data.load("kmnist", tmp_path, download=False)
    with pytest.raises(InputError, match="holds no data set"):
        data.load(str(tmp_path))


def test_torchvision_imports_beside_a_torch_of_either_kind() -> None:
    assert data.import_torchvision_datasets().MNIST


def test_hold_out_is_balanced_and_the_same_every_time() -> None:
    train = data.load("mnist-sample").train
    rest, held = data.hold_out(train)
    assert held.labels.bincount().tolist() == [33] * 10 and len(rest) + len(held) == len(train)
    again = data.hold_out(train)[1]
    assert torch.equal(held.images, again.images)
    with pytest.raises(InputError, match="too few"):
        data.hold_out(train.subset(torch.tensor([0, 1])))
