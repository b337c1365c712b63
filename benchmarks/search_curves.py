"""Draw the record of `benchmarks.search`: the share of the hypervolume that is found over training seconds, as medians with quartiles."""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects as go

from benchmarks import record
from fastrcaps_dse.figures.export import ImageSize, for_print, render_images
from fastrcaps_dse.figures.plots import COLORS

PLOTTED = {  # method: (name, color)
    "optuna tpe": ("TPE", 0),
    "optuna nsga2": ("NSGA-II", 3),
    "optuna gp": ("GP", 4),
    "optuna random": ("random", 5),
    "explore random": ("random, no design twice", 2),
    "explore guided": ("guided", 1),
}


def curves(methods: dict[str, Any]) -> go.Figure:
    """The figure; a search whose seconds end keeps what it has found."""
    figure = go.Figure()
    for method, (name, color) in PLOTTED.items():
        if method not in methods:
            continue
        seconds, low, middle, high = zip(*methods[method]["found"], strict=True)
        paint = COLORS[color]
        band = f"rgba({int(paint[1:3], 16)}, {int(paint[3:5], 16)}, {int(paint[5:], 16)}, 0.15)"
        around = {"x": [*seconds, *reversed(seconds)], "y": [*low, *reversed(high)], "fill": "toself", "fillcolor": band}
        figure.add_scatter(**around, line={"width": 0}, mode="lines", showlegend=False, hoverinfo="skip")
        figure.add_scatter(x=seconds, y=middle, mode="lines", name=name, line={"color": paint, "width": 2.5})
    figure.add_hline(
        y=0.99, line={"color": "black", "dash": "dot", "width": 1}, annotation_text="99 %", annotation_position="bottom left"
    )
    figure.update_layout(template="plotly_white")
    figure.update_xaxes(title_text="seconds of training", type="log")
    figure.update_yaxes(title_text="share of the hypervolume", range=[0.6, 1.01], tickformat=".0%")
    inside = {"x": 0.98, "xanchor": "right", "y": 0.04, "yref": "paper", "bgcolor": "rgba(255, 255, 255, 0.7)"}
    return for_print(figure).update_layout(legend=inside).update_xaxes(dtick="D2")


def main() -> None:
    found = json.loads((record.PLACE / "search.json").read_text(encoding="utf-8"))
    path = record.PLACE / "search.svg"
    path.write_bytes(render_images({"search": curves(found["methods"])}, "svg", ImageSize(width=1600, height=1000))["search"])
    print(path)


if __name__ == "__main__":
    main()
