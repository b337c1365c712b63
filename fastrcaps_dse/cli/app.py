"""The application and what its commands share: exit codes, output, the chosen study."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastrcaps_dse import __version__
from fastrcaps_dse.cli.options import VerboseOption
from fastrcaps_dse.errors import MachineError

if TYPE_CHECKING:
    import pandas as pd

    from fastrcaps_dse.problem.objectives import Objective
    from fastrcaps_dse.store import Store, StudyRow

app = typer.Typer(
    name="fastrcaps-dse",
    help="Find the Capsule Network that suits your data and goals: explore its design space, see the Pareto front, pick.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

FAILED, WRONG_USAGE, NOTHING_FITS, INTERRUPTED = 1, 2, 3, 130


def _version(value: bool) -> None:
    if value:
        print(f"fastrcaps-dse {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    verbose: VerboseOption = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(WRONG_USAGE)


def hint(text: str) -> None:
    """A line on stderr, beside the data."""
    print(text, file=sys.stderr)


def print_json(record: Any) -> None:
    """JSON on stdout."""
    print(json.dumps(record, indent=2))


def print_csv(frame: pd.DataFrame, columns: Iterable[str] | None = None) -> None:
    """The columns of a DataFrame as CSV on stdout; missing values are empty. Nothing for no rows."""
    if len(frame):
        frame.to_csv(sys.stdout, index=False, columns=None if columns is None else list(columns), lineterminator="\n")


def write_text(path: Path, text: str) -> None:
    """Write a file and its folder. Raises MachineError."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file and its folder. Raises MachineError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise MachineError(f"{path} cannot be written: {error.strerror}", "name another file") from None


def open_store(storage: str | None) -> Store:
    """The store that the user names, or the default one. Raises UserErrors."""
    from fastrcaps_dse import store

    return store.Store(store.open_url(storage))


def chosen_objectives(study: StudyRow, text: str | None) -> tuple[Objective, ...]:
    """The objectives that the user names, or those of the study. Raises InputError."""
    from fastrcaps_dse.problem.objectives import parse_objectives

    return parse_objectives(text) if text is not None else study.objectives
