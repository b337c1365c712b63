"""Fast convolution algorithms as three matrices: y = A [(G w) (B x)], with the products taken point by point.

They compute the stride-1 correlation of a grid with a kernel of up to 5x5 taps. `B` takes the grid to m rows at each of R
points, `G` takes the taps to one row at each point, and `A` takes the R*m products to the outputs. The letters are those of
the literature on Winograd's algorithms. Both algorithms are exact up to rounding.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

TAPS = 5  # of a kernel, per side; the odd phases of a 9x9 kernel have one less
PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))  # (y, x) of the stride-2 phases
TILE = 3  # outputs of a tile, per side
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # TILE + TAPS - 1 of them; near 1 and in pairs, for small rounding errors


class Transforms(NamedTuple):
    """The matrices of an algorithm: B [R*m, ny*nx], G of each phase [R, taps], A [outputs, R*m]."""

    B: Tensor
    G: list[Tensor]
    A: Tensor


def _of_phases(G_all: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """The columns of `G_all` [R, TAPS, TAPS] for the taps that each phase has, [R, taps]."""
    return [G_all[:, : TAPS - py, : TAPS - px].flatten(1).to(dtype) for py, px in PHASES]


@cache
def dft(ny: int, nx: int, dtype: torch.dtype) -> Transforms:
    """The transforms of the real discrete Fourier transform of a whole grid of `ny` by `nx`, in the type `dtype`.

    A complex product is made of three real ones (Karatsuba).
    """

    def grid(a: int, b: int) -> Tensor:
        return torch.cartesian_prod(torch.arange(a), torch.arange(b)).double()

    n = ny * nx
    at_in, at_tap, at_out = grid(ny, nx), grid(TAPS, TAPS), grid(ny - TAPS + 1, nx - TAPS + 1)
    b, g, a = [], [], []
    seen = set()
    for fy in range(ny):
        for fx in range(nx):
            if (fy, fx) in seen:
                continue
            seen |= {(fy, fx), (-fy % ny, -fx % nx)}  # the conjugate frequency adds nothing
            wave = torch.tensor([2 * math.pi * fy / ny, 2 * math.pi * fx / nx], dtype=torch.double)
            real, imag = (at_in @ wave).cos(), -(at_in @ wave).sin()
            w_real, w_imag = (at_tap @ wave).cos(), (at_tap @ wave).sin()  # conjugate: a correlation
            y_real, y_imag = (at_out @ wave).cos() * 2 / n, -(at_out @ wave).sin() * 2 / n  # what each adds to the outputs
            if (2 * fy) % ny == 0 and (2 * fx) % nx == 0:  # a real frequency
                b += [real]
                g += [w_real]
                a += [y_real / 2]
            else:
                b += [real, imag, real + imag]
                g += [w_real, w_imag, w_real + w_imag]
                a += [y_real - y_imag, -y_real - y_imag, y_imag]
    G_all = torch.stack(g).view(-1, TAPS, TAPS)
    return Transforms(torch.stack(b).to(dtype), _of_phases(G_all, dtype), torch.stack(a, 1).to(dtype))


def _toom_cook() -> tuple[Tensor, Tensor, Tensor]:
    """(A [points, TILE], G [points, TAPS], B [points, points]) of one dimension: y = A^T ((G w) (B x)).

    This is Winograd's F(3, 5): a product of polynomials, evaluated at the points, transposed. The rows of each point are
    scaled to equal norms.
    """
    at = torch.tensor(POINTS, dtype=torch.double)
    A, G = (torch.stack([at**k for k in range(width)], 1) for width in (TILE, TAPS))
    B = torch.linalg.inv(torch.stack([at**k for k in range(len(POINTS))], 1)).t()
    norms = [rows.norm(dim=1, keepdim=True) for rows in (A, G, B)]
    each = (norms[0] * norms[1] * norms[2]) ** (1 / 3)
    return A * each / norms[0], G * each / norms[1], B * each / norms[2]


@cache
def tiles(ny: int, nx: int, dtype: torch.dtype) -> Transforms:
    """The transforms of overlapping tiles of 7x7 inputs and 3x3 outputs, for a grid of `ny` by `nx`, in the type `dtype`.

    They have half as many points as `dft`, and more rows at each.
    """
    A_1, G_1, B_1 = _toom_cook()
    n = len(POINTS)

    def axis(inputs: int) -> tuple[Tensor, Tensor]:
        """(A [outputs, tiles, points], B [points, tiles, inputs]) of one side; the last tile may reach over the edge."""
        outputs = inputs - TAPS + 1
        count = -(-outputs // TILE)
        A, B = A_1.new_zeros(outputs, count, n), B_1.new_zeros(n, count, inputs)
        for tile in range(count):
            first = tile * TILE
            rows, columns = min(TILE, outputs - first), min(n, inputs - first)
            A[first : first + rows, tile] = A_1.t()[:rows]
            B[:, tile, first : first + columns] = B_1[:, :columns]
        return A, B

    (A_y, B_y), (A_x, B_x) = axis(ny), axis(nx)
    B = torch.einsum("psi,qtj->pqstij", B_y, B_x).reshape(-1, ny * nx)
    A = torch.einsum("isp,jtq->ijpqst", A_y, A_x).reshape(len(A_y) * len(A_x), -1)
    G_all = torch.einsum("pa,qb->pqab", G_1, G_1).reshape(n * n, TAPS, TAPS)
    return Transforms(B.to(dtype), _of_phases(G_all, dtype), A.to(dtype))
