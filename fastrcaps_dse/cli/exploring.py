"""`explore`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from fastrcaps_dse.cli.app import app, hint
from fastrcaps_dse.cli.completing import (
    complete_pruning,
    complete_sampler,
    complete_setting,
    complete_study,
    complete_study_file,
    complete_time,
)
from fastrcaps_dse.cli.designs import print_front
from fastrcaps_dse.cli.formats import OutputOptions
from fastrcaps_dse.cli.options import (
    SPEND,
    WHAT,
    WHERE,
    DataOptions,
    DeviceOptions,
    LimitOptions,
    ObjectivesOption,
    RunOptions,
    RunsOption,
    StorageOption,
    grouped,
)
from fastrcaps_dse.cli.planning import print_plan
from fastrcaps_dse.errors import InputError

if TYPE_CHECKING:
    from fastrcaps_dse.problem.study_spec import StudySpec
    from fastrcaps_dse.session import Outcome

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
    sampler: Annotated[
        str | None,
        typer.Option(
            "--sampler",
            help="What proposes designs: guided, tpe, nsga2, gp, random or exhaustive.",
            metavar="NAME",
            autocompletion=complete_sampler,
            rich_help_panel=WHAT,
        ),
    ] = None
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


@app.command()
@grouped
def explore(
    data: DataOptions,
    run: RunOptions,
    search: SearchOptions,
    limits: LimitOptions,
    spend: SpendOptions,
    device: DeviceOptions,
    output: OutputOptions,
    study_file: Annotated[
        str,
        typer.Argument(
            help="A study file, or the name of one in studies/.", metavar="STUDY_FILE", autocompletion=complete_study_file
        ),
    ] = "quick",
    objectives: ObjectivesOption = None,
    storage: StorageOption = None,
    runs: RunsOption = None,
    workers: WorkersOption = "auto",
) -> None:
    """Run a study, or continue it."""
    from fastrcaps_dse import store
    from fastrcaps_dse.cli.afterwards import Ending, afterwards
    from fastrcaps_dse.cli.running import HowToRun, run_study
    from fastrcaps_dse.problem.quantities import parse_quantity

    store.open_url(storage)  # what is no storage is refused before anything is looked at
    store.named_place(runs)
    spec = _spec(study_file, objectives, data, run, search, spend)
    if spend.dry_run:
        if output.form not in ("table", "json"):
            raise InputError(f"--dry-run prints text or JSON, not {output.form}", "use --json")
        print_plan(spec, data.data_dir, device, _parse_workers(workers), spend.max_seeds, output.form == "json")
        return
    how = HowToRun(
        storage=storage,
        runs=runs,
        data_dir=data.data_dir,
        device=device.device,
        precision=device.precision,
        workers=_parse_workers(workers),
        fresh=spend.fresh,
        budget=parse_quantity("time", spend.budget) if spend.budget is not None else None,
        logs=spend.log or (),
    )
    trials, bounds, _ = _trials(spec, spend), limits.limits(), output.form  # what is wrong is said before anything begins
    with afterwards(Ending(study=spec.name, then=spend.then, bell=spend.bell)) as ending:
        outcome, raced = run_study(spec, how, trials, limits=bounds, max_seeds=spend.max_seeds)
        ending.status = "budget" if outcome.spent else "done"
        _print_end(outcome, raced)
        _print_holdings(storage)
        print_front(storage, spec.name, None, output)
        _print_next(storage)


def _spec(
    study_file: str,
    objectives: str | None,
    data: DataOptions,
    run: RunOptions,
    search: SearchOptions,
    spend: SpendOptions,
) -> StudySpec:
    """The study of the file, with what the command line changes. Raises InputError."""
    from fastrcaps_dse.problem.objectives import parse_objectives
    from fastrcaps_dse.problem.settings import with_settings
    from fastrcaps_dse.problem.study_spec import dataset_label, find_study_file, override, parse_study

    spec = find_study_file(study_file)
    if search.settings:
        spec = parse_study(with_settings(spec.text, search.settings), default_name=spec.name, source=f"{study_file} with --set")
    name = search.study
    if data.dataset is not None and data.dataset != spec.dataset and name is None:
        name = f"{spec.name}-{dataset_label(data.dataset)}"
    return override(
        spec,
        name=name,
        objectives=parse_objectives(objectives) if objectives is not None else None,
        dataset=data.dataset,
        relabel=data.relabel or None,
        test_share=data.test_share,
        epochs=run.epochs,
        seeds=run.seeds,
        protocol=run.protocol,
        sampler=search.sampler,
        seed=search.seed,
        time=search.time,
        trials=spend.trials,
        pruning=spend.pruning,
    )


def _trials(spec: StudySpec, spend: SpendOptions) -> int | None:
    """How many trials are asked for; None for the study's own number. Raises InputError."""
    if not spend.until_exhausted:
        return spend.trials
    size = spec.space.size()
    if size is None:
        raise InputError("an infinite space is never exhausted", "use --trials or --budget")
    if not spec.space.enumerable:
        raise InputError(
            f"the space has {size:,} designs, too many to try all", "use --trials or --budget, or narrow the space"
        )
    return size


def _parse_workers(text: str) -> int | None:
    """How many workers; None for auto. Raises InputError."""
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise InputError(f"{text!r} is not a number of workers", "e.g. --workers 2, or auto")
    return int(text)


def _print_end(outcome: Outcome, raced: int) -> None:
    """How an exploration ended, beyond the number of designs that was asked for."""
    from fastrcaps_dse.problem.quantities import counted

    if raced:
        hint(f"racing: {counted(raced, 'further run')} of designs that may or may not be on the front")
    if outcome.spent:
        hint(f"the time of --budget is over after {counted(outcome.trials, 'trial')}; rerun to continue")
    if outcome.exhausted:
        hint(f"the design space is exhausted: {_all_measured(outcome.trials)}")


def _all_measured(designs: int) -> str:
    return "its only design is measured" if designs == 1 else f"all its {designs:,} designs are measured"


def _print_holdings(storage: str | None) -> None:
    """How much the runs keep on disk that could be freed; nothing where there is nothing."""
    from fastrcaps_dse import store
    from fastrcaps_dse.problem.quantities import format_bytes
    from fastrcaps_dse.session.managing import freeable

    size = sum(held.size for held in freeable(store.Store(store.open_url(storage))))
    if size:
        hint(f"later runs can begin with {format_bytes(size)} of kept epochs; `fastrcaps-dse clean --free` deletes them")


def _print_next(storage: str | None) -> None:
    """What to do with a front."""
    from fastrcaps_dse.store import without_password

    option = "" if storage is None else f" --storage {shlex.quote(without_password(storage))}"
    hint(f"\nnext: fastrcaps-dse pick --max-params 7M{option}    (or: front, show TRIAL, report)")
