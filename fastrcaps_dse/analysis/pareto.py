"""The Pareto front, its hypervolume and its knee, for points whose coordinates are all to be minimized.

A point dominates another if it is nowhere worse and somewhere better. Equal points do not dominate each other, so all of them
stay on the front. moocore (Lopez-Ibanez et al.) does the work; this module defines the cases that matter here.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

Points = Sequence[Sequence[float]] | NDArray[np.float64]
"""Points [N, K]: K costs of each."""


def _matrix(points: Points) -> NDArray[np.float64]:
    matrix = np.asarray(points, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError("points must all have the same number of objectives")
    if not np.isfinite(matrix).all():
        raise ValueError("points must be finite")
    return matrix


def front(points: Points) -> list[int]:
    """The indices of the points that no other point dominates, in their order. Of equal points, all are included.

    Raises ValueError for points of different lengths, or with values that are not finite.
    """
    if not len(points):
        return []
    matrix = _matrix(points)
    if matrix.shape[1] == 1:
        return [int(i) for i in np.flatnonzero(matrix[:, 0] == matrix[:, 0].min())]
    return [int(i) for i in np.flatnonzero(nondominated(matrix))]


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether the point `a` dominates the point `b`."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def nondominated(matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each row of `matrix` [N, K] whether no other row dominates it, [N]. Of equal rows, all or none are."""
    found: NDArray[np.bool_] = moocore.is_nondominated(matrix, keep_weakly=True)
    return found


def hypervolume(points: Points, reference: Sequence[float]) -> float:
    """The volume that the points dominate, up to the point `reference`. Points that are not below it add nothing.

    Raises ValueError for points of different lengths, or with values that are not finite.
    """
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
    """The index of the knee of the front, or None for no points.

    The knee is the point of the front that is nearest to the ideal point, with each coordinate scaled to its range on the front.
    Raises ValueError for points of different lengths, or with values that are not finite.
    """
    members = front(points)
    if not members:
        return None
    matrix = _matrix(points)[members]
    low, spread = matrix.min(axis=0), np.ptp(matrix, axis=0)
    scaled = (matrix - low) / np.where(spread > 0, spread, 1.0)
    return members[int(np.argmin((scaled**2).sum(axis=1)))]
