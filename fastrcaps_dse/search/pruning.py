"""Early stopping for several objectives, of which time is one: whether any future of a run can still enter the front.

While a run goes on, what it weighs is known; its accuracy can only rise; its time to max accuracy is right-censored: every
later rise costs more time. So a run has two kinds of futures: its accuracy stays, and it is measured at the epoch of its
maximum; or it rises in a later epoch, no sooner than the next. Where designs that are measured already dominate all of them, the
run is stopped, and what it has reached is kept as a censored measurement. Where its accuracy does not rise in any future, its
maximum has settled: the rest of the run would measure nothing else, and is spared.

How far accuracy may rise is bounded by 100 % (`safe`: nothing is lost), or by what finished runs did (`on`): the error that was
left at an epoch, as a share of that at this epoch, at a stated confidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastrcaps_dse.analysis.pareto import dominates
from fastrcaps_dse.problem.objectives import Objective, costs_of, selected_epoch, time_to
from fastrcaps_dse.problem.study_spec import Pruning

CONFIDENCE = 0.95
ENOUGH = 5  # finished runs, before their curves say anything


@dataclass(frozen=True, kw_only=True)
class Course:
    """A run under way: what is known of it after some epochs."""

    policy: str  # kind of learning-rate policy: curves of one kind are alike
    known: Mapping[str, float]  # objectives that training does not change, by name
    seconds: tuple[float, ...]  # that each epoch of the whole run adds to its time
    accuracies: tuple[float, ...]  # %, of the epochs so far

    @property
    def best_epoch(self) -> int:
        return selected_epoch(self.accuracies)

    def outcome(self, epoch: int, accuracy: float) -> dict[str, float]:
        """The objectives if the maximum is this accuracy, first reached in this epoch."""
        time = math.fsum(self.seconds[:epoch])
        return {**self.known, "acc": accuracy, "time": time, "epochs": float(epoch)}

    def time_to(self, wanted: float, epoch: int, accuracy: float) -> float:
        """`time_to:wanted` if, beyond what is known, this epoch reaches this accuracy."""
        curve = list(self.accuracies)
        if epoch > len(curve):
            curve += [0.0] * (epoch - len(curve) - 1) + [accuracy]
        return time_to(wanted, curve, self.seconds[: len(curve)])


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A whole run: its kind of policy, and its accuracy after each epoch."""

    policy: str
    accuracies: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Why a run should stop."""

    reason: str
    settled: bool  # its maximum is: what it has reached is its measurement; else that is censored


def cost_of(course: Course, objectives: Sequence[Objective], epoch: int, accuracy: float) -> tuple[float, ...]:
    """An outcome as costs of the study's objectives."""
    values = course.outcome(epoch, accuracy)
    for wanted in objectives:
        if wanted.wanted_acc is not None:
            values[wanted.name] = course.time_to(wanted.wanted_acc, epoch, accuracy)
    return costs_of(objectives, values)


def judge(
    course: Course,
    objectives: Sequence[Objective],
    front: Sequence[Sequence[float]],
    finished: Sequence[Finished],
    mode: Pruning,
    confidence: float = CONFIDENCE,
) -> Stop | None:
    """Whether a run should stop after the epochs so far; None where it should go on. `front` holds costs of measured designs."""
    done, whole = len(course.accuracies), len(course.seconds)
    if mode == "off" or not 0 < done < whole:
        return None
    best = max(course.accuracies)
    if best >= 100:
        return Stop(reason="its accuracy cannot rise further", settled=True)
    safe = mode == "safe"
    # 100 % in the next epoch is at least as good as all that may follow
    rises = {done + 1: 100.0} if safe else {e: highest(course, e, finished, confidence) for e in range(done + 1, whole + 1)}
    if rises[max(rises)] <= best:
        return Stop(reason=f"its maximum has settled: no later rise is plausible ({confidence:.0%})", settled=True)
    futures = {course.best_epoch: best} | rises
    for epoch, accuracy in futures.items():
        if not any(dominates(member, cost_of(course, objectives, epoch, accuracy)) for member in front):
            return None
    told = (
        "dominated, whatever its training gives" if safe else f"no future that is plausible ({confidence:.0%}) enters the front"
    )
    return Stop(reason=told, settled=False)


def highest(course: Course, epoch: int, finished: Sequence[Finished], confidence: float = CONFIDENCE) -> float:
    """The highest accuracy (%) that a run plausibly has by an epoch: an upper bound from the curves of finished runs.

    Of each, the error left by that epoch as a share of the error now. The bound is the share that, by its rank among n + 1, a
    further run undercuts with a probability of at most 1 - confidence: of runs of the same kind of policy where there are enough
    for that (19 for 95 %), else of all. While all are fewer, the logarithm of the error is taken to fall by an exponentially
    distributed amount, that of one run more by a factor of 2; the bound is the quantile of the next, and no less than the least.
    """
    done = len(course.accuracies)
    runs = [run for run in finished if len(run.accuracies) >= epoch]
    if len(runs) < ENOUGH:
        return 100.0
    alike = [run for run in runs if run.policy == course.policy]
    if _rank(len(alike), confidence):
        runs = alike
    shares = sorted(_share(run.accuracies, done, epoch) for run in runs)
    rank = _rank(len(shares), confidence)
    share = shares[rank - 1] if rank else min(shares[0], math.exp(-_next_fall([-math.log(s) for s in shares], confidence)))
    return 100.0 - (100.0 - max(course.accuracies)) * share


def _rank(count: int, confidence: float) -> int:
    """The rank, counted from 1, of the least of `count` values that one more undercuts with 1 - confidence; 0 where there are too few."""
    return math.floor((1 - confidence) * (count + 1) + 1e-9)


def _next_fall(falls: Sequence[float], confidence: float) -> float:
    """What the next of exponentially distributed values exceeds with a probability of 1 - confidence."""
    count = len(falls) + 1
    return (math.fsum(falls) + math.log(2)) * (math.pow(1 - confidence, -1 / count) - 1)


def _share(accuracies: Sequence[float], now: int, then: int) -> float:
    """The error left after `then` epochs as a share of that after `now`."""
    error = 100.0 - max(accuracies[:now])
    return max(1e-6, (100.0 - max(accuracies[:then])) / error) if error > 0 else 1.0
