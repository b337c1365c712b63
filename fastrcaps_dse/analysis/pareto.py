"""The Pareto front, ranks and hypervolume of points that are all to be minimized.

A point dominates another when it is nowhere worse and somewhere better. Duplicates do not dominate each other, so
all of them stay on the front. The work is moocore's (Lopez-Ibanez et al.); this module states what the product means by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

Points = Sequence[Sequence[float]] | NDArray[np.float64]


def _matrix(points: Points) -> NDArray[np.float64]:
    matrix = np.asarray(points, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError("points must all have the same number of objectives")
    if not np.isfinite(matrix).all():
        raise ValueError("points must be finite")
    return matrix


def front(points: Points) -> list[int]:
    """Indices of the non-dominated points, in their order; of equal points, all. Raises ValueError for values not finite."""
    if not len(points):
        return []
    matrix = _matrix(points)
    if matrix.shape[1] == 1:
        return [int(i) for i in np.flatnonzero(matrix[:, 0] == matrix[:, 0].min())]
    return [int(i) for i in np.flatnonzero(nondominated(matrix))]


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether a is nowhere worse than b and somewhere better."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def nondominated(matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows [N, K] no other row dominates; of equal rows, all."""
    found: NDArray[np.bool_] = moocore.is_nondominated(matrix, keep_weakly=True)
    return found


def ranks(points: Points) -> list[int]:
    """For each point the number of fronts to peel off before it is on the front (0 on the front)."""
    rank = [0] * len(points)
    rest = list(range(len(points)))
    level = 0
    while rest:
        peeled = {rest[i] for i in front([points[i] for i in rest])}
        for index in peeled:
            rank[index] = level
        rest = [index for index in rest if index not in peeled]
        level += 1
    return rank


def hypervolume(points: Points, reference: Sequence[float]) -> float:
    """Volume that the points dominate up to `reference`; points that do not reach below it add nothing."""
    if not len(points):
        return 0.0
    matrix, ref = _matrix(points), np.asarray(reference, dtype=np.float64)
    inside = matrix[(matrix < ref).all(axis=1)]
    if not len(inside):
        return 0.0
    if matrix.shape[1] == 1:
        return float(ref[0] - inside.min())
    return float(moocore.hypervolume(inside, ref=ref))


def knee(points: Points) -> int | None:
    """Index of the front's knee: the point nearest to the ideal one, all scaled to the front's ranges; None for no points."""
    members = front(points)
    if not members:
        return None
    matrix = _matrix(points)[members]
    low, spread = matrix.min(axis=0), np.ptp(matrix, axis=0)
    scaled = (matrix - low) / np.where(spread > 0, spread, 1.0)
    return members[int(np.argmin((scaled**2).sum(axis=1)))]
