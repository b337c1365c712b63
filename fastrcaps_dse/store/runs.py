"""The runs and their epochs, as they are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from fastrcaps_dse.store import tables
from fastrcaps_dse.store.connection import Database, now_in
from fastrcaps_dse.store.owner import STALE_SECONDS, host_name
from fastrcaps_dse.store.rows import EpochRow, RunRow, StudyRow, TrialRow, run_row, trial_row
from fastrcaps_dse.store.url import weights_from_store

MOST_LISTED = 200  # numbers in a query
SUSPICIOUS_SECONDS = STALE_SECONDS / 2  # without a heartbeat

c = tables.run.c


class RunTables(Database):
    """The tables of runs and epochs."""

    def runs(self, study_id: int) -> list[RunRow]:
        """All runs of a study, by trial and seed."""
        return self._runs(c.study_id == study_id)

    def changed_runs(self, study_id: int, revision: int) -> list[RunRow]:
        """The runs whose state has changed since a revision of the study, by trial and seed."""
        return self._runs((c.study_id == study_id) & (c.revision > revision))

    def unfinished_runs(self, study_id: int) -> list[RunRow]:
        """The runs that are not finished, by trial and seed."""
        return self._runs((c.study_id == study_id) & (c.state == "running"))

    def runs_of_trials(self, study_id: int, trials: Collection[int]) -> list[RunRow]:
        """All runs of these designs, by trial and seed."""
        if len(trials) > MOST_LISTED:
            return [run for run in self.runs(study_id) if run.trial in trials]
        return self._runs((c.study_id == study_id) & c.trial.in_(trials))

    def left_runs(self, study_id: int) -> list[RunRow]:
        """The runs that are not finished, and that no living process has, by trial and seed."""
        here = f'["{host_name()}",%'
        asked = c.owner.is_(None) | (c.heartbeat < self._now() - STALE_SECONDS) | c.owner.like(here)
        found = self._runs((c.study_id == study_id) & (c.state == "running") & asked)
        return [run for run in found if run.state == "interrupted"]

    def are_runs_doubtful(self, study_id: int) -> bool:
        """Whether a run has a process that may have died: its heart has not beaten for a while."""
        is_late = (c.heartbeat < self._now() - SUSPICIOUS_SECONDS) & c.owner.is_not(None)
        query = sa.select(c.run_id).where((c.study_id == study_id) & (c.state == "running") & is_late).limit(1)
        return bool(self.rows(query))

    def owners(self, study_id: int) -> list[Mapping[str, Any]]:
        """Owner and heartbeat of each running run, and the time."""
        where = (c.study_id == study_id) & (c.state == "running")
        return self.rows(sa.select(c.owner, c.heartbeat, self._now().label("now")).where(where))

    def equal_run(self, study: StudyRow, run: RunRow, environment: Mapping[str, str]) -> RunRow | None:
        """A finished run of another study that is the same training with the same measures, on the same device and software.

        It has a value of each objective of the study.
        """
        same = ("protocol", "epochs", "time", "scale_decay")
        query = (
            sa.select(tables.run, self._now().label("now"), tables.study.c.identity)
            .join(tables.study)
            .where(
                (c.state == "done") & (c.design_key == run.design.key) & (c.seed == run.seed) & (c.study_id != study.study_id),
                c.reason.is_(None),  # it was not pruned
                tables.study.c.dataset_fingerprint == study.dataset_fingerprint,
                *(c[name] == value for name, value in environment.items()),
            )
        )
        for row in self.rows(query):
            if all(row["identity"].get(name) == study.identity.get(name) for name in same):
                found = self._run(row)
                values = found.measurement.values if found.measurement is not None else {}
                if all(objective.name in values for objective in study.objectives):
                    return found
        return None

    def trials(self, study: StudyRow) -> list[TrialRow]:
        """All designs of a study with their runs, by trial."""
        return grouped_trials(self.runs(study.study_id), study.identity["seeds"])

    def trial_counts(self) -> dict[int, int]:
        """How many trials each study has, by study id."""
        query = sa.select(c.study_id, sa.func.count(sa.distinct(c.trial)).label("trials")).group_by(c.study_id)
        return {row["study_id"]: row["trials"] for row in self.rows(query)}

    def train_seconds(self, study_id: int) -> dict[int, float]:
        """The training seconds of all epochs of each trial, as the study counts them."""
        query = sa.select(c.trial, sa.func.sum(tables.epoch.c.counted_seconds).label("seconds")).select_from(
            tables.run.join(tables.epoch)
        )
        return {row["trial"]: row["seconds"] for row in self.rows(query.where(c.study_id == study_id).group_by(c.trial))}

    def epochs(self, run_id: int) -> list[EpochRow]:
        """The epochs of a run, in order."""
        query = sa.select(tables.epoch).where(tables.epoch.c.run_id == run_id).order_by(tables.epoch.c.epoch)
        return [_epoch_row(row) for row in self.rows(query)]

    def epochs_of(self, study_id: int) -> dict[int, list[EpochRow]]:
        """The epochs of every run of a study, by run id."""
        query = sa.select(tables.epoch).join(tables.run).where(c.study_id == study_id)
        grouped: dict[int, list[EpochRow]] = defaultdict(list)
        for row in self.rows(query.order_by(tables.epoch.c.run_id, tables.epoch.c.epoch)):
            grouped[row["run_id"]].append(_epoch_row(row))
        return grouped

    def _now(self) -> sa.ColumnElement[float]:
        return now_in(self.engine)

    def _run(self, row: Any) -> RunRow:
        """A stored run, with the path of its weights as it is from the current directory."""
        run = run_row(row)
        return replace(run, weights=weights_from_store(self.runs_places.of(row["study_id"]).folder, run.run_id, run.weights))

    def _runs(self, where: sa.ColumnElement[bool]) -> list[RunRow]:
        query = sa.select(tables.run, self._now().label("now")).where(where).order_by(c.trial, c.seed)
        return [self._run(row) for row in self.rows(query)]

    def _one(self, connection: sa.Connection, where: sa.ColumnElement[bool]) -> Any:
        query = sa.select(tables.run, self._now().label("now")).where(where)
        return connection.execute(query).mappings().first()


def grouped_trials(runs: Sequence[RunRow], seeds: int) -> list[TrialRow]:
    """The designs of runs, by trial. A trial whose runs are done may wait for its next seed where the study is being explored."""
    grouped: dict[int, list[RunRow]] = defaultdict(list)
    for run in runs:
        grouped[run.trial].append(run)
    explored = any(run.state == "running" for run in runs)
    return [trial_row(trial, of_trial, seeds, explored=explored) for trial, of_trial in grouped.items()]


def _epoch_row(row: Any) -> EpochRow:
    return EpochRow(**{name: value for name, value in row.items() if name != "run_id"})
