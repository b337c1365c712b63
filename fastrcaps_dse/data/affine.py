"""Fixed affine copies of images, by which the objective `robust` judges a network.

The ranges follow affNIST (https://www.cs.toronto.edu/~tijmen/affNIST/): rotation, shear along x, and a scale for each axis. The shift is
smaller than affNIST's, as the images keep their size here. The parameters of a copy of an image depend on the seed, the number of the
copy and the index of the image alone: not on the other images, nor on how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fastrcaps_dse.data.splits import Split

Images = Literal["selecting", "test"]
"""Which images are copied: those that select the epoch, or those of the test set. The copies of each have parameters of their own."""
SEEDS: dict[Images, int] = {"selecting": 20200719, "test": 20200720}
ROTATION = 20.0  # degrees, each way
SCALE = (0.8, 1.2)  # of each axis
SHEAR = 0.2  # each way; 1 is 45 degrees
SHIFT = 2.0  # pixels, each way along each axis
EVALUATIONS = 5000  # of one image each, that the copies are to give about
MOST_COPIES = 8
VALUES = 400_000  # of pixels that are warped together at most, if they are not one image: some 20 MB


def copy_count(images: int) -> int:
    """How many copies of each image are evaluated: one of many images, up to eight of few, so that a small set says something."""
    return min(MOST_COPIES, max(1, round(EVALUATIONS / images)))


def affine_parameters(count: int, copy: int, seed: int) -> Tensor:
    """The parameters of a copy of `count` images, float64 [count, 6]; those of an image depend on its index, `copy` and `seed` alone.

    The columns are: rotation (degrees, counterclockwise as an image is seen), scale along y and along x, shear, shift down and to the
    right (pixels). Each is uniform.
    """
    raw = np.random.Philox(key=[seed, copy]).random_raw(6 * count)  # the bits that NumPy promises to keep
    uniform = torch.from_numpy((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(count, 6)
    low = torch.tensor([-ROTATION, SCALE[0], SCALE[0], -SHEAR, -SHIFT, -SHIFT], dtype=torch.float64)
    high = torch.tensor([ROTATION, SCALE[1], SCALE[1], SHEAR, SHIFT, SHIFT], dtype=torch.float64)
    return low + (high - low) * uniform


def matrices(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """The (linear maps [N, 2, 2], shifts [N, 2]) of parameters as `affine_parameters` gives them, float64.

    A map takes a pixel (y, x), counted from the center of the image, to where it is in the copy: scaled, then sheared, then rotated.
    """
    angle = parameters[:, 0] * (math.pi / 180)
    scale_y, scale_x, shear = parameters[:, 1], parameters[:, 2], parameters[:, 3]
    cos, sin = angle.cos(), angle.sin()
    across = shear * scale_y  # x grows by so much for each pixel down
    rows = [cos * scale_y - sin * across, -sin * scale_x, sin * scale_y + cos * across, cos * scale_x]
    return torch.stack(rows, dim=1).reshape(-1, 2, 2), parameters[:, 4:6]


def warp(images: Tensor, maps: Tensor, shifts: Tensor) -> Tensor:
    """Images under affine maps, uint8 [N, C, H, W]: bilinear between the pixels, zeros outside, rounded.

    Arguments:
        images: uint8 [N, C, H, W].
        maps: linear maps of (y, x) about the center of the image, float64 [N, 2, 2]; they must be invertible.
        shifts: (down, right) in pixels, after the map, float64 [N, 2].

    For each pixel of the result, the inverse map tells where in the image its center comes from.
    """
    count, channels, height, width = images.shape
    center = torch.tensor([(height - 1) / 2, (width - 1) / 2], dtype=torch.float64)
    y, x = torch.meshgrid(torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij")
    down_by = y.reshape(1, -1) - center[0] - shifts[:, :1]  # [N, H * W], before the inverse map, as is the next
    right_by = x.reshape(1, -1) - center[1] - shifts[:, 1:]
    inverse = _inverse(maps)[
        ..., None
    ]  # [N, 2, 2, 1]; products one by one, as those of a library may differ in their last bits
    source = torch.stack([inverse[:, k, 0] * down_by + inverse[:, k, 1] * right_by + center[k] for k in (0, 1)], dim=1)
    corner = source.floor()  # [N, 2, H * W]
    part = source - corner
    # a frame of zeros around the image takes in whatever lies outside
    framed = torch.nn.functional.pad(images, (1, 1, 1, 1)).reshape(count, channels, -1)
    found = torch.zeros(count, channels, height * width, dtype=torch.float64)
    for down in (0, 1):
        for right in (0, 1):
            row = (corner[:, 0] + (down + 1)).clamp(0, height + 1)
            column = (corner[:, 1] + (right + 1)).clamp(0, width + 1)
            index = (row * (width + 2) + column).to(torch.int64)[:, None].expand(-1, channels, -1)
            weight = (part[:, 0] if down else 1 - part[:, 0]) * (part[:, 1] if right else 1 - part[:, 1])
            found += framed.gather(2, index).to(torch.float64) * weight[:, None]
    return found.round().to(torch.uint8).reshape(images.shape)


def _inverse(maps: Tensor) -> Tensor:
    """The inverse of each [2, 2] matrix."""
    (a, b), (c, d) = ((maps[:, k, 0], maps[:, k, 1]) for k in (0, 1))
    return torch.stack([d, -b, -c, a], dim=1).reshape(-1, 2, 2) / (a * d - b * c)[:, None, None]


def affine_copies(split: Split, of: Images) -> Iterator[Split]:
    """The copies of all images of a split, one after the other; `of` says which images these are.

    They are made on the CPU, so that they are the same for every device, and stay there. One copy at a time is in memory.
    """
    split = split.to(torch.device("cpu"))
    at_once = max(1, VALUES // math.prod(split.images.shape[1:]))  # images
    for copy in range(copy_count(len(split))):
        maps, shifts = matrices(affine_parameters(len(split), copy, SEEDS[of]))
        parts = [slice(start, start + at_once) for start in range(0, len(split), at_once)]
        images = torch.cat([warp(split.images[part], maps[part], shifts[part]) for part in parts])
        yield Split(images=images, labels=split.labels)
