"""The formulas of a CapsNet as pure functions of tensors (Sabour et al., NIPS 2017). Shape suffixes: see the package."""

from __future__ import annotations

import torch
from torch import Tensor

M_PLUS, M_MINUS, ABSENT_WEIGHT = 0.9, 0.1, 0.5
RECONSTRUCTION_WEIGHT = 0.0005


def squash(s: Tensor) -> Tensor:
    """|s|^2 / (1 + |s|^2) * s / |s| over the last dimension (Eq. 1); zero, with gradient zero, at s = 0."""
    squared = (s * s).sum(-1, keepdim=True)
    # |s| / (1 + |s|^2): the tiny constant keeps the gradient of the root finite at 0 and is far below rounding elsewhere
    return s * ((squared + 1e-30).sqrt() / (1 + squared))


def capsule_length(v: Tensor) -> Tensor:
    """|v| over the last dimension, with a finite gradient at 0."""
    return ((v * v).sum(-1) + 1e-30).sqrt()


def prediction_vectors(u_BIE: Tensor, W_IJDE: Tensor) -> Tensor:
    """u_hat[j|i] = W[i,j] u[i] for every input capsule i and output capsule j, as [B, J, I, D].

    With weight sharing W is [T, J, D, E] and serves input capsule i as W[i // P] (Algorithm 4 of FasTrCaps).
    """
    batch, inputs, dim_in = u_BIE.shape
    matrices, outputs, dim_out, _ = W_IJDE.shape
    positions = inputs // matrices
    u_T_BP_E = u_BIE.view(batch, matrices, positions, dim_in).transpose(0, 1).reshape(matrices, batch * positions, dim_in)
    W_T_E_JD = W_IJDE.reshape(matrices, outputs * dim_out, dim_in).transpose(1, 2)
    u_hat = torch.bmm(u_T_BP_E, W_T_E_JD).view(matrices, batch, positions, outputs, dim_out)
    return u_hat.permute(1, 3, 0, 2, 4).reshape(batch, outputs, inputs, dim_out)


def route(u_hat_BJID: Tensor, bias_JD: Tensor, iterations: int = 3) -> Tensor:
    """Dynamic routing (Procedure 1): the output capsules v as [B, J, D].

    The logits need no storage of their own: b_ij = u_hat[j|i] . (sum of the earlier v_j). Gradients flow through every
    iteration.
    """
    outputs = u_hat_BJID.shape[1]
    s_BJD = u_hat_BJID.sum(2) / outputs + bias_JD  # logits of 0: every coupling coefficient is 1/J
    v_BJD = squash(s_BJD)
    v_sum_BJD = v_BJD
    for _ in range(iterations - 1):
        b_BJI = torch.matmul(u_hat_BJID, v_sum_BJD.unsqueeze(-1)).squeeze(-1)
        c_BJI = b_BJI.softmax(dim=1)
        v_BJD = squash(torch.matmul(c_BJI.unsqueeze(2), u_hat_BJID).squeeze(2) + bias_JD)
        v_sum_BJD = v_sum_BJD + v_BJD
    return v_BJD


def margin_loss(lengths_BJ: Tensor, labels_B: Tensor) -> Tensor:
    """T max(0, .9 - |v|)^2 + .5 (1 - T) max(0, |v| - .1)^2, summed over the classes, mean over the batch (Eq. 4)."""
    present_BJ = one_hot(labels_B, lengths_BJ)
    losses_BJ = present_BJ * (M_PLUS - lengths_BJ).relu().square()
    losses_BJ = losses_BJ + ABSENT_WEIGHT * (1 - present_BJ) * (lengths_BJ - M_MINUS).relu().square()
    return losses_BJ.sum(1).mean()


def reconstruction_loss(reconstruction_BP: Tensor, images_BP: Tensor) -> Tensor:
    """.0005 * the sum of squared errors over the pixels, mean over the batch."""
    return RECONSTRUCTION_WEIGHT * (reconstruction_BP - images_BP).square().sum(1).mean()


def one_hot(labels_B: Tensor, like_BJ: Tensor) -> Tensor:
    """[B, J] of 0 and 1, of the type and device of `like_BJ`."""
    return torch.zeros_like(like_BJ).scatter_(1, labels_B.unsqueeze(1), 1.0)
