"""The application and what its commands share: exit codes, output, the chosen study."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from fastrcaps_dse import __version__, interruption
from fastrcaps_dse.cli.log import be_quiet, be_verbose, is_quiet
from fastrcaps_dse.errors import MachineError, visible

if TYPE_CHECKING:
    import pandas as pd

    from fastrcaps_dse.problem.objectives import Objective
    from fastrcaps_dse.store import Store, StudyRow

VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", callback=be_verbose, help="Show the log, too.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", callback=be_quiet, help="Show no progress and no hints: only warnings and errors.")
]


class _InWords:
    """Its --help names what an option takes in words, and no type beside a switch or an argument."""

    params: list[Any]

    def get_help_option(self, ctx: Any) -> Any:
        """See click."""
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.metavar, option.help = "", "Show this text."
        return option

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """See click."""
        for param in self.params:
            if isinstance(param, TyperArgument):
                param.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
            elif getattr(param, "is_flag", False) or param.name in ("install_completion", "show_completion"):
                param.metavar = ""
        super().format_help(ctx, formatter)  # type: ignore[misc]


class Group(_InWords, TyperGroup):
    """All commands."""


class Command(_InWords, TyperCommand):
    """One command."""


app = typer.Typer(
    name="fastrcaps-dse",
    cls=Group,
    help="Find the Capsule Network that suits your data and goals: explore its design space, see the Pareto front, pick.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

FAILED, WRONG_USAGE, NOTHING_FITS, INTERRUPTED = 1, 2, 3, interruption.CODE


def _version(value: bool) -> None:
    if value:
        print(f"fastrcaps-dse {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(WRONG_USAGE)


def say(text: object) -> None:
    """A line of data on stdout; what a terminal would take as a command is escaped."""
    print(visible(str(text)))


def hint(text: str, *, always: bool = False) -> None:
    """A line on stderr, beside the data; a quiet command leaves it out, unless it is said `always`."""
    if always or not is_quiet():
        print(visible(text, "\n"), file=sys.stderr)


def print_json(record: Any) -> None:
    """JSON on stdout."""
    print(json.dumps(record, indent=2))


def print_csv(frame: pd.DataFrame, columns: Iterable[str] | None = None) -> None:
    """The columns of a DataFrame as CSV on stdout; missing values are empty. Nothing for no rows."""
    if len(frame):
        text = frame.to_csv(index=False, columns=None if columns is None else list(columns), lineterminator="\n")
        sys.stdout.write(visible(text, "\n") if sys.stdout.isatty() else text)


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
