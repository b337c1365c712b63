"""When a search is done: what another hour of training is expected to gain, and whether that is too little."""

from __future__ import annotations

from dataclasses import dataclass

from fastrcaps_dse.search.candidates import Guided
from fastrcaps_dse.search.history import History
from fastrcaps_dse.search.outlook import Outlook

FIRST = 8  # measured designs before the first look
SELDOM = 20  # the next look is at a design more for so many measured ones


@dataclass(kw_only=True)
class Enough:
    """Looks now and then at what the next hour of training is expected to gain."""

    guided: Guided  # whose model tells
    below: float | None  # share of the hypervolume; None never ends a search
    looked: int = 0  # measured designs at the last look
    reached: bool = False

    def is_reached(self, history: History) -> bool:
        """Whether the expected gain of the next hour is below that share."""
        count = len(history.finished)
        if self.below is not None and not self.reached and count >= max(FIRST, self.looked + max(1, count // SELDOM)):
            self.looked = count
            seen = self.outlook(history)
            self.reached = seen is not None and seen.gain < self.below
        return self.reached

    def outlook(self, history: History) -> Outlook | None:
        """What the next hour is expected to give; None while fewer than `FIRST` designs are measured."""
        measured = sum(trial.measurement is not None for trial in history.finished)
        return self.guided.outlook(history) if measured >= FIRST else None
