"""`explore`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastrcaps_dse.cli.app import (
    DataDirOption,
    DatasetOption,
    DeviceOption,
    EpochsOption,
    JsonOption,
    LimitOption,
    MaxParamsOption,
    MaxTimeOption,
    MinAccOption,
    ObjectivesOption,
    PrecisionOption,
    ProtocolOption,
    SeedsOption,
    StorageOption,
    app,
    given_limits,
    hint,
    print_json,
)
from fastrcaps_dse.cli.designs import print_front
from fastrcaps_dse.cli.progress import run_session
from fastrcaps_dse.errors import InputError

if TYPE_CHECKING:
    from fastrcaps_dse.problem.study_spec import StudySpec


@app.command()
def explore(
    study_file: Annotated[
        str, typer.Argument(help="A study file, or the name of one in studies/.", metavar="[STUDY_FILE]")
    ] = "quick",
    objectives: ObjectivesOption = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", help="Designs the study shall have in all; default the file's, and as many again when they are done."
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="Explore for so long, e.g. 30m; then the same command goes on.")
    ] = None,
    until_exhausted: Annotated[
        bool, typer.Option("--until-exhausted", help="Try every design of the space, which must be finite.")
    ] = False,
    epochs: EpochsOption = None,
    seeds: SeedsOption = None,
    dataset: DatasetOption = None,
    data_dir: DataDirOption = None,
    protocol: ProtocolOption = None,
    sampler: Annotated[str | None, typer.Option("--sampler", help="guided, tpe, nsga2, gp, random or exhaustive.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the sampler, and the first of the runs' seeds.")] = None,
    settle: Annotated[
        int,
        typer.Option(
            "--settle",
            help="After the search, train up to so many seeds of each design that may or may not be on the front.",
            metavar="SEEDS",
        ),
    ] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what an equal run of this storage has measured.")] = False,
    max_params: MaxParamsOption = None,
    max_time: MaxTimeOption = None,
    min_acc: MinAccOption = None,
    limit: LimitOption = None,
    time: Annotated[
        str | None,
        typer.Option("--time", help="steps (times the seconds of a step, measured alone) or measured (by the clock)."),
    ] = None,
    pruning: Annotated[
        str | None,
        typer.Option(
            "--pruning", help="Stop runs that cannot enter the front: off, safe (whatever happens), on (at 95 % confidence)."
        ),
    ] = None,
    study: Annotated[str | None, typer.Option("--study", help="Name of the study; default the file's.")] = None,
    storage: StorageOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    workers: Annotated[
        str,
        typer.Option(
            "--workers",
            help="Runs side by side: a number, or auto: as many as the GPUs have use for, one without.",
            metavar="N|auto",
        ),
    ] = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be trained and its estimated cost; train nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a study, or continue it where it was stopped."""
    from fastrcaps_dse.problem.objectives import parse_objectives
    from fastrcaps_dse.problem.quantities import counted, parse_quantity
    from fastrcaps_dse.problem.study_spec import find_study_file, override
    from fastrcaps_dse.store import without_password

    spec = find_study_file(study_file)
    if dataset is not None and dataset != spec.dataset and study is None:
        study = f"{spec.name}-{Path(dataset).name}"
    spec = override(
        spec,
        objectives=parse_objectives(objectives) if objectives is not None else None,
        trials=trials,
        epochs=epochs,
        seeds=seeds,
        dataset=dataset,
        protocol=protocol,
        sampler=sampler,
        seed=seed,
        name=study,
        time=time,
        pruning=pruning,
    )
    if dry_run:
        _print_plan(spec, data_dir, device, precision, as_json)
        return
    limits = given_limits({("params", "max"): max_params, ("time", "max"): max_time, ("acc", "min"): min_acc}, limit)
    seconds = parse_quantity("time", budget) if budget is not None else None
    if until_exhausted:
        trials = spec.space.size()
        if trials is None:
            raise InputError("an infinite space is never exhausted", "use --trials or --budget")
    outcome = run_session(
        spec,
        storage,
        trials,
        settle=settle,
        data_dir=data_dir,
        device=device,
        precision=precision,
        limits=limits,
        budget=seconds,
        fresh=fresh,
        workers=_parse_workers(workers),
    )
    if outcome.seeds:
        hint(f"{counted(outcome.seeds, 'further run')} of designs that may or may not be on the front")
    if outcome.spent:
        hint(f"the budget is spent after {counted(outcome.trials, 'trial')}; the same command goes on from here")
    if outcome.exhausted:
        hint(f"the design space is exhausted: all its {outcome.trials} designs are measured")
    print_front(storage, spec.name, None, as_json=as_json)
    where = "" if storage is None else f" --storage {shlex.quote(without_password(storage))}"
    hint(f"\nnext: fastrcaps-dse pick --max-params 7M{where}    (or: front, show TRIAL, report)")


def _parse_workers(text: str) -> int | None:
    """How many workers; None for auto. Raises InputError."""
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise InputError(f"{text!r} is no number of workers", "e.g. --workers 2, or auto")
    return int(text)


def _print_plan(spec: StudySpec, data_dir: Path | None, device: str | None, precision: str | None, as_json: bool) -> None:
    from fastrcaps_dse.problem.quantities import counted, format_seconds
    from fastrcaps_dse.problem.space import design_to_dict
    from fastrcaps_dse.runs import estimates

    plan = estimates.plan(spec, data_dir=data_dir, device=device, precision=precision)
    if as_json:
        designs = [
            {"label": d.point.label, "design": design_to_dict(d.point)}
            | {"params": d.params, "steps": d.steps, "seconds": d.seconds}
            for d in plan.first
        ]
        size = {"study": spec.name, "designs": plan.designs, "seeds": spec.seeds, "seconds": plan.seconds}
        print_json(size | {"first": designs})
        return
    known = "infinitely many designs" if plan.size is None else counted(plan.size, "design")
    print(f"study {spec.name}: {plan.designs} of {known}, {counted(spec.seeds, 'run')} of each,")
    print(f"{spec.epochs} epochs of {spec.dataset}, protocol {spec.protocol}, sampler {spec.sampler}")
    if plan.first:
        print("first the named designs that the space admits:")
    for d in plan.first:
        print(
            f"  {d.point.label:32} {d.params:>11,} params {d.steps:>9,} steps, about {format_seconds(d.seconds)} of training a run"
        )
    if plan.designs > len(plan.first):
        print(f"{'then ' if plan.first else ''}{plan.designs - len(plan.first)} that the sampler proposes")
    print(f"estimated training time of the study on this machine: {format_seconds(plan.seconds)}")
