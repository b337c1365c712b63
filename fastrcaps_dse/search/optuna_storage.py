"""Optuna's storage, and its study in it."""

from __future__ import annotations

import warnings

import optuna
from optuna.storages import RDBStorage

from fastrcaps_dse import store
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.problem.study_spec import StudySpec

optuna.logging.set_verbosity(optuna.logging.ERROR)


def open_storage(url: store.URL) -> RDBStorage:
    """Optuna's storage; its tables are made where they are not there. Raises InputError, MachineError."""
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
                f"{store.shown(url)} was written by another version of Optuna: {str(error).splitlines()[0]}",
                "`optuna storage upgrade`, or name another database with --storage",
            ) from None
        store.begin_immediate(storage.engine)
    return storage


def find_study(spec: StudySpec, storage: RDBStorage) -> tuple[optuna.Study, bool]:
    """(the stored study of this name, whether it was there already)."""
    directions = [objective.direction for objective in spec.objectives]
    try:
        study = optuna.create_study(study_name=spec.name, storage=storage, directions=directions)
    except optuna.exceptions.DuplicatedStudyError:
        return optuna.load_study(study_name=spec.name, storage=storage), True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # all that dashboards show names by
        study.set_metric_names([f"{objective.name} ({objective.unit})" for objective in spec.objectives])
    return study, False
