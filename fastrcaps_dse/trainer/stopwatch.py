"""How long a step and a classification take, measured alone and several times: what time objectives are counted with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from fastrcaps_dse.capsnet.network import Precision, build_network
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.data import DataSet, Split
from fastrcaps_dse.problem.schedules import FixedBatch
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.trainer.images import as_floats, epoch_images, generator
from fastrcaps_dse.trainer.steps import CAPTURE_FROM
from fastrcaps_dse.trainer.training import Training

GROUPS = 7  # timings, of which the median counts
GROUP_SECONDS = 0.25  # a timing takes at least so long
NOISY = 0.15  # interquartile range by the median, above which a measurement is repeated, and marked if it stays so


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A duration: the median of n, with its spread."""

    seconds: float
    spread: float  # interquartile range by the median
    n: int

    @property
    def noisy(self) -> bool:
        return self.spread > NOISY


def step_key(point: DesignPoint, shape: ImageShape, batch_size: int, precision: Precision) -> str:
    """What decides how long a step takes on a device, in words: designs of one key share a measurement."""
    images = f"{shape.channels}x{shape.height}x{shape.width}, {shape.classes} classes"
    if point.network == "lenet5":
        return f"lenet5, {images}, batch {batch_size}, float32"
    sharing = "weight sharing, " if point.weight_sharing else ""
    return f"capsnet, {sharing}{point.decoder} decoder, {point.routing_iterations} iterations, {images}, batch {batch_size}, {precision}"


def measure_step(
    point: DesignPoint, dataset: DataSet, batch_size: int, device: torch.device, precision: Precision, *, groups: int = GROUPS
) -> Timing:
    """The seconds of a training step of this batch size, after a warm-up. A noisy measurement is made twice."""
    alone = replace(point, batch_schedule=FixedBatch(size=batch_size))
    training = Training(alone, 0, dataset, epochs=1, protocol="paper", device=device, precision=precision)
    training.warm_up(batch_size, steps=CAPTURE_FROM)
    count = len(training.train_split)
    full = max(1, count // batch_size)

    def take(steps: int) -> None:
        shown = epoch_images(training.train_split, 0, 0, point.shift)
        for done in range(0, steps, full):
            now = min(full, steps - done)
            few = Split(images=shown.images[: now * batch_size], labels=shown.labels[: now * batch_size])
            training.train_on(few, batch_size, [1e-3] * now).tolist()

    return _repeated(take, groups)


def measure_latency(point: DesignPoint, dataset: DataSet, device: torch.device, precision: Precision) -> Timing:
    """The seconds in which one image gets its class scores, the image already on the device."""
    network = build_network(point, dataset.shape, precision)
    network.initialize(generator(0, "latency"))
    network = network.to(device).eval()
    image = as_floats(dataset.test.images[:1].to(device))

    @torch.no_grad()
    def classify(times: int) -> None:
        for _ in range(times):
            scores = network.scores(image)
        scores.tolist()

    return _repeated(classify, GROUPS)


def _repeated(act: Callable[[int], None], groups: int) -> Timing:
    """The seconds of one of `act`'s repetitions."""
    act(1)
    count = max(1, round(GROUP_SECONDS / max(1e-6, _seconds(act, 1))))
    timing = _timing([_seconds(act, count) / count for _ in range(groups)])
    if timing.noisy:
        timing = min(timing, _timing([_seconds(act, count) / count for _ in range(groups)]), key=lambda t: t.spread)
    return timing


def _seconds(act: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    act(count)
    return time.perf_counter() - start


def _timing(seconds: list[float]) -> Timing:
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 3
    return Timing(seconds=middle, spread=(high - low) / middle, n=len(seconds))
