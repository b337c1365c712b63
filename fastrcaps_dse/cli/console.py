"""What goes to stdout: tables, plots, lines."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from fastrcaps_dse.cli.layout import Column, Table
from fastrcaps_dse.cli.streams import is_unicode
from fastrcaps_dse.figures.plots import ParetoInfo
from fastrcaps_dse.figures.terminal import ASCII, LEAST_HEIGHT, UNICODE, pareto_lines
from fastrcaps_dse.problem.objectives import Objective, with_basic
from fastrcaps_dse.problem.quantities import format_seconds, format_value
from fastrcaps_dse.problem.space import DesignPoint, design_from_dict
from fastrcaps_dse.problem.study_spec import dataset_text

if TYPE_CHECKING:
    import pandas as pd

    from fastrcaps_dse.store import EpochRow, Worker

REDUNDANT = {"lr policy": 6, "batch": 5, "weight sharing": 4, "decoder": 3}
"""The columns that the design's label says already, and how early each leaves a table that is too wide."""
PIPED_PLOT_WIDTH, PLOT_HEIGHT = 100, 22  # columns if stdout is not a terminal; lines at most
PLOT_STYLES = {"front": "bold bright_red", "dominated": "cyan", "frame": "dim", "text": ""}


def stderr() -> Console:
    """The terminal of progress and hints."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_plot(info: ParetoInfo) -> None:
    """The Pareto scatter on stdout, as wide as the terminal, in characters that its encoding has."""
    console = Console(highlight=False)
    wide = console.is_terminal or "COLUMNS" in os.environ
    height = max(LEAST_HEIGHT, min(PLOT_HEIGHT, console.height - 2)) if console.is_terminal else PLOT_HEIGHT
    signs = UNICODE if is_unicode() else ASCII
    for line in pareto_lines(info, width=console.width if wide else PIPED_PLOT_WIDTH, height=height, signs=signs):
        styled = Text.assemble(*((span.text, PLOT_STYLES[span.kind]) for span in line))
        fits = not wide or styled.cell_len <= console.width  # the line that explains the marks may wrap
        console.print(styled, no_wrap=fits, crop=False, overflow="ignore" if fits else "fold")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None, right: Sequence[str] = ()) -> Table:
    """A plain table; the columns named in `right` are numbers, the others are texts that may wrap."""
    columns = [Column(head=head, number=head in right, wraps=head not in right) for head in heads]
    return Table(columns=columns, rows=rows, title=title)


def studies_table(rows: Sequence[Mapping[str, Any]], *, wide: bool = False) -> Table:
    """Studies, records of `records.study_record`; no column for states that no trial has. `wide` names the hosts of the workers."""
    counts = ("epochs", "seeds", "designs", "running", "interrupted", "failed", "front", "workers")
    some = ("running", "interrupted", "workers", *(["hosts"] if wide else []))  # have a column if there are any
    left_out = {head for head in some if not any(row[head] for row in rows)} | ({"hosts"} - set(some)) | {"train_images"}
    heads = [head for head in rows[0] if head not in left_out]
    leaves = {"seeds": 1, "epochs": 2, "protocol": 3, "objectives": 4}
    columns = [
        Column(
            head=head,
            number=head in counts,
            wraps=head in ("study", "dataset", "objectives", "hosts"),
            leaves=leaves.get(head, 0),
        )
        for head in heads
    ]
    texts = [{**row, "dataset": dataset_text(row)} for row in rows]
    return Table(columns=columns, rows=[[str(row[head]) for head in heads] for row in texts])


def workers_table(workers: Sequence[Worker]) -> Table:
    """Workers, each with the run that it trains."""
    columns = [
        Column(head="study", wraps=True, leaves=4),
        Column(head="host", wraps=True),
        Column(head="process", number=True),
        Column(head="device", wraps=True, leaves=2),
        Column(head="trial", number=True),
        Column(head="design", wraps=True, leaves=3),
        Column(head="seed", number=True, leaves=1),
        Column(head="epoch", number=True),
        Column(head="last sign of life"),
    ]
    rows = [
        [
            *(w.study, w.host, str(w.process), w.device or "-", str(w.trial), w.label, str(w.seed)),
            *(f"{w.epoch} of {w.epochs}", f"{format_seconds(w.silent)} ago{'' if w.is_alive else ', taken for dead'}"),
        ]
        for w in workers
    ]
    return Table(columns=columns, rows=rows)


def values_text(values: Mapping[str, float], *, estimated: bool = False) -> str:
    """Objective values in a line; `estimated` marks times."""
    return ", ".join(f"{name} {format_value(name, value, estimated=estimated)}" for name, value in values.items())


def epoch_line(epoch: EpochRow) -> str:
    """An epoch in a line."""
    tested = "" if epoch.test_acc is None else f"test acc {epoch.test_acc:.2f} %, "
    return (
        f"epoch {epoch.epoch:3d}: batch {epoch.batch_size:3d}, {epoch.steps} steps, lr {epoch.lr_first:.2e} to {epoch.lr_last:.2e}, "
        f"margin loss {epoch.margin_loss:.4f}, reconstruction loss {epoch.reconstruction_loss:.4f}, acc {epoch.acc:.2f} %, {tested}"
        f"{format_seconds(epoch.train_seconds)} training, {format_seconds(epoch.eval_seconds)} evaluation"
    )


def designs_table(
    frame: pd.DataFrame, title: str, objectives: Sequence[Objective] = (), *, wide: bool = False, states: bool = False
) -> Table:
    """Designs, rows of `Results.trials`, with the basic objectives and those given, and how sure they are if that is known.

    `wide` writes each design in full. `states` adds whether a design is done, and on the front, and who trains
    those that are running.
    """
    measured = with_basic(objectives)
    is_sure = "front_probability" in frame
    has_workers = states and bool(frame["worker"].notna().any())
    is_anytime = "stop_after" in frame
    columns = [
        Column(head="trial", number=True),
        Column(head="design", wraps=True),
        *([Column(head="stop after")] if is_anytime else []),
        *(Column(head=head, leaves=leaves) for head, leaves in REDUNDANT.items()),
        *([Column(head="state")] if states else []),
        *([Column(head="worker", wraps=True)] if has_workers else []),
        *(Column(head=o.name, number=True) for o in measured),
        Column(head="test acc", number=True, leaves=1),
        *([Column(head="test robust", number=True, leaves=1)] if "test_robust" in frame else []),
        Column(head="seeds", number=True, leaves=2),
        *([Column(head="P(front)", number=True)] if is_sure else []),
    ]
    rows = []
    for row in frame.to_dict("records"):
        cells = [str(row["trial"]), _in_full(row) if wide else row["label"], *([_stop_text(row)] if is_anytime else [])]
        cells += [row["lr_policy"], row["batch_schedule"]]
        cells += ["yes" if row["weight_sharing"] else "no", row["decoder"]]
        cells += [row["state"] + (", on the front" if row["on_front"] else "")] if states else []
        cells += [row["worker"] if isinstance(row["worker"], str) else ""] if has_workers else []
        cells += [_value_text(o.name, row) for o in measured]
        tested = [row[name] for name in ("test_acc", "test_robust") if name in frame]
        cells += ["-" if _missing(value) else format_value("acc", value) for value in tested]
        cells += [str(row["seeds"])]
        rows.append([*cells, *([_chance_text(row)] if is_sure else [])])
    return Table(columns=columns, rows=rows, title=title)


def _stop_text(row: Mapping[str, Any]) -> str:
    """After how many epochs of how many a design is stopped; nothing where it has none yet."""
    return "" if _missing(row["stop_after"]) else f"{row['stop_after']} of {row['epochs_in_all']}"


def _in_full(row: Mapping[str, Any]) -> str:
    """The key of a design in a row."""
    return design_from_dict({f.name: row[f.name] for f in fields(DesignPoint) if f.name in row}).key


def _value_text(name: str, row: Mapping[str, Any]) -> str:
    """A value with its standard error; a dash where it is not measured."""
    value = row.get(name)
    if value is None or _missing(value):
        return "-"
    return format_value(name, float(value), estimated=row["time_estimated"]) + _error_text(row.get(f"{name}_error"))


def _chance_text(row: Mapping[str, Any]) -> str:
    """How probable it is that a design is on the front."""
    if _missing(row["front_probability"]):
        return "-"
    return f"{row['front_probability']:.2f}{' tied' if row['tied'] else ''}"


def _missing(value: float | None) -> bool:
    """Whether a number of a DataFrame is missing."""
    return not isinstance(value, (int, float)) or math.isnan(value)  # pandas has a mark of its own for whole numbers


def _error_text(error: float | None) -> str:
    """The standard error behind a value: " ±0.12"; nothing where it is exact or unknown."""
    return f" ±{error:.2g}" if error and not _missing(error) else ""
