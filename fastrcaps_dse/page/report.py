"""The report: the page as one file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastrcaps_dse.page.content import study_content
from fastrcaps_dse.page.curves import curves_content
from fastrcaps_dse.page.document import file_page
from fastrcaps_dse.page.panels import PANELS
from fastrcaps_dse.problem.objectives import Objective
from fastrcaps_dse.store import EpochRow, Note, StudyRow, TrialRow


def render(
    study: StudyRow,
    trials: Sequence[TrialRow],
    epochs_of: Mapping[int, Sequence[EpochRow]],
    objectives: Sequence[Objective],
    *,
    storage: str | None = None,
    notes: Mapping[int, Note] | None = None,
    compared: Mapping[str, Any] | None = None,
    anytime: bool | None = None,
) -> str:
    """The page of a study as one HTML file.

    `epochs_of` maps run ids to epochs. `storage` is the database as the user wrote it; it becomes part of the command to copy. `notes`
    maps trials to notes. `compared` is the content of a second study to compare with, as `study_content` gives it. `anytime` is the view
    that it opens with, by default the one that the study was started with.
    """
    seconds = {
        trial.trial: math.fsum(e.counted_seconds for run in trial.runs for e in epochs_of.get(run.run_id, ()))
        for trial in trials
    }
    content = study_content(study, trials, objectives, seconds, storage=storage, notes=notes, epochs=epochs_of, anytime=anytime)
    content["panels"] = {name: make(trials, objectives) for name, make in PANELS.items()}
    content["compared"] = compared
    return file_page(content, {trial.trial: curves_content(study, trial, epochs_of) for trial in trials})
