"""Tables are made as a whole, and by one process at a time: one that is killed, or several that begin together, leave no part of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.engine import URL

from fastrcaps_dse.store.url import clear_errors, make_engine, sqlite_path

LOCK = 0x46617374  # the number of our lock among the advisory locks of a PostgreSQL database
RESTARTING = (
    "starting up",
    "not yet accepting connections",
    "shutting down",
    "in recovery mode",
    "terminating connection",
    "closed the connection",
    "is lost",
)
RESTART_SECONDS, REFUSED_SECONDS = (
    60.0,
    3.0,
)  # to wait for a server that says one of these, and for one that may be about to start


@contextmanager
def opening_alone(url: URL) -> Iterator[None]:
    """A context that one process of a storage is in at a time; others wait. Raises UserErrors.

    A lock of SQLite is that of the folder of its file, which must exist, and leaves no file. MySQL has none.
    """
    path = sqlite_path(url)
    if path:
        with _folder_lock(path.parent):
            yield
        return
    with clear_errors(url):
        engine = make_engine(url)
        try:
            with _connected(engine) as connection:
                if engine.dialect.name == "postgresql":
                    connection.execute(sa.text(f"SELECT pg_advisory_lock({LOCK})"))
                    connection.commit()  # the lock is the session's: no transaction stays open
                yield
                if engine.dialect.name == "postgresql":
                    connection.execute(sa.text(f"SELECT pg_advisory_unlock({LOCK})"))
        finally:
            engine.dispose()  # ends the session, and with it the lock


def restart_patience(error: BaseException | None) -> float:
    """For how many seconds it is worth to wait before the same is tried again: 0 unless the error says that the server restarts.

    Not for whatever an exploration waits for that has begun: a host whose name is wrong is told at once.
    """
    said = str(getattr(error, "orig", ""))
    if any(words in said for words in RESTARTING):
        return RESTART_SECONDS
    return REFUSED_SECONDS if "refused" in said else 0.0


def _connected(engine: sa.Engine) -> sa.Connection:
    """A connection to a server that may be restarting: one that says so is waited for, one that refuses may be about to start."""
    begun = time.monotonic()
    while True:
        try:
            return engine.connect()
        except sa.exc.OperationalError as error:
            if time.monotonic() - begun > restart_patience(error):
                raise
        time.sleep(0.2)


@contextmanager
def _folder_lock(folder: os.PathLike[str]) -> Iterator[None]:
    try:
        import fcntl

        opened = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # no such locks (Windows), or the folder says later what is wrong with it
        yield
        return
    try:
        with suppress(OSError):  # of a network disk without locks
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def make_tables(url: URL, metadata: sa.MetaData) -> None:
    """Make the tables and indexes that are not there, in one transaction. Raises UserErrors."""
    with clear_errors(url):
        engine = make_engine(url)
        try:
            with engine.execution_options(takes_write_lock=True).begin() as connection:
                metadata.create_all(connection)
        finally:
            engine.dispose()
