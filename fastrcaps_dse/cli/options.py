"""The options that commands share, in groups: a command takes a group as one parameter, and `--help` shows it as a panel."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from fastrcaps_dse.cli.log import be_verbose

if TYPE_CHECKING:
    from fastrcaps_dse.analysis.picks import Limit

WHAT, LIMITS, SPEND, WHERE = "What to explore", "Limits", "How to spend the time", "Where it runs"


StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="SQLAlchemy URL or SQLite file; default FASTRCAPS_STORAGE or studies/fastrcaps.db.",
        rich_help_panel=WHERE,
    ),
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
VerboseOption = Annotated[bool, typer.Option("--verbose", callback=be_verbose, help="Show the log.")]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where data sets are, and are downloaded to; default data/.", rich_help_panel=WHAT),
]


RelabelOption = Annotated[
    bool,
    typer.Option("--relabel", help="Number the classes that occur 0, 1, ..., if the labels have gaps.", rich_help_panel=WHAT),
]
TestShareOption = Annotated[
    float | None,
    typer.Option(
        "--test-share",
        help="Share of the images of each class that is for testing, e.g. 0.2, for data without a test set.",
        rich_help_panel=WHAT,
    ),
]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which images."""

    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="A name (see `doctor`), or a folder or .npz file of your own.", rich_help_panel=WHAT),
    ] = None
    data_dir: DataDirOption = None
    relabel: RelabelOption = False
    test_share: TestShareOption = None


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a design is trained."""

    epochs: Annotated[int | None, typer.Option("--epochs", help="Epochs of a run.", rich_help_panel=WHAT)] = None
    seeds: Annotated[int | None, typer.Option("--seeds", help="Runs of each design, averaged.", rich_help_panel=WHAT)] = None
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="validation (held-out images select the epoch), paper (the test set does) or all-images (the last epoch).",
            rich_help_panel=WHAT,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """Limits on designs."""

    max_params: Annotated[
        str | None, typer.Option("--max-params", help="Parameters at most, e.g. 7M.", rich_help_panel=LIMITS)
    ] = None
    max_time: Annotated[
        str | None, typer.Option("--max-time", help="Time to max accuracy at most, e.g. 10m.", rich_help_panel=LIMITS)
    ] = None
    min_acc: Annotated[
        str | None, typer.Option("--min-acc", help="Accuracy at least, in percent, e.g. 99.2.", rich_help_panel=LIMITS)
    ] = None
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            help='On any objective, e.g. "macs<=200M", "latency<=5ms"; may be repeated.',
            metavar="LIMIT",
            rich_help_panel=LIMITS,
        ),
    ] = None

    def limits(self) -> list[Limit]:
        """The limits that are given. Raises InputError."""
        given = {("params", "max"): self.max_params, ("time", "max"): self.max_time, ("acc", "min"): self.min_acc}
        return parse_limits(given, self.limit)


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """What trains."""

    device: Annotated[
        str | None,
        typer.Option("--device", help="cuda, mps or cpu; default the first that this machine has.", rich_help_panel=WHERE),
    ] = None
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="Of the convolutions: float32 or bfloat16; default the one that is fast on the device.",
            rich_help_panel=WHERE,
        ),
    ] = None


def parse_limits(given: Mapping[tuple[str, str], str | None], texts: Sequence[str] | None) -> list[Limit]:
    """Limits from options by (objective, bound), and from --limit. Raises InputError."""
    from fastrcaps_dse.analysis import picks

    limits = [picks.parse_limit(name, bound, text) for (name, bound), text in given.items() if text is not None]
    return [*limits, *picks.parse_limits(texts or [])]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command for Typer from one that takes groups of options: each field of a group becomes an option of its own."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if not is_dataclass(kind):
            parameters.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[name] = kind
        field_hints = get_type_hints(kind, include_extras=True)
        for f in fields(kind):
            parameters.append(
                inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=field_hints[f.name])
            )

    @functools.wraps(command)
    def flat(**given: Any) -> None:
        made = {name: kind(**{f.name: given.pop(f.name) for f in fields(kind)}) for name, kind in groups.items()}
        command(**given, **made)

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat
