"""Where a process keeps the files of its study's runs: where the user says, or the study has them. What is needed is copied there."""

from __future__ import annotations

import logging
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from fastrcaps_dse import store
from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.runs.files import LAST
from fastrcaps_dse.store import UNFINISHED, RunRow, RunsPlace, Store, StudyRow
from fastrcaps_dse.store.remote import PARTIAL, is_remote

logger = logging.getLogger(__name__)


def choose_place(ours: Store, study: StudyRow, named: str | None) -> StudyRow:
    """Let this process keep the files of the study's runs at `named`, or where the study has them; the row of the study as it is then.

    `named` is from `store.named_place`. A place that is new to the study is stored with it, and gets the weights and checkpoints of its
    runs, as far as they can be reached from here. Raises MachineError for a place that cannot be written.
    """
    wanted, old = named or study.runs_place, ours.runs_places.of(study.study_id)
    if wanted is None:
        return study
    if named is None and not is_remote(wanted) and not store.found_folder(wanted).is_dir():
        raise MachineError(
            f"the study keeps its runs' files in {wanted}, which is not on this machine",
            "mount it, or say with --runs what it is called here",
        )
    runs_place = ours.runs_places.made(study.study_id, study.created, wanted)
    runs_place.check()
    if wanted != study.runs_place and not _is_same(study.runs_place, wanted, runs_place):
        _move(ours, study, old, runs_place)
        ours.set_study(study.study_id, {"runs_place": wanted})
    ours.runs_places.enter(study.study_id, runs_place, wanted)
    return ours.study(study.name)


def _is_same(stored: str | None, named: str, runs_place: RunsPlace) -> bool:
    """Whether a named folder is the stored one, which this machine calls otherwise: only the named one is here, and has the study."""
    if stored is None or is_remote(stored) or is_remote(named):
        return False
    return not Path(stored).is_dir() and any(runs_place.folder.iterdir())


def _move(ours: Store, study: StudyRow, old: RunsPlace, new: RunsPlace) -> None:
    """Copy what is needed of the files of a study's runs to another place, and say what is there and what is lacking."""
    runs = [run for run in ours.runs(study.study_id) if run.weights or run.state in UNFINISHED]
    copied, lacking = 0, list[int]()
    for run in runs:
        wanted = _needed(old, run)
        for path in wanted:
            copied += _copy(path, old, new)
        for folder in sorted({path.parent for path in wanted}):
            new.push(new.folder / folder.relative_to(old.folder))
        if run.weights and not new.bring(_in(new, old, Path(run.weights))):
            lacking.append(run.trial)
    if copied:
        logger.warning("%s of the study copied from %s to %s", counted(copied, "file"), old.text, new.text)
    if lacking:
        logger.warning(
            "the weights of %s are neither in %s nor in %s: copy them there from the machine that trained them",
            *(counted(len(lacking), "design"), old.text, new.text),
        )
    if store.any_alive(ours.owners(study.study_id)):
        logger.warning(
            "another process explores this study and keeps its files in %s: if that is not %s, the weights of its runs will be lacking",
            *(old.text, new.text),
        )


def _needed(old: RunsPlace, run: RunRow) -> list[Path]:
    """The files of a run that its weights, or its continuation, need; those that are here or can be fetched."""
    folder = store.run_folder(old.folder, run.run_id)
    with suppress(MachineError):  # what cannot be reached any more is told as lacking
        if run.weights:
            return [Path(run.weights)] if _is_in(old, run.weights) and old.bring(Path(run.weights)) else []
        old.fetch(folder, LAST)
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(PARTIAL)]


def _is_in(runs_place: RunsPlace, weights: str) -> bool:
    return ".." not in Path(weights).parts and Path(weights).is_relative_to(runs_place.folder)


def _in(new: RunsPlace, old: RunsPlace, path: Path) -> Path:
    """The path of a file in another place."""
    return new.folder / path.relative_to(old.folder) if path.is_relative_to(old.folder) else path


def _copy(path: Path, old: RunsPlace, new: RunsPlace) -> bool:
    """Copy a file to the folder of another place, whole or not at all; whether it is new there, or will be behind its URL."""
    target = _in(new, old, path)
    if target.exists():
        return new.remote is not None
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    shutil.copyfile(path, partial)
    partial.replace(target)
    return True
