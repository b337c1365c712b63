"""The sheet of a printed figure: axes above, the legend below, and where each text is.

Each place on the page is computed here, in CSS pixels of 1/96 in, so that plotly decides none: labels can be kept apart, and what is
tested is what is printed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.figures.labels import Box
from fastrcaps_dse.figures.plots import escape
from fastrcaps_dse.figures.ticks import Axis, axis_of, text_width

if TYPE_CHECKING:
    import plotly.graph_objects as go

PER_INCH = 96.0  # CSS pixels
LETTERS = 8 * PER_INCH / 72  # 8 pt
COLUMN_INCHES = {1: 3.5, 2: 7.16}  # of a journal of the IEEE
HEIGHT_BY_WIDTH = {1: 0.64, 2: 0.42}  # of the part of the axes
FAMILY = "Arial, 'Liberation Sans', Helvetica, sans-serif"
ROW, SAMPLE, GAP = 13.0, 24.0, 5.0  # of the legend: height of a row, width of its sample, and the distance to its text
EDGE = 6.0  # around everything
LEAST_AXES = 80.0  # px a side of the axes


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The size of a printed figure. Raises InputError for a number of columns that journals do not have."""

    columns: int = 1
    width: float = 0.0  # px; 0 for that of the columns
    height: float = 0.0  # px; 0 for as much as it needs

    def __post_init__(self) -> None:
        if self.columns not in COLUMN_INCHES:
            raise InputError(f"--columns is 1 or 2, not {self.columns}", "a column is 3.5 in wide, two are 7.16 in")

    @property
    def across(self) -> float:
        """The width in px."""
        return self.width or COLUMN_INCHES[self.columns] * PER_INCH

    @property
    def axes_height(self) -> float:
        """The height of the part with the axes, in px, where the whole may be as high as it needs."""
        return HEIGHT_BY_WIDTH[self.columns] * self.across


class Printed(NamedTuple):
    """A figure with its size in px, and how many of the labels that were wanted have no room."""

    figure: go.Figure
    width: float
    height: float
    unlabeled: int = 0


class Entry(NamedTuple):
    """A sample and its name in the legend."""

    name: str
    line: dict[str, Any] | None
    marker: dict[str, Any] | None


@dataclass(kw_only=True)
class Page:
    """A page that is being laid out: axes above, legend below."""

    sheet: Sheet
    x: Axis
    y: Axis
    entries: Sequence[Entry]
    traces: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    shapes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def left(self) -> float:
        return EDGE + 1.2 * LETTERS + max((text_width(text, LETTERS) for _, text in self.y.ticks), default=0.0) + 12

    @property
    def bottom(self) -> float:
        """Below the axes, without the legend."""
        return 2 * 1.3 * LETTERS + 10

    @property
    def legend_columns(self) -> int:
        widest = max((SAMPLE + GAP + text_width(entry.name, LETTERS) for entry in self.entries), default=1.0)
        return max(1, min(len(self.entries), int((self.sheet.across - 2 * EDGE) // (widest + 2 * GAP))))

    @property
    def legend_height(self) -> float:
        return ROW * math.ceil(len(self.entries) / self.legend_columns) + EDGE if self.entries else 0.0

    @property
    def height(self) -> float:
        least = LEAST_AXES + 2 * EDGE + self.bottom + self.legend_height
        return max(least, self.sheet.height or self.sheet.axes_height + self.legend_height)

    @property
    def plot(self) -> Box:
        """The rectangle between the axes, in px from the lower left corner of the page."""
        right = self.sheet.across - EDGE - max((text_width(text, LETTERS) / 2 for _, text in self.x.ticks[-1:]), default=0.0)
        return Box(self.left, self.legend_height + self.bottom, right, self.height - EDGE - LETTERS / 2)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where values lie on the page, in px."""
        p = self.plot
        return p.left + self.x.position(x) * (p.right - p.left), p.bottom + self.y.position(y) * (p.top - p.bottom)

    def text(self, text: str, x: float, y: float, *, anchor: str = "center", angle: float = 0.0) -> None:
        """A text whose center, or end, is here, in px."""
        self.annotations.append(
            {"text": escape(text), "x": x / self.sheet.across, "y": y / self.height, "xref": "paper", "yref": "paper"}
            | {"showarrow": False, "xanchor": anchor, "yanchor": "middle", "textangle": angle, "borderpad": 0}
            | {"font": {"size": LETTERS, "color": "black", "family": FAMILY}}
        )

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A thin line between two points, in px."""
        w, h = self.sheet.across, self.height
        ends = {"x0": start[0] / w, "y0": start[1] / h, "x1": end[0] / w, "y1": end[1] / h}
        self.shapes.append({"type": "line", "xref": "paper", "yref": "paper", "line": {"width": 0.6, "color": "#444"}} | ends)


def laid_out(
    sheet: Sheet,
    entries: Sequence[Entry],
    xs: Sequence[float],
    ys: Sequence[float],
    *,
    titles: tuple[str, str],
    logs: tuple[bool, bool],
    tight: bool = False,
) -> Page:
    """A page with the axes of these values; `tight`, the x axis begins and ends with them."""
    room = Sheet(columns=sheet.columns, width=sheet.width, height=sheet.height)
    along, up = sheet.across - 70, sheet.axes_height - 50
    whole = titles[0] == "epoch"
    x = axis_of(titles[0], xs, log=logs[0], length=along, size=LETTERS, upright=False, whole=whole)
    if tight:
        x = Axis(
            title=x.title, log=x.log, range=(min(xs), max(xs)), ticks=tuple(t for t in x.ticks if min(xs) <= t[0] <= max(xs))
        )
    y = axis_of(titles[1], ys, log=logs[1], length=up, size=LETTERS, upright=True)
    page = Page(sheet=room, x=x, y=y, entries=entries)
    p = page.plot
    page.text(x.title, (p.left + p.right) / 2, page.legend_height + 0.8 * LETTERS)
    page.text(y.title, EDGE + LETTERS / 2, (p.bottom + p.top) / 2, angle=-90)
    return page


def printed(page: Page, unlabeled: int = 0) -> Printed:
    import plotly.graph_objects as go

    w, h, p = page.sheet.across, page.height, page.plot
    for number, entry in enumerate(page.entries):
        _legend_entry(page, number, entry)
    figure = go.Figure([go.Scatter(showlegend=False, hoverinfo="skip", **trace) for trace in page.traces])
    frame = {"showline": True, "mirror": True, "linecolor": "black", "linewidth": 0.8, "ticks": "outside", "ticklen": 3}
    frame |= {"tickwidth": 0.8, "zeroline": False, "gridcolor": "#E4E4E4", "gridwidth": 0.5, "automargin": False}
    hidden = {"visible": False, "fixedrange": True}
    figure.update_layout(
        template="none",
        width=w,
        height=h,
        margin={"l": 0, "r": 0, "t": 0, "b": 0, "pad": 0},
        font={"size": LETTERS, "family": FAMILY, "color": "black"},
        paper_bgcolor="white",
        plot_bgcolor="white",
        showlegend=False,
        annotations=page.annotations,
        shapes=page.shapes,
        xaxis=_axis(page.x) | frame | {"domain": [p.left / w, p.right / w], "anchor": "y"},
        yaxis=_axis(page.y) | frame | {"domain": [p.bottom / h, p.top / h], "anchor": "x"},
        xaxis2=hidden | {"domain": [0, 1], "range": [0, w], "anchor": "y2"},
        yaxis2=hidden
        | {"domain": [0, max(1e-3, page.legend_height / h)], "range": [0, max(1.0, page.legend_height)], "anchor": "x2"},
    )
    return Printed(figure, w, h, unlabeled)


def _axis(axis: Axis) -> dict[str, Any]:
    ticks = {"tickmode": "array", "tickvals": [v for v, _ in axis.ticks], "ticktext": [text for _, text in axis.ticks]}
    return ticks | {"type": "log" if axis.log else "linear", "range": list(axis.range), "tickfont": {"size": LETTERS}}


def _legend_entry(page: Page, number: int, entry: Entry) -> None:
    """Draw the sample of an entry on the hidden axes of the legend, and write its name beside it."""
    columns = page.legend_columns
    row, column = divmod(number, columns)
    x = EDGE + column * (page.sheet.across - 2 * EDGE) / columns
    y = page.legend_height - (row + 0.5) * ROW
    sample: dict[str, Any] = {
        "x": [x, x + SAMPLE / 2, x + SAMPLE],
        "y": [y] * 3,
        "xaxis": "x2",
        "yaxis": "y2",
        "cliponaxis": False,
    }
    mode = "+".join(["lines"] * (entry.line is not None) + ["markers"] * (entry.marker is not None))
    if entry.line is not None:
        sample["line"] = entry.line
    if entry.marker is not None:
        sample["marker"] = entry.marker | {"size": [0, entry.marker["size"], 0]}
    page.traces.append(sample | {"mode": mode})
    page.text(entry.name, x + SAMPLE + GAP, y, anchor="left")
