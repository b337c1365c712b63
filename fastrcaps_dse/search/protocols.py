"""What a search asks of others, as data: requests go to an executor, messages come out; a proposer gives the next design."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.store import EpochRow, RunRow

if TYPE_CHECKING:
    from fastrcaps_dse.search.history import History


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run to be trained: one design with one seed, for a trial."""

    trial: int
    point: DesignPoint
    seed: int
    prune: bool = True  # False trains the whole run even in a study that prunes
    run_id: int  # of the run in the store
    attempt: int  # of its training: only the latest one may write
    until: int | None = None  # epochs that the run has when it pauses; None trains it to the end
    ends: bool = False  # it does not pause then: what it has reached with so many epochs is its measurement


# --- what an executor says of a request -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """A run begins, or goes on after the epochs that it has already."""

    request: Request
    epochs: int  # of the whole run
    accuracies: tuple[float, ...]  # %, of the epochs that are done already


@dataclass(frozen=True, kw_only=True)
class StepsTaken:
    """How far a run is within an epoch, told at most four times a second."""

    request: Request
    epoch: int  # counted from 1
    images: int  # that this epoch has been trained on
    of: int  # images of an epoch


@dataclass(frozen=True, kw_only=True)
class EpochFinished:
    """An epoch was trained, evaluated and stored."""

    request: Request
    epoch: EpochRow


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A run is complete, or was pruned; this ends its request."""

    request: Request
    measurement: Measurement


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A run gives no measurement, e.g. because its loss is not finite; this ends its request."""

    request: Request
    reason: str


@dataclass(frozen=True, kw_only=True)
class OutOfTime:
    """The budget ended before the run did: it goes on from its last epoch another time. This ends its request."""

    request: Request


@dataclass(frozen=True, kw_only=True)
class Paused:
    """A run has the epochs that it was asked for, and waits to be taken up again. This ends its request."""

    request: Request
    epochs: int  # that it has


@dataclass(frozen=True, kw_only=True)
class GivenUp:
    """Another process has taken the run over, as this one had given no sign of life. This ends its request."""

    request: Request


Message = RunStarted | StepsTaken | EpochFinished | Measured | Failed | OutOfTime | Paused | GivenUp
LAST_MESSAGES = (Measured, Failed, OutOfTime, Paused, GivenUp)
"""Each request ends with one of these."""


# --- what the loop says of a trial ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TrialStarted:
    """A design is about to be trained."""

    trial: int
    point: DesignPoint
    finished: int  # trials of the study so far
    target: int  # trials that the study is to have
    resumed: bool  # an earlier process had started it


@dataclass(frozen=True, kw_only=True)
class TrialFinished:
    """All seeds of a design are measured."""

    trial: int
    point: DesignPoint
    measurement: Measurement  # the mean over the seeds


@dataclass(frozen=True, kw_only=True)
class TrialFailed:
    """A design has no measurement, as one of its runs failed."""

    trial: int
    point: DesignPoint
    reason: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far the exploration is; told before the end of each trial."""

    front: int  # designs on the Pareto front
    remaining: float | None  # s, estimated; None where nothing is known yet


Event = Message | TrialStarted | TrialFinished | TrialFailed | Status
Tell = Callable[[Event], None]
"""Whoever follows an exploration: is called with each event, in order."""


def ignore(_: Event) -> None:
    """Follows nothing."""


# --- who does the work ------------------------------------------------------------------------------------------------


class Executor(Protocol):
    """Trains what it is asked for: in this process, in a worker pool, or on other machines."""

    @property
    def workers(self) -> int:
        """How many requests it runs at once."""

    def run(self, next_request: Callable[[], Request | None]) -> Iterator[Message]:
        """Run requests until there is none and none is under way; yields what happens to each.

        `next_request` is called in the caller's thread whenever a worker is free; None says that there is nothing to do until
        another request has ended. Raises UserErrors, which end the exploration.
        """


class Board(Protocol):
    """Where the processes of a study say what they train, and see what the others do."""

    @property
    def target(self) -> int:
        """How many trials the study is to have, as far as `changes` has seen it."""

    def changes(self) -> Sequence[RunRow]:
        """The runs whose state has changed since the last call, by this process or another, by trial and seed."""

    def left(self) -> Sequence[RunRow]:
        """The runs that were left: they are not finished, and no living process has them."""

    def is_doubtful(self) -> bool:
        """Whether a process that trains a run has not been heard of for a while, so that it may have died."""

    def claim(self, point: DesignPoint, seed: int, trial: int | None) -> RunRow | None:
        """The run of a design and seed, which is this process's from now on; `trial` is None for a new design.

        None where the study has enough designs already. Raises Taken where another process has it, or it is finished.
        """

    def curves(self, runs: Collection[int]) -> Mapping[int, Sequence[float]]:
        """The accuracies (%) after the stored epochs of these runs, by run id; a run without epochs may be left out."""

    def leave(self, run: RunRow) -> None:
        """Let others go on with a run that is not finished."""

    def mirror(self, *, last: bool = False) -> None:
        """Let Optuna's tools see what has happened, now and then, and at the end of an exploration in any case."""


class Proposer(Protocol):
    """Says which design comes next."""

    def propose(self, history: History) -> DesignPoint | None:
        """A design that is new to the history; None where there is none left."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is trained next of a study that pauses runs: a new design, or a run that was paused, up to a number of epochs."""

    point: DesignPoint
    trial: int | None  # None for a new design
    until: int  # epochs that the run has then
    ends: bool = False  # the run is complete then


class Planner(Protocol):
    """Says what is trained next, epoch by epoch; it takes the place of proposers, which give designs for whole runs."""

    def plan(self, history: History, room: int) -> Step | None:
        """The step that promises the most: of a free run, or of a new design if there is `room`; None for none."""

    def has_new_designs(self, history: History) -> bool:
        """Whether the space has a design that is new to the history."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is certain of a design before it is trained."""

    seconds: float  # of training, for the whole run; infinite for a design that cannot be trained here
    fixed: Mapping[str, float]  # objectives that training does not change, by name
    by_epoch: Sequence[float] = ()  # s of each epoch; empty where all take the same


Forecaster = Callable[[DesignPoint], Forecast]
Bounds = Callable[[DesignPoint, str], tuple[float, float] | None]
"""(least, most) that an objective of a design can reach, as far as it is certain before training; None where nothing is."""
