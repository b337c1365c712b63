"""The weights that a study keeps: those of the designs on its Pareto front."""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from collections.abc import Mapping

from fastrcaps_dse import store
from fastrcaps_dse.analysis.anytime import anytime_trials, is_anytime
from fastrcaps_dse.analysis.results import front_of
from fastrcaps_dse.runs.stopped_weights import FOLDER, StoppedWeights
from fastrcaps_dse.store import RunRow, Store, StudyRow, TrialRow


def keep_front_weights(ours: Store, study: StudyRow) -> int:
    """Delete the weights of all runs but the most accurate one of each design on the front; how many designs are on the front.

    A design that comes back to the front keeps those of its later runs, if it has any. While times are estimated, the designs that may
    be on the front without the estimates keep theirs, too. In an anytime study, the front is that of all epochs of all runs.
    """
    if is_anytime(study):
        return _keep_of_epochs(ours, study)
    trials = ours.trials(study)
    front = front_of(trials, study.objectives)
    estimated = [trial for trial in trials if trial.time_estimated]
    certain = front_of([trial for trial in trials if not trial.time_estimated], study.objectives) if estimated else []
    keep = {run.run_id for trial in (*front, *certain, *estimated) if (run := _run_to_keep(trial))}
    for trial in trials:
        for run in measured_runs(trial):
            if run.weights and run.run_id not in keep:
                _drop(ours, study, run)
    return len(front)


def _keep_of_epochs(ours: Store, study: StudyRow) -> int:
    """The same for the front of all epochs of all runs: weights of finished runs, and those of designs that are stopped early."""
    trials, epochs = ours.trials(study), ours.epochs_of(study.study_id)
    front = front_of(anytime_trials(trials, epochs, study), study.objectives)
    wanted: dict[int, dict[int, float]] = defaultdict(dict)
    for every in (run for trial in trials for run in trial.runs):
        wanted[every.run_id] = {}
    for run in (_run_to_keep(point) for point in front):
        if run is not None and run.measurement is not None:
            selected = run.measurement.selected_epoch
            wanted[run.run_id][selected] = math.fsum(row.counted_seconds for row in epochs[run.run_id][:selected])
    for trial in trials:
        for run in measured_runs(trial):
            if run.weights and run.measurement is not None and run.measurement.selected_epoch not in wanted[run.run_id]:
                _drop(ours, study, run)
    StoppedWeights(folder=ours.runs_folder / FOLDER).trim(_without_own(trials, wanted))
    return len(front)


def _without_own(trials: list[TrialRow], wanted: Mapping[int, Mapping[int, float]]) -> dict[int, dict[int, float]]:
    """The epochs whose weights are not those of their finished run anyway."""
    runs = {run.run_id: run for trial in trials for run in trial.runs if run.weights and run.measurement is not None}
    own = {run_id: run.measurement.selected_epoch for run_id, run in runs.items() if run.measurement is not None}
    return {run_id: {e: s for e, s in epochs.items() if own.get(run_id) != e} for run_id, epochs in wanted.items()}


def _drop(ours: Store, study: StudyRow, run: RunRow) -> None:
    """Delete the weights of a run, which is finished."""
    ours.forget_weights(run.run_id)
    runs_place = ours.runs_places.of(study.study_id)
    folder = store.run_folder(runs_place.folder, run.run_id)
    shutil.rmtree(folder, ignore_errors=True)
    runs_place.drop(folder)


def _run_to_keep(trial: TrialRow) -> RunRow | None:
    return max(measured_runs(trial), key=_kept_and_accurate, default=None)


def _kept_and_accurate(run: RunRow) -> tuple[bool, float]:
    assert run.measurement is not None
    return run.weights is not None, run.measurement["acc"]


def measured_runs(trial: TrialRow) -> list[RunRow]:
    """The runs of a design that gave a measurement."""
    return [run for run in trial.runs if run.measurement is not None]
