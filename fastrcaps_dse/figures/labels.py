"""Where the labels of marks are put, so that none covers another label, a mark, or the end of the page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

DIRECTIONS = tuple(
    (math.cos(k * math.pi / 8), math.sin(k * math.pi / 8)) for k in (4, 2, 6, 0, 8, 14, 10, 12, 3, 5, 1, 7, 15, 9, 13, 11)
)
"""Above a mark first, then beside it, below it, and between."""
DISTANCES = (1.0, 2.2, 3.6, 5.2)  # heights of a letter between a mark and its label
LEADER_FROM = 1  # index of the distance from which a line leads to the label


class Box(NamedTuple):
    """A rectangle; y grows upward."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Box) -> bool:
        return self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top

    def within(self, other: Box) -> bool:
        return other.left <= self.left and self.right <= other.right and other.bottom <= self.bottom and self.top <= other.top


class Label(NamedTuple):
    """A label that has a place: its center, and whether a line leads to it from its mark."""

    mark: int  # its index
    x: float
    y: float
    box: Box
    leader: bool


Line = tuple[tuple[float, float], tuple[float, float]]
"""From one point to another."""


def put_labels(
    marks: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    wanted: Sequence[int],
    page: Box,
    radius: float,
    crossed: Sequence[Line] = (),
) -> list[Label]:
    """Put a label beside each of the `wanted` marks that has room for one, in this order; the others have none.

    Arguments:
        marks: the centers of all marks.
        sizes: (width, height) of the label of each mark.
        wanted: indices of the marks to label, the most important first.
        page: where labels may be.
        radius: of a mark.
        crossed: lines that a label covers only where there is no other room.
    """
    taken = [Box(x - radius, y - radius, x + radius, y + radius) for x, y in marks]
    leaders: list[Line] = []
    placed: list[Label] = []
    for index in wanted:
        found = None
        for lines in ([*leaders, *crossed], leaders):
            free = _positions(index, marks[index], sizes[index], radius)
            found = next((c for c in free if _is_free(c, marks[index], page, taken, lines, placed)), None)
            if found is not None:
                break
        if found is not None:
            placed.append(found)
            taken.append(found.box)
            if found.leader:
                leaders.append((marks[index], (found.x, found.y)))
    return placed


def _positions(index: int, mark: tuple[float, float], size: tuple[float, float], radius: float) -> Iterator[Label]:
    """The places for a label, the nearest first."""
    width, height = size
    for rank, away in enumerate(DISTANCES):
        reach = radius + (away - 0.8) * height
        for dx, dy in DIRECTIONS:
            x, y = mark[0] + dx * (reach + width / 2), mark[1] + dy * (reach + height / 2)
            box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            yield Label(index, x, y, box, rank >= LEADER_FROM)


def _is_free(
    label: Label, mark: tuple[float, float], page: Box, taken: Sequence[Box], lines: Sequence[Line], placed: Sequence[Label]
) -> bool:
    if not label.box.within(page) or any(label.box.overlaps(other) for other in taken):
        return False
    if any(_crosses(label.box, *line) for line in lines):
        return False
    return not label.leader or _clear((mark, (label.x, label.y)), placed)


def _clear(line: Line, placed: Sequence[Label]) -> bool:
    """Whether a line crosses no label that is placed."""
    return not any(_crosses(label.box, *line) for label in placed)


def _crosses(box: Box, start: tuple[float, float], end: tuple[float, float]) -> bool:
    """Whether a line from `start` to `end` runs through a box, by points close to each other on it."""
    steps = 40
    for k in range(steps + 1):
        x, y = (a + (b - a) * k / steps for a, b in zip(start, end, strict=True))
        if box.left < x < box.right and box.bottom < y < box.top:
            return True
    return False
