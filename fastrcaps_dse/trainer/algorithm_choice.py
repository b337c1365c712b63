"""Which convolution algorithm is the fastest for a batch size on this processor: the possible ones are timed in turn."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from fastrcaps_dse.capsnet import sizes
from fastrcaps_dse.capsnet.algorithms import Algorithm, contenders, default_algorithm
from fastrcaps_dse.capsnet.convolution import primary_conv
from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.trainer.device import keep_memory
from fastrcaps_dse.trainer.memory import clear_device_errors, free_memory, lacks_memory

VARIABLE = "FASTRCAPS_ALGORITHMS"
HOW = ("measured", "default")  # values of the variable
MOST_IMAGES = 128  # of a timing; the seconds of larger batches grow as their images do
ROUND_SECONDS = 0.5  # after which no further round begins
ROUNDS = 5  # at most
OUT = 1.3  # times the fastest: an algorithm that was so slow in a round is in no further one
CLEAR = 0.95  # times the default one: faster than this is worth another choice


@dataclass(frozen=True, kw_only=True)
class AlgorithmTiming:
    """The algorithm for a batch size, and the seconds that each possible one took, forward and backward."""

    algorithm: Algorithm
    seconds: Mapping[Algorithm, float]  # the least of all rounds


def measures_algorithms() -> bool:
    """Whether algorithms are chosen by measurement: not if FASTRCAPS_ALGORITHMS is "default". Raises InputError for other values."""
    how = os.environ.get(VARIABLE) or HOW[0]
    if how not in HOW:
        raise InputError(f"{VARIABLE} is {how!r}", nearest(how, HOW))
    return how == HOW[0]


def fastest_algorithm(shape: ImageShape, batch_size: int, precision: Precision) -> AlgorithmTiming:
    """Time the algorithms that can be the fastest for batches of images of this shape. Where one has no rival, nothing is timed.

    One for which the memory does not suffice is left out. Raises TooLittleMemory where none is left.

    Call it where no other process trains (see `alone`).
    """
    kind = work_type(precision)
    grid = sizes.primary_grid(shape)
    possible = contenders(batch_size, kind, grid)
    if len(possible) == 1:
        return AlgorithmTiming(algorithm=possible[0], seconds={})
    with clear_device_errors():
        seconds = _time_in_turn({name: _pass(shape, min(batch_size, MOST_IMAGES), kind, name) for name in possible})
    return AlgorithmTiming(algorithm=choose(seconds, default_algorithm(batch_size, kind, grid)), seconds=seconds)


def has_rivals(batch_size: int, precision: Precision, shape: ImageShape) -> bool:
    """Whether more than one algorithm can be the fastest for a batch size and images of this shape."""
    return len(contenders(batch_size, work_type(precision), sizes.primary_grid(shape))) > 1


def work_type(precision: Precision) -> torch.dtype:
    """The number type of the convolutions."""
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def choose(seconds: Mapping[Algorithm, float], default: Algorithm) -> Algorithm:
    """The fastest algorithm; the default one if no other is clearly faster."""
    fastest = min(seconds, key=lambda name: seconds[name])
    if default in seconds and seconds[fastest] > CLEAR * seconds[default]:
        return default
    return fastest


def _time_in_turn(acts: Mapping[Algorithm, Callable[[], object]]) -> dict[Algorithm, float]:
    """The least seconds of each act, after a warm-up; those that are far behind are timed once."""
    running = [name for name in acts if _has_memory(acts[name])]
    if not running:
        raise MemoryError
    seconds: dict[Algorithm, float] = {}
    begun = time.perf_counter()
    for _ in range(ROUNDS):
        for name in running:
            start = time.perf_counter()
            acts[name]()
            taken = time.perf_counter() - start
            seconds[name] = min(taken, seconds.get(name, taken))
        running = [name for name in running if seconds[name] <= OUT * min(seconds.values())]
        if len(running) == 1 or time.perf_counter() - begun > ROUND_SECONDS:
            break
    return seconds


def _has_memory(act: Callable[[], object]) -> bool:
    """Act; whether the memory suffices."""
    try:
        act()
    except (RuntimeError, MemoryError) as error:
        if not lacks_memory(error):
            raise
    else:
        return True
    free_memory()
    return False


def _pass(shape: ImageShape, batch_size: int, kind: torch.dtype, algorithm: Algorithm) -> Callable[[], object]:
    """A forward and a backward pass of the two convolutions on a batch, as a training step has them."""
    keep_memory()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch_size, shape.channels, shape.height, shape.width, generator=generator)
    features, channels = sizes.CONV_CHANNELS, sizes.CAPSULE_TYPES * sizes.PRIMARY_DIM
    side = sizes.KERNEL
    weights = [
        torch.randn(*of, generator=generator).mul_(0.01).requires_grad_()
        for of in ((features, shape.channels, side, side), (features,), (side, side, features, channels), (channels,))
    ]

    def act() -> object:
        w1, b1, w2, b2 = weights
        y = primary_conv(images, w1, b1, w2, b2, kind, algorithm)
        return torch.autograd.grad(y, weights, torch.ones_like(y))

    return act
