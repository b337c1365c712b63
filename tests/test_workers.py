"""Who works on what: the processes that train runs, on all machines."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse import store
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.search.optuna_storage import open_optuna_study, open_storage
from fastrcaps_dse.store import Store, host_name, process_of, tables, worker_name, workers_of
from fastrcaps_dse.store.owner import STALE_SECONDS, process_name
from tests.conftest import Command
from tests.synthetic import write_study
from tests.test_store import SHAPE

DEAD = 10 * STALE_SECONDS


def owner(host: str, process: int) -> str:
    return json.dumps([host, process, f"boot:{process}"])


def set_runs(ours: Store, values: Mapping[int, Mapping[str, Any]]) -> None:
    """Change runs by their numbers; `silent` is for how long the heart has not beaten, in s."""
    with ours.engine.begin() as connection:
        for run_id, changes in values.items():
            changed = {"heartbeat": time.time() - changes["silent"], **changes}
            changed.pop("silent")
            connection.execute(tables.run.update().where(tables.run.c.run_id == run_id).values(**changed))


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Store]:
    """A study of three finished designs and four running ones: two processes on `a`, one on `b`, and one of `b` that has died."""
    made = write_study(tmp_path / "s.db", 3, running=4, seeds=1)
    running: dict[int, dict[str, Any]] = {
        4: {"owner": owner("b", 20), "device": "cuda:0 H100", "silent": 5},
        5: {"owner": owner("a", 300), "device": "cpu", "silent": 1},
        6: {"owner": owner("a", 41), "device": None, "silent": 0},
        7: {"owner": owner("b", 19), "device": "cuda:0 H100", "silent": DEAD},
    }
    set_runs(made, running)
    yield made
    made.close()


def test_each_worker_with_its_run(ours: Store) -> None:
    study = ours.study()
    found = workers_of(ours, [study])
    assert [(w.host, w.process, w.trial, w.device, w.is_alive) for w in found] == [
        ("a", 41, 5, None, True),
        ("a", 300, 4, "cpu", True),
        ("b", 19, 6, "cuda:0 H100", False),
        ("b", 20, 3, "cuda:0 H100", True),
    ]
    trials = {trial.trial: trial for trial in ours.trials(study)}
    for worker in found:
        run = trials[worker.trial].runs[0]
        assert (worker.label, worker.seed, worker.study) == (trials[worker.trial].design.label, run.seed, study.name)
        assert worker.epoch == len(ours.epochs(run.run_id)) > 0 and worker.epochs == study.identity["epochs"]
    assert [w.silent for w in found] == pytest.approx([0, 1, DEAD, 5], abs=1.5)
    assert trials[6].state == "interrupted"  # as everything else has it


def test_this_process_is_a_worker_of_this_host(ours: Store) -> None:
    set_runs(ours, {4: {"owner": process_name(), "silent": 0}})
    (mine,) = (w for w in workers_of(ours, [ours.study()]) if w.trial == 3)
    assert (mine.host, mine.process, mine.is_alive) == (host_name(), os.getpid(), True)
    assert process_of(process_name()) == (host_name(), os.getpid())
    assert worker_name(process_name()) == f"{host_name()}:{os.getpid()}" and worker_name(None) is None


def test_a_run_that_nobody_has_is_nobodys(ours: Store) -> None:
    set_runs(ours, {k: {"owner": None, "silent": 0} for k in (4, 5, 6, 7)})
    assert workers_of(ours, [ours.study()]) == [] == workers_of(ours, [])


def test_both_engines_tell_the_same(storage_url: store.URL) -> None:
    """The seconds since the last sign of life are by the database's own clock."""
    spec = parse_study("epochs = 7", default_name="s")
    study = open_optuna_study(spec, open_storage(storage_url))
    ours = Store(storage_url, create=True)
    row = {"identity": spec.identity(), "spec_text": "", "target_trials": 3, "dataset_fingerprint": "0", "image_shape": SHAPE}
    ours.add_study(row | {"study_id": study.study_id, "train_images": 10})
    ours.claim_run(study.study_id, None, design_to_dict(DesignPoint()), DesignPoint().key, 0)
    (worker,) = workers_of(ours, ours.studies())
    assert worker.is_alive and 0 <= worker.silent < 20 and (worker.epoch, worker.epochs) == (0, 7)
    ours.close()
    study.close()


# --- commands ---------------------------------------------------------------------------------------------------------


def test_studies_count_their_workers(ours: Store, command: Command) -> None:
    write_study(Path("s.db"), 2, name="second")
    (second, first) = json.loads(command("studies", "--storage", "s.db", "--json").out)
    assert (first["workers"], first["hosts"], second["workers"], second["hosts"]) == (3, "a,b", 0, "")
    heads, *rows = command("studies", "--storage", "s.db").out.splitlines()
    assert heads.split()[-1] == "workers" and [row.split()[-1] for row in rows] == ["0", "3"]
    heads, _, row = command("studies", "--storage", "s.db", "--wide").out.splitlines()
    assert heads.split()[-2:] == ["workers", "hosts"] and row.split()[-2:] == ["3", "a,b"]
    set_runs(ours, {k: {"owner": None, "silent": 0} for k in (4, 5, 6, 7)})
    assert "workers" not in command("studies", "--storage", "s.db").out  # as long as there is none


def test_a_process_that_trains_two_runs_is_one(ours: Store, command: Command) -> None:
    set_runs(ours, {4: {"owner": owner("a", 41), "silent": 0}})
    (study,) = json.loads(command("studies", "--storage", "s.db", "--json").out)
    assert (study["workers"], study["hosts"], study["running"]) == (2, "a", 3)


def test_every_worker_is_listed(ours: Store, command: Command) -> None:
    listed = json.loads(command("studies", "--workers", "--storage", "s.db", "--json").out)
    assert [(w["host"], w["process"], w["trial"], w["alive"]) for w in listed] == [
        ("a", 41, 5, True),
        ("a", 300, 4, True),
        ("b", 19, 6, False),
        ("b", 20, 3, True),
    ]
    assert listed[2]["silent_seconds"] == pytest.approx(DEAD, abs=2) and listed[0]["device"] is None
    rows = [*csv.DictReader(io.StringIO(command("studies", "--workers", "--storage", "s.db", "--csv").out))]
    assert [row["host"] for row in rows] == ["a", "a", "b", "b"] and {row["study"] for row in rows} == {"synthetic"}
    text = command("studies", "--workers", "--storage", "s.db").out
    lines = text.splitlines()
    assert len(lines) == 5 and "last sign of life" in lines[0] and "ago, taken for dead" in lines[3] and "dead" not in lines[4]
    assert f"{listed[0]['epoch']} of {listed[0]['epochs']}" in lines[1]
    assert command("studies", "--workers", "--storage", "s.db", "--format", "markdown").out.startswith("| study | host |")


def test_nobody_works(command: Command, tmp_path: Path) -> None:
    write_study(tmp_path / "s.db", 2)
    said = command("studies", "--workers", "--storage", "s.db")
    assert said.code == 0 and said.out == "" and "no process works on a study of this database" in said.err
    assert json.loads(command("studies", "--workers", "--storage", "s.db", "--json").out) == []


def test_trials_name_the_worker_of_those_that_run(ours: Store, command: Command) -> None:
    rows = json.loads(command("trials", "--storage", "s.db", "--json").out)["trials"]
    assert [row["worker"] for row in rows] == [None, None, None, "b:20", "a:300", "a:41", None]
    heads, *lines = command("trials", "--storage", "s.db").out.splitlines()[1:]
    assert "worker" in heads and "b:20" in lines[3] and ":" not in lines[6]
    set_runs(ours, {k: {"owner": None, "silent": 0} for k in (4, 5, 6, 7)})
    assert "worker" not in command("trials", "--storage", "s.db").out


def test_exported_runs_name_who_trained_them(ours: Store, command: Command, tmp_path: Path) -> None:
    assert command("export-study", "out", "--storage", "s.db").code == 0
    (path,) = (tmp_path / "out").glob("*runs*")
    assert [row["worker"] for row in csv.DictReader(io.StringIO(path.read_text()))][3:] == ["b:20", "a:300", "a:41", "b:19"]
