"""The progress of an exploration: how large the front is after each trial, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastrcaps_dse.runs.budget import Budget
from fastrcaps_dse.runs.estimates import Remaining
from fastrcaps_dse.search.protocols import EpochFinished, Event, Paused, Status, Tell, TrialFailed, TrialFinished, TrialStarted

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
                self.tell(Status(front=0, remaining=self._seconds()))
        self.tell(event)

    def _seconds(self) -> float | None:
        """Seconds until the target is reached or the budget is over; None where neither is known."""
        if self.by_step:
            return max(0.0, self.budget.left) if self.budget.limited else None
        rest = (self.target if self.size is None else min(self.target, self.size)) - self.finished
        seconds = self.remaining.seconds(min(rest, MOST_ESTIMATED), self.budget.clock())
        if seconds is None:
            return None
        return min(seconds * max(1.0, rest / MOST_ESTIMATED), max(0.0, self.budget.left))
