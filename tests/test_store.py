"""Storage: keys, versions, owners, and the errors of a database in clear words."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from fastrcaps_dse import store
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.search.optuna_storage import open_optuna_study, open_storage
from fastrcaps_dse.store import EpochRow, Store
from fastrcaps_dse.store.owner import process_name
from fastrcaps_dse.store.url import translate

POINT = DesignPoint()
EPOCH = EpochRow(
    epoch=1,
    batch_size=16,
    steps=3,
    lr_first=1e-3,
    lr_last=1e-3,
    margin_loss=0.1,
    reconstruction_loss=0.01,
    acc=90.0,
    warm_up_seconds=0.2,
    train_seconds=1.0,
    eval_seconds=0.1,
    counted_seconds=1.0,
)

SHAPE = {"channels": 1, "height": 28, "width": 28, "classes": 10}


@pytest.fixture
def ours(tmp_path: Path) -> Store:
    """A storage with one study."""
    url = store.parse_url(str(tmp_path / "s.db"))
    spec = parse_study("", default_name="s")
    study = open_optuna_study(spec, open_storage(url))
    made = Store(url, create=True)
    row = {"identity": spec.identity(), "spec_text": "", "target_trials": 3, "dataset_fingerprint": "0", "image_shape": SHAPE}
    made.add_study(row | {"study_id": study.study_id, "train_images": 10})
    return made


def claim(ours: Store, trial: int = 0, point: DesignPoint = POINT, seed: int = 0) -> store.RunRow:
    return ours.claim_run(ours.study().study_id, trial, design_to_dict(point), point.key, seed)


def test_runs_and_epochs(ours: Store) -> None:
    run = claim(ours)
    assert run.state == "running" and run.design == POINT and run.measurement is None
    ours.set_epoch(run.run_id, run.attempt, EPOCH)
    ours.set_epoch(run.run_id, run.attempt, replace(EPOCH, acc=91.0))  # trained again: it replaces the earlier record
    ours.set_epoch(run.run_id, run.attempt, replace(EPOCH, epoch=2))
    assert [e.acc for e in ours.epochs(run.run_id)] == [91.0, 90.0]
    assert ours.epochs_of(ours.study().study_id) == {run.run_id: ours.epochs(run.run_id)}
    ours.drop_epochs(run.run_id, run.attempt, after=1)
    assert [e.epoch for e in ours.epochs(run.run_id)] == [1]
    measured = Measurement(values={"acc": 91.0, "time": 1.0, "params": 5.0}, test_acc=90.5, selected_epoch=1)
    ours.finish_run(run.run_id, run.attempt, measured, 2.5, "w")
    with pytest.raises(store.Taken):
        claim(ours)
    (again,) = ours.runs(ours.study().study_id)
    assert again.run_id == run.run_id and again.measurement == measured and again.weights == "w"
    (trial,) = ours.trials(ours.study())
    assert trial.state == "done" and trial.measurement == measured and trial.seeds == 1


def test_foreign_keys_are_kept_and_cascade(ours: Store) -> None:
    run = claim(ours)
    ours.set_epoch(run.run_id, run.attempt, EPOCH)
    with pytest.raises(store.Superseded):
        ours.set_epoch(999, 1, EPOCH)
    with ours.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM fastrcaps_study"))
        assert connection.scalar(sa.text("SELECT count(*) FROM fastrcaps_run")) == 0
        assert connection.scalar(sa.text("SELECT count(*) FROM fastrcaps_epoch")) == 0


def test_looking_up_runs_and_trials_uses_an_index(ours: Store) -> None:
    with ours.engine.connect() as connection:
        for query in (
            "SELECT * FROM fastrcaps_run WHERE study_id = 1 AND design_key = 'x' AND seed = 0",
            "SELECT * FROM fastrcaps_run WHERE study_id = 1 AND trial = 3",
            "SELECT * FROM fastrcaps_epoch WHERE run_id = 1",
        ):
            plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {query}")).all()
            assert any("USING" in row[-1] and "INDEX" in row[-1] for row in plan)


def test_a_newer_database_is_refused(ours: Store) -> None:
    with ours.engine.begin() as connection:
        connection.execute(sa.text("UPDATE fastrcaps_schema SET version = 99"))
    with pytest.raises(InputError, match="written by a newer fastrcaps-dse"):
        Store(ours.url)


def test_an_older_database_is_brought_up_to_date(ours: Store) -> None:
    run = claim(ours)
    ours.set_epoch(run.run_id, run.attempt, EPOCH)
    with ours.engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX fastrcaps_run_revision"))
        for table, column in (
            ("epoch", "warm_up_seconds"),
            ("epoch", "counted_seconds"),
            ("epoch", "test_acc"),
            ("run", "test_robust"),
            ("run", "wall_time"),
            ("run", "others"),
            ("run", "pruned_after"),
            ("run", "algorithms"),
            ("study", "selection"),
            ("study", "classes"),
            ("study", "pixel_scaling"),
            *(("study", column) for column in ("revision", "deadline", "reference", "runs_place", "outlook", "mirrored_until")),
            *(("run", column) for column in ("attempt", "revision", "deaths", "time_estimated")),
        ):
            connection.execute(sa.text(f"ALTER TABLE fastrcaps_{table} DROP COLUMN {column}"))
        connection.execute(sa.text("DROP TABLE fastrcaps_step_time"))
        connection.execute(sa.text("DROP TABLE fastrcaps_algorithm_choice"))
        connection.execute(sa.text("UPDATE fastrcaps_schema SET version = 1"))
    for _ in range(2):
        again = Store(ours.url)
        for made in store.tables.OURS:
            columns = {column["name"] for column in sa.inspect(again.engine).get_columns(made.name)}
            assert columns == set(made.c.keys())
    assert again.epochs(run.run_id)[0].counted_seconds == EPOCH.train_seconds
    assert claim(again).algorithms == {}  # the default ones, with which it began
    assert claim(again, seed=1).algorithms is None  # a new run has yet to choose


def test_files_that_are_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_bytes(b"this is a letter, not a database. " * 100)
    for opening in (Store, open_storage):
        with pytest.raises(InputError, match="is not a database"):
            opening(store.parse_url(str(path)))
    assert path.read_bytes().startswith(b"this is a letter")
    with pytest.raises(InputError, match="there is no database"):
        Store(store.parse_url(str(tmp_path / "gone.db")))
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(InputError, match="holds no study"):
        Store(store.parse_url(str(tmp_path / "other.db")))


def test_places_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(MachineError, match="cannot be made"):
        open_storage(store.parse_url(str(tmp_path / "file" / "s.db")))
    with pytest.raises(MachineError, match="unable to open"):
        open_storage(store.parse_url(str(tmp_path)))
    with pytest.raises(InputError, match="is not the URL of a database"):
        store.parse_url("nosuch://host/name")


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("database or disk is full", MachineError, "disk of s.db is full"),
        ("database is locked", MachineError, "locked by another program"),
        ("file is not a database", InputError, "is not a database"),
        ("disk I/O error", MachineError, "cannot be used: disk I/O error"),
    ],
)
def test_errors_of_the_database_in_clear_words(text: str, kind: type[Exception], message: str) -> None:
    error = translate(sa.exc.OperationalError("SELECT 1", {}, sqlite3.OperationalError(text)), store.parse_url("s.db"))
    assert isinstance(error, kind) and message in error.message


def test_no_password_is_shown() -> None:
    url = store.parse_url("postgresql://ann:s3cret@host/name")
    assert "s3cret" not in store.url_text(url)
    error = translate(sa.exc.OperationalError("", {}, Exception("auth failed for s3cret")), url)
    assert "s3cret" not in error.message + error.hint
    with pytest.raises(InputError) as refused:
        store.parse_url("nosuch://ann:s3cret@host/name")
    assert "s3cret" not in str(refused.value)


def test_a_full_disk_loses_nothing(ours: Store) -> None:
    run = claim(ours)
    ours.set_epoch(run.run_id, run.attempt, EPOCH)

    @sa.event.listens_for(ours.engine, "connect")
    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # no page more than there are

    ours.engine.dispose()
    with pytest.raises(MachineError, match="is full"):
        for k in range(2, 20_000):
            ours.set_epoch(run.run_id, run.attempt, replace(EPOCH, epoch=k))
    ours.close()
    kept = Store(ours.url).epochs(run.run_id)
    assert kept[0].acc == 90.0 and [e.epoch for e in kept] == list(range(1, len(kept) + 1))


def test_who_is_alive() -> None:
    here = json.loads(process_name())
    now = time.time()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        named = process_name_of(other.pid)
        assert store.is_alive(named, now, now) and not store.is_alive(named, now - 9999, now)  # it is frozen
        used_again = json.dumps([here[0], other.pid, here[2] + "1"])
        assert not store.is_alive(used_again, now, now)  # the number was used again
        for unknown in ("another boot:1:2", here[2].replace(":", ":9", 1), ""):  # another machine or name space of this name
            assert store.is_alive(json.dumps([here[0], other.pid, unknown]), now, now)
        other.communicate(b"\n")
    assert not store.is_alive(named, now, now) and store.is_alive(process_name(), now, now)
    elsewhere = json.dumps(["another-host", 1, ""])
    assert store.is_alive(elsewhere, now, now) and not store.is_alive(elsewhere, now - 9999, now)
    assert not store.is_alive(None, None, now) and socket.gethostname() == here[0] and os.getpid() == here[1]


@pytest.mark.skipif(sys.platform != "linux", reason="states of processes are read from /proc")
def test_a_process_that_has_ended_but_is_not_waited_for_is_dead() -> None:
    """A container without an init process keeps them for as long as it runs."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        named = process_name_of(child.pid)
        now = time.time()
        assert store.is_alive(named, now, now)
        child.kill()
        deadline = time.monotonic() + 20
        while Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not store.is_alive(named, now, now)


def process_name_of(pid: int) -> str:
    from fastrcaps_dse.store.owner import _started

    return json.dumps([socket.gethostname(), pid, _started(pid)])


def test_a_run_that_another_process_trains_is_left_to_it(ours: Store) -> None:
    claim(ours)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with ours.engine.begin() as connection:
            connection.execute(sa.text("UPDATE fastrcaps_run SET owner = :o"), {"o": process_name_of(other.pid)})
        with pytest.raises(store.Taken):
            claim(ours)
        other.communicate(b"\n")
    assert claim(ours).state == "running"  # the other has died: its run is taken up
