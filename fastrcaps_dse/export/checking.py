"""An exported file against the trained network, on real test images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fastrcaps_dse.data import Split
from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.export.plain import LARGEST_PIXEL, Pixels
from fastrcaps_dse.export.runtimes import Run

BOUND = 2e-5  # of scores in float32; of the larger ones of LeNet5, relative to the largest
BATCHES = (1, 5, 64)  # of the first images; the others come in batches of the last size


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the trained network says of test images."""

    images: Split
    scores: Tensor  # [N, J]

    @property
    def accuracy(self) -> float:
        """In percent."""
        return accuracy(self.scores.argmax(1), self.images.labels)

    @property
    def bound(self) -> float:
        """How far the score of a float32 file may be off."""
        return BOUND * max(1.0, float(self.scores.abs().max()))

    @property
    def margins(self) -> Tensor:
        """By how much the highest score of each image exceeds the second, [N]."""
        top = self.scores.topk(2, dim=1).values
        return top[:, 0] - top[:, 1]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """How a file did on the test images."""

    images: int
    accuracy: float  # %
    largest_difference: float  # of a score from that of the trained network
    other_classes: int  # images whose predicted class is not that of the trained network


def accuracy(classes: Tensor, labels: Tensor) -> float:
    """The accuracy of predicted classes, in percent."""
    return 100.0 * int((classes == labels).sum()) / len(labels)


def check(run: Run, truth: Truth, pixels: Pixels) -> Checked:
    """What a file says of the test images, beside what the trained network says.

    Raises MachineError for scores that are not numbers, have another shape, or do not agree with the predicted classes.
    """
    found = [run(batch) for batch in _batches(truth.images.images, pixels)]
    scores, classes = torch.cat([one for one, _ in found]), torch.cat([one for _, one in found])
    if scores.shape != truth.scores.shape or not torch.isfinite(scores).all():
        raise _mismatch(f"its scores are {tuple(scores.shape)}, or not all finite")
    if not torch.equal(classes, scores.argmax(1)):
        raise _mismatch("its predicted classes are not those with the highest scores")
    return Checked(
        images=len(classes),
        accuracy=accuracy(classes, truth.images.labels),
        largest_difference=float((scores.double() - truth.scores.double()).abs().max()),
        other_classes=int((classes != truth.scores.argmax(1)).sum()),
    )


def require_equal(checked: Checked, truth: Truth, name: str) -> None:
    """Refuse a float32 file that differs from the trained network by more than rounding. Raises MachineError.

    Its scores are within the bound, its classes the same, and so is its accuracy; only images whose two highest scores are within
    twice the bound of each other may change their class.
    """
    if not checked.largest_difference <= truth.bound:
        raise _mismatch(f"{name}: a score is off by {checked.largest_difference:.2g}, more than {truth.bound:.2g}")
    ties = int((truth.margins <= 2 * truth.bound).sum())
    if checked.other_classes > ties:
        raise _mismatch(f"{name}: {checked.other_classes} images get another class")
    if not ties and checked.accuracy != truth.accuracy:
        raise _mismatch(f"{name}: its accuracy is {checked.accuracy} %, not {truth.accuracy} %")


def _mismatch(what: str) -> MachineError:
    return MachineError(
        f"an exported file does not compute what the trained network does: {what}",
        "nothing is exported; report it with the versions that `fastrcaps-dse doctor` prints",
    )


def _batches(images: Tensor, pixels: Pixels) -> Iterator[Tensor]:
    """The images in batches of all sizes of `BATCHES`, of the type that the file takes."""
    first, sizes = 0, [*BATCHES]
    while first < len(images):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        batch = images[first : first + size]
        yield batch if pixels == "uint8" else batch.to(torch.float32) / LARGEST_PIXEL
        first += size
