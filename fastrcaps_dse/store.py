"""Our tables, in the data base of Optuna's storage: studies, runs and every epoch of every run.

Optuna's own tables hold studies, trials and their states; ours, under the prefix `fastrcaps_`, what it has no place for.
Reading needs no Optuna.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from fastrcaps_dse.errors import InputError, MachineError, UserError, nearest
from fastrcaps_dse.objectives import Measurement, Objective, mean_measurement, parse_objectives
from fastrcaps_dse.space import DesignPoint, design_from_dict

SCHEMA_VERSION = 1
DEFAULT_URL = "sqlite:///studies/fastrcaps.db"
STALE_SECONDS = 120.0  # a run of another machine whose heart has not beaten for so long is taken up again

metadata = sa.MetaData()
# Optuna's table, as far as we refer to it; Optuna creates it.
_studies = sa.Table(
    "studies", metadata, sa.Column("study_id", sa.Integer, primary_key=True), sa.Column("study_name", sa.String)
)
_schema = sa.Table("fastrcaps_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))
_study = sa.Table(
    "fastrcaps_study",
    metadata,
    sa.Column("study_id", sa.ForeignKey("studies.study_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("identity", sa.JSON, nullable=False),
    sa.Column("spec_text", sa.Text, nullable=False),
    sa.Column("target_trials", sa.Integer, nullable=False),
    sa.Column("dataset_fingerprint", sa.String(32), nullable=False),
    sa.Column("image_shape", sa.JSON, nullable=False),
    sa.Column("train_images", sa.Integer, nullable=False),
    sa.Column("created", sa.Float, nullable=False),  # s since 1970
)
_run = sa.Table(
    "fastrcaps_run",
    metadata,
    sa.Column("run_id", sa.Integer, primary_key=True),
    sa.Column("study_id", sa.ForeignKey("fastrcaps_study.study_id", ondelete="CASCADE"), nullable=False),
    sa.Column("trial", sa.Integer, nullable=False),  # Optuna's trial number
    sa.Column("design_key", sa.String(512), nullable=False),
    sa.Column("design", sa.JSON, nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # running, done, failed
    sa.Column("reason", sa.Text),
    sa.Column("device", sa.String(200)),
    sa.Column("precision", sa.String(16)),
    sa.Column("software", sa.String(200)),
    sa.Column("params", sa.Integer),
    sa.Column("acc", sa.Float),  # %
    sa.Column("time", sa.Float),  # s
    sa.Column("test_acc", sa.Float),  # %
    sa.Column("selected_epoch", sa.Integer),
    sa.Column("weights", sa.String(1024)),
    sa.Column("owner", sa.String(200)),
    sa.Column("heartbeat", sa.Float),  # s since 1970
    sa.Column("started", sa.Float, nullable=False),  # s since 1970
    sa.Column("ended", sa.Float),
    sa.UniqueConstraint("study_id", "design_key", "seed", name="fastrcaps_run_once"),
    sa.Index("fastrcaps_run_trial", "study_id", "trial"),
)
_epoch = sa.Table(
    "fastrcaps_epoch",
    metadata,
    sa.Column("run_id", sa.ForeignKey("fastrcaps_run.run_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True),  # counted from 1
    sa.Column("batch_size", sa.Integer, nullable=False),
    sa.Column("steps", sa.Integer, nullable=False),
    sa.Column("lr_first", sa.Float, nullable=False),
    sa.Column("lr_last", sa.Float, nullable=False),
    sa.Column("margin_loss", sa.Float, nullable=False),
    sa.Column("reconstruction_loss", sa.Float, nullable=False),
    sa.Column("acc", sa.Float, nullable=False),  # %
    sa.Column("train_seconds", sa.Float, nullable=False),
    sa.Column("eval_seconds", sa.Float, nullable=False),
)
_OURS = [_schema, _study, _run, _epoch]


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One stored epoch; the fields are the trainer's."""

    epoch: int
    batch_size: int
    steps: int
    lr_first: float
    lr_last: float
    margin_loss: float
    reconstruction_loss: float
    acc: float
    train_seconds: float
    eval_seconds: float


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One stored run."""

    run_id: int
    trial: int
    design: DesignPoint
    seed: int
    state: Literal["running", "done", "failed"]
    reason: str | None
    device: str | None
    precision: str | None
    software: str | None
    measurement: Measurement | None
    weights: str | None
    started: float
    ended: float | None


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One stored study."""

    study_id: int
    name: str
    identity: Mapping[str, Any]
    spec_text: str
    target_trials: int
    dataset_fingerprint: str
    image_shape: Mapping[str, int]
    train_images: int
    created: float

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return parse_objectives(self.identity["objectives"])


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A design with its runs: what the front is made of."""

    trial: int
    design: DesignPoint
    state: Literal["running", "done", "failed"]
    runs: tuple[RunRow, ...]
    measurement: Measurement | None  # the mean over the seeds; None unless done

    @property
    def seeds(self) -> int:
        return len(self.runs)


def default_url() -> str:
    """FASTRCAPS_STORAGE, or SQLite in studies/."""
    return os.environ.get("FASTRCAPS_STORAGE") or DEFAULT_URL


def parse_url(text: str) -> URL:
    """The URL of a storage; a plain path is an SQLite file. Raises InputError."""
    if "://" not in text:
        text = f"sqlite:///{text}"
    try:
        url = make_url(text)
        url.get_dialect()
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ValueError):
        shown = text.split("@")[-1] if "@" in text else text
        raise InputError(
            f"{shown!r} is no storage URL", "e.g. sqlite:///studies/fastrcaps.db or postgresql://USER@HOST/NAME"
        ) from None
    return url


def shown(url: URL) -> str:
    """The URL without its password."""
    return url.render_as_string(hide_password=True)


def sqlite_path(url: URL) -> Path | None:
    """The file of an SQLite storage."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:" else None


def runs_folder(url: URL) -> Path:
    """Where the checkpoints and weights of this storage's runs lie: beside an SQLite file, else in studies/."""
    path = sqlite_path(url)
    return path.with_suffix(".runs") if path else Path("studies") / f"{url.database or 'storage'}.runs"


@contextmanager
def clear_errors(url: URL) -> Iterator[None]:
    """Errors of the data base as one clear line, without a password."""
    try:
        yield
    except (sa.exc.DBAPIError, ImportError) as error:
        raise translate(error, url) from None


def translate(error: BaseException, url: URL) -> UserError:
    """What a person can do about an error of the data base."""
    text = str(getattr(error, "orig", error)).strip().splitlines()[0]
    where = sqlite_path(url) or shown(url)
    if "not a database" in text:
        return InputError(f"{where} is no data base", "name another file with --storage")
    if "full" in text:
        return MachineError(f"the disk of {where} is full", "free space, then run the same command again: nothing is lost")
    if "locked" in text:
        return MachineError(f"{where} is locked by another program", "close it, then run the same command again")
    if isinstance(error, ImportError):
        return MachineError(f"no driver for {shown(url)}: {text}", "pip install 'fastrcaps-dse[postgresql]'")
    if url.password:
        text = text.replace(str(url.password), "***")
    return MachineError(
        f"the storage {where} cannot be used: {text}", "check --storage, that its folder exists and may be written"
    )


def make_engine(url: URL) -> sa.Engine:
    """An engine that keeps foreign keys and, in SQLite, takes its write lock at the start of a transaction."""
    engine = sa.create_engine(url, connect_args={"timeout": 60} if url.get_backend_name() == "sqlite" else {})
    if url.get_backend_name() == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def _on_connect(connection: Any, _: object) -> None:
            connection.execute("PRAGMA foreign_keys = ON")

    return engine


def begin_immediate(engine: sa.Engine) -> None:
    """Let each transaction of an SQLite engine take the write lock at once, so that no two processes act on one reading."""
    if engine.dialect.name != "sqlite":
        return

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # sqlite3 shall not begin transactions of its own

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()


class Store:
    """Our tables behind one URL. Every method raises UserErrors, never those of the data base."""

    def __init__(self, url: URL, *, create: bool = False) -> None:
        """Open, and with `create` make the tables (Optuna's must be there). Raises InputError, MachineError."""
        self.url = url
        path = sqlite_path(url)
        if path and not path.exists():
            raise InputError(
                f"there is no data base {path} yet", "run `fastrcaps-dse explore` first, or name one with --storage"
            )
        with clear_errors(url):
            self.engine = make_engine(url)
            if create:
                with self.engine.begin() as connection:
                    metadata.create_all(connection, tables=_OURS)
                    if connection.scalar(sa.select(_schema.c.version)) is None:
                        connection.execute(_schema.insert().values(version=SCHEMA_VERSION))
            self._check_version()

    def _check_version(self) -> None:
        if not sa.inspect(self.engine).has_table(_schema.name):
            raise InputError(f"{shown(self.url)} holds no study of fastrcaps-dse", "run `fastrcaps-dse explore` with it first")
        with self.engine.connect() as connection:
            version = connection.scalar(sa.select(sa.func.max(_schema.c.version)))
        if version is not None and version > SCHEMA_VERSION:
            raise InputError(
                f"{shown(self.url)} was written by a newer fastrcaps-dse (schema {version}, this one knows {SCHEMA_VERSION})",
                "upgrade fastrcaps-dse, or name another data base with --storage",
            )

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
        query = sa.select(_study, _studies.c.study_name.label("name")).join(_studies, _studies.c.study_id == _study.c.study_id)
        return [StudyRow(**row) for row in self._rows(query.order_by(_study.c.created.desc(), _study.c.study_id.desc()))]

    def study(self, name: str | None = None) -> StudyRow:
        """The study of this name, or the newest. Raises InputError where there is none."""
        studies = self.studies()
        if not studies:
            raise InputError(f"{shown(self.url)} holds no study yet", "run `fastrcaps-dse explore` first")
        found = next((s for s in studies if name in (None, s.name)), None)
        if found is None:
            raise InputError(f"there is no study {name!r}", nearest(str(name), [s.name for s in studies]))
        return found

    def add_study(self, row: Mapping[str, Any]) -> None:
        with self._write() as connection:
            connection.execute(_study.insert().values(**row, created=time.time()))

    def set_target(self, study_id: int, trials: int) -> None:
        """How many trials the study is to have in all."""
        with self._write() as connection:
            connection.execute(_study.update().where(_study.c.study_id == study_id).values(target_trials=trials))

    # --- runs ---------------------------------------------------------------------------------------------------------

    def claim_run(self, study_id: int, trial: int, design: Mapping[str, Any], key: str, seed: int) -> RunRow:
        """The run of this design and seed, made where it is not there, and owned by this process from now on.

        Raises MachineError where another living process owns it.
        """
        now = time.time()
        condition = (_run.c.study_id == study_id) & (_run.c.design_key == key) & (_run.c.seed == seed)
        with self._write() as connection:
            found = connection.execute(sa.select(_run).where(condition)).mappings().first()
            if found is None:
                values = {"design_key": key, "design": dict(design), "seed": seed, "state": "running", "started": now}
                connection.execute(_run.insert().values(study_id=study_id, trial=trial, **values))
            elif found["state"] == "running" and is_alive(found["owner"], found["heartbeat"]):
                raise MachineError(
                    f"trial {trial} is being trained by another process ({found['owner']})", "wait for it, or stop it"
                )
            connection.execute(_run.update().where(condition).values(owner=process_name(), heartbeat=now))
            return _run_row(connection.execute(sa.select(_run).where(condition)).mappings().one())

    def beat(self, run_id: int) -> None:
        """Say that the run's process lives."""
        with self._write() as connection:
            connection.execute(_run.update().where(_run.c.run_id == run_id).values(heartbeat=time.time()))

    def start_run(self, run_id: int, **values: Any) -> None:
        """Note device, precision, software and params of a run that is being trained."""
        with self._write() as connection:
            connection.execute(_run.update().where(_run.c.run_id == run_id).values(**values))

    def finish_run(self, run_id: int, measurement: Measurement, weights: str | None) -> None:
        with self._write() as connection:
            values = {f.name: getattr(measurement, f.name) for f in fields(measurement)}
            connection.execute(
                _run.update().where(_run.c.run_id == run_id).values(state="done", weights=weights, ended=time.time(), **values)
            )

    def fail_run(self, run_id: int, reason: str) -> None:
        with self._write() as connection:
            connection.execute(
                _run.update().where(_run.c.run_id == run_id).values(state="failed", reason=reason, ended=time.time())
            )

    def forget_weights(self, run_id: int) -> None:
        """Note that the weights of this run are gone."""
        with self._write() as connection:
            connection.execute(_run.update().where(_run.c.run_id == run_id).values(weights=None))

    def runs(self, study_id: int) -> list[RunRow]:
        """All runs of a study, by trial and seed."""
        query = sa.select(_run).where(_run.c.study_id == study_id).order_by(_run.c.trial, _run.c.seed)
        return [_run_row(row) for row in self._rows(query)]

    def owners(self, study_id: int) -> list[Mapping[str, Any]]:
        """Owner and heartbeat of each running run."""
        where = (_run.c.study_id == study_id) & (_run.c.state == "running")
        return self._rows(sa.select(_run.c.owner, _run.c.heartbeat).where(where))

    def trials(self, study: StudyRow) -> list[TrialRow]:
        """All designs of a study with their runs, by trial."""
        grouped: dict[int, list[RunRow]] = defaultdict(list)
        for run in self.runs(study.study_id):
            grouped[run.trial].append(run)
        return [_trial_row(trial, runs, study.identity["seeds"]) for trial, runs in grouped.items()]

    # --- epochs -------------------------------------------------------------------------------------------------------

    def set_epoch(self, run_id: int, epoch: Mapping[str, Any]) -> None:
        """Keep an epoch; one that was trained again replaces the earlier record."""
        with self._write() as connection:
            where = (_epoch.c.run_id == run_id) & (_epoch.c.epoch == epoch["epoch"])
            connection.execute(_epoch.delete().where(where))
            connection.execute(_epoch.insert().values(run_id=run_id, **epoch))
            connection.execute(_run.update().where(_run.c.run_id == run_id).values(heartbeat=time.time()))

    def epochs(self, run_id: int) -> list[EpochRow]:
        """The epochs of a run, in order."""
        query = sa.select(_epoch).where(_epoch.c.run_id == run_id).order_by(_epoch.c.epoch)
        return [EpochRow(**{k: v for k, v in row.items() if k != "run_id"}) for row in self._rows(query)]

    def drop_epochs(self, run_id: int, after: int) -> None:
        """Drop the epochs past `after`: they will be trained again."""
        with self._write() as connection:
            connection.execute(_epoch.delete().where((_epoch.c.run_id == run_id) & (_epoch.c.epoch > after)))


def _run_row(row: Any) -> RunRow:
    measured = row["state"] == "done"
    measurement = Measurement(**{f.name: row[f.name] for f in fields(Measurement)}) if measured else None
    kept = {f.name: row[f.name] for f in fields(RunRow) if f.name not in ("design", "measurement")}
    return RunRow(design=design_from_dict(row["design"]), measurement=measurement, **kept)


def _trial_row(trial: int, runs: list[RunRow], seeds: int) -> TrialRow:
    measurements = [run.measurement for run in runs if run.measurement is not None]
    state: Literal["running", "done", "failed"] = "running"
    if any(run.state == "failed" for run in runs):
        state = "failed"
    elif len(measurements) >= seeds:
        state = "done"
    mean = mean_measurement(measurements) if state == "done" else None
    return TrialRow(trial=trial, design=runs[0].design, state=state, runs=tuple(runs), measurement=mean)


# --- who is alive -----------------------------------------------------------------------------------------------------


def process_name() -> str:
    """This process, so that another can tell whether it lives: host, boot and start included, for numbers are used again."""
    return json.dumps([socket.gethostname(), os.getpid(), _started(os.getpid())])


def _started(pid: int) -> str:
    """Boot and start time of a process (Linux); empty where they cannot be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return (
            boot + ":" + Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()[19]
        )
    except (OSError, IndexError):
        return ""


def is_alive(owner: str | None, heartbeat: float | None) -> bool:
    """Whether the owner of a run lives: on this host by its process, elsewhere by its heartbeat."""
    if not owner or heartbeat is None:
        return False
    host, pid, started = json.loads(owner)
    if host != socket.gethostname():
        return time.time() - heartbeat < STALE_SECONDS
    if pid == os.getpid() and started == _started(pid):
        return False  # it is this process itself: an earlier attempt of its own
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return bool(_started(pid) == started)
