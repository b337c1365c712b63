"""Our tables, in the database of Optuna's storage: studies, runs and every epoch of every run.

Optuna's own tables hold studies, trials and their states; ours, under the prefix `fastrcaps_`, what it has no place for.
Reading needs no Optuna. This room owns SQLAlchemy and fsspec.
"""

from sqlalchemy.engine import URL

from fastrcaps_dse.store.answer import Answer, answer_of
from fastrcaps_dse.store.claims import Full, Superseded, Taken
from fastrcaps_dse.store.connection import OUTAGE_SECONDS, is_outage
from fastrcaps_dse.store.creation import make_tables, opening_alone, restart_patience
from fastrcaps_dse.store.database import Store, StudyState
from fastrcaps_dse.store.network_disks import network_disk_of, warn_of_network_disk
from fastrcaps_dse.store.notes import Note, notes_of, set_note
from fastrcaps_dse.store.owner import HEARTBEAT_SECONDS, STALE_SECONDS, any_alive, host_name, is_alive
from fastrcaps_dse.store.recount import (
    Recount,
    apply_recounts,
    change_reference,
    estimated_runs,
    measured_devices,
    reference_of,
    set_reference,
)
from fastrcaps_dse.store.rows import UNFINISHED, AlgorithmChoice, EpochRow, Key, RunRow, StepTime, StudyRow, TrialRow
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
from fastrcaps_dse.store.workers import Worker, process_of, worker_name, workers_of

__all__ = [
    "HEARTBEAT_SECONDS",
    "OUTAGE_SECONDS",
    "STALE_SECONDS",
    "UNFINISHED",
    "URL",
    "AlgorithmChoice",
    "Answer",
    "EpochRow",
    "Full",
    "Key",
    "Note",
    "Recount",
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
    "Worker",
    "answer_of",
    "any_alive",
    "apply_recounts",
    "attempt_folder",
    "begin_immediate",
    "change_reference",
    "check_place",
    "clear_errors",
    "default_url",
    "estimated_runs",
    "found_folder",
    "grouped_trials",
    "host_name",
    "is_alive",
    "is_outage",
    "make_tables",
    "measured_devices",
    "named_place",
    "network_disk_of",
    "notes_of",
    "open_url",
    "opening_alone",
    "parse_url",
    "process_of",
    "reference_of",
    "restart_patience",
    "run_folder",
    "runs_folder",
    "set_note",
    "set_reference",
    "sqlite_path",
    "url_text",
    "warn_of_network_disk",
    "without_password",
    "worker_name",
    "workers_of",
]
