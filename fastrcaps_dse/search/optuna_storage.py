"""Optuna's storage and a study in it: the trials and their states, which every Optuna tool can open.

The loop writes here what it has decided and what was measured; it reads back only which trials there are, never a value.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState, create_trial

from fastrcaps_dse import store
from fastrcaps_dse.analysis.picks import Limit
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.problem.objectives import Measurement, Objective
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.history import FinishedTrial, History, OpenTrial
from fastrcaps_dse.search.parameters import parameters, point_of


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
    with store.clear_errors(url):
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


@dataclass(frozen=True, kw_only=True)
class OptunaStudy:
    """A study in an Optuna storage."""

    spec: StudySpec
    storage: BaseStorage
    study: optuna.Study
    study_id: int
    is_new: bool  # it was made just now

    def history(self, measured: Mapping[int, Measurement], history: History | None = None) -> History:
        """The trials of earlier processes; `measured` maps the numbers of those that are done to what the store has of them."""
        history = history or History()
        for trial in self.study.get_trials(deepcopy=False):
            point = point_of(trial, self.spec.space)
            history.keys.add(point.key)
            if trial.state.is_finished():
                found = measured.get(trial.number) if trial.state == TrialState.COMPLETE else None
                history.finished.append(FinishedTrial(number=trial.number, point=point, measurement=found))
            else:
                history.waiting.append(OpenTrial(number=trial.number, point=point, resumed=True))
        return history

    def add_trial(self, point: DesignPoint) -> int:
        """The number of a new trial of this design. It is running from the start, so that no other process takes it."""
        values, distributions = parameters(point, self.spec.space)
        template = create_trial(state=TrialState.RUNNING, params=values, distributions=distributions)
        template.datetime_start = datetime.now()
        template.user_attrs = {"label": point.label, "design": point.key}
        return self.storage.get_trial(self.storage.create_new_trial(self.study_id, template)).number

    def leave(self, trial: int) -> None:
        """Let a trial that is not finished wait, as nobody trains it any more."""
        self.storage.set_trial_state_values(self._trial_id(trial), TrialState.WAITING)

    def take_up(self, trial: int) -> None:
        """Let a trial run that an earlier process has left."""
        self.storage.set_trial_state_values(self._trial_id(trial), TrialState.RUNNING)

    def report(self, trial: int, accuracies: Iterator[tuple[int, float]] | Sequence[tuple[int, float]]) -> None:
        """Keep (epoch, accuracy in %) pairs as the trial's intermediate values, which Optuna's tools plot."""
        for epoch, accuracy in accuracies:
            self.storage.set_trial_intermediate_value(self._trial_id(trial), epoch, accuracy)

    def complete(self, trial: int, mean: Measurement, limits: Sequence[Limit] = ()) -> None:
        """End a trial with the mean over its seeds, and with its constraints."""
        constraints = constraints_of(limits, mean)
        attributes = {
            "measurement": asdict(mean),
            "test_acc (%)": mean.test_acc,
            "pruned_after (epochs)": mean.pruned_after,
            "violates": ", ".join(name for name, violation in constraints.items() if violation > 0) or None,
        }
        for name, value in attributes.items():
            if value is not None:
                self.storage.set_trial_user_attr(self._trial_id(trial), name, value)
        for name, violation in constraints.items():
            optuna.Trial(self.study, self._trial_id(trial)).set_constraint(name, violation)
        self.study.tell(trial, [mean[objective.name] for objective in self.spec.objectives])

    def fail(self, trial: int, reason: str) -> None:
        """End a trial that has no measurement."""
        self.storage.set_trial_user_attr(self._trial_id(trial), "reason", reason)
        self.study.tell(trial, state=TrialState.FAIL)

    def close(self) -> None:
        """Close the storage's connections."""
        if isinstance(self.storage, RDBStorage):
            self.storage.engine.dispose()

    def _trial_id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)


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
    study_id = storage.get_study_id_from_name(spec.name)
    return OptunaStudy(spec=spec, storage=storage, study=study, study_id=study_id, is_new=is_new)
