"""Plots in two steps: `..._info` gathers what a plot shows, exactly; `..._figure` renders it with plotly.

The info functions do not need plotly, and the figures add nothing to what the info says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from fastrcaps_dse.figures.rates import rate_samples
from fastrcaps_dse.figures.stops import runs_of, tag_of
from fastrcaps_dse.problem.objectives import Objective, find_objective, titled, with_basic
from fastrcaps_dse.problem.quantities import TIME_TO, format_value
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.timelines import build_timeline
from fastrcaps_dse.store import EpochRow, TrialRow

if TYPE_CHECKING:
    import plotly.graph_objects as go

# the palette of Okabe and Ito, whose colors color-blind people can tell apart
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#000000")
FRONT, DOMINATED = "#D55E00", "#9AA5B1"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


class ParetoPoint(NamedTuple):
    """A design in the Pareto scatter."""

    trial: int  # its number
    label: str
    values: dict[str, float]  # by objective name
    on_front: bool
    estimated: bool = False  # its times
    stop_after: int | None = None  # epochs, in the anytime view

    @property
    def tag(self) -> str:
        """The number of its trial, and in the anytime view after which epoch it is stopped: "3", "3@4"."""
        return tag_of(self.trial, self.stop_after)


class ParetoInfo(NamedTuple):
    """What the Pareto scatter shows (Fig. 8a/b of the paper)."""

    objectives: tuple[Objective, ...]
    points: tuple[ParetoPoint, ...]


class Curve(NamedTuple):
    """A named curve over the epochs, or another axis."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]  # as many as `x`


class CurvesInfo(NamedTuple):
    """What the curves show: accuracy (Fig. 4a and 8c of the paper) and learning rate (Fig. 8d) over epochs."""

    accuracy: tuple[Curve, ...]  # x: epochs, y: %
    rate: tuple[Curve, ...]  # x: epochs, fractions within an epoch included; y: learning rate


def pareto_info(trials: Sequence[TrialRow], front: Sequence[TrialRow], objectives: Sequence[Objective]) -> ParetoInfo:
    """What the Pareto scatter of these trials shows: the measured designs, and which of them are on the `front`."""
    members = {trial.key for trial in front}
    anytime = any(trial.stop_after is not None for trial in trials)
    points = tuple(
        ParetoPoint(
            trial=trial.trial,
            label=trial.label,
            values={o.name: trial.measurement[o.name] for o in with_basic(objectives)},
            estimated=trial.time_estimated,
            on_front=trial.key in members,
            stop_after=trial.stop_after,
        )
        for trial in trials
        if trial.measurement is not None
    )
    return ParetoInfo(objectives=tuple(titled(objectives, anytime)), points=points)


def curves_info(
    trials: Sequence[TrialRow],
    epochs_of: Mapping[int, Sequence[EpochRow]],
    *,
    epochs: int,
    images: int,
    scale_decay: bool = False,
) -> CurvesInfo:
    """What the curves of these trials show: accuracy per epoch, the mean over the seeds, and the learning rate over the run.

    `epochs_of` has the stored epochs by run; trials without any are left out. `epochs`, `images` and `scale_decay` are those of a run.
    """
    accuracy, rates = [], []
    for trial in trials:
        runs = [epochs_of[run.run_id] for run in trial.runs if epochs_of.get(run.run_id)]
        if not runs:
            continue
        length = min(len(run) for run in runs)
        name = f"{trial.trial}: {trial.design.label}"
        mean = tuple(sum(run[k].acc for run in runs) / len(runs) for k in range(length))
        accuracy.append(Curve(name=name, x=tuple(range(1, length + 1)), y=mean))
        rates.append(rate_curve(trial.design, name=name, epochs=epochs, images=images, scale_decay=scale_decay))
    return CurvesInfo(accuracy=tuple(accuracy), rate=tuple(rates))


def rate_curve(point: DesignPoint, *, name: str, epochs: int, images: int, scale_decay: bool = False) -> Curve:
    """The learning rate of a design over the epochs of a run, as `figures.rates` samples it: for a logarithmic axis.

    `images` is the number of training images, on which the number of steps depends, and `scale_decay` whether decay steps scale with it.
    """
    line = build_timeline(point.batch_schedule, epochs=epochs, images=images, scale_decay=scale_decay)
    xs, ys = rate_samples(point.lr_policy, line)
    return Curve(name=name, x=xs, y=ys)


def batch_curve(point: DesignPoint, *, name: str, epochs: int, images: int) -> Curve:
    """The batch size (images) of a design over the epochs of a run: a step line, in which a change has two samples."""
    phases = build_timeline(point.batch_schedule, epochs=epochs, images=images).phases
    ends = [(x, phase.batch_size) for phase in phases for x in (phase.first_epoch, phase.first_epoch + phase.epochs)]
    return Curve(name=name, x=tuple(float(x) for x, _ in ends), y=tuple(float(y) for _, y in ends))


# --- figures ----------------------------------------------------------------------------------------------------------


def axis_title(objective: Objective) -> str:
    """The title of the axis of an objective, with its unit."""
    return f"{objective.title} ({objective.unit})" if objective.name != "params" else objective.title


def is_logarithmic(objective: Objective) -> bool:
    """Whether the axis of an objective is logarithmic: the times of designs differ by orders of magnitude."""
    return objective.name.partition(":")[0] in ("time", TIME_TO)


def plotted_axes(info: ParetoInfo) -> list[Objective]:
    """The two or three objectives that have an axis. If the study has only one, a second is added."""
    axes = [*info.objectives[:3]]
    return axes if len(axes) > 1 else [*axes, next(o for o in with_basic() if o.name != axes[0].name)]


def _layout(**extra: Any) -> dict[str, Any]:
    return {
        "template": "plotly_white",
        "font": {"family": FONT, "size": 13, "color": "#1F2933"},
        "margin": {"l": 64, "r": 16, "t": 24, "b": 56},
        "hoverlabel": {"font": {"family": FONT}},
        "legend": {"orientation": "h", "y": -0.18, "font": {"size": 11}},
        **extra,
    }


def _hover(point: ParetoPoint) -> str:
    objectives = titled(map(find_objective, point.values), point.stop_after is not None)
    values = "<br>".join(f"{o.title}: {_hover_value(point, o.name)}" for o in objectives)
    return f"<b>{escape(point.label)}</b><br>trial {point.trial}<br>{values}"


def _hover_value(point: ParetoPoint, name: str) -> str:
    return format_value(name, point.values[name], estimated=point.estimated)


def escape(text: str) -> str:
    """The text with its markup characters escaped, because plotly interprets markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def range_3d(values: Sequence[float], logarithmic: bool) -> list[float] | None:
    """The range of an axis in 3D that has a margin around the values, because plotly cuts off marks at its ends.

    A logarithmic axis has its range in logarithms to base 10. Returns None if plotly's own range will do.
    """
    if not values or min(values) == max(values) or (logarithmic and min(values) <= 0):
        return None
    ends = [math.log10(v) if logarithmic else v for v in (min(values), max(values))]
    margin = 0.06 * (ends[1] - ends[0])
    return [ends[0] - margin, ends[1] + margin]


def pareto_figure(info: ParetoInfo) -> go.Figure:
    """The figure of the Pareto scatter: in 3D for three objectives and more, else in 2D."""
    import plotly.graph_objects as go

    axes = plotted_axes(info)
    figure = go.Figure()
    scatter = go.Scatter3d if len(axes) == 3 else go.Scatter
    if runs := runs_of(info.points):
        figure.add_trace(scatter(**_runs_trace(runs, axes)))
    for on_front in (False, True):
        figure.add_trace(scatter(**_pareto_trace([p for p in info.points if p.on_front == on_front], axes, on_front)))
    settings: list[dict[str, Any]] = [
        {"title": {"text": axis_title(o)}} | ({"type": "log"} if is_logarithmic(o) else {}) for o in axes
    ]
    if len(axes) == 3:
        for setting, o in zip(settings, axes, strict=True):
            setting |= {"range": range_3d([p.values[o.name] for p in info.points], is_logarithmic(o))}
        scene = dict(zip(("xaxis", "yaxis", "zaxis"), settings, strict=True))
        camera = {"eye": {"x": 1.55, "y": 1.55, "z": 0.75}, "center": {"x": 0, "y": 0, "z": -0.12}}
        figure.update_layout(**_layout(scene=scene | {"camera": camera}, margin={"l": 0, "r": 0, "t": 0, "b": 0}))
    else:
        figure.update_layout(**_layout(xaxis=settings[0], yaxis=settings[1]))
    return figure


def _runs_trace(runs: Sequence[Sequence[ParetoPoint]], axes: Sequence[Objective]) -> dict[str, Any]:
    """The trace of the lines through the epochs of each design, with a gap between designs."""
    joined = {
        letter: [value for run in runs for value in (*(p.values[o.name] for p in run), None)]
        for letter, o in zip("xyz", axes, strict=False)
    }
    line = {"color": DOMINATED, "width": 2 if len(axes) == 3 else 1}
    return {**joined, "name": "epochs of a design", "mode": "lines", "line": line, "opacity": 0.6, "hoverinfo": "skip"}


def _pareto_trace(points: Sequence[ParetoPoint], axes: Sequence[Objective], on_front: bool) -> dict[str, Any]:
    """The trace of the designs on the front, which carry the numbers of their trials, or of the others."""
    size = 8 if on_front else 5
    marker = {
        "size": size if len(axes) == 3 else 2 * size,
        "color": FRONT if on_front else DOMINATED,
        "line": {"width": 1, "color": "white"},
        "symbol": "diamond" if on_front else "circle",
    }
    return {
        **{letter: [p.values[o.name] for p in points] for letter, o in zip("xyz", axes, strict=False)},
        "name": f"{'Pareto front' if on_front else 'dominated'} ({len(points)})",
        "marker": marker,
        "opacity": 1.0 if on_front else 0.45,
        "mode": "markers+text" if on_front else "markers",
        "text": [p.tag for p in points] if on_front else None,
        "textposition": "top center",
        "textfont": {"size": 12},
        "hovertext": [_hover(p) for p in points],
        "hoverinfo": "text",
        "customdata": [p.trial for p in points],
    }


def _lines(curves: Sequence[Curve], *, x_title: str, y: dict[str, Any], markers: bool) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    dashes = ("solid", "dash", "dot", "dashdot")
    for index, curve in enumerate(curves):
        line = {"color": COLORS[index % len(COLORS)], "dash": dashes[index // len(COLORS) % len(dashes)], "width": 2}
        mode = "lines+markers" if markers else "lines"
        figure.add_trace(go.Scatter(x=curve.x, y=curve.y, name=escape(shortened(curve.name)), mode=mode, line=line))
    x = {"title": {"text": x_title}} | ({"tick0": 0, "dtick": 1} if 1 < max((c.x[-1] for c in curves), default=0) <= 12 else {})
    figure.update_layout(**_layout(xaxis=x, yaxis=y, hovermode="x unified" if markers else "closest"))
    return figure


def shortened(text: str, most: int = 22) -> str:
    """The text, cut to `most` characters, because a legend has no room for more."""
    return text if len(text) <= most else text[: most - 1] + "…"


def accuracy_figure(info: CurvesInfo) -> go.Figure:
    """The figure of accuracy over epochs (Fig. 4a and 8c of the paper)."""
    y = {"title": {"text": "accuracy (%)"}}
    return _lines(info.accuracy, x_title="epoch", y=y, markers=True)


def rate_figure(info: CurvesInfo) -> go.Figure:
    """The figure of learning rate over epochs (Fig. 8d of the paper)."""
    y = {"title": {"text": "learning rate"}, "type": "log", "exponentformat": "power", "dtick": 1}
    figure = _lines(info.rate, x_title="epoch", y=y, markers=False)
    figure.update_layout(showlegend=False)  # the figure is shown beside the accuracies, which have the same colors and a legend
    return figure


@cache
def plotly_js() -> str:
    """The script plotly.js of the installed plotly, read without importing plotly itself."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def html_page(figure: go.Figure) -> str:
    """The HTML page of a figure, which includes plotly.js and opens offline."""
    return str(figure.to_html(include_plotlyjs=True, config={"displaylogo": False, "showSendToCloud": False}))


def range_test_figure(rates: Sequence[float], losses: Sequence[float], suggestion: tuple[float, float] | None) -> go.Figure:
    """The figure of loss over learning rate of a range test, with the suggested (lr_min, lr_max) shaded."""
    curve = Curve(name="loss of each step", x=tuple(rates), y=tuple(losses))
    figure = _lines([curve], x_title="learning rate", y={"title": {"text": "loss"}}, markers=False)
    ends = [math.log10(rates[0]), math.log10(rates[-1])]
    figure.update_xaxes(type="log", exponentformat="power", dtick=1, range=ends)
    if suggestion:
        figure.add_vrect(*suggestion, fillcolor=COLORS[2], opacity=0.15, line_width=0)
        figure.update_layout(
            title={"text": f"suggested: lr_min {suggestion[0]:.1e}, lr_max {suggestion[1]:.1e}"}, margin={"t": 56}
        )
    return figure
