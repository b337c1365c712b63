"""A Gaussian process over designs whose kernel has a length for each dimension.

The kernel is Matern's with nu = 5/2 of the distance sum((a - b)^2 / length^2). Lengths and noise are those of the highest posterior
density: the likelihood with a prior that prefers long lengths, the more the more dimensions there are (Hvarfner et al.: Vanilla Bayesian
optimization performs great in high dimensions, ICML 2024), so that few measurements do not make a dimension count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Matrix = NDArray[np.float64]

SPREAD = 0.4  # of the logarithms among designs, at least: that a few alike ones do alike says nothing of the others
LENGTH_MEAN, LENGTH_SPREAD = 0.0, 1.0  # of the logarithm of a length, beside that of the root of the number of dimensions
NOISE_MEAN, NOISE_SPREAD = (
    math.log(0.2),
    0.7,
)  # of the logarithm of a seed's standard deviation, in units of the spread of the designs
LEAST, MOST = -4.0, 6.0  # of the logarithms of lengths and noise
JITTER = 1e-8  # so that equal designs leave the covariance regular
STEPS = 40  # of the optimization at most
ROOT5 = math.sqrt(5.0)


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """What the kernel knows: the logarithms of its lengths by dimension, then of the noise."""

    dimensions: tuple[int, ...]  # of each column of a code, counted from 0
    logs: tuple[float, ...]  # [dimensions + 1]

    @property
    def noise(self) -> float:
        """The standard deviation of a seed, in units of the spread of the designs."""
        return math.exp(self.logs[-1])

    def scaled(self, codes: Matrix) -> Matrix:
        """Codes with each column over its length."""
        found: Matrix = codes * np.exp(-np.array(self.logs)[list(self.dimensions)])[None, :]
        return found

    def covariance(self, a: Matrix, b: Matrix) -> Matrix:
        """[len(a), len(b)], of scaled codes."""
        squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
        return matern(np.maximum(squares, 0.0))


def matern(squares: Matrix) -> Matrix:
    """Matern's kernel, nu = 5/2, of squared distances."""
    root = ROOT5 * np.sqrt(squares)
    found: Matrix = (1.0 + root + root**2 / 3.0) * np.exp(-root)
    return found


def matern_slope(squares: Matrix) -> Matrix:
    """Its derivative by the squared distance."""
    root = ROOT5 * np.sqrt(squares)
    found: Matrix = -(5.0 / 6.0) * (1.0 + root) * np.exp(-root)
    return found


def prior_kernel(dimensions: Sequence[int]) -> Kernel:
    """The kernel that is assumed before anything is measured."""
    _, index = np.unique(np.array(dimensions, dtype=np.int64), return_inverse=True)
    count = int(index.max()) + 1 if len(index) else 0
    return Kernel(dimensions=tuple(map(int, index)), logs=(*[_length_mean(count)] * count, NOISE_MEAN))


def _length_mean(count: int) -> float:
    return LENGTH_MEAN + 0.5 * math.log(max(1, count))


def squares_by_dimension(codes: Matrix, dimensions: Sequence[int]) -> Matrix:
    """The squared differences of designs in each dimension, [dimensions, N * N]."""
    count = max(dimensions, default=-1) + 1
    found = np.zeros((count, len(codes) * len(codes)))
    for column, dimension in enumerate(dimensions):
        values = codes[:, column]
        found[dimension] += ((values[:, None] - values[None, :]) ** 2).ravel()
    return found


def loss(logs: Matrix, squares: Matrix, values: Matrix) -> tuple[float, Matrix]:
    """(negative logarithm of the posterior density of a kernel but for a constant, its gradient by the logarithms).

    Arguments:
        logs: as a kernel has them [D + 1].
        squares: as `squares_by_dimension` gives them [D, N * N].
        values: of mean 0, in units of the spread of the designs [N].
    """
    count, number = len(squares), len(values)
    weights, noise = np.exp(-2 * logs[:-1]), math.exp(2 * logs[-1])
    distance = (weights @ squares).reshape(number, number)
    lower = cholesky(matern(distance) + (noise + JITTER) * np.eye(number), lower=True, check_finite=False)
    inverse = cho_solve((lower, True), np.eye(number), check_finite=False)
    alpha = inverse @ values
    off = logs - np.array([*[_length_mean(count)] * count, NOISE_MEAN])
    spread = np.array([*[LENGTH_SPREAD] * count, NOISE_SPREAD])
    value = 0.5 * float(values @ alpha) + float(np.log(np.diag(lower)).sum()) + 0.5 * float(((off / spread) ** 2).sum())
    outer = inverse - np.outer(alpha, alpha)
    by_length = -weights * (squares @ (outer * matern_slope(distance)).ravel())
    return value, np.array([*by_length, float(np.trace(outer)) * noise]) + off / spread**2


def spread_of(values: Matrix) -> float:
    """The unit of values: their standard deviation, or what it is at least."""
    return max(float(values.std()), SPREAD)


def fit_kernel(codes: Matrix, values: Matrix, start: Kernel) -> Kernel:
    """The kernel of the highest posterior density for these designs [N, columns] and values [N], searched for from `start`."""
    if len(values) < 2 or not start.dimensions:
        return start
    squares = squares_by_dimension(codes, start.dimensions)
    try:
        found = minimize(
            loss,
            np.array(start.logs),
            args=(squares, (values - values.mean()) / spread_of(values)),
            jac=True,
            method="L-BFGS-B",
            bounds=[(LEAST, MOST)] * len(start.logs),
            options={"maxiter": STEPS},
        )
    except LinAlgError:  # of a covariance that is singular in these digits
        return start
    return Kernel(dimensions=start.dimensions, logs=tuple(map(float, found.x))) if np.isfinite(found.x).all() else start


class GaussianProcess:
    """A Gaussian process over designs, with a kernel whose lengths are known."""

    def __init__(self, codes: Matrix, values: Matrix, kernel: Kernel) -> None:
        self.kernel = kernel
        self.mean, self.scale = float(values.mean()), spread_of(values)
        self.codes = kernel.scaled(codes)
        own = (kernel.noise**2 + JITTER) * np.eye(len(values))
        self.lower = cholesky(kernel.covariance(self.codes, self.codes) + own, lower=True, check_finite=False)
        self.alpha = cho_solve((self.lower, True), (values - self.mean) / self.scale, check_finite=False)

    def predict(self, codes: Matrix) -> tuple[Matrix, Matrix]:
        """(mean, standard deviation) of each design's true value."""
        cross, solved = self._cross(codes)
        variance = np.maximum(1.0 - (solved**2).sum(axis=0), 1e-6)
        return self.mean + self.scale * (cross @ self.alpha), self.scale * np.sqrt(variance)

    def joint(self, codes: Matrix) -> tuple[Matrix, Matrix]:
        """(mean [N], covariance [N, N]) of the true values of designs, together."""
        cross, solved = self._cross(codes)
        scaled = self.kernel.scaled(codes)
        covariance = self.kernel.covariance(scaled, scaled) - solved.T @ solved
        return self.mean + self.scale * (cross @ self.alpha), self.scale**2 * covariance

    def _cross(self, codes: Matrix) -> tuple[Matrix, Matrix]:
        cross = self.kernel.covariance(self.kernel.scaled(codes), self.codes)
        return cross, solve_triangular(self.lower, cross.T, lower=True, check_finite=False)
