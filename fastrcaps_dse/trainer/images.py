"""Randomness from one root, and the images of an epoch in their order."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from fastrcaps_dse import data
from fastrcaps_dse.data import DataSet, Split
from fastrcaps_dse.problem.study_spec import Protocol


def derive_seed(root: int, *purpose: object) -> int:
    """A seed of 63 bits for one purpose, from the run's root."""
    digest = hashlib.blake2b(":".join(map(str, (root, *purpose))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(root: int, *purpose: object) -> torch.Generator:
    """A generator on the CPU for one purpose: the same numbers whatever the device of the training."""
    return torch.Generator().manual_seed(derive_seed(root, *purpose))


def split_for(dataset: DataSet, protocol: Protocol) -> tuple[Split, Split]:
    """(training images, the images that select the epoch) under a protocol."""
    return (dataset.train, dataset.test) if protocol == "paper" else data.hold_out(dataset.train)


def as_floats(images: Tensor) -> Tensor:
    """uint8 pixels as float32 in [0, 1]."""
    return images.to(torch.float32) / 255


def epoch_images(split: Split, seed: int, epoch: int, shift: int) -> Split:
    """The images and labels of one epoch in training order, shuffled and shifted."""
    count = len(split)
    device = split.labels.device
    order = torch.randperm(count, generator=generator(seed, "shuffle", epoch)).to(device)
    labels = split.labels[order]
    if not shift:
        return Split(images=split.images[order], labels=labels)
    moves = torch.randint(0, 2 * shift + 1, (2, count), generator=generator(seed, "shift", epoch)).to(device)
    padded = torch.nn.functional.pad(split.images, (shift, shift, shift, shift))
    height, width = split.images.shape[2:]
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [N, C, 2*shift+1, 2*shift+1, H, W], a view
    return Split(images=windows[order, :, moves[0], moves[1]], labels=labels)
