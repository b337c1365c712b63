"""How sure a front is: seeds differ as much as designs do.

Each design's objectives have a mean over its seeds and a standard error. The spread of one seed is pooled over all designs that
have several (a design of one seed borrows it), so that a few seeds say something; a Student's t of the pooled degrees of
freedom, scaled by 1/sqrt(seeds), is what the true mean may be. For the front, the means are drawn toward their own mean first, as far
as noise spreads them (the empirical Bayes estimate of Efron and Morris, 1975): of many designs that are alike some look best by
luck, and would be called sure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastrcaps_dse.analysis.pareto import front, nondominated
from fastrcaps_dse.problem.objectives import Objective

DRAWS = 2000
ROUNDING = 1e-12
LEAST_SHRUNK, LEAST_WEIGHT = 4, 0.5  # designs, of which the spread tells something; of a design's own mean
LEAST_FREEDOM = 3  # repeated runs over all designs, before their spread says anything
SURE, OUT = 0.95, 0.05  # of being on the front, above or below which a design's membership is settled


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is known of one design."""

    mean: tuple[float, ...]  # costs: all objectives to be minimized
    error: tuple[float, ...] | None  # standard error of each; None where too few runs are repeated
    seeds: int
    on_front: float | None  # the probability; None where no spread is known

    @property
    def doubtful(self) -> bool:
        """Whether the seeds so far leave open if it is on the front: it is tied with others."""
        return self.on_front is not None and OUT < self.on_front < SURE

    def errors(self, objectives: Sequence[Objective]) -> dict[str, float] | None:
        """The standard error of each of the study's objectives by name; None where no spread is known."""
        return None if self.error is None else {o.name: e for o, e in zip(objectives, self.error, strict=True)}


def standings(costs: Sequence[Sequence[Sequence[float]]], *, seed: int = 0, draws: int = DRAWS) -> list[Standing]:
    """The standing of each design, given the costs of its seeds: [design][seed][objective]. Raises ValueError for none of a design."""
    if not costs:
        return []
    if not all(costs):
        raise ValueError("a design without a measurement has no standing")
    means = np.array([np.mean(runs, axis=0) for runs in costs])
    counts = np.array([len(runs) for runs in costs])
    freedom = int((counts - 1).sum())
    if freedom < LEAST_FREEDOM:
        return [
            Standing(mean=tuple(mean), error=None, seeds=int(n), on_front=None)
            for mean, n in zip(means.tolist(), counts, strict=True)
        ]
    squares = sum(((np.asarray(runs) - mean) ** 2).sum(axis=0) for runs, mean in zip(costs, means, strict=True))
    spread = np.sqrt(np.asarray(squares) / freedom)  # of one seed, pooled
    spread[spread <= ROUNDING * np.abs(means).max(axis=0)] = 0.0  # the seeds are equal, but for how means are rounded
    errors = spread / np.sqrt(counts)[:, None]
    probability = on_front_probability(*shrunk(means, errors), freedom=freedom, seed=seed, draws=draws)
    return [
        Standing(mean=tuple(mean), error=tuple(error), seeds=int(n), on_front=float(p))
        for mean, error, n, p in zip(means.tolist(), errors.tolist(), counts, probability, strict=True)
    ]


def shrunk(means: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(means, standard errors) [N, K] of designs, as those of a population: noise spreads the means more than the designs differ."""
    if len(means) < LEAST_SHRUNK:
        return means, errors
    noise = errors**2
    spread = np.maximum(means.var(axis=0, ddof=1) - noise.mean(axis=0), 0.0)  # of the designs themselves
    weight = np.divide(spread, spread + noise, out=np.ones_like(means), where=noise > 0)
    weight = np.maximum(weight, LEAST_WEIGHT)
    middle = means.mean(axis=0)
    return middle + weight * (means - middle), errors * np.sqrt(weight)


def on_front_probability(
    means: NDArray[np.float64], errors: NDArray[np.float64], *, freedom: int, seed: int = 0, draws: int = DRAWS
) -> NDArray[np.float64]:
    """For each design [N, K] the share of draws of all true means in which no other design dominates it."""
    generator = np.random.default_rng(seed)
    on_front = np.zeros(len(means))
    for _ in range(draws):
        # one chi-square for the pooled spread of each objective, a normal for each mean: jointly a multivariate t
        scale = np.sqrt(freedom / generator.chisquare(freedom, size=means.shape[1]))
        drawn = means + errors * scale * generator.standard_normal(means.shape)
        on_front += nondominated(drawn)
    return on_front / draws


def next_to_seed(known: Sequence[Standing], most: int, taken: Collection[int] = ()) -> int | None:
    """The design that one more seed tells most about; None where all are settled or have `most` seeds.

    Of those whose membership is open, with the fewest seeds, the nearest to even odds. It is looked at after each seed, `most` times
    at most, so that each look has its share of the 5 % (Bonferroni): otherwise one unlucky seed would end the race of a member. Where no
    spread is known yet, those of the front in turn: they tell it. Those `taken` are being trained already.
    """
    if known and all(standing.on_front is None for standing in known):
        members = [index for index in front([standing.mean for standing in known]) if index not in taken]
        first = min(members, key=lambda index: (known[index].seeds, index), default=None)
        return first if first is not None and known[first].seeds < most else None
    out, sure = OUT / most, 1 - (1 - SURE) / most
    open_ = [i for i, s in enumerate(known) if out < (s.on_front or 0.0) < sure and s.seeds < most and i not in taken]
    return min(
        open_, key=lambda index: (known[index].seeds, math.fabs((known[index].on_front or 0) - 0.5), index), default=None
    )
