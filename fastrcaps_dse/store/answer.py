"""How a database answers: which software, how quickly, and what time it has."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from fastrcaps_dse.store.connection import Database, now_in
from fastrcaps_dse.store.url import clear_errors

LOOKS = 5
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a database answers with."""

    software: str  # name and version
    round_trip: float  # s of a question and its answer, the quickest of a few
    clock_ahead: float  # s, of the database's clock before that of this machine


def answer_of(database: Database) -> Answer:
    """Ask a database. Raises MachineError for one that is out of reach."""
    with clear_errors(database.url), database.engine.connect() as connection:
        dialect = connection.dialect
        version = ".".join(map(str, getattr(dialect, "server_version_info", None) or ()))
        looks = [_look(connection) for _ in range(LOOKS)]
    took, ahead = min(looks)  # the quickest tells the clock best
    return Answer(software=f"{NAMES.get(dialect.name, dialect.name)} {version}".strip(), round_trip=took, clock_ahead=ahead)


def _look(connection: sa.Connection) -> tuple[float, float]:
    """(seconds of a round trip, how far the database's clock is ahead of the middle of it)."""
    start, here = time.perf_counter(), time.time()
    there = float(connection.execute(sa.select(now_in(connection))).scalar_one())
    took = time.perf_counter() - start
    return took, there - (here + took / 2)
