"""Policies and schedules against their closed forms, at every boundary."""

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Literal, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse.problem.rates import learning_rate, range_test_rate, tail_start
from fastrcaps_dse.problem.schedules import (
    BATCH_SCHEDULES,
    LR_POLICIES,
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
    field_kind,
    is_whole_number,
)
from fastrcaps_dse.problem.timelines import Timeline, build_timeline

MNIST = 60_000


def batch_sizes(timeline: Timeline) -> list[int]:
    return [timeline.phase_of_epoch(epoch).batch_size for epoch in range(timeline.epochs)]


def test_fixed_and_exponential() -> None:
    line = build_timeline(FixedBatch(), epochs=30, images=MNIST)
    assert line.total_steps == 30 * 3750
    for step in (0, 1, 2000, line.total_steps - 1):
        assert learning_rate(FixedRate(), step, line) == 1e-3
        assert learning_rate(ExponentialDecay(), step, line) == pytest.approx(1e-3 * 0.96 ** (step / 2000), rel=1e-12)


def test_one_cycle_boundaries() -> None:
    line = build_timeline(FixedBatch(size=60), epochs=20, images=1000)  # 17 steps an epoch, 340 in all
    total = line.total_steps
    assert total == 340
    for share, rate in ((0, 1e-4), (0.225, 5.5e-4), (0.45, 1e-3), (0.675, 5.5e-4), (0.9, 1e-4), (0.95, 5.5e-5)):
        step = share * total
        assert step == int(step) or share in (0.225, 0.675, 0.95)
        below, above = math.floor(step), math.ceil(step)
        got = learning_rate(OneCycle(), below, line), learning_rate(OneCycle(), above, line)
        assert min(got) - 1e-12 <= rate <= max(got) + 1e-12
    assert learning_rate(OneCycle(), total - 1, line) == pytest.approx(1e-4 - 0.9e-4 * (339 / 340 - 0.9) / 0.1)
    rates = [learning_rate(OneCycle(), s, line) for s in range(total)]
    assert max(rates) == pytest.approx(1e-3) and rates.index(max(rates)) == 153
    assert all(a < b for a, b in zip(rates[:153], rates[1:154], strict=True))
    assert all(a > b for a, b in zip(rates[153:-1], rates[154:], strict=True))


@pytest.mark.parametrize(
    "policy", [WarmRestarts(), WarmRestartsPolynomial(power=0.9), WarmRestarts(cycle=0.5), WarmRestarts(cycle=2)]
)
def test_warm_restarts(policy: WarmRestarts | WarmRestartsPolynomial) -> None:
    line = build_timeline(FixedBatch(size=10), epochs=4, images=1000)
    assert not isinstance(policy.cycle, str)
    cycle = int(100 * policy.cycle)
    for step in range(line.total_steps):
        t = step % cycle
        shape = (1 + math.cos(math.pi * t / cycle)) / 2 if isinstance(policy, WarmRestarts) else (1 - t / cycle) ** 0.9
        assert learning_rate(policy, step, line) == pytest.approx(1e-4 + 9e-4 * shape, rel=1e-12)


@pytest.mark.parametrize(
    ("schedule", "epochs", "images", "tail", "first"),
    [
        (FixedBatch(), 30, MNIST, 0.2, 90_000),  # of 112,500 steps: the last 6 of 30 epochs
        (AdaBatch(), 30, MNIST, 0.2, 225_000),  # of 281,250 steps, of which the first 3 epochs have 180,000
        (FixedBatch(size=10), 1, 75, 0.2, 6),  # 8 steps, of which 1.6 are the tail
        (FixedBatch(size=10), 1, 75, 0.19, 6),  # 1.52
        (FixedBatch(size=10), 1, 75, 0.18, 7),  # 1.44
        (FixedBatch(size=10), 1, 75, 0.01, 7),  # the tail has a step
        (FixedBatch(size=10), 1, 75, 0.99, 1),  # and so has what comes before
        (FixedBatch(size=10), 2, 10, 0.2, 1),
        (FixedBatch(size=10), 1, 10, 0.2, 1),  # a single step: no tail
        (FixedBatch(size=10), 1, 10, 0.9, 1),
    ],
)
def test_the_tail_of_fine_tuning(schedule: BatchSchedule, epochs: int, images: int, tail: float, first: int) -> None:
    """The tail is a share of the steps of the whole run, whatever the batch sizes of its epochs."""
    line, policy = build_timeline(schedule, epochs=epochs, images=images), FineTune(lr=2e-3, tail_lr=3e-5, tail=tail)
    assert tail_start(tail, line.total_steps) == first
    for step in {0, first - 1, first, line.total_steps - 1} & {*range(line.total_steps)}:
        assert learning_rate(policy, step, line) == (2e-3 if step < first else 3e-5)


@given(st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(2, 10**6))
def test_the_tail_has_its_share_of_the_steps(tail: float, steps: int) -> None:
    first = tail_start(tail, steps)
    assert 1 <= first < steps and (abs(steps - first - tail * steps) <= 0.5 or first in (1, steps - 1))


def test_adabatch_as_evaluated() -> None:
    line = build_timeline(AdaBatch(), epochs=30, images=MNIST)
    assert batch_sizes(line) == [1] * 3 + [16] * 27
    assert [line.first_step(e) for e in (0, 1, 3, 4, 30)] == [0, 60_000, 180_000, 183_750, 180_000 + 27 * 3750]


def test_adabatch_p() -> None:
    line = build_timeline(AdaBatchDoubling(p=4), epochs=30, images=MNIST)
    assert batch_sizes(line) == [1] * 3 + [16] * 5 + [32] * 5 + [64] * 17


def test_wab_restarts_at_the_change_of_batch() -> None:
    """Algorithm 5: one cycle over epochs 1-3 (T = 180,000 steps), one over the rest (T = 27 * 3,750)."""
    line = build_timeline(AdaBatch(), epochs=30, images=MNIST)
    wab = WarmRestarts(cycle="phase")
    head, tail = 180_000, 27 * 3750
    for step in (0, 1, head // 2, head - 1):
        assert learning_rate(wab, step, line) == pytest.approx(1e-4 + 4.5e-4 * (1 + math.cos(math.pi * step / head)), rel=1e-12)
    assert learning_rate(wab, head - 1, line) == pytest.approx(1e-4, abs=1e-9)
    assert learning_rate(wab, head, line) == pytest.approx(1e-3)
    for t in (1, tail // 2, tail - 1):
        assert learning_rate(wab, head + t, line) == pytest.approx(
            1e-4 + 4.5e-4 * (1 + math.cos(math.pi * t / tail)), rel=1e-12
        )


def test_a_cycle_in_flight_ends_at_the_change_of_batch() -> None:
    line = build_timeline(AdaBatch(), epochs=30, images=160)
    policy = WarmRestarts(cycle=2)  # the head phase has 3 epochs: its second cycle is cut
    assert learning_rate(policy, 3 * 160 - 1, line) > 5e-4
    assert learning_rate(policy, 3 * 160, line) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        (AdaBatch(), 10, [1] + [16] * 9),
        (AdaBatch(), 20, [1, 1] + [16] * 18),
        (AdaBatch(), 2, [1, 16]),
        (AdaBatch(), 1, [1]),
        (AdaBatch(), 60, [1] * 3 + [16] * 57),
        (AdaBatchDoubling(p=3), 15, [1, 1, 8, 8, 16, 16, 16, *[32] * 8]),
        (AdaBatchDoubling(p=3), 4, [1, 8, 16, 32]),
        (AdaBatchDoubling(p=3), 2, [1, 8]),
    ],
)
def test_shorter_runs_keep_the_shape(schedule: AdaBatch | AdaBatchDoubling, epochs: int, expected: list[int]) -> None:
    assert batch_sizes(build_timeline(schedule, epochs=epochs, images=100)) == expected


@given(
    st.one_of(
        st.builds(FixedBatch, size=st.integers(1, 300)),
        st.builds(AdaBatch, head_batch=st.integers(1, 9), head_epochs=st.integers(1, 29), tail_batch=st.integers(1, 200)),
        st.builds(AdaBatchDoubling, p=st.integers(0, 8), head_epochs=st.integers(1, 19)),
    ),
    st.integers(1, 70),
    st.integers(1, 5000),
)
def test_timeline_covers_every_step_once(schedule: FixedBatch, epochs: int, images: int) -> None:
    line = build_timeline(schedule, epochs=epochs, images=images)
    assert sum(phase.epochs for phase in line.phases) == epochs
    assert all(phase.epochs >= 1 for phase in line.phases)
    steps = 0
    for epoch in range(epochs):
        assert line.first_step(epoch) == steps
        steps += math.ceil(images / line.phase_of_epoch(epoch).batch_size)  # the smaller last batch is a step
    assert line.total_steps == steps
    for policy in (OneCycle(), WarmRestarts(), WarmRestartsPolynomial(), WarmRestarts(cycle="phase"), FineTune()):
        for step in {0, steps // 2, steps - 1}:
            assert 0.9e-5 <= learning_rate(policy, step, line) <= 1e-3 + 1e-12


def test_range_test_grows_every_step() -> None:
    rates = [range_test_rate(s, steps=5, lr_start=1e-6, lr_end=1e-2) for s in range(5)]
    assert rates == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
    assert range_test_rate(0, steps=1, lr_start=1e-6, lr_end=1) == 1e-6


@pytest.mark.parametrize("cls", [*LR_POLICIES, *BATCH_SCHEDULES])
def test_the_kind_of_each_field_is_that_of_its_type(cls: type[LrPolicy | BatchSchedule]) -> None:
    kinds = {int: "whole number", float: "real number", float | Literal["phase"]: "cycle"}
    types = get_type_hints(cls)
    for field in fields(cls):
        assert field_kind(cls, field.name) == kinds[types[field.name]]
        assert is_whole_number(field.name) == (types[field.name] is int)  # a name means the same in every class
    with pytest.raises(KeyError):
        field_kind(cls, "nothing")


@pytest.mark.parametrize(
    "make",
    [
        lambda: FixedRate(lr=0),
        lambda: OneCycle(lr_min=2e-3),
        lambda: OneCycle(half=0.6),
        lambda: WarmRestarts(cycle=0),
        lambda: WarmRestarts(cycle="week"),  # type: ignore[arg-type]
        lambda: WarmRestartsPolynomial(power=-1),
        lambda: ExponentialDecay(decay=1.1),
        lambda: FineTune(tail_lr=2e-3),
        lambda: FineTune(tail_lr=0.0),
        lambda: FineTune(tail=0.0),
        lambda: FineTune(tail=1.0),
        lambda: FixedBatch(size=0),
        lambda: AdaBatch(head_epochs=30),
        lambda: AdaBatchDoubling(p=-1),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must be|need"):
        make()
