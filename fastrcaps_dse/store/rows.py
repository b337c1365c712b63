"""What the tables hold, as frozen rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from fastrcaps_dse.problem.objectives import Measurement, Objective, mean_measurement, parse_objectives
from fastrcaps_dse.problem.space import DesignPoint, design_from_dict
from fastrcaps_dse.store.owner import is_alive

RunState = Literal["running", "interrupted", "done", "failed"]
"""Of a run or a trial. An interrupted one is not finished, and no living process trains it: the next exploration goes on with it."""
UNFINISHED: tuple[RunState, ...] = ("running", "interrupted")


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
    warm_up_seconds: float
    train_seconds: float
    eval_seconds: float
    counted_seconds: float
    test_acc: float | None = None  # %, where the test set is evaluated after each epoch


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """How long a training step takes on a device, measured alone."""

    key: str  # network variant, images, batch size, precision
    device: str
    software: str
    seconds: float  # the median of n
    spread: float  # interquartile range by the median
    n: int
    measured: float  # s since 1970


@dataclass(frozen=True, kw_only=True)
class AlgorithmChoice:
    """Which convolution algorithm was the fastest for a batch size on a device."""

    images: str  # channels x height x width
    batch_size: int
    precision: str
    device: str
    software: str
    algorithm: str
    seconds: Mapping[str, float]  # of each algorithm that was timed, forward and backward
    measured: float  # s since 1970


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One stored run."""

    run_id: int
    trial: int
    design: DesignPoint
    seed: int
    state: RunState
    reason: str | None
    device: str | None
    precision: str | None
    software: str | None
    algorithms: Mapping[str, str] | None = None  # of the convolution, by batch size; None before the run has begun
    measurement: Measurement | None
    wall_time: float | None  # s of training up to the selected epoch, as a clock told it
    weights: str | None  # their path from the current directory, if they are kept
    started: float
    ended: float | None
    owner: str | None = None  # the process that trains it, or did
    attempt: int = 0  # only the process of this attempt may write
    revision: int = 0  # of the study, when the state last changed
    deaths: int = 0  # of its processes since the last epoch
    time_estimated: bool = False  # step times of the reference are lacking: those of its device stand for them


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
    classes: Sequence[str] | None = None  # their names by label; None if they are not stored yet
    pixel_scaling: str | None = None  # how stored values become inputs of the network; likewise
    train_images: int
    selection: Mapping[str, int] | None = None  # images, largest_class: of the images that select an epoch
    created: float
    revision: int = 0  # counts the changes of its runs' states
    deadline: float | None = None  # s since 1970 by the database's clock, when the budget of all its processes ends
    reference: Mapping[str, str] | None = None  # device, precision and software whose step times count
    runs_place: str | None = None  # the folder or URL of its runs' files, where the user has named one
    outlook: Mapping[str, Any] | None = None  # text, gain, trials: what another hour was expected to give after so many trials
    mirrored_until: float | None = None

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return parse_objectives(self.identity["objectives"])


Key = tuple[int, int | None]
"""What tells a design of a study from all others: its trial, and after which epoch it is stopped (None for whole runs)."""


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A design with its runs: what the front is made of. In the anytime view, the design if its runs are stopped early."""

    trial: int
    design: DesignPoint
    state: RunState
    runs: tuple[RunRow, ...]
    measurement: Measurement | None  # the mean over the seeds; None unless done, or in the anytime view without an epoch
    stop_after: int | None = None  # epochs, in the anytime view; None for whole runs
    epochs_in_all: int | None = None  # of a whole run, where `stop_after` is given

    @property
    def key(self) -> Key:
        """What tells it from all others of its study, whole or stopped early."""
        return self.trial, self.stop_after

    @property
    def label(self) -> str:
        """The design in words, and after which epoch it is stopped."""
        return f"{self.design.label}{self.stopped}"

    @property
    def stopped(self) -> str:
        """After which epoch it is stopped, e.g. ", stop after epoch 4 of 10"; nothing for whole runs."""
        if self.stop_after is None:
            return ""
        if self.stop_after == self.epochs_in_all:
            return f", all {self.stop_after} epochs" if self.stop_after > 1 else ", the only epoch"
        return f", stop after epoch {self.stop_after} of {self.epochs_in_all}"

    @property
    def seeds(self) -> int:
        """How many runs the measurement is the mean of."""
        return sum(run.measurement is not None for run in self.runs)

    @property
    def time_estimated(self) -> bool:
        """Whether the seconds of the measurement are estimated, as the reference has not measured some step times."""
        return any(run.time_estimated for run in self.runs if run.measurement is not None)


VALUE_COLUMNS = ("acc", "time", "params")
"""The objectives that have a column of their own; the values of all others are in the column `others`."""


def run_row(row: Any) -> RunRow:
    measured = row["state"] == "done"
    measurement = (
        Measurement(
            values={**{name: float(row[name]) for name in VALUE_COLUMNS}, **(row["others"] or {})},
            **{name: row[name] for name in ("test_acc", "test_robust", "selected_epoch", "pruned_after")},
            time_estimated=bool(row["time_estimated"]),
        )
        if measured
        else None
    )
    kept = {f.name: row[f.name] for f in fields(RunRow) if f.name not in ("design", "measurement", "state", "time_estimated")}
    left = row["state"] == "running" and not is_alive(row["owner"], row["heartbeat"], row["now"])
    state: RunState = "interrupted" if left else row["state"]
    estimated = bool(row["time_estimated"])
    return RunRow(
        design=design_from_dict(row["design"]), measurement=measurement, state=state, time_estimated=estimated, **kept
    )


def trial_row(trial: int, runs: list[RunRow], seeds: int, *, explored: bool = False) -> TrialRow:
    """A trial from its runs. `explored`: a living process trains runs of the study; the trial may wait for its next seed."""
    measurements = [run.measurement for run in runs if run.measurement is not None]
    states = {run.state for run in runs}
    trained = "running" in states or (explored and "interrupted" not in states)
    state: RunState = "running" if trained else "interrupted"
    stopped = any(measured.pruned_after is not None for measured in measurements)
    if stopped or len(measurements) >= seeds:  # a further seed that fails takes nothing from them
        state = "done"
    elif any(run.state == "failed" for run in runs):
        state = "failed"
    mean = mean_measurement(measurements) if state == "done" else None
    return TrialRow(trial=trial, design=runs[0].design, state=state, runs=tuple(runs), measurement=mean)
