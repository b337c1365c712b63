"""What processes that were killed have left behind: swept when a study is explored next."""

from __future__ import annotations

import shutil
from pathlib import Path

from fastrcaps_dse import store
from fastrcaps_dse.runs.files import keep_only
from fastrcaps_dse.runs.holdings import LEFT_OVER, classified_behind, free
from fastrcaps_dse.runs.prefix_cache import is_abandoned
from fastrcaps_dse.runs.runner import PREFIXES
from fastrcaps_dse.store import Store, StudyRow


def sweep(ours: Store, study: StudyRow) -> None:
    """Delete checkpoints of the study's finished runs, all files of its failed ones, and prefixes that nobody goes on writing.

    A run is stored as finished before its checkpoints are deleted, so that a process that is killed in between leaves them. Runs that are
    not finished, and whatever belongs to other studies, stay as they are.
    """
    runs, runs_place = ours.runs_folder, ours.runs_places.here
    behind = runs_place.files()
    found = ours.runs(study.study_id)
    free(held for held in classified_behind(runs_place, behind, found) if held.kind == LEFT_OVER)
    for run in found:
        folder = store.run_folder(runs, run.run_id)
        if run.state == "done" and run.weights:
            keep_only(Path(run.weights), folder)
        elif run.state in ("done", "failed"):
            shutil.rmtree(folder, ignore_errors=True)
    prefixes = runs / PREFIXES
    for entry in prefixes.iterdir() if prefixes.is_dir() else ():
        if is_abandoned(entry):
            shutil.rmtree(entry, ignore_errors=True)
