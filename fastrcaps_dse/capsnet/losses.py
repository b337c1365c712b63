"""The losses of a CapsNet as pure functions of tensors (Sabour et al., NIPS 2017). Shape suffixes: see the package."""

from __future__ import annotations

import torch
from torch import Tensor

M_PLUS, M_MINUS, ABSENT_WEIGHT = 0.9, 0.1, 0.5
RECONSTRUCTION_WEIGHT = 0.0005


def capsule_length(v: Tensor) -> Tensor:
    """The lengths |v| of capsules, taken over the last dimension, with a finite gradient at 0.

    `v` is [..., D]. Returns [...].
    """
    return ((v * v).sum(-1) + 1e-30).sqrt()


def margin_loss(lengths_BJ: Tensor, labels_B: Tensor) -> Tensor:
    """The margin loss of a batch: the sum over the classes, averaged over the images.

    A class that is present adds max(0, .9 - |v|)^2, one that is absent .5 max(0, |v| - .1)^2.
    Source: Eq. 4 of Sabour et al.
    """
    present_BJ = one_hot(labels_B, lengths_BJ)
    losses_BJ = present_BJ * (M_PLUS - lengths_BJ).relu().square()
    losses_BJ = losses_BJ + ABSENT_WEIGHT * (1 - present_BJ) * (lengths_BJ - M_MINUS).relu().square()
    return losses_BJ.sum(1).mean()


def reconstruction_loss(reconstruction_BN: Tensor, images_BN: Tensor) -> Tensor:
    """The weighted reconstruction loss of a batch: .0005 times the sum of squared errors, averaged over the images.

    Source: Section 4.1 of Sabour et al.
    """
    return RECONSTRUCTION_WEIGHT * (reconstruction_BN - images_BN).square().sum(1).mean()


def one_hot(labels_B: Tensor, like_BJ: Tensor) -> Tensor:
    """The labels as rows of 0 and 1, [B, J], of the type and device of `like_BJ`."""
    return torch.zeros_like(like_BJ).scatter_(1, labels_B.unsqueeze(1), 1.0)
