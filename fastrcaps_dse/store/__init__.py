"""Our tables, in the database of Optuna's storage: studies, runs and every epoch of every run.

Optuna's own tables hold studies, trials and their states; ours, under the prefix `fastrcaps_`, what it has no place for.
Reading needs no Optuna. This room owns SQLAlchemy.
"""

from sqlalchemy.engine import URL

from fastrcaps_dse.store.database import Store
from fastrcaps_dse.store.notes import Note, notes_of, set_note
from fastrcaps_dse.store.owner import any_alive, is_alive
from fastrcaps_dse.store.recount import (
    Recount,
    apply_recounts,
    change_reference,
    estimated_runs,
    measured_devices,
    reference_of,
    revision_of,
    set_counted_seconds,
    set_reference,
)
from fastrcaps_dse.store.rows import UNFINISHED, AlgorithmChoice, EpochRow, RunRow, StepTime, StudyRow, TrialRow
from fastrcaps_dse.store.url import (
    begin_immediate,
    clear_errors,
    default_url,
    open_url,
    parse_url,
    run_folder,
    runs_folder,
    sqlite_path,
    url_text,
    without_password,
)

__all__ = [
    "UNFINISHED",
    "URL",
    "AlgorithmChoice",
    "EpochRow",
    "Note",
    "Recount",
    "RunRow",
    "StepTime",
    "Store",
    "StudyRow",
    "TrialRow",
    "any_alive",
    "apply_recounts",
    "begin_immediate",
    "change_reference",
    "clear_errors",
    "default_url",
    "estimated_runs",
    "is_alive",
    "measured_devices",
    "notes_of",
    "open_url",
    "parse_url",
    "reference_of",
    "revision_of",
    "run_folder",
    "runs_folder",
    "set_counted_seconds",
    "set_note",
    "set_reference",
    "sqlite_path",
    "url_text",
    "without_password",
]
