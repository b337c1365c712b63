"""`explore`: the command, and how it ends."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from fastrcaps_dse.cli.app import app, hint
from fastrcaps_dse.cli.completing import complete_study_file
from fastrcaps_dse.cli.designs import print_front
from fastrcaps_dse.cli.exploring_options import (
    ReferenceOption,
    SearchOptions,
    SpendOptions,
    WorkersOption,
    parse_gain,
    parse_workers,
    refuse_beside_join,
)
from fastrcaps_dse.cli.formats import OutputOptions
from fastrcaps_dse.cli.options import (
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

DEFAULT_STUDY = "quick"


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
        str | None,
        typer.Argument(
            help=f"A study file, or the name of one in studies/; default {DEFAULT_STUDY}.",
            metavar="STUDY_FILE",
            autocompletion=complete_study_file,
        ),
    ] = None,
    objectives: ObjectivesOption = None,
    storage: StorageOption = None,
    runs: RunsOption = None,
    workers: WorkersOption = "auto",
    reference: ReferenceOption = None,
) -> None:
    """Run a study, or continue it."""
    from fastrcaps_dse import store
    from fastrcaps_dse.cli.afterwards import Ending, afterwards
    from fastrcaps_dse.cli.running import HowToRun, run_study
    from fastrcaps_dse.problem.quantities import parse_quantity

    store.open_url(storage)  # what is no storage is refused before anything is looked at
    store.named_place(runs)
    if search.join is None:
        spec = _spec(study_file or DEFAULT_STUDY, objectives, data, run, search, spend)
    else:
        refuse_beside_join(study_file, objectives, data, run, search, spend)
        spec = _joined_spec(search.join, storage, data.dataset, spend.trials)
    if spend.dry_run:
        if output.form not in ("table", "json"):
            raise InputError(f"--dry-run prints text or JSON, not {output.form}", "use --json")
        print_plan(spec, data.data_dir, device, parse_workers(workers), spend.max_seeds, output.form == "json")
        return
    how = HowToRun(
        storage=storage,
        runs=runs,
        data_dir=data.data_dir,
        device=device.device,
        precision=device.precision,
        workers=parse_workers(workers),
        fresh=spend.fresh,
        joins=search.join is not None,
        reference=reference,
        budget=parse_quantity("time", spend.budget) if spend.budget is not None else None,
        until_gain_below=parse_gain(spend.until_gain_below),
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
    from fastrcaps_dse.problem.study_file import find_study_file, parse_study
    from fastrcaps_dse.problem.study_spec import dataset_label, override

    spec = find_study_file(study_file)
    if search.settings:
        spec = parse_study(with_settings(spec.text, search.settings), default_name=spec.name, source=f"{study_file} with --set")
    name = search.study
    if data.dataset is not None and data.dataset != spec.dataset and name is None:
        name = f"{spec.name}-{dataset_label(data.dataset)}"
    turned = search.anytime and not spec.anytime
    if turned and search.study is None:
        name = f"{name or spec.name}-anytime"  # the whole runs of the file are another study
    return override(
        spec,
        name=name,
        anytime=search.anytime or None,
        objectives=parse_objectives(objectives) if objectives is not None else None,
        dataset=data.dataset,
        relabel=data.relabel or None,
        test_share=data.test_share,
        train_images=data.train_images,
        scale_decay=run.scale_decay or None,
        epochs=run.epochs,
        seeds=run.seeds,
        protocol=run.protocol,
        sampler=search.sampler or ("freeze-thaw" if turned else None),
        seed=search.seed,
        time=search.time,
        trials=spend.trials,
        pruning=spend.pruning,
    )


def _joined_spec(name: str, storage: str | None, dataset: str | None, trials: int | None) -> StudySpec:
    """The study of the storage. Raises InputError."""
    from fastrcaps_dse.problem.study_spec import override
    from fastrcaps_dse.session.joining import stored_spec

    return override(stored_spec(name, storage, dataset), trials=trials)


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


def _print_end(outcome: Outcome, raced: int) -> None:
    """How an exploration ended, beyond the number of designs that was asked for."""
    from fastrcaps_dse.problem.quantities import counted

    if raced:
        hint(f"racing: {counted(raced, 'further run')} of designs that may or may not be on the front")
    if outcome.spent:
        hint(f"the time of --budget is over after {counted(outcome.trials, 'trial')}; rerun to continue")
    if outcome.enough:
        hint(f"the expected gain of --until-gain-below is reached after {counted(outcome.trials, 'trial')}")
    if outcome.outlook is not None:
        hint(outcome.outlook.text)
    if outcome.elsewhere:
        hint(
            f"{counted(outcome.elsewhere, 'design')} still under way in other processes: `fastrcaps-dse studies --workers` lists them"
        )
    if outcome.paused:
        hint(f"{counted(outcome.paused, 'run')} paused: the same command goes on with what promises the most")
    if outcome.exhausted:
        hint(f"the design space is exhausted: {_all_measured(outcome.trials)}")
    elif outcome.complete:
        hint(
            f"no further epoch of the {counted(outcome.trials, 'design')} promises enough; the same command begins more designs"
        )


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
