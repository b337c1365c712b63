"""The phases of a run: which epochs and steps have which batch size.

A *step* is one optimizer update, counted from 0 over the whole run. An *epoch* is one pass over the training images, counted from 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastrcaps_dse.problem.schedules import REFERENCE_EPOCHS, AdaBatch, AdaBatchDoubling, BatchSchedule, FixedBatch

REFERENCE_IMAGES = 60_000
"""Training images of an epoch of the paper. Decay steps are stated for its epochs of so many images."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Consecutive epochs of one batch size."""

    first_epoch: int
    epochs: int
    batch_size: int  # images
    first_step: int
    steps_per_epoch: int  # includes the last, smaller batch of an epoch


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The phases of one run, and which epochs and steps belong to each."""

    images: int  # training images of an epoch
    epochs: int
    phases: tuple[Phase, ...]
    decay_scale: float = 1.0  # factor of a policy's decay_steps

    @property
    def total_steps(self) -> int:
        """The number of steps of the run."""
        return self.first_step(self.epochs)

    def phase_of_epoch(self, epoch: int) -> Phase:
        """The phase of an `epoch`, which is 0 to epochs - 1."""
        return next(phase for phase in reversed(self.phases) if phase.first_epoch <= epoch)

    def phase_of_step(self, step: int) -> Phase:
        """The phase of a `step`, which is 0 to total_steps - 1."""
        return next(phase for phase in reversed(self.phases) if phase.first_step <= step)

    def first_step(self, epoch: int) -> int:
        """The first step of an `epoch`. For `epoch` equal to `epochs`, this is the number of steps of the run."""
        phase = self.phase_of_epoch(epoch)
        return phase.first_step + (epoch - phase.first_epoch) * phase.steps_per_epoch


def _phase_plan(schedule: BatchSchedule) -> list[tuple[int, int]]:
    """The (first epoch, batch size in images) of each phase in a run of 30 epochs."""
    match schedule:
        case FixedBatch():
            return [(0, schedule.size)]
        case AdaBatch():
            return [(0, schedule.head_batch), (schedule.head_epochs, schedule.tail_batch)]
        case AdaBatchDoubling():
            starts = (schedule.head_epochs + 5 * k for k in range(3))
            return [(0, schedule.head_batch), *((start, 2 ** (schedule.p + k)) for k, start in enumerate(starts))]


def build_timeline(schedule: BatchSchedule, *, epochs: int, images: int, scale_decay: bool = False) -> Timeline:
    """The timeline of a run of `epochs` epochs over `images` training images.

    A run shorter than 30 epochs keeps the shape of the schedule: the starts of the phases scale with the length of the run,
    and each phase has at least one epoch. A run with fewer epochs than phases has only the first phases. Two neighboring
    phases of the same batch size stay apart, because a policy may restart between them.

    With `scale_decay`, decay steps are those of the paper's run of 30 epochs over 60,000 images: they scale with the images that this
    run trains on in all, so that the rate falls to the same value at its end.

    Raises ValueError for less than one epoch or image.
    """
    if epochs < 1:
        raise ValueError(f"a run needs at least 1 epoch, got {epochs}")
    if images < 1:
        raise ValueError(f"a run needs at least 1 training image, got {images}")
    plan = _phase_plan(schedule)[:epochs]
    scale = min(1.0, epochs / REFERENCE_EPOCHS)
    starts: list[int] = []
    for index, (start, _) in enumerate(plan):
        earliest = starts[-1] + 1 if starts else 0
        latest = epochs - (len(plan) - index)
        starts.append(min(max(earliest, math.floor(start * scale + 0.5)), latest))
    phases: list[Phase] = []
    step = 0
    for start, end, (_, size) in zip(starts, [*starts[1:], epochs], plan, strict=True):
        per_epoch = math.ceil(images / size)
        phases.append(Phase(first_epoch=start, epochs=end - start, batch_size=size, first_step=step, steps_per_epoch=per_epoch))
        step += per_epoch * (end - start)
    decay_scale = epochs * images / (REFERENCE_EPOCHS * REFERENCE_IMAGES) if scale_decay else 1.0
    return Timeline(images=images, epochs=epochs, phases=tuple(phases), decay_scale=decay_scale)
