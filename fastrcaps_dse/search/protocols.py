"""What an exploration asks of those who use it: to train, to foresee, to watch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.search.guided import Foreseen

Report = Callable[[int, float], None]
"""Is told (epoch, accuracy in %) of each epoch of a run."""

Evaluate = Callable[[DesignPoint, int, int, Report], Measurement]
"""Trains (design, seed) for a trial number. Raises RunFailed where the run gives no measurement."""

Bounds = Callable[[DesignPoint, str], tuple[float, float] | None]
"""(least, most) that an objective of a design can reach, where that is known before it is trained."""

Foresee = Callable[[DesignPoint], Foreseen]
"""What is known of a design before it is trained."""


class Observer(Protocol):
    """What is told of an exploration as it goes."""

    def trial_started(self, trial: int, point: DesignPoint, *, finished: int, target: int, resumed: bool) -> None: ...

    def trial_finished(self, trial: int, point: DesignPoint, measurement: Measurement) -> None: ...

    def trial_failed(self, trial: int, point: DesignPoint, reason: str) -> None: ...
