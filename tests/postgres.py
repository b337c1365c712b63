"""A PostgreSQL server of its own, for tests and for `benchmarks.soak`: on the loopback, in a temporary folder, without fsync.

FASTRCAPS_POSTGRESQL names a server to use instead, as the URL of a user who may create databases.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import URL

from fastrcaps_dse.store.url import parse_url

MISSING = "PostgreSQL is not installed: apt install postgresql"
STOPS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
PATIENCE = 60  # s, to start or to stop
SETTINGS = ("fsync=off", "listen_addresses=127.0.0.1", "max_connections=400")  # a crash of the server alone loses no commit


class NoServer(Exception):
    """No server can be had here; the message says why."""


@dataclass(kw_only=True)
class Server:
    """A server that is started and stopped at will; its databases stay until its folder is deleted."""

    programs: Path  # the folder of initdb and postgres
    folder: Path
    port: int
    settings: tuple[str, ...] = ()  # these win over SETTINGS
    process: subprocess.Popen[Any] | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self) -> None:
        """Start, and wait until it answers. Raises NoServer with what it wrote last."""
        options = [part for setting in (*SETTINGS, "unix_socket_directories=", *self.settings) for part in ("-c", setting)]
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options]
        with (self.folder / "log").open("ab") as log:
            started = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **_account())
        self.process = started
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if started.poll() is not None or time.monotonic() > deadline:
                raise NoServer(f"PostgreSQL does not start: {(self.folder / 'log').read_text(errors='replace')[-400:]}")
            time.sleep(0.05)

    def stop(self, how: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop, as `pg_ctl stop -m` does: `immediate` is a crash, from which it recovers when it is started again."""
        if self.process is None:
            return
        self.process.send_signal(STOPS[how])
        try:
            self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self.process = None

    def restart(self, how: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop and start again, on the same port."""
        self.stop(how)
        self.start()

    def new_database(self) -> URL:
        """The URL of a database that is empty."""
        return create_database(self.url("postgres"), f"d{os.getpid()}_{next(self.numbers)}")

    def url(self, database: str) -> URL:
        """The URL of a database of this server."""
        return parse_url(f"postgresql://me@127.0.0.1:{self.port}/{database}")

    def _answers(self) -> bool:
        engine = sa.create_engine(self.url("postgres"), poolclass=sa.NullPool)
        try:
            with engine.connect():
                return True
        except sa.exc.OperationalError:
            return False


def create_database(server: URL, name: str) -> URL:
    """Create an empty database beside the one that is named; its URL."""
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    return server.set(database=name)


def find_programs() -> Path:
    """The folder of initdb and postgres: on the path, or where Debian has them. Raises NoServer."""
    folders = [Path(found).resolve().parent for found in (shutil.which("initdb"),) if found]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoServer(MISSING)


@contextmanager
def running_server(*settings: str) -> Iterator[Server]:
    """A new server, stopped and deleted at the end. Raises NoServer where none can be had.

    Arguments:
        settings: of postgresql.conf, e.g. "fsync=on".
    """
    programs, account = find_programs(), _account()
    root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="fastrcaps-postgresql-", dir="/tmp" if root else None))
    try:
        if root:
            os.chown(folder, account["user"], account["group"])
        made = [programs / "initdb", "--auth=trust", "--username=me", "--no-sync", "--encoding=UTF8", "--locale=C"]
        command = [*map(str, made), "-D", str(folder / "data")]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **account)
        if said.returncode:
            raise NoServer(f"PostgreSQL cannot make a database: {said.stderr.strip()[-400:]}")
        server = Server(programs=programs, folder=folder, port=_free_port(), settings=settings)
        try:
            server.start()
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> dict[str, Any]:
    """As whom the server runs: it refuses root. Raises NoServer where there is no other account."""
    if os.geteuid() != 0:
        return {}
    try:
        account = pwd.getpwnam("postgres")
    except KeyError:
        raise NoServer("PostgreSQL does not run as root, and there is no user postgres") from None
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
