"""The figures of a study as files for a paper: `report --figures`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fastrcaps_dse.analysis.results import front_of
from fastrcaps_dse.cli.app import chosen_objectives, hint, open_store, write_bytes
from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.figures import export, paper, plots

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from fastrcaps_dse.problem.objectives import Objective
    from fastrcaps_dse.store import StudyRow, TrialRow

Format = Literal["svg", "png", "html"]
FORMATS: tuple[Format, ...] = ("svg", "png", "html")


def write_figures(
    folder: Path,
    *,
    kind: str | None,
    width: int | None,
    height: int | None,
    storage: str | None,
    study: str | None,
    objectives: str | None,
) -> None:
    """Write the paper's figures of a study, and print their paths. Raises InputError, MachineError; then nothing is written."""
    kind = kind or "svg"
    if kind not in FORMATS:
        raise InputError(f"unknown format {kind!r}", nearest(kind, FORMATS))
    if kind == "html" and (width, height) != (None, None):
        raise InputError("an HTML figure is as large as its window", "leave --width and --height, or choose png or svg")
    defaults = export.ImageSize()
    size = export.ImageSize(
        width=defaults.width if width is None else width, height=defaults.height if height is None else height
    )
    ours = open_store(storage)
    row = ours.study(study)
    chosen = chosen_objectives(row, objectives)
    trials = ours.trials(row)
    if not any(trial.measurement for trial in trials):
        raise InputError(f"the study {row.name!r} has no measured design yet", "run `fastrcaps-dse explore` first")
    front = front_of(trials, chosen)
    identity = row.identity
    info = paper.paper_info(trials, front, ours.epochs_of(row.study_id), epochs=identity["epochs"], images=row.train_images)
    files = {f"{name}.{kind}": data for name, data in _files(_figures(trials, front, chosen, info), kind, size).items()}
    if info.speeds:
        files |= _tables(row, info.speeds)
    for name, data in files.items():
        write_bytes(folder / name, data)
        print(folder / name)
    lacking = paper.lacking(info)
    if lacking:
        hint(f"{row.name} {lacking}")


def _figures(
    trials: Sequence[TrialRow], front: Sequence[TrialRow], objectives: Sequence[Objective], info: paper.PaperInfo
) -> dict[str, go.Figure]:
    """The figures by file name, as they stand alone."""
    scatter = plots.pareto_info(trials, front, objectives)
    made = {"fig8ab-pareto": export.for_print(plots.pareto_figure(scatter))}
    if len(plots.plotted_axes(scatter)) > 2:
        made["fig8ab-pareto-flat"] = export.for_print(export.flat_pareto(scatter))
    for name, drawn in (("fig4a-accuracy", info.named), ("fig8c-accuracy", info.accuracy), ("fig8d-learning-rate", info.rate)):
        if drawn:
            made[name] = _curves(name, [d.curve for d in drawn], [d.color for d in drawn])
    return dict(sorted(made.items()))


def _curves(name: str, curves: list[plots.Curve], colors: list[int]) -> go.Figure:
    """Accuracies, or learning rates, over epochs."""
    names = [curve.name for curve in curves]
    if name.endswith("learning-rate"):
        figure = plots.rate_figure(plots.CurvesInfo(accuracy=(), rate=tuple(curves)))
        return export.curves_for_print(figure, names, colors)
    figure = plots.accuracy_figure(plots.CurvesInfo(accuracy=tuple(curves), rate=()))
    return export.curves_for_print(figure, names, colors, paper.accuracy_range(curves))


def _files(made: Mapping[str, go.Figure], kind: str, size: export.ImageSize) -> dict[str, bytes]:
    if kind == "html":
        return {name: plots.html_page(figure).encode() for name, figure in made.items()}
    return export.render_images(made, "png" if kind == "png" else "svg", size)


def _tables(study: StudyRow, speeds: Sequence[paper.Speed]) -> dict[str, bytes]:
    """Fig. 4b as CSV and as Markdown."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(paper.speed_rows(speeds))
    return {
        "fig4b-speed.csv": text.getvalue().encode(),
        "fig4b-speed.md": paper.speed_markdown(speeds, paper.caption(study.identity)).encode(),
    }
