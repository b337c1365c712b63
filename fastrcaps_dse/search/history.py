"""The trials of a study, as the loop and the proposers see them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from fastrcaps_dse.problem.objectives import Measurement, mean_measurement
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.store import RunRow


@dataclass(kw_only=True)
class OpenTrial:
    """A trial that is not finished, by the seeds of its runs."""

    number: int
    point: DesignPoint
    measured: dict[int, Measurement] = field(default_factory=dict)
    under_way: set[int] = field(default_factory=set)  # trained now, by this process or another
    left: set[int] = field(default_factory=set)  # begun, and trained by nobody now
    is_failed: bool = False


@dataclass(frozen=True, kw_only=True)
class FinishedTrial:
    """A trial with its measurement, the mean over the seeds; None where it failed."""

    number: int
    point: DesignPoint
    measurement: Measurement | None


@dataclass(kw_only=True)
class History:
    """What a study has tried, what it is trying, and which designs are new to it."""

    seeds: int = 1  # of each design
    admits: Callable[[DesignPoint], bool] = lambda _: True  # False for a design that a limit rules out
    finished: list[FinishedTrial] = field(default_factory=list)  # in the order in which they ended
    open: dict[int, OpenTrial] = field(default_factory=dict)  # by number
    keys: set[str] = field(default_factory=set)  # of the designs that have a trial
    ended: dict[int, FinishedTrial] = field(default_factory=dict)  # those of `finished`, by number
    closed: dict[int, OpenTrial] = field(default_factory=dict)  # the same, by seeds, which racing may add
    curves: dict[int, list[float]] = field(default_factory=dict)  # %, after each epoch of the first run, by trial

    def take(self, run: RunRow) -> None:
        """Take in a run as it is now. A trial that has ended stays so; its mean follows what is counted anew, and further seeds."""
        self.keys.add(run.design.key)
        trial = self.closed.get(run.trial) or self.open.setdefault(run.trial, OpenTrial(number=run.trial, point=run.design))
        trial.left.discard(run.seed)
        trial.under_way.discard(run.seed)
        match run.state:
            case "running":
                trial.under_way.add(run.seed)
            case "interrupted":
                trial.left.add(run.seed)
            case "failed":
                trial.is_failed = True
            case "done" if run.measurement is not None:
                trial.measured[run.seed] = run.measurement
        if run.trial in self.ended:
            self._measure_again(trial)
        else:
            self._end_if_complete(trial)

    def set_left(self, runs: Iterable[RunRow]) -> None:
        """Take in which runs nobody trains: all others that are not finished are under way."""
        left = {(run.trial, run.seed) for run in runs}
        for trial in self.open.values():
            begun = trial.left | trial.under_way
            trial.left = {seed for seed in begun if (trial.number, seed) in left}
            trial.under_way = begun - trial.left

    @property
    def under_way(self) -> list[OpenTrial]:
        """The trials of which a run is being trained."""
        return [trial for trial in self.open.values() if trial.under_way]

    def is_new(self, point: DesignPoint) -> bool:
        """Whether the design has no trial yet and no limit rules it out."""
        return point.key not in self.keys and self.admits(point)

    def generator(self, seed: int) -> random.Random:
        """Randomness for the next proposal: a study that was stopped proposes what an uninterrupted one would."""
        return random.Random(f"{seed}:{len(self.keys)}")

    def _end_if_complete(self, trial: OpenTrial) -> None:
        """End a trial after its last seed, or one that was pruned, which spares the seeds after it, or one that failed."""
        runs = [trial.measured[seed] for seed in sorted(trial.measured)]
        is_done = len(runs) >= self.seeds or any(run.pruned_after is not None for run in runs)
        if is_done or trial.is_failed:
            measurement = mean_measurement(runs) if is_done else None
            ended = FinishedTrial(number=trial.number, point=trial.point, measurement=measurement)
            self.closed[trial.number] = self.open.pop(trial.number)
            self.finished.append(ended)
            self.ended[trial.number] = ended

    def _measure_again(self, trial: OpenTrial) -> None:
        """Let a finished trial have the mean of all its seeds."""
        was = self.ended[trial.number]
        mean = mean_measurement([trial.measured[seed] for seed in sorted(trial.measured)]) if trial.measured else None
        if was.measurement is not None and mean != was.measurement:
            now = replace(was, measurement=mean)
            self.finished[self.finished.index(was)] = now
            self.ended[trial.number] = now
