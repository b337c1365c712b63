"""The progress of an exploration: how large the front is after each trial, and how long the rest takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from fastrcaps_dse.runs.budget import Budget
from fastrcaps_dse.runs.estimates import Remaining
from fastrcaps_dse.search.protocols import EpochFinished, Event, Paused, Status, Tell, TrialFailed, TrialFinished, TrialStarted

MOST_LOOKING = 20  # between two looks at the front passes so many times what one takes
MOST_ESTIMATED = 200  # trials; beyond these, the rest is assumed to be alike


@dataclass(kw_only=True)
class Progress:
    """Passes events on, and tells the `Status` before the end of each trial."""

    tell: Tell
    remaining: Remaining
    keep_front: Callable[[], int]  # keeps the weights of the front only; gives its size
    size: int | None  # of the space; None for infinite
    budget: Budget
    by_step: bool = False  # runs are paused: how many epochs a trial is worth is not known before
    target: int = 0  # trials
    finished: int = 0
    looked: float = -math.inf  # s, when the front was last looked at after a pause
    took: float = 0.0  # s that this took

    def __call__(self, event: Event) -> None:
        """Take in an event of the loop."""
        match event:
            case TrialStarted():
                self.target, self.finished = event.target, event.finished
                self.remaining.begin(event.trial, event.point, self.budget.clock())
            case EpochFinished() if not self.remaining.took and not self.by_step:
                self.remaining.epoch(event.request.trial, event.epoch.epoch / self.remaining.spec.epochs, self.budget.clock())
                self.tell(Status(front=0, remaining=self._seconds()))
            case TrialFinished() | TrialFailed():
                self.finished += 1
                self.remaining.end(event.trial, self.budget.clock())
                self.tell(Status(front=self.keep_front(), remaining=self._seconds()))
            case Paused():
                self.tell(Status(front=self._front_now_and_then(), remaining=self._seconds()))
        self.tell(event)

    def _front_now_and_then(self) -> int:
        """The size of the front after a pause; 0 where looking at it, which grows with the study, would take too much of the time."""
        now = self.budget.clock()
        if now < self.looked + MOST_LOOKING * self.took:
            return 0
        front = self.keep_front()
        self.looked, self.took = self.budget.clock(), self.budget.clock() - now
        return front

    def _seconds(self) -> float | None:
        """Seconds until the target is reached or the budget is over; None where neither is known."""
        if self.by_step:
            return max(0.0, self.budget.left) if self.budget.limited else None
        rest = (self.target if self.size is None else min(self.target, self.size)) - self.finished
        seconds = self.remaining.seconds(min(rest, MOST_ESTIMATED), self.budget.clock())
        if seconds is None:
            return None
        return min(seconds * max(1.0, rest / MOST_ESTIMATED), max(0.0, self.budget.left))
