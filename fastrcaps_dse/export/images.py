"""Images that need no browser, drawn with Pillow: the front, a confusion matrix, and the bytes of PNG files."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastrcaps_dse.figures.plots import COLORS, DOMINATED, FRONT, ParetoInfo, axis_title, is_logarithmic, plotted_axes
from fastrcaps_dse.problem.quantities import format_value

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

WIDTH, HEIGHT = 1000, 640  # pixels of the front
LEFT, RIGHT, TOP, BOTTOM = 110, 30, 30, 80  # its margins
TICKS = 5
INK, LINE = "#1F2933", "#CBD2D9"


def png(image: Image) -> bytes:
    """A picture as a PNG file."""
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def write_text(
    draw: ImageDraw, at: tuple[float, float], text: str, *, size: int = 18, anchor: str = "lt", color: str = INK
) -> None:
    """Write text into a picture; `anchor` is Pillow's."""
    from PIL import ImageFont

    draw.text(at, text, fill=color, font=ImageFont.load_default(size), anchor=anchor)


def front_image(info: ParetoInfo, picked: int, stop_after: int | None = None) -> Image:
    """The first two objectives of the measured designs: the front in color with its trials, the picked one (and epoch) in a ring."""
    from PIL import Image, ImageDraw

    axes = plotted_axes(info)[:2]
    scales = [_scale([p.values[o.name] for p in info.points], is_logarithmic(o)) for o in axes]
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)

    def at(values: Sequence[float]) -> tuple[float, float]:
        x, y = (scale(value) for scale, value in zip(scales, values, strict=True))
        return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)

    draw.rectangle((LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM), outline=LINE)
    for index, o in enumerate(axes):
        for value in _ticks([p.values[o.name] for p in info.points], is_logarithmic(o)):
            text = format_value(o.name, value)
            x, y = at([value, value])
            if index == 0:
                draw.line((x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 6), fill=INK)
                write_text(draw, (x, HEIGHT - BOTTOM + 10), text, size=15, anchor="mt")
            else:
                draw.line((LEFT - 6, y, LEFT, y), fill=INK)
                write_text(draw, (LEFT - 10, y), text, size=15, anchor="rm")
    write_text(draw, ((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12), axis_title(axes[0]), anchor="mb")
    write_text(draw, (10, 6), axis_title(axes[1]))
    for point in sorted(info.points, key=lambda p: ((p.trial, p.stop_after) == (picked, stop_after), p.on_front)):
        is_picked = (point.trial, point.stop_after) == (picked, stop_after)
        x, y = at([point.values[o.name] for o in axes])
        r = 8 if point.on_front else 5
        draw.ellipse((x - r, y - r, x + r, y + r), fill=FRONT if point.on_front else DOMINATED, outline="white")
        if point.on_front:
            write_text(draw, (x, y - (20 if is_picked else 12)), point.tag, size=15, anchor="mb")
        if is_picked:
            draw.ellipse((x - 15, y - 15, x + 15, y + 15), outline=COLORS[0], width=4)
    return image


def _scale(values: Sequence[float], logarithmic: bool) -> Callable[[float], float]:
    """From a value to its position between 0 and 1, with a margin on both sides."""
    turn: Callable[[float], float] = math.log10 if logarithmic and min(values) > 0 else float
    low, high = turn(min(values)), turn(max(values))
    gap = (high - low) or 1.0
    return lambda value: 0.06 + 0.88 * ((turn(value) - low) / gap if high > low else 0.5)


def _ticks(values: Sequence[float], logarithmic: bool) -> list[float]:
    """Values along an axis, from the lowest to the highest."""
    low, high = min(values), max(values)
    if low == high:
        return [low]
    if logarithmic and low > 0:
        return [low * (high / low) ** (k / (TICKS - 1)) for k in range(TICKS)]
    return [low + (high - low) * k / (TICKS - 1) for k in range(TICKS)]


CELL = 44  # pixels of a cell of the confusion matrix
MOST_NUMBERED = 40  # classes; with more, cells have no numbers


def confusion_image(confusion: NDArray[np.int64], classes: Sequence[str]) -> Image:
    """A confusion matrix: a row for each true class, a column for each predicted one; the darker, the larger its share of the row."""
    from PIL import Image, ImageDraw

    count = len(classes)
    numbered = count <= MOST_NUMBERED
    cell = CELL if numbered else max(4, 1600 // count)
    names = [name if len(name) <= 16 else name[:15] + "…" for name in classes]
    margin = 40 + (10 * max(map(len, names)) if numbered else 0)
    image = Image.new("RGB", (margin + count * cell + 20, margin + count * cell + 20), "white")
    draw = ImageDraw.Draw(image)
    write_text(draw, (8, 8), "rows: true class; columns: predicted class", size=15)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    for true in range(count):
        y = margin + true * cell
        if numbered:
            write_text(draw, (margin - 8, y + cell / 2), names[true], size=15, anchor="rm")
            _write_upward(image, (margin + true * cell + cell // 2, margin - 8), names[true])
        for predicted in range(count):
            x, share = margin + predicted * cell, float(shares[true, predicted])
            fade = tuple(round(255 + share * (int(COLORS[0][k : k + 2], 16) - 255)) for k in (1, 3, 5))
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=fade, outline=LINE if numbered else None)
            if numbered and confusion[true, predicted]:
                color = "white" if share > 0.5 else INK
                number = str(confusion[true, predicted])
                write_text(draw, (x + cell / 2, y + cell / 2), number, size=15, anchor="mm", color=color)
    return image


def _write_upward(image: Image, at: tuple[int, int], text: str) -> None:
    """Write text that runs upward from a point, centered on its column."""
    from PIL import Image, ImageDraw

    strip = Image.new("RGB", (12 * len(text) + 4, 22), "white")
    write_text(ImageDraw.Draw(strip), (0, 11), text, size=15, anchor="lm")
    turned = strip.rotate(90, expand=True)
    image.paste(turned, (at[0] - 11, max(0, at[1] - turned.height)))
