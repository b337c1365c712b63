"""The reference of a study: the device, precision and software whose step times count, wherever a run is trained.

Where the store has a step time of the reference, it counts. Where it has none and this device is another one, the step time of this
device counts instead, times the median ratio of both devices over what both have measured; it is an estimate, and marked.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from fastrcaps_dse import store, trainer
from fastrcaps_dse.capsnet.algorithms import BY_DEFAULT, Algorithms, parse_algorithm
from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.errors import TooLittleMemory
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.runs.context import Context
from fastrcaps_dse.trainer import StepKey

MeasureHere = Callable[[DesignPoint, int | None], float]
"""Gives the seconds of a training step of a batch size on this device; for None, those of classifying an image."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Whose step times count."""

    device: str
    precision: Precision
    software: str

    def __str__(self) -> str:
        """In words."""
        return f"{self.device} in {self.precision} ({self.software})"

    def to_dict(self) -> dict[str, str]:
        """As the store has it."""
        return asdict(self)


def reference_here(context: Context) -> Reference:
    """What this process trains on."""
    device = trainer.device_name(context.device)
    return Reference(device=device, precision=context.precision, software=trainer.software())


def stored_reference(context: Context) -> Reference | None:
    """The reference of a study as it is stored now; None where the clock tells the time, or none is set yet."""
    stored = store.reference_of(context.store, context.study.study_id) if context.spec.time == "steps" else None
    return None if stored is None else Reference(**stored)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Seconds that count in a study."""

    seconds: float
    estimated: bool = False  # the reference has not measured them


@dataclass(kw_only=True)
class Scale:
    """What the steps of one study count, in the step times of its reference."""

    context: Context
    reference: Reference | None = None
    elsewhere: bool = False  # it is another device, or has other software: nothing of it can be measured here
    steps: dict[StepKey, Counted] = field(default_factory=dict)  # of a reference elsewhere; a cache of the store
    latencies: dict[str, Counted] = field(default_factory=dict)
    ratios: dict[tuple[str, bool], float | None] = field(default_factory=dict)  # by network, and whether of latencies
    choices: dict[tuple[Reference, int], Algorithms] = field(default_factory=dict)  # by batch size

    @classmethod
    def of(cls, context: Context, reference: Reference | None) -> Scale:
        """The scale of a reference, whatever the study has."""
        here = reference_here(context)
        elsewhere = reference is not None and (reference.device, reference.software) != (here.device, here.software)
        return cls(context=context, reference=reference, elsewhere=elsewhere)

    def renewed(self) -> Scale:
        """The scale of the reference as it is stored now, without what was estimated: it may be measured by now."""
        now = Scale.of(self.context, stored_reference(self.context))
        if now.reference == self.reference:
            now.steps = {key: counted for key, counted in self.steps.items() if not counted.estimated}
            now.latencies = {key: counted for key, counted in self.latencies.items() if not counted.estimated}
        return now

    # --- what counts of a reference elsewhere ---------------------------------------------------------------------------------

    def step(self, point: DesignPoint, batch_size: int, measure_here: MeasureHere) -> Counted:
        """The seconds of a training step: of the reference, else estimated. Raises TooLittleMemory where this device lacks it."""
        key = self.key(point, batch_size)
        if key not in self.steps:
            self.steps[key] = self._counted(point, batch_size, measure_here)
        return self.steps[key]

    def rough_step(self, point: DesignPoint, batch_size: int, measure_here: MeasureHere) -> float:
        """The same without a new measurement, where a step of another variant of the network counts already."""
        key = self.key(point, batch_size)
        if key not in self.steps and self.stored(self._given, point, batch_size) is None:
            alike = [counted for other, counted in self.steps.items() if other.same_but_for_variant(key)]
            if alike:
                return alike[0].seconds
        return self.step(point, batch_size, measure_here).seconds

    def latency(self, point: DesignPoint, measure_here: MeasureHere) -> Counted:
        """The seconds of classifying an image, likewise."""
        key = self.text(point, None)
        if key not in self.latencies:
            self.latencies[key] = self._counted(point, None, measure_here)
        return self.latencies[key]

    def _counted(self, point: DesignPoint, batch_size: int | None, measure_here: MeasureHere) -> Counted:
        theirs = self.stored(self._given, point, batch_size)
        if theirs is not None:
            return Counted(seconds=theirs)
        here = measure_here(point, batch_size)
        ratio = self.ratio(point.network, latency=batch_size is None)
        if ratio is None:
            ratio = self._first_ratio(point.network, batch_size, measure_here)
        return Counted(seconds=here * ratio, estimated=True)

    @property
    def _given(self) -> Reference:
        assert self.reference is not None
        return self.reference

    # --- what is stored -------------------------------------------------------------------------------------------------------

    def key(self, point: DesignPoint, batch_size: int) -> StepKey:
        """The key of a step of the reference, with the convolution algorithm that was chosen there."""
        return self._key(self._given, point, batch_size)

    def text(self, point: DesignPoint, batch_size: int | None) -> str:
        """The key under which the store has the seconds of the reference; without a batch size, of classifying an image."""
        return self._text(self._given, point, batch_size)

    def stored(self, of: Reference, point: DesignPoint, batch_size: int | None) -> float | None:
        """The seconds that the store has of a device; None where it has none."""
        found = self.context.store.step_time(self._text(of, point, batch_size), of.device, of.software)
        return None if found is None else found.seconds

    def _text(self, of: Reference, point: DesignPoint, batch_size: int | None) -> str:
        if batch_size is None:
            return trainer.latency_key(point, self.context.dataset.shape, of.precision)
        return str(self._key(of, point, batch_size))

    def _key(self, of: Reference, point: DesignPoint, batch_size: int) -> StepKey:
        chosen = self._choice(of, batch_size) if point.network == "capsnet" else BY_DEFAULT
        return trainer.step_key(point, self.context.dataset.shape, batch_size, of.precision, chosen)

    def _choice(self, of: Reference, batch_size: int) -> Algorithms:
        """The convolution algorithm that the store has for a batch size on a device; else the default one."""
        if (of, batch_size) not in self.choices:
            shape = self.context.dataset.shape
            images = f"{shape.channels}x{shape.height}x{shape.width}"
            kept = self.context.store.algorithm_choice(images, batch_size, of.precision, of.device, of.software)
            chosen = {} if kept is None else {batch_size: parse_algorithm(kept.algorithm)}
            self.choices[of, batch_size] = Algorithms(chosen=chosen)
        return self.choices[of, batch_size]

    # --- the ratio of both devices --------------------------------------------------------------------------------------------

    def ratio(self, network: str, *, latency: bool = False) -> float | None:
        """The seconds of the reference for each second of this device: the median over all that both have; None for nothing."""
        kind = (network, latency)
        if kind not in self.ratios:
            here = reference_here(self.context)
            pairs = [
                (theirs, ours)
                for point, size, theirs in self._of_the_reference(network, latency)
                if (ours := self.stored(here, point, size)) is not None
            ]
            self.ratios[kind] = statistics.median(theirs / ours for theirs, ours in pairs) if pairs else None
        return self.ratios[kind]

    def _first_ratio(self, network: str, batch_size: int | None, measure_here: MeasureHere) -> float:
        """The ratio from one further measurement here, of the batch size next to this one; 1 where the reference has none."""
        measured = [*self._of_the_reference(network, batch_size is None)]
        measured.sort(key=lambda one: abs(math.log((one[1] or 1) / (batch_size or 1))))
        for point, size, theirs in measured[:1]:
            try:
                self.ratios[network, batch_size is None] = theirs / measure_here(point, size)
            except TooLittleMemory:
                break
        return self.ratios[network, batch_size is None] or 1.0

    def _of_the_reference(self, network: str, latency: bool) -> Iterator[tuple[DesignPoint, int | None, float]]:
        """What the store has of the reference for designs of this study: design, batch size and seconds."""
        tried: set[str] = set()
        for point in self._designs():
            sizes = [None] if latency else [phase.batch_size for phase in self.context.timeline(point).phases]
            for size in sizes if point.network == network else ():
                key = self.text(point, size)
                seconds = None if key in tried else self.stored(self._given, point, size)
                tried.add(key)
                if seconds is not None:
                    yield point, size, seconds

    def _designs(self) -> list[DesignPoint]:
        """Designs of the study: those that have runs before others."""
        here = self.context
        runs = [run.design for run in here.store.runs(here.study.study_id)]
        return [*runs, *here.spec.first_designs, *here.spec.space.examples()]
