"""A quick look at what training costs here: a few steps of few network variants and batch sizes, side by side as workers train.

What lies between is interpolated: the seconds of a step grow linearly with the batch size between two that were probed, and what a
change of the network costs is taken from the variants that differ from the first one in that alone.
"""

from __future__ import annotations

import math
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fastrcaps_dse import trainer
from fastrcaps_dse.capsnet.algorithms import BY_DEFAULT, Algorithm, Algorithms
from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.data import DataSet, Split
from fastrcaps_dse.errors import TooLittleMemory
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import Protocol
from fastrcaps_dse.trainer import Training, clear_device_errors
from fastrcaps_dse.trainer.steps import CAPTURE_FROM

if TYPE_CHECKING:
    import torch

Variant = tuple[str, bool, str, int]
"""Network, weight sharing, decoder, routing iterations: what decides the seconds of a step beside its batch size."""

MOST_IMAGES = 128  # of a probe; larger batches lie on the line beyond
ENOUGH = 0.15  # s of timed steps after which no more are timed
EVALUATED = 100  # images of a timed evaluation
PATIENCE = 9.0  # s after which no further variant is begun


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how the runs of a study would train."""

    dataset: DataSet
    protocol: Protocol
    device: torch.device
    precision: Precision
    workers: int


@dataclass(kw_only=True)
class Costs:
    """What was probed. All seconds are those of one of the workers that train side by side, but for `alone`."""

    base: Variant
    steps: dict[Variant, dict[int, float]] = field(
        default_factory=dict
    )  # s of a step by batch size; infinite for too little memory
    evaluation: dict[Variant, float] = field(default_factory=dict)  # s an image
    set_up: float = 0.0  # s to build the network of a run
    checkpoint: float = 0.0  # s to write a checkpoint
    choice: float = 0.0  # s to choose the algorithm of a batch size, alone
    alone: float = 1.0  # what a step takes with all threads and nothing beside it, as a multiple of the seconds side by side

    def step(self, point: DesignPoint, size: int) -> float:
        """The seconds of a step of this batch size; infinite where the memory does not suffice."""
        return self._of(variant_of(point), lambda variant: on_lines(self.steps[variant], size), self.steps)

    def evaluate(self, point: DesignPoint) -> float:
        """The seconds in which an image is evaluated."""
        return self._of(variant_of(point), lambda variant: self.evaluation[variant], self.evaluation)

    def _of(self, variant: Variant, value: Callable[[Variant], float], probed: Mapping[Variant, object]) -> float:
        """The value of a variant; if it was not probed, that of the first one times what each of its differences costs alone."""
        if variant in probed:
            return value(variant)
        base = value(self.base)
        factors = [value(other) / base for other in between(self.base, variant) if other in probed]
        return base * math.prod(factors)


def variant_of(point: DesignPoint) -> Variant:
    """What decides the seconds of a step of a design beside its batch size."""
    return point.network, point.weight_sharing, point.decoder, point.routing_iterations


def between(base: Variant, variant: Variant) -> list[Variant]:
    """The variants that differ from `base` in one thing, in which `variant` differs, too."""
    if base[0] != variant[0]:
        return []
    return [
        (base[0], *(variant[k] if k == changed else base[k] for k in (1, 2, 3)))  # type: ignore[misc]
        for changed in (1, 2, 3)
        if base[changed] != variant[changed]
    ]


def on_lines(measured: Mapping[int, float], size: int) -> float:
    """The seconds of a step of a batch size, on the lines from one measured size to the next; half of a single one grows."""
    sizes = sorted(measured)
    if len(sizes) == 1:
        return measured[sizes[0]] * (1 + size / sizes[0]) / 2
    above = next((k for k in range(1, len(sizes) - 1) if size <= sizes[k]), len(sizes) - 1)
    low, high = sizes[above - 1], sizes[above]
    if math.inf in (measured[low], measured[high]):
        return measured[low] if size <= low else math.inf
    slope = (measured[high] - measured[low]) / (high - low)
    return max(measured[low] + slope * (size - low), min(measured.values()) * min(1.0, size / sizes[0]))


def sizes_to_probe(sizes: Iterable[int]) -> tuple[int, ...]:
    """Of the batch sizes that are trained with, those that are probed: the least, the largest, and the one in the middle by ratio."""
    capped = sorted({min(size, MOST_IMAGES) for size in sizes})
    middle = math.sqrt(capped[0] * capped[-1])
    return tuple(sorted({capped[0], min(capped, key=lambda size: abs(math.log(size / middle))), capped[-1]}))


def variants_to_probe(points: Sequence[DesignPoint]) -> list[DesignPoint]:
    """A design of each variant that is probed: the first one, and those that differ from it in one thing."""
    base = variant_of(points[0])
    found = {base: points[0]}
    for point in points:
        variant = variant_of(point)
        if variant[0] != base[0] or len(between(base, variant)) == 1:
            found.setdefault(variant, point)
    return list(found.values())


# --- probing ----------------------------------------------------------------------------------------------------------


def probe(
    points: Sequence[DesignPoint],
    sizes: Iterable[int],
    here: Machine,
    *,
    fits: Callable[[DesignPoint, int], bool] = lambda point, size: True,
    say: Callable[[str], None] = lambda _: None,
) -> Costs:
    """Probe what the training of these designs with these batch sizes costs.

    `fits` tells whether the memory suffices for a batch size; `say` is told what is looked at. It ends within some 10 s on two slow cores.
    """
    chosen, designs = sizes_to_probe(sizes), variants_to_probe(points)
    costs, deadline = Costs(base=variant_of(points[0])), time.monotonic() + PATIENCE
    algorithms = _algorithms(chosen, here, costs, say)
    waiting: queue.SimpleQueue[DesignPoint] = queue.SimpleQueue()
    for design in designs:
        waiting.put(design)
    with trainer.with_share_of(here.workers):
        work = _Work(
            here=here, costs=costs, sizes=chosen, algorithms=algorithms, fits=fits, say=say, deadline=deadline, waiting=waiting
        )
        work.left = len(designs)
        threads = [threading.Thread(target=work.run, daemon=True) for _ in range(min(here.workers, len(designs) + 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if work.errors:
        raise work.errors[0]
    if here.workers > 1:
        _probe_alone(points[0], chosen, algorithms, here, costs)
    return costs


def _algorithms(sizes: Sequence[int], here: Machine, costs: Costs, say: Callable[[str], None]) -> Algorithms:
    """The convolution algorithms that runs here would choose for these batch sizes."""
    shape = here.dataset.shape
    if costs.base[0] != "capsnet" or here.device.type != "cpu" or not trainer.measures_algorithms():
        return BY_DEFAULT
    chosen: dict[int, Algorithm] = {}
    begun = time.perf_counter()
    for size in sizes:
        if trainer.has_rivals(size, here.precision, shape):
            say(f"convolution algorithms for batches of {size}")
            try:
                chosen[size] = trainer.fastest_algorithm(shape, size, here.precision).algorithm
            except TooLittleMemory:
                continue
    costs.choice = (time.perf_counter() - begun) / max(1, len(chosen))
    return Algorithms(chosen=chosen)


@dataclass(kw_only=True)
class _Work:
    """The probes that several threads of this process share, each as a worker would train."""

    here: Machine
    costs: Costs
    sizes: Sequence[int]
    algorithms: Algorithms
    fits: Callable[[DesignPoint, int], bool]
    say: Callable[[str], None]
    deadline: float
    waiting: queue.SimpleQueue[DesignPoint]
    left: int = 0  # designs that are not probed yet
    errors: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        """Probe designs until none waits; then keep computing while others are probed, so that they are not alone."""
        try:
            training, point = None, None
            while True:
                try:
                    point = self.waiting.get_nowait()
                except queue.Empty:
                    break
                if not self.costs.steps or time.monotonic() < self.deadline:
                    training = self._probe(point)
                self.left -= 1
            while self.left > 0 and not self.errors:
                if training is None:
                    time.sleep(0.01)
                else:
                    _seconds(training, self.sizes[0], 1)
        except BaseException as error:
            self.errors.append(error)

    def _probe(self, point: DesignPoint) -> Training | None:
        """Probe the steps of a variant of the network; what trained, or None for too little memory."""
        variant = variant_of(point)
        self.say(f"steps of {' '.join(map(str, self.sizes))} images: {point.label}")
        found: dict[int, float] = {}
        training: Training | None = None
        for size in _first_and_last(self.sizes, all_=variant == self.costs.base):
            try:
                if not self.fits(point, size):
                    raise TooLittleMemory("by estimate")
                if training is None:
                    training = self._begun(point, timed=variant == self.costs.base)
                found[size] = _timed(training, size, 2 if variant == self.costs.base else 1)
            except TooLittleMemory:
                found[size] = math.inf
        if training is not None and any(map(math.isfinite, found.values())):
            self.costs.evaluation[variant] = self._evaluation(training)
        elif self.costs.evaluation:
            self.costs.evaluation[variant] = next(iter(self.costs.evaluation.values()))
        self.costs.steps[variant] = found
        return training

    def _begun(self, point: DesignPoint, *, timed: bool) -> Training:
        begun = time.perf_counter()
        training = _training(point, self.here, self.algorithms)
        if timed:
            self.costs.set_up = time.perf_counter() - begun
        return training

    def _evaluation(self, training: Training) -> float:
        """Seconds an image; the first time also those of a checkpoint."""
        few = Split(images=training.select_split.images[:EVALUATED], labels=training.select_split.labels[:EVALUATED])
        begun = time.perf_counter()
        training.accuracy(few)
        seconds = (time.perf_counter() - begun) / len(few)
        if not self.costs.checkpoint:
            with tempfile.TemporaryDirectory(prefix="fastrcaps-") as folder:
                begun = time.perf_counter()
                training.save(Path(folder) / "checkpoint.safetensors")
                self.costs.checkpoint = time.perf_counter() - begun
        return seconds


def _first_and_last(sizes: Sequence[int], *, all_: bool) -> list[int]:
    """The sizes to probe of a variant: those of the first one tell how the seconds grow, of the others two will do."""
    return list(sizes) if all_ else sorted({sizes[0], sizes[-1]})


def _training(point: DesignPoint, here: Machine, algorithms: Algorithms) -> Training:
    return Training(
        point,
        0,
        here.dataset,
        epochs=1,
        protocol=here.protocol,
        device=here.device,
        precision=here.precision,
        algorithms=algorithms,
    )


def _timed(training: Training, size: int, least: int = 1) -> float:
    """The seconds of a step of this batch size, of at least so many, after one that warms up. Raises TooLittleMemory."""
    with clear_device_errors():
        if training.device.type == "cpu":
            _seconds(training, size, 1)
        else:
            training.warm_up(size, steps=CAPTURE_FROM)
        seconds: list[float] = []
        while len(seconds) < least or math.fsum(seconds) < ENOUGH:
            seconds.append(_seconds(training, size, 1))
        return statistics.median(seconds)


def _seconds(training: Training, size: int, steps: int) -> float:
    few = Split(images=training.train_split.images[: steps * size], labels=training.train_split.labels[: steps * size])
    begun = time.perf_counter()
    training.train_on(few, size, [1e-3] * steps).tolist()  # waits for the device
    return time.perf_counter() - begun


def _probe_alone(point: DesignPoint, sizes: Sequence[int], algorithms: Algorithms, here: Machine, costs: Costs) -> None:
    """Probe a step with all threads and nothing beside it, as step times are measured."""
    size = next((size for size in sizes if math.isfinite(costs.step(point, size))), None)
    if size is not None:
        costs.alone = _timed(_training(point, here, algorithms), size) / costs.step(point, size)
