"""Learning rates: pure functions of the step, counted from 0 over the whole run.

Equations and algorithms are numbered as in the FasTrCaps paper (Marchisio et al., IJCNN 2020, arXiv 1905.10142).
"""

from __future__ import annotations

import math

from fastrcaps_dse.problem.schedules import (
    ExponentialDecay,
    FineTune,
    FixedRate,
    LrPolicy,
    OneCycle,
    WarmRestarts,
    WarmRestartsPolynomial,
)
from fastrcaps_dse.problem.timelines import Timeline


def exponential_decay(step: float, *, lr: float, decay: float, decay_steps: float) -> float:
    """The exponentially decaying rate of a step: `lr * decay ** (step / decay_steps)`."""
    return float(lr * decay ** (step / decay_steps))


def one_cycle(step: float, *, total_steps: int, lr_min: float, lr_max: float, half: float = 0.45) -> float:
    """The one-cycle rate of a step.

    It rises linearly to `lr_max` at the share `half` of the run, falls to `lr_min` at twice that share, and then falls
    linearly to `lr_min / 10` at the end of the run.

    Source: Eq. 1 of the paper.
    """
    position = step / total_steps
    if position <= half:
        return lr_min + (lr_max - lr_min) * position / half
    if position <= 2 * half:
        return lr_max - (lr_max - lr_min) * (position - half) / half
    return lr_min - 0.9 * lr_min * (position - 2 * half) / (1 - 2 * half)


def cosine_cycle(t: float, *, cycle_steps: float, lr_min: float, lr_max: float) -> float:
    """The rate `t` steps after a restart: half a cosine from `lr_max` at 0 to `lr_min` at `cycle_steps`.

    Source: Eq. 2 of the paper.
    """
    return lr_min + (lr_max - lr_min) / 2 * (1 + math.cos(math.pi * t / cycle_steps))


def polynomial_cycle(t: float, *, cycle_steps: float, lr_min: float, lr_max: float, power: float) -> float:
    """The rate `t` steps after a restart: `lr_min` plus `(1 - t / cycle_steps) ** power` of the range up to `lr_max`."""
    return float(lr_min + (lr_max - lr_min) * (1 - t / cycle_steps) ** power)


def tail_start(tail: float, total_steps: int) -> int:
    """The first step of the tail of a run.

    The tail is the last `tail * total_steps` steps, rounded: at least one, at most all but the first. A run of one step has no tail.
    """
    steps = max(1, math.floor(tail * total_steps + 0.5))
    return max(1, total_steps - steps)


def cycle_position(cycle: float | str, step: int, timeline: Timeline) -> tuple[int, int]:
    """(Steps since the last restart, steps of the cycle). A change of batch size is a restart, too."""
    phase = timeline.phase_of_step(step)
    in_phase = step - phase.first_step
    if isinstance(cycle, str):
        return in_phase, phase.epochs * phase.steps_per_epoch
    cycle_steps = max(1, math.floor(cycle * phase.steps_per_epoch + 0.5))
    return in_phase % cycle_steps, cycle_steps


def learning_rate(policy: LrPolicy, step: int, timeline: Timeline) -> float:
    """The learning rate of a `step`, which is 0 to total_steps - 1, in a run with this `timeline`."""
    match policy:
        case FixedRate():
            return policy.lr
        case ExponentialDecay():
            decay_steps = policy.decay_steps * timeline.decay_scale
            return exponential_decay(step, lr=policy.lr, decay=policy.decay, decay_steps=decay_steps)
        case OneCycle():
            return one_cycle(
                step, total_steps=timeline.total_steps, lr_min=policy.lr_min, lr_max=policy.lr_max, half=policy.half
            )
        case WarmRestarts():
            t, cycle_steps = cycle_position(policy.cycle, step, timeline)
            return cosine_cycle(t, cycle_steps=cycle_steps, lr_min=policy.lr_min, lr_max=policy.lr_max)
        case WarmRestartsPolynomial():
            t, cycle_steps = cycle_position(policy.cycle, step, timeline)
            return polynomial_cycle(t, cycle_steps=cycle_steps, lr_min=policy.lr_min, lr_max=policy.lr_max, power=policy.power)
        case FineTune():
            return policy.lr if step < tail_start(policy.tail, timeline.total_steps) else policy.tail_lr


def range_test_rate(step: int, *, steps: int, lr_start: float, lr_end: float) -> float:
    """The learning rate of a `step`, which is 0 to steps - 1, of a range test: geometric from `lr_start` to `lr_end`."""
    return float(lr_start * (lr_end / lr_start) ** (step / max(1, steps - 1)))
