"""The time that an exploration may take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Seconds that end at a moment of a clock, which all processes of a machine share. Without arguments it never ends."""

    seconds: float = math.inf
    end: float = math.inf  # on the clock
    clock: Callable[[], float] = time.monotonic

    @property
    def limited(self) -> bool:
        """Whether it ends at all."""
        return math.isfinite(self.seconds)

    @property
    def left(self) -> float:
        """Seconds that are left; negative once it is over."""
        return self.end - self.clock()

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0


def start_budget(seconds: float | None, clock: Callable[[], float] = time.monotonic) -> Budget:
    """A budget of so many seconds from now on; None for one that never ends."""
    if seconds is None:
        return Budget(clock=clock)
    return Budget(seconds=seconds, end=clock() + seconds, clock=clock)
