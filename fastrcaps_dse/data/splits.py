"""Images and labels, whole in memory, and the parts that are held out of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALIDATION_SHARE = 1 / 6  # of the training images: 10,000 of MNIST's 60,000
HELD_LAST = 2**40  # turns; more than any class has images
ORDER_SEED = 20200704  # of the order in which images are held out


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images and their labels: those that train, those that select the epoch, or those that test."""

    images: Tensor  # uint8 [N, C, H, W]
    labels: Tensor  # int64 [N]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> Split:
        """The images at these indices, int64 [n], in this order."""
        return Split(images=self.images[indices], labels=self.labels[indices])

    def to(self, device: torch.device) -> Split:
        """The same images on a device."""
        return Split(images=self.images.to(device), labels=self.labels.to(device))

    def counts(self, classes: int) -> list[int]:
        """How many images each class has."""
        counts: list[int] = np.bincount(self.labels.cpu().numpy(), minlength=classes).tolist()
        return counts


Layout = Literal["NHW", "NHWC", "NCHW"]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A whole data set, and the shape of its images."""

    name: str
    train: Split
    test: Split
    shape: ImageShape
    classes: tuple[str, ...] = ()  # their names by label
    scaling: str = "value / 255"  # how stored values become inputs of the network
    notes: tuple[str, ...] = ()  # what was skipped or converted
    train_images: int | None = None  # that train, see `first_images`; None for all

    def fingerprint(self) -> str:
        """A digest of all that decides training: pixels, labels, shape, names of the classes, how the images are split.

        Equal data sets have equal fingerprints.
        """
        parts = (self.train, self.test)
        facts = {
            "images": [[str(part.images.dtype), *part.images.shape] for part in parts],
            "labels": [[str(part.labels.dtype), *part.labels.shape] for part in parts],
            "classes": [self.shape.classes, *self.classes],
        }
        if self.train_images is not None:
            facts["train_images"] = [self.train_images]
        digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16)
        digest.update(self.legacy_fingerprint().encode())
        return digest.hexdigest()

    def legacy_fingerprint(self) -> str:
        """The fingerprint that studies were stored with up to schema 5: of pixels and labels alone, not of their shapes."""
        digest = hashlib.blake2b(digest_size=8)
        for split in (self.train, self.test):
            digest.update(split.images.contiguous().numpy().data)
            digest.update(split.labels.contiguous().numpy().data)
        return digest.hexdigest()

    @staticmethod
    def from_arrays(
        train_images: NDArray[Any] | Tensor,
        train_labels: NDArray[Any] | Tensor | Sequence[int],
        test_images: NDArray[Any] | Tensor,
        test_labels: NDArray[Any] | Tensor | Sequence[int],
        *,
        name: str = "arrays",
        classes: Sequence[str] | None = None,
        layout: Layout | None = None,
        relabel: bool = False,
    ) -> DataSet:
        """A data set from arrays or tensors.

        Arguments:
            train_images, test_images: [N, H, W], [N, H, W, C] or [N, C, H, W]. Bytes from 0 to 255, whole numbers in that range of any
                type, or floats from 0 to 1, which become bytes; the same for both.
            train_labels, test_labels: whole numbers [N] or [N, 1], from 0 without gaps.
            name: what summaries and errors call it.
            classes: the names of the classes, by label; by default the labels.
            layout: which axis is which, if the shape leaves that open.
            relabel: number the classes that occur 0, 1, ..., whatever their labels are.

        Raises InputError for values out of range, shapes that leave the layout open, and labels that do not match.
        """
        from fastrcaps_dse.data.arrays import from_arrays

        return from_arrays(
            (train_images, train_labels), (test_images, test_labels), name=name, classes=classes, layout=layout, relabel=relabel
        )

    @staticmethod
    def from_torch(
        train: Any, test: Any, *, name: str = "torch", classes: Sequence[str] | None = None, relabel: bool = False
    ) -> DataSet:
        """A data set from two of torch's, such as torchvision's: each item is a pair of image and label.

        Arguments:
            train, test: an image is a tensor [C, H, W] or [H, W] of bytes or of floats from 0 to 1, or a PIL image; a label is a whole
                number. Normalized images are refused: leave the normalization out.
            name: what summaries and errors call it.
            classes: the names of the classes, by label; by default those of `train.classes`, if it has them, else the labels.
            relabel: number the classes that occur 0, 1, ..., whatever their labels are.

        Raises InputError as `from_arrays`.
        """
        from fastrcaps_dse.data.arrays import from_torch

        return from_torch(train, test, name=name, classes=classes, relabel=relabel)


def hold_out(split: Split, share: float = VALIDATION_SHARE) -> tuple[Split, Split]:
    """The (training, validation) images of a split: of each class, `share` of the images is held out.

    The same images are held out whatever the seed of a run. Raises InputError for too few images.
    """
    mask = torch.zeros(len(split), dtype=torch.bool)
    for members in _by_class(split):
        mask[members[: _held(members, share)]] = True
    if not mask.any() or mask.all():
        raise InputError(f"{len(split)} training images are too few to hold out a validation split", "use --protocol paper")
    return split.subset((~mask).nonzero().squeeze(1)), split.subset(mask.nonzero().squeeze(1))


def _by_class(split: Split) -> list[Tensor]:
    """The images of each class in the order in which they are held out, int64 [n] each."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(ORDER_SEED))
    return [order[split.labels[order] == label] for label in split.labels.unique()]


def _held(members: Tensor, share: float) -> int:
    """How many images of a class are held out."""
    return round(len(members) * share)


def balanced_order(split: Split, share: float = VALIDATION_SHARE) -> Tensor:
    """All images of a split in one order, int64 [N], one image of each class after the other: the first N are balanced for any N.

    The images that `hold_out` holds out come last, so that a protocol that holds none out trains on the same first images. Where a
    class has no further image, the others go on.
    """
    classes = _by_class(split)
    turns = []
    for members in classes:
        held = _held(members, share)
        turns.append(torch.cat([HELD_LAST + torch.arange(held), torch.arange(len(members) - held)]))
    return torch.cat(classes)[torch.cat(turns).argsort(stable=True)]


def first_images(split: Split, count: int, most: int) -> Split:
    """The first images of `balanced_order`, in the order of the split.

    Arguments:
        count: how many.
        most: how many may train.

    Raises InputError for more than that.
    """
    if count > most:
        raise InputError(
            f"{count:,} images cannot train: there are {most:,}" + (" beside those held out" if most < len(split) else ""),
            f"use --train-images {most}, or leave it out to train on all",
        )
    return split.subset(balanced_order(split)[:count].sort().values)


def split_off_test(split: Split, share: float) -> tuple[Split, Split]:
    """The (training, test) images: of each class, `share` of the images, at least one, is for testing; the same every time.

    Raises InputError for a class with a single image.
    """
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(ORDER_SEED + 1))
    mask = torch.zeros(len(split), dtype=torch.bool)
    for label in split.labels.unique():
        members = order[split.labels[order] == label]
        if len(members) < 2:
            raise InputError(f"the label {int(label)} has a single image: it cannot train and test", "add images of this class")
        mask[members[: min(len(members) - 1, max(1, round(len(members) * share)))]] = True
    return split.subset((~mask).nonzero().squeeze(1)), split.subset(mask.nonzero().squeeze(1))


def joined(first: Split, second: Split) -> Split:
    """The images of both, in this order. Raises InputError for images of different shapes."""
    if first.images.shape[1:] != second.images.shape[1:]:
        raise InputError(
            f"training images are {tuple(first.images.shape[1:])}, validation images {tuple(second.images.shape[1:])}",
            "both must have the same channels, height and width",
        )
    return Split(images=torch.cat([first.images, second.images]), labels=torch.cat([first.labels, second.labels]))
