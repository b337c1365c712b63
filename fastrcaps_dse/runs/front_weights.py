"""The weights that a study keeps: those of the designs on its Pareto front."""

from __future__ import annotations

import shutil

from fastrcaps_dse import store
from fastrcaps_dse.analysis.results import front_of
from fastrcaps_dse.store import RunRow, Store, StudyRow, TrialRow


def keep_front_weights(ours: Store, study: StudyRow) -> int:
    """Delete the weights of all runs but the most accurate one of each design on the front; how many designs are on the front.

    A design that comes back to the front keeps those of its later runs, if it has any. While times are estimated, the designs that may
    be on the front without the estimates keep theirs, too.
    """
    trials = ours.trials(study)
    front = front_of(trials, study.objectives)
    estimated = [trial for trial in trials if trial.time_estimated]
    certain = front_of([trial for trial in trials if not trial.time_estimated], study.objectives) if estimated else []
    keep = {run.run_id for trial in (*front, *certain, *estimated) if (run := _run_to_keep(trial))}
    for trial in trials:
        for run in measured_runs(trial):
            if run.weights and run.run_id not in keep:
                ours.forget_weights(run.run_id)
                runs_place = ours.runs_places.of(study.study_id)
                folder = store.run_folder(runs_place.folder, run.run_id)
                shutil.rmtree(folder, ignore_errors=True)
                runs_place.drop(folder)
    return len(front)


def _run_to_keep(trial: TrialRow) -> RunRow | None:
    return max(measured_runs(trial), key=_kept_and_accurate, default=None)


def _kept_and_accurate(run: RunRow) -> tuple[bool, float]:
    assert run.measurement is not None
    return run.weights is not None, run.measurement["acc"]


def measured_runs(trial: TrialRow) -> list[RunRow]:
    """The runs of a design that gave a measurement."""
    return [run for run in trial.runs if run.measurement is not None]
