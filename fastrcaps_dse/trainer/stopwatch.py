"""How long a training step and a classification take, measured alone and several times. Time objectives count with these."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from fastrcaps_dse.capsnet.algorithms import BY_DEFAULT, Algorithms, default_algorithm
from fastrcaps_dse.capsnet.network import Precision, build_network
from fastrcaps_dse.capsnet.sizes import ImageShape, primary_grid
from fastrcaps_dse.data import DataSet, Split
from fastrcaps_dse.problem.schedules import FixedBatch
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.trainer.algorithm_choice import work_type
from fastrcaps_dse.trainer.images import as_floats, epoch_images
from fastrcaps_dse.trainer.memory import clear_device_errors
from fastrcaps_dse.trainer.quiet import BUSY, wait_for_quiet, watching
from fastrcaps_dse.trainer.steps import CAPTURE_FROM
from fastrcaps_dse.trainer.training import Training

GROUPS = 7  # timings of a measurement, at most; their median counts
QUIET_GROUPS, QUIET = 3, 0.03  # fewer are enough if they differ by no more than this share
GROUP_SECONDS = 0.15  # least duration of a timing
NOISY = 0.15  # spread above which a measurement is repeated, and reported as noisy if it stays so
REPEATS = 2  # at most, of a measurement that is noisy or was beside other programs


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A duration: the median of n, with its spread, and how busy other programs were."""

    seconds: float
    spread: float  # interquartile range by the median
    n: int
    others: float = 0.0  # cores that they kept busy

    @property
    def beside_others(self) -> bool:
        """Whether it may be too long, because other programs took the cores."""
        return self.others > BUSY

    @property
    def noisy(self) -> bool:
        return self.spread > NOISY or self.beside_others


@dataclass(frozen=True, kw_only=True)
class StepKey:
    """What decides how long a training step takes on a device: designs with the same key share a measurement."""

    network: str
    variant: str  # weight sharing, decoder, routing iterations, in words; empty for LeNet5
    shape: ImageShape
    batch_size: int
    precision: Precision
    algorithm: str = ""  # of PrimaryCaps, if it is not the default one of the batch size

    def __str__(self) -> str:
        """The key as the store has it."""
        images = f"{self.shape.channels}x{self.shape.height}x{self.shape.width}, {self.shape.classes} classes"
        parts = (self.network, self.variant, images, f"batch {self.batch_size}", self.precision, self.algorithm)
        return ", ".join(part for part in parts if part)

    def same_but_for_variant(self, other: StepKey) -> bool:
        """Whether both are steps of the same network, but for its variant, on the same images."""
        return replace(self, variant="") == replace(other, variant="")


def step_key(
    point: DesignPoint, shape: ImageShape, batch_size: int, precision: Precision, algorithms: Algorithms = BY_DEFAULT
) -> StepKey:
    """The key of a design's steps of this batch size."""
    if point.network == "lenet5":
        return StepKey(network="lenet5", variant="", shape=shape, batch_size=batch_size, precision="float32")
    sharing = "weight sharing, " if point.weight_sharing else ""
    variant = f"{sharing}{point.decoder} decoder, {point.routing_iterations} iterations"
    kind = work_type(precision)
    grid = primary_grid(shape)
    chosen = algorithms.of(batch_size, kind, grid)
    algorithm = "" if chosen == default_algorithm(batch_size, kind, grid) else chosen
    return StepKey(
        network="capsnet", variant=variant, shape=shape, batch_size=batch_size, precision=precision, algorithm=algorithm
    )


def latency_key(point: DesignPoint, shape: ImageShape, precision: Precision) -> str:
    """The key under which the store has the seconds of classifying one image."""
    return f"latency: {step_key(point, shape, 1, precision)}"


def measure_step(
    point: DesignPoint,
    dataset: DataSet,
    batch_size: int,
    device: torch.device,
    precision: Precision,
    *,
    algorithms: Algorithms = BY_DEFAULT,
    groups: int = GROUPS,
) -> Timing:
    """The seconds of a training step of this batch size, after a warm-up.

    `groups` is the number of timings. A noisy measurement is repeated; other programs are waited for. Raises MachineError for too little
    memory.
    """
    with clear_device_errors():
        alone = replace(point, batch_schedule=FixedBatch(size=batch_size))
        training = Training(
            alone, 0, dataset, epochs=1, protocol="paper", device=device, precision=precision, algorithms=algorithms
        )
        training.warm_up(batch_size, steps=CAPTURE_FROM)
        count = len(training.train_split)
        full = max(1, count // batch_size)

        def take(steps: int) -> None:
            images = epoch_images(training.train_split, 0, 0, point.shift, flip=point.flip)
            for done in range(0, steps, full):
                now = min(full, steps - done)
                few = Split(images=images.images[: now * batch_size], labels=images.labels[: now * batch_size])
                training.train_on(few, batch_size, [1e-3] * now).tolist()

        return _repeated(take, groups, device)


@clear_device_errors()
def measure_latency(point: DesignPoint, dataset: DataSet, device: torch.device, precision: Precision) -> Timing:
    """The seconds of computing the class scores of one image that is on the device already.

    Raises MachineError for too little memory.
    """
    network = build_network(point, dataset.shape, precision).to(device).eval()
    image = as_floats(dataset.test.images[:1].to(device))

    @torch.no_grad()
    def classify(times: int) -> None:
        for _ in range(times):
            scores = network.scores(image)
        scores.tolist()

    return _repeated(classify, GROUPS, device)


def _repeated(act: Callable[[int], None], groups: int, device: torch.device) -> Timing:
    """The seconds of one repetition of `act`, which takes their number."""
    act(1)
    count = max(1, round(GROUP_SECONDS / max(1e-6, _seconds(act, 1))))

    def measured() -> Timing:
        with watching(device) as load:
            seconds = _timed(act, count, groups)
        return replace(_timing(seconds), others=load.others)

    timing = measured()
    for _ in range(REPEATS):
        if not timing.noisy or (timing.beside_others and not wait_for_quiet(device)):
            break
        timing = min(timing, measured(), key=lambda t: (t.beside_others, t.spread))
    return timing


def _timed(act: Callable[[int], None], count: int, groups: int) -> list[float]:
    """The seconds of one repetition, timed `groups` times, or fewer where the machine is quiet."""
    timings: list[float] = []
    while len(timings) < groups:
        timings.append(_seconds(act, count) / count)
        if len(timings) >= QUIET_GROUPS and max(timings) - min(timings) <= QUIET * min(timings):
            break
    return timings


def _seconds(act: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    act(count)
    return time.perf_counter() - start


def _timing(seconds: list[float]) -> Timing:
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 3
    return Timing(seconds=middle, spread=(high - low) / middle, n=len(seconds))
