"""One design in full: `show`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastrcaps_dse.cli.app import app, hint, open_store, print_json, say
from fastrcaps_dse.cli.designs import one_line
from fastrcaps_dse.cli.options import AnytimeOption, JsonOption, StorageOption, StudyOption, TrialArgument

if TYPE_CHECKING:
    from fastrcaps_dse.store import RunRow, Store, StudyRow, TrialRow


@app.command()
def show(
    trial: TrialArgument,
    study: StudyOption = None,
    anytime: AnytimeOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print one design in full: its dimensions, its runs, every epoch."""
    from fastrcaps_dse.analysis.results import find_trial, front_of
    from fastrcaps_dse.analysis.views import rows_of, sees_anytime

    ours = open_store(storage)
    row = ours.study(study)
    found = find_trial(ours.trials(row), trial, row.name)
    if not sees_anytime(row, anytime):
        print_trial(ours, row, found, as_json)
        return
    rows = rows_of(ours, row, anytime)
    members = {point.key for point in front_of(rows, row.objectives)}
    stops = [(point, point.key in members) for point in rows if point.trial == trial and point.stop_after is not None]
    print_trial(ours, row, found, as_json, stops)


def _count_of_time(study: StudyRow, run: RunRow) -> str:
    """How the time of a run is counted, in words."""
    if study.identity.get("time") != "steps":
        return "by the clock"
    if study.reference is None or (run.device, run.software) == (study.reference["device"], study.reference["software"]):
        return "steps times the seconds of a step, measured alone"
    certain = ", estimated until it has measured them" if run.time_estimated else ""
    return f"in the step times of {study.reference['device']} in {study.reference['precision']}{certain}"


def print_trial(
    ours: Store,
    study: StudyRow,
    trial: TrialRow,
    as_json: bool,
    stops: Sequence[tuple[TrialRow, bool]] | None = None,
) -> None:
    """One design in full. `stops` are its rows in the anytime view, if that is asked for, each with whether it is on the front."""
    from fastrcaps_dse.cli.console import epoch_line
    from fastrcaps_dse.cli.records import trial_record
    from fastrcaps_dse.problem.quantities import format_seconds, format_value
    from fastrcaps_dse.problem.space import design_to_dict
    from fastrcaps_dse.problem.study_spec import dataset_text
    from fastrcaps_dse.store import notes_of

    runs = [(run, ours.epochs(run.run_id)) for run in trial.runs]
    by_steps = study.identity.get("time") == "steps"
    note = notes_of(ours, study.study_id).get(trial.trial)
    if as_json:
        print_json(trial_record(study, trial, runs, stops) | ({"note": note.text, "starred": note.starred} if note else {}))
        return
    say(one_line(trial))
    if note is not None:
        say(f"  note:   {'★ ' if note.starred else ''}{' / '.join(note.text.splitlines())}")
    say(f"  study:  {study.name} ({dataset_text(study.identity)}, protocol {study.identity['protocol']})")
    for name, value in design_to_dict(trial.design).items():
        say(f"  {name + ':':20} {value}")
    for run, epochs in runs:
        say(f"run with seed {run.seed}: {run.state}" + (f": {run.reason}" if run.reason else ""))
        say(f"  on {run.device}, {run.precision}; {run.software}")
        for epoch in epochs:
            say(f"  {epoch_line(epoch)}")
        if run.measurement:
            measured = run.measurement
            test = "" if measured.test_acc is None else f", test accuracy {measured.test_acc:.2f} %"
            test += "" if measured.test_robust is None else f", {measured.test_robust:.2f} % on affine copies"
            say(f"  selected: epoch {measured.selected_epoch}{test}; weights: {run.weights or 'not kept'}")
            wall = "" if run.wall_time is None else f"; by the clock {format_seconds(run.wall_time)}"
            time = format_value("time", measured["time"], estimated=run.time_estimated)
            say(f"  time: {time}, {_count_of_time(study, run)}{wall if by_steps else ''}")
    if stops is not None:
        _print_stops(study, stops)


def _print_stops(study: StudyRow, stops: Sequence[tuple[TrialRow, bool]]) -> None:
    """After which epochs a design may be stopped, and what one has then."""
    from fastrcaps_dse.analysis.annealing import annealing_note
    from fastrcaps_dse.analysis.results import values_of
    from fastrcaps_dse.cli.console import values_text

    say("at any time:" if stops else "at any time: no finished epoch yet")
    for point, on_front in stops:
        values = values_text(values_of(point) or {}, estimated=point.time_estimated)
        say(f"  {point.stopped.removeprefix(', ')}: {values}{'; on the front' if on_front else ''}")
    note = annealing_note([point for point, _ in stops], study)
    if note is not None:
        hint(note)
