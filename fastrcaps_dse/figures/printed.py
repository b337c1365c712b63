"""Figures at the size in which a journal prints them: the Pareto scatter of two objectives, and curves over the epochs.

Curves differ in color, dash and mark, so that they can be told apart in gray, too. Labels and legend have room: see `sheet`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from fastrcaps_dse.figures.labels import Box, Label, put_labels
from fastrcaps_dse.figures.plots import COLORS, FRONT, axis_title, is_logarithmic
from fastrcaps_dse.figures.sheet import EDGE, GAP, LETTERS, SAMPLE, Entry, Page, Printed, Sheet, laid_out, printed
from fastrcaps_dse.figures.stops import runs_of, tag_of
from fastrcaps_dse.figures.ticks import text_width
from fastrcaps_dse.problem.objectives import Objective

DASHES = ("solid", "6px,3px", "2px,2px", "8px,2px,2px,2px", "10px,3px")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "cross", "star")
MARKS = 8  # along a curve
MOST_ROWS = 14  # of whole names; more curves have numbers alone, which the key explains
DIM = "#7A7A7A"


class Mark(NamedTuple):
    """A design in a printed scatter."""

    trial: int
    values: dict[str, float]  # by objective name
    errors: dict[str, float]  # standard errors; empty if none are known
    on_front: bool
    labeled: bool
    stop_after: int | None = None  # epochs, in the anytime view

    @property
    def tag(self) -> str:
        """What is written beside it."""
        return tag_of(self.trial, self.stop_after)


class Line(NamedTuple):
    """A printed curve. `error` is the standard error of each value; None if it is of one seed."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    error: tuple[float, ...] | None
    style: int  # index of its color, dash and mark


# --- scatter ----------------------------------------------------------------------------------------------------------


def printed_scatter(
    marks: Sequence[Mark],
    pair: tuple[Objective, Objective],
    objectives: Sequence[Objective],
    sheet: Sheet,
    *,
    error: bool | None,
) -> Printed:
    """The scatter of two objectives: the front of all objectives, the front of these two as steps, and the numbers of designs.

    `error` plots the accuracy as 100 % less it, on a logarithmic axis; None where all are above 90 %.
    """
    as_error = wants_error([mark.values["acc"] for mark in marks], error)
    kinds = [Coordinate(o, as_error) for o in pair]
    members = sum(mark.on_front for mark in marks)
    entries = [Entry(f"Pareto front of {', '.join(o.name for o in objectives)} ({members})", None, _marker(True))]
    if members < len(marks):
        entries.append(Entry(f"dominated ({len(marks) - members})", None, _marker(False)))
    if runs_of(marks):
        entries.append(Entry("epochs of a design", _run_line(), None))
    if len(objectives) > 2:
        entries.append(Entry(f"front of {pair[0].name} and {pair[1].name} alone", _step_line(), None))
    xs, ys = (_axis_values(marks, kind) for kind in kinds)
    titles, logs = (kinds[0].title, kinds[1].title), (kinds[0].log, kinds[1].log)
    page = laid_out(sheet, entries, xs, ys, titles=titles, logs=logs)
    steps = pair_front(marks, kinds)
    page.traces.append(
        {"x": [x for x, _ in steps], "y": [y for _, y in steps], "mode": "lines", "line": _step_line() | {"shape": "hv"}}
    )
    for run in runs_of(marks):
        x, y = ([kind.of(mark) for mark in run] for kind in kinds)
        page.traces.append({"x": x, "y": y, "mode": "lines", "line": _run_line()})
    for on_front in (False, True):
        page.traces.append(_scatter_trace([mark for mark in marks if mark.on_front == on_front], kinds, on_front))
    wanted = [k for k, mark in enumerate(marks) if mark.labeled]
    placed = _label(page, marks, kinds, wanted, steps)
    return printed(page, len(wanted) - len(placed))


@dataclass(frozen=True)
class Coordinate:
    """An objective as a printed axis has it."""

    objective: Objective
    as_error: bool  # the accuracy as 100 % less it

    @property
    def is_error(self) -> bool:
        return self.as_error and self.objective.name == "acc"

    @property
    def log(self) -> bool:
        return self.is_error or is_logarithmic(self.objective)

    @property
    def title(self) -> str:
        return "error, 100 − accuracy (%)" if self.is_error else axis_title(self.objective)  # noqa: RUF001

    @property
    def more_is_better(self) -> bool:
        return self.objective.direction == "maximize" and not self.is_error

    def of(self, mark: Mark) -> float:
        value = mark.values[self.objective.name]
        return 100.0 - value if self.is_error else value

    def ends(self, mark: Mark) -> tuple[float, float]:
        """(below, above) of the error bar; on a logarithmic axis it ends above zero."""
        spread = mark.errors.get(self.objective.name, 0.0)
        value = self.of(mark)
        return (min(spread, 0.9 * value) if self.log else spread), spread


def wants_error(accuracies: Sequence[float], error: bool | None) -> bool:
    """Whether accuracies are plotted as errors: as asked for, else where all are above 90 %; never where one has no error at all."""
    if not accuracies or max(accuracies) >= 100:
        return False
    return min(accuracies) > 90 if error is None else error


def _axis_values(marks: Sequence[Mark], kind: Coordinate) -> list[float]:
    values = []
    for mark in marks:
        below, above = kind.ends(mark)
        values += [kind.of(mark) - below, kind.of(mark) + above]
    return values


def pair_front(marks: Sequence[Mark], kinds: Sequence[Coordinate]) -> list[tuple[float, float]]:
    """The designs that none dominates in two coordinates alone, the best in the first one first."""
    points = [tuple(kind.of(mark) for kind in kinds) for mark in marks]
    signs = [-1 if kind.more_is_better else 1 for kind in kinds]
    ordered = sorted(points, key=lambda p: (signs[0] * p[0], signs[1] * p[1]))
    front: list[tuple[float, float]] = []
    for x, y in ordered:
        if not front or signs[1] * y < signs[1] * front[-1][1]:
            front.append((x, y))
    return front


def _marker(on_front: bool) -> dict[str, Any]:
    if on_front:
        return {"symbol": "diamond", "size": 7, "opacity": 1, "color": FRONT, "line": {"width": 0.8, "color": "black"}}
    return {"symbol": "circle-open", "size": 5, "opacity": 1, "color": DIM, "line": {"width": 0.9, "color": DIM}}


def _step_line() -> dict[str, Any]:
    return {"color": "#444", "width": 0.9, "dash": "3px,2px"}


def _run_line() -> dict[str, Any]:
    return {"color": "#BBB", "width": 0.7, "dash": "solid"}


def _scatter_trace(marks: Sequence[Mark], kinds: Sequence[Coordinate], on_front: bool) -> dict[str, Any]:
    trace: dict[str, Any] = {"mode": "markers", "marker": _marker(on_front), "cliponaxis": False}
    if not on_front and any(mark.stop_after is not None for mark in marks):  # many, with lines through them
        trace["marker"] = trace["marker"] | {"size": 3}
    for letter, kind in zip("xy", kinds, strict=True):
        trace[letter] = [kind.of(mark) for mark in marks]
        ends = [kind.ends(mark) for mark in marks]
        if any(above for _, above in ends):
            bars = {"array": [above for _, above in ends], "arrayminus": [below for below, _ in ends]}
            trace[f"error_{letter}"] = {
                "type": "data",
                "thickness": 0.8,
                "width": 2,
                "color": "#444" if on_front else "#999",
            } | bars
    return trace


def _label(
    page: Page, marks: Sequence[Mark], kinds: Sequence[Coordinate], wanted: Sequence[int], steps: Sequence[tuple[float, float]]
) -> list[Label]:
    """Put the numbers of the wanted designs beside their marks, the others' marks being in the way, too."""
    corners = [page.at(*point) for pair in pairwise(steps) for point in (pair[0], (pair[1][0], pair[0][1]))]
    lines = [*pairwise([*corners, page.at(*steps[-1])])] if steps else []
    for mark in marks:
        x, y = (kind.of(mark) for kind in kinds)
        (left, right), (down, up) = (kind.ends(mark) for kind in kinds)
        if right or up:
            lines += [(page.at(x - left, y), page.at(x + right, y)), (page.at(x, y - down), page.at(x, y + up))]
    at = [page.at(*(kind.of(mark) for kind in kinds)) for mark in marks]
    sizes = [(text_width(mark.tag, LETTERS), 0.95 * LETTERS) for mark in marks]
    p = page.plot
    placed = put_labels(at, sizes, wanted, Box(p.left + 1, p.bottom + 1, p.right - 1, p.top - 1), 4.2, lines)
    for label in placed:
        if label.leader:
            page.line(at[label.mark], _edge(label, at[label.mark]))
        page.text(marks[label.mark].tag, label.x, label.y)
    return placed


def _edge(label: Label, start: tuple[float, float]) -> tuple[float, float]:
    """Where a line from a mark meets the box of its label."""
    return min(max(start[0], label.box.left), label.box.right), min(max(start[1], label.box.bottom), label.box.top)


# --- curves -----------------------------------------------------------------------------------------------------------


def printed_curves(
    lines: Sequence[Line],
    sheet: Sheet,
    *,
    title: str,
    log: bool = False,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> Printed:
    """Curves over the epochs, with a band of one standard error where there are several seeds.

    `log` is of the y axis. `x_range` is that of the epochs, `y_range` what the y axis shows; by default all.
    """
    entries = [Entry(name, _style(line), _curve_marker(line)) for name, line in zip(_names(lines, sheet), lines, strict=True)]
    bands = [value for line in lines for value in _band(line, log)]
    inside = [v for v in [*bands, *(y for line in lines for y in line.y)] if y_range is None or y_range[0] <= v <= y_range[1]]
    xs = [*x_range] if x_range else [x for line in lines for x in line.x]
    page = laid_out(sheet, entries, xs, inside, titles=("epoch", title), logs=(False, log), tight=x_range is not None)
    for line in lines:
        if line.error is not None:
            page.traces.append(_band_trace(line, log))
    for number, line in enumerate(lines):
        every = max(1, math.ceil(len(line.x) / MARKS))
        sizes = [5 if k % every == number % every else 0 for k in range(len(line.x))]
        marker = _curve_marker(line) | {"size": sizes}
        page.traces.append({"x": line.x, "y": line.y, "mode": "lines+markers", "line": _style(line), "marker": marker})
    return printed(page)


def _names(lines: Sequence[Line], sheet: Sheet) -> list[str]:
    """The names in the legend: whole, cut where the page is too narrow, or the numbers alone where they are too many."""
    room = sheet.across - 2 * EDGE - SAMPLE - 3 * GAP
    names = [_cut(line.name, room) for line in lines]
    widest = max((text_width(name, LETTERS) for name in names), default=0.0) + SAMPLE + 3 * GAP
    columns = max(1, int((sheet.across - 2 * EDGE) // widest)) if names else 1
    if math.ceil(len(names) / columns) <= MOST_ROWS:
        return names
    return [_cut(line.name.partition(":")[0], room) for line in lines]


def _cut(text: str, room: float) -> str:
    """The text, cut to fit into so many px."""
    if text_width(text, LETTERS) <= room:
        return text
    while text and text_width(text + "…", LETTERS) > room:
        text = text[:-1]
    return text + "…"


def _style(line: Line) -> dict[str, Any]:
    return {"color": COLORS[line.style % len(COLORS)], "dash": DASHES[line.style % len(DASHES)], "width": 1.3}


def _curve_marker(line: Line) -> dict[str, Any]:
    color = COLORS[line.style % len(COLORS)]
    return {"symbol": SYMBOLS[line.style % len(SYMBOLS)], "size": 5, "color": color, "line": {"width": 0}, "opacity": 1}


def _band(line: Line, log: bool) -> list[float]:
    if line.error is None:
        return []
    low = [y - (min(e, 0.9 * y) if log else e) for y, e in zip(line.y, line.error, strict=True)]
    return [*(y + e for y, e in zip(line.y, line.error, strict=True)), *reversed(low)]


def _band_trace(line: Line, log: bool) -> dict[str, Any]:
    color = COLORS[line.style % len(COLORS)]
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    return {
        "x": [*line.x, *reversed(line.x)],
        "y": _band(line, log),
        "mode": "lines",
        "line": {"width": 0},
        "fill": "toself",
    } | {"fillcolor": f"rgba({red},{green},{blue},0.18)"}
