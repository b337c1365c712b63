"""Optuna's storage and a study in it: a mirror of the store's trials, which every Optuna tool can open.

What was tried and measured is written here a moment later than in the store, by one process at a time; nothing is read back.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState, create_trial

from fastrcaps_dse import store
from fastrcaps_dse.analysis.picks import Limit
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.problem.objectives import Measurement, Objective
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.parameters import parameters, point_of
from fastrcaps_dse.store import EpochRow, TrialRow


def quiet_optuna() -> None:
    """Let Optuna log errors only, in this process: for programs that report on their own what is tried."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def open_storage(url: store.URL) -> RDBStorage:
    """Optuna's storage; its tables are made where there are none yet. Raises InputError, MachineError."""
    path = store.sqlite_path(url)
    if path:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(f"the folder {path.parent} cannot be made: {error.strerror}", "name another --storage") from None
    engine_options = {"connect_args": {"timeout": 60}} if path else {"pool_pre_ping": True}
    with store.opening_alone(url), store.clear_errors(url):
        store.make_tables(url, models.BaseModel.metadata)  # at once, as a kill would leave a part of what Optuna makes
        try:
            storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=engine_options)
        except RuntimeError as error:
            raise InputError(
                f"{store.url_text(url)} was written by another version of Optuna: {str(error).splitlines()[0]}",
                "`optuna storage upgrade`, or name another database with --storage",
            ) from None
        store.begin_immediate(storage.engine)
    return storage


def delete_optuna_study(storage: RDBStorage, study_id: int) -> None:
    """Delete a study with its trials from Optuna's tables."""
    storage.delete_study(study_id)


def directions_of(spec: StudySpec) -> list[Literal["maximize", "minimize"]]:
    """The direction of each objective of a study."""
    return [objective.direction for objective in spec.objectives]


def metric_name(objective: Objective) -> str:
    """The name of an objective's values in Optuna's tools, with the unit unless that is what is counted."""
    return objective.name if objective.unit in (objective.name, "parameters") else f"{objective.name} ({objective.unit})"


def constraints_of(limits: Sequence[Limit], measured: Mapping[str, float] | Measurement) -> dict[str, float]:
    """By how much each limit is violated, in the unit of its objective: Optuna calls a trial feasible where none is above 0."""
    return {str(limit): limit.violation(measured[limit.objective]) for limit in limits}


STATES = {
    "running": TrialState.RUNNING,
    "interrupted": TrialState.WAITING,
    "done": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
}
"""Optuna's name of the state of a trial; where runs are paused, those that wait are RUNNING, too."""


@dataclass(frozen=True, kw_only=True)
class OptunaStudy:
    """A study in an Optuna storage."""

    spec: StudySpec
    storage: BaseStorage
    study: optuna.Study
    study_id: int
    is_new: bool  # it was made just now

    def mirror(self, trials: Iterable[tuple[TrialRow, Sequence[EpochRow]]], limits: Sequence[Limit] = ()) -> None:
        """Let Optuna's trials of these designs be as the store has them. What has ended stays as it is.

        With each design come the epochs of its first run, whose accuracies become the intermediate values; `limits` become constraints
        of measured trials.
        """
        by_design = {trial.user_attrs.get("design"): trial for trial in self.study.get_trials(deepcopy=False)}
        for trial, epochs in trials:
            found = by_design.get(trial.design.key)
            accuracies = {epoch.epoch: epoch.acc for epoch in epochs}
            constraints = constraints_of(limits, trial.measurement) if trial.measurement is not None else {}
            if found is None:
                self._add(trial, accuracies, constraints)
            elif not found.state.is_finished():
                self._update(found, trial, accuracies, constraints)

    def _add(self, trial: TrialRow, accuracies: dict[int, float], constraints: dict[str, float]) -> None:
        chosen, distributions = parameters(trial.design, self.spec.space)
        made = create_trial(
            state=self._state(trial),
            values=self._values(trial),
            params=chosen,
            distributions=distributions,
            user_attrs=self._attributes(trial, constraints),
            intermediate_values=accuracies,
            constraints=constraints,
        )
        if made.state != TrialState.WAITING:
            made.datetime_start = datetime.fromtimestamp(min(run.started for run in trial.runs))
        if made.state.is_finished():
            made.datetime_complete = datetime.fromtimestamp(max(run.ended or run.started for run in trial.runs))
        self.storage.create_new_trial(self.study_id, made)

    def _update(self, found: FrozenTrial, trial: TrialRow, accuracies: dict[int, float], constraints: dict[str, float]) -> None:
        for epoch in sorted(accuracies.keys() - found.intermediate_values.keys()):
            self.storage.set_trial_intermediate_value(found._trial_id, epoch, accuracies[epoch])
        for name, value in self._attributes(trial, constraints).items():
            if found.user_attrs.get(name) != value:
                self.storage.set_trial_user_attr(found._trial_id, name, value)
        for name, violation in constraints.items():
            optuna.Trial(self.study, found._trial_id).set_constraint(name, violation)
        if self._state(trial) != found.state:
            self.storage.set_trial_state_values(found._trial_id, self._state(trial), self._values(trial))

    def _state(self, trial: TrialRow) -> TrialState:
        is_paused = trial.state == "interrupted" and self.spec.sampler == "freeze-thaw"
        return TrialState.RUNNING if is_paused else STATES[trial.state]

    def _values(self, trial: TrialRow) -> list[float] | None:
        if trial.measurement is None:
            return None
        return [trial.measurement[objective.name] for objective in self.spec.objectives]

    def _attributes(self, trial: TrialRow, constraints: Mapping[str, float]) -> dict[str, Any]:
        """What Optuna's tools show of a trial beside its values."""
        attributes: dict[str, Any] = {"label": trial.design.label, "design": trial.design.key}
        if trial.state == "failed":
            attributes["reason"] = next((run.reason for run in trial.runs if run.state == "failed"), None)
        if trial.measurement is not None:
            attributes |= {
                "measurement": asdict(trial.measurement),
                "test_acc (%)": trial.measurement.test_acc,
                "test_robust (%)": trial.measurement.test_robust,
                "pruned_after (epochs)": trial.measurement.pruned_after,
                "violates": ", ".join(name for name, violation in constraints.items() if violation > 0) or None,
            }
        return {name: value for name, value in attributes.items() if value is not None}

    def announced(self) -> list[tuple[int, DesignPoint]]:
        """(number, design) of Optuna's trials that are not finished: earlier versions announced a design there first."""
        trials = self.study.get_trials(deepcopy=False)
        unfinished = [trial for trial in trials if not trial.state.is_finished() and "design" in trial.user_attrs]
        return [(trial.number, point_of(trial, self.spec.space)) for trial in unfinished]

    def close(self) -> None:
        """Close the storage's connections."""
        if isinstance(self.storage, RDBStorage):
            self.storage.engine.dispose()


def open_optuna_study(spec: StudySpec, storage: BaseStorage) -> OptunaStudy:
    """The study of this name, made where there is none yet."""
    try:
        study = optuna.create_study(study_name=spec.name, storage=storage, directions=directions_of(spec))
        is_new = True
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(study_name=spec.name, storage=storage)
        is_new = False
    if is_new:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # dashboards have no other names of values
            study.set_metric_names([metric_name(objective) for objective in spec.objectives])
        for name in ("dataset", "protocol", "epochs", "seeds"):
            study.set_user_attr(name, getattr(spec, name))
        if spec.train_images is not None:
            study.set_user_attr("train_images", spec.train_images)
    study_id = storage.get_study_id_from_name(spec.name)
    return OptunaStudy(spec=spec, storage=storage, study=study, study_id=study_id, is_new=is_new)
