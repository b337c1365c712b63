"""The objective `robust`: the accuracy of a trained run on affine copies of images, at its selected epoch."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from fastrcaps_dse.data import DataSet, Split
from fastrcaps_dse.data.affine import Images, affine_copies, copy_count
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.quantities import ROBUST
from fastrcaps_dse.problem.study_spec import Protocol, StudySpec, holds_out
from fastrcaps_dse.trainer import Training, beside_others

PROBED = 100  # images of a timed copy


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """Accuracies (%) on affine copies."""

    selecting: float  # of the images that select the epoch: the objective
    test: float  # of the test images, which is looked at once


def measures_robust(spec: StudySpec) -> bool:
    """Whether the runs of a study measure it."""
    return any(wanted.name == ROBUST for wanted in spec.objectives)


def without_robust(measured: Measurement) -> Measurement:
    """A measurement as a study has it that does not ask for it."""
    return replace(measured, values={name: v for name, v in measured.values.items() if name != ROBUST}, test_robust=None)


def measure_robust(training: Training, protocol: Protocol, epoch: int) -> Robustness:
    """How robust the network of a run is, with the weights that it has, which are those of `epoch`.

    Where the test images select the epoch, or none do, both are the same. Raises RunFailed for scores that are not finite.
    """
    with beside_others(training.device):
        test = accuracy_on_copies(training, training.dataset.test, "test", epoch)
        if not holds_out(protocol):
            return Robustness(selecting=test, test=test)
        return Robustness(selecting=accuracy_on_copies(training, training.select_split, "selecting", epoch), test=test)


def accuracy_on_copies(training: Training, split: Split, of: Images, epoch: int) -> float:
    """The mean accuracy (%) over the affine copies of these images. Of one copy at a time, one batch at a time is on the device."""
    when = f"on affine copies of images, after epoch {epoch}"
    accuracies = [training.accuracy(copy, when) for copy in affine_copies(split, of)]
    return math.fsum(accuracies) / len(accuracies)


# --- what it takes ------------------------------------------------------------------------------------------------------


def evaluated_copies(dataset: DataSet, selecting: int, protocol: Protocol) -> int:
    """How many affine copies of images a run evaluates in all; `selecting` images select its epoch."""
    counts = [len(dataset.test), *([selecting] if holds_out(protocol) else [])]
    return sum(copy_count(images) * images for images in counts)


def seconds_of_a_copy(dataset: DataSet) -> float:
    """About the seconds in which an affine copy of an image is made here."""
    few = Split(images=dataset.train.images[:PROBED], labels=dataset.train.labels[:PROBED])
    next(affine_copies(few, "selecting"))  # the first one takes longer
    begun = time.perf_counter()
    next(affine_copies(few, "selecting"))
    return (time.perf_counter() - begun) / len(few)
