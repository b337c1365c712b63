"""A contact sheet: a few pictures of each class, as the trainer sees them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastrcaps_dse.data import DataSet, Split, class_names

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

EACH = 10  # pictures of a class
MOST_CLASSES = 100
SIDE = 56  # pixels that the shorter side of a picture has at least, enlarged by whole factors
GAP, TEXT_WIDTH = 4, 140  # pixels
BACKGROUND, INK = (32, 64, 96), (255, 255, 255)  # blue, so that black and white pictures have edges


def contact_sheet(dataset: DataSet, *, each: int = EACH) -> bytes:
    """A PNG file with a row for each class, up to `MOST_CLASSES`: its name and its first training images."""
    from PIL import Image
    from PIL.ImageDraw import Draw

    names = class_names(dataset)[:MOST_CLASSES]
    factor = max(1, -(-SIDE // min(dataset.shape.height, dataset.shape.width)))
    height, width = factor * dataset.shape.height, factor * dataset.shape.width
    size = (TEXT_WIDTH + each * (width + GAP) + GAP, len(names) * (height + GAP) + GAP)
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = Draw(sheet)
    for label, name in enumerate(names):
        top = GAP + label * (height + GAP)
        _write(draw, (GAP, top + height // 2 - 5), name)
        for column, pixels in enumerate(_first_images(dataset.train, label, each)):
            enlarged = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
            sheet.paste(Image.fromarray(enlarged), (TEXT_WIDTH + column * (width + GAP), top))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _first_images(split: Split, label: int, count: int) -> list[NDArray[np.uint8]]:
    """The first images of a class, [H, W, 3]."""
    indices = (split.labels == label).nonzero().squeeze(1)[:count]
    images = split.images[indices].numpy().transpose(0, 2, 3, 1)
    return [*(images if images.shape[3] == 3 else images[..., :1].repeat(3, axis=3))]


def _write(draw: ImageDraw, where: tuple[int, int], text: str) -> None:
    """A name, cut to the room that there is, in signs that the font has."""
    while draw.textlength(_in_font(text)) > TEXT_WIDTH - 2 * GAP:
        text = text.removesuffix("...")[:-1] + "..."
    draw.text(where, _in_font(text), fill=INK)


def _in_font(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")
