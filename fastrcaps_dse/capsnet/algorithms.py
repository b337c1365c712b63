"""Which convolution algorithm PrimaryCaps uses on a CPU, for each batch size and number type.

All algorithms are exact up to rounding, and which one is the fastest depends on the processor. So a choice is data: it is given to
a network, and kept with a run, which then gives the same bits wherever it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch

from fastrcaps_dse.capsnet.transforms import TAPS

Algorithm = Literal["direct", "tiles", "dft"]
"""Direct (im2col), overlapping tiles, or discrete Fourier transform: see `convolution`."""

TILES_FROM, DFT_FROM = 5, 48  # batch sizes from which these are the default ones in float32
DFT_FROM_BFLOAT16 = 12  # and in bfloat16, in which tiles would lose too many digits
DIRECT_UP_TO = 32  # images; with more, direct convolution is nowhere the fastest
TRANSFORMS_FROM = 4  # images; with fewer, transforms of any kind are nowhere the fastest
DFT_CAN_WIN_FROM = 12  # images; with fewer, dft is nowhere the fastest in float32
TILES_UP_TO, DFT_UP_TO = (
    400,
    1024,
)  # points of the grid of a stride phase: the work of their dense transforms grows as its square
SMALL_GRID = (6, 6)  # of the primary capsules, for 28x28 images


def default_algorithm(batch_size: int, kind: torch.dtype, grid: tuple[int, int] = SMALL_GRID) -> Algorithm:
    """The algorithm of a batch size for which none was chosen, by fixed limits; `grid` is that of the primary capsules."""
    tiles_fit, dft_fits = (phase_points(grid) <= most for most in (TILES_UP_TO, DFT_UP_TO))
    if kind == torch.bfloat16:
        return "dft" if batch_size >= DFT_FROM_BFLOAT16 and dft_fits else "direct"
    if batch_size >= TILES_FROM and batch_size < DFT_FROM and tiles_fit:
        return "tiles"
    return "dft" if batch_size >= DFT_FROM and dft_fits else "direct"


def contenders(batch_size: int, kind: torch.dtype, grid: tuple[int, int] = SMALL_GRID) -> tuple[Algorithm, ...]:
    """The algorithms that can be the fastest for a batch size on some processor; `grid` is that of the primary capsules."""
    tiles_fit, dft_fits = (phase_points(grid) <= most for most in (TILES_UP_TO, DFT_UP_TO))
    few = batch_size <= DIRECT_UP_TO or not tiles_fit
    if kind == torch.bfloat16:
        can: dict[Algorithm, bool] = {"direct": few, "dft": batch_size >= TRANSFORMS_FROM and dft_fits}
    else:
        can = {
            "direct": few,
            "tiles": batch_size >= TRANSFORMS_FROM and tiles_fit,
            "dft": batch_size >= DFT_CAN_WIN_FROM and dft_fits,
        }
    return tuple(name for name, possible in can.items() if possible)


def phase_points(grid: tuple[int, int]) -> int:
    """The number of points of a stride phase of Conv1's output, for this grid of primary capsules."""
    return (grid[0] + TAPS - 1) * (grid[1] + TAPS - 1)


@dataclass(frozen=True, kw_only=True)
class Algorithms:
    """The algorithms that were chosen, by batch size. All other batch sizes have `default_algorithm`, wherever they are used."""

    chosen: Mapping[int, Algorithm] = field(default_factory=dict)

    def of(self, batch_size: int, kind: torch.dtype, grid: tuple[int, int] = SMALL_GRID) -> Algorithm:
        """The algorithm of a batch size; `grid` is that of the primary capsules."""
        return self.chosen.get(batch_size) or default_algorithm(batch_size, kind, grid)

    def to_dict(self) -> dict[str, str]:
        """As JSON has it."""
        return {str(size): name for size, name in sorted(self.chosen.items())}


BY_DEFAULT = Algorithms()
"""Nothing was chosen."""


def algorithms_from_dict(stored: Mapping[str, str]) -> Algorithms:
    """The inverse of `Algorithms.to_dict`. Raises ValueError for an algorithm that this version does not have."""
    chosen: dict[int, Algorithm] = {}
    for size, stored_name in stored.items():
        chosen[int(size)] = parse_algorithm(stored_name)
    return Algorithms(chosen=chosen)


def parse_algorithm(name: str) -> Algorithm:
    """The algorithm of this name. Raises ValueError for one that this version does not have."""
    for one in get_args(Algorithm):
        if one == name:
            found: Algorithm = one
            return found
    raise ValueError(f"there is no convolution algorithm {name!r}")
