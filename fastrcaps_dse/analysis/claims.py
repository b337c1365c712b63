"""The paper's claims that runs can check, as data: what each says, the designs that it needs, and its statistic for each seed.

A statistic is positive where a pair of runs is in favor of the claim. What the paper says follows from its tables (`published`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fastrcaps_dse.analysis.paired import Difference
from fastrcaps_dse.analysis.published import Stated

Unit = Literal["points", "epochs", "% more", "% less"]
"""Of an effect: percentage points of accuracy; epochs; by how many percent a quantity grows or falls (a mean ratio)."""
MOST_ACCURACY_LOSS = 0.3  # points that weight sharing may lose, by the paper
PARAMETERS_SAVED = 18.0  # %, by the paper, which rounds


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run reached, as one way to select the epoch has it."""

    seed: int
    acc: float  # %, on the test set at the selected epoch
    epoch: int  # the selected one, the first of the highest accuracy
    curve: Sequence[float]  # %, the accuracies that select it, by epoch
    seconds: Sequence[float]  # of training up to the end of each epoch
    params: float

    @property
    def time(self) -> float:
        """Seconds of training up to the end of the selected epoch."""
        return self.seconds[self.epoch - 1]

    def first_reaches(self, acc: float) -> int | None:
        """The first epoch after which the accuracy that selects is at least `acc`; None if there is none."""
        return next((number for number, reached in enumerate(self.curve, start=1) if reached >= acc), None)


Statistic = Callable[[Outcome, Outcome], Difference]
"""Of the run of the first design that a claim needs, and the one of the second with the same seed."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the paper. A statistic above `margin` is in favor of it."""

    name: str
    text: str
    designs: tuple[str, str]  # names: the one that the claim is about, then the one that it is compared with
    unit: Unit
    statistic: Statistic | None  # None for what is certain: the number of parameters
    margin: float = 0.0  # in the unit of the statistic
    paper: Mapping[str, Stated]  # by data set

    def in_unit(self, value: float) -> float:
        """A mean statistic, or an end of its interval, in the unit of the claim: ratios are averaged as logarithms."""
        match self.unit:
            case "% more":
                return 100 * math.expm1(value)
            case "% less":
                return -100 * math.expm1(-value)
            case _:
                return value


def more_accurate(a: Outcome, b: Outcome) -> Difference:
    """By how many points `a` is more accurate."""
    return Difference(seed=a.seed, value=a.acc - b.acc)


def fewer_epochs(a: Outcome, b: Outcome) -> Difference:
    """By how many epochs `a` has its highest accuracy earlier."""
    return Difference(seed=a.seed, value=float(b.epoch - a.epoch))


def reached_earlier(a: Outcome, b: Outcome) -> Difference:
    """By how many epochs `a` reaches the highest accuracy of `b` earlier than `b`.

    If it never does, it would need one epoch more than its run has, or still more: the difference is censored.
    """
    reached = a.first_reaches(b.curve[b.epoch - 1])
    return Difference(seed=a.seed, value=float(b.epoch - (reached or len(a.curve) + 1)), at_most=reached is None)


def longer_time(a: Outcome, b: Outcome) -> Difference:
    """The logarithm of how many times as long `a` trains up to its highest accuracy."""
    return Difference(seed=a.seed, value=math.log(a.time / b.time))


def epochs_saved(a: Outcome, b: Outcome) -> Difference:
    """The logarithm of how many times as many epochs `b` needs as `a` for the highest accuracy of `b`."""
    reached = a.first_reaches(b.curve[b.epoch - 1])
    return Difference(seed=a.seed, value=math.log(b.epoch / (reached or len(a.curve) + 1)), at_most=reached is None)


def seconds_saved(a: Outcome, b: Outcome) -> Difference:
    """The logarithm of how many times as long `b` trains as `a` for the highest accuracy of `b`."""
    reached = a.first_reaches(b.curve[b.epoch - 1])
    spent = a.seconds[reached - 1] if reached else a.seconds[-1]
    return Difference(seed=a.seed, value=math.log(b.time / spent), at_most=reached is None)


NOT_GIVEN = Stated(text="not given")

CLAIMS: tuple[Claim, ...] = (
    Claim(
        name="wab-accuracy",
        text="WarmAdaBatch is more accurate than Fixed",
        designs=("wab", "fixed"),
        unit="points",
        statistic=more_accurate,
        paper={
            "mnist": Stated(text="99.45 against 99.37 %", effect=0.08, remark="its text says 0.088"),
            "fashion-mnist": Stated(text="91.47 against 90.99 %", effect=0.48),
        },
    ),
    Claim(
        name="wab-epochs",
        text="WarmAdaBatch needs fewer epochs to its highest accuracy than Fixed",
        designs=("wab", "fixed"),
        unit="epochs",
        statistic=fewer_epochs,
        paper={
            "mnist": Stated(text="epoch 8 against 29", effect=21.0),
            "fashion-mnist": Stated(text="epoch 27 against 17", effect=-10.0, remark="its own table says the opposite"),
        },
    ),
    Claim(
        name="warm-restarts-earlier",
        text="Warm restarts reach Fixed's highest accuracy earlier than Fixed",
        designs=("warm-restarts", "fixed"),
        unit="epochs",
        statistic=reached_earlier,
        paper={
            "mnist": Stated(text="epoch 6 against 29", effect=23.0, remark="its 79.31 % less time is 1 - 6/29 epochs"),
            "fashion-mnist": NOT_GIVEN,
        },
    ),
    Claim(
        name="adabatch-time",
        text="AdaBatch alone trains longer to its highest accuracy than Fixed",
        designs=("adabatch", "fixed"),
        unit="% more",
        statistic=longer_time,
        paper={
            "mnist": Stated(text="1,505 against 1,421 s, by its seconds of an epoch", effect=100 * (1505 / 1421 - 1)),
            "fashion-mnist": Stated(text="2,436 against 833 s, by its seconds of an epoch", effect=100 * (2436 / 833 - 1)),
        },
    ),
    Claim(
        name="ws-parameters",
        text="Weight sharing with the small decoder saves 18 % of the parameters",
        designs=("ws", "fixed"),
        unit="% less",
        statistic=None,
        margin=PARAMETERS_SAVED,
        paper=dict.fromkeys(("mnist", "fashion-mnist"), Stated(text="6.7 M against 8.2 M", effect=18.0)),
    ),
    Claim(
        name="ws-accuracy",
        text="Weight sharing with the small decoder loses less than 0.3 points of accuracy",
        designs=("ws", "fixed"),
        unit="points",
        statistic=more_accurate,
        margin=-MOST_ACCURACY_LOSS,
        paper={
            "mnist": Stated(text="99.26 against 99.37 %", effect=-0.11),
            "fashion-mnist": Stated(text="90.47 against 90.99 %", effect=-0.52, remark="its own table has a larger loss"),
        },
    ),
    Claim(
        name="wab-regains-accuracy",
        text="WarmAdaBatch makes up for that loss: with it, weight sharing is more accurate than alone",
        designs=("wab+ws", "ws"),
        unit="points",
        statistic=more_accurate,
        paper={
            "mnist": Stated(text="99.38 against 99.26 %", effect=0.12, remark="the gain that its text calls 0.12 %"),
            "fashion-mnist": Stated(text="90.67 against 90.47 %", effect=0.20, remark="that is still below Fixed's 90.99 %"),
        },
    ),
    Claim(
        name="epochs-saved",
        text="Training time is saved, counted in epochs: WarmAdaBatch reaches Fixed's highest accuracy in fewer epochs",
        designs=("wab", "fixed"),
        unit="% less",
        statistic=epochs_saved,
        paper={
            "mnist": Stated(
                text="as it states", effect=58.6, remark="that is 1 - 12/29 epochs; epochs 3 and 29 of its table give 89.7 %"
            ),
            "fashion-mnist": NOT_GIVEN,
        },
    ),
    Claim(
        name="seconds-saved",
        text="Training time is saved, counted in seconds: WarmAdaBatch reaches Fixed's highest accuracy in less time",
        designs=("wab", "fixed"),
        unit="% less",
        statistic=seconds_saved,
        paper={
            "mnist": Stated(text="1,260 against 1,421 s, by its seconds of an epoch", effect=100 * (1 - 1260 / 1421)),
            "fashion-mnist": NOT_GIVEN,
        },
    ),
)
"""In the order in which they are reported."""
