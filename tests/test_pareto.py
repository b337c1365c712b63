"""Front, knee and hypervolume against brute force."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse.analysis import pareto

coordinate = st.integers(0, 6).map(float)
points = st.integers(1, 4).flatmap(lambda d: st.lists(st.tuples(*[coordinate] * d), min_size=1, max_size=14))


def dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


@given(points)
def test_front(sample: list[tuple[float, ...]]) -> None:
    expected = [i for i, p in enumerate(sample) if not any(dominates(q, p) for q in sample)]
    assert pareto.front(sample) == expected  # duplicates stay


@given(points)
def test_hypervolume(sample: list[tuple[float, ...]]) -> None:
    """On integer points the dominated volume is the number of unit cells below the reference that some point dominates."""
    dims = len(sample[0])
    reference = [5.0] * dims
    cells = itertools.product(range(5), repeat=dims)
    expected = sum(any(all(p[d] <= cell[d] for d in range(dims)) for p in sample) for cell in cells)
    assert pareto.hypervolume(sample, reference) == pytest.approx(expected)


@given(points)
def test_the_knee_is_the_member_nearest_to_the_ideal_point(sample: list[tuple[float, ...]]) -> None:
    knee, members = pareto.knee(sample), pareto.front(sample)
    assert knee in members
    low, high = ([end(sample[m][d] for m in members) for d in range(len(sample[0]))] for end in (min, max))

    def distance(index: int) -> float:
        return sum(((x - a) / (b - a or 1)) ** 2 for x, a, b in zip(sample[index], low, high, strict=True))

    assert all(distance(knee) <= distance(m) + 1e-9 for m in members)


def test_empty_and_not_finite() -> None:
    assert pareto.front([]) == [] and pareto.knee([]) is None and pareto.hypervolume([], [1.0]) == 0
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            pareto.front([(1.0, bad)])
