"""The Pareto scatter in characters, for a terminal: what `plots.pareto_info` says, as lines of spans."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

from fastrcaps_dse.figures.plots import ParetoInfo, ParetoPoint, axis_title, is_logarithmic, plotted_axes
from fastrcaps_dse.problem.objectives import Objective
from fastrcaps_dse.problem.quantities import NEVER, PERCENT, counted, format_value

Kind = Literal["frame", "text", "dominated", "front"]
LEAST_WIDTH, LEAST_HEIGHT = 40, 8  # columns and lines, titles included
MARGIN = 0.05  # of the range of the values, left free on each side
ROUND = (1, 2, 2.5, 5, 10)  # the step between ticks is one of these, times a power of ten
ROUND_SECONDS = (
    *(k * 10.0**e for e in range(-4, 1) for k in (1, 2, 5)),
    *(10, 20, 30, *(60 * k for k in (1, 2, 5, 10, 20, 30)), *(3600 * k for k in (1, 2, 5, 10, 24, 48, 120, 240, 720))),
)


class Span(NamedTuple):
    """Characters of one kind within a line."""

    text: str
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Signs:
    """The characters that a plot is made of."""

    front: str  # mark of a design on the front
    dominated: str  # mark of another design
    side: str  # left axis
    side_tick: str
    corner: str  # of the two axes
    floor: str  # lower axis
    floor_tick: str


UNICODE = Signs(front="◆", dominated="•", side="│", side_tick="┤", corner="└", floor="─", floor_tick="┬")
ASCII = Signs(front="*", dominated=".", side="|", side_tick="+", corner="+", floor="-", floor_tick="+")


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis: a range of values, divided into cells."""

    objective: Objective
    low: float  # in the objective's unit
    high: float  # in the objective's unit
    cells: int  # columns or lines

    @property
    def logarithmic(self) -> bool:
        """Whether the cells are evenly spaced by the logarithm of the value."""
        return is_logarithmic(self.objective) and self.low > 0

    def cell(self, value: float) -> int:
        """The cell of a value, counted from 0 at the low end."""
        low, high, at = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return min(self.cells - 1, max(0, int((at - low) / (high - low) * self.cells)))


def axis_of(objective: Objective, values: Sequence[float], cells: int) -> Axis:
    """The axis for these values, with a margin on each side; an axis of accuracies ends at 100 %.

    The margin is a twentieth of the range of the values, or of the value if there is only one.
    """
    low, high = min(values), max(values)
    if is_logarithmic(objective) and low > 0:
        factor = (high / low) ** MARGIN if high > low else 1.05
        return Axis(objective=objective, low=low / factor, high=high * factor, cells=cells)
    margin = (high - low) * MARGIN if high > low else abs(low) * MARGIN or 1.0
    most = 100.0 if objective.name in PERCENT else math.inf
    return Axis(objective=objective, low=low - margin, high=min(most, high + margin), cells=cells)


def ticks(axis: Axis, most: int) -> list[float]:
    """Round values within the axis, at most `most` steps apart from end to end, to be marked on it.

    On a logarithmic axis they are round times if at least three of these lie within it. If no multiple of the step lies within
    the axis, there is a single round value near its middle.
    """
    if axis.logarithmic:
        rungs = [v for v in ROUND_SECONDS if axis.low <= v <= axis.high]
        if len(rungs) >= 3:
            return rungs[:: math.ceil(len(rungs) / most)]
    span = axis.high - axis.low
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next((k * power for k in ROUND if span / (k * power) <= most), 10 * power)
    if axis.logarithmic and ROUND_SECONDS[0] <= span / most <= ROUND_SECONDS[-1]:
        step = next(v for v in ROUND_SECONDS if span / v <= most)
    found = [k * step for k in range(math.ceil(axis.low / step), math.floor(axis.high / step) + 1)]
    fine = 10.0 ** math.floor(math.log10(span))
    return found or [round((axis.low + axis.high) / 2 / fine) * fine]


def pareto_lines(info: ParetoInfo, *, width: int, height: int = 22, signs: Signs = UNICODE) -> list[list[Span]]:
    """The scatter of the first two objectives as lines of spans. Members of the front are labeled with their trial numbers.

    `width` is in columns and `height` in lines; smaller than LEAST_WIDTH and LEAST_HEIGHT is not possible.
    """
    x_objective, y_objective = plotted_axes(info)[:2]
    points = [p for p in info.points if all(p.values[o.name] < NEVER for o in (x_objective, y_objective))]
    if not points:
        return [[Span(f"nothing to draw: no design {'reached it' if info.points else 'is measured yet'}", "text")]]
    y_axis = axis_of(y_objective, [p.values[y_objective.name] for p in points], max(LEAST_HEIGHT, height) - 5)
    labels = _labels(y_axis, most=max(2, y_axis.cells // 3))
    gutter = max(map(len, labels.values()))
    columns = max(LEAST_WIDTH, width) - gutter - 2
    x_axis = axis_of(x_objective, [p.values[x_objective.name] for p in points], columns)
    lines = [[Span(_titled(y_axis), "text")]]
    for row, cells in enumerate(_canvas(x_axis, y_axis, points, signs)):
        label = labels.get(y_axis.cells - 1 - row, "")
        lines.append([Span(f"{label:>{gutter}} ", "text"), Span(signs.side_tick if label else signs.side, "frame"), *cells])
    return [*lines, *_floor(x_axis, gutter + 1, signs), *_legend(info, points, signs)]


def _titled(axis: Axis) -> str:
    return axis_title(axis.objective) + (", logarithmic" if axis.logarithmic else "")


def _labels(axis: Axis, most: int) -> dict[int, str]:
    """The texts of the ticks by cell. A text that would appear twice, for values that it cannot tell apart, appears once."""
    labels: dict[int, str] = {}
    for value in ticks(axis, most):
        text = format_value(axis.objective.name, value)
        if text not in labels.values():
            labels.setdefault(axis.cell(value), text)
    return labels


def _canvas(x_axis: Axis, y_axis: Axis, points: Sequence[ParetoPoint], signs: Signs) -> Iterator[list[Span]]:
    """The cells between the axes, the top line first."""
    marks: dict[tuple[int, int], tuple[str, Kind]] = {}
    members: dict[tuple[int, int], set[int]] = defaultdict(set)
    for point in points:
        row = y_axis.cells - 1 - y_axis.cell(point.values[y_axis.objective.name])
        cell = (row, x_axis.cell(point.values[x_axis.objective.name]))
        if point.on_front:
            members[cell].add(point.trial)
            marks[cell] = (signs.front, "front")
        else:
            marks.setdefault(cell, (signs.dominated, "dominated"))
    for cell, trials in sorted(members.items()):
        _write_label(marks, cell, ",".join(map(str, sorted(trials))), x_axis.cells, y_axis.cells)
    for row in range(y_axis.cells):
        cells = [marks.get((row, column), (" ", "text")) for column in range(x_axis.cells)]
        spans = [Span("".join(sign for sign, _ in run), kind) for kind, run in groupby(cells, key=lambda cell: cell[1])]
        yield spans if spans[-1].text.strip() else spans[:-1]


def _write_label(
    marks: dict[tuple[int, int], tuple[str, Kind]], cell: tuple[int, int], text: str, width: int, height: int
) -> None:
    """Write a label beside the mark in `cell`, where it hides no other mark; if there is no such position, to the right."""
    row, column = cell
    n = len(text)
    starts = [(row, column + 1), (row, column - n), (row - 1, column), (row + 1, column)]
    starts += [(row - 1, column + 1 - n), (row + 1, column + 1 - n)]
    inside = [(r, c) for r, c in starts if 0 <= r < height and c >= 0 and c + n <= width]
    free = [(r, c) for r, c in inside if not any((r, c + k) in marks for k in range(n))]
    for at_row, at_column in (free or inside)[:1]:
        for k, character in enumerate(text):
            marks[at_row, at_column + k] = (character, "front")


def _floor(axis: Axis, indent: int, signs: Signs) -> Iterator[list[Span]]:
    """The lower axis, the texts of its ticks, and its title."""
    labels = _spread(_labels(axis, most=max(2, axis.cells // 16)), axis.cells)
    line = "".join(signs.floor_tick if cell in labels else signs.floor for cell in range(axis.cells))
    yield [Span(" " * indent, "text"), Span(signs.corner + line, "frame")]
    row = [" "] * (indent + 1 + axis.cells)
    for start, text in labels.values():
        row[indent + 1 + start : indent + 1 + start + len(text)] = text
    yield [Span("".join(row).rstrip(), "text")]
    yield [Span(f"{_titled(axis):>{indent + 1 + axis.cells}}", "text")]


def _spread(labels: Mapping[int, str], cells: int) -> dict[int, tuple[int, str]]:
    """The texts centered below their cells, as (start, text) by cell. A text that would touch the one before is left out."""
    kept: dict[int, tuple[int, str]] = {}
    end = -2
    for cell, text in sorted(labels.items()):
        start = max(0, min(cells - len(text), cell - len(text) // 2))
        if start >= end + 2:
            kept[cell] = (start, text)
            end = start + len(text)
    return kept


def _legend(info: ParetoInfo, points: Sequence[ParetoPoint], signs: Signs) -> Iterator[list[Span]]:
    """What the marks mean, and how many designs are not among the `points` of the plot."""
    names = ", ".join(o.name for o in info.objectives)
    members = sum(p.on_front for p in points)
    line = [Span(signs.front, "front"), Span(f" on the Pareto front of {names} ({members})", "text")]
    line += [Span(f"   {signs.dominated}", "dominated"), Span(f" dominated ({len(points) - members})", "text")]
    yield line
    left_out = len(info.points) - len(points)
    if left_out:
        yield [Span(f"{counted(left_out, 'design')} not drawn: not reached", "text")]
