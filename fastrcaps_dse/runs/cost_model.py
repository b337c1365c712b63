"""What is known of a design before it is trained: what it weighs, and how long its steps take here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.capsnet.sizes import static_objectives
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.problem.objectives import time_to
from fastrcaps_dse.problem.schedules import Timeline, build_timeline
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.guided import Foreseen
from fastrcaps_dse.store import EpochRow, StepTime, Store
from fastrcaps_dse.trainer import alone, device_name, measure_latency, measure_step, software, step_key

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Foresight:
    """Knows designs of one study on one device; measures each step time once, alone, and keeps it in the store."""

    store: Store
    spec: StudySpec
    dataset: DataSet
    train_images: int
    device: torch.device
    precision: Precision
    warned: Callable[[str], None]
    steps: dict[str, float] = field(default_factory=dict)  # seconds of steps that were looked up, by key
    sizes: dict[int, dict[str, float]] = field(default_factory=dict)  # the same of each batch size

    def step_seconds(self, timeline: Timeline, point: DesignPoint) -> dict[int, float]:
        """The seconds of a step of each batch size of a run, measured here unless they are known."""
        sizes = {phase.batch_size for phase in timeline.phases}
        return {size: self.timing(point, size).seconds for size in sorted(sizes)}

    def timing(self, point: DesignPoint, batch_size: int | None) -> StepTime:
        """The stored time of a step, or of one image's classification for no batch size; measured where there is none."""
        shape, device, precision = self.dataset.shape, self.device, self.precision
        key = (
            step_key(point, shape, batch_size or 1, precision)
            if batch_size
            else f"latency: {step_key(point, shape, 1, precision)}"
        )
        place = (key, device_name(device), software())
        found = self.store.step_time(*place) or self._measured(point, batch_size, place)
        if batch_size:
            self.sizes.setdefault(batch_size, {})[key] = found.seconds
        return found

    def _measured(self, point: DesignPoint, batch_size: int | None, place: tuple[str, str, str]) -> StepTime:
        """A step or a classification timed while no other process trains on the device, and kept."""
        key, device, precision = place[0], self.device, self.precision
        with alone(device):
            if (known := self.store.step_time(*place)) is not None:  # another process measured it meanwhile
                return known
            if batch_size:
                timing = measure_step(point, self.dataset, batch_size, device, precision)
            else:
                timing = measure_latency(point, self.dataset, device, precision)
        if timing.noisy:
            self.warned(f"a noisy machine: {key} took {timing.seconds * 1e3:.3g} ms, give or take {timing.spread:.0%}")
        found = StepTime(key=key, device=place[1], software=place[2], **asdict(timing))
        self.store.set_step_time(found)
        return found

    def fixed(self, point: DesignPoint) -> dict[str, float]:
        """The objectives that training does not change, as far as the study wants them or they cost nothing."""
        known = static_objectives(point, self.dataset.shape)
        if any(wanted.name == "latency" for wanted in self.spec.objectives):
            known["latency"] = 1e3 * self.timing(point, None).seconds
        return known

    def bounds(self, point: DesignPoint, name: str) -> tuple[float, float] | None:
        """(least, most) that an objective of a design can reach, where that is known before it is trained."""
        known = static_objectives(point, self.dataset.shape)
        if name in known:
            return known[name], known[name]
        if name == "latency":
            return (1e3 * self.timing(point, None).seconds,) * 2
        if name == "acc":
            return 0.0, 100.0
        if name == "time" and self.spec.time == "steps":  # no run is shorter than its first epoch
            return self.first_epoch_seconds(point), math.inf
        return None

    def foresee(self, point: DesignPoint) -> Foreseen:
        """What is known of a design before it is trained: what it weighs, and about how long it trains."""
        line = build_timeline(point.batch_schedule, epochs=self.spec.epochs, images=self.train_images)
        seconds = sum(p.epochs * p.steps_per_epoch * self._rough_step(point, p.batch_size) for p in line.phases)
        return Foreseen(seconds=seconds, fixed=self.fixed(point))

    def _rough_step(self, point: DesignPoint, batch_size: int) -> float:
        """Seconds of a step: as measured, or as of another network variant with this batch size; measured where there is none."""
        key = step_key(point, self.dataset.shape, batch_size, self.precision)
        if key not in self.steps:
            others = [k for k in self.steps if k.endswith(f"batch {batch_size}, {self.precision}")]
            if others and self.store.step_time(key, device_name(self.device), software()) is None:
                return self.steps[others[0]]
            self.steps[key] = self.timing(point, batch_size).seconds
        return self.steps[key]

    def guess(self, point: DesignPoint) -> float | None:
        """About the seconds that a run trains, by the step times that are known so far: an unknown batch size lies on the line
        through the known ones. None where none is known.
        """
        if not self.sizes:
            return None
        means = {size: statistics.fmean(known.values()) for size, known in self.sizes.items()}
        line = build_timeline(point.batch_schedule, epochs=self.spec.epochs, images=self.train_images)
        total = 0.0
        for phase in line.phases:
            known = self.sizes.get(phase.batch_size, {})
            key = step_key(point, self.dataset.shape, phase.batch_size, self.precision)
            seconds = known.get(key) or means.get(phase.batch_size) or on_the_line(means, phase.batch_size)
            total += phase.epochs * phase.steps_per_epoch * seconds
        return total

    def first_epoch_seconds(self, point: DesignPoint) -> float:
        """Seconds that the first epoch of a design takes, by steps."""
        phase = build_timeline(point.batch_schedule, epochs=self.spec.epochs, images=self.train_images).phases[0]
        return phase.steps_per_epoch * self.timing(point, phase.batch_size).seconds

    def occupancy(self, point: DesignPoint) -> float:
        """The share of a step in which the device is busy: what twice the images add to its time."""
        size = build_timeline(point.batch_schedule, epochs=self.spec.epochs, images=self.train_images).phases[0].batch_size
        once, twice = self.timing(point, size).seconds, self.timing(point, 2 * size).seconds
        return min(1.0, max(0.0, (twice - once) / once))

    def others(self, point: DesignPoint, rows: Sequence[EpochRow], selected: int) -> dict[str, float]:
        """Values of the objectives beyond the basic ones, as far as the study wants them or they cost nothing."""
        others = {name: value for name, value in self.fixed(point).items() if name != "params"} | {"epochs": float(selected)}
        for wanted in self.spec.objectives:
            if wanted.wanted_acc is not None:
                accuracies, seconds = [row.acc for row in rows], [row.counted_seconds for row in rows]
                others[wanted.name] = time_to(wanted.wanted_acc, accuracies, seconds)
        return others


def on_the_line(known: Mapping[int, float], size: int) -> float:
    """The seconds of a step of this batch size, on the line through those of known sizes. Of one alone, half is taken to grow."""
    if len(known) == 1:
        ((other, seconds),) = known.items()
        return seconds * (1 + size / other) / 2
    slope, intercept = statistics.linear_regression([*known], [*known.values()])
    return max(slope * size + intercept, min(known.values()) * min(1.0, size / min(known)))
