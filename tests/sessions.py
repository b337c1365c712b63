"""What the tests of whole explorations share: small studies, and an observer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastrcaps_dse import store
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec, override, parse_study
from fastrcaps_dse.session import Session
from fastrcaps_dse.store import Store
from fastrcaps_dse.trainer import Epoch

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


class Heard:
    """Keeps what it is told; may interrupt after an epoch."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.warnings: list[str] = []
        self.noise: list[str] = []  # warnings of machines that are noisy while they are measured
        self.begun: list[int] = []
        self.fronts: list[int] = []
        self.stop_after = stop_after

    def trial_started(self, trial: int, point: DesignPoint, *, finished: int, target: int, resumed: bool) -> None: ...

    def trial_finished(self, trial: int, point: DesignPoint, measurement: Measurement, front: int) -> None:
        self.fronts.append(front)

    def trial_failed(self, trial: int, point: DesignPoint, reason: str) -> None: ...

    def run_started(self, trial: int, seed: int, epochs: int, done: int) -> None:
        self.begun.append(done)

    def epoch_finished(self, trial: int, epoch: Epoch) -> None:
        self.stop_after -= 1
        if self.stop_after == 0:
            raise KeyboardInterrupt

    def rest_estimated(self, seconds: float) -> None: ...

    def warned(self, message: str) -> None:
        (self.noise if "a noisy machine" in message else self.warnings).append(message)


def explore(place: Path, spec: StudySpec, heard: Heard | None = None, trials: int | None = 1) -> Store:
    url = store.parse_url(str(place / "s.db"))
    Session(spec, url, heard or Heard(), device="cpu", precision="float32").run(trials)
    return Store(url)


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
    spec = parse_study(SHARED.format(name=name, dataset=tiny, epochs=epochs, schedules=schedules), default_name="s")
    heard = Heard()
    session = Session(spec, store.parse_url(str(place / "s.db")), heard, device="cpu", **how)
    session.run()
    return session.store, heard


def curves_of(ours: Store, name: str) -> dict[str, list[dict[str, Any]]]:
    """The epochs of each design of a study, without what a clock told."""
    return {
        run.design.key: [{k: v for k, v in asdict(e).items() if "seconds" not in k} for e in ours.epochs(run.run_id)]
        for run in ours.runs(ours.study(name).study_id)
    }
