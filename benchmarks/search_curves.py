"""Draw the records of `benchmarks.search` and `benchmarks.peers`: the share of the hypervolume found over training seconds.

Each record becomes a figure beside it: medians, with quartiles as bands.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from benchmarks import record
from benchmarks.search import RECORDS
from fastrcaps_dse.figures.export import ImageSize, for_print, render_images
from fastrcaps_dse.figures.plots import COLORS

PLOTTED = {  # method: (name, color)
    "optuna tpe": ("TPE", 0),
    "optuna nsga2": ("NSGA-II", 3),
    "optuna gp": ("GP", 4),
    "optuna random": ("random", 5),
    "explore random": ("random, no design twice", 2),
    "Syne Tune MO-ASHA": ("Syne Tune MO-ASHA", 5),
    "NePS MO-ASHA": ("NePS MO-ASHA", 3),
    "explore guided": ("guided", 1),
    "explore freeze-thaw": ("freeze-thaw", 6),
}
PEERS = ("Syne Tune MO-ASHA", "NePS MO-ASHA")
CROWDED = ("optuna random",)  # left out where peers are drawn, too
LOWEST = {"whole": 0.6, "anytime": 0.6}  # share that is drawn
Row = Sequence[float]  # seconds, quartiles of the share


def curves(methods: dict[str, Any], kind: str) -> go.Figure:
    """The figure; a search whose seconds end keeps what it has found."""
    figure = go.Figure()
    for method, (name, color) in PLOTTED.items():
        rows: list[Row] = [row for row in methods.get(method, {}).get(kind, {}).get("curve", []) if row[2] > 0]
        if not rows or (method in CROWDED and any(peer in methods for peer in PEERS)):
            continue
        seconds, low, middle, high = zip(*rows, strict=True)
        paint = COLORS[color % len(COLORS)]
        band = f"rgba({int(paint[1:3], 16)}, {int(paint[3:5], 16)}, {int(paint[5:], 16)}, 0.15)"
        around = {"x": [*seconds, *reversed(seconds)], "y": [*low, *reversed(high)], "fill": "toself", "fillcolor": band}
        figure.add_scatter(**around, line={"width": 0}, mode="lines", showlegend=False, hoverinfo="skip")
        figure.add_scatter(x=seconds, y=middle, mode="lines", name=name, line={"color": paint, "width": 2.5})
    figure.add_hline(
        y=0.99, line={"color": "black", "dash": "dot", "width": 1}, annotation_text="99 %", annotation_position="bottom left"
    )
    figure.update_layout(template="plotly_white")
    figure.update_xaxes(title_text="seconds of training", type="log")
    figure.update_yaxes(title_text="share of the hypervolume", range=[LOWEST[kind], 1.01], tickformat=".0%")
    inside = {"x": 0.98, "xanchor": "right", "y": 0.04, "yref": "paper", "bgcolor": "rgba(255, 255, 255, 0.7)"}
    return for_print(figure).update_layout(legend=inside).update_xaxes(dtick="D2")


def methods_of(table: str, kind: str) -> dict[str, Any]:
    """The recorded methods of a table and view, with those of other libraries; none where there is no record."""
    path = record.PLACE / f"{RECORDS[table, kind]}.json"
    if not path.exists():
        return {}
    methods: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["methods"]
    peers = record.PLACE / "search-peers.json"
    if kind == "anytime" and peers.exists():
        methods |= json.loads(peers.read_text(encoding="utf-8")).get(table, {}).get("methods", {})
    return methods


def draw(table: str, kind: str) -> Path | None:
    """Write the figure of a record; None where there is none."""
    methods = methods_of(table, kind)
    if not methods:
        return None
    path = record.PLACE / f"{RECORDS[table, kind]}.svg"
    path.write_bytes(render_images({"search": curves(methods, kind)}, "svg", ImageSize(width=1600, height=1000))["search"])
    return path


def main() -> None:
    for table, kind in RECORDS:
        if path := draw(table, kind):
            print(path)


if __name__ == "__main__":
    main()
