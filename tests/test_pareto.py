"""Front, ranks and hypervolume against brute force."""

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
def test_ranks(sample: list[tuple[float, ...]]) -> None:
    ranks = pareto.ranks(sample)

    def longest(p: tuple[float, ...]) -> int:
        """The longest chain of dominators above p."""
        return max((1 + longest(q) for q in set(sample) if dominates(q, p)), default=0)

    assert ranks == [longest(p) for p in sample]


@given(points)
def test_hypervolume(sample: list[tuple[float, ...]]) -> None:
    """On integer points the dominated volume is the number of unit cells below the reference that some point dominates."""
    dims = len(sample[0])
    reference = [5.0] * dims
    cells = itertools.product(range(5), repeat=dims)
    expected = sum(any(all(p[d] <= cell[d] for d in range(dims)) for p in sample) for cell in cells)
    assert pareto.hypervolume(sample, reference) == pytest.approx(expected)


@given(points)
def test_the_knee_is_on_the_front(sample: list[tuple[float, ...]]) -> None:
    assert pareto.knee(sample) in pareto.front(sample)


def test_empty_and_not_finite() -> None:
    assert pareto.front([]) == [] and pareto.knee([]) is None and pareto.hypervolume([], [1.0]) == 0
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            pareto.front([(1.0, bad)])
