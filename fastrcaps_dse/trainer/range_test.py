"""The learning-rate range test, which the command find-lr runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fastrcaps_dse.data import Split
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.rates import range_test_rate
from fastrcaps_dse.trainer.images import epoch_images
from fastrcaps_dse.trainer.memory import clear_device_errors
from fastrcaps_dse.trainer.training import Training


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """The learning rate and the loss of each step of a range test."""

    rates: tuple[float, ...]  # learning rates
    losses: tuple[float, ...]  # of the batch, before the step

    def suggestion(self) -> tuple[float, float] | None:
        """The suggested (lr_min, lr_max), or None if the loss never falls.

        `lr_max` is the rate at which the smoothed loss falls fastest, `lr_min` a tenth of it.
        """
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


@clear_device_errors()
def range_test(training: Training, *, steps: int, lr_start: float, lr_end: float) -> RangeTest:
    """Train for up to `steps` steps while the learning rate grows from `lr_start` to `lr_end`; stop when the loss explodes.

    The batch size is that of the first phase of `training`. Raises InputError for a loss that is not finite from the first step,
    MachineError for too little memory.
    """
    pairs = list(_steps(training, steps=steps, lr_start=lr_start, lr_end=lr_end))
    if not pairs:
        raise InputError("the loss is not finite from the first step", "start at a lower learning rate")
    return RangeTest(rates=tuple(rate for rate, _ in pairs), losses=tuple(loss for _, loss in pairs))


def _steps(training: Training, *, steps: int, lr_start: float, lr_end: float) -> Iterator[tuple[float, float]]:
    """The (learning rate, loss of the batch before the step) of each step."""
    batch_size = training.timeline.phases[0].batch_size
    best = math.inf
    step = 0
    for epoch in range(steps):
        point = training.point
        images = epoch_images(training.train_split, training.seed, epoch, point.shift, flip=point.flip)
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
