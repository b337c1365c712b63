"""Axes of printed figures: their range, their ticks in plain numbers, and how wide a text is, all in points of the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NARROW, WIDE = "ijltfr.,:;'|!()[] /I-", "mwMW%@"
EXTRA = 0.05  # of the range of an axis, left free at both ends
EXTRA_DECADES = 0.06
FEW = 3  # ticks; fewer say too little of a logarithmic axis


def text_width(text: str, size: float) -> float:
    """About the width of a text in Arial, in the unit of its `size`; never less than it has."""
    widths = (0.36 if c in NARROW else 0.92 if c in WIDE else 0.72 if c.isupper() else 0.58 for c in text)
    return size * sum(widths)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis of a printed figure. On a logarithmic one `range` is in logarithms to base 10, as plotly has it."""

    title: str
    log: bool
    range: tuple[float, float]
    ticks: tuple[tuple[float, str], ...]  # (value, text)

    def position(self, value: float) -> float:
        """Where a value lies on the axis, from 0 to 1."""
        low, high = self.range
        return ((math.log10(value) if self.log else value) - low) / (high - low)


def axis_of(
    title: str, values: Iterable[float], *, log: bool, length: float, size: float, upright: bool, whole: bool = False
) -> Axis:
    """The axis on which all these values lie, with as many ticks as have room.

    Arguments:
        log: logarithmic; zeros and negative values are left out.
        length, size: of the axis, and of its letters, in the same unit.
        upright: a y axis, whose ticks are below each other.
        whole: ticks of whole numbers only.
    """
    plotted = [v for v in values if math.isfinite(v) and (v > 0 or not log)] or [1.0]
    low, high = min(plotted), max(plotted)
    if log:
        ends = math.log10(low) - EXTRA_DECADES, math.log10(high) + EXTRA_DECADES
        spare = max(0.0, 0.12 - (ends[1] - ends[0])) / 2
        span = ends[0] - spare, ends[1] + spare
        ticks = log_ticks(10 ** span[0], 10 ** span[1], length, size, upright=upright)
    else:
        margin = EXTRA * (high - low) or 0.05 * abs(high) or 1.0
        span = low - margin, high + margin
        ticks = linear_ticks(*span, length, size, upright=upright, whole=whole)
    return Axis(title=title, log=log, range=span, ticks=tuple(ticks))


def plain(value: float) -> str:
    """A number as a tick has it: "60", "0.02", "1,000", "6.7M"."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g}M"
    if abs(value) >= 1:
        return f"{value:,.6g}" if value < 1e5 else f"{value:,.0f}"
    return f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) >= 1e-4 else f"{value:.0e}".replace("e-0", "e-")


def log_ticks(low: float, high: float, length: float, size: float, *, upright: bool = False) -> list[tuple[float, str]]:
    """Ticks of a logarithmic axis from `low` to `high`: of 1, 2, 5 and all digits of each decade, the most that have room."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        values = [digit * 10.0**decade for decade in decades for digit in digits]
        inside = [v for v in values if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
        ticks = [(v, plain(v)) for v in inside]
        positions = [length * math.log(v / low) / math.log(high / low) for v, _ in ticks]
        if _have_room(ticks, positions, size, upright):
            return ticks if len(ticks) >= FEW else _steps(low, high, length, size, upright) or ticks
    for every in range(2, 400):  # decades
        ticks = [(10.0**d, plain(10.0**d)) for d in decades if d % every == 0 and low <= 10.0**d <= high]
        positions = [length * math.log(v / low) / math.log(high / low) for v, _ in ticks]
        if _have_room(ticks, positions, size, upright):
            return ticks
    return []


def _steps(low: float, high: float, length: float, size: float, upright: bool) -> list[tuple[float, str]]:
    """Ticks of a short logarithmic axis, within one decade: even steps, the most that have room; none where only one has."""
    exponent = math.floor(math.log10((high - low) / 20))
    for step in (digit * 10.0**power for power in range(exponent, exponent + 4) for digit in (1, 2, 5)):
        values = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
        ticks = [(v, plain(round(v, 10))) for v in values]
        positions = [length * math.log(v / low) / math.log(high / low) for v in values]
        if len(ticks) <= 8 and _have_room(ticks, positions, size, upright):
            return ticks if len(ticks) > 1 else []
    return []


def linear_ticks(
    low: float, high: float, length: float, size: float, *, upright: bool = False, whole: bool = False
) -> list[tuple[float, str]]:
    """Ticks of a linear axis from `low` to `high`, 1, 2 or 5 times a power of ten apart, the most that have room."""
    exponent = math.floor(math.log10((high - low) / 20))
    for step in (digit * 10.0**power for power in range(exponent, exponent + 4) for digit in (1, 2, 5)):
        if whole and (step < 1 or step != round(step)):
            continue
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        values = [k * step for k in range(first, last + 1)]
        ticks = [(v, plain(round(v, 10))) for v in values]
        positions = [length * (v - low) / (high - low) for v in values]
        if len(ticks) <= 12 and _have_room(ticks, positions, size, upright):
            return ticks
    return []


def _have_room(ticks: Sequence[tuple[float, str]], positions: Sequence[float], size: float, upright: bool) -> bool:
    """Whether the texts of neighboring ticks keep a distance."""
    halves = [(1.3 * size if upright else text_width(text, size) + size) / 2 for _, text in ticks]
    return all(b - a >= x + y for a, b, x, y in zip(positions, positions[1:], halves, halves[1:], strict=False))
