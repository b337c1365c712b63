"""The two convolutions on a CPU as a few large matrix products, in float32 or bfloat16 (which sums in float32 inside a product).

There are three algorithms for PrimaryCaps. All are exact up to rounding. Which one is the fastest for a batch size depends on the
processor; the caller chooses (see `algorithms`).

- Direct (im2col): for a few images, where transforming the weights would not pay off.
- Tiles, and discrete Fourier transform (see `transforms`): the four stride phases of the input are stride-1 convolutions with
  5x5 kernels on one (h+4)x(w+4) grid. Forward pass, weight gradient and input gradient are each one batched matrix product
  between cheap linear transforms, with a fifth to a quarter of the multiply-adds of the direct algorithm. Tiles have half as
  many transformed weights, which bound the speed of middle batches. The Fourier transform has fewer products and smaller
  rounding errors; bfloat16 uses no other.

Conv1 writes the layout that PrimaryCaps reads: [y, x, B, p, q, F] (grid, image, stride phase, channel), or [B, H, W, F] for
the direct algorithm. Shape suffixes: see the package.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fastrcaps_dse.capsnet import transforms
from fastrcaps_dse.capsnet.algorithms import Algorithm, default_algorithm
from fastrcaps_dse.capsnet.sizes import KERNEL, primary_side
from fastrcaps_dse.capsnet.sizes import PRIMARY_STRIDE as STRIDE
from fastrcaps_dse.capsnet.transforms import PHASES, TAPS, Transforms

WINDOWS_BYTES = 2**28  # of the windows that direct convolution holds at once; those of 32 images of 32x32 fit


class ConvReLU(torch.autograd.Function):
    """ReLU(9x9 convolution + bias) as one matrix product: images [B, C, H, W], weight [F, C, K, K], bias [F].

    Returns [y, x, B, p, q, F] if `phased`, else [B, H-8, W-8, F].
    """

    @staticmethod
    def forward(ctx: Any, images_BCHW: Tensor, weight_FCKK: Tensor, bias_F: Tensor, phased: bool) -> Tensor:
        images_BCHW = images_BCHW.contiguous()
        batch, channels, height, width = ctx.image = images_BCHW.shape
        rows: tuple[int, ...]
        strides: tuple[int, ...]
        if phased:
            ny, nx = primary_side(height) + TAPS - 1, primary_side(width) + TAPS - 1
            below, right = 2 * ny + KERNEL - 1 - height, 2 * nx + KERNEL - 1 - width
            if below > 0 or right > 0:  # an odd side: the last row of the odd phase meets only taps that are zero
                images_BCHW = F.pad(images_BCHW, (0, right, 0, below))
            image, plane, line, _ = images_BCHW.stride()
            rows, strides = (ny, nx, batch, 2, 2), (2 * line, 2, image, line, 1, plane, line, 1)
        else:
            image, plane, line, _ = images_BCHW.stride()
            rows, strides = (batch, height - KERNEL + 1, width - KERNEL + 1), (image, line, 1, plane, line, 1)
        size = channels * KERNEL**2
        columns = images_BCHW.new_empty(math.prod(rows), size + 1)  # of the matrix product: a window of the images in each row
        columns[:, size] = 1  # the bias is one more input
        columns[:, :size].unflatten(1, (channels, KERNEL, KERNEL)).unflatten(0, rows).copy_(
            images_BCHW.as_strided((*rows, channels, KERNEL, KERNEL), strides, images_BCHW.storage_offset())
        )
        y = torch.mm(columns, torch.cat((weight_FCKK.flatten(1).t(), bias_F.unsqueeze(0)))).relu_()
        ctx.save_for_backward(columns, y, weight_FCKK if ctx.needs_input_grad[0] else None)
        ctx.shape, ctx.phased = weight_FCKK.shape, phased
        return y.view(*rows, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        columns, y, weight_FCKK = ctx.saved_tensors
        rows = dy.shape
        dy = torch.ops.aten.threshold_backward(dy.view_as(y), y, 0)
        d = torch.mm(dy.t(), columns)
        dx_BCHW = _image_gradient(dy.view(rows), weight_FCKK, ctx.image, ctx.phased) if ctx.needs_input_grad[0] else None
        return dx_BCHW, d[:, :-1].reshape(ctx.shape), d[:, -1].clone(), None


def _image_gradient(dy: Tensor, weight_FCKK: Tensor, image: torch.Size, phased: bool) -> Tensor:
    """The gradient by the images of a 9x9 convolution whose output has the gradient `dy`, in one of the layouts of `ConvReLU`."""
    dy_BHWF = dy.permute(2, 0, 3, 1, 4, 5).flatten(3, 4).flatten(1, 2) if phased else dy
    dx_BCHW = F.conv_transpose2d(dy_BHWF.permute(0, 3, 1, 2), weight_FCKK)
    return dx_BCHW[:, :, : image[2], : image[3]]  # the rest is what an odd side was padded with


class TransformedConv(torch.autograd.Function):
    """Stride-2 9x9 convolution through `transforms`: [y, x, B, p, q, F], weight [K, K, F, M], bias [M] to [h, w, B, M]."""

    @staticmethod
    def forward(ctx: Any, x_yxBpqF: Tensor, weight_KKFM: Tensor, bias_M: Tensor, of: Transforms) -> Tensor:
        ny, nx, batch, _, _, c_in = x_yxBpqF.shape
        c_out = weight_KKFM.shape[-1]
        B, G, A = of
        points = len(G[0])
        w_hat = weight_KKFM.new_empty(points, len(PHASES), c_in * c_out)
        for k, (py, px) in enumerate(PHASES):
            torch.mm(G[k], weight_KKFM[py::2, px::2].reshape(-1, c_in * c_out), out=w_hat[:, k])
        w_hat = w_hat.view(points, 4 * c_in, c_out)
        x_hat = torch.mm(B, x_yxBpqF.view(ny * nx, -1)).view(points, -1, 4 * c_in)
        y_hwBM = torch.mm(A, torch.bmm(x_hat, w_hat).view(len(B), -1)).view(ny - TAPS + 1, nx - TAPS + 1, batch, c_out)
        ctx.save_for_backward(x_hat, w_hat)
        ctx.transforms = of
        ctx.shape = x_yxBpqF.shape
        return y_hwBM.add_(bias_M)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_hwBM: Tensor) -> tuple[Tensor | None, ...]:
        dy_hwBM = dy_hwBM.contiguous()
        x_hat, w_hat = ctx.saved_tensors
        B, G, A = ctx.transforms
        c_in, c_out = ctx.shape[-1], dy_hwBM.shape[-1]
        points = len(w_hat)
        dy_hat = torch.mm(A.t(), dy_hwBM.view(A.shape[0], -1)).view(*x_hat.shape[:2], c_out)
        dw_hat = torch.bmm(x_hat.transpose(1, 2), dy_hat).view(points, len(PHASES), -1)
        dw_KKFM = dy_hwBM.new_empty(KERNEL, KERNEL, c_in, c_out)
        for k, (py, px) in enumerate(PHASES):
            of_phase = dw_KKFM[py::2, px::2]
            of_phase.copy_(torch.mm(G[k].t(), dw_hat[:, k]).view(of_phase.shape))
        del dw_hat
        dx_hat = torch.bmm(dy_hat, w_hat.transpose(1, 2))
        dx_yxBpqF = torch.mm(B.t(), dx_hat.view(B.shape[0], -1)).view(ctx.shape)
        return dx_yxBpqF, dw_KKFM, dy_hwBM.view(-1, c_out).sum(0), None


class DirectConv(torch.autograd.Function):
    """Stride-2 9x9 convolution by im2col: [B, H, W, F], weight [K, K, F, M], bias [M] to [h, w, B, M].

    H and W are here those of Conv1's output.
    """

    @staticmethod
    def forward(ctx: Any, x_BHWF: Tensor, weight_KKFM: Tensor, bias_M: Tensor) -> Tensor:
        batch, height, width, c_in = x_BHWF.shape
        h, w = (height - KERNEL) // STRIDE + 1, (width - KERNEL) // STRIDE + 1
        image, line = x_BHWF.stride(0), x_BHWF.stride(1)
        run = KERNEL * c_in  # a row of the kernel: contiguous in memory
        columns = x_BHWF.new_empty(h, w, batch, KERNEL, run)
        columns.copy_(x_BHWF.as_strided(columns.shape, (STRIDE * line, STRIDE * c_in, image, line, 1), x_BHWF.storage_offset()))
        columns = columns.view(h * w * batch, -1)
        matrix = weight_KKFM.view(columns.shape[1], -1)
        ctx.save_for_backward(columns, matrix)
        ctx.shape = x_BHWF.shape
        return torch.mm(columns, matrix).add_(bias_M).view(h, w, batch, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_hwBM: Tensor) -> tuple[Tensor | None, ...]:
        dy_hwBM = dy_hwBM.contiguous()
        columns, matrix = ctx.saved_tensors
        batch, _, _, c_in = ctx.shape
        h, w, _, c_out = dy_hwBM.shape
        dy = dy_hwBM.view(-1, c_out)
        # a product for each tap: with few images, one product of all taps is about half as fast
        taps = KERNEL**2
        dy_of_taps = dy.expand(taps, *dy.shape)
        dw_KKFM = torch.bmm(columns.view(len(dy), taps, c_in).permute(1, 2, 0), dy_of_taps).view(KERNEL, KERNEL, c_in, c_out)
        d_taps = torch.bmm(dy_of_taps, matrix.view(taps, c_in, c_out).transpose(1, 2))
        d_KKhwBF = d_taps.view(KERNEL, KERNEL, h, w, batch, c_in)
        dx_BHWF = dy.new_zeros(ctx.shape)
        image, line = dx_BHWF.stride(0), dx_BHWF.stride(1)
        for ky in range(KERNEL):
            for ox in range(w):
                strides = (c_in, STRIDE * line, image, 1)
                into = dx_BHWF.as_strided((KERNEL, h, batch, c_in), strides, ky * line + ox * STRIDE * c_in)
                into.add_(d_KKhwBF[ky, :, :, ox])
        return dx_BHWF, dw_KKFM, dy.sum(0)


class DirectConvInParts(torch.autograd.Function):
    """`DirectConv` for large pictures: im2col of some rows of the grid at a time, and again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x_BHWF: Tensor, weight_KKFM: Tensor, bias_M: Tensor, rows: int) -> Tensor:
        batch, height, width, _ = x_BHWF.shape
        h, w = (height - KERNEL) // STRIDE + 1, (width - KERNEL) // STRIDE + 1
        c_out = weight_KKFM.shape[-1]
        y_hwBM = x_BHWF.new_empty(h, w, batch, c_out)
        for first in range(0, h, rows):
            part = y_hwBM[first : first + rows]
            columns = _columns(x_BHWF, first, len(part), w)
            torch.addmm(bias_M, columns, weight_KKFM.view(-1, c_out), out=part.view(-1, c_out))
        ctx.save_for_backward(x_BHWF, weight_KKFM)
        ctx.rows = rows
        return y_hwBM

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_hwBM: Tensor) -> tuple[Tensor | None, ...]:
        dy_hwBM = dy_hwBM.contiguous()
        x_BHWF, weight_KKFM = ctx.saved_tensors
        h, w, batch, c_out = dy_hwBM.shape
        matrix = weight_KKFM.view(-1, c_out)
        d_matrix, dx_BHWF = torch.zeros_like(matrix), torch.zeros_like(x_BHWF)
        for first in range(0, h, ctx.rows):
            part = dy_hwBM[first : first + ctx.rows]
            dy = part.view(-1, c_out)
            columns = _columns(x_BHWF, first, len(part), w)
            d_matrix.addmm_(columns.t(), dy)
            d_columns = torch.mm(dy, matrix.t(), out=columns).view(len(part), w, batch, KERNEL, KERNEL, -1)
            for ky in range(KERNEL):
                top = STRIDE * first + ky
                for kx in range(KERNEL):
                    into = dx_BHWF[:, top : top + STRIDE * len(part) - 1 : STRIDE, kx : kx + STRIDE * w - 1 : STRIDE]
                    into.add_(d_columns[:, :, :, ky, kx].permute(2, 0, 1, 3))
        return dx_BHWF, d_matrix.view_as(weight_KKFM), dy_hwBM.view(-1, c_out).sum(0), None


def _columns(x_BHWF: Tensor, first: int, rows: int, w: int) -> Tensor:
    """The windows of a convolution for some rows of its output, [rows*w*B, K*K*F]."""
    batch, _, _, c_in = x_BHWF.shape
    image, line = x_BHWF.stride(0), x_BHWF.stride(1)
    columns = x_BHWF.new_empty(rows, w, batch, KERNEL, KERNEL * c_in)
    strides = (STRIDE * line, STRIDE * c_in, image, line, 1)
    columns.copy_(x_BHWF.as_strided(columns.shape, strides, x_BHWF.storage_offset() + STRIDE * first * line))
    return columns.view(rows * w * batch, -1)


def rows_at_once(grid: tuple[int, int], batch_size: int, bytes_of_a_window: int) -> int:
    """The rows of the grid whose windows direct convolution holds in memory at once."""
    return min(grid[0], max(1, WINDOWS_BYTES // (grid[1] * batch_size * bytes_of_a_window)))


def _direct(x_BHWF: Tensor, weight_KKFM: Tensor, bias_M: Tensor) -> Tensor:
    """Stride-2 9x9 convolution by im2col, as a whole or in parts: see `DirectConv`."""
    batch, height, width, c_in = x_BHWF.shape
    grid = (height - KERNEL) // STRIDE + 1, (width - KERNEL) // STRIDE + 1
    rows = rows_at_once(grid, batch, KERNEL**2 * c_in * x_BHWF.element_size())
    y_hwBM: Tensor
    if rows == grid[0]:
        y_hwBM = DirectConv.apply(x_BHWF, weight_KKFM, bias_M)  # type: ignore[no-untyped-call]
    else:
        y_hwBM = DirectConvInParts.apply(x_BHWF, weight_KKFM, bias_M, rows)  # type: ignore[no-untyped-call]
    return y_hwBM


def primary_conv(
    images_BCHW: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    work: torch.dtype | None = None,
    algorithm: Algorithm | None = None,
) -> Tensor:
    """Conv1, ReLU and the PrimaryCaps convolution, [h, w, B, M], in the type of the images.

    `w1` is [F, C, K, K] and `b1` [F]; `w2` is [K, K, F, M], contiguous, and `b2` [M]. `work` is the type of the matrix work,
    by default that of the images. `algorithm` is by default `default_algorithm`. Equal arguments give equal bits.
    """
    kind = work or images_BCHW.dtype
    grid = primary_side(images_BCHW.shape[2]), primary_side(images_BCHW.shape[3])
    chosen = algorithm or default_algorithm(len(images_BCHW), kind, grid)
    x = ConvReLU.apply(images_BCHW.to(kind), w1.to(kind), b1.to(kind), chosen != "direct")  # type: ignore[no-untyped-call]
    y_hwBM: Tensor
    if chosen == "direct":
        y_hwBM = _direct(x, w2.to(kind), b2.to(kind))
    else:
        of = (transforms.tiles if chosen == "tiles" else transforms.dft)(x.shape[0], x.shape[1], kind)
        y_hwBM = TransformedConv.apply(x, w2.to(kind), b2.to(kind), of)  # type: ignore[no-untyped-call]
    return y_hwBM.to(images_BCHW.dtype)
