"""The options that commands share, in groups: a command takes a group as one parameter, and `--help` shows it as a panel."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from fastrcaps_dse.cli.completing import (
    complete_data_set,
    complete_device,
    complete_objectives,
    complete_precision,
    complete_protocol,
    complete_study,
    complete_trial,
)

if TYPE_CHECKING:
    from fastrcaps_dse.analysis.picks import Limit

WHAT, LIMITS, SPEND, WHERE = "What to explore", "Limits", "How to spend the time", "Where it runs"


StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="The database: an SQLite file or an SQLAlchemy URL; default FASTRCAPS_STORAGE or studies/fastrcaps.db.",
        metavar="FILE",
        rich_help_panel=WHERE,
    ),
]
RunsOption = Annotated[
    str | None,
    typer.Option(
        "--runs",
        help="Folder or URL of checkpoints and weights, e.g. s3://BUCKET/FOLDER; default FASTRCAPS_RUNS, or beside the database.",
        metavar="PLACE",
        rich_help_panel=WHERE,
    ),
]
StudyOption = Annotated[
    str | None,
    typer.Option("--study", help="Name of the study; default the newest.", metavar="NAME", autocompletion=complete_study),
]
TrialArgument = Annotated[int, typer.Argument(help="The number of the trial.", metavar="TRIAL", autocompletion=complete_trial)]
StopAfterOption = Annotated[
    int | None,
    typer.Option("--stop-after", help="The design as it is if its run stops after this epoch.", metavar="EPOCH"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ObjectivesOption = Annotated[
    str | None,
    typer.Option(
        "--objectives",
        help="Some of acc, time, params, epochs, macs, memory, latency, robust, time_to:ACC; default those of the study.",
        metavar="NAMES",
        autocompletion=complete_objectives,
    ),
]
AnytimeOption = Annotated[
    bool | None,
    typer.Option(
        "--anytime/--whole-runs",
        help="Every epoch of a run as a design that one can have, or whole runs; default as the study was started.",
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="The folder with data sets, to which they are also downloaded; default data/.",
        metavar="FOLDER",
        rich_help_panel=WHAT,
    ),
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
        metavar="SHARE",
        rich_help_panel=WHAT,
    ),
]


TrainImagesOption = Annotated[
    int | None,
    typer.Option(
        "--train-images",
        help="How many of the training images train, the same of each class; default all.",
        metavar="COUNT",
        rich_help_panel=WHAT,
    ),
]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which images."""

    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="A name (see `doctor`), or a folder, .npz or .mat file of your own.",
            metavar="PATH_OR_NAME",
            autocompletion=complete_data_set,
            rich_help_panel=WHAT,
        ),
    ] = None
    data_dir: DataDirOption = None
    relabel: RelabelOption = False
    test_share: TestShareOption = None
    train_images: TrainImagesOption = None


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a design is trained."""

    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Number of epochs of a run.", metavar="COUNT", rich_help_panel=WHAT)
    ] = None
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", help="Number of runs of each design, averaged.", metavar="COUNT", rich_help_panel=WHAT),
    ] = None
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="How the epoch that counts is selected: validation (held-out images), both (so, and each epoch is tested), paper "
            "(test set) or all-images (the last).",
            metavar="NAME",
            autocompletion=complete_protocol,
            rich_help_panel=WHAT,
        ),
    ] = None
    scale_decay: Annotated[
        bool,
        typer.Option(
            "--scale-decay", help="Scale decay_steps, as the paper counts them, to the length of the run.", rich_help_panel=WHAT
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """Limits on designs."""

    max_params: Annotated[
        str | None,
        typer.Option("--max-params", help="Maximum number of parameters, e.g. 7M.", metavar="COUNT", rich_help_panel=LIMITS),
    ] = None
    max_time: Annotated[
        str | None,
        typer.Option(
            "--max-time",
            help="Maximum training time to the highest accuracy, e.g. 10m.",
            metavar="DURATION",
            rich_help_panel=LIMITS,
        ),
    ] = None
    min_acc: Annotated[
        str | None,
        typer.Option("--min-acc", help="Minimum accuracy in percent, e.g. 99.2.", metavar="PERCENT", rich_help_panel=LIMITS),
    ] = None
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            help='Limit on any objective, e.g. "macs<=200M", "latency<=5ms"; can be repeated.',
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
        typer.Option(
            "--device",
            help="cuda, mps or cpu; default the first that this machine has.",
            metavar="NAME",
            autocompletion=complete_device,
            rich_help_panel=WHERE,
        ),
    ] = None
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="Number type of the convolutions: float32 or bfloat16; default the one that is fast on the device.",
            metavar="TYPE",
            autocompletion=complete_precision,
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
