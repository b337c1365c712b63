"""The samples of a plotted learning rate, against the rate of every single step."""

from __future__ import annotations

import itertools
import math

import pytest

from fastrcaps_dse.figures import plots, rates
from fastrcaps_dse.problem.rates import learning_rate
from fastrcaps_dse.problem.schedules import (
    AdaBatch,
    AdaBatchDoubling,
    BatchSchedule,
    ExponentialDecay,
    FineTune,
    FixedBatch,
    FixedRate,
    LrPolicy,
    OneCycle,
    WarmRestarts,
    WarmRestartsPolynomial,
)
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.timelines import Timeline, build_timeline

POLICIES: tuple[LrPolicy, ...] = (
    FixedRate(lr=2e-3),
    ExponentialDecay(lr=1e-3, decay=0.9, decay_steps=50),
    OneCycle(lr_max=4e-3),
    OneCycle(lr_min=1e-5, lr_max=1e-3, half=0.3),
    OneCycle(half=0.5),
    WarmRestarts(),
    WarmRestarts(lr_min=1e-6, lr_max=1e-2, cycle=0.4),
    WarmRestarts(cycle=2.5),
    WarmRestarts(cycle="phase"),
    WarmRestartsPolynomial(power=3),
    WarmRestartsPolynomial(cycle="phase"),
    FineTune(),
    FineTune(lr=3e-3, tail_lr=1e-4, tail=0.55),
)
SCHEDULES: tuple[BatchSchedule, ...] = (
    FixedBatch(size=16),
    FixedBatch(size=1000),
    AdaBatch(head_batch=1),
    AdaBatchDoubling(p=3),
)
RUNS = ((1, 1667), (6, 1667), (30, 500), (1, 1))


def by_step(policy: LrPolicy, line: Timeline) -> list[tuple[float, float]]:
    """Where each step begins, in epochs, and its rate."""
    places: list[float] = []
    for epoch in range(line.epochs):
        steps = line.phase_of_epoch(epoch).steps_per_epoch
        places += [epoch + k / steps for k in range(steps)]
    assert len(places) == line.total_steps
    return [(x, learning_rate(policy, step, line)) for step, x in enumerate(places)]


def height(xs: tuple[float, ...], ys: tuple[float, ...], at: float) -> list[float]:
    """What the line through the samples has at a place, on a logarithmic axis: several values at a jump."""
    found = []
    for (a, p), (b, q) in itertools.pairwise(zip(xs, ys, strict=True)):
        if a - 1e-9 <= at <= b + 1e-9:
            found += [p, q] if b - a < 1e-9 else [math.exp(math.log(p) + (math.log(q) - math.log(p)) * (at - a) / (b - a))]
    return found


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_the_line_is_the_rate_of_every_step(policy: LrPolicy) -> None:
    for schedule, (epochs, images) in itertools.product(SCHEDULES, RUNS):
        line = build_timeline(schedule, epochs=epochs, images=images)
        exact = by_step(policy, line)
        xs, ys = rates.rate_samples(policy, line)
        assert list(xs) == sorted(xs) and xs[0] == 0 and xs[-1] == epochs
        # each sample is the rate of a step: where it begins, or, held, where the next one does
        ends = [*[x for x, _ in exact[1:]], float(epochs)]
        allowed = {(round(x, 9), rate) for x, rate in exact} | {
            (round(end, 9), rate) for end, (_, rate) in zip(ends, exact, strict=True)
        }
        assert {(round(x, 9), y) for x, y in zip(xs, ys, strict=True)} <= allowed
        assert max(ys) == max(rate for _, rate in exact) and min(ys) == min(rate for _, rate in exact)
        if isinstance(policy, (WarmRestarts, WarmRestartsPolynomial)):  # every restart is a vertical step
            jumps = [(x, q) for (_, p), (x, q) in itertools.pairwise(exact) if q > p * (1 + 1e-9)]
            steps = [(a, q) for (a, p), (b, q) in itertools.pairwise(zip(xs, ys, strict=True)) if a == b and q > p]
            assert [(round(x, 9), y) for x, y in steps] == [(round(x, 9), y) for x, y in jumps]
        if isinstance(policy, FineTune):  # one drop, which is vertical
            drops = [round(x, 9) for (_, p), (x, q) in itertools.pairwise(exact) if q < p]
            assert [round(a, 9) for (a, p), (b, q) in itertools.pairwise(zip(xs, ys, strict=True)) if q < p and a == b] == drops
            assert len(xs) == (4 if drops else 2)
        for x, rate in exact[:: max(1, len(exact) // 300)]:
            assert min(abs(math.log(y / rate)) for y in height(xs, ys, x)) <= 2 * rates.TOLERANCE, (schedule, epochs, x)


@pytest.mark.parametrize(("policy", "most"), [(FixedRate(), 2), (OneCycle(), 60), (WarmRestarts(), 30 * 24)])
def test_a_curve_is_small(policy: LrPolicy, most: int) -> None:
    xs, _ = rates.rate_samples(policy, build_timeline(FixedBatch(size=1), epochs=30, images=60_000))
    assert 2 <= len(xs) <= most


def test_more_cycles_than_pixels() -> None:
    line = build_timeline(FixedBatch(size=1), epochs=30, images=60_000)
    policy = WarmRestarts(cycle=1e-3)  # 60 steps, so 30,000 cycles
    xs, ys = rates.rate_samples(policy, line)
    assert len(xs) < 30 * rates.MOST_CYCLES and max(ys) == policy.lr_max and xs[-1] == 30
    single = WarmRestarts(cycle=1e-9)  # cycles of one step: the rate never leaves its maximum
    assert rates.rate_samples(single, line) == ((0.0, 30.0), (policy.lr_max, policy.lr_max))


def test_the_batch_size_is_a_step_line() -> None:
    point = DesignPoint(lr_policy=FixedRate(), batch_schedule=AdaBatch(head_batch=1, tail_batch=16))
    line = build_timeline(point.batch_schedule, epochs=30, images=1667)
    curve = plots.batch_curve(point, name="a", epochs=30, images=1667)
    assert list(zip(curve.x, curve.y, strict=True)) == [(0, 1), (3, 1), (3, 16), (30, 16)]
    for epoch in range(30):
        expected = line.phase_of_epoch(epoch).batch_size
        assert [y for a, b, y in zip(curve.x, curve.x[1:], curve.y, strict=False) if a <= epoch < b] == [expected]
