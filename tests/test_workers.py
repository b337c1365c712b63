"""Workers: processes side by side that train one study, and what becomes of it where they die."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from fastrcaps_dse import store, trainer
from fastrcaps_dse.errors import BudgetSpent, InputError
from fastrcaps_dse.problem.objectives import parse_objectives
from fastrcaps_dse.problem.study_spec import override, parse_study
from fastrcaps_dse.runs.devices import fitting
from fastrcaps_dse.search.concurrency import side_by_side
from fastrcaps_dse.session import Session
from fastrcaps_dse.store import Store
from fastrcaps_dse.trainer import Epoch, device_locks
from tests.sessions import SHARED, Heard, curves_of

CPU = torch.device("cpu")
SPACE = '[4, 8, "adabatch(head_batch=4,head_epochs=10,tail_batch=8)", 16]'


def session_of(
    place: Path, tiny: Path, heard: Heard | None = None, *, epochs: int = 3, workers: int | None = 2, **changes: Any
) -> Session:
    place.mkdir(exist_ok=True)
    spec = parse_study(SHARED.format(name="a", dataset=tiny, epochs=epochs, schedules=SPACE), default_name="s")
    url = store.parse_url(str(place / "s.db"))
    return Session(override(spec, **changes), url, heard or Heard(), device="cpu", workers=workers)


def states(ours: Store) -> list[str]:
    return [trial.state for trial in ours.trials(ours.study())]


# --- jobs side by side ------------------------------------------------------------------------------------------------


def test_jobs_run_at_once_and_results_come_to_the_caller() -> None:
    meet, mine, taken = threading.Barrier(3, timeout=10), threading.get_ident(), []
    jobs = iter([(lambda k=k: (meet.wait(), k)[1], lambda r: taken.append((r, threading.get_ident()))) for k in range(6)])
    side_by_side(3, lambda: next(jobs, None))
    assert sorted(taken) == [(k, mine) for k in range(6)]


@pytest.mark.parametrize("width", [1, 2])
def test_a_spent_budget_lets_the_others_end(width: int) -> None:
    finished: list[int] = []
    first, second = threading.Event(), threading.Event()

    def spent() -> None:
        assert first.wait(10) or width == 1
        second.set()
        raise BudgetSpent

    def slow() -> int:
        first.set()
        assert second.wait(10) or width == 1
        return 7

    second.set() if width == 1 else None
    jobs = iter([(slow, finished.append), (spent, finished.append), (lambda: 8, finished.append)])
    with pytest.raises(BudgetSpent):
        side_by_side(width, lambda: next(jobs, None))
    assert finished == [7]


def test_any_other_error_abandons_the_others() -> None:
    ended = threading.Event()

    def broken() -> None:
        raise ValueError("a bug")

    jobs = iter([(lambda: ended.wait(10), lambda _: None), (broken, lambda _: None)])
    with pytest.raises(ValueError, match="a bug"):
        side_by_side(2, lambda: next(jobs, None), ended.set)
    assert ended.is_set()


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
    monkeypatch.setattr(device_locks, "_threads", device_locks._Threads())
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
    monkeypatch.setattr(device_locks, "_threads", device_locks._Threads())
    assert trainer.device_name(CPU) == name


def test_how_many_runs_fill_a_device() -> None:
    assert fitting(1.0, 10**9, 80 * 10**9) == 1
    assert fitting(0.3, 10**9, 80 * 10**9) == 3
    assert fitting(0.01, 10**9, 80 * 10**9) == 4  # no more than that
    assert fitting(0.01, 10**9, 2 * 10**9) == 2  # memory is short
    assert fitting(0.5, 10**10, 10**9) == 1


# --- whole explorations -----------------------------------------------------------------------------------------------


def test_workers_give_what_one_process_gives(tmp_path: Path, tiny: Path) -> None:
    heard = Heard()
    session = session_of(tmp_path / "two", tiny, heard)
    outcome = session.run(9)
    alone = session_of(tmp_path / "one", tiny, workers=1)
    alone.run(9)
    assert outcome.exhausted and outcome.trials == 4 and len(heard.begun) == 4 == len(heard.fronts) and not heard.warnings
    assert set(states(session.store)) == {"done"}
    curves, expected = curves_of(session.store, "a"), curves_of(alone.store, "a")
    assert curves.keys() == expected.keys()
    for key, epochs in curves.items():  # the threads of a process order its sums, and seeds decide all else
        assert [e["lr_first"] for e in epochs] == [e["lr_first"] for e in expected[key]]
        assert epochs[0]["margin_loss"] == pytest.approx(expected[key][0]["margin_loss"], rel=1e-2)
    keys = {
        epoch.counted_seconds / epoch.steps for e in session.store.epochs_of(session.study.study_id).values() for epoch in e
    }
    assert len(keys) == 3  # batches of 4, 8 and 16, each measured once
    owners = {run["owner"] for run in session.store._rows(store.database.tables.run.select())}
    assert len(owners) == 2 and str(os.getpid()) not in "".join(owners)


class Killer(Heard):
    """Kills each worker after its first epoch, a number of times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.session: Session | None = None

    def epoch_finished(self, trial: int, epoch: Epoch) -> None:
        if self.times and self.session is not None and trial == 0:
            self.times -= 1
            (owner,) = [r["owner"] for r in self.session.store._rows(store.database.tables.run.select()) if r["trial"] == 0]
            os.kill(int(owner.split(",")[1]), signal.SIGKILL)


@pytest.mark.parametrize(("deaths", "state"), [(1, "done"), (2, "failed")])
def test_a_worker_that_dies(tmp_path: Path, tiny: Path, deaths: int, state: str) -> None:
    heard = Killer(deaths)
    heard.session = session_of(tmp_path, tiny, heard, epochs=12)
    outcome = heard.session.run(2)
    assert outcome.trials == 2 and states(heard.session.store) == [state, "done"]
    assert heard.warnings == ["the worker of trial 0 died (exit code -9); its run is taken up again"]
    (run,) = heard.session.store.trials(heard.session.study)[0].runs
    if state == "failed":
        assert run.reason == "its worker died 2 times, last with exit code -9"
    else:
        assert max(heard.begun) > 0  # from its last epoch
        assert [e.epoch for e in heard.session.store.epochs(run.run_id)] == [*range(1, 13)]


def test_interrupted_workers_leave_a_study_that_goes_on(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        session = session_of(tmp_path, tiny, epochs=12)

        def interrupt() -> None:
            while not session.store.epochs_of(session.study.study_id):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        session.run(9)
    ours = session.store
    assert set(states(ours)) == {"running"} and not any(
        store.is_alive(run["owner"], run["heartbeat"]) for run in ours.owners(session.study.study_id)
    )
    outcome = session_of(tmp_path, tiny, epochs=12).run(2)
    assert outcome.trials == 2 and states(ours) == ["done", "done"]


def test_a_budget_ends_all_workers_between_epochs(tmp_path: Path, tiny: Path) -> None:
    for seconds in (10, 40, 160):  # a busy machine starts processes slowly: until both have begun
        place = tmp_path / str(seconds)
        place.mkdir()
        session = session_of(place, tiny, epochs=10_000, workers=2)
        object.__setattr__(session.setup, "deadline", time.monotonic() + seconds)
        outcome = session.run(9)
        assert outcome.spent and outcome.trials == 0
        runs = session.store.runs(session.study.study_id)
        if len(runs) == 2 and all(session.store.epochs(run.run_id) for run in runs):
            break
    assert states(session.store) == ["running", "running"]
    assert all(session.store.epochs(run.run_id) for run in runs)


def test_what_cannot_be_is_told_first(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(InputError, match="2 workers on 1 device distort the time by the clock"):
        session_of(tmp_path, tiny, time="measured")
    assert session_of(tmp_path, tiny, workers=None).places == ["cpu"]


def test_an_error_of_a_worker_is_one_clear_line(tmp_path: Path, tiny: Path) -> None:
    session = session_of(tmp_path, tiny, objectives=parse_objectives("acc,params"))
    (tmp_path / "s.runs").write_text("a file where a folder belongs")
    with pytest.raises(Exception, match="s.runs") as error:
        session.run(2)
    assert error.type.__name__ in ("MachineError", "InputError")
