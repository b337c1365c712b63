"""The guided search: a surrogate of what designs reach, and the acquisition that says how much the next one promises.

Parameters and the seconds of every epoch are certain before a design is trained. The surrogate models the rest: the error that is
left (100 - accuracy) and the share of the run after which the maximum is reached, and in a study that measures `robust` the error on
affine copies, too: all as logarithms, each by a Gaussian process over the design's dimensions. The acquisition is the expected gain of
hypervolume for the root of the seconds of training, over the front of what the surrogate takes the measured designs to be, which the
noise of single seeds blurs less than the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fastrcaps_dse.analysis.pareto import nondominated
from fastrcaps_dse.problem.objectives import OBJECTIVES, Measurement, Objective
from fastrcaps_dse.problem.quantities import PERCENT
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.search.encoding import Encoder, Features, encode, encoder_of, features_of
from fastrcaps_dse.search.history import FinishedTrial
from fastrcaps_dse.search.improvement import Outcomes, boxes, expected_gain
from fastrcaps_dse.search.surrogate import GaussianProcess, Kernel, fit_kernel, prior_kernel

__all__ = ["FLOOR", "Acquisition", "Candidate", "Observation", "encode", "features_of", "most_promising"]

Matrix = NDArray[np.float64]

MODELED = 300  # measured designs that a surrogate knows at most
FITTED = 120  # designs that its kernel is fitted to at most
GROWTH = 1.15  # the kernel is fitted again whenever there are so many times as many designs
THRIFT = 0.5  # power of the seconds by which a gain is divided: 1 puts off long runs for too long, 0 spends too much on them
FLOOR = 0.05  # % of error: keeps the logarithm finite
MARGIN = 0.1  # of the reference point beyond what there may be to gain, in ranges of it


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A design that may be proposed."""

    point: DesignPoint | None = None
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
    robust: float | None = None  # %, on affine copies; None in a study that does not measure it

    @property
    def logs(self) -> tuple[float, ...]:
        """The logarithms of the error that is left, of the share of the run and, if it is measured, of the error on affine copies."""
        copies = () if self.robust is None else (log_error(self.robust),)
        return log_error(self.acc), math.log(max(1e-3, self.time / self.candidate.seconds)), *copies


def log_error(accuracy: float) -> float:
    """The logarithm of the error that an accuracy (%) leaves."""
    return math.log(100.0 - accuracy + FLOOR)


def accuracy_of(log: float) -> float:
    """The accuracy (%) that leaves an error with this logarithm: the inverse of `log_error`, within 0 and 100."""
    return 100.0 + FLOOR - min(100.0, math.exp(log))


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What designs are expected to reach: normal in the logarithms of the errors and of the share of the run. All [N]."""

    error: Matrix
    error_deviation: Matrix
    share: Matrix
    share_deviation: Matrix
    robust: Matrix | None = None  # of the error on affine copies; None where it is not measured
    robust_deviation: Matrix | None = None

    def of_error(self, objective: str) -> tuple[Matrix, Matrix]:
        """(mean, deviation) of the error of `acc` or `robust`."""
        if objective == "acc":
            return self.error, self.error_deviation
        assert self.robust is not None and self.robust_deviation is not None  # its study measures it
        return self.robust, self.robust_deviation


def last_fit(count: int) -> int:
    """To how many of `count` designs the kernel is fitted, the first ones: to all of a few, and of many seldom to more."""
    found = 2
    while (after := max(found + 1, math.floor(found * GROWTH))) <= count:
        found = after
    return min(found, count)


@dataclass(kw_only=True)
class Kernels:
    """The kernels of what is modeled. What is kept saves time only: the same designs always give the same kernels."""

    kept: dict[tuple[bytes, bytes], tuple[Kernel, ...]] = field(default_factory=dict)

    def fitted(self, codes: Matrix, values: Matrix, dimensions: Sequence[int]) -> tuple[Kernel, ...]:
        """The kernels for these designs [N, columns], one for each of their values [N, 2 or 3]."""
        key = codes.tobytes(), values.tobytes()
        if key not in self.kept:
            start = prior_kernel(dimensions)
            self.kept = {key: tuple(fit_kernel(codes, column, start) for column in values.T)}
        return self.kept[key]


def _encoded(observations: Sequence[Observation], encoder: Encoder) -> tuple[Matrix, Matrix]:
    """(codes [N, columns], the values that are modeled [N, 2 or 3]) of measured designs."""
    return encoder.encode([o.candidate.features for o in observations]), np.array([o.logs for o in observations])


class Surrogate:
    """What the measured designs say of others."""

    def __init__(
        self, observations: Sequence[Observation], encoder: Encoder, kernels: Kernels, fitting: Sequence[Observation]
    ) -> None:
        """The kernels are fitted to the designs of `fitting`, which may be others."""
        self.encoder = encoder
        self.observations = observations
        fitted = kernels.fitted(*_encoded(fitting, encoder), encoder.dimensions)
        codes, values = _encoded(observations, encoder)
        self.error, self.share, *others = (GaussianProcess(codes, values[:, k], kernel) for k, kernel in enumerate(fitted))
        self.robust = others[0] if others else None

    def predict(self, designs: Sequence[Candidate]) -> Prediction:
        """What designs are expected to reach, with a seed's noise left out."""
        codes = self.encoder.encode([design.features for design in designs])
        error, share = self.error.predict(codes), self.share.predict(codes)
        robust = (None, None) if self.robust is None else self.robust.predict(codes)
        return Prediction(
            error=error[0],
            error_deviation=error[1],
            share=share[0],
            share_deviation=share[1],
            robust=robust[0],
            robust_deviation=robust[1],
        )


class Acquisition:
    """How much designs promise, beside what has been measured."""

    def __init__(self, objectives: Sequence[Objective], surrogate: Surrogate, some: Sequence[Candidate]) -> None:
        """`some` designs from all over the space say how far there may be something to gain beyond what is measured."""
        self.objectives = modeled(objectives)
        self.surrogate = surrogate
        costs = self.outcomes([o.candidate for o in surrogate.observations]).mean
        self.members = np.flatnonzero(nondominated(costs))  # of the observations, those on the front
        front, there = costs[self.members], self.outcomes(some).mean
        self.low = np.minimum(front.min(axis=0), there.min(axis=0))
        reach = np.array(
            [np.median(c) if o.name in PERCENT else c.max() for o, c in zip(self.objectives, there.T, strict=True)]
        )
        span = np.maximum(front.max(axis=0), reach) - self.low
        self.span = np.where(span > 1e-9, span, 1.0)
        self.reference = np.full(len(span), 1.0 + MARGIN)
        self.front = (front - self.low) / self.span
        self.dominated = boxes(self.front, self.reference)

    def outcomes(self, designs: Sequence[Candidate]) -> Outcomes:
        """What designs are expected to reach as costs by their logarithm, [N, K]: of accuracy, that of the error left, so that half the
        error is worth the same from 20 % as from 4 %.
        """
        expected = self.surrogate.predict(designs)
        epochs = np.log([float(d.epochs) for d in designs])
        nothing = np.zeros(len(designs))
        columns: list[tuple[Matrix, Matrix, Matrix, Matrix]] = []
        for wanted in self.objectives:
            if wanted.name in PERCENT:
                bounds = np.full(len(designs), log_error(100.0)), np.full(len(designs), log_error(0.0))
                error, deviation = expected.of_error(wanted.name)
                columns.append((np.clip(error, *bounds), deviation, *bounds))
            elif wanted.name in ("time", "epochs"):
                whole = epochs if wanted.name == "epochs" else np.log(np.maximum([d.seconds for d in designs], 1e-9))
                least = whole - epochs  # no maximum is before the end of the first epoch
                columns.append((np.clip(whole + expected.share, least, whole), expected.share_deviation, least, whole))
            else:
                value = np.log(np.maximum([d.fixed[wanted.name] for d in designs], 1e-9))
                columns.append((value, nothing, value - 1.0, value + 1.0))
        mean, deviation, least, most = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True))
        return Outcomes(mean=mean, deviation=deviation, least=least, most=most)

    def scaled_outcomes(self, designs: Sequence[Candidate]) -> Outcomes:
        """The same in units of the range of each cost."""
        found = self.outcomes(designs)
        return Outcomes(
            mean=(found.mean - self.low) / self.span,
            deviation=found.deviation / self.span,
            least=(found.least - self.low) / self.span,
            most=(found.most - self.low) / self.span,
        )

    def gains(self, designs: Sequence[Candidate]) -> Matrix:
        """The hypervolume that each design is expected to add, in units of the range of each cost."""
        return expected_gain(self.dominated, self.reference, self.scaled_outcomes(designs))

    def promises(self, designs: Sequence[Candidate]) -> Matrix:
        """The same for the training that it takes."""
        found: Matrix = self.gains(designs) / np.maximum([design.seconds for design in designs], 1e-9) ** THRIFT
        return found


def modeled(objectives: Sequence[Objective]) -> list[Objective]:
    """The objectives that the surrogate speaks of: `time_to:ACC` depends on accuracy and time, and stands for both."""
    direct = [o for o in objectives if o.wanted_acc is None]
    if len(direct) < len(objectives):
        direct += [o for o in (OBJECTIVES["acc"], OBJECTIVES["time"]) if o not in direct]
    return direct


def informative(
    trials: Sequence[FinishedTrial], objectives: Sequence[Objective], most: int = MODELED
) -> Sequence[FinishedTrial]:
    """Those of many measured trials that a surrogate is to know, in their order: half of them nearest to the front, half spread evenly."""
    if len(trials) <= most:
        return trials
    costs = np.array([_measured_costs(trial.measurement, objectives) for trial in trials if trial.measurement is not None])
    costs = (costs - costs.min(axis=0)) / np.maximum(np.ptp(costs, axis=0), 1e-9)
    front = costs[nondominated(costs)]
    behind = np.min(np.max(costs[:, None, :] - front[None, :, :], axis=2), axis=1)  # how far each is from it, 0 for members
    near = np.argsort(behind, kind="stable")[: most // 2]
    rest = np.setdiff1d(np.arange(len(trials)), near)
    spread = rest[np.linspace(0, len(rest) - 1, most - len(near)).astype(int)]
    return [trials[k] for k in sorted({*near.tolist(), *spread.tolist()})]


def _measured_costs(measured: Measurement, objectives: Sequence[Objective]) -> list[float]:
    return [
        log_error(measured[o.name]) if o.name in PERCENT else math.log(max(measured[o.name], 1e-9)) for o in modeled(objectives)
    ]


def novelty(begun: Sequence[Candidate], candidate: Candidate) -> tuple[int, float]:
    """Orders the first designs, before there is anything to fit: how many dimensions one has in common with what was begun, its seconds."""
    alike = max((sum(candidate.features.get(k) == v for k, v in other.features.items()) for other in begun), default=0)
    return alike, candidate.seconds


def surrogate_of(
    observations: Sequence[Observation],
    encoder: Encoder,
    kernels: Kernels,
    pending: Sequence[Candidate] = (),
    fitting: Sequence[Observation] | None = None,
) -> Surrogate:
    """The surrogate of measured designs; designs that are `pending` are being trained, and are assumed to reach what it expects.

    The kernels are fitted to the designs of `fitting`, by default to all but the latest.
    """
    fitted = observations[: last_fit(len(observations))] if fitting is None else fitting
    found = Surrogate(observations, encoder, kernels, fitted)
    if not pending:
        return found
    expected = found.predict(pending)
    copies = [None] * len(pending) if expected.robust is None else [accuracy_of(log) for log in expected.robust.tolist()]
    assumed = [
        Observation(candidate=design, acc=accuracy_of(error), time=min(1.0, math.exp(share)) * design.seconds, robust=robust)
        for design, error, share, robust in zip(pending, expected.error.tolist(), expected.share.tolist(), copies, strict=True)
    ]
    return Surrogate([*observations, *assumed], encoder, kernels, fitted)


def most_promising(
    objectives: Sequence[Objective],
    observations: Sequence[Observation],
    candidates: Sequence[Candidate],
    pending: Sequence[Candidate] = (),
) -> int:
    """The index of the candidate that promises the most; with fewer than two observations, the one that is least like what was
    begun, and of equals the cheapest. Raises ValueError where there is no candidate.
    """
    if not candidates:
        raise ValueError("there is no design left to propose")
    if len(observations) < 2:
        begun = [*(o.candidate for o in observations), *pending]
        return min(range(len(candidates)), key=lambda k: novelty(begun, candidates[k]))
    encoder = encoder_of([*(o.candidate.features for o in observations), *(c.features for c in candidates)])
    acquisition = Acquisition(objectives, surrogate_of(observations, encoder, Kernels(), pending), candidates)
    return int(np.argmax(acquisition.promises(candidates)))
