"""How many trials a study has time for, and how long it still takes while it is trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from fastrcaps_dse.capsnet.sizes import ImageShape, parameter_count
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec

LEAST_TRIALS = 5  # of a study that has a time to keep within: fewer make no front


def check_designs(spec: StudySpec, shape: ImageShape) -> None:
    """Raises InputError where the images do not fit the networks of the space."""
    for point in [*spec.first_designs, DesignPoint(network=spec.space.network[0])]:
        parameter_count(point, shape)


def trials_within(spec: StudySpec, seconds: Callable[[DesignPoint], float]) -> int:
    """How many trials of a study are trained within the time that it allows, in the order of the designs to try first.

    Each of the others counts as long as the mean of those. `seconds` is how long a run of a design trains; one for which the memory
    does not suffice, whose seconds are infinite, takes none.
    """
    assert spec.within is not None
    designs = (spec.first_designs or spec.space.examples())[: spec.trials]
    first = [s * spec.seeds if math.isfinite(s) else 0.0 for s in map(seconds, designs)]
    each = [*first, *[math.fsum(first) / len(first)] * (spec.trials - len(first))]
    count = sum(total <= spec.within for total in itertools.accumulate(each))
    return min(spec.trials, max(LEAST_TRIALS, count))


@dataclass(kw_only=True)
class Remaining:
    """Estimates how long an exploration still takes, from the seconds that its trials took for each second that was estimated."""

    spec: StudySpec
    estimate: Callable[[DesignPoint], float | None]  # s of training; None while nothing is known
    workers: int
    begun: dict[int, tuple[DesignPoint, float]] = field(default_factory=dict)  # trials under way, and since when
    tried: set[str] = field(default_factory=set)  # keys of designs that have a trial
    took: list[tuple[DesignPoint, float]] = field(default_factory=list)  # finished here, and their seconds
    first_rate: float | None = None  # seconds for each estimated one, by the epochs of trials that are not finished

    def begin(self, trial: int, point: DesignPoint, now: float) -> None:
        """A trial begins."""
        self.begun[trial] = point, now
        self.tried.add(point.key)

    def end(self, trial: int, now: float) -> None:
        """A trial ends."""
        point, since = self.begun.pop(trial)
        self.took.append((point, now - since))

    def epoch(self, trial: int, share: float, now: float) -> None:
        """An epoch of a trial ends; the `share` of its epochs are done. No run is faster than its steps, as they were measured."""
        point, since = self.begun[trial]
        self.first_rate = max(1.0, (now - since) / (self._of(point) * share))

    def seconds(self, trials: int, now: float) -> float | None:
        """Seconds for `trials` that are not finished, those under way among them; None before an epoch is finished here."""
        rate = self._rate()
        if rate is None:
            return None
        ahead = [self._of(point) * rate for point in self._next(trials - len(self.begun))]
        begun = [max(0.0, self._of(point) * rate - (now - since)) for point, since in self.begun.values()]
        return max(math.fsum(ahead + begun) / self.workers, max(ahead + begun, default=0.0))

    def _rate(self) -> float | None:
        """Seconds that pass for each estimated one."""
        if not self.took:
            return self.first_rate
        estimates = [self.estimate(point) for point, _ in self.took]
        total = math.fsum(seconds for seconds in estimates if seconds is not None)
        return math.fsum(seconds for _, seconds in self.took) / (total or len(self.took))

    def _of(self, point: DesignPoint) -> float:
        return self.estimate(point) or 1.0

    def _next(self, count: int) -> list[DesignPoint]:
        """Designs like those that come next: the ones to try first, then some spread over the space."""
        first = [point for point in self.spec.first_designs if point.key not in self.tried]
        new = [point for point in self.spec.space.examples() if point.key not in self.tried] or self.spec.space.examples()
        return [*first, *itertools.islice(itertools.cycle(new), max(0, count - len(first)))][: max(0, count)]
