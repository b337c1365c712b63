"""The expected improvement of the hypervolume, of many uncertain points at once, in closed form.

The region that a front dominates is cut into boxes, by its local upper bounds (Lacour, Klamroth, Fonseca: A box decomposition algorithm to
compute the hypervolume indicator, Computers & Operations Research 79, 2017). What a point adds is what it dominates, less its part in
each box; with objectives that are independent and normal, the expectation of each part is a product of one-dimensional ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Uncertain points: normal in each cost, and kept between two bounds. All [N, K]."""

    mean: Matrix
    deviation: Matrix  # 0 for a cost that is certain
    least: Matrix
    most: Matrix


def boxes(front: Matrix, reference: Matrix) -> tuple[Matrix, Matrix]:
    """(lower, upper) corners [B, K] of disjoint boxes that make up what the front [N, K] dominates up to the reference point [K].

    Of three costs there are at most 2 N + 1. Points that are not below the reference, or that others dominate, add nothing.
    """
    count = len(reference)
    bounds = reference[None, :].copy()  # the local upper bounds [U, K]
    defining = np.full((1, count, count), -np.inf)  # the points [U, K, K] that define each: the k-th gives its k-th coordinate
    defining[0, np.arange(count), np.arange(count)] = reference
    for point in front[np.lexsort(front.T[::-1])]:
        hit = (point < bounds).all(axis=1)
        if not hit.any():
            continue
        split, by = bounds[hit], defining[hit]
        new_bounds, new_defining = [bounds[~hit]], [defining[~hit]]
        for k in range(count):
            others = np.delete(by[:, :, k], k, axis=1)
            kept = (point[k] >= others).all(axis=1)
            moved, moved_by = split[kept].copy(), by[kept].copy()
            moved[:, k], moved_by[:, k] = point[k], point
            new_bounds.append(moved)
            new_defining.append(moved_by)
        bounds, defining = np.concatenate(new_bounds), np.concatenate(new_defining)
    lower, upper = bounds.copy(), bounds.copy()
    lower[:, 0], upper[:, 0] = defining[:, 0, 0], reference[0]
    for k in range(1, count):
        lower[:, k] = defining[:, :k, k].max(axis=1)
    full = (upper > lower).all(axis=1)
    return lower[full], upper[full]


def expected_shortfall(levels: Matrix, mean: Matrix, deviation: Matrix, least: Matrix, most: Matrix) -> Matrix:
    """How far a cost is expected to stay below each of these levels, 0 where it is above: [N, L].

    Arguments:
        levels: [L].
        mean, deviation, least, most: [N], of the cost: normal, and kept between the bounds.
    """
    at, low, high = levels[None, :], least[:, None], most[:, None]
    inside = np.minimum(at, high)
    found = _below(inside, mean, deviation) - _below(low, mean, deviation) + np.maximum(at - high, 0.0)
    return np.where(at > low, found, 0.0)


def _below(levels: Matrix, mean: Matrix, deviation: Matrix) -> Matrix:
    """The expectation of max(0, level - Y) for a normal Y; all [N, L] but mean and deviation [N]."""
    gap = levels - mean[:, None]
    spread = np.maximum(deviation, 1e-12)[:, None]
    z = gap / spread
    found: Matrix = gap * ndtr(z) + spread * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return found


def expected_gain(dominated: tuple[Matrix, Matrix], reference: Matrix, outcomes: Outcomes) -> Matrix:
    """The hypervolume that each point is expected to add to a front whose `boxes` these are, up to the reference point [K]: [N]."""
    lower, upper = dominated
    whole, parts = np.ones(len(outcomes.mean)), np.ones((len(outcomes.mean), len(lower)))
    for k, limit in enumerate(reference):
        levels, index = np.unique(np.concatenate([[limit], lower[:, k], upper[:, k]]), return_inverse=True)
        of_cost = outcomes.mean[:, k], outcomes.deviation[:, k], outcomes.least[:, k], outcomes.most[:, k]
        below = expected_shortfall(levels, *of_cost)
        whole *= below[:, index[0]]
        parts *= below[:, index[1 + len(lower) :]] - below[:, index[1 : 1 + len(lower)]]
    found: Matrix = np.maximum(whole - parts.sum(axis=1), 0.0)
    return found
