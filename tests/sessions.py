"""What the tests of whole explorations share: small studies, and one who listens."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

from fastrcaps_dse import session, store
from fastrcaps_dse.capsnet import sizes
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, override
from fastrcaps_dse.runs.budget import Budget
from fastrcaps_dse.runs.executors import open_executor
from fastrcaps_dse.search.protocols import EpochFinished, Event, RunStarted, Status, TrialFinished
from fastrcaps_dse.session import OpenStudy, Outcome
from fastrcaps_dse.store import Store
from tests.small_networks import SMALL


@contextmanager
def small_sizes() -> Iterator[None]:
    """A context in which CapsNets in this process are small: for fixtures that several tests share; tests have `small_capsnet`."""
    with mock.patch.multiple(sizes, **SMALL):
        yield


STUDY = """
name = "s"
dataset = "{dataset}"
epochs = 4
trials = 2
first = ["lr_policy=one-cycle batch_schedule=adabatch(head_batch=8) decoder=small shift=0"]
[space]
lr_policy = ["one-cycle"]
batch_schedule = ["adabatch(head_batch=8)", 16]
weight_sharing = [false]
decoder = ["small"]
shift = [0]
"""


def spec_of(tiny: Path, **changes: Any) -> StudySpec:
    return override(parse_study(STUDY.format(dataset=tiny), default_name="s"), **changes)


class Heard(logging.Handler):
    """Keeps events and warnings; may interrupt after an epoch."""

    def __init__(self, stop_after: int = 10**9) -> None:
        super().__init__()
        self.warnings: list[str] = []
        self.noise: list[str] = []  # warnings of machines that are noisy while they are measured
        self.begun: list[int] = []  # epochs that each run had already
        self.fronts: list[int] = []  # sizes, after each trial
        self.stop_after = stop_after
        self.status = Status(front=0, remaining=None)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            message = record.getMessage()
            (self.noise if "a noisy machine" in message else self.warnings).append(message)

    def tell(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.begun.append(len(event.accuracies))
            case EpochFinished():
                self.epoch_finished(event)
            case Status():
                self.status = event
            case TrialFinished():
                self.fronts.append(self.status.front)

    def epoch_finished(self, _: EpochFinished) -> None:
        self.stop_after -= 1
        if self.stop_after == 0:
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[None]:
        logger = logging.getLogger("fastrcaps_dse")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)


def opened(place: Path, spec: StudySpec) -> OpenStudy:
    """The study in a database of this folder."""
    place.mkdir(exist_ok=True)
    return session.open_study(spec, str(place / "s.db"), device="cpu", precision="float32")


def explored(
    study: OpenStudy,
    heard: Heard | None = None,
    trials: int | None = 1,
    *,
    workers: int | None = 1,
    budget: Budget | None = None,
    fresh: bool = False,
) -> Outcome:
    """Explore an open study."""
    heard = heard or Heard()
    with (
        heard.listening(),
        open_executor(study.cost_model, workers=workers, budget=budget, fresh=fresh) as executor,
    ):
        return session.explore(study, executor, trials=trials, budget=budget, tell=heard.tell)


def explore(place: Path, spec: StudySpec, heard: Heard | None = None, trials: int | None = 1, **how: Any) -> Store:
    """Open and explore; the store, to look into."""
    with opened(place, spec) as study:
        explored(study, heard, trials, **how)
    return Store(store.parse_url(str(place / "s.db")))


def curves(ours: Store) -> list[list[dict[str, Any]]]:
    """Every epoch of every run, without the seconds."""
    runs = ours.runs(ours.study().study_id)
    return [[{k: v for k, v in asdict(e).items() if "seconds" not in k} for e in ours.epochs(run.run_id)] for run in runs]


SHARED = """
name = "{name}"
dataset = "{dataset}"
epochs = {epochs}
trials = 9
first = []
[space]
lr_policy = ["fixed"]
batch_schedule = {schedules}
weight_sharing = [false]
decoder = ["small"]
"""
HEADS = '["adabatch(head_batch=4,head_epochs=10,tail_batch=8)", "adabatch(head_batch=4,head_epochs=10,tail_batch=16)"]'


def shared(
    place: Path, tiny: Path, *, name: str = "a", epochs: int = 3, schedules: str = HEADS, **how: Any
) -> tuple[Store, Heard]:
    """A study of designs that begin alike."""
    spec = parse_study(SHARED.format(name=name, dataset=tiny, epochs=epochs, schedules=schedules), default_name="s")
    heard = Heard()
    return explore(place, spec, heard, None, **how), heard


def curves_of(ours: Store, name: str) -> dict[str, list[dict[str, Any]]]:
    """The epochs of each design of a study, without what a clock told."""
    return {
        run.design.key: [{k: v for k, v in asdict(e).items() if "seconds" not in k} for e in ours.epochs(run.run_id)]
        for run in ours.runs(ours.study(name).study_id)
    }
