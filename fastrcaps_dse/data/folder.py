"""The user's own folder as a data set: IDX files, or pictures with one folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fastrcaps_dse.data.idx import idx_pairs, read_pair
from fastrcaps_dse.data.splits import Split
from fastrcaps_dse.errors import InputError


def read_folder(folder: Path) -> tuple[Split, Split]:
    """The (training, test) images of a folder with four IDX files, or with `train/CLASS/*.png` and `test/CLASS/*.png`.

    Classes are labeled in the order of their names. Raises InputError for a folder that has neither, or an image that cannot
    be read.
    """
    pairs = idx_pairs(folder)
    if pairs:
        return read_pair(pairs[0]), read_pair(pairs[1])
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        classes = sorted(p.name for p in (folder / "train").iterdir() if p.is_dir())
        return _read_images(folder / "train", classes), _read_images(folder / "test", classes)
    raise InputError(
        f"the folder {folder} holds no data set",
        "it needs four IDX files, as MNIST has, or train/CLASS/*.png and test/CLASS/*.png",
    )


def _read_images(folder: Path, classes: list[str]) -> Split:
    from PIL import Image, UnidentifiedImageError

    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).glob("*")):
            try:
                with Image.open(path) as image:
                    gray = image.mode in ("1", "L", "I;16", "LA")
                    pixels = np.atleast_3d(np.asarray(image.convert("L" if gray else "RGB")))
            except (UnidentifiedImageError, OSError):
                raise InputError(f"{path} is not an image that can be read", "remove it or make it again") from None
            if images and pixels.shape != images[0].shape:
                raise InputError(f"{path} is {pixels.shape}, the images before it {images[0].shape}", "make all images alike")
            images.append(pixels)
            labels.append(label)
    if not images:
        raise InputError(f"{folder} holds no images", "put them into one folder for each class")
    return Split(images=torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy()), labels=torch.tensor(labels))
