"""The two views of a study: of whole runs, and at any time. Commands, figures and Python read the rows of a study here."""

from __future__ import annotations

from collections.abc import Sequence

from fastrcaps_dse.analysis.anytime import anytime_trials, is_anytime, of_epochs
from fastrcaps_dse.analysis.results import Results
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.objectives import Objective
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.store import Store, StudyRow, TrialRow


def sees_anytime(study: StudyRow, asked: bool | None = None) -> bool:
    """Whether the view is the anytime one: as `asked`, else as the study was started."""
    return is_anytime(study) if asked is None else asked


def view_name(anytime: bool) -> str:
    """What JSON calls a view."""
    return "anytime" if anytime else "whole runs"


def check_view(anytime: bool, objectives: Sequence[Objective]) -> None:
    """Raises InputError for an objective that the anytime view has no values of."""
    if anytime and len(of_epochs(objectives)) < len(objectives):
        raise InputError(
            "robust is measured at the selected epoch of a whole run alone, so the anytime view has no value of it",
            "leave out --anytime, or compare by others, such as --objectives acc,time,params",
        )


def rows_of(ours: Store, study: StudyRow, anytime: bool | None = None, objectives: Sequence[Objective] = ()) -> list[TrialRow]:
    """What a view shows of a study: its designs, or in the anytime view a row for each design and number of epochs.

    `anytime` chooses the view; by default the one that the study was started with. `objectives` are those that the rows are compared by,
    by default those of the study. Raises InputError for one that the view has no values of.
    """
    chosen = sees_anytime(study, anytime)
    check_view(chosen, objectives or study.objectives)
    trials = ours.trials(study)
    return anytime_trials(trials, ours.epochs_of(study.study_id), study) if chosen else trials


def results_of(
    ours: Store, study: StudyRow, anytime: bool | None = None, objectives: Sequence[Objective] = (), *, epochs: bool = True
) -> Results:
    """The results of a study in a view, see `rows_of`.

    `objectives` decide which designs are on the front; by default those of the study. Without `epochs`, the epochs of the runs are read
    only if the view needs them. Raises InputError for an objective that the view has no values of.
    """
    chosen = sees_anytime(study, anytime)
    check_view(chosen, objectives or study.objectives)
    trials = ours.trials(study)
    epoch_rows = ours.epochs_of(study.study_id) if epochs or chosen else {}
    rows = anytime_trials(trials, epoch_rows, study) if chosen else trials
    return Results(
        study=study, rows=tuple(rows), epoch_rows=epoch_rows, objectives=objectives, anytime=chosen, whole=tuple(trials)
    )


def left_out_note(found: Results) -> str | None:
    """A line that says of how many designs an objective is not known yet, so that the anytime view leaves their epochs out."""
    if not found.anytime:
        return None
    seen = {trial.trial for trial in found.rows if trial.measurement is not None}
    without = [
        trial
        for trial in found.whole
        if trial.trial not in seen and any(run.state != "failed" and found.epoch_rows.get(run.run_id) for run in trial.runs)
    ]
    if not without:
        return None
    return f"{counted(len(without), 'design')} left out: an objective is measured only when a run of the same network ends"
