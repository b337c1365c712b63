"""Pictures to predict are read as those that trained the network were: by the ranges and the ground of the whole set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fastrcaps_dse import data
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.export.pictures import read_picture

SIDE = 18


def write_set(folder: Path, kind: str) -> None:
    """Two classes of pictures of a kind; some of them alone would be read in another way, or refused."""
    generator = np.random.default_rng(3)
    for part in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            (folder / part / name).mkdir(parents=True)
            for k in range(4):
                values = generator.random((SIDE, SIDE)) * (0.003 if k == 0 else 1)  # the first of each class is nearly black
                save(folder / part / name / f"{k}", values, kind, ink=label)


def save(stem: Path, values: np.ndarray, kind: str, ink: int) -> None:
    if kind == "16 bits":
        Image.fromarray((values * 65535).astype(np.uint16)).save(stem.with_suffix(".png"))
    elif kind == "floats":
        Image.fromarray(np.rint(values * 255).astype(np.float32)).save(stem.with_suffix(".tif"))
    elif kind == "transparent":  # white ink on nothing, but black on nothing in one picture of each class
        level = 0 if values.max() < 0.01 else 255
        alpha = np.full((SIDE, SIDE), 0, dtype=np.uint8)
        alpha[3 + 5 * ink : 8 + 5 * ink, 3:-3] = 255
        Image.fromarray(np.dstack([np.full((SIDE, SIDE), level, dtype=np.uint8), alpha]), "LA").save(stem.with_suffix(".png"))
    elif kind == "EXIF":
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray((values * 255).astype(np.uint8)).save(stem.with_suffix(".jpg"), exif=exif, quality=95)
    else:
        Image.fromarray((values * 255).astype(np.uint8)).convert("RGB").save(stem.with_suffix(".png"))


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("kind", ["16 bits", "floats", "transparent", "EXIF", "gray stored as color"])
def test_a_picture_alone_is_what_it_was_in_the_set(tmp_path: Path, kind: str) -> None:
    write_set(tmp_path, kind)
    dataset = data.load(str(tmp_path))
    files = [path for name in ("cat", "dog") for path in sorted((tmp_path / "test" / name).iterdir())]
    assert len(files) == len(dataset.test) == 8
    for path, expected in zip(files, dataset.test.images, strict=True):
        assert torch.equal(read_picture(path, dataset.shape, scaling=dataset.scaling).pixels, expected), path


def test_without_the_scaling_of_the_set_an_unclear_range_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a", np.full((SIDE, SIDE), 0.003), "16 bits", 0)
    with pytest.raises(InputError, match="no picture of 16 bits"):
        read_picture(tmp_path / "a.png", ImageShape(channels=1, height=SIDE, width=SIDE, classes=2))


def test_names_of_classes() -> None:
    assert data.known_names("fashion-mnist-sample", 10)[9] == "ankle boot"
    assert data.known_names("mnist", 10) == tuple("0123456789") and data.known_names("my/fashion-mnist", 3) == ("0", "1", "2")
