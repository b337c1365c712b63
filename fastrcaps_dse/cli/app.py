"""The application and what its commands share: options, exit codes, small helpers."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastrcaps_dse import __version__
from fastrcaps_dse.errors import MachineError

if TYPE_CHECKING:
    from fastrcaps_dse.analysis.picks import Limit
    from fastrcaps_dse.problem.objectives import Objective
    from fastrcaps_dse.store import Store, StudyRow

app = typer.Typer(
    name="fastrcaps-dse",
    help="Find the Capsule Network that suits your data and goals: explore its design space, see the Pareto front, pick.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

FAILED, WRONG_USAGE, NOTHING_FITS, INTERRUPTED = 1, 2, 3, 130

StorageOption = Annotated[
    str | None,
    typer.Option("--storage", help="SQLAlchemy URL or SQLite file; default FASTRCAPS_STORAGE or studies/fastrcaps.db."),
]
StudyOption = Annotated[str | None, typer.Option("--study", help="Name of the study; default the newest.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
ObjectivesOption = Annotated[
    str | None,
    typer.Option(
        "--objectives",
        help="Of acc, time, params, epochs, macs, memory, latency, time_to:ACC; default the study's.",
        metavar="NAMES",
    ),
]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Where data sets are, and are downloaded to; default data/.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="cuda, mps or cpu; default the first that is there.")]
PrecisionOption = Annotated[
    str | None, typer.Option("--precision", help="Of the convolutions: float32 or bfloat16; default what the device does fast.")
]
DatasetOption = Annotated[str | None, typer.Option("--dataset", help="A name (see `doctor`) or a folder of your own.")]
MaxParamsOption = Annotated[str | None, typer.Option("--max-params", help="At most so many, e.g. 7M.")]
MaxTimeOption = Annotated[str | None, typer.Option("--max-time", help="At most so long, e.g. 10m.")]
MinAccOption = Annotated[str | None, typer.Option("--min-acc", help="At least so accurate, in percent, e.g. 99.2.")]
LimitOption = Annotated[
    list[str] | None,
    typer.Option("--limit", help='Of any objective, e.g. "macs<=200M", "latency<=5ms"; may be repeated.', metavar="LIMIT"),
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Epochs of a run.")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", help="Runs of each design, averaged.")]
ProtocolOption = Annotated[
    str | None,
    typer.Option("--protocol", help="validation (select on held-out images, test once) or paper (select on the test set)."),
]


def _version(value: bool) -> None:
    if value:
        print(f"fastrcaps-dse {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(WRONG_USAGE)


def hint(text: str) -> None:
    """A line for a person, beside the data."""
    print(text, file=sys.stderr)


def print_json(record: Any) -> None:
    print(json.dumps(record, indent=2))


def print_csv(rows: Iterable[Iterable[Any]]) -> None:
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)


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


def given_limits(given: Mapping[tuple[str, str], str | None], texts: Sequence[str] | None) -> list[Limit]:
    """Limits from options by (objective, bound), and from --limit. Raises InputError."""
    from fastrcaps_dse.analysis import picks

    limits = [picks.parse_limit(name, bound, text) for (name, bound), text in given.items() if text is not None]
    return [*limits, *picks.parse_limits(texts or [])]


def open_store(storage: str | None) -> Store:
    from fastrcaps_dse import store

    return store.Store(store.open_url(storage))


def chosen_objectives(study: StudyRow, text: str | None) -> tuple[Objective, ...]:
    from fastrcaps_dse.problem.objectives import parse_objectives

    return parse_objectives(text) if text is not None else study.objectives
