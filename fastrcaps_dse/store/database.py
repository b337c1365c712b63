"""Our tables behind one URL."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from fastrcaps_dse.errors import InputError, MachineError, nearest
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.store import tables
from fastrcaps_dse.store.migration import migrate
from fastrcaps_dse.store.owner import is_alive, is_trained, process_name
from fastrcaps_dse.store.rows import (
    VALUE_COLUMNS,
    AlgorithmChoice,
    EpochRow,
    RunRow,
    StepTime,
    StudyRow,
    TrialRow,
    run_row,
    trial_row,
)
from fastrcaps_dse.store.url import (
    clear_errors,
    make_engine,
    runs_folder,
    sqlite_path,
    translate,
    url_text,
    weights_from_store,
    weights_to_store,
)


class Store:
    """Our tables behind one URL. Every method raises UserErrors, never those of the database."""

    def __init__(self, url: URL, *, create: bool = False, read_only: bool = False) -> None:
        """Open, and with `create` make the tables (Optuna's must be there). Raises InputError, MachineError."""
        self.read_only = read_only
        self.url = url
        path = sqlite_path(url)
        if path and not path.exists():
            raise InputError(
                f"there is no database {path} yet", "run `fastrcaps-dse explore` first, or name one with --storage"
            )
        with clear_errors(url):
            self.engine = make_engine(url, read_only=read_only)
            if create:
                with self.engine.begin() as connection:
                    tables.metadata.create_all(connection, tables=tables.OURS)
                    if connection.scalar(sa.select(tables.schema.c.version)) is None:
                        connection.execute(tables.schema.insert().values(version=tables.SCHEMA_VERSION))
            self._check_version()

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
            with self._write() as connection:
                migrate(connection, version)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with clear_errors(self.url), self.engine.begin() as connection:
            yield connection

    def _rows(self, query: sa.Select[Any]) -> list[Any]:
        with clear_errors(self.url), self.engine.connect() as connection:
            return list(connection.execute(query).mappings())

    # --- studies ------------------------------------------------------------------------------------------------------

    def studies(self) -> list[StudyRow]:
        """All studies, the newest first."""
        query = sa.select(tables.study, tables.studies.c.study_name.label("name")).join(tables.studies)
        newest_first = query.order_by(tables.study.c.created.desc(), tables.study.c.study_id.desc())
        return [StudyRow(**row) for row in self._rows(newest_first)]

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
        with self._write() as connection:
            connection.execute(tables.study.insert().values(**row, created=time.time()))

    def delete_study(self, study_id: int) -> None:
        """Delete a study with its runs and epochs from our tables; Optuna's are left."""
        with self._write() as connection:
            of_study = tables.run.c.study_id == study_id
            runs = sa.select(tables.run.c.run_id).where(of_study)
            connection.execute(tables.epoch.delete().where(tables.epoch.c.run_id.in_(runs)))
            connection.execute(tables.run.delete().where(of_study))
            connection.execute(tables.note.delete().where(tables.note.c.study_id == study_id))
            connection.execute(tables.study.delete().where(tables.study.c.study_id == study_id))

    def rename_study(self, study_id: int, name: str) -> None:
        """Give a study another name. Raises InputError for one that is taken."""
        with self._write() as connection:
            taken = sa.select(tables.studies.c.study_id).where(tables.studies.c.study_name == name)
            if connection.scalar(taken) not in (None, study_id):
                raise InputError(f"there is a study {name!r} already", "choose another name, or delete that one first")
            mine = tables.studies.c.study_id == study_id
            connection.execute(tables.studies.update().where(mine).values(study_name=name))

    def set_study(self, study_id: int, facts: Mapping[str, Any]) -> None:
        """Note facts of a study, by column."""
        with self._write() as connection:
            connection.execute(tables.study.update().where(tables.study.c.study_id == study_id).values(**facts))

    def set_target(self, study_id: int, trials: int) -> None:
        """How many trials the study is to have in all."""
        self.set_study(study_id, {"target_trials": trials})

    # --- runs ---------------------------------------------------------------------------------------------------------

    def _run(self, row: Any) -> RunRow:
        """A stored run, with the path of its weights as it is from the current directory."""
        run = run_row(row)
        return replace(run, weights=weights_from_store(runs_folder(self.url), run.run_id, run.weights))

    def claim_run(self, study_id: int, trial: int, design: Mapping[str, Any], key: str, seed: int) -> RunRow:
        """The run of this design and seed, made where it is not there, and owned by this process from now on.

        Raises MachineError where another living process owns it.
        """
        now = time.time()
        condition = (tables.run.c.study_id == study_id) & (tables.run.c.design_key == key) & (tables.run.c.seed == seed)
        with self._write() as connection:
            found = connection.execute(sa.select(tables.run).where(condition)).mappings().first()
            if found is None:
                values = {"design_key": key, "design": dict(design), "seed": seed, "state": "running", "started": now}
                connection.execute(tables.run.insert().values(study_id=study_id, trial=trial, **values))
            elif found["state"] == "running" and is_alive(found["owner"], found["heartbeat"]):
                raise MachineError(
                    f"trial {trial} is being trained by another process ({found['owner']})", "wait for it, or stop it"
                )
            connection.execute(tables.run.update().where(condition).values(owner=process_name(), heartbeat=now))
            return self._run(connection.execute(sa.select(tables.run).where(condition)).mappings().one())

    def equal_run(self, study: StudyRow, run: RunRow, environment: Mapping[str, str]) -> RunRow | None:
        """A finished run of another study that is the same training with the same measures, on the same device and software."""
        same = ("protocol", "epochs", "time")
        c = tables.run.c
        query = (
            sa.select(tables.run, tables.study.c.identity)
            .join(tables.study)
            .where(
                (c.state == "done") & (c.design_key == run.design.key) & (c.seed == run.seed) & (c.study_id != study.study_id),
                c.reason.is_(None),  # it was not pruned
                tables.study.c.dataset_fingerprint == study.dataset_fingerprint,
                *(c[name] == value for name, value in environment.items()),
            )
        )
        for row in self._rows(query):
            if all(row["identity"].get(name) == study.identity.get(name) for name in same):
                return self._run(row)
        return None

    def leave_run(self, study_id: int, key: str, seed: int) -> None:
        """Note that no process trains this run, if it is not finished and no other living process owns it."""
        c = tables.run.c
        condition = (c.study_id == study_id) & (c.design_key == key) & (c.seed == seed) & (c.state == "running")
        with self._write() as connection:
            found = connection.execute(sa.select(c.owner, c.heartbeat).where(condition)).mappings().first()
            if found is not None and not is_alive(found["owner"], found["heartbeat"]):
                connection.execute(tables.run.update().where(condition).values(owner=None, heartbeat=time.time()))

    def beat(self, run_id: int) -> None:
        """Say that the run's process lives."""
        with self._write() as connection:
            connection.execute(tables.run.update().where(tables.run.c.run_id == run_id).values(heartbeat=time.time()))

    def start_run(self, run_id: int, **values: Any) -> None:
        """Note device, precision, software and params of a run that is being trained."""
        with self._write() as connection:
            connection.execute(tables.run.update().where(tables.run.c.run_id == run_id).values(**values))

    def finish_run(
        self, run_id: int, measurement: Measurement, wall_time: float, weights: str | None, reason: str | None = None
    ) -> None:
        """Keep what a run has reached; `weights` is the path of its weights, `reason` why it was pruned, if it was."""
        with self._write() as connection:
            values: dict[str, Any] = {name: measurement[name] for name in VALUE_COLUMNS}
            values |= {name: getattr(measurement, name) for name in ("test_acc", "selected_epoch", "pruned_after")}
            others = {name: value for name, value in measurement.values.items() if name not in VALUE_COLUMNS}
            values |= {"wall_time": wall_time, "others": others}
            kept = None if weights is None else weights_to_store(runs_folder(self.url), Path(weights))
            connection.execute(
                tables.run.update()
                .where(tables.run.c.run_id == run_id)
                .values(state="done", weights=kept, reason=reason, ended=time.time(), **values)
            )

    def fail_run(self, run_id: int, reason: str) -> None:
        with self._write() as connection:
            connection.execute(
                tables.run.update()
                .where(tables.run.c.run_id == run_id)
                .values(state="failed", reason=reason, ended=time.time())
            )

    def forget_weights(self, run_id: int) -> None:
        """Note that the weights of this run are gone."""
        with self._write() as connection:
            connection.execute(tables.run.update().where(tables.run.c.run_id == run_id).values(weights=None))

    def runs(self, study_id: int) -> list[RunRow]:
        """All runs of a study, by trial and seed."""
        query = sa.select(tables.run).where(tables.run.c.study_id == study_id).order_by(tables.run.c.trial, tables.run.c.seed)
        return [self._run(row) for row in self._rows(query)]

    def owners(self, study_id: int) -> list[Mapping[str, Any]]:
        """Owner and heartbeat of each running run."""
        where = (tables.run.c.study_id == study_id) & (tables.run.c.state == "running")
        return self._rows(sa.select(tables.run.c.owner, tables.run.c.heartbeat).where(where))

    def trials(self, study: StudyRow) -> list[TrialRow]:
        """All designs of a study with their runs, by trial."""
        grouped: dict[int, list[RunRow]] = defaultdict(list)
        for run in self.runs(study.study_id):
            grouped[run.trial].append(run)
        explored = any(run.state == "running" for runs in grouped.values() for run in runs)
        return [trial_row(trial, runs, study.identity["seeds"], explored=explored) for trial, runs in grouped.items()]

    def trial_counts(self) -> dict[int, int]:
        """How many trials each study has, by study id."""
        c = tables.run.c
        query = sa.select(c.study_id, sa.func.count(sa.distinct(c.trial)).label("trials")).group_by(c.study_id)
        return {row["study_id"]: row["trials"] for row in self._rows(query)}

    def train_seconds(self, study_id: int) -> dict[int, float]:
        """The training seconds of all epochs of each trial, as the study counts them."""
        c = tables.run.c
        query = sa.select(c.trial, sa.func.sum(tables.epoch.c.counted_seconds).label("seconds")).select_from(
            tables.run.join(tables.epoch)
        )
        return {row["trial"]: row["seconds"] for row in self._rows(query.where(c.study_id == study_id).group_by(c.trial))}

    def pulse(self, study_id: int) -> tuple[Any, ...]:
        """What changes whenever something of a study does: asked often, it reads the runs and the notes alone."""
        c, n, count = tables.run.c, tables.note.c, sa.func.count
        noted = sa.select(sa.func.max(n.changed)).where(n.study_id == study_id).scalar_subquery()
        notes = sa.select(count(n.trial)).where(n.study_id == study_id).scalar_subquery()
        revision = sa.select(tables.study.c.revision).where(tables.study.c.study_id == study_id).scalar_subquery()
        facts = (count(), count(c.ended), sa.func.max(c.heartbeat), sa.func.max(c.ended), noted, notes, revision)
        query = sa.select(*facts).where(c.study_id == study_id)
        trained = sum(is_trained(row["owner"], row["heartbeat"]) for row in self.owners(study_id))
        with clear_errors(self.url), self.engine.connect() as connection:
            return (*connection.execute(query).one(), trained)

    # --- step times ---------------------------------------------------------------------------------------------------

    def step_time(self, key: str, device: str, software: str) -> StepTime | None:
        """What was measured for this key on this device with this software."""
        c = tables.step_time.c
        rows = self._rows(sa.select(tables.step_time).where((c.key == key) & (c.device == device) & (c.software == software)))
        return StepTime(**rows[0]) if rows else None

    def step_times(self) -> list[StepTime]:
        """Everything that was measured, the latest first."""
        return [StepTime(**row) for row in self._rows(sa.select(tables.step_time).order_by(tables.step_time.c.measured.desc()))]

    def set_step_time(self, measured: StepTime) -> None:
        """Keep a step time; another process may have measured it meanwhile: the earlier one stays."""
        if self.step_time(measured.key, measured.device, measured.software) is not None:
            return
        with self._write() as connection:
            connection.execute(tables.step_time.insert().values(**asdict(measured)))

    # --- convolution algorithms ---------------------------------------------------------------------------------------

    def algorithm_choice(
        self, images: str, batch_size: int, precision: str, device: str, software: str
    ) -> AlgorithmChoice | None:
        """What was chosen for batches of these images on this device with this software."""
        c = tables.algorithm_choice.c
        where = (c.images == images) & (c.batch_size == batch_size) & (c.precision == precision)
        query = sa.select(tables.algorithm_choice).where(where & (c.device == device) & (c.software == software))
        rows = self._rows(query)
        return AlgorithmChoice(**rows[0]) if rows else None

    def algorithm_choices(self) -> list[AlgorithmChoice]:
        """All choices, the latest first."""
        query = sa.select(tables.algorithm_choice).order_by(tables.algorithm_choice.c.measured.desc())
        return [AlgorithmChoice(**row) for row in self._rows(query)]

    def keep_algorithm_choice(self, measured: AlgorithmChoice) -> AlgorithmChoice:
        """Keep a choice; what is kept then, as another process may have been earlier."""
        entry = (measured.images, measured.batch_size, measured.precision, measured.device, measured.software)
        try:
            with self.engine.begin() as connection:
                connection.execute(tables.algorithm_choice.insert().values(**asdict(measured)))
        except sa.exc.IntegrityError:
            earlier = self.algorithm_choice(*entry)
            assert earlier is not None
            return earlier
        except sa.exc.DBAPIError as error:
            raise translate(error, self.url) from None
        return measured

    # --- epochs -------------------------------------------------------------------------------------------------------

    def set_epoch(self, run_id: int, epoch: EpochRow) -> None:
        """Keep an epoch; one that was trained again replaces the earlier record."""
        with self._write() as connection:
            where = (tables.epoch.c.run_id == run_id) & (tables.epoch.c.epoch == epoch.epoch)
            connection.execute(tables.epoch.delete().where(where))
            connection.execute(tables.epoch.insert().values(run_id=run_id, **asdict(epoch)))
            connection.execute(tables.run.update().where(tables.run.c.run_id == run_id).values(heartbeat=time.time()))

    def epochs(self, run_id: int) -> list[EpochRow]:
        """The epochs of a run, in order."""
        query = sa.select(tables.epoch).where(tables.epoch.c.run_id == run_id).order_by(tables.epoch.c.epoch)
        return [EpochRow(**{k: v for k, v in row.items() if k != "run_id"}) for row in self._rows(query)]

    def epochs_of(self, study_id: int) -> dict[int, list[EpochRow]]:
        """The epochs of every run of a study, by run id."""
        query = sa.select(tables.epoch).join(tables.run).where(tables.run.c.study_id == study_id)
        grouped: dict[int, list[EpochRow]] = defaultdict(list)
        for row in self._rows(query.order_by(tables.epoch.c.run_id, tables.epoch.c.epoch)):
            grouped[row["run_id"]].append(EpochRow(**{k: v for k, v in row.items() if k != "run_id"}))
        return grouped

    def drop_epochs(self, run_id: int, after: int) -> None:
        """Drop the epochs past `after`: they will be trained again."""
        with self._write() as connection:
            connection.execute(tables.epoch.delete().where((tables.epoch.c.run_id == run_id) & (tables.epoch.c.epoch > after)))
