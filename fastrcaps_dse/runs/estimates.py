"""What a study would train, and what that would take: known before anything is trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastrcaps_dse import data, trainer
from fastrcaps_dse.capsnet.sizes import ImageShape, parameter_count
from fastrcaps_dse.problem.schedules import build_timeline
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec


def check_designs(spec: StudySpec, shape: ImageShape) -> None:
    """Raises InputError where the images do not fit the networks of the space."""
    for point in [*spec.first_designs, DesignPoint(network=spec.space.network[0])]:
        parameter_count(point, shape)


@dataclass(frozen=True, kw_only=True)
class PlannedDesign:
    """A design that a study would train first, and what that is estimated to take."""

    point: DesignPoint
    params: int
    steps: int  # of one run
    seconds: float  # of one run, training only


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study would train."""

    first: tuple[PlannedDesign, ...]  # the named designs, tried first
    designs: int  # how many it would try in all
    size: int | None  # of the space; None where it is infinite
    seconds: float  # of training, for all designs and seeds


def plan(spec: StudySpec, *, data_dir: Path | None, device: str | None, precision: str | None) -> Plan:
    """What the study would train. Measures a few steps of each batch size here. Raises UserErrors."""
    place = trainer.choose_device(device)
    work = trainer.choose_precision(place, precision)
    dataset = data.load(spec.dataset, data_dir)
    check_designs(spec, dataset.shape)
    images = len(trainer.split_for(dataset, spec.protocol)[0])
    measured: dict[tuple[str, bool, int], float] = {}  # seconds a step, by network, weight sharing and batch size

    def planned(point: DesignPoint) -> PlannedDesign:
        line = build_timeline(point.batch_schedule, epochs=spec.epochs, images=images)
        seconds = 0.0
        for phase in line.phases:
            key = (point.network, point.weight_sharing, phase.batch_size)
            if key not in measured:
                measured[key] = trainer.measure_step(point, dataset, phase.batch_size, place, work, groups=3).seconds
            seconds += measured[key] * phase.epochs * phase.steps_per_epoch
        return PlannedDesign(point=point, params=parameter_count(point, dataset.shape), steps=line.total_steps, seconds=seconds)

    size = spec.space.size()
    designs = spec.trials if size is None else min(spec.trials, size)
    first = tuple(planned(point) for point in spec.first_designs[:designs])
    rest = [planned(point) for point in spec.space.examples()] if designs > len(first) else []
    mean_of_rest = math.fsum(d.seconds for d in rest) / max(1, len(rest))
    total = math.fsum(d.seconds for d in first) + mean_of_rest * (designs - len(first))
    return Plan(first=first, designs=designs, size=size, seconds=total * spec.seeds)


class Remaining:
    """How long an exploration still takes: what its trials took for each second that was foreseen of them."""

    def __init__(self, spec: StudySpec, guess: Callable[[DesignPoint], float | None], workers: int) -> None:
        self.spec, self.guess, self.workers = spec, guess, workers
        self.begun: dict[int, tuple[DesignPoint, float]] = {}  # trials under way, and since when
        self.known: set[str] = set()  # keys of designs that have a trial
        self.took: list[tuple[DesignPoint, float]] = []  # finished here, and their seconds

    def begin(self, trial: int, point: DesignPoint, now: float) -> None:
        self.begun[trial] = point, now
        self.known.add(point.key)

    def end(self, trial: int, now: float) -> None:
        point, since = self.begun.pop(trial)
        self.took.append((point, now - since))

    def seconds(self, trials: int, now: float) -> float | None:
        """Of `trials` that are not finished, those under way among them; None before any is finished here."""
        if not self.took:
            return None
        guesses = [self.guess(point) for point, _ in self.took]
        foreseen = math.fsum(g for g in guesses if g is not None)
        rate = math.fsum(seconds for _, seconds in self.took) / (foreseen or len(self.took))
        ahead = [self._of(point) * rate for point in self._next(trials - len(self.begun))]
        begun = [max(0.0, self._of(point) * rate - (now - since)) for point, since in self.begun.values()]
        return max(math.fsum(ahead + begun) / self.workers, max(ahead + begun, default=0.0))

    def _of(self, point: DesignPoint) -> float:
        return self.guess(point) or 1.0

    def _next(self, count: int) -> list[DesignPoint]:
        """Designs like those that come next: the named ones, then some spread over the space."""
        first = [point for point in self.spec.first_designs if point.key not in self.known]
        new = [point for point in self.spec.space.examples() if point.key not in self.known] or self.spec.space.examples()
        return [*first, *itertools.islice(itertools.cycle(new), max(0, count - len(first)))][: max(0, count)]
