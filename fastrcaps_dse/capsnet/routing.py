"""Squash and dynamic routing, with backward passes that need little memory and consist of large matrix products.

The routing logits are never stored: b_ij = u_hat[j|i] . (sum of the earlier v_j). Without weight sharing, the prediction
vectors u_hat of a few images at a time are computed, used while they are in cache, and computed again in the backward pass.
With weight sharing they are never computed: b = u . (W^T v), and s = sum over types of W (sum over positions of c u).

Shape suffixes: see the package. Here besides:
    g  output capsules that share a matrix product (1 or 2); G = g*D; n: all such groups of a chunk (b*J/g)
    A  = B*T: the capsule types of all images
A tensor of all iterations has R or R-1 rows; the first iteration needs no coupling coefficients, they are all 1/J.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

ROUTE_CHUNK = 8  # images whose prediction vectors fit into the cache of a processor
ROUTE_BYTES = {"cpu": 2**28, "cuda": 2**31}  # of the prediction vectors, or with weight sharing of the logits, of a chunk


def _squash_factor(s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(|s| / (1 + |s|^2), |s|^2, |s|, 1 + |s|^2), [..., 1] each. A product with ones is the fast way to sum few numbers."""
    n = torch.mv((s * s).view(-1, s.shape[-1]), s.new_ones(s.shape[-1])).view(*s.shape[:-1], 1)
    root, one = (n + 1e-30).sqrt(), 1 + n
    return root / one, n, root, one


def _squash(s: Tensor) -> Tensor:
    return s * _squash_factor(s)[0]


def _squash_grad(s: Tensor, dv: Tensor) -> Tensor:
    """The gradient by the input `s` of the squash, given `dv`, the gradient by its output."""
    factor, n, root, one = _squash_factor(s)
    slope = (1 / root - 2 * root / one) / one  # 2 d factor / d n
    along = torch.mv((s * dv).view(-1, s.shape[-1]), s.new_ones(s.shape[-1])).view_as(n)
    return torch.addcmul(dv * factor, s, slope * along)


class Squash(torch.autograd.Function):
    """The squash |s| / (1 + |s|^2) s over the last dimension, with a finite gradient at 0.

    Source: Eq. 1 of Sabour et al., NIPS 2017.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor) -> Tensor:
        ctx.save_for_backward(s)
        return _squash(s)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dv: Tensor) -> Tensor:
        gradient: Tensor = _squash_grad(ctx.saved_tensors[0], dv.contiguous())
        return gradient


# --- a matrix for each input capsule ------------------------------------------------------------------------------------


def _blocks(v_bJD: Tensor, group: int) -> Tensor:
    """The capsules as block-diagonal matrices [n, g, G]: row j is zero outside the columns of its own capsule."""
    d = v_bJD.shape[-1]
    v_ngD = v_bJD.reshape(-1, group, d)
    out = v_ngD.new_zeros(len(v_ngD), group, group, d)
    out.diagonal(dim1=1, dim2=2).copy_(v_ngD.transpose(1, 2))
    return out.flatten(2)


def _own_blocks(m_ngG: Tensor, like_bJD: Tensor) -> Tensor:
    """The inverse of `_blocks`, [b, J, D]; what lies outside the diagonal blocks is ignored."""
    group = m_ngG.shape[1]
    own: Tensor = m_ngG.unflatten(2, (group, -1)).diagonal(dim1=1, dim2=2)
    return own.transpose(1, 2).reshape(like_bJD.shape)


class Route(torch.autograd.Function):
    """Routing with a matrix for each input capsule: u [I, B, E], W [I, J, D, E] and bias [J, D] to v [B, J, D].

    The prediction vectors of `chunk` images at a time are computed, used while they are in cache, and forgotten. The backward
    pass computes them again. Each step is a batched matrix product over groups of two output capsules, which is faster than
    a matrix-vector product for each.
    Source: Procedure 1 of Sabour et al., NIPS 2017.
    """

    @staticmethod
    def forward(ctx: Any, u_IBE: Tensor, W_IJDE: Tensor, bias_JD: Tensor, iterations: int, chunk: int) -> Tensor:
        inputs, batch, _ = u_IBE.shape
        _, J, D, _ = W_IJDE.shape
        group = 2 - J % 2
        c_RBJI = u_IBE.new_empty(iterations - 1, batch, J, inputs)
        s_RBJD = u_IBE.new_empty(iterations, batch, J, D)
        for first in range(0, batch, chunk):
            images = slice(first, first + chunk)
            u_hat_nIG = _predictions(u_IBE[:, images], W_IJDE, group)
            torch.add(bias_JD, u_hat_nIG.sum(1).view(-1, J, D), alpha=1 / J, out=s_RBJD[0, images])
            total_bJD = torch.zeros_like(s_RBJD[0, images])  # of v over the earlier iterations
            for r in range(1, iterations):
                before_bJD, now_bJD = s_RBJD[r - 1, images], s_RBJD[r, images]
                total_bJD = total_bJD + _squash(before_bJD)
                b_ngI = torch.bmm(_blocks(total_bJD, group), u_hat_nIG.transpose(1, 2))
                c_bJI = torch.softmax(b_ngI.view(-1, J, inputs), 1, out=c_RBJI[r - 1, images])
                torch.add(bias_JD, _own_blocks(torch.bmm(c_bJI.view(b_ngI.shape), u_hat_nIG), now_bJD), out=now_bJD)
        ctx.save_for_backward(u_IBE, W_IJDE, c_RBJI, s_RBJD)
        ctx.chunk, ctx.group = chunk, group
        return _squash(s_RBJD[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dv_BJD: Tensor) -> tuple[Tensor | None, ...]:
        u_IBE, W_IJDE, c_RBJI, s_RBJD = ctx.saved_tensors
        _, batch, J, D = s_RBJD.shape
        inputs, _, E = u_IBE.shape
        W_IXE = W_IJDE.view(inputs, J * D, E)
        v_RBJD = _squash(s_RBJD)
        # dW is transposed, because products with few rows and many columns are the faster ones
        dW_IEX, du_IBE, ds_RBJD = u_IBE.new_empty(inputs, E, J * D), torch.empty_like(u_IBE), torch.empty_like(s_RBJD)
        for first in range(0, batch, ctx.chunk):
            images = slice(first, min(first + ctx.chunk, batch))
            x_nIG = _predictions(u_IBE[:, images], W_IJDE, ctx.group)
            of_images = (c_RBJI[:, images], s_RBJD[:, images], v_RBJD[:, images], ds_RBJD[:, images])
            _prediction_gradients(x_nIG, dv_BJD[images], *of_images, ctx.group)  # now their gradients
            x_IbX = x_nIG.transpose(0, 1).reshape(inputs, -1, J * D)
            du_IBE[:, images] = torch.bmm(x_IbX, W_IXE)
            torch.baddbmm(dW_IEX, u_IBE[:, images].transpose(1, 2), x_IbX, beta=1 if first else 0, out=dW_IEX)
        dW_IJDE = dW_IEX.transpose(1, 2).contiguous().view_as(W_IJDE)
        return du_IBE, dW_IJDE, ds_RBJD.sum((0, 1)), None, None


def _predictions(u_IbE: Tensor, W_IJDE: Tensor, group: int) -> Tensor:
    """The prediction vectors of a chunk, [n, I, G], contiguous: those of one output capsule side by side, as routing reads them."""
    inputs, J, D, E = W_IJDE.shape
    u_hat_IbX = torch.bmm(u_IbE, W_IJDE.view(inputs, J * D, E).transpose(1, 2))
    return u_hat_IbX.view(inputs, -1, group * D).transpose(0, 1).contiguous()


def _prediction_gradients(
    u_hat_nIG: Tensor, dv_bJD: Tensor, c_RbJI: Tensor, s_RbJD: Tensor, v_RbJD: Tensor, ds_RbJD: Tensor, group: int
) -> None:
    """Replace the prediction vectors of a chunk by their gradients, and fill in the gradients `ds` of all iterations.

    d u_hat = ds_0 / J + the sum over the later iterations of c ds + db (sum of the earlier v). This sum is one matrix product,
    left^T right, whose rows are collected from the last iteration back to the first.
    """
    iterations, _, J, D = s_RbJD.shape
    inputs = u_hat_nIG.shape[1]
    left = dv_bJD.new_empty(len(u_hat_nIG), 1 + 2 * (iterations - 1) * group, inputs)
    right = dv_bJD.new_empty(len(u_hat_nIG), left.shape[1], group * D)
    left[:, 0] = 1 / J
    later_bJD = torch.zeros_like(dv_bJD)  # gradient by v of what it adds to the logits of all later iterations
    for r in range(iterations - 1, 0, -1):
        ds_RbJD[r] = _squash_grad(s_RbJD[r], dv_bJD.contiguous())
        for_c = slice(1 + 2 * (r - 1) * group, 1 + (2 * r - 1) * group)
        for_db = slice(for_c.stop, for_c.stop + group)
        right[:, for_c] = blocks_ngG = _blocks(ds_RbJD[r], group)
        right[:, for_db] = _blocks(v_RbJD[:r].sum(0), group)
        left[:, for_c] = c_RbJI[r - 1].view(-1, group, inputs)
        dc_bJI = torch.bmm(blocks_ngG, u_hat_nIG.transpose(1, 2)).view(-1, J, inputs)
        db_ngI = torch._softmax_backward_data(dc_bJI, c_RbJI[r - 1], 1, dc_bJI.dtype).view(-1, group, inputs)
        left[:, for_db] = db_ngI
        dv_bJD = later_bJD = later_bJD + _own_blocks(torch.bmm(db_ngI, u_hat_nIG), dv_bJD)
    ds_RbJD[0] = _squash_grad(s_RbJD[0], dv_bJD.contiguous())
    right[:, 0] = ds_RbJD[0].view(len(u_hat_nIG), -1)
    torch.bmm(left.transpose(1, 2), right, out=u_hat_nIG)


# --- weight sharing: a matrix for each type -----------------------------------------------------------------------------


def _joined(W_TJDE: Tensor) -> Tensor:
    """The matrices of all types side by side, [J, D, M]."""
    T, J, D, E = W_TJDE.shape
    return W_TJDE.permute(1, 2, 0, 3).reshape(J, D, T * E)


def _by_class(t_AJE: Tensor, batch: int) -> Tensor:
    """[A, J, E] as [J, B, M]."""
    _, J, E = t_AJE.shape
    return t_AJE.view(batch, -1, J, E).permute(2, 0, 1, 3).reshape(J, batch, -1)


def _onto_types(t_BJD: Tensor, W_JDM: Tensor, E: int) -> Tensor:
    """W^T t, [A, J, E]."""
    J = len(W_JDM)
    return torch.bmm(t_BJD.transpose(0, 1), W_JDM).view(J, -1, E).transpose(0, 1)


def _onto_classes(t_JBM: Tensor, W_JDM: Tensor) -> Tensor:
    """W t, summed over the types, [B, J, D]."""
    return torch.bmm(t_JBM, W_JDM.transpose(1, 2)).transpose(0, 1)


class RouteShared(torch.autograd.Function):
    """Routing with a matrix for each capsule type: u [P, B, T, E], W [T, J, D, E] and bias [J, D] to v [B, J, D].

    No prediction vector is computed: the logits are u . (W^T v), and s = sum over types of W (sum over positions of c u).
    Source: Procedure 1 of Sabour et al., NIPS 2017, with the weight sharing of the FasTrCaps paper.
    """

    @staticmethod
    def forward(ctx: Any, u_PBTE: Tensor, W_TJDE: Tensor, bias_JD: Tensor, iterations: int) -> Tensor:
        P, batch, T, E = u_PBTE.shape
        _, J, D, _ = W_TJDE.shape
        W_JDM = _joined(W_TJDE)
        u_APE = u_PBTE.view(P, batch * T, E).transpose(0, 1)
        s_RBJD = u_PBTE.new_empty(iterations, batch, J, D)
        y0_BM = u_PBTE.sum(0).view(batch, T * E)
        torch.add(bias_JD, torch.mm(y0_BM, W_JDM.reshape(J * D, T * E).t()).view(batch, J, D), alpha=1 / J, out=s_RBJD[0])
        c_RAJP = u_PBTE.new_empty(iterations - 1, batch * T, J, P)
        y_RAJE = u_PBTE.new_empty(iterations - 1, batch * T, J, E)  # sum over positions of c u
        total_BJD = torch.zeros_like(s_RBJD[0])  # of v over the earlier iterations
        for r in range(1, iterations):
            total_BJD = total_BJD + _squash(s_RBJD[r - 1])
            z_AJE = _onto_types(total_BJD, W_JDM, E)
            torch.softmax(torch.bmm(z_AJE, u_APE.transpose(1, 2)), 1, out=c_RAJP[r - 1])
            torch.bmm(c_RAJP[r - 1], u_APE, out=y_RAJE[r - 1])
            torch.add(bias_JD, _onto_classes(_by_class(y_RAJE[r - 1], batch), W_JDM), out=s_RBJD[r])
        ctx.save_for_backward(u_PBTE, W_TJDE, c_RAJP, s_RBJD, y_RAJE, y0_BM)
        return _squash(s_RBJD[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dv_BJD: Tensor) -> tuple[Tensor | None, ...]:
        u_PBTE, W_TJDE, c_RAJP, s_RBJD, y_RAJE, y0_BM = ctx.saved_tensors
        P, batch, T, E = u_PBTE.shape
        iterations, _, J, D = s_RBJD.shape
        W_JDM = _joined(W_TJDE)
        u_APE = u_PBTE.view(P, batch * T, E).transpose(0, 1)
        v_RBJD = _squash(s_RBJD)
        routed = iterations - 1
        ds_RBJD, dW_JDM = torch.empty_like(s_RBJD), torch.zeros_like(W_JDM)
        left = u_PBTE.new_empty(batch * T, 2 * routed * J, P)  # c and db of each iteration; du = left^T right + dy0 / J
        right = u_PBTE.new_empty(batch * T, 2 * routed * J, E)  # dy and z of each iteration
        later_BJD = torch.zeros_like(dv_BJD)  # gradient by v of what it adds to the logits of all later iterations
        for r in range(routed, 0, -1):
            ds_RBJD[r] = _squash_grad(s_RBJD[r], dv_BJD.contiguous())
            total_BJD = v_RBJD[:r].sum(0)
            row = 2 * (r - 1) * J
            left[:, row : row + J] = c_RAJP[r - 1]
            dy_AJE = _onto_types(ds_RBJD[r], W_JDM, E)
            right[:, row : row + J] = dy_AJE
            right[:, row + J : row + 2 * J] = _onto_types(total_BJD, W_JDM, E)
            db_AJP = torch._softmax_backward_data(torch.bmm(dy_AJE, u_APE.transpose(1, 2)), c_RAJP[r - 1], 1, dy_AJE.dtype)
            left[:, row + J : row + 2 * J] = db_AJP
            dz_JBM = _by_class(torch.bmm(db_AJP, u_APE), batch)
            dv_BJD = later_BJD = later_BJD + _onto_classes(dz_JBM, W_JDM)
            dW_JDM.baddbmm_(ds_RBJD[r].permute(1, 2, 0), _by_class(y_RAJE[r - 1], batch))
            dW_JDM.baddbmm_(total_BJD.permute(1, 2, 0), dz_JBM)
        ds_RBJD[0] = _squash_grad(s_RBJD[0], dv_BJD.contiguous())
        first_BX = ds_RBJD[0].view(batch, J * D)
        dW_JDM.view(J * D, T * E).addmm_(first_BX.t(), y0_BM, alpha=1 / J)
        dy0_A1E = torch.mm(first_BX, W_JDM.view(J * D, T * E)).view(batch * T, 1, E)
        du_APE = torch.bmm(left.transpose(1, 2), right) if routed else u_PBTE.new_zeros(batch * T, P, E)
        du_APE.add_(dy0_A1E, alpha=1 / J)
        du_PBTE = du_APE.transpose(0, 1).reshape(u_PBTE.shape)
        return du_PBTE, dW_JDM.view(J, D, T, E).permute(2, 0, 1, 3), ds_RBJD.sum((0, 1)), None


def digit_capsules(s_PBM: Tensor, W_IJDE: Tensor, bias_JD: Tensor, *, types: int, iterations: int) -> Tensor:
    """The digit capsules v, [B, J, D], from the output of the PrimaryCaps convolution, which is not squashed yet.

    `W_IJDE` has a matrix for each input capsule, or with weight sharing one for each of the `types`.
    """
    s_PBTE = s_PBM.unflatten(2, (types, -1))
    v_BJD: Tensor
    if len(W_IJDE) == types:  # weight sharing
        u_PBTE = Squash.apply(s_PBTE.contiguous())  # type: ignore[no-untyped-call]
        return _route_shared(u_PBTE, W_IJDE, bias_JD, iterations)
    u_TPBE = Squash.apply(s_PBTE.permute(2, 0, 1, 3).contiguous())  # type: ignore[no-untyped-call]
    u_IBE = u_TPBE.flatten(0, 1)
    chunk = images_at_once(len(u_IBE) * W_IJDE[0, :, :, 0].numel() * s_PBM.element_size(), s_PBM.device.type)
    chunk = min(chunk, ROUTE_CHUNK if s_PBM.device.type == "cpu" else s_PBM.shape[1])
    v_BJD = Route.apply(u_IBE, W_IJDE, bias_JD, iterations, chunk)  # type: ignore[no-untyped-call]
    return v_BJD


def images_at_once(bytes_of_an_image: int, device: str) -> int:
    """How many images are routed at once, for their memory."""
    return max(1, ROUTE_BYTES.get(device, ROUTE_BYTES["cpu"]) // bytes_of_an_image)


def _route_shared(u_PBTE: Tensor, W_TJDE: Tensor, bias_JD: Tensor, iterations: int) -> Tensor:
    """Routing with weight sharing; of large pictures for a few images at a time, and again in the backward pass."""
    P, batch, T, _ = u_PBTE.shape
    logits = max(1, iterations - 1) * T * W_TJDE.shape[1] * P  # of an image, in all iterations
    chunk = images_at_once(logits * u_PBTE.element_size(), u_PBTE.device.type)
    v_BJD: Tensor
    if batch <= chunk:
        v_BJD = RouteShared.apply(u_PBTE, W_TJDE, bias_JD, iterations)  # type: ignore[no-untyped-call]
        return v_BJD

    def route(u: Tensor, W: Tensor, bias: Tensor) -> Tensor:
        v: Tensor = RouteShared.apply(u.contiguous(), W, bias, iterations)  # type: ignore[no-untyped-call]
        return v

    parts: list[Tensor] = [
        checkpoint(route, u, W_TJDE, bias_JD, use_reentrant=False, preserve_rng_state=False) for u in u_PBTE.split(chunk, 1)
    ]
    return torch.cat(parts)
