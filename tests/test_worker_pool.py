"""Workers: processes side by side that train one study, and what becomes of it where they die."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from fastrcaps_dse import session, store, trainer
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.problem.objectives import parse_objectives
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import override
from fastrcaps_dse.runs import worker_pool
from fastrcaps_dse.runs.budget import start_budget
from fastrcaps_dse.runs.devices import assign_devices, fitting
from fastrcaps_dse.runs.executors import open_executor
from fastrcaps_dse.search.protocols import EpochFinished, Event, RunStarted, TrialStarted
from fastrcaps_dse.session import OpenStudy
from fastrcaps_dse.trainer import device_locks, threads
from tests.sessions import SHARED, Heard, explored, opened
from tests.small_networks import CRASHING, small_worker

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
SPACE = '[4, 8, "adabatch(head_batch=4,head_epochs=10,tail_batch=8)", 16]'


def study_of(folder: Path, tiny: Path, *, epochs: int = 3, **changes: Any) -> OpenStudy:
    folder.mkdir(exist_ok=True)
    spec = parse_study(SHARED.format(name="a", dataset=tiny, epochs=epochs, schedules=SPACE), default_name="s")
    return opened(folder, override(spec, **changes))


def states(study: OpenStudy) -> list[str]:
    return [trial.state for trial in study.store.trials(study.row)]


# --- one device, several processes ------------------------------------------------------------------------------------


def test_who_measures_is_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    events: list[str] = []
    inside = threading.Barrier(3, timeout=10)

    def train(name: str) -> None:
        with trainer.beside_others(CPU):
            events.append(f"{name} in")
            if name != "c":
                inside.wait()
            time.sleep(0.3)
            events.append(f"{name} out")

    def measure() -> None:
        inside.wait()
        with trainer.alone(CPU):
            events.append("alone in")
            time.sleep(0.1)
            events.append("alone out")

    threads = [threading.Thread(target=train, args=("a",)), threading.Thread(target=train, args=("b",))]
    threads.append(threading.Thread(target=measure))
    for thread in threads:
        thread.start()
    time.sleep(0.1)  # the one who measures waits by now; a third trainer lets it go first
    threads.append(threading.Thread(target=train, args=("c",)))
    threads[-1].start()
    for thread in threads:
        thread.join(10)
    begun = events.index("alone in")
    assert events[begun + 1] == "alone out" and events[-2:] == ["c in", "c out"]
    assert {"a out", "b out"} <= set(events[:begun])


def test_a_lock_that_is_never_given_back_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(device_locks, "PATIENCE", 0.1)
    with trainer.beside_others(CPU), trainer.alone(CPU):
        pass
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing" / "folder"))
    with trainer.alone(CPU):  # no lock can be had: it goes on without
        pass


def test_threads_are_shared_and_a_measurement_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_state", threads._State())
    before, name = torch.get_num_threads(), trainer.device_name(CPU)
    torch.set_num_threads(6)
    try:
        whole = trainer.device_name(CPU)
        trainer.take_share(2)
        assert torch.get_num_threads() == 3 and trainer.device_name(CPU) == whole
        with trainer.alone(CPU):
            assert torch.get_num_threads() == 6
        assert torch.get_num_threads() == 3
        trainer.take_share(100)
        assert torch.get_num_threads() == 1 and trainer.all_threads() == 6
    finally:
        torch.set_num_threads(before)
    monkeypatch.setattr(threads, "_state", threads._State())
    assert trainer.device_name(CPU) == name


def test_how_many_runs_fill_a_device() -> None:
    assert fitting(1.0, 10**9, 80 * 10**9) == 1
    assert fitting(0.3, 10**9, 80 * 10**9) == 3
    assert fitting(0.01, 10**9, 80 * 10**9) == 4  # no more than that
    assert fitting(0.01, 10**9, 2 * 10**9) == 2  # memory is short
    assert fitting(0.5, 10**10, 10**9) == 1


# --- whole explorations -----------------------------------------------------------------------------------------------


@pytest.fixture
def small(small_capsnet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks, in workers too."""
    monkeypatch.setattr(worker_pool, "_work", small_worker)


@pytest.mark.usefixtures("small")
def test_workers_give_what_one_process_gives(tmp_path: Path, tiny: Path) -> None:
    """With seeds; and racing adds further ones."""
    heard, most = Heard(), 3
    two = study_of(tmp_path / "two", tiny, seeds=2)
    with heard.listening(), open_executor(two.cost_model, workers=2) as pool:
        outcome = session.explore(two, pool, trials=9, tell=heard.tell)
        raced = session.race(two, pool, max_seeds=most)
    one = study_of(tmp_path / "one", tiny, seeds=2)
    explored(one, None, 9)
    assert outcome.exhausted and outcome.trials == 4 == len(heard.fronts) and len(heard.begun) == 8 and not heard.warnings
    assert set(states(two)) == {"done"}
    curves, expected = (
        {(r.design.key, r.seed): s.store.epochs(r.run_id) for r in s.store.runs(s.row.study_id)} for s in (two, one)
    )
    assert len(expected) == 8 and expected.keys() <= curves.keys()
    for key, epochs in expected.items():  # the threads of a process order its sums, and seeds decide all else
        assert [e.lr_first for e in epochs] == [e.lr_first for e in curves[key]]
        assert epochs[0].margin_loss == pytest.approx(curves[key][0].margin_loss, rel=1e-2)
    keys = {epoch.counted_seconds / epoch.steps for e in two.store.epochs_of(two.row.study_id).values() for epoch in e}
    assert len(keys) == 3  # batches of 4, 8 and 16, each measured once
    owners = {run["owner"] for run in two.store.rows(store.tables.run.select())}
    assert len(owners) == 2 and str(os.getpid()) not in "".join(owners)
    seeds = [[run.seed for run in trial.runs] for trial in two.store.trials(two.row)]
    assert all(begun[:2] == [0, 1] for begun in seeds)
    assert raced == sum(len(begun) - 2 for begun in seeds) and max(map(len, seeds)) <= most


class Killer(Heard):
    """Kills the worker of trial 0 so many times after an epoch; those of trial 1 die before their first one."""

    def __init__(self, deaths: int, study: OpenStudy, crashing: Path) -> None:
        super().__init__()
        self.deaths, self.study, self.crashing = deaths, study, crashing
        self.killed: set[int] = set()  # processes, whose last words may still be heard
        self.begun_of: dict[int, list[int]] = {}  # epochs that a trial had whenever a worker began with it

    def tell(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.begun_of.setdefault(event.request.trial, []).append(len(event.accuracies))
        if isinstance(event, TrialStarted) and event.trial == 1:
            self.crashing.write_text(event.point.key, encoding="utf-8")
        super().tell(event)

    def epoch_finished(self, event: EpochFinished) -> None:
        if event.request.trial != 0:
            return
        rows = self.study.store.rows(store.tables.run.select())
        (process,) = [int(row["owner"].split(",")[1]) for row in rows if row["trial"] == 0]
        if self.deaths and process not in self.killed:
            self.deaths -= 1
            self.killed.add(process)
            os.kill(process, signal.SIGKILL)


@pytest.mark.usefixtures("small")
def test_a_run_goes_on_where_a_worker_dies_and_fails_where_several_die_without_an_epoch(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CRASHING, str(tmp_path / "crashing"))
    study = study_of(tmp_path, tiny, epochs=40)
    heard = Killer(1, study, tmp_path / "crashing")
    outcome = explored(study, heard, 2, workers=2)
    assert outcome.trials == 2 and states(study) == ["done", "failed"] and len(heard.killed) == 1
    again = "the worker of trial {} died (exit code -9); its run is taken up again"
    assert sorted(heard.warnings) == [again.format(0)] + [again.format(1)] * 2
    (survivor,), (failed,) = (trial.runs for trial in study.store.trials(study.row))
    assert failed.reason == "its worker died 3 times without finishing an epoch, last with exit code -9"
    begun = heard.begun_of[0]
    assert heard.begun_of[1] == [0, 0, 0]
    assert len(begun) == 2 and begun[1] > begun[0] == 0  # from its last epoch
    assert [e.epoch for e in study.store.epochs(survivor.run_id)] == [*range(1, 41)]


@pytest.mark.thorough
@pytest.mark.usefixtures("small")
def test_interrupted_workers_leave_a_study_that_goes_on(tmp_path: Path, tiny: Path) -> None:
    study = study_of(tmp_path, tiny, epochs=40)

    def interrupt() -> None:
        while not study.store.epochs_of(study.row.study_id):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        threading.Thread(target=interrupt, daemon=True).start()
        explored(study, None, 9, workers=2)
    assert set(states(study)) == {"interrupted"} and not any(
        store.is_alive(run["owner"], run["heartbeat"], run["now"]) for run in study.store.owners(study.row.study_id)
    )
    outcome = explored(study_of(tmp_path, tiny, epochs=40), None, 2, workers=2)
    assert outcome.trials == 2 and states(study) == ["done", "done"]


@dataclass(frozen=True, kw_only=True)
class FileClock:
    """A clock that all processes read from a file, and that stands still until it is set."""

    path: Path

    def __call__(self) -> float:
        return float(self.path.read_text(encoding="ascii"))

    def set(self, seconds: float) -> None:
        """Set it at once: no process reads half of it."""
        new = self.path.with_suffix(".new")
        new.write_text(str(seconds), encoding="ascii")
        new.replace(self.path)


@pytest.mark.thorough
@pytest.mark.usefixtures("small")
def test_a_budget_ends_all_workers_between_epochs(tmp_path: Path, tiny: Path) -> None:
    clock = FileClock(path=tmp_path / "clock")
    clock.set(1000.0)
    trained: set[int] = set()

    class Ender(Heard):
        def epoch_finished(self, event: EpochFinished) -> None:
            trained.add(event.request.trial)
            if len(trained) == 2:  # both workers are at work: the time is over
                clock.set(1100.0)

    study = study_of(tmp_path, tiny, epochs=10_000)
    outcome = explored(study, Ender(), 9, workers=2, budget=start_budget(100, clock))
    assert outcome.spent and outcome.trials == 0 and states(study) == ["interrupted", "interrupted"]
    runs = study.store.runs(study.row.study_id)
    assert len(runs) == 2 and all(study.store.epochs(run.run_id) for run in runs)


def test_what_cannot_be_is_said_first(tmp_path: Path, tiny: Path) -> None:
    study = study_of(tmp_path, tiny, time="measured")
    with pytest.raises(InputError, match="2 workers on 1 device distort the time that the clock measures"):
        explored(study, None, 2, workers=2)
    assert assign_devices(None, study.cost_model) == ["cpu"] and not study.store.runs(study.row.study_id)


@pytest.mark.usefixtures("small")
def test_an_error_of_a_worker_is_one_clear_line(tmp_path: Path, tiny: Path) -> None:
    study = study_of(tmp_path, tiny, objectives=parse_objectives("acc,params"))
    (tmp_path / "s.runs").write_text("a file where a folder belongs")
    with pytest.raises(MachineError, match=r"s\.runs") as error:
        explored(study, None, 2, workers=2)
    assert error.value.hint  # which has come with the error from the other process


class Freezer(Heard):
    """Freezes the worker of a trial after its first epoch."""

    def __init__(self, study: OpenStudy) -> None:
        super().__init__()
        self.study, self.frozen = study, 0

    def epoch_finished(self, event: EpochFinished) -> None:
        if event.request.trial == 0 and not self.frozen:
            rows = self.study.store.rows(store.tables.run.select())
            (self.frozen,) = [int(row["owner"].split(",")[1]) for row in rows if row["trial"] == 0]
            os.kill(self.frozen, signal.SIGSTOP)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.thorough
def test_a_frozen_worker_is_replaced(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTRCAPS_STALE", "2")  # in the workers
    monkeypatch.setattr(worker_pool, "HEARTBEAT_SECONDS", 0.5)
    for module in (store.owner, store.runs):
        monkeypatch.setattr(module, "STALE_SECONDS", 2.0)
    study = study_of(tmp_path, tiny, epochs=40)
    heard = Freezer(study)
    assert explored(study, heard, 2, workers=2).trials == 2 and states(study) == ["done", "done"]
    (run, _) = study.store.runs(study.row.study_id)
    assert run.attempt == 2 and [e.epoch for e in study.store.epochs(run.run_id)] == [*range(1, 41)]
    with pytest.raises(ProcessLookupError):
        os.kill(heard.frozen, 0)
