"""Keep a storage in order: delete and rename studies, and free what their runs leave behind."""

from __future__ import annotations

import shutil

from fastrcaps_dse import store
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.runs.holdings import FREED, Holding, free, holdings
from fastrcaps_dse.runs.stopped_weights import FOLDER, StoppedWeights
from fastrcaps_dse.search.optuna_storage import delete_optuna_study, open_storage
from fastrcaps_dse.store import Store, StudyRow

LONGEST_NAME = 200  # characters of a study's name


def delete_study(ours: Store, name: str) -> StudyRow:
    """Delete a study with its runs, epochs and files; its row as it was.

    Raises InputError where there is no such study, MachineError for one that is being explored.
    """
    study = ours.study(name)
    _refuse_while_explored(ours, study)
    runs_place = ours.runs_places.of(study.study_id)
    run_ids = {run.run_id for run in ours.runs(study.study_id)}
    folders = [store.run_folder(runs_place.folder, run_id) for run_id in run_ids]
    optunas = open_storage(ours.url)
    try:
        ours.delete_study(study.study_id)  # before Optuna's, whose ids are used again
        delete_optuna_study(optunas, study.study_id)
    finally:
        optunas.remove_session()
        optunas.engine.dispose()
    StoppedWeights(folder=runs_place.folder / FOLDER).drop(run_ids)
    if runs_place is not ours.runs_places.default:  # a folder of the study's own
        runs_place.drop(runs_place.folder)
        folders = [runs_place.folder]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return study


def rename_study(ours: Store, old: str, new: str) -> None:
    """Give a study another name. Raises InputError for an unknown, a taken or an empty name, MachineError as `delete_study`."""
    study = ours.study(old)
    _refuse_while_explored(ours, study)
    if not new.strip() or not new.isprintable() or len(new) > LONGEST_NAME:
        raise InputError(f"{new!r} cannot be the name of a study", f"use 1 to {LONGEST_NAME} printable characters")
    ours.rename_study(study.study_id, new)


def freeable(ours: Store, *, remote: bool = False) -> list[Holding]:
    """What `clean` frees: the prefix cache, and files that no run needs. `remote`: behind URLs, too, which takes the network."""
    return [held for held in holdings(ours, remote=remote) if held.kind in FREED]


def clean(ours: Store) -> int:
    """Free what no result and no continued run needs; the bytes that it had. Raises MachineError while a study is being explored."""
    for study in ours.studies():
        _refuse_while_explored(ours, study)
    return free(freeable(ours, remote=True))


def _refuse_while_explored(ours: Store, study: StudyRow) -> None:
    """Raises MachineError if a living process trains a run of the study."""
    if store.any_alive(ours.owners(study.study_id)):
        raise MachineError(f"the study {study.name!r} is being explored by another process", "wait for it, or stop it")
