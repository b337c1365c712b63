"""How certain the membership of the front is. Seeds matter: two runs of one design differ as much as two designs do.

Each design has a mean over its seeds and a standard error for each objective. The spread between seeds is pooled over all designs
with several seeds, so that a few seeds suffice, and a design with one seed has an error, too. The true mean of a design follows a
Student's t with the pooled degrees of freedom, scaled by 1/sqrt(seeds). For the front, the means are first shrunk toward their
common mean, as far as noise has spread them: of many similar designs, some look best by luck, and would otherwise be called sure.

Source of the shrinkage: the empirical Bayes estimate of Efron and Morris (1975).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastrcaps_dse.analysis.pareto import front, nondominated
from fastrcaps_dse.problem.objectives import Objective

SAMPLES = 2000  # of all true means, for a probability
ROUNDING = 1e-12  # relative spread that is rounding, not noise
LEAST_SHRUNK = 4  # designs; fewer are not shrunk, because their spread means little
LEAST_WEIGHT = 0.5  # of a design's own mean when it is shrunk
LEAST_FREEDOM = 3  # repeated runs over all designs; with fewer, their spread means little
SURE, OUT = 0.95, 0.05  # probability of being on the front, above or below which membership is certain


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the seeds of one design say about it."""

    mean: tuple[float, ...]  # costs, all to be minimized
    error: tuple[float, ...] | None  # standard error of each cost; None if too few runs are repeated in the study
    seeds: int
    on_front: float | None  # probability of being on the front; None if `error` is

    @property
    def doubtful(self) -> bool:
        """Whether membership of the front is uncertain: the design is tied with others."""
        return self.on_front is not None and OUT < self.on_front < SURE

    def errors(self, objectives: Sequence[Objective]) -> dict[str, float] | None:
        """The standard errors by the names of the objectives of the study; None if `error` is."""
        return None if self.error is None else {o.name: e for o, e in zip(objectives, self.error, strict=True)}


def standings(
    costs: Sequence[Sequence[Sequence[float]]],
    *,
    keys: Sequence[tuple[int, int | None]] | None = None,
    seed: int = 0,
    samples: int = SAMPLES,
) -> list[Standing]:
    """The standing of each design, from the costs of its seeds.

    `costs` is [design][seed][objective]. `seed` and `samples` are those of `on_front_probability`. `keys` has for each design its number
    and, in the anytime view, after which epoch it is stopped: there the same runs stand in several rows, which share their luck, and
    accuracies differ more after the first epochs than after many, so the spread is pooled over rows of as many epochs.
    Raises ValueError for a design without a seed.
    """
    if not costs:
        return []
    if not all(costs):
        raise ValueError("a design without a measurement has no standing")
    means = np.array([np.mean(runs, axis=0) for runs in costs])
    counts = np.array([len(runs) for runs in costs])
    keys = keys or [(row, None) for row in range(len(costs))]
    freedom = sum(_least_repeated(keys, counts).values())
    if freedom < LEAST_FREEDOM:
        return [
            Standing(mean=tuple(mean), error=None, seeds=int(n), on_front=None)
            for mean, n in zip(means.tolist(), counts, strict=True)
        ]
    squares = np.array([((np.asarray(runs) - mean) ** 2).sum(axis=0) for runs, mean in zip(costs, means, strict=True)])
    spread, freedom = _pooled(squares, counts, keys)  # of one seed
    spread[spread <= ROUNDING * np.abs(means).max(axis=0)] = 0.0  # the seeds are equal; only the means are rounded
    errors = spread / np.sqrt(counts)[:, None]
    designs = np.unique([number for number, _ in keys], return_inverse=True)[1]
    probability = on_front_probability(*shrunk(means, errors), freedom=freedom, seed=seed, samples=samples, designs=designs)
    return [
        Standing(mean=tuple(mean), error=tuple(error), seeds=int(n), on_front=float(p))
        for mean, error, n, p in zip(means.tolist(), errors.tolist(), counts, probability, strict=True)
    ]


def _least_repeated(keys: Sequence[tuple[int, int | None]], counts: NDArray[np.int64]) -> dict[int, int]:
    """By design, how many runs every row of it has beyond its first."""
    least: dict[int, int] = {}
    for (design, _), count in zip(keys, counts.tolist(), strict=True):
        least[design] = min(least.get(design, count - 1), count - 1)
    return least


def _pooled(
    squares: NDArray[np.float64], counts: NDArray[np.int64], keys: Sequence[tuple[int, int | None]]
) -> tuple[NDArray[np.float64], int]:
    """(the standard deviation of one seed, [N, K], the least degrees of freedom of one) from sums of squared deviations [N, K].

    It is pooled over the rows of as many epochs, and where these are too few to tell, over those next to them, each design once.
    """
    stops = [stop or 0 for _, stop in keys]
    spread, least = np.empty_like(squares), int(counts.sum())
    for stop in set(stops):
        total, freedom, taken = np.zeros(squares.shape[1]), 0, set()
        for row in sorted(range(len(keys)), key=lambda k: abs(stops[k] - stop)):
            if stops[row] != stop and freedom >= LEAST_FREEDOM:
                break
            if keys[row][0] not in taken:
                taken.add(keys[row][0])
                total, freedom = total + squares[row], freedom + int(counts[row]) - 1
        spread[[k for k, other in enumerate(stops) if other == stop]] = np.sqrt(total / freedom)
        least = min(least, freedom)
    return spread, least


def standard_errors(values: Sequence[Sequence[float]]) -> list[float] | None:
    """The standard error of the mean of each design, from one value for each of its runs, with the spread pooled over all designs.

    None where too few designs have several runs to tell, as in `standings`.
    """
    freedom = sum(len(runs) - 1 for runs in values)
    if freedom < LEAST_FREEDOM:
        return None
    means = [math.fsum(runs) / len(runs) for runs in values]
    spread = math.sqrt(math.fsum((v - m) ** 2 for runs, m in zip(values, means, strict=True) for v in runs) / freedom)
    if spread <= ROUNDING * max(map(abs, means)):
        spread = 0.0  # the seeds are equal; only the means are rounded
    return [spread / math.sqrt(len(runs)) for runs in values]


def shrunk(means: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The (means, standard errors) of designs, [N, K] each, shrunk toward the common mean as far as noise has spread them.

    Fewer than `LEAST_SHRUNK` designs, and objectives without noise, stay as they are.
    Source: Efron and Morris (1975).
    """
    if len(means) < LEAST_SHRUNK:
        return means, errors
    noise = errors**2
    spread = np.maximum(means.var(axis=0, ddof=1) - noise.mean(axis=0), 0.0)  # of the designs themselves
    weight = np.divide(spread, spread + noise, out=np.ones_like(means), where=noise > 0)
    weight = np.maximum(weight, LEAST_WEIGHT)
    middle = means.mean(axis=0)
    return middle + weight * (means - middle), errors * np.sqrt(weight)


def on_front_probability(
    means: NDArray[np.float64],
    errors: NDArray[np.float64],
    *,
    freedom: int,
    seed: int = 0,
    samples: int = SAMPLES,
    designs: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """The probability that each design is on the front, [N], from the means and standard errors [N, K] of all designs.

    It is the share of `samples` random samples of all true means in which no other design dominates this one. `freedom` is the
    pooled degrees of freedom of the errors; `seed` is that of the samples. Rows with the same number in `designs` [N], counted from 0,
    are the same runs, and are off in the same direction.
    """
    generator = np.random.default_rng(seed)
    on_front = np.zeros(len(means))
    designs = np.arange(len(means)) if designs is None else designs
    for _ in range(samples):
        # one chi-square for the pooled spread of each objective, a normal for each mean: jointly a multivariate t
        scale = np.sqrt(freedom / generator.chisquare(freedom, size=means.shape[1]))
        sampled = means + errors * scale * generator.standard_normal((designs.max() + 1, means.shape[1]))[designs]
        on_front += nondominated(sampled)
    return on_front / samples


def next_to_seed(designs: Sequence[Standing], most: int, taken: Collection[int] = ()) -> int | None:
    """The index of the design for which one more seed tells the most, or None if no design needs one.

    `most` is the largest number of seeds of a design. Designs in `taken` are left out: they are in training already.

    Of the designs whose membership of the front is uncertain, it is one with the fewest seeds, and of these the one nearest to
    even odds. Membership is tested after each seed, up to `most` times, so each test has its share of the 5 % (Bonferroni);
    otherwise one unlucky seed would end the race of a member of the front. If no spread is known yet, the members of the front
    take turns, because their seeds tell it.
    """
    if designs and all(design.on_front is None for design in designs):
        members = [index for index in front([design.mean for design in designs]) if index not in taken]
        first = min(members, key=lambda index: (designs[index].seeds, index), default=None)
        return first if first is not None and designs[first].seeds < most else None
    out, sure = OUT / most, 1 - (1 - SURE) / most
    uncertain = [i for i, d in enumerate(designs) if out < (d.on_front or 0.0) < sure and d.seeds < most and i not in taken]

    def order(index: int) -> tuple[float, ...]:
        design = designs[index]
        return design.seeds, math.fabs((design.on_front or 0) - 0.5), index

    return min(uncertain, key=order, default=None)
