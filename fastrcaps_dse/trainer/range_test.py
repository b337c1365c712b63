"""find-lr, the learning-rate range test."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fastrcaps_dse.data import Split
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.schedules import range_test_rate
from fastrcaps_dse.trainer.images import epoch_images
from fastrcaps_dse.trainer.training import Training


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """The loss of each step of a range test."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]  # of the batch, before the step

    def suggestion(self) -> tuple[float, float] | None:
        """(lr_min, lr_max): up to where the smoothed loss falls fastest, from a tenth of it; None if it never falls."""
        smooth: list[float] = []
        average = 0.0
        for k, loss in enumerate(self.losses):
            average = 0.9 * average + 0.1 * loss
            smooth.append(average / (1 - 0.9 ** (k + 1)))
        window = max(2, len(smooth) // 20)
        falls = [(smooth[k] - smooth[k - window], self.rates[k]) for k in range(2 * window, len(smooth))]
        if not falls or min(falls)[0] >= 0:
            return None
        steepest = min(falls)[1]
        return steepest / 10, steepest


def range_test(training: Training, *, steps: int, lr_start: float, lr_end: float) -> RangeTest:
    """find-lr: train with a learning rate that grows every step, until the loss explodes.

    The batch size is that of the training's first phase. Raises InputError where the loss is not finite from the first step.
    """
    pairs = list(_steps(training, steps=steps, lr_start=lr_start, lr_end=lr_end))
    if not pairs:
        raise InputError("the loss is not finite from the first step", "start at a lower learning rate")
    return RangeTest(rates=tuple(rate for rate, _ in pairs), losses=tuple(loss for _, loss in pairs))


def _steps(training: Training, *, steps: int, lr_start: float, lr_end: float) -> Iterator[tuple[float, float]]:
    """(learning rate, loss of the batch before the step) of each step."""
    batch_size = training.timeline.phases[0].batch_size
    best = math.inf
    step = 0
    for epoch in range(steps):
        images = epoch_images(training.train_split, training.seed, epoch, training.point.shift)
        for first in range(0, len(images), batch_size):
            if step == steps:
                return
            rate = range_test_rate(step, steps=steps, lr_start=lr_start, lr_end=lr_end)
            few = Split(images=images.images[first : first + batch_size], labels=images.labels[first : first + batch_size])
            loss = float((training.train_on(few, batch_size, [rate]) / len(few)).sum())
            if not math.isfinite(loss):
                return
            yield rate, loss
            best = min(best, loss)
            if loss > 4 * best and step > steps // 10:
                return
            step += 1
