"""Whether what a study has measured can be told apart from guessing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastrcaps_dse.analysis.annealing import annealing_note
from fastrcaps_dse.analysis.picks import Pick
from fastrcaps_dse.analysis.results import estimated_note, picked_row
from fastrcaps_dse.problem.study_spec import holds_out
from fastrcaps_dse.store import StudyRow, TrialRow

SIGNIFICANCE = 0.05  # of the test, all evaluations together
HELD_OUT = 5  # training images for each one that is held out


@dataclass(frozen=True, kw_only=True)
class Guessing:
    """What guesses one class for every image of the selection reaches."""

    share: float  # of the images, from 0 to 1: that of the most frequent class
    images: int | None  # of the selection; None where an earlier version has not kept it


def guessing(study: StudyRow) -> Guessing:
    """What guessing reaches in a study.

    Earlier versions kept no counts: the classes are then taken to be balanced, and the number of images follows from the number of
    training images where some of them were held out.
    """
    if study.selection is not None:
        counted = study.selection["images"]
        return Guessing(share=study.selection["largest_class"] / counted, images=counted)
    held_out = holds_out(study.identity["protocol"])
    images = max(1, round(study.train_images / HELD_OUT)) if held_out else None
    return Guessing(share=1 / study.image_shape["classes"], images=images)


def is_at_chance(acc: float, guess: Guessing, evaluations: int) -> bool:
    """Whether an accuracy, in percent, is no more than guessing may reach in one of so many evaluations.

    A one-sided binomial test of the images that are classified right, at 5 % by the number of evaluations (Bonferroni), since the
    highest accuracy of all is judged. Where the number of images is unknown, only what is no more than the share itself is at chance.
    """
    if guess.images is None:
        return acc <= 100 * guess.share
    right = round(acc / 100 * guess.images)
    return binomial_tail(right, guess.images, guess.share) * max(1, evaluations) > SIGNIFICANCE


def binomial_tail(least: int, n: int, p: float) -> float:
    """The probability of at least so many successes in `n` trials that succeed with probability `p`."""
    if least <= 0:
        return 1.0
    if p >= 1:
        return 1.0
    log_n = math.lgamma(n + 1)
    logs = (
        log_n - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
        for k in range(least, n + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))


def chance_note(study: StudyRow, trials: Sequence[TrialRow], picked: TrialRow | None = None) -> str | None:
    """A line that says that no design of a study is better than guessing, or else that the picked one is not; None if they are."""
    measured = [(trial.measurement["acc"], trial) for trial in trials if trial.measurement is not None]
    if not measured:
        return None
    guess = guessing(study)
    evaluations = len({run.run_id for _, trial in measured for run in trial.runs}) * study.identity["epochs"]
    best = max(acc for acc, _ in measured)
    if is_at_chance(best, guess, evaluations):
        return f"no design is better than guessing: the most accurate one reaches {best:.2f} %, {_compared(guess)}"
    if picked is not None and picked.measurement is not None and is_at_chance(picked.measurement["acc"], guess, evaluations):
        return f"this design is not better than guessing: it reaches {picked.measurement['acc']:.2f} %, {_compared(guess)}"
    return None


def _compared(guess: Guessing) -> str:
    if guess.images is None:
        return f"one class of all has {100 * guess.share:.2f} %"
    return f"the most frequent class has {100 * guess.share:.2f} % of {guess.images} images (one-sided binomial test at 5 %)"


def with_note(picked: Pick, study: StudyRow, trials: Sequence[TrialRow]) -> Pick:
    """A pick whose reasons say if it is not better than guessing, ends before its learning rate is down, or has estimated times."""
    row = picked_row(trials, picked) if picked.trial is not None else None
    unfinished = annealing_note([row], study) if row is not None else None
    notes = [line for line in (chance_note(study, trials, row), unfinished, estimated_note(study, trials)) if line is not None]
    return replace(picked, why=(*picked.why, *notes)) if notes else picked
