"""The one time scale of a study: its reference, and runs that are counted anew in the step times of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fastrcaps_dse.store import tables
from fastrcaps_dse.store.claims import count_epochs
from fastrcaps_dse.store.connection import now_in
from fastrcaps_dse.store.database import Store
from fastrcaps_dse.store.owner import any_alive


@dataclass(frozen=True, kw_only=True)
class Recount:
    """The seconds of a run in the step times of a reference."""

    run_id: int
    epochs: Mapping[int, float]  # counted seconds by epoch
    time: float | None = None  # s up to the selected epoch; None for a run that is not finished
    others: Mapping[str, float] | None = None  # the values of the objectives that have no column; likewise


def reference_of(store: Store, study_id: int) -> Mapping[str, str] | None:
    """Device, precision and software whose step times count in a study; None where none is set yet."""
    c = tables.study.c
    rows = store.rows(sa.select(c.reference).where(c.study_id == study_id))
    return rows[0]["reference"] if rows else None


def measured_devices(store: Store) -> list[Mapping[str, str]]:
    """Device, precision and software of all runs of a storage whose device has step times there with that software, the latest first."""
    r, t = tables.run.c, tables.step_time.c
    measured = sa.exists().where((t.device == r.device) & (t.software == r.software))
    query = sa.select(r.device, r.precision, r.software, sa.func.max(r.run_id).label("latest")).where(measured)
    query = query.group_by(r.device, r.precision, r.software).order_by(sa.desc("latest"))
    return [{name: row[name] for name in ("device", "precision", "software")} for row in store.rows(query)]


def set_reference(store: Store, study_id: int, reference: Mapping[str, str]) -> Mapping[str, str]:
    """Give a study its reference if it has none; the one that it has then, which may be that of another process."""
    c = tables.study.c

    def act(connection: sa.Connection) -> Mapping[str, str]:
        lacking = (c.study_id == study_id) & c.reference.is_(sa.null())
        connection.execute(tables.study.update().where(lacking).values(reference=dict(reference)))
        stored: Mapping[str, str] = connection.execute(sa.select(c.reference).where(c.study_id == study_id)).scalar_one()
        return stored

    return store.write(act)


def estimated_runs(store: Store, study_id: int) -> list[int]:
    """The ids of the runs of a study whose time is estimated."""
    c = tables.run.c
    query = sa.select(c.run_id).where((c.study_id == study_id) & (c.time_estimated == 1))
    return [row["run_id"] for row in store.rows(query)]


def change_reference(
    store: Store, study_id: int, reference: Mapping[str, str], counts: Sequence[Recount], *, seen: int
) -> bool:
    """Give a study another reference and count its runs anew, all or nothing.

    False while a living process trains a run of it, or where it has changed since its revision `seen`.
    """
    r = tables.run.c

    def act(connection: sa.Connection) -> bool:
        revision, _ = _lock(connection, study_id)  # first, so that no run is claimed meanwhile
        running = sa.select(r.owner, r.heartbeat, now_in(connection).label("now")).where(
            (r.study_id == study_id) & (r.state == "running")
        )
        if revision != seen or any_alive([dict(row) for row in connection.execute(running).mappings()]):
            return False
        facts = {"reference": dict(reference), "revision": revision + 1}
        connection.execute(tables.study.update().where(tables.study.c.study_id == study_id).values(**facts))
        for count in counts:
            _apply(connection, count, revision + 1)
        return True

    return store.write(act)


def apply_recounts(store: Store, study_id: int, reference: Mapping[str, str], counts: Sequence[Recount]) -> list[int]:
    """Count runs anew whose time was estimated, in one transaction; the ids of those that are certain now.

    Nothing is changed in a study whose reference is another one meanwhile, nor of a run that another process has counted.
    """
    r = tables.run.c

    def act(connection: sa.Connection) -> list[int]:
        revision, stored = _lock(connection, study_id)
        waiting = sa.select(r.run_id).where((r.study_id == study_id) & (r.state == "done") & (r.time_estimated == 1))
        due = set(connection.scalars(waiting)) if stored == dict(reference) else set()
        done = [count for count in counts if count.run_id in due]
        if done:
            connection.execute(tables.study.update().where(tables.study.c.study_id == study_id).values(revision=revision + 1))
        for count in done:
            _apply(connection, count, revision + 1)
        return [count.run_id for count in done]

    return store.write(act)


def _lock(connection: sa.Connection, study_id: int) -> tuple[int, Mapping[str, str] | None]:
    """Lock the row of a study until the transaction ends; its revision and its reference."""
    c = tables.study.c
    connection.execute(tables.study.update().where(c.study_id == study_id).values(revision=c.revision))
    row = connection.execute(sa.select(c.revision, c.reference).where(c.study_id == study_id)).one()
    return row.revision, row.reference


def _apply(connection: sa.Connection, count: Recount, revision: int) -> None:
    count_epochs(connection, count.run_id, count.epochs)
    values: dict[str, Any] = {"time_estimated": 0, "revision": revision}
    values |= {} if count.time is None else {"time": count.time, "others": dict(count.others or {})}
    connection.execute(tables.run.update().where(tables.run.c.run_id == count.run_id).values(**values))
