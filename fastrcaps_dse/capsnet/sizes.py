"""Layer sizes, and the objectives that follow from them: computed by formula, without allocating anything and without torch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.space import DesignPoint

CONV_CHANNELS = 256
KERNEL = 9  # pixels, of both convolutions
PRIMARY_STRIDE = 2
CAPSULE_TYPES = 32
PRIMARY_DIM = 8
DIGIT_DIM = 16
DECODER_HIDDEN = (512, 1024)
LENET_SIDE = 32  # pixels; smaller images are padded to it


@dataclass(frozen=True, kw_only=True)
class ImageShape:
    """The shape of a data set's images, and its number of classes."""

    channels: int
    height: int  # pixels
    width: int  # pixels
    classes: int

    @property
    def pixels(self) -> int:
        """The number of values of one image, channels included."""
        return self.channels * self.height * self.width


def primary_side(side: int) -> int:
    """The number of primary capsules along an image side of `side` pixels."""
    return (side - KERNEL + 1 - KERNEL) // PRIMARY_STRIDE + 1


def primary_grid(shape: ImageShape) -> tuple[int, int]:
    """The (height, width) of the grid of primary capsules: 6x6 for 28x28 images.

    Raises InputError for images that the layers do not admit: too small, or with fewer than two classes.
    """
    smallest = 2 * KERNEL - 1
    if min(shape.height, shape.width) < smallest:
        raise InputError(
            f"images of {shape.height}x{shape.width} pixels are too small for two {KERNEL}x{KERNEL} convolutions",
            f"use images of at least {smallest}x{smallest} pixels",
        )
    if shape.classes < 2 or shape.channels < 1:
        raise InputError(
            f"a network needs at least 2 classes and 1 channel, got {shape.classes} and {shape.channels}",
            "is this the data set you meant?",
        )
    return primary_side(shape.height), primary_side(shape.width)


def decoder_sizes(point: DesignPoint, shape: ImageShape) -> tuple[int, ...]:
    """The widths of the decoder from its input to its output: (160, 512, 1024, 784) for the full one on MNIST."""
    inputs = DIGIT_DIM * (shape.classes if point.decoder == "full" else 1)
    return (inputs, *DECODER_HIDDEN, shape.pixels)


def lenet_grid(shape: ImageShape) -> tuple[int, int]:
    """The (height, width) after LeNet5's convolutions: 5x5 for 32x32 images."""
    sides = [((max(side, LENET_SIDE) - 4) // 2 - 4) // 2 for side in (shape.height, shape.width)]
    return sides[0], sides[1]


def parameter_count(point: DesignPoint, shape: ImageShape) -> int:
    """The number of trainable parameters of a design for images of this shape.

    Raises InputError for images that the layers do not admit.
    """
    grid = primary_grid(shape)
    if point.network == "lenet5":
        features = 16 * lenet_grid(shape)[0] * lenet_grid(shape)[1]
        dense = (features, 120, 84, shape.classes)
        return (25 * shape.channels + 1) * 6 + (25 * 6 + 1) * 16 + sum(_dense(dense))
    matrices = CAPSULE_TYPES * (1 if point.weight_sharing else grid[0] * grid[1])
    return (
        (KERNEL**2 * shape.channels + 1) * CONV_CHANNELS
        + (KERNEL**2 * CONV_CHANNELS + 1) * CAPSULE_TYPES * PRIMARY_DIM
        + matrices * shape.classes * DIGIT_DIM * PRIMARY_DIM
        + shape.classes * DIGIT_DIM
        + sum(_dense(decoder_sizes(point, shape)))
    )


def _dense(widths: tuple[int, ...]) -> list[int]:
    return [(n_in + 1) * n_out for n_in, n_out in itertools.pairwise(widths)]


def classification_macs(point: DesignPoint, shape: ImageShape) -> int:
    """The multiply-adds of classifying one image of this shape; the decoder does not run.

    The full CapsNet needs 201.8 M on 28x28 images, 191.1 M of them in PrimaryCaps.
    Raises InputError for images that the layers do not admit.
    """
    grid = primary_grid(shape)
    if point.network == "lenet5":
        height, width = lenet_grid(shape)
        sides = [(max(side, LENET_SIDE) - 4, (max(side, LENET_SIDE) - 4) // 2 - 4) for side in (shape.height, shape.width)]
        convolutions = 25 * shape.channels * 6 * sides[0][0] * sides[1][0] + 25 * 6 * 16 * sides[0][1] * sides[1][1]
        dense = (16 * height * width, 120, 84, shape.classes)
        return convolutions + sum(a * b for a, b in itertools.pairwise(dense))
    conv1 = KERNEL**2 * shape.channels * CONV_CHANNELS * (shape.height - KERNEL + 1) * (shape.width - KERNEL + 1)
    positions = grid[0] * grid[1]
    primary = KERNEL**2 * CONV_CHANNELS * CAPSULE_TYPES * PRIMARY_DIM * positions
    J, D, E, T, K = shape.classes, DIGIT_DIM, PRIMARY_DIM, CAPSULE_TYPES, point.routing_iterations - 1
    if point.weight_sharing:  # z = W^T v, b = u z, y = sum of c u; s = W y
        return conv1 + primary + K * (J * D * E * T + 2 * T * positions * J * E) + (K + 1) * J * D * E * T
    predictions = T * positions * J * D  # elements of the prediction vectors W u
    return conv1 + primary + predictions * E + predictions * (2 * K + 1)  # W u; then each s, and each b but the first


def classification_memory(point: DesignPoint, shape: ImageShape) -> int:
    """The bytes of float32 that classifying one image needs: weights without the decoder, and the two largest neighboring layers.

    Raises InputError for images that the layers do not admit.
    """
    grid = primary_grid(shape)
    image = shape.pixels
    if point.network == "lenet5":
        height, width = (max(side, LENET_SIDE) for side in (shape.height, shape.width))
        layers = [shape.channels * height * width, 6 * (height - 4) * (width - 4)]
        return 4 * (parameter_count(point, shape) + sum(layers))
    decoder = sum(_dense(decoder_sizes(point, shape)))
    conv1 = CONV_CHANNELS * (shape.height - KERNEL + 1) * (shape.width - KERNEL + 1)
    inputs = CAPSULE_TYPES * grid[0] * grid[1]
    capsules = inputs * PRIMARY_DIM
    logits = inputs * shape.classes
    routed = logits if point.weight_sharing else logits * (1 + DIGIT_DIM)  # with the prediction vectors
    return 4 * (parameter_count(point, shape) - decoder + max(image + conv1, conv1 + capsules, capsules + routed))


def static_objectives(point: DesignPoint, shape: ImageShape) -> dict[str, float]:
    """The objectives that need no measurement, by name: params, macs, memory (MB).

    Raises InputError for images that the layers do not admit.
    """
    return {
        "params": parameter_count(point, shape),
        "macs": classification_macs(point, shape),
        "memory": classification_memory(point, shape) / 1e6,
    }
