"""The samples of a learning rate that a plot with a logarithmic axis needs: every turn and jump, and little else.

A rate belongs to a step, and holds until the next one. A sample is a step: its place in epochs, and its rate. Between two samples of a
smooth piece a straight line on the logarithmic axis reproduces the rate within `TOLERANCE`. Where the rate jumps, the step before has a
second sample at the place of the jump, so that the line is vertical there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from fastrcaps_dse.problem.rates import cycle_position, learning_rate, tail_start
from fastrcaps_dse.problem.schedules import FineTune, LrPolicy, OneCycle, WarmRestarts, WarmRestartsPolynomial
from fastrcaps_dse.problem.timelines import Timeline

TOLERANCE = 0.01  # of a rate, relative: what a straight line between two samples may be off
MOST_CYCLES = 400  # that are drawn in full: a plot has few more columns of pixels


def rate_samples(policy: LrPolicy, line: Timeline) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The epochs (fractions included) and the learning rates of the samples, from the start of a run to its end.

    Of more than `MOST_CYCLES` restarts, only as many cycles are sampled, evenly spread.
    """

    def rate(step: int) -> float:
        return learning_rate(policy, step, line)

    jumps = isinstance(policy, WarmRestarts | WarmRestartsPolynomial | FineTune)
    xs: list[float] = []
    ys: list[float] = []
    for first, last, is_smooth in _pieces(policy, line):
        if xs and jumps:  # the step before holds up to here
            xs.append(_epoch_of(first, line))
            ys.append(ys[-1])
        for step in _needed(rate, first, last) if is_smooth else (first, last):
            xs.append(_epoch_of(step, line))
            ys.append(rate(step))
    xs.append(float(line.epochs))
    ys.append(ys[-1])
    return _without_repeats(xs, ys)


def _epoch_of(step: int, line: Timeline) -> float:
    """Where a step begins, in epochs."""
    phase = line.phase_of_step(step)
    return phase.first_epoch + (step - phase.first_step) / phase.steps_per_epoch


def _pieces(policy: LrPolicy, line: Timeline) -> list[tuple[int, int, bool]]:
    """The first and the last step of each piece of a run, and whether the rate is smooth within it."""
    phases = {phase.first_step: True for phase in line.phases}
    match policy:
        case OneCycle():
            turns = [math.floor(share * line.total_steps) for share in (policy.half, 2 * policy.half)]
            starts = phases | {step: True for turn in turns for step in (turn, turn + 1)}
        case WarmRestarts() | WarmRestartsPolynomial():
            starts = phases | dict(_restarts(policy.cycle, line))
        case FineTune():
            starts = phases | {tail_start(policy.tail, line.total_steps): True}
        case _:
            starts = phases
    ordered = sorted(step for step in starts if step < line.total_steps)
    return [(a, b - 1, starts[a]) for a, b in zip(ordered, [*ordered[1:], line.total_steps], strict=True)]


def _restarts(cycle: float | str, line: Timeline) -> Iterator[tuple[int, bool]]:
    """The first steps of cycles, and whether only this cycle follows, or several that are left out.

    A cycle of a single step has no rate but the highest, so that it needs no sample.
    """
    cycles = [cycle_position(cycle, phase.first_step, line)[1] for phase in line.phases]
    total = sum(phase.epochs * phase.steps_per_epoch / steps for phase, steps in zip(line.phases, cycles, strict=True))
    every = max(1, math.ceil(total / MOST_CYCLES))
    for phase, steps in zip(line.phases, cycles, strict=True):
        end = phase.first_step + phase.epochs * phase.steps_per_epoch
        for start in range(phase.first_step, end, steps * every) if steps > 1 else ():
            yield start, True
            if every > 1 and start + steps < end:
                yield start + steps, False


def _needed(rate: Callable[[int], float], first: int, last: int) -> Sequence[int]:
    """The steps of a smooth piece between which straight lines are near enough, its ends included."""
    if last - first < 2:
        return sorted({first, last})
    a, b = math.log(rate(first)), math.log(rate(last))

    def is_near(step: int) -> bool:
        return abs(math.log(rate(step)) - (a + (b - a) * (step - first) / (last - first))) <= TOLERANCE

    middle = (first + last) // 2
    if all(is_near(step) for step in ((first + middle) // 2, middle, (middle + last) // 2)):
        return [first, last]
    return [*_needed(rate, first, middle), *_needed(rate, middle, last)[1:]]


def _without_repeats(xs: Sequence[float], ys: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The samples without those that equal the one before, and without the middle of three of one rate."""
    kept: list[tuple[float, float]] = []
    for sample in zip(xs, ys, strict=True):
        if kept and kept[-1] == sample:
            continue
        if len(kept) > 1 and kept[-2][1] == kept[-1][1] == sample[1]:
            kept.pop()
        kept.append(sample)
    return tuple(x for x, _ in kept), tuple(y for _, y in kept)
