"""The runs and their epochs: claimed by one process at a time, whose attempt alone may write.

A claim, a takeover and the end of a run raise the revision of their study, under the lock of its row: so a process that has seen a
revision has seen all changes before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.store import tables
from fastrcaps_dse.store.connection import now_in
from fastrcaps_dse.store.owner import is_alive
from fastrcaps_dse.store.rows import VALUE_COLUMNS, EpochRow, RunRow
from fastrcaps_dse.store.runs import RunTables
from fastrcaps_dse.store.url import weights_to_store

c = tables.run.c


class Taken(Exception):
    """A run is finished, or a living process has it: somebody was faster."""


class Full(Exception):
    """The study has as many designs as it is to have."""


class Superseded(Exception):
    """Another process has taken the run over: this one may no longer write."""


class ClaimedRuns(RunTables):
    """What processes write to runs and epochs."""

    # --- claims -------------------------------------------------------------------------------------------------------

    def claim_run(
        self, study_id: int, trial: int | None, design: Mapping[str, Any], key: str, seed: int, *, most: int | None = None
    ) -> RunRow:
        """The run of this design and seed, which this process has from now on: a new one, or one that was left.

        Arguments:
            trial: the design's number; None for a new design, which gets the next one.
            most: how many designs the study may have; None for the study's own target. Only a new design asks.

        Raises Full where the study has so many designs, Taken where the run is finished or a living process has it.
        """

        def act(connection: sa.Connection) -> RunRow:
            revision, target = self._change(connection, study_id)
            now = now_in(connection)
            values = {"design_key": key, "design": dict(design), "seed": seed, "state": "running", "started": now}
            claim = {"owner": self.owner, "heartbeat": now, "attempt": 1, "revision": revision}
            facts = {"study_id": study_id, **values, **claim}
            added = self._added(connection, facts, trial, target if most is None else most)
            if added is not None:
                return self._run(added)
            found = self._one(connection, (c.study_id == study_id) & (c.design_key == key) & (c.seed == seed))
            if found is None:
                raise Full
            return self._take_over(connection, found, revision)

        return self.write(act)

    def _added(self, connection: sa.Connection, facts: Mapping[str, Any], trial: int | None, most: int) -> Any:
        """The row of a new run, if its design and seed have none yet; a design without a number gets the next one, below `most`.

        The study's row is locked, so few statements matter.
        """
        of_study = c.study_id == facts["study_id"]
        following = sa.select(sa.func.coalesce(sa.func.max(c.trial) + 1, 0).label("trial")).where(of_study).subquery()
        number = following.c.trial if trial is None else sa.literal(trial)
        same = of_study & (c.design_key == facts["design_key"]) & (c.seed == facts["seed"])
        is_new = ~sa.exists(sa.select(c.run_id).where(same))
        columns = {name: v if isinstance(v, sa.ColumnElement) else sa.literal(v, c[name].type) for name, v in facts.items()}
        row = sa.select(number, *columns.values()).select_from(following).where(is_new)
        row = row.where(following.c.trial < most) if trial is None else row
        insert = tables.run.insert().from_select(["trial", *columns], row)
        if connection.dialect.insert_returning:
            return connection.execute(insert.returning(*c, self._now().label("now"))).mappings().first()
        return self._one(connection, same) if connection.execute(insert).rowcount == 1 else None

    def _take_over(self, connection: sa.Connection, found: Any, revision: int) -> RunRow:
        """Begin another attempt of a run that was left. Raises Taken where a living process has it, or it is finished."""
        abandoned = found["owner"] == self.owner or not is_alive(found["owner"], found["heartbeat"], found["now"])
        if found["state"] != "running" or not abandoned:
            raise Taken
        died = found["owner"] not in (None, self.owner)
        return self._next_attempt(connection, found, revision, deaths=found["deaths"] + died)

    def _next_attempt(self, connection: sa.Connection, found: Any, revision: int, deaths: int) -> RunRow:
        mine = {"owner": self.owner, "heartbeat": now_in(connection), "attempt": found["attempt"] + 1}
        where = c.run_id == found["run_id"]
        connection.execute(tables.run.update().where(where).values(**mine, revision=revision, deaths=deaths))
        return self._run(self._one(connection, where))

    def retake_run(self, run_id: int, attempt: int) -> RunRow:
        """Begin another attempt of a run whose process, one of this exploration, has died. Raises Superseded."""

        def act(connection: sa.Connection) -> RunRow:
            found = self._held(connection, run_id, attempt)
            revision, _ = self._change(connection, found["study_id"])
            return self._next_attempt(connection, found, revision, deaths=found["deaths"] + 1)

        return self.write(act)

    def take_run(self, run_id: int, attempt: int) -> RunRow:
        """Have a run that another process of this exploration has claimed. Raises Superseded."""

        def act(connection: sa.Connection) -> RunRow:
            self._write_run(connection, run_id, attempt, owner=self.owner, heartbeat=now_in(connection))
            return self._run(self._one(connection, c.run_id == run_id))

        return self.write(act)

    def beat(self, run_id: int, attempt: int) -> bool:
        """Say that the run's process lives; False where another process has taken the run over, or it is finished."""

        def act(connection: sa.Connection) -> bool:
            values = {"owner": self.owner, "heartbeat": now_in(connection)}
            return bool(connection.execute(_fenced(run_id, attempt).values(**values)).rowcount)

        return self.write(act)

    def beat_while_mine(self, run_id: int, attempt: int) -> None:
        """Say that a run that this process has claimed, and that another process of its exploration may have taken by now, is alive."""
        mine = _fenced(run_id, attempt).where(c.owner == self.owner)
        self.write(lambda connection: connection.execute(mine.values(heartbeat=now_in(connection))))

    def leave_run(self, run_id: int, attempt: int) -> None:
        """Note that this process leaves a run, unless it is finished or another process has it."""

        def act(connection: sa.Connection) -> None:
            found = self._one(connection, (c.run_id == run_id) & (c.attempt == attempt) & (c.state == "running"))
            if found is not None:
                revision, _ = self._change(connection, found["study_id"])
                values = {"owner": None, "heartbeat": now_in(connection), "revision": revision}
                connection.execute(_fenced(run_id, attempt).values(**values))

        self.write(act)

    def adopt_run(self, study_id: int, trial: int, design: Mapping[str, Any], key: str, seed: int) -> None:
        """Note a run that an earlier version had only announced, unless it is there: nobody trains it."""

        def act(connection: sa.Connection) -> None:
            revision, _ = self._change(connection, study_id)
            if self._one(connection, (c.study_id == study_id) & (c.design_key == key)) is None:
                values = {"design_key": key, "design": dict(design), "seed": seed, "state": "running"}
                facts = {"study_id": study_id, "trial": trial, "revision": revision, "started": now_in(connection)}
                connection.execute(tables.run.insert().values(**values, **facts))

        self.write(act)

    # --- what the process of an attempt writes ------------------------------------------------------------------------

    def start_run(self, run_id: int, attempt: int, values: Mapping[str, Any]) -> None:
        """Note device, precision, software and params of a run that is being trained. Raises Superseded."""
        self.write(lambda connection: self._write_run(connection, run_id, attempt, **values))

    def set_epoch(self, run_id: int, attempt: int, epoch: EpochRow) -> None:
        """Keep an epoch; one that was trained again replaces the earlier record. Raises Superseded."""

        def act(connection: sa.Connection) -> None:
            values = {"owner": self.owner, "heartbeat": now_in(connection), "deaths": 0}
            self._write_run(connection, run_id, attempt, **values)
            row = asdict(epoch)
            where = (tables.epoch.c.run_id == run_id) & (tables.epoch.c.epoch == epoch.epoch)
            if connection.execute(tables.epoch.update().where(where).values(**row)).rowcount == 0:
                connection.execute(tables.epoch.insert().values(run_id=run_id, **row))

        self.write(act)

    def count_epochs(self, run_id: int, attempt: int, seconds: Mapping[int, float]) -> None:
        """Let stored epochs of a run that goes on count other seconds; `seconds` maps each epoch to them. Raises Superseded."""

        def act(connection: sa.Connection) -> None:
            self._write_run(connection, run_id, attempt, heartbeat=now_in(connection))
            count_epochs(connection, run_id, seconds)

        self.write(act)

    def drop_epochs(self, run_id: int, attempt: int, after: int) -> None:
        """Drop the epochs past `after`: they will be trained again. Raises Superseded."""

        def act(connection: sa.Connection) -> None:
            self._write_run(connection, run_id, attempt, heartbeat=now_in(connection))
            where = (tables.epoch.c.run_id == run_id) & (tables.epoch.c.epoch > after)
            connection.execute(tables.epoch.delete().where(where))

        self.write(act)

    def finish_run(
        self,
        run_id: int,
        attempt: int,
        measurement: Measurement,
        wall_time: float,
        weights: str | None,
        reason: str | None = None,
    ) -> None:
        """Keep what a run has reached; `weights` is the path of its weights, `reason` why it was pruned, if it was. Raises Superseded."""
        values: dict[str, Any] = {name: measurement[name] for name in VALUE_COLUMNS}
        values |= {name: getattr(measurement, name) for name in ("test_acc", "test_robust", "selected_epoch", "pruned_after")}
        others = {name: value for name, value in measurement.values.items() if name not in VALUE_COLUMNS}
        kept = None if weights is None else weights_to_store(self.runs_folder, Path(weights))
        values |= {"wall_time": wall_time, "others": others, "weights": kept, "reason": reason}
        self._end(run_id, attempt, "done", **values)

    def fail_run(self, run_id: int, attempt: int, reason: str) -> None:
        """Note why a run gives no measurement. Raises Superseded."""
        self._end(run_id, attempt, "failed", reason=reason)

    def _end(self, run_id: int, attempt: int, state: str, **values: Any) -> None:
        def act(connection: sa.Connection) -> None:
            revision, _ = self._change(connection, sa.select(c.study_id).where(c.run_id == run_id).scalar_subquery())
            ended = {"state": state, "ended": now_in(connection), "revision": revision}
            if connection.execute(_fenced(run_id, attempt).values(**values, **ended)).rowcount == 0:
                found = self._one(connection, (c.run_id == run_id) & (c.attempt == attempt))
                if found is None or found["state"] != state:  # else an earlier try had been carried out
                    raise Superseded

        self.write(act)

    def forget_weights(self, run_id: int) -> None:
        """Note that the weights of this run are gone."""
        self.write(lambda connection: connection.execute(tables.run.update().where(c.run_id == run_id).values(weights=None)))

    # --- the parts ---------------------------------------------------------------------------------------------------

    def _held(self, connection: sa.Connection, run_id: int, attempt: int) -> Any:
        """The running run of an attempt. Raises Superseded."""
        found = self._one(connection, (c.run_id == run_id) & (c.attempt == attempt) & (c.state == "running"))
        if found is None:
            raise Superseded
        return found

    @staticmethod
    def _write_run(connection: sa.Connection, run_id: int, attempt: int, **values: Any) -> None:
        """Write to the running run of an attempt. Raises Superseded."""
        if connection.execute(_fenced(run_id, attempt).values(**values)).rowcount != 1:
            raise Superseded

    @staticmethod
    def _change(connection: sa.Connection, study_id: int | sa.ScalarSelect[Any]) -> tuple[int, int]:
        """Lock a study's row and raise its revision: (revision, how many designs it is to have). Raises Superseded for one that is gone."""
        s = tables.study.c
        raised = tables.study.update().where(s.study_id == study_id).values(revision=s.revision + 1)
        if connection.dialect.update_returning:
            row = connection.execute(raised.returning(s.revision, s.target_trials)).first()
        else:
            connection.execute(raised)
            row = connection.execute(sa.select(s.revision, s.target_trials).where(s.study_id == study_id)).first()
        if row is None:
            raise Superseded
        return row.revision, row.target_trials


def _fenced(run_id: int, attempt: int) -> sa.Update:
    return tables.run.update().where((c.run_id == run_id) & (c.attempt == attempt) & (c.state == "running"))


def count_epochs(connection: sa.Connection, run_id: int, epochs: Mapping[int, float]) -> None:
    c = tables.epoch.c
    for epoch, seconds in epochs.items():
        of_epoch = (c.run_id == run_id) & (c.epoch == epoch)
        connection.execute(tables.epoch.update().where(of_epoch).values(counted_seconds=seconds))
