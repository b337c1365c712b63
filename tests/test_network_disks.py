"""SQLite on a network disk, told by the mounts of the system; and how a database answers, in `doctor`."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse import session, store
from fastrcaps_dse.cli import doctor
from fastrcaps_dse.search.optuna_storage import open_storage
from fastrcaps_dse.store import network_disks
from fastrcaps_dse.store.network_disks import file_system_of, is_network
from tests.conftest import Command
from tests.sessions import spec_of
from tests.synthetic import write_study

MOUNTS = r"""
22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /home rw,relatime shared:2 master:3 - nfs4 server:/home rw,vers=4.2
24 23 0:22 / /home/ann/fast rw,relatime - xfs /dev/nvme0n1 rw
25 22 0:23 / /mnt/my\040disk rw - cifs //nas/share rw
26 22 0:24 / /scratch rw,noatime - lustre 10.0.0.1@tcp:/scratch rw
27 22 0:25 / /remote rw,nosuid - fuse.sshfs ann@far:/data rw
28 22 0:26 / /plain rw - fuse.ext2 /dev/sdb rw
29 22 0:27 / /twice rw - nfs server:/twice rw
30 22 0:28 / /twice rw - tmpfs tmpfs rw
a line that is none
"""


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/etc/x.db", "ext4", False),
        ("/home/ann/s.db", "nfs4", True),
        ("/home/ann/fast/s.db", "xfs", False),
        ("/home/ann/faster/s.db", "nfs4", True),
        ("/homes/s.db", "ext4", False),
        ("/mnt/my disk/a/s.db", "cifs", True),
        ("/scratch/s.db", "lustre", True),
        ("/remote/s.db", "fuse.sshfs", True),
        ("/plain/s.db", "fuse.ext2", False),
        ("/twice/s.db", "tmpfs", False),  # mounted over the other
    ],
)
def test_the_mount_of_a_path(path: str, kind: str, network: bool) -> None:
    assert file_system_of(Path(path), MOUNTS) == kind and is_network(kind) == network


def test_without_mounts_nothing_is_known() -> None:
    assert file_system_of(Path("/x"), "") is None
    assert not is_network("fuse") and is_network("9p") and is_network("gpfs") and is_network("smb3") and is_network("nfs")


def test_this_machine_as_the_system_has_it(tmp_path: Path) -> None:
    """As `stat -f` would say; here, the kinds of all mounts are read."""
    mounts = network_disks.MOUNTS.read_text(encoding="utf-8")
    assert file_system_of(tmp_path, mounts) in {line.partition(" - ")[2].split(" ")[0] for line in mounts.splitlines()}


@pytest.fixture
def on_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a network disk, as far as the system's mounts say."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS + f"31 22 0:29 / {tmp_path / 'far'} rw - nfs server:/x rw\n", encoding="utf-8")
    monkeypatch.setattr(network_disks, "MOUNTS", mounts)
    (tmp_path / "far").mkdir()
    return tmp_path / "far"


def test_opening_a_study_warns_once(on_nfs: Path, tiny: Path, small_capsnet: None, caplog: pytest.LogCaptureFixture) -> None:
    said = "SQLite's locks are not reliable on network disks (nfs): use PostgreSQL for several machines"
    for folder, count in ((on_nfs, 1), (on_nfs.parent, 0)):
        caplog.clear()
        with caplog.at_level(logging.WARNING), session.open_study(spec_of(tiny), str(folder / "s.db"), device="cpu") as study:
            session.explore(study, trials=1)
        assert [record.getMessage() for record in caplog.records].count(said) == count


def test_a_link_is_followed(on_nfs: Path, tmp_path: Path) -> None:
    (tmp_path / "near").symlink_to(on_nfs)
    assert store.network_disk_of(store.parse_url(str(tmp_path / "near" / "s.db"))) == "nfs"
    assert store.network_disk_of(store.parse_url("postgresql://ann@far/x")) is None


def test_where_nothing_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_disks, "MOUNTS", tmp_path / "none")
    assert store.network_disk_of(store.parse_url(str(tmp_path / "s.db"))) is None


# --- doctor -----------------------------------------------------------------------------------------------------------


def test_doctor_tells_the_disk_and_the_answer(on_nfs: Path) -> None:
    write_study(on_nfs / "s.db", 1).close()
    found = {finding.what: finding for finding in doctor._storage(str(on_nfs / "s.db"))}
    assert not found["SQLite"].ok and "on a network disk (nfs)" in found["SQLite"].finding
    assert found["database"].ok and found["database"].finding.startswith(f"SQLite {sqlite3.sqlite_version}, answers in ")


def test_both_engines_answer(storage_url: store.URL) -> None:
    storage: Any = open_storage(storage_url)
    ours = store.Store(storage_url, create=True)
    answer = store.answer_of(ours)
    assert answer.software.split()[0] == {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[storage_url.get_backend_name()]
    assert answer.software.split()[1][0].isdigit() and 0 < answer.round_trip < 1
    assert abs(answer.clock_ahead) < 0.5  # both run on this machine
    ours.close()
    storage.engine.dispose()


@pytest.mark.parametrize(
    ("ahead", "ok", "words"),
    [
        (0.25, True, "its clock is 0.25 s ahead of this machine's"),
        (-0.5, True, "its clock is 0.5 s behind this machine's"),
        (61.0, False, "its clock is 61 s ahead of this machine's; all processes of a study go by the database's"),
    ],
)
def test_another_clock(ahead: float, ok: bool, words: str) -> None:
    finding = doctor._answer(store.Answer(software="PostgreSQL 16.2", round_trip=0.0123, clock_ahead=ahead))
    assert (finding.ok, finding.finding) == (ok, f"PostgreSQL 16.2, answers in 12 ms; {words}")


def test_the_clock_is_that_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose own clock is 100 s late finds the database 100 s ahead."""
    ours = write_study(tmp_path / "s.db", 1)
    now = time.time
    monkeypatch.setattr("fastrcaps_dse.store.answer.time.time", lambda: now() - 100)
    assert store.answer_of(ours).clock_ahead == pytest.approx(100, abs=0.5)
    ours.close()


def test_doctor_in_other_forms(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [doctor.Finding(what="a", ok=True, finding="x"), doctor.Finding(what="b", ok=False, finding="y")]
    monkeypatch.setattr(doctor, "examine", lambda *_: found)
    assert command("doctor").out.splitlines()[1] == f"--  {'b:':27} y"
    assert json.loads(command("doctor", "--format", "json").out)[1] == {"what": "b", "ok": False, "finding": "y"}
    assert command("doctor", "--csv").out.splitlines() == ["what,ok,finding", "a,True,x", "b,False,y"]
    assert command("doctor", "--format", "markdown").out.splitlines()[-1] == "| no | b | y |"
