"""The guided search: a surrogate of what designs reach, and the acquisition that chooses the next one.

Parameters and the seconds of every epoch are certain before a design is trained. The surrogate models the rest: the error that is
left (100 - accuracy) and the share of the run after which the maximum is reached, both as logarithms, each by a Gaussian process
over the design's dimensions. Its kernel counts differing dimensions: designs that are alike in most dimensions do alike. The
acquisition chooses the design with the highest expected gain of hypervolume for a second of training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.spatial.distance import cdist

from fastrcaps_dse.analysis.pareto import hypervolume, nondominated
from fastrcaps_dse.problem.objectives import OBJECTIVES, Objective
from fastrcaps_dse.problem.space import PLAIN_DIMENSIONS, DesignPoint

Features = Mapping[str, float | str | bool]
"""A design's dimensions by name: numbers that have an order, and texts that have none."""

Expected = tuple[NDArray[np.float64], NDArray[np.float64]]
"""(mean, standard deviation) of each design."""

SAMPLES = 32  # of the surrogate, for the expected gain
FITTED = 400  # measured designs that a model is fitted to at most
SCREENED = 12  # designs whose gain is computed; the rest are ruled out by their optimistic outcome
LENGTHS = (0.15, 0.3, 0.6, 1.2)  # of a difference in one dimension, in the exponent of the kernel
NOISES = (0.05, 0.15, 0.4)  # standard deviation of a seed, in units of the spread of the designs
SPREAD = 0.4  # of the logarithms among designs, at least: that a few alike ones do alike says nothing of the others
FLOOR = 0.05  # % of error: keeps the logarithm finite


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A design that may be proposed."""

    features: Features
    epochs: int  # of a run
    seconds: float  # of training, for the whole run
    fixed: Mapping[str, float]  # objectives that training does not change, by name


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A measured design."""

    candidate: Candidate
    acc: float  # %
    time: float  # s to max accuracy


class GaussianProcess:
    """A Gaussian process over designs; its few parameters are those of the highest likelihood on a small grid."""

    def __init__(self, codes: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        self.codes = codes
        self.mean, self.scale = float(values.mean()), max(float(values.std()), SPREAD)
        y = (values - self.mean) / self.scale
        best = -math.inf
        distance = _distance(codes, codes)
        for length in LENGTHS:
            kernel = np.exp(-distance * length)
            for noise in NOISES:
                lower = cholesky(kernel + noise**2 * np.eye(len(y)), lower=True, check_finite=False)
                alpha = cho_solve((lower, True), y, check_finite=False)
                likelihood = -0.5 * float(y @ alpha) - float(np.log(np.diag(lower)).sum())
                if likelihood > best:
                    best, self.length, self.noise, self.lower, self.alpha = likelihood, length, noise, lower, alpha

    def predict(self, codes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(mean, standard deviation) of each design's true value."""
        cross = np.exp(-_distance(codes, self.codes) * self.length)
        solved = solve_triangular(self.lower, cross.T, lower=True, check_finite=False)
        variance = np.maximum(1.0 - (solved**2).sum(axis=0), 1e-6)
        return self.mean + self.scale * (cross @ self.alpha), self.scale * np.sqrt(variance)


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum over dimensions of how far designs differ: [len(a), len(b)]."""
    distance: NDArray[np.float64] = cdist(a, b, "cityblock")
    return distance


def features_of(point: DesignPoint) -> Features:
    """The dimensions of a design, those of its policy and schedule with them."""
    features: dict[str, float | str | bool] = {name: getattr(point, name) for name in PLAIN_DIMENSIONS}
    for dimension in ("lr_policy", "batch_schedule"):
        part = getattr(point, dimension)
        features[dimension] = part.name
        features |= {f"{dimension}.{f.name}": getattr(part, f.name) for f in fields(part)}
    return features


def encode(designs: Sequence[Features]) -> NDArray[np.float64]:
    """Designs as rows of numbers: of each text a column for each of its values (two that differ are 1 apart), numbers over their
    range, by their logarithm where they span a decade.
    """
    names = sorted({name for design in designs for name in design})
    columns: list[list[float]] = []
    for name in names:
        values = [design.get(name) for design in designs]
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values if v is not None):
            numbers = [float(v) for v in values if v is not None]
            low, high = min(numbers), max(numbers)
            logarithmic = low > 0 and high >= 10 * low
            scaled = [low if v is None else float(v) for v in values]
            if logarithmic:
                scaled, low, high = [math.log(v) for v in scaled], math.log(low), math.log(high)
            columns.append([(v - low) / ((high - low) or 1.0) for v in scaled])
        else:
            for kind in sorted({str(v) for v in values}):
                columns.append([0.5 * (str(v) == kind) for v in values])
    return np.array(columns, dtype=np.float64).T.reshape(len(designs), len(columns))


class Acquisition:
    """Chooses the next design from what has been measured."""

    def __init__(self, objectives: Sequence[Objective], seed: int) -> None:
        self.objectives = objectives
        self.generator = np.random.default_rng(seed)

    def choose(
        self, observations: Sequence[Observation], candidates: Sequence[Candidate], pending: Sequence[Candidate] = ()
    ) -> int:
        """The index of the candidate that promises the most; with fewer than two observations, the one that is least like what was
        begun, and of equals the cheapest. Designs that are `pending` are being trained, and are assumed to reach what the surrogate
        expects. Raises ValueError where there is no candidate.
        """
        if not candidates:
            raise ValueError("there is no design left to propose")
        if len(observations) < 2:
            begun = [*(o.candidate for o in observations), *pending]
            return min(range(len(candidates)), key=lambda k: self._novelty(begun, candidates[k]))
        if pending:
            error, share = self._expected(observations, pending)
            accuracies, shares = 100.0 + FLOOR - np.exp(error[0]), np.exp(share[0])
            expected = zip(pending, accuracies.tolist(), shares.tolist(), strict=True)
            assumed = [Observation(candidate=c, acc=acc, time=part * c.seconds) for c, acc, part in expected]
            observations = [*observations, *assumed]
        return self._most_promising(observations, candidates, *self._expected(observations, candidates))

    def _expected(self, observations: Sequence[Observation], designs: Sequence[Candidate]) -> tuple[Expected, Expected]:
        """(logarithm of the error that is left, logarithm of the share of the run) that designs are expected to reach."""
        latest = observations[-FITTED:]
        codes = encode([*(o.candidate.features for o in latest), *(d.features for d in designs)])
        here, there = codes[: len(latest)], codes[len(latest) :]
        error = GaussianProcess(here, np.log([100.0 - o.acc + FLOOR for o in latest]))
        share = GaussianProcess(here, np.log([max(1e-3, o.time / o.candidate.seconds) for o in latest]))
        return error.predict(there), share.predict(there)

    def _novelty(self, begun: Sequence[Candidate], candidate: Candidate) -> tuple[int, float]:
        """Orders the first designs: how many dimensions one has in common with what was begun, then its seconds."""
        alike = max((sum(candidate.features.get(k) == v for k, v in other.features.items()) for other in begun), default=0)
        return alike, candidate.seconds

    def _costs(self, designs: Sequence[Candidate], acc: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
        """Objectives to be minimized [..., N, K], of accuracies and shares of the run's time [..., N], by their logarithm: of accuracy,
        that of the error left, so that half the error is worth the same from 20 % as from 4 %.
        """
        epochs = np.array([float(c.epochs) for c in designs])
        share = np.maximum(share, 1 / epochs)  # no maximum is before the end of the first epoch
        values: dict[str, NDArray[np.float64]] = {
            "time": np.array([c.seconds for c in designs]) * share,
            "epochs": epochs * share,
        }
        columns = []
        for wanted in self._modeled():
            if wanted.name == "acc":
                columns.append(np.log(100.0 + FLOOR - acc))
                continue
            if wanted.name not in values:
                values[wanted.name] = np.broadcast_to(np.array([c.fixed[wanted.name] for c in designs]), acc.shape)
            columns.append(np.log(np.maximum(values[wanted.name], 1e-9)))
        return np.stack(columns, axis=-1)

    def _modeled(self) -> list[Objective]:
        """The objectives that the model speaks of: `time_to:ACC` depends on accuracy and time, and stands for both."""
        direct = [o for o in self.objectives if o.wanted_acc is None]
        if len(direct) < len(self.objectives):
            direct += [o for o in (OBJECTIVES["acc"], OBJECTIVES["time"]) if o not in direct]
        return direct

    def _most_promising(
        self,
        observations: Sequence[Observation],
        candidates: Sequence[Candidate],
        error: Expected,
        share: Expected,
    ) -> int:
        reached = np.array([o.acc for o in observations]), np.array([o.time / o.candidate.seconds for o in observations])
        measured = self._costs([o.candidate for o in observations], *reached)
        front = measured[nondominated(measured)]
        samples = self.generator.standard_normal((2, SAMPLES, len(candidates)))
        left = np.exp(np.minimum(error[0] + error[1] * samples[0], math.log(100.0)))
        outcomes = self._costs(candidates, 100.0 + FLOOR - left, np.exp(np.minimum(share[0] + share[1] * samples[1], 0.0)))
        every = np.concatenate([measured, outcomes.reshape(-1, outcomes.shape[2])])
        low, high = every.min(axis=0), every.max(axis=0)
        span = np.where(high > low, high - low, 1.0)
        scaled_front, scaled = (front - low) / span, (outcomes - low) / span  # [F, K], [SAMPLES, N, K]
        reference = [1.1] * scaled.shape[2]
        base = hypervolume(scaled_front, reference)
        best = scaled.min(axis=0)
        seconds = np.maximum([c.seconds for c in candidates], 1e-9)
        optimistic = [hypervolume(np.vstack([scaled_front, outcome]), reference) - base for outcome in best] / seconds
        order = np.argsort(-optimistic, kind="stable")[:SCREENED]
        gains = [self._gain(scaled_front, scaled[:, k], reference, base) / seconds[k] for k in order]
        return int(order[int(np.argmax(gains))])

    def _gain(
        self, front: NDArray[np.float64], outcomes: NDArray[np.float64], reference: Sequence[float], base: float
    ) -> float:
        """The mean over the samples of the hypervolume that an outcome adds."""
        total = 0.0
        for outcome in outcomes:
            if not (front <= outcome).all(axis=1).any():
                total += hypervolume(np.vstack([front, outcome]), reference) - base
        return total / len(outcomes)
