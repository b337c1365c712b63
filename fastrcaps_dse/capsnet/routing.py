"""Squash and dynamic routing with backward passes of their own: little memory, large matrix products.

The logits need no storage: b_ij = u_hat[j|i] . (sum of the earlier v_j). Without weight sharing the prediction vectors of a
few images at a time are computed, used while they are in cache, and computed again in the backward pass. With weight sharing
they never exist: b = u . (W^T V), and s = sum over types of W (sum over positions of c u).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ROUTE_CHUNK = 32  # images whose prediction vectors stay in a processor's cache


def _squash_factor(s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(|s| / (1 + |s|^2), |s|^2, |s|, 1 + |s|^2), [..., 1] each. A product with ones is the fast short sum."""
    n = torch.mv((s * s).view(-1, s.shape[-1]), s.new_ones(s.shape[-1])).view(*s.shape[:-1], 1)
    root, one = (n + 1e-30).sqrt(), 1 + n
    return root / one, n, root, one


def _squash_grad(s: Tensor, dv: Tensor) -> Tensor:
    """The gradient by s of `Squash`, given that by its result."""
    factor, n, root, one = _squash_factor(s)
    slope = (1 / root - 2 * root / one) / one  # 2 d factor / d n
    along = torch.mv((s * dv).view(-1, s.shape[-1]), s.new_ones(s.shape[-1])).view_as(n)
    return torch.addcmul(dv * factor, s, slope * along)


class Squash(torch.autograd.Function):
    """Squash over the last dimension."""

    @staticmethod
    def forward(ctx: Any, s: Tensor) -> Tensor:
        ctx.save_for_backward(s)
        out: Tensor = s * _squash_factor(s)[0]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dv: Tensor) -> Tensor:
        gradient: Tensor = _squash_grad(ctx.saved_tensors[0], dv.contiguous())
        return gradient


def _blocks(v: Tensor, group: int) -> Tensor:
    """[b, J, D] to [b*J/group, group, group*D], row j zero but for its own capsule."""
    d = v.shape[-1]
    v = v.reshape(-1, group, d)
    out = v.new_zeros(len(v), group, group, d)
    out.diagonal(dim1=1, dim2=2).copy_(v.transpose(1, 2))
    return out.flatten(2)


def _own_blocks(m: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_blocks`, ignoring the other capsules' places."""
    group = m.shape[1]
    own: Tensor = m.unflatten(2, (group, -1)).diagonal(dim1=1, dim2=2)
    return own.transpose(1, 2).reshape(like.shape)


class Route(torch.autograd.Function):
    """Routing with a matrix of its own for each input capsule: u [I, B, E], W [I, J, D, E], bias [J, D] to v [B, J, D].

    The votes of a few images at a time are computed, used while they are in cache, and forgotten; backward computes them
    again. Each step is a batched GEMM over groups of two capsules (block-diagonal: a GEMM is faster than matrix-vector).
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, W: Tensor, bias: Tensor, iterations: int, chunk: int) -> Tensor:
        inputs, batch, E = u.shape
        _, J, D, _ = W.shape
        group = 2 - J % 2
        W_t = W.view(inputs, J * D, E).transpose(1, 2)
        c = u.new_empty(iterations - 1, batch, J, inputs)
        s = u.new_empty(iterations, batch, J, D)
        for k in range(0, batch, chunk):
            part = slice(k, k + chunk)
            votes = torch.bmm(u[:, part], W_t)  # [I, b, J*D]
            torch.add(bias, votes.sum(0).view(-1, J, D), alpha=1 / J, out=s[0, part])
            votes = votes.view(inputs, -1, group * D).transpose(0, 1)  # [b*groups, I, group*D]
            total = torch.zeros_like(s[0, part])
            for r in range(1, iterations):
                before, now = s[r - 1, part], s[r, part]
                total = total + before * _squash_factor(before)[0]
                b = torch.bmm(_blocks(total, group), votes.transpose(1, 2))
                c_part = torch.softmax(b.view(-1, J, inputs), 1, out=c[r - 1, part])
                torch.add(bias, _own_blocks(torch.bmm(c_part.view(b.shape), votes), now), out=now)
        ctx.save_for_backward(u, W, c, s)
        ctx.chunk, ctx.group = chunk, group
        return s[-1] * _squash_factor(s[-1])[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dv_last: Tensor) -> tuple[Tensor | None, ...]:
        u, W, c, s = ctx.saved_tensors
        group = ctx.group
        iterations, batch, J, D = s.shape
        inputs, _, E = u.shape
        W_m = W.view(inputs, J * D, E)
        v = s * _squash_factor(s)[0]
        dW, du, ds = torch.empty_like(W_m), torch.empty_like(u), torch.empty_like(s)
        for k in range(0, batch, ctx.chunk):
            part = slice(k, min(k + ctx.chunk, batch))
            votes_IbX = torch.bmm(u[:, part], W_m.transpose(1, 2))
            votes = votes_IbX.view(inputs, -1, group * D).transpose(0, 1)
            # d votes = ds_0 / J + sum over later iterations of c ds + db (sum of earlier v) = left^T right
            left = u.new_empty(len(votes), 1 + 2 * (iterations - 1) * group, inputs)
            right = u.new_empty(len(votes), left.shape[1], group * D)
            left[:, 0] = 1 / J
            dv = dv_last[part]
            later = torch.zeros_like(dv)
            for r in range(iterations - 1, 0, -1):
                ds[r, part] = _squash_grad(s[r, part], dv.contiguous())
                for_c = slice(1 + 2 * (r - 1) * group, 1 + (2 * r - 1) * group)
                for_db = slice(for_c.stop, for_c.stop + group)
                right[:, for_c] = blocks = _blocks(ds[r, part], group)
                right[:, for_db] = _blocks(v[:r, part].sum(0), group)
                left[:, for_c] = c[r - 1, part].view(-1, group, inputs)
                dc = torch.bmm(blocks, votes.transpose(1, 2)).view(-1, J, inputs)
                db = torch._softmax_backward_data(dc, c[r - 1, part], 1, dc.dtype).view(-1, group, inputs)
                left[:, for_db] = db
                dv = later = later + _own_blocks(torch.bmm(db, votes), dv)
            ds[0, part] = _squash_grad(s[0, part], dv.contiguous())
            right[:, 0] = ds[0, part].view(len(votes), -1)
            torch.bmm(left.transpose(1, 2), right, out=votes)  # d votes, in the memory of the votes
            du[:, part] = torch.bmm(votes_IbX, W_m)
            if k == 0:
                torch.bmm(votes_IbX.transpose(1, 2), u[:, part], out=dW)
            else:
                dW.baddbmm_(votes_IbX.transpose(1, 2), u[:, part])
        return du, dW.view_as(W), ds.sum((0, 1)), None, None


class RouteShared(torch.autograd.Function):
    """Routing with one matrix for each capsule type: u [P, B, T, E], W [T, J, D, E], bias [J, D] to v [B, J, D].

    No votes: logits are u . (W^T V), and s = sum over types of W (sum over positions of c u).
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, W: Tensor, bias: Tensor, iterations: int) -> Tensor:
        P, batch, T, E = u.shape
        _, J, D, _ = W.shape
        W_j = W.permute(1, 2, 0, 3).reshape(J, D, T * E)
        u_n = u.view(P, batch * T, E).transpose(0, 1)  # [B*T, P, E]

        def weigh(y: Tensor) -> Tensor:  # [B*T, J, E] -> [B, J, D]
            return torch.bmm(
                y.view(batch, T, J, E).permute(2, 0, 1, 3).reshape(J, batch, T * E), W_j.transpose(1, 2)
            ).transpose(0, 1)

        s = u.new_empty(iterations, batch, J, D)
        y0 = u.sum(0).view(batch, T * E)
        torch.add(bias, torch.mm(y0, W_j.reshape(J * D, T * E).t()).view(batch, J, D), alpha=1 / J, out=s[0])
        c = u.new_empty(iterations - 1, batch * T, J, P)
        y = u.new_empty(iterations - 1, batch * T, J, E)
        total = torch.zeros_like(s[0])
        for r in range(1, iterations):
            total = total + s[r - 1] * _squash_factor(s[r - 1])[0]
            z = torch.bmm(total.transpose(0, 1), W_j).view(J, batch * T, E).transpose(0, 1)
            torch.softmax(torch.bmm(z, u_n.transpose(1, 2)), 1, out=c[r - 1])
            torch.bmm(c[r - 1], u_n, out=y[r - 1])
            torch.add(bias, weigh(y[r - 1]), out=s[r])
        ctx.save_for_backward(u, W, c, s, y, y0)
        return s[-1] * _squash_factor(s[-1])[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dv: Tensor) -> tuple[Tensor | None, ...]:
        u, W, c, s, y, y0 = ctx.saved_tensors
        P, batch, T, E = u.shape
        iterations, _, J, D = s.shape
        W_j = W.permute(1, 2, 0, 3).reshape(J, D, T * E)
        u_n = u.view(P, batch * T, E).transpose(0, 1)

        def spread(t: Tensor) -> Tensor:  # W^T t: [B, J, D] -> [B*T, J, E]
            return torch.bmm(t.transpose(0, 1), W_j).view(J, batch * T, E).transpose(0, 1)

        def per_class(t: Tensor) -> Tensor:  # [B*T, J, E] -> [J, B, T*E]
            return t.view(batch, T, J, E).permute(2, 0, 1, 3).reshape(J, batch, T * E)

        v = s * _squash_factor(s)[0]
        K = iterations - 1
        ds = torch.empty_like(s)
        left = u.new_empty(batch * T, 2 * K * J, P)  # c and db of each iteration
        right = u.new_empty(batch * T, 2 * K * J, E)  # dy and z of each iteration
        dW_j = torch.zeros_like(W_j)
        later = torch.zeros_like(dv)
        for r in range(K, 0, -1):
            ds[r] = _squash_grad(s[r], dv.contiguous())
            total = v[:r].sum(0)
            row = 2 * (r - 1) * J
            left[:, row : row + J] = c[r - 1]
            dy = spread(ds[r])
            right[:, row : row + J] = dy
            right[:, row + J : row + 2 * J] = spread(total)
            db = torch._softmax_backward_data(torch.bmm(dy, u_n.transpose(1, 2)), c[r - 1], 1, dy.dtype)
            left[:, row + J : row + 2 * J] = db
            dz = per_class(torch.bmm(db, u_n))
            later = later + torch.bmm(dz, W_j.transpose(1, 2)).transpose(0, 1)
            dW_j.baddbmm_(ds[r].permute(1, 2, 0), per_class(y[r - 1])).baddbmm_(total.permute(1, 2, 0), dz)
            dv = later
        ds[0] = _squash_grad(s[0], dv.contiguous())
        first = ds[0].view(batch, J * D)
        dW_j.view(J * D, T * E).addmm_(first.t(), y0, alpha=1 / J)
        dy0 = torch.mm(first, W_j.view(J * D, T * E)).view(batch * T, 1, E)
        du = torch.bmm(left.transpose(1, 2), right) if K else u.new_zeros(batch * T, P, E)
        du.add_(dy0, alpha=1 / J)
        return du.transpose(0, 1).reshape(u.shape), dW_j.view(J, D, T, E).permute(2, 0, 1, 3), ds.sum((0, 1)), None


def digit_capsules(s_PBC: Tensor, W_IJDE: Tensor, bias_JD: Tensor, *, types: int, iterations: int) -> Tensor:
    """The digit capsules v [B, J, D] from the PrimaryCaps convolution's output [P, B, types * E], not yet squashed."""
    s = s_PBC.unflatten(2, (types, -1))
    v: Tensor
    if len(W_IJDE) == types:  # weight sharing
        v = RouteShared.apply(Squash.apply(s), W_IJDE, bias_JD, iterations)  # type: ignore[no-untyped-call]
        return v
    u = Squash.apply(s.permute(2, 0, 1, 3).contiguous())  # type: ignore[no-untyped-call]
    chunk = ROUTE_CHUNK if s.device.type == "cpu" else s.shape[1]
    v = Route.apply(u.flatten(0, 1), W_IJDE, bias_JD, iterations, chunk)  # type: ignore[no-untyped-call]
    return v
