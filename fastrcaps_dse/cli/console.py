"""What goes to stdout: tables, plots, lines."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fastrcaps_dse.figures.plots import ParetoInfo
from fastrcaps_dse.figures.terminal import ASCII, LEAST_HEIGHT, UNICODE, pareto_lines
from fastrcaps_dse.problem.objectives import Objective, with_basic
from fastrcaps_dse.problem.quantities import format_seconds, format_value

if TYPE_CHECKING:
    import pandas as pd

    from fastrcaps_dse.store import EpochRow

PIPED_WIDTH = 160  # columns, if stdout is not a terminal
PIPED_PLOT_WIDTH, PLOT_HEIGHT = 100, 22  # columns if stdout is not a terminal; lines at most
PLOT_STYLES = {"front": "bold bright_red", "dominated": "cyan", "frame": "dim", "text": ""}


def stderr() -> Console:
    """The terminal of progress and hints."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_table(rows: Table) -> None:
    """A table on stdout; wide enough for all of it if stdout is not a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=PIPED_WIDTH)
    console.print(rows)


def print_plot(info: ParetoInfo) -> None:
    """The Pareto scatter on stdout, as wide as the terminal, in characters that its encoding has."""
    console = Console(highlight=False)
    wide = console.is_terminal or "COLUMNS" in os.environ
    height = max(LEAST_HEIGHT, min(PLOT_HEIGHT, console.height - 2)) if console.is_terminal else PLOT_HEIGHT
    signs = UNICODE if "utf" in (sys.stdout.encoding or "").lower() else ASCII
    for line in pareto_lines(info, width=console.width if wide else PIPED_PLOT_WIDTH, height=height, signs=signs):
        styled = Text.assemble(*((span.text, PLOT_STYLES[span.kind]) for span in line))
        console.print(styled, no_wrap=True, crop=False, overflow="ignore")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None, right: Sequence[str] = ()) -> Table:
    """A plain table; the columns named in `right` are numbers."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for head in heads:
        made.add_column(head, justify="right" if head in right else "left")
    for row in rows:
        made.add_row(*map(escape, row))
    return made


def values_text(values: Mapping[str, float]) -> str:
    """Objective values in a line."""
    return ", ".join(f"{name} {format_value(name, value)}" for name, value in values.items())


def epoch_line(epoch: EpochRow) -> str:
    """An epoch in a line."""
    return (
        f"epoch {epoch.epoch:3d}: batch {epoch.batch_size:3d}, {epoch.steps} steps, lr {epoch.lr_first:.2e} to {epoch.lr_last:.2e}, "
        f"margin loss {epoch.margin_loss:.4f}, reconstruction loss {epoch.reconstruction_loss:.4f}, acc {epoch.acc:.2f} %, "
        f"{format_seconds(epoch.train_seconds)} training, {format_seconds(epoch.eval_seconds)} evaluation"
    )


def designs_table(frame: pd.DataFrame, title: str, objectives: Sequence[Objective] = ()) -> Table:
    """Designs, rows of `Results.trials`, with the basic objectives and those given, and how sure they are if that is known."""
    columns = with_basic(objectives)
    names = [o.name for o in columns]
    heads = ["trial", "design", "lr policy", "batch", "weight sharing", "decoder", *names, "test acc", "seeds"]
    is_sure = "front_probability" in frame
    rows = []
    for row in frame.to_dict("records"):
        cells = [str(row["trial"]), row["label"], row["lr_policy"], row["batch_schedule"]]
        cells += ["yes" if row["weight_sharing"] else "no", row["decoder"]]
        cells += [format_value(o.name, row[o.name]) + _error_text(row.get(f"{o.name}_error")) for o in columns]
        cells += ["-" if _missing(row["test_acc"]) else format_value("acc", row["test_acc"]), str(row["seeds"])]
        rows.append([*cells, f"{row['front_probability']:.2f}{' tied' if row['tied'] else ''}"] if is_sure else cells)
    if is_sure:
        heads.append("P(front)")
    return table(heads, rows, title=title, right=["trial", *names, "test acc", "seeds"])


def _missing(value: float | None) -> bool:
    """Whether a number of a DataFrame is missing."""
    return value is None or math.isnan(value)


def _error_text(error: float | None) -> str:
    """The standard error behind a value: " ±0.12"; nothing where it is exact or unknown."""
    return f" ±{error:.2g}" if error and not _missing(error) else ""
