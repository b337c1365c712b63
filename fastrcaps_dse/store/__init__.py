"""Our tables, in the database of Optuna's storage: studies, runs and every epoch of every run.

Optuna's own tables hold studies, trials and their states; ours, under the prefix `fastrcaps_`, what it has no place for.
Reading needs no Optuna. This room owns SQLAlchemy and fsspec.
"""

from sqlalchemy.engine import URL

from fastrcaps_dse.store.claims import Superseded, Taken
from fastrcaps_dse.store.connection import OUTAGE_SECONDS
from fastrcaps_dse.store.database import Store, StudyState
from fastrcaps_dse.store.notes import Note, notes_of, set_note
from fastrcaps_dse.store.owner import HEARTBEAT_SECONDS, STALE_SECONDS, any_alive, host_name, host_of, is_alive
from fastrcaps_dse.store.rows import UNFINISHED, AlgorithmChoice, EpochRow, RunRow, StepTime, StudyRow, TrialRow
from fastrcaps_dse.store.runs import grouped_trials
from fastrcaps_dse.store.runs_places import RunsPlace, RunsPlaces, check_place, found_folder, named_place
from fastrcaps_dse.store.url import (
    attempt_folder,
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
    "HEARTBEAT_SECONDS",
    "OUTAGE_SECONDS",
    "STALE_SECONDS",
    "UNFINISHED",
    "URL",
    "AlgorithmChoice",
    "EpochRow",
    "Note",
    "RunRow",
    "RunsPlace",
    "RunsPlaces",
    "StepTime",
    "Store",
    "StudyRow",
    "StudyState",
    "Superseded",
    "Taken",
    "TrialRow",
    "any_alive",
    "attempt_folder",
    "begin_immediate",
    "check_place",
    "clear_errors",
    "default_url",
    "found_folder",
    "grouped_trials",
    "host_name",
    "host_of",
    "is_alive",
    "named_place",
    "notes_of",
    "open_url",
    "parse_url",
    "run_folder",
    "runs_folder",
    "set_note",
    "sqlite_path",
    "url_text",
    "without_password",
]
