"""What more training promises: the expected gain of the next hour, by which one sees whether a search is done.

The designs that the guided search would train next are chosen one after the other, each as if those before had reached what the surrogate
expects, until their seconds are spent. What they add is the mean over samples of the surrogate, of all of them together: designs that are
alike do not add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastrcaps_dse.analysis.pareto import hypervolume, nondominated
from fastrcaps_dse.problem.quantities import PERCENT, ROBUST, counted, format_seconds
from fastrcaps_dse.search.guided import FLOOR, THRIFT, Acquisition, Candidate, Matrix
from fastrcaps_dse.search.improvement import boxes, expected_gain
from fastrcaps_dse.search.surrogate import GaussianProcess

HOUR = 3600.0  # s
SAMPLES = 64  # of the surrogate
MOST = 40  # designs of a simulated hour; of more, the gain is that of the first ones
MARGIN = 0.1  # of the reference point, as the page has it, in ranges of what is measured


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What the next seconds of training are expected to give."""

    seconds: float  # of training
    designs: int  # that are expected to be trained
    gain: float  # of the hypervolume, as a share of what it is
    accuracy: float | None  # points, of the most accurate design, by designs that are no larger; None where it is no objective
    has_size: bool  # parameters are an objective

    @property
    def text(self) -> str:
        """The same in words."""
        if not self.designs:
            return f"another {_named(self.seconds)} of training has no design to add"
        volume = f"about {100 * self.gain:.2g} % of the hypervolume"
        size = " at the same size" if self.has_size else ""
        points = "" if self.accuracy is None else f" and {self.accuracy:+.2f} points of accuracy{size}"
        return f"another {_named(self.seconds)} of training is expected to gain {volume}{points}, with {counted(self.designs, 'design')}"


def _named(seconds: float) -> str:
    return "hour" if seconds == HOUR else format_seconds(seconds)


def outlook(acquisition: Acquisition, candidates: Sequence[Candidate], seconds: float = HOUR, seed: int = 0) -> Outlook:
    """What the next `seconds` of training are expected to give, of these candidates."""
    plan = planned(acquisition, candidates, seconds)
    names = [o.name for o in acquisition.objectives]
    empty = Outlook(seconds=seconds, designs=0, gain=0.0, accuracy=0.0 if "acc" in names else None, has_size="params" in names)
    if not plan:
        return empty
    measured = _plain(acquisition, acquisition.outcomes([o.candidate for o in acquisition.surrogate.observations]).mean)
    samples = _plain(acquisition, _sampled(acquisition, plan, np.random.default_rng(seed)))  # [SAMPLES, N, K]
    low, high = measured.min(axis=0), measured.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    front, reference = (measured[nondominated(measured)] - low) / span, [1.0 + MARGIN] * len(span)
    base = hypervolume(front, reference)
    volumes = [hypervolume(np.vstack([front, (sample - low) / span]), reference) for sample in samples]
    return Outlook(
        seconds=seconds,
        designs=len(plan),
        gain=float(np.mean(volumes)) / base - 1.0,
        accuracy=_accuracy(names, measured, samples) if "acc" in names else None,
        has_size="params" in names,
    )


def planned(acquisition: Acquisition, candidates: Sequence[Candidate], seconds: float) -> list[Candidate]:
    """The candidates that would be trained next, one after the other, until the seconds are spent."""
    left, plan, chosen = seconds, list[Candidate](), np.zeros(len(candidates), dtype=bool)
    if not candidates:
        return plan
    cost = np.maximum([design.seconds for design in candidates], 1e-9)
    outcomes = acquisition.scaled_outcomes(candidates)
    front = acquisition.front
    while len(plan) < MOST:
        gains = expected_gain(boxes(front, acquisition.reference), acquisition.reference, outcomes)
        worth = np.where(chosen | (cost > left), -1.0, gains / cost**THRIFT)
        best = int(np.argmax(worth))
        if worth[best] <= 0:
            break
        chosen[best] = True
        left -= float(cost[best])
        plan.append(candidates[best])
        front = np.vstack([front, outcomes.mean[best]])
        front = front[nondominated(front)]
    return plan


def _sampled(acquisition: Acquisition, plan: Sequence[Candidate], generator: np.random.Generator) -> Matrix:
    """Costs by their logarithm of all designs together, [SAMPLES, N, K]."""
    surrogate = acquisition.surrogate
    codes = surrogate.encoder.encode([design.features for design in plan])
    outcomes = acquisition.outcomes(plan)
    moved = {"acc": _deviations(surrogate.error, codes, generator)}
    moved["time"] = moved["epochs"] = _deviations(surrogate.share, codes, generator)
    if surrogate.robust is not None:
        moved[ROBUST] = _deviations(surrogate.robust, codes, generator)
    columns = []
    for k, wanted in enumerate(acquisition.objectives):
        sampled = outcomes.mean[:, k] + moved.get(wanted.name, np.zeros((SAMPLES, len(plan))))
        columns.append(np.clip(sampled, outcomes.least[:, k], outcomes.most[:, k]))
    return np.stack(columns, axis=-1)


def _deviations(model: GaussianProcess, codes: Matrix, generator: np.random.Generator) -> Matrix:
    """Samples of how far designs are from their mean, together: [SAMPLES, N]."""
    values, vectors = np.linalg.eigh(model.joint(codes)[1])
    found: Matrix = generator.standard_normal((SAMPLES, len(codes))) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    return found


def _plain(acquisition: Acquisition, logs: Matrix) -> Matrix:
    """Costs as the page scales them: the error as it is, all else by its logarithm."""
    found = logs.copy()
    for k, wanted in enumerate(acquisition.objectives):
        if wanted.name in PERCENT:
            found[..., k] = np.exp(logs[..., k]) - FLOOR
    return found


def _accuracy(names: Sequence[str], measured: Matrix, samples: Matrix) -> float:
    """Points by which the most accurate design is expected to be beaten, by designs that have no more parameters."""
    error = names.index("acc")
    best = int(np.argmin(measured[:, error]))
    errors = samples[:, :, error]
    if "params" in names:
        size = names.index("params")
        errors = np.where(samples[:, :, size] <= measured[best, size] + 1e-9, errors, math.inf)
    return float(np.maximum(measured[best, error] - errors.min(axis=1), 0.0).mean())
