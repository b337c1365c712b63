"""Initial weights from the seed of a run: the same for all runs of a network variant, on whatever device they train."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import nn

from fastrcaps_dse.problem.space import DesignPoint


def derive_seed(root: int, *purpose: object) -> int:
    """A seed of 63 bits for one purpose, derived from the seed of the run."""
    digest = hashlib.blake2b(":".join(map(str, (root, *purpose))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(root: int, *purpose: object) -> torch.Generator:
    """A generator for one purpose, on the CPU, so that it gives the same numbers whatever device trains."""
    return torch.Generator().manual_seed(derive_seed(root, *purpose))


def weights_generator(seed: int, point: DesignPoint) -> torch.Generator:
    """The generator of the initial weights of a design in a run with this seed."""
    return generator(seed, "weights", point.network, point.weight_sharing, point.decoder)


def uniform(layer: nn.Module, generator: torch.Generator) -> None:
    """Initialize a layer, uniform within 1/sqrt(fan-in)."""
    assert isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None
    bound = 1 / math.sqrt(layer.weight[0].numel())
    layer.weight.uniform_(-bound, bound, generator=generator)
    layer.bias.uniform_(-bound, bound, generator=generator)
