"""The options of `explore` alone: how designs are chosen, and how long it goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import typer

from fastrcaps_dse.cli.completing import complete_pruning, complete_sampler, complete_setting, complete_study, complete_time
from fastrcaps_dse.cli.options import SPEND, WHAT, WHERE, DataOptions, RunOptions
from fastrcaps_dse.errors import InputError

MOST_WORKERS = 64


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How designs are chosen and judged."""

    study: Annotated[
        str | None,
        typer.Option(
            "--study",
            help="Name of the study; by default that of the file.",
            metavar="NAME",
            autocompletion=complete_study,
            rich_help_panel=WHAT,
        ),
    ] = None
    join: Annotated[
        str | None,
        typer.Option(
            "--join",
            help="Take part in this study of the database as it is stored, without a study file.",
            metavar="NAME",
            autocompletion=complete_study,
            rich_help_panel=WHAT,
        ),
    ] = None
    sampler: Annotated[
        str | None,
        typer.Option(
            "--sampler",
            help="What proposes designs: guided, tpe, nsga2, gp, random or exhaustive; with --anytime also freeze-thaw.",
            metavar="NAME",
            autocompletion=complete_sampler,
            rich_help_panel=WHAT,
        ),
    ] = None
    anytime: Annotated[
        bool,
        typer.Option(
            "--anytime",
            help="Every epoch of a run is a design that one can have; by the sampler freeze-thaw, which pauses and resumes runs.",
            rich_help_panel=WHAT,
        ),
    ] = False
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", help="Seed of the sampler, and first seed of each design's runs.", metavar="NUMBER", rich_help_panel=WHAT
        ),
    ] = None
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            help="How training time is counted: steps (their number times the seconds of one, measured alone) or measured (by the clock).",
            metavar="HOW",
            autocompletion=complete_time,
            rich_help_panel=WHAT,
        ),
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a key of the study file, e.g. space.fields.lr_max='{low=1e-3, high=5e-3}'; can be repeated.",
            metavar="KEY=VALUE",
            autocompletion=complete_setting,
            rich_help_panel=WHAT,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SpendOptions:
    """How long the exploration goes on, and what it spares."""

    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            help="Number of designs in all; by default that of the file, and as many again each time.",
            metavar="COUNT",
            rich_help_panel=SPEND,
        ),
    ] = None
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", help="Stop after this time, e.g. 30m; rerun to continue.", metavar="DURATION", rich_help_panel=SPEND
        ),
    ] = None
    until_gain_below: Annotated[
        str | None,
        typer.Option(
            "--until-gain-below",
            help="Stop once another hour of training is expected to gain less than this share of the hypervolume, e.g. 0.1%.",
            metavar="SHARE",
            rich_help_panel=SPEND,
        ),
    ] = None
    until_exhausted: Annotated[
        bool,
        typer.Option("--until-exhausted", help="Train every design of the space, which must be finite.", rich_help_panel=SPEND),
    ] = False
    pruning: Annotated[
        str | None,
        typer.Option(
            "--pruning",
            help="End runs that cannot enter the front: off, safe (whatever they reach) or on (at 95 % confidence).",
            metavar="HOW",
            autocompletion=complete_pruning,
            rich_help_panel=SPEND,
        ),
    ] = None
    max_seeds: Annotated[
        int,
        typer.Option(
            "--max-seeds",
            help="After the search, train up to this many seeds of each design that may or may not be on the front.",
            metavar="COUNT",
            min=0,
            rich_help_panel=SPEND,
        ),
    ] = 0
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Train again what an equal run of this database has measured.", rich_help_panel=SPEND),
    ] = False
    log: Annotated[
        list[str] | None,
        typer.Option(
            "--log",
            help="Also write each epoch to csv=FOLDER, tensorboard=FOLDER or mlflow=URI; can be repeated.",
            metavar="KIND=WHERE",
            rich_help_panel=WHERE,
        ),
    ] = None
    then: Annotated[
        str | None,
        typer.Option(
            "--then",
            help="Run this command when the study ends, with FASTRCAPS_STUDY and FASTRCAPS_STATUS in its environment.",
            metavar="COMMAND",
            rich_help_panel=SPEND,
        ),
    ] = None
    bell: Annotated[
        bool, typer.Option("--bell", help="Ring the terminal's bell when the study ends.", rich_help_panel=SPEND)
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print what would be trained and how long it takes; train nothing.", rich_help_panel=SPEND
        ),
    ] = False


WorkersOption = Annotated[
    str,
    typer.Option(
        "--workers",
        help="Number of runs side by side, or auto: as many as the GPUs can use; without a GPU, one for each core.",
        metavar="COUNT",
        rich_help_panel=WHERE,
    ),
]


def parse_workers(text: str) -> int | None:
    """How many workers; None for auto. Raises InputError."""
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise InputError(f"{text!r} is not a number of workers", "e.g. --workers 2, or auto")
    return int(text)


def refuse_beside_join(
    study_file: str | None,
    objectives: str | None,
    data: DataOptions,
    run: RunOptions,
    search: SearchOptions,
    spend: SpendOptions,
) -> None:
    """Raises InputError for what would make the study that --join names another one."""
    given = {
        "a study file": study_file,
        "--objectives": objectives,
        "--study": search.study,
        "--sampler": search.sampler,
        "--anytime": search.anytime or None,
        "--seed": search.seed,
        "--time": search.time,
        "--set": search.settings,
        "--epochs": run.epochs,
        "--seeds": run.seeds,
        "--protocol": run.protocol,
        "--pruning": spend.pruning,
        "--relabel": data.relabel or None,
        "--test-share": data.test_share,
        "--train-images": data.train_images,
        "--scale-decay": run.scale_decay or None,
    }
    named = next((option for option, value in given.items() if value is not None and value != []), None)
    if named is not None:
        raise InputError(
            f"{named} says what a study is, and --join takes the study {search.join!r} as it is stored",
            f"leave out --join, or {named}",
        )


ReferenceOption = Annotated[
    str | None,
    typer.Option(
        "--reference",
        help="Count all runs in the step times of this device, named as `doctor` prints it; default the study's first one.",
        metavar="NAME",
        rich_help_panel=WHERE,
    ),
]


def parse_gain(text: str | None) -> float | None:
    """The share of a percentage such as `0.1%`, or of a number such as `0.001`. Raises InputError."""
    if text is None:
        return None
    number = text.strip().removesuffix("%").strip()
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise InputError(f"--until-gain-below needs a share between 0 and 1, got {text!r}", "e.g. --until-gain-below 0.1%")
    return share
