"""The figures of a study as files for a paper: `report --figures`."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fastrcaps_dse.analysis.results import find_trial, front_of, standings_of
from fastrcaps_dse.analysis.views import results_of
from fastrcaps_dse.cli.app import chosen_objectives, hint, open_store, say, write_bytes
from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.figures import export, paper, plots
from fastrcaps_dse.figures.pdf import in_inches, in_pixels, render_pdfs
from fastrcaps_dse.figures.printed import Line, Mark, printed_curves, printed_scatter, wants_error
from fastrcaps_dse.figures.sheet import COLUMN_INCHES, PER_INCH, Printed, Sheet
from fastrcaps_dse.problem.objectives import titled
from fastrcaps_dse.store import Key

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from fastrcaps_dse.analysis.results import Results
    from fastrcaps_dse.problem.objectives import Objective
    from fastrcaps_dse.store import StudyRow, TrialRow

Format = Literal["svg", "png", "pdf", "html"]
FORMATS: tuple[Format, ...] = ("svg", "png", "pdf", "html")
DOTS_PER_INCH = 600  # of a PNG whose size is that of a column
GROUPS = ("front", "named", "all")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command line asks of the figures."""

    kind: str | None = None  # format
    width: int | None = None  # px
    height: int | None = None  # px
    columns: int | None = None  # of a journal
    designs: str | None = None  # front, named, all, or numbers and names
    error: bool | None = None  # accuracies as errors; None where all are above 90 %


@dataclass(frozen=True, kw_only=True)
class _Study:
    """A study and what of it is plotted."""

    row: StudyRow
    trials: Sequence[TrialRow]
    front: Sequence[TrialRow]
    objectives: Sequence[Objective]
    chosen: Sequence[TrialRow]  # the designs with labels and curves
    info: paper.PaperInfo


def write_figures(
    folder: Path,
    wanted: Wanted,
    *,
    storage: str | None,
    study: str | None,
    objectives: str | None,
    anytime: bool | None = None,
) -> None:
    """Write the paper's figures of a study, and print their paths. Raises InputError, MachineError; then nothing is written."""
    kind = wanted.kind or "svg"
    if kind not in FORMATS:
        raise InputError(f"unknown format {kind!r}", nearest(kind, FORMATS))
    sheet, scale = _sheet(wanted, kind)
    ours = open_store(storage)
    row = ours.study(study)
    results = results_of(ours, row, anytime, chosen_objectives(row, objectives))
    if not any(trial.measurement for trial in results.rows):
        raise InputError(f"the study {row.name!r} has no measured design yet", "run `fastrcaps-dse explore` first")
    found = _gathered(results, wanted.designs)
    info = found.info
    files = _as_html(found) if kind == "html" else _as_images(found, sheet, scale, kind, wanted.error)
    files |= _key(found)
    if info.speeds:
        files |= _tables(row, info.speeds)
    for name, data in files.items():
        write_bytes(folder / name, data)
        say(folder / name)
    if lacking := paper.lacking(info):
        hint(f"{row.name} {lacking}")
    curves = len({trial.trial for trial in found.chosen})
    if curves > paper.MOST_CURVES:
        hint(f"curves of the {paper.MOST_CURVES} most accurate of {curves} designs; --designs chooses others")


def _gathered(results: Results, designs: str | None) -> _Study:
    """What is plotted of a study that has measured designs, and which of them have labels and curves. Raises InputError."""
    row, trials, plotted = results.study, results.rows, titled(results.objectives, results.anytime)
    front = front_of(trials, plotted)
    chosen = chosen_designs(designs, [trial for trial in trials if trial.measurement], front, row.name)
    info = paper.paper_info(
        _trained(results),
        front,
        results.epoch_rows,
        epochs=row.identity["epochs"],
        images=row.train_images,
        scale_decay=row.identity.get("scale_decay", False),
        chosen=chosen if designs is not None else None,
    )
    return _Study(row=row, trials=trials, front=front, objectives=plotted, chosen=chosen, info=info)


def info_of(results: Results) -> paper.PaperInfo:
    """What the paper's figures show of a study."""
    return _gathered(results, None).info


def printed_figures(results: Results) -> tuple[dict[str, Printed], paper.PaperInfo]:
    """(the paper's figures of a study at the width of a column, by name; what they show). No figure without a measured design."""
    found = _gathered(results, None)
    return (_printed(found, Sheet(), None) if any(trial.measurement for trial in results.rows) else {}), found.info


def _trained(results: Results) -> list[TrialRow]:
    """The designs whose curves are plotted: those that are measured, and in the anytime view others as far as they are trained."""
    whole = {trial.trial: trial for trial in results.whole}
    if results.anytime:
        measured = [point for point in results.rows if point.measurement is not None]
        whole |= {point.trial: point for point in measured if whole[point.trial].measurement is None}
    return list(whole.values())


def _sheet(wanted: Wanted, kind: str) -> tuple[Sheet, float]:
    """(the sheet of the figures, pixels of an image for each of its CSS pixels). Raises InputError."""
    if kind == "html":
        if (wanted.width, wanted.height, wanted.columns) != (None, None, None):
            raise InputError("an HTML figure is as large as its window", "leave --width, --height and --columns, or choose svg")
        return Sheet(), 1.0
    if wanted.width is None and wanted.height is None:
        return Sheet(columns=wanted.columns or 1), DOTS_PER_INCH / PER_INCH if kind == "png" else 1.0
    if wanted.columns is not None:
        raise InputError("--columns and --width both say how wide a figure is", "give one of them")
    defaults = export.ImageSize()
    width, height = (
        default if asked is None else asked
        for asked, default in ((wanted.width, defaults.width), (wanted.height, defaults.height))
    )
    size = export.ImageSize(width=width, height=height)
    across = COLUMN_INCHES[2] * PER_INCH
    return Sheet(columns=2, width=across, height=across * size.height / size.width), size.width / across


def chosen_designs(text: str | None, measured: Sequence[TrialRow], front: Sequence[TrialRow], study: str) -> list[TrialRow]:
    """The measured designs that `text` names: front (the default), named, all, or numbers and names of named designs, with commas.

    Raises InputError.
    """
    named = paper.named_trials(measured)
    if text is None or text == "front":
        return list(front)
    if text in GROUPS:
        numbers = {trial.trial for trial in (measured if text == "all" else named.values())}
        return [trial for trial in measured if trial.trial in numbers]
    found: dict[Key, TrialRow] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part.isdecimal():
            number = find_trial(measured, int(part), study).trial
        elif part in named:
            number = named[part].trial
        else:
            names = [*GROUPS, *named, *(str(trial.trial) for trial in measured)]
            raise InputError(f"the study {study!r} has no measured design {part!r}", nearest(part, names))
        found |= {trial.key: trial for trial in measured if trial.trial == number}
    if not found:
        raise InputError("--designs names no design", "e.g. --designs 3,7,12, or front, named, all")
    return list(found.values())


# --- figures ----------------------------------------------------------------------------------------------------------


def _as_images(found: _Study, sheet: Sheet, scale: float, kind: str, error: bool | None) -> dict[str, bytes]:
    """The figures as they are printed, by file name."""
    made = _printed(found, sheet, error)
    layouts = {
        name: export.Layout(width=one.width, height=one.height, scale=1.0 if kind == "pdf" else scale)
        for name, one in made.items()
    }
    figures = {name: one.figure for name, one in made.items()}
    images = export.render_images(figures, "png" if kind == "png" else "svg", layouts)
    if kind == "pdf":
        images = render_pdfs(images, layouts)
    if kind == "svg":
        sized = in_inches if scale == 1.0 else in_pixels
        images = {name: sized(image, layouts[name]) for name, image in images.items()}
    for name, one in made.items():
        if one.unlabeled:
            hint(f"{name}: {one.unlabeled} of the chosen designs have no room for a label; the key has all")
    return {f"{name}.{kind}": data for name, data in images.items()}


def _printed(found: _Study, sheet: Sheet, error: bool | None) -> dict[str, Printed]:
    """The printed figures by name."""
    marks, made = _marks(found), {}
    axes = found.objectives if len(found.objectives) > 1 else plots.plotted_axes(_scatter(found))
    for pair in itertools.combinations(axes, 2):
        name = "-".join(["fig8ab-pareto", *(o.name.replace(":", "-") for o in pair)])
        made[name] = printed_scatter(marks, pair, found.objectives, sheet, error=error)
    for name, curves in (("fig4a-accuracy", found.info.named), ("fig8c-accuracy", found.info.accuracy)):
        if curves:
            made[name] = _accuracies(curves, sheet, error)
    if found.info.rate:
        lines = [Line(d.curve.name, d.curve.x, d.curve.y, None, d.color) for d in found.info.rate]
        span = (0.0, float(found.row.identity["epochs"]))
        made["fig8d-learning-rate"] = printed_curves(lines, sheet, title="learning rate", log=True, x_range=span)
    return dict(sorted(made.items()))


def _accuracies(curves: Sequence[paper.ColoredCurve], sheet: Sheet, error: bool | None) -> Printed:
    """The curves of accuracies, or of errors on a logarithmic axis."""
    highest = [max(d.curve.y) for d in curves]
    if not wants_error(highest, error):
        lines = [Line(d.curve.name, d.curve.x, d.curve.y, d.error, d.color) for d in curves]
        return printed_curves(lines, sheet, title="accuracy (%)", y_range=paper.accuracy_range([d.curve for d in curves]))
    lines = [Line(d.curve.name, d.curve.x, tuple(100 - acc for acc in d.curve.y), d.error, d.color) for d in curves]
    return printed_curves(lines, sheet, title="error, 100 − accuracy (%)", log=True)  # noqa: RUF001


def _marks(found: _Study) -> list[Mark]:
    """The measured designs; the chosen ones are labeled."""
    sure = standings_of(found.trials, found.objectives)
    labeled = {trial.key for trial in found.chosen}
    marks = []
    for point in _scatter(found).points:
        key = point.trial, point.stop_after
        errors = sure[key].errors(found.objectives) or {}
        marks.append(Mark(point.trial, point.values, errors, point.on_front, key in labeled, point.stop_after))
    return marks


def _scatter(found: _Study) -> plots.ParetoInfo:
    return plots.pareto_info(found.trials, found.front, found.objectives)


def _as_html(found: _Study) -> dict[str, bytes]:
    """The figures as pages that can be turned and zoomed, by file name."""
    scatter = _scatter(found)
    made = {"fig8ab-pareto": export.for_print(plots.pareto_figure(scatter))}
    if len(plots.plotted_axes(scatter)) > 2:
        made["fig8ab-pareto-flat"] = export.for_print(export.flat_pareto(scatter))
    info = found.info
    for name, drawn in (("fig4a-accuracy", info.named), ("fig8c-accuracy", info.accuracy), ("fig8d-learning-rate", info.rate)):
        if drawn:
            made[name] = _curves(name, [d.curve for d in drawn], [d.color for d in drawn])
    return {f"{name}.html": plots.html_page(figure).encode() for name, figure in sorted(made.items())}


def _curves(name: str, curves: list[plots.Curve], colors: list[int]) -> go.Figure:
    """Accuracies, or learning rates, over epochs."""
    names = [curve.name for curve in curves]
    if name.endswith("learning-rate"):
        figure = plots.rate_figure(plots.CurvesInfo(accuracy=(), rate=tuple(curves)))
        return export.curves_for_print(figure, names, colors)
    figure = plots.accuracy_figure(plots.CurvesInfo(accuracy=tuple(curves), rate=()))
    return export.curves_for_print(figure, names, colors, paper.accuracy_range(curves))


# --- tables -----------------------------------------------------------------------------------------------------------


def _key(found: _Study) -> dict[str, bytes]:
    """What the numbers in the figures stand for, as CSV: the designs that are labeled or on the front."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    members, labeled = {trial.key for trial in found.front}, {trial.key for trial in found.chosen}
    listed = [trial for trial in found.trials if trial.key in members | labeled]
    stops = ["stop_after"] if any(trial.stop_after is not None for trial in listed) else []
    writer.writerow(["trial", *stops, "label", *(o.name for o in found.objectives), "seeds", "on_front"])
    for trial in listed:
        if trial.measurement is not None:
            values = [trial.measurement[o.name] for o in found.objectives]
            number = [trial.trial, trial.stop_after] if stops else [trial.trial]
            writer.writerow([*number, trial.label, *values, trial.seeds, trial.key in members])
    return {"key.csv": text.getvalue().encode()}


def _tables(study: StudyRow, speeds: Sequence[paper.Speed]) -> dict[str, bytes]:
    """Fig. 4b as CSV and as Markdown."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(paper.speed_rows(speeds))
    return {
        "fig4b-speed.csv": text.getvalue().encode(),
        "fig4b-speed.md": paper.speed_markdown(speeds, paper.caption(study.identity)).encode(),
    }
