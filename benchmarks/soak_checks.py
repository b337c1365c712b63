"""What must hold of a storage whatever happened to the processes that wrote it: each check gives what is wrong, in words."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.trial import TrialState

from fastrcaps_dse import store
from fastrcaps_dse.errors import UserError
from fastrcaps_dse.store import Store, StudyRow

CLOCKED = ("warm_up_seconds", "train_seconds", "eval_seconds", "counted_seconds")
"""Columns of an epoch that a clock told: no two machines agree on them."""


def unreadable(url: store.URL) -> list[str]:
    """What keeps a command that only reads from a database that a killed process has left."""
    try:
        reading = Store(url, read_only=True)
        for study in reading.studies():
            reading.runs(study.study_id)
        reading.close()
    except UserError as error:
        early = any(word in error.message for word in ("holds no study", "there is no database"))
        return [] if early else [f"it cannot be read: {error.message}"]
    return []


Curve = Mapping[int, tuple[Any, ...]]
"""By epoch, all that is stored of it but what a clock told."""
Curves = Mapping[tuple[str, int], Curve]
"""By design key and seed."""


def integrity(path: Path) -> list[str]:
    """What SQLite itself says of a database: its pages, and its foreign keys."""
    with sqlite3.connect(path, timeout=60) as connection:
        said = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    connection.close()
    return [f"integrity_check: {line}" for line in said if line != "ok"] + [f"an orphan: {row}" for row in orphans]


def curves_of(url: store.URL, name: str) -> Curves:
    """The stored epochs of a study; nothing where it is not there yet."""
    epoch, run = store.tables.epoch, store.tables.run
    kept = [column for column in epoch.c if column.name not in ("run_id", "epoch", *CLOCKED)]
    query = (
        sa.select(run.c.design_key, run.c.seed, epoch.c.epoch, *kept)
        .join_from(epoch, run)
        .join(store.tables.studies, store.tables.studies.c.study_id == run.c.study_id)
        .where(store.tables.studies.c.study_name == name)
    )
    found: dict[tuple[str, int], dict[int, tuple[Any, ...]]] = {}
    for row in _rows(url, query):
        found.setdefault((row[0], row[1]), {})[row[2]] = tuple(row[3:])
    return found


def _rows(url: store.URL, query: sa.Select[Any]) -> list[Any]:
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"timeout": 60} if store.sqlite_path(url) else {})
    try:
        with engine.connect() as connection:
            return list(connection.execute(query))
    except sa.exc.DBAPIError as error:
        if "no such table" in str(error) or "does not exist" in str(error):
            return []
        raise


def lost(seen: Curves, now: Curves, running: int) -> Iterator[str]:
    """Epochs that a reader had seen and that are gone or different now; of a run that goes on, the last one may be under way again.

    Arguments:
        running: epochs at the end of a run that may be missing: 1 while processes work, 0 once the study is complete.
    """
    for (key, seed), curve in seen.items():
        have = now.get((key, seed), {})
        for number in sorted(curve):
            if number in have and have[number] != curve[number]:
                yield f"{key}, seed {seed}: epoch {number} was {curve[number]} and is {have[number]}"
            if number not in have and number <= max(curve) - running:
                yield f"{key}, seed {seed}: epoch {number} was stored and is gone"


def differences(reference: Curves, now: Curves) -> Iterator[str]:
    """Where curves are not those of a reference, bit for bit."""
    for name in reference.keys() | now.keys():
        if reference.get(name) != now.get(name):
            yield f"{name}: the reference has {reference.get(name)}, this has {now.get(name)}"


def double_work(ours: Store, study: StudyRow, designs: int | None) -> Iterator[str]:
    """Designs that the study has twice, has not, or that are not finished; runs that nobody has or whose epochs have gaps."""
    runs = ours.runs(study.study_id)
    for (key, seed), count in Counter((run.design.key, run.seed) for run in runs).items():
        if count > 1:
            yield f"{key}, seed {seed} has {count} runs"
    trials = {run.trial for run in runs}
    if trials != set(range(len(trials))):
        yield f"trial numbers have gaps: {sorted(trials)}"
    if len({run.design.key for run in runs}) != len(trials):
        yield f"{len(trials)} trials of {len({run.design.key for run in runs})} designs"
    if designs is not None and len(trials) != designs:
        yield f"{len(trials)} designs of {designs}"
    epochs = ours.epochs_of(study.study_id)
    for run in runs:
        if run.state != "done":
            yield f"run {run.run_id} is {run.state} ({run.reason})"
        numbers = [row.epoch for row in epochs.get(run.run_id, [])]
        if numbers != list(range(1, int(study.identity["epochs"]) + 1)):
            yield f"run {run.run_id} has epochs {numbers}"
        if run.measurement is not None and run.measurement.selected_epoch is not None:
            reached = [row.acc for row in epochs.get(run.run_id, []) if row.epoch == run.measurement.selected_epoch]
            if reached != [run.measurement["acc"]]:
                yield f"run {run.run_id} is said to reach {run.measurement['acc']}, its epoch has {reached}"


def mirror_faults(ours: Store, study: StudyRow) -> Iterator[str]:
    """Where Optuna's tables are not like ours."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(ours.url.render_as_string(hide_password=False))
    theirs = optuna.load_study(study_name=study.name, storage=storage).get_trials()
    storage.engine.dispose()
    mine = {trial.design.key: trial for trial in ours.trials(study)}
    keys = Counter(trial.user_attrs.get("design") for trial in theirs)
    for key in keys.keys() | mine.keys():
        if keys[key] != (key in mine):
            yield f"Optuna has {keys[key]} trials of {key}, the study has {int(key in mine)}"
    for trial in theirs:
        own = mine.get(str(trial.user_attrs.get("design")))
        if own is None or own.measurement is None:
            continue
        values = [own.measurement[objective.name] for objective in study.objectives]
        if trial.state != TrialState.COMPLETE or trial.values != values or trial.number != own.trial:
            yield f"Optuna's trial {trial.number} is {trial.state.name} {trial.values}, ours is {own.trial}: {values}"
        accuracies = {row.epoch: row.acc for row in ours.epochs(own.runs[0].run_id)}
        if trial.intermediate_values != accuracies:
            yield f"Optuna's trial {trial.number} has the accuracies {trial.intermediate_values}, the run has {accuracies}"


def kept_files(ours: Store, study: StudyRow) -> tuple[set[tuple[str, int]], list[str]]:
    """(design key and seed of each run whose weights are kept, files that belong to nothing), of a complete study alone in its storage."""
    folder = store.runs_folder(ours.url)
    weights: dict[Path, tuple[str, int]] = {}
    wrong: list[str] = []
    for run in ours.runs(study.study_id):
        if run.weights is not None:
            weights[Path(run.weights).resolve()] = (run.design.key, run.seed)
    for path in folder.rglob("*") if folder.is_dir() else ():
        in_cache = path.relative_to(folder).parts[0] == "prefixes"
        if path.is_file() and not in_cache and path.resolve() not in weights:
            wrong.append(f"{path.relative_to(folder)} is left over")
        if path.is_file() and in_cache and (path.suffix in (".partial", ".tmp") or not path.parent.name.isalnum()):
            wrong.append(f"{path.relative_to(folder)} was written in part")
    wrong += [f"the weights {path} are gone" for path in weights if not path.is_file()]
    return set(weights.values()), wrong


def owners_alive(ours: Store, study: StudyRow) -> list[str]:
    """Running runs whose process is gone, and those that nobody has: there are none once the study is complete."""
    run = store.tables.run.c
    rows = _rows(ours.url, sa.select(run.run_id, run.owner).where((run.study_id == study.study_id) & (run.state == "running")))
    return [f"run {row.run_id} is running, of {json.loads(row.owner)[:2] if row.owner else 'nobody'}" for row in rows]
