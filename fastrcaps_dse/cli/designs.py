"""What a study has found: `front`, `pick`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastrcaps_dse.cli.app import NOTHING_FITS, app, chosen_objectives, hint, open_store, print_json, say
from fastrcaps_dse.cli.formats import OutputOptions, print_data
from fastrcaps_dse.cli.options import (
    LIMITS,
    AnytimeOption,
    DataDirOption,
    JsonOption,
    LimitOptions,
    ObjectivesOption,
    StorageOption,
    StudyOption,
    grouped,
    parse_limits,
)
from fastrcaps_dse.errors import InputError

if TYPE_CHECKING:
    from fastrcaps_dse.analysis.results import Results
    from fastrcaps_dse.cli.layout import Table
    from fastrcaps_dse.store import StudyRow, TrialRow


@app.command()
@grouped
def front(
    how: OutputOptions,
    study: StudyOption = None,
    objectives: ObjectivesOption = None,
    anytime: AnytimeOption = None,
    storage: StorageOption = None,
    plot: Annotated[bool, typer.Option("--plot", help="Plot the first two objectives above the table.")] = False,
) -> None:
    """Print the Pareto front as a table."""
    if plot and not how.for_reading:
        raise InputError("--plot is for reading, --json, --csv and --format are for other software", "give one of them")
    print_front(storage, study, objectives, how, plot=plot, anytime=anytime)


def print_front(
    storage: str | None,
    name: str | None,
    objectives: str | None,
    how: OutputOptions,
    *,
    plot: bool = False,
    anytime: bool | None = None,
) -> None:
    """The front of a study, the most accurate design first."""
    from fastrcaps_dse.analysis.views import left_out_note, results_of

    ours = open_store(storage)
    study = ours.study(name)
    found = results_of(ours, study, anytime, chosen_objectives(study, objectives), epochs=False)
    if found.front.empty and how.form not in ("json", "csv"):
        hint(f"the study {study.name!r} has no finished {'epoch' if found.anytime else 'design'} yet")
        if (note := left_out_note(found)) is not None:
            hint(note)
        return
    if plot:
        _print_plot(found)
    print_data(
        how,
        lambda: _front_table(found, how.wide),
        frame=lambda: found.front.drop(columns=["state", "on_front"], errors="ignore"),
        record=lambda: _front_record(found),
    )
    if how.form != "json" and not found.front.empty:
        _print_front_notes(found, how)


def _front_record(found: Results) -> dict[str, Any]:
    from fastrcaps_dse.analysis.chance import chance_note
    from fastrcaps_dse.analysis.results import front_of, standings_of
    from fastrcaps_dse.cli.records import front_record

    members = sorted(front_of(found.rows, found.objectives), key=lambda t: -(t.measurement["acc"] if t.measurement else 0))
    sure = standings_of(found.rows, found.objectives)
    tied = [t for t in found.rows if t.key in sure and sure[t.key].doubtful and t not in members]
    note = chance_note(found.study, found.rows)
    record = front_record(found.study, found.objectives, members, tied, sure, anytime=found.anytime)
    return record | ({"note": note} if note else {})


def _print_front_notes(found: Results, how: OutputOptions) -> None:
    """What is to be known of the front, below it."""
    from fastrcaps_dse.analysis.annealing import annealing_note
    from fastrcaps_dse.analysis.chance import chance_note
    from fastrcaps_dse.analysis.results import estimated_note, front_of
    from fastrcaps_dse.analysis.views import left_out_note

    if how.for_reading and "tied" in found.trials and found.front_and_tied["tied"].any():
        hint("tied: its membership of the front is uncertain; `explore --max-seeds N` trains further seeds of such designs")
    notes = (
        chance_note(found.study, found.rows),
        estimated_note(found.study, found.rows),
        annealing_note(front_of(found.rows, found.objectives), found.study),
        left_out_note(found),
    )
    for line in filter(None, notes):
        hint(line)


def _print_plot(found: Results) -> None:
    """The first two objectives, above the table."""
    from fastrcaps_dse.analysis.results import front_of
    from fastrcaps_dse.cli import console
    from fastrcaps_dse.figures.plots import pareto_info

    console.print_plot(pareto_info(found.rows, front_of(found.rows, found.objectives), found.objectives))
    print()


def _front_table(found: Results, wide: bool) -> Table:
    """The front and the designs that are tied with it."""
    from fastrcaps_dse.analysis.picks import counted_designs
    from fastrcaps_dse.cli import console

    names = ", ".join(objective.name for objective in found.objectives)
    done = sum((t.measurement is not None) if found.anytime else t.state == "done" for t in found.rows)
    many = counted_designs(done, found.anytime)
    title = f"{found.study.name}: {len(found.front)} of {many} on the Pareto front ({names})"
    return console.designs_table(found.front_and_tied, title, found.objectives, wide=wide)


@app.command()
@grouped
def pick(
    limits: LimitOptions,
    study: StudyOption = None,
    objectives: ObjectivesOption = None,
    min_params: Annotated[
        str | None, typer.Option("--min-params", help="Minimum number of parameters.", metavar="COUNT", rich_help_panel=LIMITS)
    ] = None,
    min_time: Annotated[
        str | None,
        typer.Option(
            "--min-time", help="Minimum training time to the highest accuracy.", metavar="DURATION", rich_help_panel=LIMITS
        ),
    ] = None,
    max_acc: Annotated[
        str | None, typer.Option("--max-acc", help="Maximum accuracy in percent.", metavar="PERCENT", rich_help_panel=LIMITS)
    ] = None,
    prefer: Annotated[
        str | None,
        typer.Option(
            "--prefer", help="An objective, or knee; default the first objective without a limit.", metavar="OBJECTIVE"
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write its trained network into this folder; see `export`.", metavar="FOLDER"),
    ] = None,
    anytime: AnytimeOption = None,
    data_dir: DataDirOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pick the design for your limits, and say why."""
    from fastrcaps_dse.analysis import chance, picks, results, views
    from fastrcaps_dse.cli.records import pick_record

    given = {("params", "min"): min_params, ("time", "min"): min_time, ("acc", "max"): max_acc}
    bounds = [*limits.limits(), *parse_limits(given, None)]
    ours = open_store(storage)
    row = ours.study(study)
    chosen = chosen_objectives(row, objectives)
    rows = [trial for trial in views.rows_of(ours, row, anytime, chosen) if trial.measurement is not None]
    candidates = results.candidates_of(rows, chosen)
    result = chance.with_note(picks.pick(candidates, chosen, bounds, prefer), row, rows)
    named = results.picked_row(rows, result)
    if as_json:
        print_json(pick_record(row, bounds, result, named, anytime=views.sees_anytime(row, anytime)))
    elif named is not None and result.trial is not None:
        _print_pick(row, named, result.why, storage)
    else:
        _print_miss(named, result.why)
    if named is None or result.trial is None:
        raise typer.Exit(NOTHING_FITS)
    if export is not None:
        from fastrcaps_dse.session.exporting import export_design

        export_design(ours, row, named, export, data_dir=data_dir, say=hint)
        hint(f"exported: {export}")


def _print_miss(nearest: TrialRow | None, why: Sequence[str]) -> None:
    """Why nothing was picked, and the design that comes nearest."""
    hint("nothing satisfies the limits", always=True)
    for line in why:
        hint(f"  {line}", always=True)
    if nearest is not None:
        hint("nearest miss:", always=True)
        say(one_line(nearest))


def one_line(trial: TrialRow) -> str:
    """A design and its values."""
    from fastrcaps_dse.analysis.results import values_of
    from fastrcaps_dse.cli.console import values_text

    values = values_of(trial)
    said = trial.state if values is None else values_text(values, estimated=trial.time_estimated)
    return f"trial {trial.trial}: {trial.label}: {said}"


def _print_pick(study: StudyRow, trial: TrialRow, why: Sequence[str], storage: str | None) -> None:
    say(one_line(trial))
    say(f"  design:  {trial.design.key}")
    measured = trial.measurement
    if measured is not None and measured.test_acc is not None:
        copies = "" if measured.test_robust is None else f", {measured.test_robust:.2f} % on its affine copies"
        say(f"  test:    {measured.test_acc:.2f} % on the test set{copies}, at the selected epoch")
    say(f"  weights: {_weights_text(study, trial, storage)}")
    say("why:")
    for line in why:
        say(f"  {line}")


def _weights_text(study: StudyRow, trial: TrialRow, storage: str | None) -> str:
    """Where the weights of a picked design are, or how to get them."""
    from fastrcaps_dse.analysis.results import weights_of
    from fastrcaps_dse.store import without_password

    if trial.stop_after is None or weights_of(trial) is not None:
        return weights_of(trial) or "not kept: the design is not on the front of its study"
    where = f"--study {shlex.quote(study.name)}"
    where += "" if storage is None else f" --storage {shlex.quote(without_password(storage))}"
    return f"kept or made again by fastrcaps-dse export {trial.trial} --stop-after {trial.stop_after} {where} --out DIR"
