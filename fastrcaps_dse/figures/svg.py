"""Printed figures as SVG without a browser: the same layout, whose colors a page may set.

It writes what `sheet` and `printed` lay out, and no other plotly figure: lines, marks, bands, error bars, axes, texts. Colors of ink and
ground are CSS variables of the page that the picture stands in, so that it is dark where the page is; alone, it is black on white.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastrcaps_dse.figures.sheet import FAMILY, LETTERS, Printed

INK = {
    "black": "--ink",
    "#000000": "--ink",
    "#444": "--faint",
    "#7A7A7A": "--faint",
    "#999": "--faint",
    "#BBB": "--rest",
    "#E4E4E4": "--line",
}
"""The page's variable for a color of a printed figure; all other colors are seen on both grounds."""
SHAPES: Mapping[str, str] = {  # outlines of marks of size 2 around the origin
    "square": "M-1-1H1V1H-1Z",
    "diamond": "M0-1.35L1.35 0L0 1.35L-1.35 0Z",
    "triangle-up": "M0-1.15L1.15 .9H-1.15Z",
    "triangle-down": "M0 1.15L1.15-.9H-1.15Z",
    "x": "M-.6-1L0-.4L.6-1L1-.6L.4 0L1 .6L.6 1L0 .4L-.6 1L-1 .6L-.4 0L-1-.6Z",
    "cross": "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
    "star": "M0-1.35L.4-.42L1.3-.42L.6 .2L.85 1.1L0 .6L-.85 1.1L-.6 .2L-1.3-.42L-.4-.42Z",
}


def svg_of(made: Printed, name: str, title: str) -> str:
    """A printed figure as SVG. `name` is unique in the page that it stands in; `title` says in words what it shows."""
    figure = made.figure.to_plotly_json()
    layout = figure["layout"]
    axes = {
        f"{letter}{number}": _Axis(layout[f"{letter}axis{number}"], made, letter) for letter in "xy" for number in ("", "2")
    }
    x, y = axes["x"], axes["y"]
    frame = f'x="{x.start:.1f}" y="{y.end:.1f}" width="{x.end - x.start:.1f}" height="{y.start - y.end:.1f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {made.width:.1f} {made.height:.1f}" width="{made.width:.0f}" '
        f'height="{made.height:.0f}" role="img" aria-label="{html.escape(title)}" font-family="{html.escape(FAMILY)}" '
        f'font-size="{LETTERS:.1f}">',
        f'<title>{html.escape(title)}</title><clipPath id="{name}-clip"><rect {frame}/></clipPath>',
        '<rect width="100%" height="100%" style="fill:var(--panel,#fff)"/>',
        *_grid(x, y),
        f'<g clip-path="url(#{name}-clip)">',
        *(part for trace in figure["data"] if _is_clipped(trace) for part in _trace(trace, axes)),
        "</g>",
        *(part for trace in figure["data"] if not _is_clipped(trace) for part in _trace(trace, axes)),
        f'<rect {frame} style="fill:none;{_stroke("black")};stroke-width:.8"/>',
        *(_line(shape, made) for shape in layout.get("shapes", ())),
        *(_text(note, made) for note in layout.get("annotations", ())),
        "</svg>",
    ]
    return "".join(parts)


class _Axis:
    """Where the values of an axis lie on the page, in px from its upper left corner."""

    def __init__(self, axis: Mapping[str, Any], made: Printed, letter: str) -> None:
        low, high = axis["domain"]
        across = letter == "x"
        self.start = low * made.width if across else (1 - low) * made.height
        self.end = high * made.width if across else (1 - high) * made.height
        self.log = axis.get("type") == "log"
        self.range = axis["range"]
        self.ticks = [*zip(axis.get("tickvals", ()), axis.get("ticktext", ()), strict=True)]

    def at(self, value: float) -> float:
        low, high = self.range
        share = ((math.log10(value) if self.log else value) - low) / (high - low)
        return float(self.start + share * (self.end - self.start))


def _color(color: str) -> str:
    return f"var({INK[color]},{color})" if color in INK else color


def _stroke(color: str) -> str:
    return f"stroke:{_color(color)}"


def _grid(x: _Axis, y: _Axis) -> Iterator[str]:
    """Grid lines, and the ticks with their numbers."""
    light, dark = f"{_stroke('#E4E4E4')};stroke-width:.5", f"{_stroke('black')};stroke-width:.8"
    ink = f"fill:{_color('black')}"
    for value, text in x.ticks:
        at = x.at(value)
        yield f'<path d="M{at:.1f} {y.end:.1f}V{y.start:.1f}" style="{light}"/><path d="M{at:.1f} {y.start:.1f}v3" style="{dark}"/>'
        yield f'<text x="{at:.1f}" y="{y.start + 4 + LETTERS:.1f}" text-anchor="middle" style="{ink}">{html.escape(text)}</text>'
    for value, text in y.ticks:
        at = y.at(value)
        yield f'<path d="M{x.start:.1f} {at:.1f}H{x.end:.1f}" style="{light}"/><path d="M{x.start:.1f} {at:.1f}h-3" style="{dark}"/>'
        yield (
            f'<text x="{x.start - 5:.1f}" y="{at + 0.35 * LETTERS:.1f}" text-anchor="end" style="{ink}">{html.escape(text)}</text>'
        )


def _is_clipped(trace: Mapping[str, Any]) -> bool:
    return bool(trace.get("cliponaxis", True))


def _trace(trace: Mapping[str, Any], axes: Mapping[str, _Axis]) -> Iterator[str]:
    x, y = axes[trace.get("xaxis", "x")], axes[trace.get("yaxis", "y")]
    points = [(x.at(a), y.at(b)) for a, b in zip(trace["x"], trace["y"], strict=True)]
    if not points:
        return
    line, marker = trace.get("line", {}), trace.get("marker", {})
    if trace.get("fill"):
        yield f'<path d="{_path(points)}Z" style="fill:{trace["fillcolor"]};stroke:none"/>'
    elif "lines" in trace["mode"]:
        dash = line.get("dash", "solid")
        dashes = "" if dash == "solid" else f";stroke-dasharray:{dash.replace('px', '')}"
        style = f"fill:none;{_stroke(line['color'])};stroke-width:{line['width']}{dashes}"
        yield f'<path d="{_path(points, steps=line.get("shape") == "hv")}" style="{style}"/>'
    yield from _error_bars(trace, points, x, y)
    if "markers" in trace["mode"]:
        yield from _marks(marker, points)


def _path(points: Sequence[tuple[float, float]], *, steps: bool = False) -> str:
    (x, y), *rest = points
    return f"M{x:.1f} {y:.1f}" + "".join(f"H{a:.1f}V{b:.1f}" if steps else f"L{a:.1f} {b:.1f}" for a, b in rest)


def _marks(marker: Mapping[str, Any], points: Sequence[tuple[float, float]]) -> Iterator[str]:
    symbol, size = marker["symbol"], marker["size"]
    sizes = size if isinstance(size, (list, tuple)) else [size] * len(points)
    around = marker.get("line", {})
    fill = "none" if symbol.endswith("-open") else _color(marker["color"])
    width = around.get("width", 0)
    edge = f"{_stroke(around.get('color', marker['color']))};stroke-width:{width}" if width else "stroke:none"
    for (x, y), one in zip(points, sizes, strict=True):
        if not one:
            continue
        if symbol.startswith("circle"):
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{one / 2}" style="fill:{fill};{edge}"/>'
        else:
            shape = f'transform="translate({x:.1f} {y:.1f}) scale({one / 2})" vector-effect="non-scaling-stroke"'
            yield f'<path d="{SHAPES[symbol]}" {shape} style="fill:{fill};{edge}"/>'


def _error_bars(trace: Mapping[str, Any], points: Sequence[tuple[float, float]], x: _Axis, y: _Axis) -> Iterator[str]:
    for letter, axis in (("x", x), ("y", y)):
        bars = trace.get(f"error_{letter}", {})
        for index, (above, below) in enumerate(zip(bars.get("array", ()), bars.get("arrayminus", ()), strict=True)):
            if above or below:
                value = trace[letter][index]
                low, high = axis.at(value - below), axis.at(value + above)
                px, py = points[index]
                ends = f"M{low:.1f} {py:.1f}H{high:.1f}" if letter == "x" else f"M{px:.1f} {low:.1f}V{high:.1f}"
                yield f'<path d="{ends}" style="{_stroke(bars["color"])};stroke-width:{bars["thickness"]}"/>'


def _line(shape: Mapping[str, Any], made: Printed) -> str:
    w, h, line = made.width, made.height, shape["line"]
    ends = f"M{shape['x0'] * w:.1f} {(1 - shape['y0']) * h:.1f}L{shape['x1'] * w:.1f} {(1 - shape['y1']) * h:.1f}"
    return f'<path d="{ends}" style="{_stroke(line["color"])};stroke-width:{line["width"]}"/>'


def _text(note: Mapping[str, Any], made: Printed) -> str:
    """A text, which is escaped already."""
    x, y = note["x"] * made.width, (1 - note["y"]) * made.height
    anchor = {"left": "start", "center": "middle", "right": "end"}[note["xanchor"]]
    turned = f' transform="rotate({note["textangle"]:.0f} {x:.1f} {y:.1f})"' if note.get("textangle") else ""
    at = f'x="{x:.1f}" y="{y + 0.35 * LETTERS:.1f}"' if not turned else f'x="{x:.1f}" y="{y:.1f}" dy=".35em"'
    return f'<text {at} text-anchor="{anchor}"{turned} style="fill:{_color("black")}">{note["text"]}</text>'
