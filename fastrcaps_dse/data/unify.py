"""Pictures of any modes and depths as images of one kind: 8 bits, and one channel if all are gray, else three.

What depends on the pictures is decided once, for training and test images together, so that equal pictures stay equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrcaps_dse.data.container import BYTES, UNIT
from fastrcaps_dse.data.pictures import Depth, Picture
from fastrcaps_dse.errors import InputError

GROUNDS = {"black": 0, "white": 255, "mid-gray": 128}
"""What transparent parts may become, in the order of preference."""
ON_GROUND = "transparent parts are "
RESOLUTION = "at a resolution of 1/255"
FAINT = 32  # a picture whose brightest and darkest values are nearer than this is hardly seen


@dataclass(frozen=True, kw_only=True)
class Unified:
    """Images of one kind, and how they became it."""

    images: NDArray[np.uint8]  # [N, C, H, W]
    scaling: str
    notes: tuple[str, ...]


def unify(pictures: list[Picture], names: Sequence[str], like: str = "") -> Unified:
    """The images of pictures of one size, in their order; `pictures` is emptied on the way, to spare memory.

    `names` are what errors call them. `like` is the scaling of earlier images: what it says of white and of transparent parts holds for
    these, too. Raises InputError for values whose range is unclear.
    """
    facts = _facts(pictures)
    scales = {kind: _scale_like(kind, pictures, like) or _scale(kind, pictures, names) for kind in {p.depth for p in pictures}}
    ground = None
    if any(picture.alpha is not None for picture in pictures):
        told = next((name for name in GROUNDS if like.endswith(ON_GROUND + name)), None)
        ground = told or _ground(pictures, scales)
    channels = 1 if all(picture.pixels.ndim == 2 for picture in pictures) else 3
    height, width = pictures[0].pixels.shape[:2]
    images = np.empty((len(pictures), channels, height, width), dtype=np.uint8)
    for index in range(len(pictures) - 1, -1, -1):
        picture = pictures.pop()
        values = to_bytes(picture.pixels, scales[picture.depth])
        if picture.alpha is not None and ground is not None:
            values = on_ground(values, picture.alpha, GROUNDS[ground])
        images[index] = values if values.ndim == 2 else values.transpose(2, 0, 1)
    notes = [*facts, *_scale_notes(scales), *([f"{ON_GROUND}{ground}"] if ground else [])]
    scaling = _scaling(scales) + (f"; {ON_GROUND}{ground}" if ground else "")
    return Unified(images=images, scaling=scaling, notes=tuple(notes))


def _scale_like(kind: Depth, pictures: Sequence[Picture], like: str) -> float | None:
    """The value that was white in earlier pictures of a depth; None if their scaling does not tell, or does not fit these."""
    parts = like.split("; ")
    if kind in ("16", "32") and f"value / 65535, {RESOLUTION}" in parts:
        return 65535.0
    if kind == "float" and (UNIT in parts) != (BYTES in parts):
        top = 1.0 if UNIT in parts else 255.0
        fits = all(p.pixels.min() >= 0 and p.pixels.max() <= top for p in pictures if p.depth == kind)
        whole = top == 1 or all((p.pixels == np.rint(p.pixels)).all() for p in pictures if p.depth == kind)
        return top if fits and whole else None
    return None


# --- depth --------------------------------------------------------------------------------------------------------------


def to_bytes(values: NDArray[Any], top: float) -> NDArray[np.uint8]:
    """Values from 0 to `top` as bytes from 0 to 255, rounded."""
    if top == 255:
        return values if values.dtype == np.uint8 else values.astype(np.uint8)
    return np.clip(np.rint(values * (255 / top)), 0, 255).astype(np.uint8)


def float_top(low: float, high: float, *, whole: bool) -> float | None:
    """The value that is white, for floats from `low` to `high`: 1 or 255; None if neither fits.

    `whole` says that all are whole numbers. They mean the range 0 to 1 if they lie in it, else 0 to 255 if they are whole.
    """
    if low >= 0 and high <= 1:
        return 1.0
    return 255.0 if low >= 0 and high <= 255 and whole else None


def _scale(kind: Depth, pictures: Sequence[Picture], names: Sequence[str]) -> float:
    """The value that is white in the pictures of a depth. Raises InputError."""
    fixed = {"8": 255, "8 of 16": 255, "12": 4095}
    if kind in fixed:
        return fixed[kind]
    chosen = [(picture.pixels, name) for picture, name in zip(pictures, names, strict=True) if picture.depth == kind]
    ranges = [(float(values.min()), float(values.max())) for values, _ in chosen]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    top: float | None
    if kind == "float":
        finite = all(np.isfinite(values).all() for values, _ in chosen)
        top = float_top(low, high, whole=all((values == np.rint(values)).all() for values, _ in chosen)) if finite else None
    elif kind == "16":
        top = 65535 if high > 255 or high == 0 else None
    else:
        top = 255 if low >= 0 and high <= 255 else 65535 if low >= 0 and high <= 65535 else None
    if top is not None:
        return top
    _, name, (least, most) = max(
        ((_strangeness(values, kind), name, span) for (values, name), span in zip(chosen, ranges, strict=True)),
        key=lambda entry: entry[0],
    )
    raise InputError(f"{name} holds values from {least:g} to {most:g}: {UNCLEAR[kind]}", HINTS[kind])


UNCLEAR = {
    "float": "neither 0 to 1 nor whole numbers from 0 to 255 in all pictures",
    "16": "no picture of 16 bits has one above 255 of 65,535",
    "32": "not whole numbers of 8 or 16 bits",
}
HINTS = {
    "float": "scale all pictures to the range 0 to 1, or save them with 8 bits",
    "16": "save them with 8 bits",
    "32": "save them with 8 or 16 bits",
}


def _strangeness(values: NDArray[Any], kind: Depth) -> float:
    """How far a picture is from what is asked for: the error names the one that is the farthest."""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        return np.inf
    most = 65535 if kind == "32" else 255 if kind == "float" and (values == np.rint(values)).all() else 1
    return max(-low, high - most, 0)


def _scaling(scales: dict[Depth, float]) -> str:
    """How stored values become inputs of the network, in words."""
    tops = sorted({int(top) for top in scales.values()} - {255, 1})
    parts = [BYTES] if set(scales.values()) & {255} else []
    parts += [UNIT] if scales.get("float") == 1 else []
    parts += [f"value / {top}, {RESOLUTION}" for top in tops]
    return "; ".join(parts)


def _scale_notes(scales: dict[Depth, float]) -> Iterator[str]:
    for kind, top in sorted(scales.items()):
        if kind == "8 of 16":
            yield "16-bit color keeps its high byte"
        elif kind == "float":
            yield f"floats from 0 to {top:g} become 8 bits"
        elif kind != "8":
            yield f"{kind}-bit values from 0 to {top:,.0f} become 8 bits"


# --- transparency -------------------------------------------------------------------------------------------------------


def on_ground(values: NDArray[np.uint8], alpha: NDArray[np.uint8], ground: int) -> NDArray[np.uint8]:
    """Values [H, W] or [H, W, 3] with transparency [H, W] before a ground."""
    opacity = alpha.astype(np.uint32) if values.ndim == 2 else alpha[..., None].astype(np.uint32)
    return ((values * opacity + ground * (255 - opacity) + 127) // 255).astype(np.uint8)


def _ground(pictures: Sequence[Picture], scales: dict[Depth, float]) -> str:
    """The ground for all pictures: the one on which the fewest are hardly seen; of several, black before white before mid-gray.

    So ink that differs from its surroundings by its transparency alone, in whatever color, does not vanish.
    """
    faint = dict.fromkeys(GROUNDS, 0)
    for picture in pictures:
        if picture.alpha is None:
            continue
        values = to_bytes(picture.pixels, scales[picture.depth])
        for name, ground in GROUNDS.items():
            seen = on_ground(values, picture.alpha, ground).reshape(picture.alpha.size, -1)
            faint[name] += int((seen.max(0).astype(int) - seen.min(0)).max() < FAINT)
    return min(faint, key=lambda name: faint[name])


# --- what was found -----------------------------------------------------------------------------------------------------


def _facts(pictures: Sequence[Picture]) -> list[str]:
    """What is worth saying of the pictures, in short lines."""
    notes = []
    modes = Counter(picture.mode for picture in pictures)
    if len(modes) > 1:
        notes.append("modes " + ", ".join(f"{mode} {count:,}" for mode, count in modes.most_common()) + " unified")
    gray = sum(picture.pixels.ndim == 2 for picture in pictures)
    stored_as_color = sum(picture.pixels.ndim == 2 and picture.mode not in GRAY_MODES for picture in pictures)
    if gray == len(pictures) and stored_as_color:
        notes.append(f"{stored_as_color:,} gray pictures were stored in color")
    elif 0 < gray < len(pictures):
        notes.append(f"{gray:,} gray pictures got three channels")
    for count, what in (
        (sum(picture.turned for picture in pictures), "turned upright by EXIF"),
        (sum(picture.animated for picture in pictures), "of several frames: the first is used"),
    ):
        if count:
            notes.append(f"{count:,} {what}")
    return notes


GRAY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
