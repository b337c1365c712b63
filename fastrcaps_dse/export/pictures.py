"""Pictures as the pixels that a network takes: read as those of data sets are, gray or RGB by its channels, resized to its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.data.pictures import Picture as Decoded
from fastrcaps_dse.data.pictures import Unread, decode
from fastrcaps_dse.data.pictures import read_picture as read_file
from fastrcaps_dse.data.unify import unify
from fastrcaps_dse.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
"""Of the files of a folder, those that are read."""

PICTURE_HINT = "name pictures such as PNG or JPEG, or a folder of them"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as a network takes it."""

    path: Path
    pixels: Tensor  # uint8 [C, H, W]
    size: tuple[int, int]  # (width, height) of the file, in pixels
    label: int | None = None  # its class, where its folder tells it

    @property
    def resized(self) -> bool:
        """Whether the file has another size than the network's images."""
        return self.size != (self.pixels.shape[2], self.pixels.shape[1])


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures, and how many files of the folders were left out because they are none."""

    pictures: tuple[Picture, ...]
    left_out: int

    @property
    def pixels(self) -> Tensor:
        """All pixels, uint8 [B, C, H, W]."""
        return torch.stack([picture.pixels for picture in self.pictures])

    @property
    def labeled(self) -> bool:
        """Whether the class of each picture is told by its folder."""
        return all(picture.label is not None for picture in self.pictures)


def to_pixels(image: Image, shape: ImageShape, scaling: str = "") -> NDArray[np.uint8]:
    """The pixels of a picture for a network, [C, H, W]: upright, of 8 bits, gray or RGB, resized (bilinear, proportions not kept).

    `scaling` is that of the images that trained it. Raises InputError for values whose range is unclear, and for a network whose images
    are neither gray nor RGB.
    """
    return _fitted(decode(image), shape, scaling, "the picture")


def _fitted(picture: Decoded, shape: ImageShape, scaling: str, name: str) -> NDArray[np.uint8]:
    from PIL import Image
    from PIL.Image import Resampling

    mode = {1: "L", 3: "RGB"}.get(shape.channels)
    if mode is None:
        raise InputError(
            f"the network's images have {shape.channels} channels, and pictures 1 or 3", "give it arrays, from Python"
        )
    pixels_CHW = unify([picture], [name], scaling).images[0]
    converted = Image.fromarray(pixels_CHW[0] if len(pixels_CHW) == 1 else pixels_CHW.transpose(1, 2, 0)).convert(mode)
    if converted.size != (shape.width, shape.height):
        converted = converted.resize((shape.width, shape.height), Resampling.BILINEAR)
    pixels: NDArray[np.uint8] = np.atleast_3d(np.asarray(converted)).transpose(2, 0, 1).copy()
    return pixels


def read_picture(path: Path, shape: ImageShape, label: int | None = None, scaling: str = "") -> Picture:
    """A picture file as a network takes it; see `to_pixels`. Raises InputError for a file that is none, or cannot be read."""
    if not path.exists():
        raise InputError(f"there is no file {path}", PICTURE_HINT)
    found = read_file(path)
    if isinstance(found, Unread):
        raise InputError(f"{path} is not a picture that can be read: {found.reason}", PICTURE_HINT)
    height, width = found.pixels.shape[:2]
    pixels = torch.from_numpy(_fitted(found, shape, scaling, str(path)))
    return Picture(path=path, pixels=pixels, size=(width, height), label=label)


def read_pictures(paths: Sequence[Path], shape: ImageShape, classes: Sequence[str], scaling: str = "") -> Pictures:
    """The pictures of files and folders, in the order given and, within a folder, of their names.

    A folder holds pictures, or a folder of pictures for each class. Raises InputError for no picture, a file that is none, or a
    folder that is not named like a class.
    """
    pictures: list[Picture] = []
    left_out = 0
    for path in paths:
        if not path.is_dir():
            pictures.append(read_picture(path, shape, scaling=scaling))
            continue
        folders = [child for child in sorted(path.iterdir()) if child.is_dir() and not child.name.startswith(".")]
        if folders:
            left_out += sum(child.is_file() for child in path.iterdir())
        labeled: list[tuple[Path, int | None]] = [(child, label_of(child, classes)) for child in folders]
        for folder, label in labeled or [(path, None)]:
            files = sorted(child for child in folder.iterdir() if child.is_file())
            chosen = [file for file in files if file.suffix.lower() in SUFFIXES]
            left_out += len(files) - len(chosen)
            pictures += [read_picture(file, shape, label, scaling) for file in chosen]
    if not pictures:
        raise InputError(f"no picture in {', '.join(map(str, paths))}", PICTURE_HINT)
    return Pictures(pictures=tuple(pictures), left_out=left_out)


def label_of(folder: Path, classes: Sequence[str]) -> int:
    """The class that a folder is named after: by its name, with - for /, or by its label number. Raises InputError."""
    for names in (classes, [name.replace("/", "-") for name in classes], [str(label) for label in range(len(classes))]):
        if folder.name in names:
            return list(names).index(folder.name)
    raise InputError(f"the folder {folder} is not named like a class", "the classes: " + ", ".join(classes))
