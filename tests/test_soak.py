"""The short form of `benchmarks.soak`: a few kills, a few machines on both engines, and checks that see what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks import soak, soak_checks, soak_fuzz, soak_fuzz_inputs, soak_study
from benchmarks.soak_kills import Findings, KilledStudy, kill_and_continue
from benchmarks.soak_machines import Farm, work_together
from fastrcaps_dse import store
from fastrcaps_dse.store import Store
from tests.postgres import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc"),
]


def test_killed_explorations_end_as_if_nobody_had_killed_them(tiny: Path, tmp_path: Path) -> None:
    findings = Findings()
    for number in range(2, 9):
        how = {"number": number, "workers": 1, "kills": 2, "at_calls": False}
        kill_and_continue(KilledStudy(folder=tmp_path / str(number), dataset=tiny, **how), findings)  # type: ignore[arg-type]
        if findings.kills["random"]:  # a study may end before its moment comes
            break
    assert not findings.wrong and findings.kills["random"] > 0
    assert findings.epochs == 9 * findings.studies and findings.reads > 0


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_system_calls(tiny: Path, tmp_path: Path, workers: int) -> None:
    if workers == 1 and soak_study.strace() is None:
        pytest.skip("strace is not installed: apt install strace")
    findings = Findings()
    for number in (6, 8):
        how = {"number": number, "workers": workers, "kills": 4, "at_calls": workers == 1}
        kill_and_continue(KilledStudy(folder=tmp_path / str(number), dataset=tiny, **how), findings)  # type: ignore[arg-type]
    assert not findings.wrong and findings.studies == 2 and sum(findings.kills.values()) > 1


@pytest.mark.thorough
def test_machines_in_sqlite(tiny: Path, tmp_path: Path) -> None:
    """Three machines, of which one is killed and replaced and one freezes; then the checks see what is broken by hand."""
    findings, url = Findings(), store.parse_url(str(tmp_path / "s.db"))
    farm = Farm(folder=tmp_path / "farm", dataset=tiny, url=url, machines=3, designs=6, killed=1, frozen=1)
    found = work_together(farm, findings)
    assert not findings.wrong and found["designs"] == 6 and found["machines_in_all"] == 4
    ours = Store(url)
    row, seen = ours.study(), soak_checks.curves_of(url, "s")
    with ours.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM fastrcaps_epoch WHERE run_id = 1 AND epoch = 2"))
        connection.execute(sa.text("UPDATE fastrcaps_epoch SET acc = acc + 1 WHERE run_id = 2 AND epoch = 1"))
        connection.execute(sa.text("UPDATE fastrcaps_run SET state = 'running', owner = NULL WHERE run_id = 3"))
    now = soak_checks.curves_of(url, "s")
    assert len([*soak_checks.lost(seen, now, running=0)]) == 2 and len([*soak_checks.differences(seen, now)]) == 2
    assert len([*soak_checks.double_work(ours, row, 7)]) >= 3  # one design too few, one that is not finished, a gap
    assert len(soak_checks.owners_alive(ours, row)) == 1 and [*soak_checks.mirror_faults(ours, row)]


def test_machines_in_postgresql_that_restarts(tiny: Path, tmp_path: Path, postgres_server: Server) -> None:
    findings, url = Findings(), postgres_server.new_database()
    how = {"machines": 3, "designs": 6, "killed": 1, "frozen": 0}
    found = work_together(Farm(folder=tmp_path / "farm", dataset=tiny, url=url, server=postgres_server, **how), findings)  # type: ignore[arg-type]
    assert not findings.wrong and found["designs"] == 6
    assert {"restart immediate", "restart fast"} <= set(found["happened"])


def test_fuzzed_inputs_end_in_order(tmp_path: Path) -> None:
    found = soak_fuzz.fuzz(tmp_path, first=0, inputs=60, seconds=60.0)
    assert not found["wrong"] and found["numbers"] == ["0 to 59"]
    assert found["inputs"] == dict.fromkeys(("command line", "study file", "storage URL", "request"), 15)
    assert not [*(tmp_path / "cases").iterdir()]
    said = soak_fuzz.Said(code=1, out="", err=f"Traceback (most recent call last):\n {soak_fuzz_inputs.SECRET}\x1b")
    assert len([*said.faults()]) == 4  # a traceback, the secret, no line that says what is wrong, a control character


def test_findings_add_up() -> None:
    before = {"studies": 2, "kills": {"random": 3, "write": 1}, "wrong": ["a"]}
    found = {"studies": 1, "kills": {"random": 1, "link": 2}, "wrong": ["b"]}
    assert soak.added(before, found) == {"studies": 3, "kills": {"link": 2, "random": 4, "write": 1}, "wrong": ["a", "b"]}
    assert soak.added({}, found) == found
    with pytest.raises(SystemExit, match="no such parts: x"):
        soak.main(["--parts", "x"])


def test_seen_epochs_that_are_gone_are_told() -> None:
    seen = {("d", 0): {1: (0.5,), 2: (0.6,), 3: (0.7,)}}
    assert not [*soak_checks.lost(seen, {("d", 0): {1: (0.5,), 2: (0.6,)}}, running=1)]
    assert len([*soak_checks.lost(seen, {("d", 0): {1: (0.5,), 2: (0.6,)}}, running=0)]) == 1
    assert len([*soak_checks.lost(seen, {("d", 0): {1: (0.5,)}}, running=1)]) == 1
