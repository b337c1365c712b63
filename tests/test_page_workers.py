"""What the page shows of the workers of a study: the timeline of their runs, and who works now."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse.page.content import study_content
from fastrcaps_dse.page.watch import Source
from fastrcaps_dse.page.workers import timeline_content, workers_content
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.store import RunRow, TrialRow, Worker, host_name, tables
from tests.synthetic import write_study

# --- timeline ---------------------------------------------------------------------------------------------------------


def owner_of(host: str, process: int) -> str:
    return json.dumps([host, process, "boot:1"])


def test_runs_that_overlap_have_lanes_of_their_own(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 4, running=1)
    times = {1: (100, 160, "cpu"), 2: (110, 150, "cpu"), 3: (155, 170, "cpu"), 4: (100, 200, "cuda:0"), 5: (165, None, "cpu")}
    with ours.engine.begin() as connection:
        for number, (started, ended, device) in times.items():
            values: dict[str, Any] = {"started": started, "ended": ended, "device": device, "heartbeat": time.time()}
            values |= {"pruned_after": 2 if number == 2 else None}
            connection.execute(tables.run.update().where(tables.run.c.run_id == number).values(**values))
    shown = timeline_content(ours.trials(ours.study()))
    assert shown["origin"] == 100
    assert shown["lanes"] == [["cpu", ""], ["cuda:0", ""], ["cpu", ""], ["cpu", host_name()]]
    assert shown["workers"] == [[host_name(), os.getpid()]]
    assert [[trial, start, end, state, lane, worker] for trial, _, start, end, state, lane, worker in shown["runs"]] == [
        [0, 0, 60, "done", 0, None],
        [3, 0, 100, "done", 1, None],
        [1, 10, 50, "pruned", 2, None],
        [2, 55, 70, "done", 2, None],
        [4, 65, None, "running", 3, 0],
    ]
    assert timeline_content([]) == {"origin": 0.0, "lanes": [], "workers": [], "runs": []}


def test_a_lane_is_a_worker(tmp_path: Path) -> None:
    """Two workers of `a` and one of `b` side by side; later, one of `a` that began when the first one had ended takes its lane."""
    ours = write_study(tmp_path / "s.db", 6)
    runs = {
        1: (100, 110, owner_of("a", 7)),
        2: (101, 130, owner_of("a", 8)),
        3: (101, 120, owner_of("b", 7)),
        4: (112, 118, owner_of("a", 7)),
        5: (119, 140, owner_of("a", 9)),
        6: (131, 139, owner_of("a", 8)),
    }
    with ours.engine.begin() as connection:
        for number, (started, ended, owner) in runs.items():
            values = {"started": started, "ended": ended, "owner": owner, "device": "cpu"}
            connection.execute(tables.run.update().where(tables.run.c.run_id == number).values(**values))
    shown = timeline_content(ours.trials(ours.study()))
    assert shown["lanes"] == [["cpu", "a"], ["cpu", "a"], ["cpu", "b"]]
    assert {trial: lane for trial, *_, lane, _ in shown["runs"]} == {0: 0, 1: 1, 2: 2, 3: 0, 4: 0, 5: 1}
    said = {trial: shown["workers"][worker] for trial, *_, worker in shown["runs"]}
    assert said == {0: ["a", 7], 1: ["a", 8], 2: ["b", 7], 3: ["a", 7], 4: ["a", 9], 5: ["a", 8]}


def run_of(number: int, start: float, length: float, owner: str | None) -> RunRow:
    """A finished run."""
    nothing: dict[str, Any] = dict.fromkeys(("reason", "precision", "software", "wall_time", "weights", "measurement"))
    what: dict[str, Any] = {"run_id": number, "trial": number, "design": DesignPoint(), "seed": 0, "state": "done"}
    return RunRow(**what, **nothing, device="cpu", started=start, ended=start + length, owner=owner)


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 20), st.sampled_from([None, "a", "b"]), st.integers(1, 3)), max_size=14
    )
)
def test_no_two_runs_of_a_lane_overlap(drawn: list[tuple[int, int, str | None, int]]) -> None:
    """Whatever was taken over, and whenever: bars of a lane stand beside each other, and all are of its host."""
    runs = [
        run_of(k, start, length, host and owner_of(host, process)) for k, (start, length, host, process) in enumerate(drawn)
    ]
    trials = [TrialRow(trial=run.trial, design=run.design, state="done", runs=(run,), measurement=None) for run in runs]
    shown = timeline_content(trials)
    free: dict[int, float] = {}
    for trial, _, start, end, _, lane, worker in shown["runs"]:
        assert start >= free.get(lane, 0)
        free[lane] = end
        host = drawn[trial][2]
        assert shown["lanes"][lane] == ["cpu", host or ""]
        assert (worker is None) == (host is None) and (worker is None or shown["workers"][worker] == [host, drawn[trial][3]])
    assert len(shown["runs"]) == len(drawn)


# --- who works now ----------------------------------------------------------------------------------------------------


def worker(host: str, process: int, *, is_alive: bool = True) -> Worker:
    what = {"study": "s", "device": "cpu", "trial": 3, "label": "x", "seed": 0, "epoch": 2, "epochs": 4, "silent": 1.5}
    return Worker(host=host, process=process, is_alive=is_alive, **what)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("workers", "text"),
    [
        ([], ""),
        ([worker("a", 1)], "1 run on 1 machine"),
        ([worker("a", 1), worker("a", 2), worker("b", 1)], "3 runs on 2 machines"),
        ([worker("a", 1), worker("b", 2, is_alive=False)], "1 run on 1 machine, 1 without a sign of life"),
        ([worker("b", 2, is_alive=False)], "1 without a sign of life"),
    ],
)
def test_who_works_in_words(workers: list[Worker], text: str) -> None:
    shown = workers_content(workers)
    assert shown["text"] == text and [row["alive"] for row in shown["rows"]] == [w.is_alive for w in workers]
    assert all("silent" not in row and row["epochs"] == 4 for row in shown["rows"])


def test_the_live_page_has_the_workers_and_a_file_has_not(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 3, running=2, seeds=1)
    with ours.engine.begin() as connection:
        values = {"heartbeat": time.time(), "owner": owner_of("far", 5)}
        connection.execute(tables.run.update().where(tables.run.c.state == "running").values(**values))
    study = ours.study()
    content = Source(store=ours, study=study, objectives=study.objectives).content()
    assert content["study"]["workers"]["text"] == "2 runs on 1 machine"
    assert [(row["host"], row["process"], row["trial"]) for row in content["study"]["workers"]["rows"]] == [
        ("far", 5, 3),
        ("far", 5, 4),
    ]
    assert study_content(study, ours.trials(study), study.objectives, {})["study"]["workers"] == {"text": "", "rows": []}
