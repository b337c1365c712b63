"""The paired tests: closed forms, SciPy's own tests, simulated levels, Holm's table."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse.analysis.paired import (
    LEVEL,
    Difference,
    holm,
    mean_interval,
    paired_test,
    pairs_to_decide,
    sign_test,
    t_quantile,
    two_tails,
)

SAMPLES = [[0.1, 0.3], [0.1, 0.2, 0.05], [-3.0, 1.0, 2.5, 0.0, -0.5], [1e6, 1e6 + 1, 1e6 + 3]]


def differences(values: list[float], censored: tuple[int, ...] = ()) -> list[Difference]:
    return [Difference(seed=k, value=value, at_most=k in censored) for k, value in enumerate(values)]


# --- Student's t --------------------------------------------------------------------------------------------------------


def test_two_pairs_by_hand() -> None:
    """Of one degree of freedom, t is Cauchy's: P(T > t) = 1/2 - arctan(t)/pi. Differences 1 and 3: mean 2, error 1, t = 2."""
    found = paired_test(differences([1.0, 3.0]))
    assert found is not None and found.method == "t" and (found.n, found.mean, found.error) == (2, 2.0, 1.0)
    assert found.above == pytest.approx(0.5 - math.atan(2) / math.pi) and found.below == pytest.approx(
        0.5 + math.atan(2) / math.pi
    )
    reach = math.tan(math.pi * 0.475)  # 12.706, the quantile of 97.5 %
    assert found.low == pytest.approx(2 - reach) and found.high == pytest.approx(2 + reach)
    assert found.two_sided == pytest.approx(1 - 2 * math.atan(2) / math.pi)


def test_three_pairs_by_hand() -> None:
    """Of two degrees of freedom, P(T > t) = 1/2 - t / (2 sqrt(2 + t^2)). Differences 0, 1, 2 against -1: t = 2 sqrt(3)."""
    found = paired_test(differences([0.0, 1.0, 2.0]), margin=-1.0)
    assert found is not None and found.error == pytest.approx(1 / math.sqrt(3))
    assert found.above == pytest.approx(0.5 - math.sqrt(12) / (2 * math.sqrt(14)))
    assert t_quantile(0.975, 2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)))


@pytest.mark.parametrize("values", SAMPLES)
@pytest.mark.parametrize("margin", [0.0, -0.3])
def test_it_is_the_test_of_scipy(values: list[float], margin: float) -> None:
    from scipy import stats

    a, b = np.array(values) + 7.5, np.full(len(values), 7.5 + margin)
    found = paired_test(differences(values), margin=margin)
    assert found is not None
    for alternative, p in (("greater", found.above), ("less", found.below), ("two-sided", found.two_sided)):
        assert p == pytest.approx(stats.ttest_rel(a, b, alternative=alternative).pvalue, rel=1e-6)
    interval = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    around = mean_interval(values)
    assert (found.low, found.high) == (around.low, around.high)
    assert found.low == pytest.approx(interval.low) and found.high == pytest.approx(interval.high)
    assert around.error == pytest.approx(stats.sem(values))


@pytest.mark.parametrize("n", [2, 3, 5, 10])
@pytest.mark.parametrize("margin", [0.0, -0.3])
def test_the_simulated_level_is_five_percent(n: int, margin: float) -> None:
    """20,000 studies in which the claim is false by nothing, at the margin: so are the levels 5 % +- 0.5, three standard errors."""
    generator = np.random.default_rng(20_000 + n)
    found = two_tails(generator.normal(margin, 0.08, size=(20_000, n)), margin)
    for p in (found.above, found.below, 2 * np.minimum(found.above, found.below)):
        assert (p < LEVEL).mean() == pytest.approx(LEVEL, abs=0.005)
    reach = t_quantile(0.975, n - 1) * found.error
    assert (np.abs(found.mean - margin) <= reach).mean() == pytest.approx(0.95, abs=0.005)


# --- where there is no t ------------------------------------------------------------------------------------------------


def test_no_pair_and_one_pair_have_no_test() -> None:
    assert paired_test([]) is None
    found = paired_test(differences([0.7]))
    assert found is not None and (found.n, found.mean, found.method) == (1, 0.7, None)
    assert (found.above, found.below, found.low, found.error, found.two_sided) == (None,) * 5
    assert mean_interval([3.0]) == (1, 3.0, None, None, None)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


@pytest.mark.parametrize(
    ("value", "margin", "above", "below"), [(2.0, 0.0, 1 / 8, 1.0), (0.0, 0.0, 1.0, 1.0), (-2.0, -1.0, 1.0, 1 / 8)]
)
def test_equal_differences_are_tested_by_their_signs(value: float, margin: float, above: float, below: float) -> None:
    """Nothing is divided by their spread, which is zero: NumPy would warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = paired_test(differences([value] * 3), margin=margin)
    assert found is not None and (found.method, found.above, found.below) == ("sign", above, below)
    assert found.mean == value and found.low is None and found.error is None


def test_differences_that_rounding_alone_tells_apart_are_equal() -> None:
    values = [99.1 - 98.9, 99.2 - 99.0, 90.4 - 90.2]
    assert len(set(values)) > 1
    found = paired_test(differences(values), scale=100.0)
    assert found is not None and found.method == "sign" and found.above == 1 / 8
    zeros = paired_test(differences([0.3 - 0.1 - 0.2, 0.0, 0.0]), scale=1.0)
    assert zeros is not None and (zeros.above, zeros.below) == (1.0, 1.0)
    assert mean_interval([0.1 + 0.2, 0.3]).low is None


def test_a_censored_difference_never_counts_as_above() -> None:
    values = [20.0, 20.0, 20.0, 20.0, -1.0]
    found = paired_test(differences(values, (4,)))
    assert found is not None and (found.method, found.censored, found.low) == ("sign", 1, None)
    assert found.above == 6 / 32 and found.below == 31 / 32  # 4 of 5, and 1 of 5
    t = paired_test(differences(values))
    assert t is not None and t.above is not None and t.above < LEVEL < found.above  # as if the bound were the difference
    undecided = differences([20.0, 20.0, 20.0, 5.0], (3,))  # at most 5, so it may be on either side
    assert sign_test(undecided) == (5 / 16, 1.0)
    assert sign_test(differences([0.0, -1.0], (0, 1))) == (1.0, 3 / 4)  # the first may be zero


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=9))
def test_a_censored_pair_never_helps_a_claim(pairs: list[tuple[int, bool]]) -> None:
    """Without its pair the p value of the claim is no higher, and neither is that of a pair that is worse."""
    all_ = [Difference(seed=k, value=float(v), at_most=c) for k, (v, c) in enumerate(pairs)]
    for k, one in enumerate(all_):
        if one.at_most:
            others = [*all_[:k], *all_[k + 1 :]]
            assert sign_test(all_)[0] >= sign_test(others)[0]


def test_the_sign_test_of_all_signs_keeps_its_level() -> None:
    """Of all 2^n signs, equally likely, those with p < 5 % are at most 5 %."""
    for n in (3, 5, 8):
        p = [sign_test(differences(list(signs)))[0] for signs in itertools.product((-1.0, 1.0), repeat=n)]
        assert sum(value < LEVEL for value in p) / len(p) <= LEVEL
        assert min(p) == 0.5**n


# --- Holm ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4 * .005, 3 * .01, 2 * .03, then .04 is raised to .06
        ([0.5, 0.6, 0.9], [1.0, 1.0, 1.0]),
        ([0.02, 0.02, 0.001], [0.04, 0.04, 0.003]),
    ],
)
def test_holm_by_hand(raw: list[float], corrected: list[float]) -> None:
    assert holm(raw) == pytest.approx(corrected)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_corrected_p_values_keep_their_order_and_are_never_lower(raw: list[float]) -> None:
    corrected = holm(raw)
    assert all(p <= c <= 1 for p, c in zip(raw, corrected, strict=True))
    order = sorted(range(len(raw)), key=raw.__getitem__)
    assert all(corrected[a] <= corrected[b] for a, b in itertools.pairwise(order))
    assert all(c <= min(1, len(raw) * p) + 1e-12 for p, c in zip(raw, corrected, strict=True))  # never worse than Bonferroni


@pytest.mark.parametrize("tests", range(1, 12))
def test_so_many_pairs_are_the_least_with_which_a_sign_test_decides(tests: int) -> None:
    for n, decides in ((pairs_to_decide(tests, 0.05), True), (pairs_to_decide(tests, 0.05) - 1, False)):
        above, _ = sign_test([Difference(seed=k, value=1.0) for k in range(n)])
        assert (holm([above] * tests)[0] < 0.05) == decides


def test_holm_keeps_the_level_of_a_family() -> None:
    """Eight false claims that share the runs of a baseline, as the paper's do: one or more is supported in at most 5 % of studies."""
    generator = np.random.default_rng(8)
    baseline, designs = generator.normal(size=(3000, 1, 5)), generator.normal(size=(3000, 8, 5))
    p = two_tails(designs - baseline).above
    wrong = np.mean([min(holm(row)) < LEVEL for row in p.tolist()])
    assert 0.01 < wrong <= LEVEL + 0.01
