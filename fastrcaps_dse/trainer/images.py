"""The images of an epoch in the order in which they train."""

from __future__ import annotations

import torch
from torch import Tensor

from fastrcaps_dse import data
from fastrcaps_dse.capsnet.initialization import generator
from fastrcaps_dse.data import DataSet, Split
from fastrcaps_dse.problem.study_spec import Protocol, holds_out


def split_for(dataset: DataSet, protocol: Protocol) -> tuple[Split, Split]:
    """The (images that train, images that select the epoch) of a data set under a protocol.

    Raises InputError for too few images to hold some out, or to train as many as the data set says.
    """
    train, select = data.hold_out(dataset.train) if holds_out(protocol) else (dataset.train, dataset.test)
    return (
        train if dataset.train_images is None else data.first_images(dataset.train, dataset.train_images, len(train))
    ), select


def as_floats(images: Tensor) -> Tensor:
    """Pixels as float32 in [0, 1]; `images` are uint8 of any shape."""
    return images.to(torch.float32) / 255


def epoch_images(split: Split, seed: int, epoch: int, shift: int, *, flip: bool = False) -> Split:
    """The images of one epoch in the order in which they train: shuffled, each shifted at random, then mirrored at random.

    `seed` is that of the run, `epoch` counts from 0, and `shift` is the most pixels that an image moves each way, zeros moved in.
    With `flip`, each image is mirrored left-right with probability 1/2. Shifts to both sides are equally likely, so that it makes
    no difference which comes first.
    """
    count = len(split)
    device = split.labels.device
    order = torch.randperm(count, generator=generator(seed, "shuffle", epoch)).to(device)
    images = _shifted(split.images, order, shift, generator(seed, "shift", epoch)) if shift else split.images[order]
    if flip:
        mirrored = torch.randint(0, 2, (count, 1, 1, 1), generator=generator(seed, "flip", epoch)).to(device) == 1
        images = torch.where(mirrored, images.flip(3), images)
    return Split(images=images, labels=split.labels[order])


def _shifted(images: Tensor, order: Tensor, shift: int, source: torch.Generator) -> Tensor:
    """The images in this order, each moved by up to `shift` pixels each way at random, zeros moved in."""
    moves = torch.randint(0, 2 * shift + 1, (2, len(order)), generator=source).to(order.device)
    padded = torch.nn.functional.pad(images, (shift, shift, shift, shift))
    height, width = images.shape[2:]
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [N, C, 2*shift+1, 2*shift+1, H, W], a view
    return windows[order, :, moves[0], moves[1]]
