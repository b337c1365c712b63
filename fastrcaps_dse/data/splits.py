"""Images and labels, whole in memory, and the validation split held out of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError

VALIDATION_SHARE = 1 / 6  # of the training images: 10,000 of MNIST's 60,000


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


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A whole data set, and the shape of its images."""

    name: str
    train: Split
    test: Split
    shape: ImageShape

    def fingerprint(self) -> str:
        """A short digest of every pixel and label: equal data sets have equal fingerprints."""
        digest = hashlib.blake2b(digest_size=8)
        for split in (self.train, self.test):
            digest.update(split.images.numpy().tobytes())
            digest.update(split.labels.numpy().tobytes())
        return digest.hexdigest()


def hold_out(split: Split, share: float = VALIDATION_SHARE) -> tuple[Split, Split]:
    """The (training, validation) images of a split: of each class, `share` of the images is held out.

    The same images are held out whatever the seed of a run. Raises InputError for too few images.
    """
    generator = torch.Generator().manual_seed(20200704)
    order = torch.randperm(len(split), generator=generator)
    held: list[Tensor] = []
    for label in split.labels.unique():
        members = order[split.labels[order] == label]
        held.append(members[: round(len(members) * share)])
    mask = torch.zeros(len(split), dtype=torch.bool)
    mask[torch.cat(held)] = True
    if not mask.any() or mask.all():
        raise InputError(f"{len(split)} training images are too few to hold out a validation split", "use --protocol paper")
    return split.subset((~mask).nonzero().squeeze(1)), split.subset(mask.nonzero().squeeze(1))


def checked(name: str, train: Split, test: Split) -> DataSet:
    """The data set of these images. Raises InputError for training and test images that do not match."""
    if train.images.shape[1:] != test.images.shape[1:]:
        raise InputError(
            f"{name}: training images are {tuple(train.images.shape[1:])}, test images {tuple(test.images.shape[1:])}",
            "both must have the same channels, height and width",
        )
    if not len(train) or not len(test):
        raise InputError(f"{name} has {len(train)} training and {len(test)} test images", "both need at least one")
    classes = int(train.labels.max()) + 1
    if int(test.labels.max()) >= classes:
        raise InputError(
            f"{name}: the test labels reach {int(test.labels.max())}, the training labels {classes - 1}",
            "check the label files",
        )
    channels, height, width = train.images.shape[1:]
    shape = ImageShape(channels=channels, height=height, width=width, classes=classes)
    return DataSet(name=name, train=train, test=test, shape=shape)
