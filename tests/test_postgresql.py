"""A study in PostgreSQL: explored, gone on with, read and followed.

Where the server's programs are on the path a server is started for these tests; else FASTRCAPS_POSTGRESQL names an empty database.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from fastrcaps_dse import session, store
from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.page.watch import Source, Watched
from fastrcaps_dse.problem.study_spec import override
from fastrcaps_dse.runs.recounting import agree_on_reference, catch_up
from fastrcaps_dse.store import Store
from tests.sessions import Heard, explored, spec_of

pytest.importorskip("psycopg", reason="psycopg is not installed")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[store.URL]:
    named = os.environ.get("FASTRCAPS_POSTGRESQL")
    if named:
        yield store.parse_url(named)
        return
    if not all(map(shutil.which, ("initdb", "pg_ctl"))):
        pytest.skip("no PostgreSQL is installed, and FASTRCAPS_POSTGRESQL names none")
    folder = tmp_path_factory.mktemp("postgresql")
    as_user: dict[str, int | str] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("root cannot run PostgreSQL, and there is no user postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        for parent in folder.parents:
            if not parent.stat().st_mode & 0o001:
                parent.chmod(0o711)
        as_user = {"user": account.pw_uid, "group": account.pw_gid}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = str(folder / "data")

    def call(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_user)  # type: ignore[call-overload]

    call("initdb", "--auth=trust", "--username=me", "--no-sync", "-D", place)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    call("pg_ctl", "-D", place, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield store.parse_url(f"postgresql://me@127.0.0.1:{port}/postgres")
    finally:
        call("pg_ctl", "-D", place, "-m", "immediate", "stop")


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_a_study_in_postgresql(tiny: Path, url: store.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # weights lie in studies/
    spec = override(spec_of(tiny), name="elsewhere")
    with pytest.raises(KeyboardInterrupt), session.open_study(spec, url, device="cpu", precision="float32") as stopped:
        explored(stopped, Heard(stop_after=3), None)
    reading = Store(url, read_only=True)
    watched = Watched(source=Source(store=reading, study=reading.study("elsewhere"), objectives=spec.objectives))
    assert watched.look() and not watched.look()
    assert [design["state"] for design in watched.since(0)["designs"]] == ["interrupted"]
    heard = Heard()
    with session.open_study(spec, url, device="cpu", precision="float32") as study:
        explored(study, heard, None)
    assert heard.begun == [3, 0]
    assert watched.look() and [design["state"] for design in watched.since(1)["designs"]] == ["done", "done"]
    assert len(watched.source.curves([0])[0]["runs"][0]["acc"]) == 4
    with pytest.raises(MachineError, match="read-only"):
        reading.set_target(1, 5)
    reading.close()


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_the_reference_of_a_study_in_postgresql(
    tiny: Path, url: store.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = override(spec_of(tiny), name="scaled")
    with session.open_study(spec, url, device="cpu", precision="float32") as study:
        explored(study, None, 1)
        ours, study_id, model = study.store, study.row.study_id, study.cost_model
        first = model.scale.reference
        assert first is not None and ours.study("scaled").reference == first.to_dict()
        ours.set_study(study_id, {"reference": sa.null()})
        together = threading.Barrier(4)

        def claim(name: str) -> dict[str, str]:
            together.wait()
            return dict(store.set_reference(ours, study_id, {**first.to_dict(), "device": name}))

        with ThreadPoolExecutor(4) as pool:
            found = [*pool.map(claim, "ABCD")]
        assert found == [ours.study("scaled").reference] * 4
        (run,) = ours.runs(study_id)
        before = run.measurement
        agree_on_reference(model, first.device)  # back again: all is measured, so that the same numbers come out
        assert model.scale.reference == first and ours.runs(study_id)[0].measurement == before
        ours.start_run(run.run_id, time_estimated=1, time=1e9)
        assert catch_up(model) == [run.run_id] and catch_up(model) == []
        assert ours.runs(study_id)[0].measurement == before
