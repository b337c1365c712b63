"""The two convolutions on a CPU, as few large matrix products, in float32 or bfloat16 (sums in float32 inside a product).

PrimaryCaps has three algorithms, all exact up to rounding:

- direct: im2col, for a few images, where no transform of the weights pays off;
- by tiles and by discrete Fourier transform (see `transforms`). The four stride phases of the input are stride-1 convolutions
  with 5x5 kernels on one (h+4)x(w+4) grid. Forward, weight gradient and input gradient are each one batched matrix product
  between cheap linear transforms, with a fifth to a quarter of the direct multiply-adds. Tiles have half the transformed
  weights, which bound the speed of middle batches; the Fourier transform has fewer products, and smaller rounding errors:
  in bfloat16 it is used alone.

Conv1 writes the layout that PrimaryCaps reads: [h+4, w+4, B, 2, 2, C] (grid, batch, phase, channel), or [B, H, W, C].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fastrcaps_dse.capsnet import transforms
from fastrcaps_dse.capsnet.sizes import KERNEL, primary_side
from fastrcaps_dse.capsnet.sizes import PRIMARY_STRIDE as STRIDE
from fastrcaps_dse.capsnet.transforms import PHASES, TAPS, Transforms

TILES_FROM, DFT_FROM = 5, 48  # batch sizes, where the measured times of float32 cross
DFT_FROM_BFLOAT16 = 12


class ConvReLU(torch.autograd.Function):
    """ReLU(conv 9x9 + bias) as one GEMM, its rows in the order that PrimaryCaps wants. No gradient for the images."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, phased: bool) -> Tensor:
        images = images.contiguous()
        batch, channels, height, width = images.shape
        out = weight.shape[0]
        rows: tuple[int, ...]
        strides: tuple[int, ...]
        if phased:
            ny, nx = primary_side(height) + TAPS - 1, primary_side(width) + TAPS - 1
            if (
                2 * ny + KERNEL - 1 > height or 2 * nx + KERNEL - 1 > width
            ):  # an odd side: the last odd row meets only zero taps
                images = F.pad(images, (0, 2 * nx + KERNEL - 1 - width, 0, 2 * ny + KERNEL - 1 - height))
            rows = (ny, nx, batch, 2, 2)
            plane, line = images.stride(1), images.stride(2)
            strides = (2 * line, 2, images.stride(0), line, 1, plane, line, 1)
        else:
            rows = (batch, height - KERNEL + 1, width - KERNEL + 1)
            plane, line = images.stride(1), images.stride(2)
            strides = (images.stride(0), line, 1, plane, line, 1)
        size = channels * KERNEL**2
        columns = images.new_empty(math.prod(rows), size + 1)
        columns[:, size] = 1  # the bias is one more input
        columns[:, :size].unflatten(1, (channels, KERNEL, KERNEL)).unflatten(0, rows).copy_(
            images.as_strided((*rows, channels, KERNEL, KERNEL), strides, images.storage_offset())
        )
        y = torch.mm(columns, torch.cat((weight.flatten(1).t(), bias.unsqueeze(0)))).relu_()
        ctx.save_for_backward(columns, y)
        ctx.shape = weight.shape
        return y.view(*rows, out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        columns, y = ctx.saved_tensors
        g = torch.ops.aten.threshold_backward(g.view_as(y), y, 0)
        d = torch.mm(g.t(), columns)
        return None, d[:, :-1].reshape(ctx.shape), d[:, -1].clone(), None


class TransformedConv(torch.autograd.Function):
    """Stride-2 9x9 convolution of [h+4, w+4, B, 2, 2, in] to [h, w, B, out]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, of: Transforms) -> Tensor:
        ny, nx, batch, _, _, c_in = x.shape
        c_out = weight.shape[-1]
        B, G, A = of
        points = len(G[0])
        w_hat = weight.new_empty(points, len(PHASES), c_in * c_out)
        for p, (py, px) in enumerate(PHASES):
            torch.mm(G[p], weight[py::2, px::2].reshape(-1, c_in * c_out), out=w_hat[:, p])
        w_hat = w_hat.view(points, 4 * c_in, c_out)
        x_hat = torch.mm(B, x.view(ny * nx, -1)).view(points, -1, 4 * c_in)
        y = torch.mm(A, torch.bmm(x_hat, w_hat).view(len(B), -1)).view(ny - TAPS + 1, nx - TAPS + 1, batch, c_out)
        ctx.save_for_backward(x_hat, w_hat)
        ctx.transforms = of
        ctx.shape = x.shape
        return y.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        dy = dy.contiguous()
        x_hat, w_hat = ctx.saved_tensors
        B, G, A = ctx.transforms
        c_in, c_out = ctx.shape[-1], dy.shape[-1]
        points = len(w_hat)
        dy_hat = torch.mm(A.t(), dy.view(A.shape[0], -1)).view(*x_hat.shape[:2], c_out)
        dw_hat = torch.bmm(x_hat.transpose(1, 2), dy_hat).view(points, len(PHASES), -1)
        dw = dy.new_empty(KERNEL, KERNEL, c_in, c_out)
        for p, (py, px) in enumerate(PHASES):
            of_phase = dw[py::2, px::2]
            of_phase.copy_(torch.mm(G[p].t(), dw_hat[:, p]).view(of_phase.shape))
        del dw_hat
        dx_hat = torch.bmm(dy_hat, w_hat.transpose(1, 2))
        dx = torch.mm(B.t(), dx_hat.view(B.shape[0], -1)).view(ctx.shape)
        return dx, dw, dy.view(-1, c_out).sum(0), None


class DirectConv(torch.autograd.Function):
    """Stride-2 9x9 convolution of [B, H, W, in] to [h, w, B, out] by im2col."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        batch, height, width, c_in = x.shape
        h, w = (height - KERNEL) // STRIDE + 1, (width - KERNEL) // STRIDE + 1
        image, line = x.stride(0), x.stride(1)
        run = KERNEL * c_in  # a row of the kernel: contiguous in memory
        columns = x.new_empty(h, w, batch, KERNEL, run)
        columns.copy_(x.as_strided(columns.shape, (STRIDE * line, STRIDE * c_in, image, line, 1), x.storage_offset()))
        columns = columns.view(h * w * batch, -1)
        matrix = weight.view(columns.shape[1], -1)
        ctx.save_for_backward(columns, matrix)
        ctx.shape = x.shape
        return torch.mm(columns, matrix).add_(bias).view(h, w, batch, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        dy = dy.contiguous()
        columns, matrix = ctx.saved_tensors
        batch, _, _, c_in = ctx.shape
        h, w, _, c_out = dy.shape
        dy = dy.view(-1, c_out)
        dw = torch.mm(columns.t(), dy).view(KERNEL, KERNEL, c_in, c_out)
        d_columns = torch.mm(dy, matrix.t()).view(h, w, batch, KERNEL, KERNEL * c_in)
        dx = dy.new_zeros(ctx.shape)
        image, line, run = dx.stride(0), dx.stride(1), KERNEL * c_in
        for ky in range(KERNEL):
            for ox in range(w):
                into = dx.as_strided((h, batch, run), (STRIDE * line, image, 1), ky * line + ox * STRIDE * c_in)
                into.add_(d_columns[:, ox, :, ky])
        return dx, dw, dy.sum(0)


def primary_conv(
    images_BCHW: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, work: torch.dtype | None = None
) -> Tensor:
    """Conv1, ReLU and the PrimaryCaps convolution: [h, w, B, out] of the images' type.

    `w1` is [out, in, 9, 9]; `w2` [9, 9, in, out], contiguous; `work` is the type of the matrix work, by default the images'.
    The algorithm is chosen by batch size and type alone, so equal batches give equal bits.
    """
    kind = work or images_BCHW.dtype
    algorithm = _algorithm(len(images_BCHW), kind)
    x = ConvReLU.apply(images_BCHW.to(kind), w1.to(kind), b1.to(kind), algorithm is not None)  # type: ignore[no-untyped-call]
    y: Tensor
    if algorithm is None:
        y = DirectConv.apply(x, w2.to(kind), b2.to(kind))  # type: ignore[no-untyped-call]
    else:
        of = algorithm(x.shape[0], x.shape[1], kind)
        y = TransformedConv.apply(x, w2.to(kind), b2.to(kind), of)  # type: ignore[no-untyped-call]
    return y.to(images_BCHW.dtype)


def _algorithm(batch: int, kind: torch.dtype) -> Callable[[int, int, torch.dtype], Transforms] | None:
    """The transforms that are fastest for a batch size; None for the direct convolution."""
    if kind == torch.bfloat16:
        return transforms.dft if batch >= DFT_FROM_BFLOAT16 else None
    if batch < TILES_FROM:
        return None
    return transforms.tiles if batch < DFT_FROM else transforms.dft
