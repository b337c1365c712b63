"""What is told of an exploration as it goes: each trial, how large the front is, how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.runs import RunObserver
from fastrcaps_dse.runs.estimates import Remaining

MOST_FORESEEN = 200  # trials; of more, the rest is alike


class SessionObserver(RunObserver, Protocol):
    """What is told of an exploration and of its runs; `front` is the size of the front so far. The rest is told before the trial."""

    def trial_started(self, trial: int, point: DesignPoint, *, finished: int, target: int, resumed: bool) -> None: ...

    def trial_finished(self, trial: int, point: DesignPoint, measurement: Measurement, front: int) -> None: ...

    def trial_failed(self, trial: int, point: DesignPoint, reason: str) -> None: ...

    def rest_estimated(self, seconds: float) -> None: ...


@dataclass(kw_only=True)
class Watch:
    """Passes on what the explorer tells, estimates the rest, and tidies up after each trial."""

    to: SessionObserver
    remaining: Remaining
    tidy: Callable[[], int]  # gives the size of the front
    size: int | None  # of the space; None where it is infinite
    deadline: float  # on the monotonic clock
    target: int = 0  # trials
    finished: int = 0

    def trial_started(self, trial: int, point: DesignPoint, *, finished: int, target: int, resumed: bool) -> None:
        self.target, self.finished = target, finished
        self.remaining.begin(trial, point, time.monotonic())
        self.to.trial_started(trial, point, finished=finished, target=target, resumed=resumed)

    def trial_finished(self, trial: int, point: DesignPoint, measurement: Measurement) -> None:
        front = self.tidy()
        self._estimate(trial)
        self.to.trial_finished(trial, point, measurement, front)

    def trial_failed(self, trial: int, point: DesignPoint, reason: str) -> None:
        self._estimate(trial)
        self.to.trial_failed(trial, point, reason)

    def _estimate(self, trial: int) -> None:
        now = time.monotonic()
        self.remaining.end(trial, now)
        self.finished += 1
        rest = (self.target if self.size is None else min(self.target, self.size)) - self.finished
        seconds = self.remaining.seconds(min(rest, MOST_FORESEEN), now)
        if seconds is not None:
            seconds *= max(1.0, rest / MOST_FORESEEN)
            self.to.rest_estimated(min(seconds, max(0.0, self.deadline - now)))
