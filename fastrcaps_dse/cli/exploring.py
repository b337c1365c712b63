"""`explore`."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastrcaps_dse.cli.app import app, hint, print_json
from fastrcaps_dse.cli.designs import print_front
from fastrcaps_dse.cli.options import (
    SPEND,
    WHAT,
    WHERE,
    DataOptions,
    DeviceOptions,
    JsonOption,
    LimitOptions,
    ObjectivesOption,
    RunOptions,
    StorageOption,
    VerboseOption,
    grouped,
)
from fastrcaps_dse.errors import InputError

if TYPE_CHECKING:
    from fastrcaps_dse.problem.study_spec import StudySpec
    from fastrcaps_dse.session import Outcome

MOST_WORKERS = 64


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How designs are chosen and judged."""

    study: Annotated[
        str | None, typer.Option("--study", help="Name of the study; default the file's.", rich_help_panel=WHAT)
    ] = None
    sampler: Annotated[
        str | None,
        typer.Option("--sampler", help="guided, tpe, nsga2, gp, random or exhaustive.", rich_help_panel=WHAT),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Of the sampler, and the first seed of each design's runs.", rich_help_panel=WHAT),
    ] = None
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            help="steps (their number times the seconds of one, measured alone) or measured (by the clock).",
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
            help="Designs that the study is to have in all; default the file's, then as many again.",
            rich_help_panel=SPEND,
        ),
    ] = None
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="End after so long, e.g. 30m; the same command goes on.", rich_help_panel=SPEND),
    ] = None
    until_exhausted: Annotated[
        bool,
        typer.Option("--until-exhausted", help="Try every design of the space, which must be finite.", rich_help_panel=SPEND),
    ] = False
    pruning: Annotated[
        str | None,
        typer.Option(
            "--pruning",
            help="End runs that cannot enter the front: off, safe (whatever they reach), on (at 95 % confidence).",
            rich_help_panel=SPEND,
        ),
    ] = None
    max_seeds: Annotated[
        int,
        typer.Option(
            "--max-seeds",
            help="Race: train up to N seeds of each design whose membership of the front is uncertain.",
            metavar="N",
            min=0,
            rich_help_panel=SPEND,
        ),
    ] = 0
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Train again what an equal run of this storage has measured.", rich_help_panel=SPEND),
    ] = False
    log: Annotated[
        list[str] | None,
        typer.Option(
            "--log",
            help="Also write each epoch to csv=DIR, tensorboard=DIR or mlflow=URI; may be repeated.",
            metavar="KIND=WHERE",
            rich_help_panel=WHERE,
        ),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be trained and what it costs; train nothing.", rich_help_panel=SPEND),
    ] = False


WorkersOption = Annotated[
    str,
    typer.Option(
        "--workers",
        help="Runs side by side: a number, or auto: as many as the GPUs have use for; without a GPU one for each core.",
        metavar="N|auto",
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
    study_file: Annotated[
        str, typer.Argument(help="A study file, or the name of one in studies/.", metavar="[STUDY_FILE]")
    ] = "quick",
    objectives: ObjectivesOption = None,
    storage: StorageOption = None,
    workers: WorkersOption = "auto",
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a study, or continue it."""
    from fastrcaps_dse.cli.running import HowToRun, run_study
    from fastrcaps_dse.problem.quantities import parse_quantity

    spec = _spec(study_file, objectives, data, run, search, spend)
    if spend.dry_run:
        _print_plan(spec, data.data_dir, device, as_json)
        return
    how = HowToRun(
        storage=storage,
        data_dir=data.data_dir,
        device=device.device,
        precision=device.precision,
        workers=_parse_workers(workers),
        fresh=spend.fresh,
        budget=parse_quantity("time", spend.budget) if spend.budget is not None else None,
        logs=spend.log or (),
    )
    outcome, raced = run_study(spec, how, _trials(spec, spend), limits=limits.limits(), max_seeds=spend.max_seeds)
    _print_end(outcome, raced)
    _print_holdings(storage)
    print_front(storage, spec.name, None, as_json=as_json)
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
    from fastrcaps_dse.problem.study_spec import dataset_label, find_study_file, override

    spec = find_study_file(study_file)
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
        hint(f"racing: {counted(raced, 'further run')} of designs whose membership of the front was uncertain")
    if outcome.spent:
        hint(f"the budget is over after {counted(outcome.trials, 'trial')}; the same command goes on from here")
    if outcome.exhausted:
        hint(f"the design space is exhausted: all its {outcome.trials} designs are measured")


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


def _print_plan(spec: StudySpec, data_dir: Path | None, device: DeviceOptions, as_json: bool) -> None:
    from fastrcaps_dse.capsnet.memory import in_words
    from fastrcaps_dse.problem.quantities import counted, format_seconds
    from fastrcaps_dse.problem.space import design_to_dict
    from fastrcaps_dse.runs.estimates import make_plan

    plan = make_plan(spec, data_dir=data_dir, device=device.device, precision=device.precision)
    if as_json:
        designs = [
            {"label": d.point.label, "design": design_to_dict(d.point)}
            | {"params": d.params, "steps": d.steps, "seconds": d.seconds if math.isfinite(d.seconds) else None}
            | {"memory_bytes": d.memory}
            for d in plan.first
        ]
        size = {"study": spec.name, "designs": plan.designs, "seeds": spec.seeds, "seconds": plan.seconds}
        print_json(size | {"first": designs})
        return
    space = "infinitely many designs" if plan.size is None else counted(plan.size, "design")
    print(f"study {spec.name}: {plan.designs} of {space}, {counted(spec.seeds, 'run')} of each,")
    print(f"{spec.epochs} epochs of {spec.dataset}, protocol {spec.protocol}, sampler {spec.sampler}")
    if plan.first:
        print("first the named designs that the space admits:")
    for d in plan.first:
        fits = math.isfinite(d.seconds)
        takes = f"about {format_seconds(d.seconds)} of training a run" if fits else "too little memory here"
        print(f"  {d.point.label:32} {d.params:>11,} params {d.steps:>9,} steps {in_words(d.memory):>8} memory, {takes}")
    if plan.designs > len(plan.first):
        print(f"{'then ' if plan.first else ''}{plan.designs - len(plan.first)} that the sampler proposes")
    print(f"estimated training time of the study on this machine: {format_seconds(plan.seconds)}")
