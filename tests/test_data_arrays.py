"""Data sets from arrays and from torch: values, axes and types are as given, and lies are refused."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as arrays_of
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import TensorDataset

import fastrcaps_dse as fd
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.errors import InputError

RANDOM = np.random.default_rng(1)
GRAY = RANDOM.integers(0, 256, (4, 6, 5), dtype=np.uint8)
COLOR = RANDOM.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
UNIT = RANDOM.random((4, 6, 5))
LABELS = [0, 1, 1, 0]


def made(images: Any, labels: Any = LABELS, **how: Any) -> DataSet:
    return DataSet.from_arrays(images, labels, images, labels, **how)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GRAY, GRAY[:, None]),
        (torch.from_numpy(GRAY), GRAY[:, None]),
        (GRAY.astype(np.int64), GRAY[:, None]),
        (GRAY.astype(">u2"), GRAY[:, None]),
        (GRAY.astype(np.float32), GRAY[:, None]),
        (GRAY[..., None], GRAY[:, None]),
        (GRAY[:, None], GRAY[:, None]),
        (COLOR, COLOR.transpose(0, 3, 1, 2)),
        (COLOR.transpose(0, 3, 1, 2), COLOR.transpose(0, 3, 1, 2)),
        (UNIT, np.rint(255 * UNIT).astype(np.uint8)[:, None]),
        (torch.from_numpy(UNIT).float(), np.rint(255 * UNIT).astype(np.uint8)[:, None]),
        (torch.from_numpy(UNIT).requires_grad_(), np.rint(255 * UNIT).astype(np.uint8)[:, None]),
        (GRAY > 127, 255 * (GRAY > 127)[:, None]),
        (GRAY.tolist(), GRAY[:, None]),
    ],
)
def test_values_and_axes(images: Any, expected: NDArray[Any]) -> None:
    found = made(images)
    for split in (found.train, found.test):
        assert split.images.dtype == torch.uint8 and np.array_equal(split.images.numpy(), expected)
        assert split.labels.dtype == torch.int64 and split.labels.tolist() == LABELS
    assert (found.shape.channels, found.shape.height, found.shape.width, found.shape.classes) == (expected.shape[1], 6, 5, 2)


@given(arrays_of.arrays(np.float64, (2, 3, 3), elements=st.floats(0, 1)))
def test_floats_are_not_divided_again(images: NDArray[np.float64]) -> None:
    found = made(images, [0, 1])
    assert np.abs(found.train.images[:, 0].numpy() / 255 - images).max() <= 0.5 / 255 + 1e-9


@pytest.mark.parametrize(
    ("images", "labels", "how", "message"),
    [
        (UNIT * 2, LABELS, {}, "float64 hold values from"),
        (UNIT - 0.5, LABELS, {}, "float64 hold values from -0"),
        (np.where(UNIT > 0.5, np.nan, UNIT), LABELS, {}, "hold values from nan"),
        (GRAY.astype(np.int16) - 256, LABELS, {}, "int16 hold values from"),
        (GRAY.astype(np.uint16) * 257, LABELS, {}, "uint16 hold values from"),
        (GRAY.astype(complex), LABELS, {}, "images of the type complex128"),
        (GRAY.astype("U3"), LABELS, {}, "images of the type <U3"),
        (GRAY.reshape(4, 30), LABELS, {}, r"images of the shape \(4, 30\)"),
        (7, LABELS, {}, r"images of the shape \(\)"),
        (GRAY[:3], LABELS, {}, "3 train images and 4 labels"),
        (COLOR[:, :3, :3], LABELS, {}, "leaves open which axis"),
        (np.zeros((4, 6, 5, 4), dtype=np.uint8), LABELS, {}, "leaves open which axis"),
        (GRAY, LABELS, {"layout": "NHWC"}, r"the train images have the shape \(4, 6, 5\), not NHWC"),
        (GRAY, [0, 1, 1, 2.5], {}, "are not whole numbers"),
        (GRAY, ["a", "b", "a", "b"], {}, "are not whole numbers"),
        (GRAY, np.eye(4), {}, "several labels for an image"),
        (GRAY, [0, 1, 1, -1], {}, "reach from -1 to 1"),
        (GRAY, [1, 2, 1, 2], {}, "no image has the label 0"),
        (GRAY, [0, 0, 0, 0], {}, "has only one class"),
        (GRAY, LABELS, {"classes": ["a"]}, "1 names for 2 classes"),
        (GRAY, LABELS, {"classes": "ab"}, "names for 2 classes"),
        (GRAY, LABELS, {"classes": ["a", "a"]}, "names for 2 classes"),
    ],
)
def test_lies_are_refused(images: Any, labels: Any, how: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        made(images, labels, **how)
    assert error.value.hint


def test_training_and_test_arrays_match() -> None:
    with pytest.raises(InputError, match="images of the types float64, uint8"):
        DataSet.from_arrays(GRAY, LABELS, UNIT, LABELS)
    with pytest.raises(InputError, match=r"training images are \(1, 6, 5\), test images \(1, 5, 5\)"):
        DataSet.from_arrays(GRAY, LABELS, GRAY[:, :5], LABELS)
    with pytest.raises(InputError, match="the test labels reach 2"):
        DataSet.from_arrays(GRAY, LABELS, GRAY, [0, 1, 2, 0])


def test_a_layout_is_named_and_classes_too() -> None:
    square = COLOR[:, :3, :3]
    assert np.array_equal(made(square, layout="NCHW").train.images.numpy(), square)
    assert np.array_equal(made(square, layout="NHWC").train.images.numpy(), square.transpose(0, 3, 1, 2))
    assert made(GRAY, classes=["cat", "dog"]).classes == ("cat", "dog")
    assert made(GRAY, np.array(LABELS)[:, None]).train.labels.tolist() == LABELS
    assert made(GRAY, [5, 9, 9, 5], relabel=True).classes == ("5", "9")


def test_it_is_public_and_trains() -> None:
    images = RANDOM.integers(0, 256, (8, 17, 17), dtype=np.uint8)
    dataset = fd.DataSet.from_arrays(images, [0, 1] * 4, images, [0, 1] * 4)
    point = fd.parse_design("lenet5")
    epoch = fd.Training(point, 0, dataset, epochs=1, protocol="paper", device=torch.device("cpu")).run_epoch()
    assert 0 <= epoch.acc <= 100


# --- torch --------------------------------------------------------------------------------------------------------------


class Listed:
    """A data set of torch from a list of items."""

    classes = ("cat", "dog")

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def listed(images: Any, labels: Any = LABELS) -> Listed:
    return Listed([*zip(images, labels, strict=True)])


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (TensorDataset(torch.from_numpy(GRAY)[:, None], torch.tensor(LABELS)), GRAY[:, None]),
        (TensorDataset(torch.from_numpy(UNIT), torch.tensor(LABELS)), np.rint(255 * UNIT).astype(np.uint8)[:, None]),
        (listed(torch.from_numpy(COLOR).permute(0, 3, 1, 2)), COLOR.transpose(0, 3, 1, 2)),
        (listed(torch.from_numpy(COLOR).permute(0, 3, 1, 2) / 255), COLOR.transpose(0, 3, 1, 2)),
        (listed(map(Image.fromarray, GRAY)), GRAY[:, None]),
        (listed(map(Image.fromarray, COLOR)), COLOR.transpose(0, 3, 1, 2)),
        (listed([Image.fromarray(image).convert("RGB") for image in GRAY]), GRAY[:, None]),
        (listed(GRAY), GRAY[:, None]),
        (listed(map(Image.fromarray, GRAY), np.array(LABELS)), GRAY[:, None]),
    ],
)
def test_data_sets_of_torch(dataset: Any, expected: NDArray[Any]) -> None:
    found = DataSet.from_torch(dataset, dataset)
    for split in (found.train, found.test):
        assert np.array_equal(split.images.numpy(), expected) and split.labels.tolist() == LABELS
    assert found.classes == (("cat", "dog") if isinstance(dataset, Listed) else ("0", "1"))
    again = DataSet.from_torch(iter([*dataset]), [*dataset], classes=found.classes)
    assert again.fingerprint() == found.fingerprint()


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (5, "train is a int, no data set"),
        ([], "train yields no image"),
        ([{"image": 1}], "item 0 of train is a dict, no pair"),
        (["ab"], "item 0 of train is a str"),
        (listed(["a.png"] * 4), "image 0 of train is a str"),
        (listed(torch.from_numpy(GRAY), [0, 1, 0.5, 1]), "label 2 of train is 0.5"),
        (listed(torch.from_numpy(GRAY), ["cat"] * 4), "label 0 of train is 'cat'"),
        (listed(torch.from_numpy(GRAY), [*torch.eye(4)]), "label 0 of train is tensor"),
        (listed((torch.from_numpy(UNIT) - 0.13) / 0.31), "hold values from"),
        (listed([torch.zeros(1, 4, 4)] * 3 + [torch.zeros(1, 4, 5)]), "image 3 of train is torch.float32 .*the first"),
        (listed([torch.zeros(1, 4, 4)] * 3 + [torch.zeros(1, 4, 4).byte()]), "image 3 of train is torch.uint8"),
        (listed([Image.new("L", (4, 4))] * 3 + [torch.zeros(1, 4, 4)]), "yields both PIL images and tensors"),
        (listed([Image.new("L", (4, 4))] * 3 + [Image.new("L", (4, 5))]), "image 3 of train of torch has the height"),
    ],
)
def test_data_sets_of_torch_that_are_refused(dataset: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        DataSet.from_torch(dataset, dataset)
    assert error.value.hint
