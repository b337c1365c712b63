"""A Gaussian process over designs and epochs: what the error of a run will be after epochs that it does not have yet.

The logarithm of the error that is left is a sum of three parts. One is common to all designs, and knows how learning curves fall. One is
alike for designs that are alike in most dimensions. One belongs to a single run, which may do better or worse than its design lets expect.
Each part is a random walk in the logarithm of the epoch: what a run does from epoch 2 to 4 says as much of it as from 4 to 8. This is the
idea of freeze-thaw Bayesian optimization (Swersky, Snoek and Adams, arXiv:1406.3896), whose kernel over epochs is another one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky
from scipy.spatial.distance import cdist

Floats = NDArray[np.float64]

LENGTHS = (0.3, 0.6, 1.2)  # of a difference in one dimension, in the exponent of the kernel
DESIGN_SCALES = (0.2, 0.3, 0.45)  # standard deviation of the part of a design, in units of the walk's
RUN_SCALE = 0.05  # of the part of a run, likewise
NOISE = 0.05  # of an epoch's logarithm of the error
START = 1.0  # variance of a walk after the first epoch
TRIED = 120  # epochs that the few parameters are chosen by, at most


@dataclass(frozen=True, kw_only=True)
class Points:
    """Designs after a number of epochs, as rows."""

    designs: NDArray[np.int64]  # [N] which design: a row of the model's codes
    epochs: Floats  # [N], counted from 1
    runs: NDArray[np.int64]  # [N], a number for each run

    def __len__(self) -> int:
        return len(self.epochs)

    def some(self, rows: NDArray[np.int64]) -> Points:
        """These rows."""
        return Points(designs=self.designs[rows], epochs=self.epochs[rows], runs=self.runs[rows])


def walk(a: Floats, b: Floats) -> Floats:
    """The covariance of a random walk in the logarithm of the epoch: [len(a), len(b)]."""
    found: Floats = START + np.minimum(np.log(a)[:, None], np.log(b)[None, :])
    return found


def covariance(a: Points, b: Points, alike: Floats, design_scale: float) -> Floats:
    """The covariance of true values: [len(a), len(b)]; `alike` [D, D] is that of the part of a design."""
    shared = 1.0 + design_scale**2 * alike[np.ix_(a.designs, b.designs)]
    shared += RUN_SCALE**2 * (a.runs[:, None] == b.runs[None, :])
    return walk(a.epochs, b.epochs) * shared


class CurveModel:
    """The process, given some epochs of runs; its two parameters are those of the highest likelihood on a small grid."""

    def __init__(self, codes: Floats, points: Points, values: Sequence[float] | Floats) -> None:
        """`codes` [D, K] are the dimensions of designs, `values` [N] logarithms of the error that is left after the epochs of `points`."""
        self.points = points
        y = np.asarray(values, dtype=np.float64)
        self.mean = float(y.mean())
        distances: Floats = cdist(codes, codes, "cityblock")
        length, self.design_scale = self._fitted(distances, y - self.mean)
        self.alike: Floats = np.exp(-length * distances)
        lower = self._lower(points, self.alike, self.design_scale)
        self.alpha = cho_solve((lower, True), y - self.mean, check_finite=False)
        self.inverse: Floats = cho_solve((lower, True), np.eye(len(y)), check_finite=False)

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """(mean, standard deviation) of the true value of each point, [N] each."""
        cross = covariance(points, self.points, self.alike, self.design_scale)
        prior = (START + np.log(points.epochs)) * (1.0 + self.design_scale**2 + RUN_SCALE**2)
        variance = prior - np.einsum("np,np->n", cross @ self.inverse, cross)
        return self.mean + cross @ self.alpha, np.sqrt(np.maximum(variance, 1e-6))

    def _fitted(self, distances: Floats, y: Floats) -> tuple[float, float]:
        """(length, design scale) of the highest likelihood, by some of the epochs where they are many."""
        rows = np.unique(np.linspace(0, len(y) - 1, min(len(y), TRIED)).astype(np.int64))
        some, z = self.points.some(rows), y[rows]
        best, chosen = -math.inf, (LENGTHS[0], DESIGN_SCALES[0])
        for length in LENGTHS:
            alike = np.exp(-length * distances)
            for scale in DESIGN_SCALES:
                lower = self._lower(some, alike, scale)
                solved = cho_solve((lower, True), z, check_finite=False)
                likelihood = -0.5 * float(z @ solved) - float(np.log(np.diag(lower)).sum())
                if likelihood > best:
                    best, chosen = likelihood, (length, scale)
        return chosen

    @staticmethod
    def _lower(points: Points, alike: Floats, scale: float) -> Floats:
        noisy = covariance(points, points, alike, scale) + NOISE**2 * np.eye(len(points))
        lower: Floats = cholesky(noisy, lower=True, check_finite=False)
        return lower
