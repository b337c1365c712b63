"""What a study has found: its front, how sure each design is, and everything as DataFrames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fastrcaps_dse.analysis.pareto import front
from fastrcaps_dse.analysis.picks import Candidate, Pick
from fastrcaps_dse.analysis.uncertainty import Standing, standings
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.objectives import Objective, costs_of
from fastrcaps_dse.problem.quantities import ESTIMATED
from fastrcaps_dse.problem.space import LATER_DIMENSIONS, design_to_dict
from fastrcaps_dse.store import EpochRow, Key, StudyRow, TrialRow, worker_name

if TYPE_CHECKING:
    import pandas as pd


def front_of(trials: Sequence[TrialRow], objectives: Sequence[Objective]) -> list[TrialRow]:
    """The designs on the Pareto front, in the order of their trials."""
    done = [(trial, trial.measurement) for trial in trials if trial.measurement is not None]
    members = front([costs_of(objectives, measurement.values) for _, measurement in done])
    return [done[index][0] for index in members]


def standings_of(trials: Sequence[TrialRow], objectives: Sequence[Objective]) -> dict[Key, Standing]:
    """How sure each measured design is, by its key."""
    done = [trial for trial in trials if trial.measurement is not None]
    costs = [
        [costs_of(objectives, run.measurement.values) for run in trial.runs if run.measurement is not None] for trial in done
    ]
    keys = [trial.key for trial in done]
    return dict(zip(keys, standings(costs, keys=keys), strict=True))


def values_of(trial: TrialRow) -> dict[str, float] | None:
    """The values by objective name; None if the trial has no measurement."""
    return None if trial.measurement is None else dict(trial.measurement.values)


def estimated_note(study: StudyRow, trials: Sequence[TrialRow]) -> str | None:
    """A line that says what the mark of an estimated time means; None where no design has one."""
    if not any(trial.time_estimated for trial in trials):
        return None
    device = (study.reference or {}).get("device", "another device")
    return f"{ESTIMATED} marks an estimated time: the study counts in the step times of {device}, which has not measured all of them yet"


def weights_of(trial: TrialRow) -> str | None:
    """Where the weights of the design are kept, if they are."""
    return next((run.weights for run in trial.runs if run.weights), None)


def find_trial(trials: Sequence[TrialRow], number: int, study: str) -> TrialRow:
    """The trial of this number. Raises InputError where the study of this name has none."""
    found = next((trial for trial in trials if trial.trial == number), None)
    if found is None:
        existing = f"trials 0 to {max(trial.trial for trial in trials)}" if trials else "no trial yet"
        raise InputError(f"there is no trial {number} in the study {study!r}", f"it has {existing}")
    return found


def picked_row(rows: Sequence[TrialRow], picked: Pick) -> TrialRow | None:
    """The row that a pick names: the picked one, else the nearest miss; None where there is neither."""
    key = (picked.nearest_miss if picked.trial is None else picked.trial, picked.stop_after)
    return next((row for row in rows if row.key == key), None)


def candidates_of(trials: Sequence[TrialRow], objectives: Sequence[Objective]) -> list[Candidate]:
    """The measured trials, as the pick sees them."""
    measured = [trial for trial in trials if trial.measurement is not None]
    sure = standings_of(measured, objectives)
    return [candidate(trial, objectives, sure[trial.key]) for trial in measured]


def candidate(trial: TrialRow, objectives: Sequence[Objective], standing: Standing) -> Candidate:
    """A measured trial, as the pick sees it."""
    values = values_of(trial)
    assert values is not None
    return Candidate(
        trial=trial.trial,
        stop_after=trial.stop_after,
        label=trial.label,
        values=values,
        errors=standing.errors(objectives),
        seeds=standing.seeds,
        on_front=standing.on_front,
    )


# --- DataFrames -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results of a study as DataFrames, each made anew when it is asked for.

    `objectives` decide which designs are on the front; by default those of the study. In the anytime view `rows` has a design once for
    each number of epochs after which it may be stopped, and `whole` has the designs with their whole runs.
    """

    study: StudyRow
    rows: Sequence[TrialRow]
    epoch_rows: Mapping[int, Sequence[EpochRow]]  # by run id
    objectives: Sequence[Objective] = ()
    anytime: bool = False
    whole: Sequence[TrialRow] = ()  # by default `rows`

    @property
    def trials(self) -> pd.DataFrame:
        """A row for each design: its dimensions and the mean value of each objective (accuracies in percent, times in seconds).

        Further columns are `time_estimated` (the study's reference lacks step times), `test_acc` (%), `seeds`, `pruned_after` (epochs),
        `weights` (a path), `state`, `on_front`, and `worker` (who trains it now, "host:process"). In a study that measures `robust` there
        is `test_robust` (%), too. If enough designs have several seeds, there are also `tied` (membership of the front is
        uncertain), `front_probability`, and the standard error of each objective (`acc_error`, ...).

        In the anytime view there is a row for each design and number of epochs, with `stop_after` and `epochs_in_all`.
        """
        objectives = self.objectives or self.study.objectives
        members = {trial.key for trial in front_of(self.rows, objectives)}
        sure = standings_of(self.rows, objectives)
        later = [name for name, usual in LATER_DIMENSIONS.items() if any(getattr(t.design, name) != usual for t in self.rows)]
        records = [
            _design(trial, self.anytime, later)
            | {"state": trial.state, "on_front": trial.key in members, "worker": _worker(trial)}
            | _sureness(sure.get(trial.key), objectives)
            for trial in self.rows
        ]
        return frame_of(records)

    @property
    def front(self) -> pd.DataFrame:
        """The rows of `trials` that are on the Pareto front, the most accurate first."""
        trials = self.trials
        if "acc" not in trials:  # none is measured
            return trials[:0]
        return trials[trials["on_front"]].sort_values("acc", ascending=False, kind="stable").reset_index(drop=True)

    @property
    def front_and_tied(self) -> pd.DataFrame:
        """The rows of `front`, then those of designs that are not on it but may be, as far as their seeds tell."""
        import pandas as pd

        trials = self.trials
        tied = trials[trials["tied"] & ~trials["on_front"]] if "tied" in trials else trials[:0]
        return pd.concat([self.front, tied], ignore_index=True) if len(tied) else self.front

    @property
    def runs(self) -> pd.DataFrame:
        """A row for each run: its trial, label and seed, what it measured, and where it was trained."""
        trained = ("seed", "state", "reason", "device", "precision", "software", "wall_time", "time_estimated")
        names = (*trained, "weights", "started", "ended")
        records = []
        for trial in self.whole or self.rows:
            for run in trial.runs:
                measured = asdict(run.measurement) if run.measurement else {"values": {}}
                values = measured.pop("values")
                identity = {"run": run.run_id, "trial": trial.trial, "label": trial.design.label}
                facts = {name: getattr(run, name) for name in names} | {"worker": worker_name(run.owner)}
                records.append(identity | values | measured | facts)
        return frame_of(records)

    @property
    def epochs(self) -> pd.DataFrame:
        """A row for each epoch of each run: its trial, label and seed, learning rates, losses, accuracy (%) and seconds."""
        records = [
            {"trial": trial.trial, "label": trial.design.label, "seed": run.seed, **asdict(epoch)}
            | {"time_estimated": run.time_estimated}
            for trial in self.whole or self.rows
            for run in trial.runs
            for epoch in self.epoch_rows.get(run.run_id, ())
        ]
        return frame_of(records)


WHOLE = ("pruned_after", "selected_epoch", "stop_after", "epochs_in_all")
"""Columns of whole numbers that may be missing."""


def frame_of(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Records as a DataFrame, a row for each; whole numbers stay whole where some are missing."""
    import pandas as pd

    made = pd.DataFrame.from_records(records)
    for name in WHOLE:
        if name in made:
            made[name] = made[name].astype("Int64")
    if "tied" in made:  # of measured designs only
        made["tied"] = made["tied"].eq(True)
    return made


def _design(trial: TrialRow, anytime: bool, later: Sequence[str]) -> dict[str, Any]:
    """A design in a row. `later` dimensions have a column, whatever the design has there."""
    measured = trial.measurement
    stops = {"stop_after": trial.stop_after, "epochs_in_all": trial.epochs_in_all} if anytime else {}
    return {
        "trial": trial.trial,
        "label": trial.design.label,
        **stops,
        **design_to_dict(trial.design),
        **{name: getattr(trial.design, name) for name in later},
        **(values_of(trial) or {}),
        "time_estimated": trial.time_estimated,
        "seeds": trial.seeds,
        "test_acc": measured.test_acc if measured else None,
        **({} if measured is None or measured.test_robust is None else {"test_robust": measured.test_robust}),
        "pruned_after": measured.pruned_after if measured else None,
        "weights": weights_of(trial),
    }


def _worker(trial: TrialRow) -> str | None:
    """The processes that train runs of the design, "host:process" each; None if there is none."""
    return ", ".join(worker_name(run.owner) or "" for run in trial.runs if run.state == "running") or None


def _sureness(standing: Standing | None, objectives: Sequence[Objective]) -> dict[str, Any]:
    """How sure a design is, in a row; nothing where no spread is known."""
    if standing is None or standing.on_front is None:
        return {}
    errors = {f"{name}_error": error for name, error in (standing.errors(objectives) or {}).items()}
    return {"tied": standing.doubtful, "front_probability": standing.on_front, **errors}
