"""The trials of a study, as the loop and the proposers see them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint


@dataclass(kw_only=True)
class OpenTrial:
    """A trial that is not finished: what its seeds have given so far."""

    number: int
    point: DesignPoint
    runs: list[Measurement] = field(default_factory=list)
    resumed: bool = False  # an earlier process had started it


@dataclass(frozen=True, kw_only=True)
class FinishedTrial:
    """A trial with its measurement, the mean over the seeds; None where it failed."""

    number: int
    point: DesignPoint
    measurement: Measurement | None


@dataclass(kw_only=True)
class History:
    """What a study has tried, what it is trying, and which designs are new to it."""

    admits: Callable[[DesignPoint], bool] = lambda _: True  # False for a design that a limit rules out
    finished: list[FinishedTrial] = field(default_factory=list)  # in the order in which they ended
    under_way: dict[int, OpenTrial] = field(default_factory=dict)  # by number; a seed of each is being trained
    waiting: list[OpenTrial] = field(default_factory=list)  # for their next seed, the first one first
    keys: set[str] = field(default_factory=set)  # of the designs that have a trial

    def is_new(self, point: DesignPoint) -> bool:
        """Whether the design has no trial yet and no limit rules it out."""
        return point.key not in self.keys and self.admits(point)

    def generator(self, seed: int) -> random.Random:
        """Randomness for the next proposal: a study that was stopped proposes what an uninterrupted one would."""
        return random.Random(f"{seed}:{len(self.keys)}")
