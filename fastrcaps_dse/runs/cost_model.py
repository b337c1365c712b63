"""The cost model: what is certain of a design before it is trained, its sizes and the seconds of its steps.

What counts in a study are the step times of its reference; how long this machine takes is told by its own.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from fastrcaps_dse.capsnet.algorithms import Algorithms
from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.capsnet.sizes import static_objectives
from fastrcaps_dse.errors import TooLittleMemory
from fastrcaps_dse.problem.objectives import time_to
from fastrcaps_dse.problem.quantities import PERCENT
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.timelines import Timeline
from fastrcaps_dse.runs.context import Context
from fastrcaps_dse.runs.kept_algorithms import KeptAlgorithms
from fastrcaps_dse.runs.memory_guard import MemoryGuard
from fastrcaps_dse.runs.reference import Counted, Scale
from fastrcaps_dse.search.protocols import Forecast
from fastrcaps_dse.store import EpochRow, StepTime
from fastrcaps_dse.trainer import (
    StepKey,
    Timing,
    alone,
    device_name,
    latency_key,
    measure_latency,
    measure_step,
    software,
    step_key,
)

logger = logging.getLogger(__name__)


class CostModel:
    """Costs of the designs of one study, on one device. Each step time is measured once, alone, and kept in the store."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.memory = MemoryGuard(context=context)
        self.kept_algorithms = KeptAlgorithms(context, self.memory)
        self.seconds: dict[StepKey, float] = {}  # of a step on this device; a cache of the store
        self.scale = Scale(context=context)  # of the study; `refresh` reads its reference

    def refresh(self) -> None:
        """Read the reference of the study again, and what it has measured."""
        self.scale = self.scale.renewed()

    # --- what counts --------------------------------------------------------------------------------------------------------

    def step_seconds(self, point: DesignPoint, batch_size: int, algorithms: Algorithms | None = None) -> float:
        """The seconds that a training step of this batch size counts: of the study's reference, else as measured on this device.

        `algorithms` are those of the run, by default those that a new run would have; a study with a reference counts with the ones
        chosen there. Raises TooLittleMemory, and again without another try.
        """
        if self.scale.reference is None:
            return self.own_step_seconds(point, batch_size, algorithms)
        return self.counted_step(point, batch_size).seconds

    def counted_step(self, point: DesignPoint, batch_size: int) -> Counted:
        """The same, and whether it is an estimate."""
        if self.scale.elsewhere:
            return self.scale.step(point, batch_size, self._measured_here)
        return Counted(seconds=self._step_of_this_device(point, batch_size))

    def counted_latency(self, point: DesignPoint) -> Counted:
        """The seconds of classifying one image that count, and whether they are an estimate."""
        if self.scale.elsewhere:
            return self.scale.latency(point, self._measured_here)
        return Counted(seconds=self._own_latency(point, self._precision))

    def seconds_by_batch_size(self, timeline: Timeline, point: DesignPoint, algorithms: Algorithms) -> dict[int, float]:
        """The seconds that a step counts for each batch size of a run with these algorithms, by the reference as it is now."""
        self.refresh()
        sizes = sorted({phase.batch_size for phase in timeline.phases})
        return {size: self.step_seconds(point, size, algorithms) for size in sizes}

    def is_estimated(self, point: DesignPoint) -> bool:
        """Whether some of what a run of a design counts is an estimate."""
        if not self.scale.elsewhere:
            return False
        sizes = {phase.batch_size for phase in self.context.timeline(point).phases}
        steps = any(self.counted_step(point, size).estimated for size in sizes)
        return steps or (self.has_latency and self.counted_latency(point).estimated)

    @property
    def has_latency(self) -> bool:
        """Whether the study measures the seconds of classifying an image."""
        return any(wanted.name == "latency" for wanted in self.context.spec.objectives)

    # --- measured on this device ----------------------------------------------------------------------------------------------

    @property
    def _precision(self) -> Precision:
        """In which what counts is measured here: that of the reference, if it is this device."""
        return self.context.precision if self.scale.reference is None else self.scale.reference.precision

    def own_step_seconds(self, point: DesignPoint, batch_size: int, algorithms: Algorithms | None = None) -> float:
        """The seconds that a training step of this batch size takes on this device; measured if the store has none.

        Arguments and errors as for `step_seconds`.
        """
        chosen = algorithms if algorithms is not None else self.kept_algorithms.algorithms(point, [batch_size])
        return self._step(point, batch_size, self.context.precision, chosen)

    def _step_of_this_device(self, point: DesignPoint, batch_size: int) -> float:
        """The same in the precision of the reference, which is this device."""
        if self._precision == self.context.precision:
            return self.own_step_seconds(point, batch_size)
        there = KeptAlgorithms(replace(self.context, precision=self._precision), self.memory)
        return self._step(point, batch_size, self._precision, there.algorithms(point, [batch_size]))

    def _step(self, point: DesignPoint, batch_size: int, precision: Precision, chosen: Algorithms) -> float:
        here = self.context
        key = step_key(point, here.dataset.shape, batch_size, precision, chosen)
        if key not in self.seconds:
            how = (point, here.dataset, batch_size, here.device, precision)
            self.seconds[key] = self._kept(str(key), lambda: measure_step(*how, algorithms=chosen)).seconds
        return self.seconds[key]

    def _own_latency(self, point: DesignPoint, precision: Precision) -> float:
        """The seconds in which one image gets its class scores on this device; measured if the store has none."""
        here = self.context
        key = latency_key(point, here.dataset.shape, precision)
        return self._kept(key, lambda: measure_latency(point, here.dataset, here.device, precision)).seconds

    def _measured_here(self, point: DesignPoint, batch_size: int | None) -> float:
        """The seconds of a step on this device; without a batch size, of classifying an image."""
        if batch_size is None:
            return self._own_latency(point, self.context.precision)
        return self.own_step_seconds(point, batch_size)

    def _kept(self, key: str, measure: Callable[[], Timing]) -> StepTime:
        """What the store has for a key; else measured while no other process trains on the device, and stored."""
        store, device = self.context.store, self.context.device
        entry = (key, device_name(device), software())
        stored = store.step_time(*entry)
        if stored is not None:
            return stored
        self.memory.raise_if_tried(key)
        with alone(device):
            stored = store.step_time(*entry)  # another process may have measured it while this one waited
            if stored is not None:
                return stored
            try:
                timing = measure()
            except TooLittleMemory as error:
                self.memory.keep_failure(key, error)
                raise
        if timing.noisy:
            said = "a noisy machine: %s took %.3g ms, ±%.0f %%"
            beside = (
                f"; other programs kept {timing.others:.1f} cores busy, so that is too long" if timing.beside_others else ""
            )
            logger.warning(said + beside, key, timing.seconds * 1e3, 100 * timing.spread)
        stored = StepTime(
            key=key,
            device=entry[1],
            software=entry[2],
            seconds=timing.seconds,
            spread=timing.spread,
            n=timing.n,
            measured=time.time(),
        )
        store.set_step_time(stored)
        logger.info("measured: %s takes %.3g ms", key, timing.seconds * 1e3)
        return stored

    def _key(self, point: DesignPoint, batch_size: int, algorithms: Algorithms | None = None) -> StepKey:
        """The key of a step; without `algorithms`, with the one that this process has looked up already."""
        chosen = algorithms if algorithms is not None else self.kept_algorithms.looked_up(point, batch_size)
        return step_key(point, self.context.dataset.shape, batch_size, self.context.precision, chosen)

    # --- certain before training ------------------------------------------------------------------------------------------

    def fixed(self, point: DesignPoint) -> dict[str, float]:
        """The objectives that training does not change, by name; latency only if the study has it, as it must be measured.

        Raises TooLittleMemory where it cannot be.
        """
        values = static_objectives(point, self.context.dataset.shape)
        if self.has_latency:
            values["latency"] = 1e3 * self.counted_latency(point).seconds
        return values

    def bounds(self, point: DesignPoint, objective: str) -> tuple[float, float] | None:
        """(least, most) that an objective of a design can reach; None where training alone decides, or only an estimate is known."""
        values = static_objectives(point, self.context.dataset.shape)
        if objective in values:
            return values[objective], values[objective]
        if objective == "latency":
            return self._certain(lambda: self.counted_latency(point), 1e3)
        if objective in PERCENT:
            return 0.0, 100.0
        if objective == "time" and self.context.spec.time == "steps":  # no run is shorter than its first epoch
            phase = self.context.timeline(point).phases[0]
            least = self._certain(lambda: self.counted_step(point, phase.batch_size), phase.steps_per_epoch)
            return None if least is None else (least[0], math.inf)
        return None

    def _certain(self, counted: Callable[[], Counted], factor: float) -> tuple[float, float] | None:
        """Twice what is counted, times a factor; None for an estimate, and infinite where the memory does not suffice."""
        try:
            found = counted()
        except TooLittleMemory:
            return math.inf, math.inf
        return None if found.estimated else (factor * found.seconds, factor * found.seconds)

    def forecast(self, point: DesignPoint) -> Forecast:
        """Sizes and training seconds of a design. A step that was never measured counts as long as one of another variant of the
        network with the same batch size, so that a forecast of many designs measures little. The seconds are infinite where the memory
        does not suffice.
        """
        phases = self.context.timeline(point).phases
        try:
            steps = [(p, self._rough_step_seconds(point, p.batch_size)) for p in phases]
            by_epoch = [p.steps_per_epoch * step for p, step in steps for _ in range(p.epochs)]
            seconds = sum(p.epochs * p.steps_per_epoch * step for p, step in steps)
            return Forecast(seconds=seconds, fixed=self.fixed(point), by_epoch=by_epoch)
        except TooLittleMemory:
            return Forecast(seconds=math.inf, fixed=static_objectives(point, self.context.dataset.shape))

    @staticmethod
    def _or_endless(measured: Callable[[], float]) -> float:
        """What is measured; infinite where the memory does not suffice."""
        try:
            return measured()
        except TooLittleMemory:
            return math.inf

    def _rough_step_seconds(self, point: DesignPoint, batch_size: int) -> float:
        if self.scale.elsewhere:
            return self.scale.rough_step(point, batch_size, self._measured_here)
        key = self._key(point, batch_size, self.kept_algorithms.algorithms(point, [batch_size]))
        if key not in self.seconds:
            alike = [other for other in self.seconds if other.same_but_for_variant(key)]
            if alike and self.context.store.step_time(str(key), device_name(self.context.device), software()) is None:
                return self.seconds[alike[0]]
        return self.step_seconds(point, batch_size)

    def run_seconds(self, point: DesignPoint) -> float:
        """Seconds that all epochs of a design take on this device, by steps; infinite where the memory does not suffice."""
        phases = self.context.timeline(point).phases
        steps = [(p.epochs * p.steps_per_epoch, p.batch_size) for p in phases]
        return self._or_endless(lambda: math.fsum(count * self.own_step_seconds(point, size) for count, size in steps))

    def first_epoch_seconds(self, point: DesignPoint) -> float:
        """Seconds that the first epoch of a design takes on this device, by steps; infinite where the memory does not suffice."""
        phase = self.context.timeline(point).phases[0]
        return phase.steps_per_epoch * self._or_endless(lambda: self.own_step_seconds(point, phase.batch_size))

    def occupancy(self, point: DesignPoint) -> float:
        """The share of a step in which the device is busy: what twice the images add to its seconds, from 0 to 1.

        It is 1 where the memory does not suffice for twice the images.
        """
        size = self.context.timeline(point).phases[0].batch_size
        try:
            once, twice = self.own_step_seconds(point, size), self.own_step_seconds(point, 2 * size)
        except TooLittleMemory:
            return 1.0
        return min(1.0, max(0.0, (twice - once) / once))

    # --- estimated and derived --------------------------------------------------------------------------------------------

    def estimate(self, point: DesignPoint) -> float | None:
        """About the seconds that a run trains, without measuring anything: a batch size that was never measured lies on the line
        through those that were. None where none was.
        """
        seconds_of = self.seconds or {key: counted.seconds for key, counted in self.scale.steps.items()}
        by_size: dict[int, list[float]] = {}
        for key, seconds in seconds_of.items():
            by_size.setdefault(key.batch_size, []).append(seconds)
        if not by_size:
            return None
        means = {size: statistics.fmean(seconds) for size, seconds in by_size.items()}
        total = 0.0
        for phase in self.context.timeline(point).phases:
            step = seconds_of.get(self._key(point, phase.batch_size)) or means.get(phase.batch_size)
            total += phase.epochs * phase.steps_per_epoch * (step or on_the_line(means, phase.batch_size))
        return total

    def values(self, point: DesignPoint, epochs: Sequence[EpochRow], selected: int) -> dict[str, float]:
        """All objective values of a run, from its epochs and the selected one (counted from 1)."""
        values = {
            "acc": epochs[selected - 1].acc,
            "time": sum(epoch.counted_seconds for epoch in epochs[:selected]),
            **self.fixed(point),
            "epochs": float(selected),
        }
        for wanted in self.context.spec.objectives:
            if wanted.wanted_acc is not None:
                accuracies, seconds = [epoch.acc for epoch in epochs], [epoch.counted_seconds for epoch in epochs]
                values[wanted.name] = time_to(wanted.wanted_acc, accuracies, seconds)
        return values


def on_the_line(measured: Mapping[int, float], size: int) -> float:
    """The seconds of a step of a batch size, on the line through measured ones; from a single one, half of it is taken to grow."""
    if len(measured) == 1:
        ((other, seconds),) = measured.items()
        return seconds * (1 + size / other) / 2
    slope, intercept = statistics.linear_regression([*measured], [*measured.values()])
    return max(slope * size + intercept, min(measured.values()) * min(1.0, size / min(measured)))
