"""Arrays and tensors as images: their range, type and axes are checked, never guessed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastrcaps_dse.data.container import BYTES, UNIT, Contents
from fastrcaps_dse.data.labels import label_array
from fastrcaps_dse.data.pictures import Picture, decode
from fastrcaps_dse.data.preparation import prepare
from fastrcaps_dse.data.splits import DataSet, Layout, Split
from fastrcaps_dse.data.unify import float_top, to_bytes, unify
from fastrcaps_dse.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

CHANNELS = (1, 3)  # by which an axis is recognized
AXES: dict[str, tuple[int, ...]] = {"NHW": (0, 1, 2), "NHWC": (0, 3, 1, 2), "NCHW": (0, 1, 2, 3)}
"""The axes of an array in the order N, C, H, W, by its layout."""


def from_arrays(
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    *,
    name: str,
    classes: Sequence[str] | None,
    layout: Layout | None,
    relabel: bool,
) -> DataSet:
    """See `DataSet.from_arrays`."""
    parts = [(as_array(images), as_array(labels)) for images, labels in (train, test)]
    contents = contents_of(parts, ["train", "test"], name, layout)
    return _named(prepare(name, contents, relabel=relabel), classes)


def from_torch(train: Any, test: Any, *, name: str, classes: Sequence[str] | None, relabel: bool) -> DataSet:
    """See `DataSet.from_torch`."""
    parts = [_items(part, what) for part, what in ((train, "train"), (test, "test"))]
    images = [image for own, _ in parts for image in own]
    kinds = {"tensors" if isinstance(image, torch.Tensor) else "PIL images" for image in images}
    if len(kinds) > 1:
        raise InputError(f"{name} yields both {' and '.join(sorted(kinds))}", "let it yield images of one kind")
    if kinds == {"PIL images"}:
        contents = _from_pil(parts, name)
    else:
        arrays = [(_stacked(own, what), labels) for (own, labels), what in zip(parts, ("train", "test"), strict=True)]
        layout: Layout | None = {3: "NHW", 4: "NCHW"}.get(arrays[0][0].ndim)  # type: ignore[assignment]
        contents = contents_of(arrays, ["train", "test"], name, layout)
    made = prepare(name, contents, relabel=relabel)
    if classes is None:
        own_names = getattr(train, "classes", None)
        fits = isinstance(own_names, (list, tuple)) and len(own_names) == made.shape.classes
        classes = [str(own) for own in own_names] if fits and own_names else None
    return _named(made, classes)


def as_array(values: Any) -> NDArray[Any]:
    """An array from an array, a tensor of any device, or a sequence of numbers."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def contents_of(
    parts: Sequence[tuple[NDArray[Any], NDArray[Any]]], names: Sequence[str], what: str, layout: Layout | None = None
) -> Contents:
    """The contents of (images, labels) arrays of the parts "train", "validation", "test", in any layout.

    `what` is what errors call the data set. Raises InputError.
    """
    for (images, labels), part in zip(parts, names, strict=True):
        if images.ndim < 3 or not labels.ndim:
            raise InputError(f"{what}: {part} images of the shape {images.shape}", "reshape them to [N, H, W]; labels are [N]")
        if len(images) != len(labels):
            raise InputError(
                f"{what}: {len(images)} {part} images and {len(labels)} labels",
                "images and labels must be as many, in one order",
            )
    chosen = layout or _layout(parts[0][0].shape, what)
    top = _top([images for images, _ in parts], what)
    splits: dict[str, Any] = {}
    for (images, labels), part in zip(parts, names, strict=True):
        if images.ndim != len(chosen):
            raise InputError(
                f"{what}: the {part} images have the shape {images.shape}, not {chosen}", "give both in one layout"
            )
        pixels = to_bytes(images, top)
        pixels = pixels[:, None] if chosen == "NHW" else pixels.transpose(AXES[chosen])
        numbers = label_array(labels, f"the {part} labels of {what}")
        splits[part] = Split(images=torch.from_numpy(pixels.copy()), labels=torch.from_numpy(numbers.copy()))
    kind = parts[0][0].dtype
    notes = (f"{kind} from 0 to {top:g} become 8 bits",) if kind != np.uint8 else ()
    return Contents(**splits, scaling=BYTES if top == 255 else UNIT, notes=notes)


def _layout(shape: tuple[int, ...], what: str) -> Layout:
    """Which axis is which. Raises InputError unless the shape makes it clear."""
    if len(shape) == 3:
        return "NHW"
    if len(shape) != 4:
        raise InputError(f"{what}: images of the shape {shape} are not [N, H, W] or of 4 axes", "reshape them to [N, H, W]")
    last, first = shape[3] in CHANNELS, shape[1] in CHANNELS
    if last == first:
        raise InputError(
            f"{what}: the shape {shape} leaves open which axis holds the channels", 'name it: layout="NHWC" or layout="NCHW"'
        )
    return "NHWC" if last else "NCHW"


def _top(arrays: Sequence[NDArray[Any]], what: str) -> float:
    """The value that is white in all the arrays: 255, or 1 for floats and booleans. Raises InputError."""
    kinds = {array.dtype for array in arrays}
    if len(kinds) > 1:
        raise InputError(f"{what}: images of the types {', '.join(sorted(map(str, kinds)))}", "give all in one type")
    (kind,) = kinds
    filled = [array for array in arrays if array.size]
    if kind == np.uint8 or not filled:
        return 255
    if kind == np.bool_:
        return 1
    if kind.kind not in "iuf":
        raise InputError(f"{what}: images of the type {kind}", "give bytes, or floats from 0 to 1")
    low, high = float(min(array.min() for array in filled)), float(max(array.max() for array in filled))
    top: float | None = 255 if low >= 0 and high <= 255 else None
    if kind.kind == "f":
        finite = all(np.isfinite(array).all() for array in filled)
        top = float_top(low, high, whole=all((array == np.rint(array)).all() for array in filled)) if finite else None
    if top is None:
        raise InputError(
            f"{what}: images of {kind} hold values from {low:g} to {high:g}",
            "give bytes from 0 to 255, or floats from 0 to 1 that are not normalized",
        )
    return top


def _named(made: DataSet, classes: Sequence[str] | None) -> DataSet:
    """The data set with these names of classes. Raises InputError for another number of them, and for one name twice."""
    if classes is None:
        return made
    if isinstance(classes, str) or len(classes) != made.shape.classes or len(set(classes)) != len(classes):
        raise InputError(f"{len(classes)} names for {made.shape.classes} classes", "give each class one name, all different")
    return replace(made, classes=tuple(map(str, classes)))


# --- data sets of torch -------------------------------------------------------------------------------------------------


def _items(dataset: Any, part: str) -> tuple[list[Any], NDArray[Any]]:
    """The (images, labels) that a data set of torch yields. Raises InputError for items of another form."""
    from PIL.Image import Image

    images: list[Any] = []
    labels: list[Any] = []
    for index, item in enumerate(_iterated(dataset, part)):
        if not (isinstance(item, (tuple, list)) and len(item) == 2):
            raise InputError(f"item {index} of {part} is a {type(item).__name__}, no pair", "let it yield (image, label)")
        image, label = item
        if not isinstance(image, (torch.Tensor, Image, np.ndarray)):
            raise InputError(
                f"image {index} of {part} is a {type(image).__name__}",
                "let it yield tensors or PIL images, such as by ToTensor",
            )
        has_one = label.numel() == 1 if isinstance(label, torch.Tensor) else isinstance(label, np.generic)
        value = label.item() if has_one else label
        if not isinstance(value, int):
            raise InputError(f"label {index} of {part} is {label!r:.60}", "a label is one whole number")
        images.append(torch.from_numpy(image) if isinstance(image, np.ndarray) else image)
        labels.append(value)
    if not images:
        raise InputError(f"{part} yields no image", "both parts need at least one")
    return images, np.asarray(labels)


def _iterated(dataset: Any, part: str) -> Iterator[Any]:
    if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
        return (dataset[index] for index in range(len(dataset)))
    try:
        return iter(dataset)
    except TypeError:
        raise InputError(f"{part} is a {type(dataset).__name__}, no data set", "give a torch.utils.data.Dataset") from None


def _stacked(images: Sequence[torch.Tensor], part: str) -> NDArray[Any]:
    """Tensors of one shape and type as one array. Raises InputError."""
    for index, image in enumerate(images):
        if image.shape != images[0].shape or image.dtype != images[0].dtype:
            raise InputError(
                f"image {index} of {part} is {image.dtype} {tuple(image.shape)}, the first {images[0].dtype} {tuple(images[0].shape)}",
                "make all images alike",
            )
    return as_array(torch.stack(list(images)))


def _from_pil(parts: Sequence[tuple[list[Image], NDArray[Any]]], name: str) -> Contents:
    """The contents of PIL images. Raises InputError for images of several sizes."""
    labels = [label_array(own, f"the labels of {name}") for _, own in parts]
    pictures: list[Picture] = [decode(image) for own, _ in parts for image in own]
    names = [
        f"image {index} of {part}" for part, (own, _) in zip(("train", "test"), parts, strict=True) for index in range(len(own))
    ]
    for picture, what in zip(pictures, names, strict=True):
        if picture.pixels.shape[:2] != pictures[0].pixels.shape[:2]:
            sizes = f"{picture.pixels.shape[:2]}, the first {pictures[0].pixels.shape[:2]}"
            raise InputError(f"{what} of {name} has the height and width {sizes}", "make all images alike")
    unified = unify(pictures, names)
    images, count = torch.from_numpy(unified.images), len(labels[0])
    return Contents(
        train=Split(images=images[:count], labels=torch.from_numpy(labels[0])),
        test=Split(images=images[count:], labels=torch.from_numpy(labels[1])),
        scaling=unified.scaling,
        notes=unified.notes,
    )
