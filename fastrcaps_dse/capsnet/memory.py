"""How much memory a run needs, by formula and before anything is allocated; and how many images are evaluated at once.

The formulas count the tensors of the modules beside this one: those that the forward pass keeps, and the largest that it or the
backward pass has besides. `SLACK_SHARE` and `SLACK_BYTES` stand for what they leave out. `benchmarks.memory` compares with measured
peaks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from fastrcaps_dse.capsnet import sizes
from fastrcaps_dse.capsnet.algorithms import Algorithm, default_algorithm, phase_points
from fastrcaps_dse.capsnet.convolution import rows_at_once
from fastrcaps_dse.capsnet.routing import ROUTE_CHUNK, images_at_once
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.capsnet.transforms import POINTS, TILE
from fastrcaps_dse.problem.space import DesignPoint

FLOAT = 4  # bytes
STATE = 4  # numbers that training keeps for each parameter: itself, its gradient, two moments
SLACK_SHARE, SLACK_BYTES = 1.3, 100 * 10**6  # what an allocator and its libraries take besides
EVALUATED = 500  # images of a batch, at most
EVALUATION_BYTES = 2 * 2**30  # for those; 500 images of 32x32 and 100 classes need less


@dataclass(frozen=True, kw_only=True)
class Part:
    """Bytes of a part of the network."""

    kept: float  # from the forward pass to the backward pass
    forward: float  # besides, while it computes
    backward: float


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is trained on: images of one batch, on a CPU or on another device."""

    point: DesignPoint
    shape: ImageShape
    batch: int  # images
    work: torch.dtype = torch.float32  # number type of the convolutions
    on_cpu: bool = True
    algorithm: Algorithm | None = None  # by default the default one

    @property
    def grid(self) -> tuple[int, int]:
        """Of the primary capsules."""
        return sizes.primary_grid(self.shape)


def training_bytes(load: Load, images: int) -> int:
    """About the most bytes that a run needs at once, beyond those of the process and its data set; `images` is how many train.

    On a CPU it is a little more than what is measured. On other devices it counts only what cannot be spared: whoever refuses a run
    for it is right, and whoever admits it may still run out of memory.
    """
    parameters = FLOAT * sizes.parameter_count(load.point, load.shape)
    pixels = images * load.shape.pixels  # uint8
    data = 2 * pixels + (images * load.shape.channels * (load.shape.height + 4) * (load.shape.width + 4))
    parts = _parts(load)
    kept = sum(part.kept for part in parts)
    step = STATE * parameters + kept + (max(part.backward for part in parts) if load.on_cpu else 0)
    if not load.on_cpu:
        return int(step + data)
    evaluated = evaluation_batch(load.point, load.shape, load.work)
    evaluation = STATE * parameters + classification_bytes(_of_size(load, evaluated))
    checkpoint = (STATE + STATE - 1) * parameters  # a safetensors file is put together in memory
    return int(SLACK_SHARE * (max(step, evaluation, checkpoint) + data) + SLACK_BYTES)


def classification_bytes(load: Load) -> float:
    """About the bytes that classifying a batch needs at once, without the weights."""
    network, *rest = _parts(load)
    routing = max((part.kept + part.forward for part in rest), default=0.0)
    return max(network.kept + network.forward, routing)


def evaluation_batch(point: DesignPoint, shape: ImageShape, work: torch.dtype = torch.float32) -> int:
    """How many images are classified at once: 500, or as many as need no more than `EVALUATION_BYTES`; at least one."""

    def fits(batch: int) -> bool:
        return classification_bytes(Load(point=point, shape=shape, batch=batch, work=work)) <= EVALUATION_BYTES

    return EVALUATED if fits(EVALUATED) else max(1, largest(fits, EVALUATED))


def largest_batch(load: Load, images: int, room: float) -> int:
    """The most images of a batch with which a run fits into `room` bytes, up to those of `load`; 0 where no batch does."""
    return largest(lambda batch: training_bytes(_of_size(load, batch), images) <= room, load.batch)


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, where all smaller ones fit too; 0 for none."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def in_words(size: float) -> str:
    """Bytes as people write them."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{math.ceil(size / 1e6)} MB"


def _of_size(load: Load, batch: int) -> Load:
    return Load(point=load.point, shape=load.shape, batch=batch, work=load.work, on_cpu=load.on_cpu)


def _parts(load: Load) -> list[Part]:
    """The parts of the network, from the image on."""
    if load.point.network == "lenet5":
        return [_lenet(load)]
    decoder = FLOAT * load.batch * (6 * load.shape.pixels + 4 * sum(sizes.DECODER_HIDDEN))
    routing = _shared_routing(load) if load.point.weight_sharing else _full_routing(load)
    return [_convolutions(load), routing, Part(kept=decoder, forward=0, backward=decoder / 2)]


def _lenet(load: Load) -> Part:
    height, width = (max(side, sizes.LENET_SIDE) for side in (load.shape.height, load.shape.width))
    layers = FLOAT * load.batch * height * width * (load.shape.channels + 6 + 6 + 4)
    return Part(kept=layers, forward=layers, backward=2 * layers)


def _convolutions(load: Load) -> Part:
    """Conv1 and PrimaryCaps: see `convolution`."""
    number = 2 if load.work == torch.bfloat16 else FLOAT
    shape, grid, batch = load.shape, load.grid, load.batch
    channels, outputs = sizes.CONV_CHANNELS, sizes.CAPSULE_TYPES * sizes.PRIMARY_DIM
    window = sizes.KERNEL**2 * shape.channels + 1
    capsules = FLOAT * batch * grid[0] * grid[1] * outputs
    kernel = number * sizes.KERNEL**2 * channels * outputs
    conv1 = number * batch * (shape.height - 8) * (shape.width - 8)  # for each channel
    if not load.on_cpu:
        return Part(kept=conv1 * channels + capsules, forward=0, backward=conv1 * channels)
    algorithm = load.algorithm or default_algorithm(batch, load.work, grid)
    if algorithm != "direct":
        return _transformed(load, algorithm, number)
    windows = number * sizes.KERNEL**2 * channels  # of one position
    rows = rows_at_once(grid, batch, windows)
    held = windows * rows * grid[1] * batch
    whole = rows == grid[0]
    kept = conv1 * (window + channels) + capsules + (held if whole else 0)
    forward = capsules + (0 if whole else held)
    return Part(kept=kept, forward=forward, backward=2 * capsules + 2 * kernel + 2 * conv1 * channels + held)


def _transformed(load: Load, algorithm: Algorithm, number: int) -> Part:
    """Convolutions by tiles or by discrete Fourier transform: see `transforms`."""
    grid, batch = load.grid, load.batch
    channels, outputs = sizes.CONV_CHANNELS, sizes.CAPSULE_TYPES * sizes.PRIMARY_DIM
    spots = phase_points(grid)
    if algorithm == "tiles":
        points = len(POINTS) ** 2
        rows = points * -(-grid[0] // TILE) * -(-grid[1] // TILE)
    else:
        points = rows = -(-3 * spots // 2)
    window = sizes.KERNEL**2 * load.shape.channels + 1
    phases = 4 * channels
    conv1 = number * batch * 4 * spots
    x_hat, y_hat = number * rows * batch * phases, number * rows * batch * outputs
    w_hat = number * points * phases * outputs
    capsules = FLOAT * batch * grid[0] * grid[1] * outputs
    kernel = number * sizes.KERNEL**2 * channels * outputs
    kept = conv1 * (window + channels) + x_hat + w_hat + capsules + 2 * FLOAT * rows * spots
    backward = 2 * capsules + y_hat + max(w_hat + kernel, kernel + x_hat + conv1 * channels, kernel + 2 * conv1 * channels)
    return Part(kept=kept, forward=y_hat + capsules, backward=backward)


def _full_routing(load: Load) -> Part:
    """Routing with a matrix for each input capsule: see `routing.Route`."""
    inputs = sizes.CAPSULE_TYPES * load.grid[0] * load.grid[1]
    classes, iterations = load.shape.classes, load.point.routing_iterations
    predictions = FLOAT * inputs * classes * sizes.DIGIT_DIM  # of an image
    logits = FLOAT * inputs * classes
    chunk = min(load.batch, ROUTE_CHUNK if load.on_cpu else load.batch, images_at_once(predictions, _device(load)))
    capsules = FLOAT * load.batch * inputs * sizes.PRIMARY_DIM
    matrices = FLOAT * inputs * classes * sizes.DIGIT_DIM * sizes.PRIMARY_DIM
    kept = 2 * capsules + load.batch * (iterations - 1) * logits
    backward = chunk * (2 * predictions + 2 * (iterations + 1) * logits) + 2 * capsules + matrices
    return Part(kept=kept, forward=chunk * (2 * predictions + 2 * logits), backward=backward)


def _shared_routing(load: Load) -> Part:
    """Routing with a matrix for each capsule type: see `routing.RouteShared`."""
    inputs = sizes.CAPSULE_TYPES * load.grid[0] * load.grid[1]
    classes, routed = load.shape.classes, load.point.routing_iterations - 1
    logits = FLOAT * inputs * classes  # of an image
    chunk = min(load.batch, images_at_once(max(1, routed) * logits, _device(load)))
    capsules = FLOAT * load.batch * inputs * sizes.PRIMARY_DIM
    whole = chunk == load.batch
    coefficients = chunk * routed * logits
    kept = 2 * capsules + (coefficients if whole else 0)
    besides = 2 * chunk * logits + 3 * capsules
    again = 0 if whole else coefficients
    return Part(kept=kept, forward=besides + again, backward=besides + again + 2 * coefficients)


def _device(load: Load) -> str:
    return "cpu" if load.on_cpu else "cuda"
