"""Pruning for several objectives, one of which is time: may any future of a run still enter the front?

While a run goes on, its size is certain, its accuracy can only rise, and its time to max accuracy is right-censored: every later
rise costs more time. So a run has two kinds of futures. Either its accuracy stays, and it is measured at the epoch of its
maximum; or it rises in a later epoch, the next one at the earliest. Where measured designs already dominate all of these, the run is
pruned, and what it has reached is kept as a censored measurement. Where its accuracy rises in no future, its maximum is final: the
rest of the run would measure nothing else, and is spared.

How far accuracy may rise is bounded by 100 % (`safe`: nothing is lost), or by what finished runs did (`on`): the error that was
left at an epoch, as a share of the error now, at a stated confidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastrcaps_dse.analysis.pareto import dominates
from fastrcaps_dse.problem.objectives import Objective, costs_of, selected_epoch, time_to
from fastrcaps_dse.problem.quantities import ROBUST
from fastrcaps_dse.problem.study_spec import Pruning

CONFIDENCE = 0.95
ENOUGH = 5  # finished runs, before their curves say anything


@dataclass(frozen=True, kw_only=True)
class PartialRun:
    """A run under way, after some of its epochs."""

    policy: str  # kind of learning-rate policy: curves of one kind are alike
    fixed: Mapping[str, float]  # objectives that training does not change, by name
    seconds: tuple[float, ...]  # that each epoch of the whole run adds to its time
    accuracies: tuple[float, ...]  # %, of the epochs so far

    @property
    def best_epoch(self) -> int:
        """The first epoch of the highest accuracy, counted from 1."""
        return selected_epoch(self.accuracies)

    def outcome(self, epoch: int, accuracy: float) -> dict[str, float]:
        """The objectives if the maximum is this accuracy, first reached in this epoch."""
        time = math.fsum(self.seconds[:epoch])
        at_most = {ROBUST: 100.0}  # it is measured at the end alone, and no accuracy bounds it
        return {**self.fixed, **at_most, "acc": accuracy, "time": time, "epochs": float(epoch)}

    def time_to(self, wanted: float, epoch: int, accuracy: float) -> float:
        """`time_to:wanted` if, after the epochs so far, this epoch reaches this accuracy."""
        curve = list(self.accuracies)
        if epoch > len(curve):
            curve += [0.0] * (epoch - len(curve) - 1) + [accuracy]
        return time_to(wanted, curve, self.seconds[: len(curve)])


@dataclass(frozen=True, kw_only=True)
class FinishedCurve:
    """A whole run: its kind of policy, and its accuracy after each epoch."""

    policy: str
    accuracies: tuple[float, ...]  # %


@dataclass(frozen=True, kw_only=True)
class Prune:
    """The decision to end a run."""

    reason: str
    censored: (
        bool  # the run might have reached more; otherwise its maximum is final, and what it has reached is its measurement
    )


def cost_of(run: PartialRun, objectives: Sequence[Objective], epoch: int, accuracy: float) -> tuple[float, ...]:
    """An outcome as costs of the study's objectives."""
    values = run.outcome(epoch, accuracy)
    for wanted in objectives:
        if wanted.wanted_acc is not None:
            values[wanted.name] = run.time_to(wanted.wanted_acc, epoch, accuracy)
    return costs_of(objectives, values)


def decide(
    run: PartialRun,
    objectives: Sequence[Objective],
    front: Sequence[Sequence[float]],
    finished: Sequence[FinishedCurve],
    mode: Pruning,
    confidence: float = CONFIDENCE,
) -> Prune | None:
    """Whether a run should end after the epochs so far; None where it should go on.

    `front` holds the costs of measured designs, `finished` the curves of whole runs.
    """
    done, whole = len(run.accuracies), len(run.seconds)
    if mode == "off" or not 0 < done < whole:
        return None
    best = max(run.accuracies)
    if best >= 100:
        return Prune(reason="its accuracy cannot rise further", censored=False)
    safe = mode == "safe"
    # 100 % in the next epoch is at least as good as all that may follow
    rises = {done + 1: 100.0} if safe else {e: accuracy_bound(run, e, finished, confidence) for e in range(done + 1, whole + 1)}
    if rises[max(rises)] <= best:
        return Prune(reason=f"its maximum is final: no later rise is plausible ({confidence:.0%})", censored=False)
    futures = {run.best_epoch: best} | rises
    for epoch, accuracy in futures.items():
        if not any(dominates(member, cost_of(run, objectives, epoch, accuracy)) for member in front):
            return None
    reason = "dominated, whatever it reaches" if safe else f"no plausible future ({confidence:.0%}) enters the front"
    return Prune(reason=reason, censored=True)


def accuracy_bound(run: PartialRun, epoch: int, finished: Sequence[FinishedCurve], confidence: float = CONFIDENCE) -> float:
    """The highest accuracy (%) that a run plausibly has by an epoch: an upper bound from the curves of finished runs.

    Each curve gives the error that is left by that epoch, as a share of the error now. The bound is the share that a further run
    undercuts with a probability of at most 1 - confidence, by its rank among n + 1. It is taken from the runs with the same kind of
    policy if they are enough for that (19 for 95 %), else from all runs. If even those are too few, the logarithm of the error is
    assumed to fall by an exponentially distributed amount, with one further run that falls by a factor of 2; the bound is the quantile
    of the next run, but at most the smallest share seen.
    """
    done = len(run.accuracies)
    curves = [curve for curve in finished if len(curve.accuracies) >= epoch]
    if len(curves) < ENOUGH:
        return 100.0
    alike = [curve for curve in curves if curve.policy == run.policy]
    if _rank(len(alike), confidence):
        curves = alike
    shares = sorted(_share(curve.accuracies, done, epoch) for curve in curves)
    rank = _rank(len(shares), confidence)
    share = shares[rank - 1] if rank else min(shares[0], math.exp(-_next_fall([-math.log(s) for s in shares], confidence)))
    return 100.0 - (100.0 - max(run.accuracies)) * share


def _rank(count: int, confidence: float) -> int:
    """The rank, counted from 1, of the value that a further one undercuts with probability 1 - confidence; 0 for too few values."""
    return math.floor((1 - confidence) * (count + 1) + 1e-9)


def _next_fall(falls: Sequence[float], confidence: float) -> float:
    """What the next of exponentially distributed values exceeds with a probability of 1 - confidence."""
    count = len(falls) + 1
    return (math.fsum(falls) + math.log(2)) * (math.pow(1 - confidence, -1 / count) - 1)


def _share(accuracies: Sequence[float], now: int, then: int) -> float:
    """The error left after `then` epochs as a share of that after `now`."""
    error = 100.0 - max(accuracies[:now])
    return max(1e-6, (100.0 - max(accuracies[:then])) / error) if error > 0 else 1.0
