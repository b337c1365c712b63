"""Epochs, as they end, in the places where people look at runs: CSV files, TensorBoard, MLflow. One run there for each training here."""

from __future__ import annotations

import csv
import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.problem.space import design_to_dict
from fastrcaps_dse.search.protocols import EpochFinished, Event, Failed, Measured, Request, RunStarted, Tell
from fastrcaps_dse.store import EpochRow
from fastrcaps_dse.trainer.tensorboard import open_writer

KINDS = ("csv", "tensorboard", "mlflow")
CURVES = ("acc", "margin_loss", "reconstruction_loss", "lr_last", "train_seconds", "batch_size")
"""The fields of an epoch that become curves."""

logger = logging.getLogger(__name__)


class Follower(Protocol):
    """A place that is told of runs."""

    def start(self, request: Request) -> None:
        """A run begins, or goes on."""

    def epoch(self, request: Request, epoch: EpochRow) -> None:
        """An epoch has ended."""

    def end(self, request: Request, values: Mapping[str, float] | None) -> None:
        """A run has ended: with the values of its objectives, or without, where it failed."""

    def close(self) -> None:
        """Nothing more comes."""


def run_name(request: Request) -> str:
    """The name of a run there: trial, seed and label."""
    return f"trial {request.trial}, seed {request.seed}: {request.point.label}"


@dataclass(kw_only=True)
class CsvFollower:
    """Appends each epoch to STUDY.epochs.csv in a folder."""

    folder: Path
    study: str

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"{self.study.replace('/', '_')}.epochs.csv"

    def start(self, request: Request) -> None:
        names = ["trial", "label", "seed", *(f.name for f in fields(EpochRow))]
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self._append(names)

    def epoch(self, request: Request, epoch: EpochRow) -> None:
        self._append([request.trial, request.point.label, request.seed, *asdict(epoch).values()])

    def end(self, request: Request, values: Mapping[str, float] | None) -> None:
        """The file has epochs alone."""

    def close(self) -> None:
        """Each line is written at once."""

    def _append(self, cells: Sequence[object]) -> None:
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(cells)


@dataclass(kw_only=True)
class TensorBoardFollower:
    """Writes the curves of each run into a folder of its own, STUDY/trial-N-seed-K, for TensorBoard."""

    folder: Path
    study: str
    writers: dict[tuple[int, int], Any] = field(default_factory=dict)

    def start(self, request: Request) -> None:
        name = f"trial-{request.trial:04d}-seed-{request.seed}"
        writer = self.writers[request.trial, request.seed] = open_writer(self.folder / self.study.replace("/", "_") / name)
        writer.add_text("design", request.point.key)

    def epoch(self, request: Request, epoch: EpochRow) -> None:
        writer = self.writers[request.trial, request.seed]
        for name in CURVES:
            writer.add_scalar(name, getattr(epoch, name), epoch.epoch)
        writer.flush()

    def end(self, request: Request, values: Mapping[str, float] | None) -> None:
        writer = self.writers.pop((request.trial, request.seed), None)
        if writer is None:  # nothing was trained: an equal run was found
            return
        for name, value in (values or {}).items():
            writer.add_scalar(f"objective/{name}", value, 0)
        writer.close()

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()


@dataclass(kw_only=True)
class MlflowFollower:
    """Keeps each run as one of MLflow's, in the experiment of the study's name."""

    uri: str
    study: str
    runs: dict[tuple[int, int], str] = field(default_factory=dict)
    client: Any = None

    def start(self, request: Request) -> None:
        from mlflow import MlflowClient

        self.client = self.client or MlflowClient(tracking_uri=self.uri)
        found = self.client.get_experiment_by_name(self.study)
        experiment = found.experiment_id if found else self.client.create_experiment(self.study)
        run_id = self.client.create_run(experiment, run_name=run_name(request)).info.run_id
        self.runs[request.trial, request.seed] = run_id
        for name, value in {**design_to_dict(request.point), "trial": request.trial, "seed": request.seed}.items():
            self.client.log_param(run_id, name, value)

    def epoch(self, request: Request, epoch: EpochRow) -> None:
        for name in CURVES:
            self.client.log_metric(self.runs[request.trial, request.seed], name, getattr(epoch, name), step=epoch.epoch)

    def end(self, request: Request, values: Mapping[str, float] | None) -> None:
        run_id = self.runs.pop((request.trial, request.seed), None)
        if run_id is None:
            return
        for name, value in (values or {}).items():
            self.client.log_metric(run_id, f"objective_{name.replace(':', '_')}", value)
        self.client.set_terminated(run_id, "FINISHED" if values is not None else "FAILED")

    def close(self) -> None:
        for run_id in self.runs.values():
            self.client.set_terminated(run_id, "KILLED")


def open_follower(text: str, study: str) -> Follower:
    """The follower that "csv=DIR", "tensorboard=DIR" or "mlflow=URI" asks for. Raises InputError, also for a missing package."""
    kind, _, target = text.partition("=")
    if kind not in KINDS:
        raise InputError(f"{kind!r} is no kind of log", nearest(kind, KINDS) + "; e.g. --log tensorboard=logs")
    if not target:
        example = "http://localhost:5000" if kind == "mlflow" else "logs"
        raise InputError(f"--log {kind} does not say where", f"e.g. --log {kind}={example}")
    package = {"tensorboard": "tensorboard", "mlflow": "mlflow"}.get(kind)
    if package and importlib.util.find_spec(package) is None:
        raise InputError(f"{package} is not installed", f"pip install 'fastrcaps-dse[{package}]'")
    if kind == "mlflow":
        return MlflowFollower(uri=target, study=study)
    if kind == "csv":
        return CsvFollower(folder=Path(target), study=study)
    return TensorBoardFollower(folder=Path(target), study=study)


@contextmanager
def followed(tell: Tell, followers: Sequence[Follower]) -> Iterator[Tell]:
    """A context with a `tell` that also tells the followers. One that fails is told no more, with a warning; nothing else ends."""
    alive = list(followers)

    def tell_all(event: Event) -> None:
        for follower in [*alive]:
            try:
                pass_on(follower, event)
            except Exception as error:  # whatever happens there, the exploration goes on
                alive.remove(follower)
                logger.warning("a log is given up: %s", error)
        tell(event)

    try:
        yield tell_all
    finally:
        for follower in alive:
            follower.close()


def pass_on(follower: Follower, event: Event) -> None:
    """Tell a follower what an event says of a run."""
    match event:
        case RunStarted():
            follower.start(event.request)
        case EpochFinished():
            follower.epoch(event.request, event.epoch)
        case Measured():
            follower.end(event.request, event.measurement.values)
        case Failed():
            follower.end(event.request, None)
