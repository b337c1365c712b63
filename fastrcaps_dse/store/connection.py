"""Transactions on one database: they wait for one that is out of reach, and tell its errors in clear words."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL

from fastrcaps_dse.store.creation import restart_patience
from fastrcaps_dse.store.owner import process_name
from fastrcaps_dse.store.runs_places import RunsPlaces
from fastrcaps_dse.store.url import make_engine, runs_folder, translate, url_text

OUTAGE_SECONDS = 600.0  # for which a process that trains waits for a database that is out of reach
TOLD_AFTER = 3.0  # s of waiting
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # s between two tries

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Database:
    """An engine, and the two ways to use it. `patience` is for how many seconds an outage is waited for."""

    def __init__(self, url: URL, *, read_only: bool = False, runs: Path | None = None) -> None:
        """`runs` is the folder of all runs' files, by default that of the URL."""
        self.url, self.read_only = url, read_only
        self.engine = make_engine(url, read_only=read_only)
        alone = {"isolation_level": "AUTOCOMMIT"} if self.engine.dialect.name == "postgresql" else {}
        self._reader = self.engine.execution_options(**alone)  # a query needs no transaction
        self._writer = self.engine.execution_options(takes_write_lock=True)
        self.patience = 0.0
        self.owner = process_name()  # as which it owns runs
        self.runs_places = RunsPlaces(runs or runs_folder(url), self.rows)

    @property
    def runs_folder(self) -> Path:
        """The folder, on this machine, of the files of the runs that this process trains."""
        return self.runs_places.here.folder

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def write(self, act: Callable[[sa.Connection], T]) -> T:
        """What `act` gives, in one transaction. After an outage it is tried again, whether or not it was carried out: so it is written
        to change nothing where it already was. Raises UserErrors.
        """
        return self._patiently(lambda: self._in_transaction(act))

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        """The rows of a query, as mappings. Raises UserErrors."""
        return self._patiently(lambda: self._fetched(query))

    def _in_transaction(self, act: Callable[[sa.Connection], T]) -> T:
        with self._writer.begin() as connection:
            return act(connection)

    def _fetched(self, query: sa.Select[Any]) -> list[Any]:
        with self._reader.connect() as connection:
            return list(connection.execute(query).mappings())

    def _patiently(self, act: Callable[[], T]) -> T:
        """Try until the database answers, for so long as patience lasts."""
        start, pause, is_told, is_lost = time.monotonic(), FIRST_PAUSE, False, False
        while True:
            try:
                found = act()
            except (sa.exc.DBAPIError, ImportError) as error:
                if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated and not is_lost:
                    is_lost = True  # a connection that was kept from before a restart
                    continue
                waited = time.monotonic() - start
                patience = max(self.patience, restart_patience(error))  # who only reads waits for a restart, too
                if not is_outage(error) or waited > patience:
                    raise translate(error, self.url) from None
                if waited > TOLD_AFTER and not is_told:
                    is_told = True
                    logger.warning("%s does not answer: waiting, for %.0f s at most", url_text(self.url), patience)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if is_told:
                logger.warning("%s answers again: going on", url_text(self.url))
            return found


def is_outage(error: BaseException) -> bool:
    """Whether an error says that the server is out of reach, restarts, or asks for another try (a deadlock): waiting may help."""
    if not isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError)):
        return isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
    code = getattr(error.orig, "sqlstate", None)
    if code is not None:  # classes of the SQL standard: connection, rollback, insufficient resources, operator intervention
        return str(code)[:2] in ("08", "40", "57") or str(code) == "53300"
    text = str(error.orig)
    if "database is locked" in text:  # by a process that is frozen while it writes
        return True
    return "sqlite" not in type(error.orig).__module__ and "password" not in text and "does not exist" not in text


def now_in(connection_or_dialect: Any) -> sa.ColumnElement[float]:
    """The time of the database's own clock, in s since 1970."""
    dialect = getattr(connection_or_dialect, "dialect", connection_or_dialect).name
    expression = {
        "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)",
        "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
        "mysql": "UNIX_TIMESTAMP(NOW(6))",
        "mariadb": "UNIX_TIMESTAMP(NOW(6))",
    }.get(dialect)
    return sa.literal(time.time()) if expression is None else sa.literal_column(expression, sa.Float)
