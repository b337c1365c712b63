"""Paired tests over seeds: two designs that were trained with the same seeds, and the difference of each pair.

Sources: Student (1908), "The Probable Error of a Mean", for the paired t test and its interval; Holm (1979), "A Simple Sequentially
Rejective Multiple Test Procedure", for several tests at once; the sign test is the binomial test of how many differences are positive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.05  # of a test
CONFIDENCE = 0.95  # of an interval
LEAST_PAIRS = 2  # seeds; one has no spread
ROUNDING = 1e-12  # spread relative to the values that is rounding, not noise


class MeanInterval(NamedTuple):
    """The mean of some seeds, and how certain it is."""

    n: int
    mean: float
    error: float | None  # standard error of the mean; None for one seed
    low: float | None  # of the 95 % interval; None for one seed, and where all seeds are equal
    high: float | None


class TwoTails(NamedTuple):
    """Student's t test of means against a margin, for samples [..., n]."""

    mean: NDArray[np.float64]  # [...]
    error: NDArray[np.float64]  # [...], standard errors of the means
    above: NDArray[np.float64]  # [...], one-sided p values: the mean is at most the margin
    below: NDArray[np.float64]  # [...], one-sided p values: the mean is at least the margin


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference of a pair of runs with the same seed."""

    seed: int
    value: float
    at_most: bool = False  # censored: the difference is `value` or lower, and nobody knows by how much


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """What the differences of all seeds say of their mean, or of their signs where the mean is not known."""

    n: int  # pairs
    mean: float
    error: float | None = None  # standard error of the mean; None without a t test
    low: float | None = None  # of the 95 % interval of the mean; None without a t test
    high: float | None = None
    method: Literal["t", "sign"] | None = None  # None for one pair, which no test can judge
    above: float | None = None  # one-sided p value of "at most the margin"; a low one says that the difference is larger
    below: float | None = None  # one-sided p value of "at least the margin"; a low one says that the difference is smaller
    censored: int = 0  # pairs whose difference may be lower than its value; then `mean` is the most that it can be

    @property
    def two_sided(self) -> float | None:
        """The p value of "equal to the margin"; None without a test."""
        return None if self.above is None or self.below is None else min(1.0, 2 * min(self.above, self.below))


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """The mean of some seeds with its standard error and Student's 95 % interval. Raises ValueError for no value.

    Where all values are equal the error is zero and there is no interval: equal values do not say how far others would lie.
    """
    if not values:
        raise ValueError("no values to take a mean of")
    n, mean = len(values), math.fsum(values) / len(values)
    if n < LEAST_PAIRS:
        return MeanInterval(n, mean, None, None, None)
    spread = _spread(values)
    if spread == 0:
        return MeanInterval(n, mean, 0.0, None, None)
    error = spread / math.sqrt(n)
    reach = t_quantile(0.5 + CONFIDENCE / 2, n - 1) * error
    return MeanInterval(n, mean, error, mean - reach, mean + reach)


def paired_test(differences: Sequence[Difference], *, margin: float = 0.0, scale: float = 1.0) -> PairedTest | None:
    """The test of paired differences against a margin, by default zero; None without a pair.

    With two pairs or more it is the paired t test. Where all differences are equal, t has no denominator, and where one is censored
    their mean is not known: there the sign test takes its place, which needs neither. `scale` is the size of the values that were
    subtracted, by which rounding is told from a spread.
    """
    if not differences:
        return None
    values, n = [d.value for d in differences], len(differences)
    mean, censored = math.fsum(values) / n, sum(d.at_most for d in differences)
    if n < LEAST_PAIRS:
        return PairedTest(n=n, mean=mean, censored=censored)
    spread = _spread(values, scale)
    if censored or spread == 0:
        above, below = sign_test(differences, margin, tolerance=ROUNDING * scale)
        return PairedTest(n=n, mean=mean, method="sign", above=above, below=below, censored=censored)
    found, around = two_tails([values], margin), mean_interval(values)
    return PairedTest(
        n=n,
        mean=mean,
        error=around.error,
        low=around.low,
        high=around.high,
        method="t",
        above=float(found.above[0]),
        below=float(found.below[0]),
    )


def _spread(values: Sequence[float], scale: float = 0.0) -> float:
    """The standard deviation of values; zero if they differ by no more than rounding does."""
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return spread if spread > ROUNDING * max(scale, *map(abs, values)) else 0.0


def two_tails(samples: ArrayLike, margin: float = 0.0) -> TwoTails:
    """Student's one-sided t tests of the means of samples [..., n] against a margin, in both directions.

    t = (mean - margin) / (s / sqrt(n)) with n - 1 degrees of freedom. Samples without spread have no t and are not allowed here.
    """
    from scipy.special import stdtr

    values = np.asarray(samples, dtype=np.float64)
    n = values.shape[-1]
    mean = values.mean(axis=-1)
    error = values.std(axis=-1, ddof=1) / math.sqrt(n)
    t = (mean - margin) / error
    return TwoTails(mean, error, stdtr(n - 1, -t), stdtr(n - 1, t))


def t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t distribution with these degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def sign_test(differences: Sequence[Difference], margin: float = 0.0, *, tolerance: float = 0.0) -> tuple[float, float]:
    """One-sided p values (the differences are mostly above the margin, mostly below it), by their signs alone.

    A difference that equals the margin counts for neither, and so does a censored one that may lie on either side: it never counts as
    above. p = P(X >= k) for X of the binomial distribution with n trials and probability 1/2, where k of n have the sign.
    """
    n = len(differences)
    above = sum(d.value > margin + tolerance and not d.at_most for d in differences)
    below = sum(d.value < margin - tolerance for d in differences)
    return _heads(above, n), _heads(below, n)


def _heads(least: int, n: int) -> float:
    """The probability of at least so many heads of n coins."""
    return float(sum(math.comb(n, k) for k in range(least, n + 1)) / 2**n)


def pairs_to_decide(tests: int, level: float) -> int:
    """With how many pairs a sign test can fall below a level, whatever the other of so many tests give, once corrected after Holm."""
    return math.floor(math.log2(tests / level)) + 1


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values corrected for their number, in the order given, after Holm.

    The k-th smallest of m is multiplied by m - k + 1, and none is below one that was smaller. If all that are below 5 % are taken to be
    effects, the probability that one of them is none is at most 5 %, whatever the tests have to do with each other.
    """
    m = len(p_values)
    corrected, highest = [0.0] * m, 0.0
    for rank, index in enumerate(sorted(range(m), key=lambda k: p_values[k])):
        highest = max(highest, min(1.0, (m - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
