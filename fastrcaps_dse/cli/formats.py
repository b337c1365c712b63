"""Tables on stdout in the form that is asked for: for reading, for other software, for a paper."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from fastrcaps_dse.cli.app import hint, print_csv, print_json
from fastrcaps_dse.cli.completing import complete_format
from fastrcaps_dse.errors import InputError, nearest, visible

if TYPE_CHECKING:
    import pandas as pd

    from fastrcaps_dse.cli.layout import Table

Format = Literal["table", "csv", "json", "markdown", "latex"]
FORMATS: tuple[Format, ...] = get_args(Format)
_LATEX = {c: f"\\{c}" for c in "#$%&_{}"} | {
    **{
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    },
    **{
        "±": r"$\pm$",
        "·": r"$\cdot$",
        "…": r"\dots{}",
        "→": r"$\to$",
        "\N{MULTIPLICATION SIGN}": r"$\times$",
        "|": r"\textbar{}",
        '"': "''",
    },
}


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """How a table is printed."""

    table_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="table (the default), csv, json, markdown, or latex (booktabs).",
            metavar="FORMAT",
            autocompletion=complete_format,
        ),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: --format json.")] = False
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV: --format csv.")] = False
    wide: Annotated[bool, typer.Option("--wide", help="Print all columns and full texts, whatever the width.")] = False

    @property
    def form(self) -> Format:
        """The form that is asked for. Raises InputError for an unknown one, or for two."""
        given = self.table_format
        if given is not None and given not in FORMATS:
            raise InputError(f"unknown format {given!r}", nearest(given, FORMATS))
        asked: set[Format] = {f for f in FORMATS if f == given}
        asked |= {"json"} if self.as_json else set()
        asked |= {"csv"} if self.as_csv else set()
        if len(asked) > 1:
            options = " and ".join(f"--{name}" if name in ("json", "csv") else f"--format {name}" for name in sorted(asked))
            raise InputError(f"{options} are different formats", "give one of them")
        return asked.pop() if asked else "table"

    @property
    def for_reading(self) -> bool:
        """Whether it is a table in the terminal."""
        return self.form == "table"


def print_data(
    how: OutputOptions, table: Callable[[], Table], *, frame: Callable[[], pd.DataFrame], record: Callable[[], Any]
) -> None:
    """Print what is asked for: `table` for reading and for papers, `frame` as CSV, `record` as JSON."""
    match how.form:
        case "json":
            print_json(record())
        case "csv":
            print_csv(frame())
        case _:
            print_text_table(how, table())


def print_text_table(how: OutputOptions, table: Table) -> None:
    """A table for reading, or in Markdown or LaTeX."""
    match how.form:
        case "markdown":
            sys.stdout.write(markdown(table))
        case "latex":
            sys.stdout.write(latex(table))
        case _:
            print_table(table, wide=how.wide)


def print_table(table: Table, *, wide: bool = False) -> None:
    """A table on stdout, as wide as the terminal; as wide as it is where stdout is none, or with `wide`."""
    from rich.console import Console
    from rich.text import Text

    from fastrcaps_dse.cli.layout import lay_out, wrap

    console = Console(highlight=False)
    limited = not wide and (console.is_terminal or "COLUMNS" in os.environ)
    lines = lay_out(_visible(table), console.width if limited else None)

    def write(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), no_wrap=True, crop=False, overflow="ignore", soft_wrap=True)

    if table.title is not None:
        title = visible(table.title)
        for line in wrap(title, console.width) if limited else [title]:
            write(line)
    for number, (heads, rows) in enumerate(lines.parts):
        if number:
            write("")
        write(heads, "bold")
        for row in rows:
            write(row)
    if lines.left_out:
        hint(f"left out for lack of room: {', '.join(lines.left_out)} (--wide prints all)")


def _visible(table: Table) -> Table:
    from dataclasses import replace

    return replace(table, rows=[[visible(cell) for cell in row] for row in table.rows])


def markdown(table: Table) -> str:
    """The table as Markdown."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(re.sub(r"([\\|`*_<>\[\]])", r"\\\1", visible(cell)) for cell in cells) + " |\n"

    rule = "|" + "|".join(" ---: " if column.number else " --- " for column in table.columns) + "|\n"
    return line([column.head for column in table.columns]) + rule + "".join(line(list(row)) for row in table.rows)


def latex(table: Table) -> str:
    """The table as LaTeX, with the rules of booktabs."""

    def line(cells: list[str]) -> str:
        return "  " + " & ".join(escape_latex(visible(cell)) for cell in cells) + r" \\" + "\n"

    kinds = "".join("r" if column.number else "l" for column in table.columns)
    rows = "".join(line(list(row)) for row in table.rows)
    heads = line([column.head for column in table.columns])
    comment = "" if table.title is None else f"% {visible(table.title)}\n"
    begin, end = f"\\begin{{tabular}}{{{kinds}}}\n  \\toprule\n", "  \\bottomrule\n\\end{tabular}\n"
    return f"% \\usepackage{{booktabs}}\n{comment}{begin}{heads}  \\midrule\n{rows}{end}"


def escape_latex(text: str) -> str:
    """The text as LaTeX sets it."""
    return "".join(_LATEX.get(character, character) for character in text)
