"""The expected gain of hypervolume in the anytime view, where each epoch of a run is a point.

A run's costs that grow with its epochs (seconds, epochs) and those that stay (parameters and their like) are certain; its error is not. So
the volume that a front dominates is an integral over the certain costs: at each combination of them, the logarithm of the lowest error
that one can have for so much, below a reference. What an epoch adds is the expected improvement of that error there, which has a closed
form, as the logarithm of the error is normally distributed. The integral is a mean over a fixed, evenly spread set of cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import qmc

from fastrcaps_dse.search.curve_model import Floats

Counts = NDArray[np.int64]
MARGIN = 0.1  # of the range of a cost, from its highest value to the reference


@dataclass(frozen=True, kw_only=True)
class Costs:
    """The certain costs of a run, as logarithms."""

    growing: Floats  # [E, G] after each epoch of the whole run
    fixed: Floats  # [K]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """An even sample of the combinations of certain costs, between the lowest ones and the reference."""

    growing: Floats  # [U, G]
    fixed: Floats  # [U, K]

    def coarse(self, count: int) -> Cells:
        """The first ones, which are spread evenly, too."""
        return Cells(growing=self.growing[:count], fixed=self.fixed[:count])

    def epochs_within(self, runs: Sequence[Costs]) -> Counts:
        """How many epochs of each run cost no more than each cell: [len(runs), U]."""
        if not runs:
            return np.zeros((0, len(self.fixed)), dtype=np.int64)
        growing = np.stack([run.growing for run in runs])  # [R, E, G]
        fixed = np.stack([run.fixed for run in runs])  # [R, K]
        within = np.full((len(runs), len(self.fixed)), growing.shape[1], dtype=np.int64)
        for axis in range(growing.shape[2]):
            column = self.growing[:, axis]
            counts = [np.searchsorted(of_run[:, axis], column, side="right") for of_run in growing]
            within = np.minimum(within, np.stack(counts))
        affordable = (fixed[:, None, :] <= self.fixed[None, :, :]).all(axis=2)
        return np.where(affordable, within, 0)


def make_cells(runs: Sequence[Costs], count: int) -> Cells:
    """The cells for the costs of these runs."""
    growing, fixed = np.concatenate([run.growing for run in runs]), np.stack([run.fixed for run in runs])
    axes = [*growing.T, *fixed.T]
    low = np.array([axis.min() for axis in axes])
    high = np.array([axis.max() for axis in axes])
    span = np.where(high > low, (1.0 + MARGIN) * (high - low), MARGIN)
    if not axes:
        return Cells(growing=np.zeros((1, 0)), fixed=np.zeros((1, 0)))
    cells = low + _even(len(axes), count) * span
    return Cells(growing=cells[:, : growing.shape[1]], fixed=cells[:, growing.shape[1] :])


@lru_cache(maxsize=8)
def _even(axes: int, count: int) -> Floats:
    """Points of a Sobol sequence in the unit cube: the middle of their cells, not the corners."""
    points: Floats = qmc.Sobol(axes, scramble=False).random(count) + 0.5 / count
    return points


def lowest_errors(within: Counts, curves: Sequence[Floats], reference: float) -> Floats:
    """The lowest error of the runs that each cell affords, [U]; `within` [R, U] are its epochs, `curves` the errors after each."""
    lowest = np.full(within.shape[1], reference)
    for epochs, curve in zip(within, curves, strict=True):
        if len(curve):
            so_far = np.concatenate([[reference], np.minimum.accumulate(curve)])
            lowest = np.minimum(lowest, so_far[np.minimum(epochs, len(curve))])
    return lowest


def expected_improvement(lowest: Floats, mean: Floats, deviation: Floats) -> Floats:
    """By how much a normally distributed value is expected to be below `lowest`."""
    z = (lowest - mean) / deviation
    density: Floats = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    found: Floats = (lowest - mean) * ndtr(z) + deviation * density
    return found


def expected_gains(lowest: Floats, within: Counts, done: Counts, until: Counts, mean: Floats, deviation: Floats) -> Floats:
    """The expected gain of training each run from `done` to `until` epochs, [R], in units of the error's logarithm for each cell.

    Arguments:
        lowest: [U] what the front has.
        within: [R, U] epochs of each run that a cell affords.
        done, until: [R] epochs.
        mean, deviation: [R, E] of the logarithm of each run's error after each epoch.
    """
    reached = np.minimum(within, until[:, None])
    rows, columns = np.nonzero(reached > done[:, None])
    index = reached[rows, columns] - 1
    improved = expected_improvement(lowest[columns], mean[rows, index], deviation[rows, index])
    gains: Floats = np.bincount(rows, weights=improved, minlength=len(done)) / max(1, within.shape[1])
    return gains
