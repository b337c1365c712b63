"""Our tables behind one URL."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.store import tables
from fastrcaps_dse.store.claims import ClaimedRuns
from fastrcaps_dse.store.connection import now_in
from fastrcaps_dse.store.measured import MeasuredTables
from fastrcaps_dse.store.migration import migrate
from fastrcaps_dse.store.owner import any_alive, is_alive
from fastrcaps_dse.store.rows import StudyRow
from fastrcaps_dse.store.url import clear_errors, sqlite_path, url_text

MIRROR_SECONDS = 10.0  # for which a process may write Optuna's trials before another one may


@dataclass(frozen=True, kw_only=True)
class StudyState:
    """What all processes of a study share, at a moment."""

    revision: int  # of its runs' states
    target: int  # trials that it is to have
    deadline: float | None  # s since 1970 by the database's clock, when the budget of all its processes ends
    now: float  # s since 1970 by the same clock


class Store(ClaimedRuns, MeasuredTables):
    """Our tables behind one URL. Every method raises UserErrors, never those of the database."""

    def __init__(self, url: URL, *, create: bool = False, read_only: bool = False, runs: Path | None = None) -> None:
        """Open, and with `create` make the tables (Optuna's must be there). `runs` is the folder of all runs' files, by default that of
        the URL. Raises InputError, MachineError.
        """
        path = sqlite_path(url)
        if path and not path.exists():
            raise InputError(
                f"there is no database {path} yet", "run `fastrcaps-dse explore` first, or name one with --storage"
            )
        with clear_errors(url):
            super().__init__(url, read_only=read_only, runs=runs)
            if create:
                with self._writer.begin() as connection:
                    tables.metadata.create_all(connection, tables=tables.OURS)
                    if connection.scalar(sa.select(tables.schema.c.version)) is None:
                        connection.execute(tables.schema.insert().values(version=tables.SCHEMA_VERSION))
        self._patiently(self._check_version)

    def _check_version(self) -> None:
        if not sa.inspect(self.engine).has_table(tables.schema.name):
            raise InputError(
                f"{url_text(self.url)} holds no study of fastrcaps-dse", "run `fastrcaps-dse explore` with it first"
            )
        with self.engine.connect() as connection:
            version = connection.scalar(sa.select(sa.func.max(tables.schema.c.version)))
        if version is not None and version > tables.SCHEMA_VERSION:
            raise InputError(
                f"{url_text(self.url)} was written by a newer fastrcaps-dse (schema {version}, this one knows {tables.SCHEMA_VERSION})",
                "upgrade fastrcaps-dse, or name another database with --storage",
            )
        if version is not None and version < tables.SCHEMA_VERSION and self.read_only:
            raise InputError(
                f"{url_text(self.url)} was written by an older fastrcaps-dse", "`fastrcaps-dse studies` brings it up to date"
            )
        if version is not None and version < tables.SCHEMA_VERSION:
            self.write(lambda connection: migrate(connection, version))

    # --- studies ------------------------------------------------------------------------------------------------------

    def studies(self) -> list[StudyRow]:
        """All studies, the newest first."""
        query = sa.select(tables.study, tables.studies.c.study_name.label("name")).join(tables.studies)
        newest_first = query.order_by(tables.study.c.created.desc(), tables.study.c.study_id.desc())
        return [StudyRow(**row) for row in self.rows(newest_first)]

    def study(self, name: str | None = None) -> StudyRow:
        """The study of this name, or the newest. Raises InputError where there is none."""
        studies = self.studies()
        if not studies:
            raise InputError(f"{url_text(self.url)} holds no study yet", "run `fastrcaps-dse explore` first")
        found = next((s for s in studies if name in (None, s.name)), None)
        if found is None:
            raise InputError(f"there is no study {name!r}", nearest(str(name), [s.name for s in studies]))
        return found

    def add_study(self, row: Mapping[str, Any]) -> None:
        self.write(lambda connection: connection.execute(tables.study.insert().values(**row, created=time.time())))

    def delete_study(self, study_id: int) -> None:
        """Delete a study with its runs and epochs from our tables; Optuna's are left."""

        def act(connection: sa.Connection) -> None:
            of_study = tables.run.c.study_id == study_id
            runs = sa.select(tables.run.c.run_id).where(of_study)
            connection.execute(tables.epoch.delete().where(tables.epoch.c.run_id.in_(runs)))
            connection.execute(tables.run.delete().where(of_study))
            connection.execute(tables.note.delete().where(tables.note.c.study_id == study_id))
            connection.execute(tables.study.delete().where(tables.study.c.study_id == study_id))

        self.write(act)

    def rename_study(self, study_id: int, name: str) -> None:
        """Give a study another name. Raises InputError for one that is taken."""

        def act(connection: sa.Connection) -> None:
            taken = sa.select(tables.studies.c.study_id).where(tables.studies.c.study_name == name)
            if connection.scalar(taken) not in (None, study_id):
                raise InputError(f"there is a study {name!r} already", "choose another name, or delete that one first")
            mine = tables.studies.c.study_id == study_id
            connection.execute(tables.studies.update().where(mine).values(study_name=name))

        self.write(act)

    def set_study(self, study_id: int, facts: Mapping[str, Any]) -> None:
        """Note facts of a study, by column."""
        where = tables.study.c.study_id == study_id
        self.write(lambda connection: connection.execute(tables.study.update().where(where).values(**facts)))

    def set_target(self, study_id: int, trials: int) -> None:
        """How many trials the study is to have in all."""
        self.set_study(study_id, {"target_trials": trials})

    # --- what the processes of a study share --------------------------------------------------------------------------

    def state(self, study_id: int) -> StudyState:
        """What all processes of a study share, as it is now."""
        s = tables.study.c
        query = sa.select(s.revision, s.target_trials.label("target"), s.deadline, now_in(self.engine).label("now"))
        return StudyState(**self.rows(query.where(s.study_id == study_id))[0])

    def share_deadline(self, study_id: int, seconds: float | None, *, keeps: bool = False) -> float | None:
        """The seconds until the deadline of a study's processes, negative once it is over; None where it has none.

        The process that begins sets it, `seconds` from now; one that joins others takes over what is set. One that `keeps` it does so
        without others, too, unless it has seconds of its own.
        """

        def act(connection: sa.Connection) -> float | None:
            s, now = tables.study.c, now_in(connection)
            connection.execute(tables.study.update().where(s.study_id == study_id).values(revision=s.revision))  # locks the row
            c = tables.run.c
            running = sa.select(c.owner, c.heartbeat, now.label("now")).where((c.study_id == study_id) & (c.state == "running"))
            begins = seconds is not None or not keeps
            if begins and not any_alive([*connection.execute(running).mappings()]):
                deadline = None if seconds is None else now + seconds
                connection.execute(tables.study.update().where(s.study_id == study_id).values(deadline=deadline))
            left: float | None = connection.scalar(sa.select(s.deadline - now).where(s.study_id == study_id))
            return left

        return self.write(act)

    def begin_mirroring(self, study_id: int) -> float | None:
        """The right of this process to write Optuna's trials, for `MIRROR_SECONDS`: when it ends; None while another process has it."""
        until = tables.study.c.mirrored_until
        return self._mirroring_until(study_id, until.is_(None) | (until < now_in(self.engine)))

    def go_on_mirroring(self, study_id: int, until: float) -> float | None:
        """Another `MIRROR_SECONDS` of a right that ends then; None where another process has it by now."""
        return self._mirroring_until(study_id, tables.study.c.mirrored_until == until)

    def _mirroring_until(self, study_id: int, condition: sa.ColumnElement[bool]) -> float | None:
        def act(connection: sa.Connection) -> float | None:
            s, where = tables.study.c, tables.study.c.study_id == study_id
            until = now_in(connection) + MIRROR_SECONDS
            if connection.execute(tables.study.update().where(where & condition).values(mirrored_until=until)).rowcount == 0:
                return None
            got: float | None = connection.scalar(sa.select(s.mirrored_until).where(where))
            return got

        return self.write(act)

    def end_mirroring(self, study_id: int, until: float) -> None:
        """Let other processes write Optuna's trials, unless another one has the right already."""
        s = tables.study.c
        mine = tables.study.update().where((s.study_id == study_id) & (s.mirrored_until == until))
        self.write(lambda connection: connection.execute(mine.values(mirrored_until=None)))

    def pulse(self, study_id: int) -> tuple[Any, ...]:
        """What changes whenever something of a study does: asked often, it reads the runs and the notes alone."""
        c, n, count = tables.run.c, tables.note.c, sa.func.count
        noted = sa.select(sa.func.max(n.changed)).where(n.study_id == study_id).scalar_subquery()
        notes = sa.select(count(n.trial)).where(n.study_id == study_id).scalar_subquery()
        revision = sa.select(tables.study.c.revision).where(tables.study.c.study_id == study_id).scalar_subquery()
        facts = (
            count(),
            count(c.ended),
            sa.func.max(c.heartbeat),
            sa.func.max(c.ended),
            noted,
            notes,
            revision.label("revision"),
        )
        found = self.rows(sa.select(*facts).where(c.study_id == study_id))[0]
        trained = sum(is_alive(row["owner"], row["heartbeat"], row["now"]) for row in self.owners(study_id))
        return (*found.values(), trained)
