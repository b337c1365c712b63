"""CapsNet and LeNet5 as torch modules. Called with images, both give class scores; `losses` gives those of a batch.

Shape suffixes: see the package.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from fastrcaps_dse.capsnet import sizes
from fastrcaps_dse.capsnet.algorithms import BY_DEFAULT, Algorithms
from fastrcaps_dse.capsnet.convolution import primary_conv
from fastrcaps_dse.capsnet.initialization import uniform, weights_generator
from fastrcaps_dse.capsnet.losses import capsule_length, margin_loss, one_hot, reconstruction_loss
from fastrcaps_dse.capsnet.routing import digit_capsules
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.problem.space import DesignPoint

Precision = Literal["float32", "bfloat16"]
"""The number type in which the convolutions work. Parameters, routing, losses and optimizer state are float32 with both."""


class CapsNet(nn.Module):
    """The Capsule Network: Conv1, PrimaryCaps, DigitCaps with dynamic routing, and a decoder.

    `shape` is that of the images; `precision` is that of the convolutions, and `algorithms` are those of PrimaryCaps on a CPU. The
    weights are those with which a run of this `seed` begins; None leaves them as they are allocated, for who sets them.
    Raises InputError for images that the layers do not admit.
    Source: Section II of the FasTrCaps paper; Sabour et al., NIPS 2017.
    """

    def __init__(
        self,
        point: DesignPoint,
        shape: ImageShape,
        precision: Precision = "float32",
        algorithms: Algorithms = BY_DEFAULT,
        *,
        seed: int | None = 0,
    ) -> None:
        super().__init__()
        self.grid = grid = sizes.primary_grid(shape)
        self.algorithms = algorithms
        self.shape = shape
        self.decoder_input = point.decoder
        self.routing_iterations = point.routing_iterations
        self.work_type = torch.bfloat16 if precision == "bfloat16" else None
        self.conv1 = skip_init(nn.Conv2d, shape.channels, sizes.CONV_CHANNELS, sizes.KERNEL)
        primary_channels = sizes.CAPSULE_TYPES * sizes.PRIMARY_DIM
        # on the CPU, as the generator is; [K, K, F, M], contiguous: the layout of the matrix products, and the one in which Adam is fast
        self.primary_weight = nn.Parameter(
            torch.empty(sizes.KERNEL, sizes.KERNEL, sizes.CONV_CHANNELS, primary_channels, device="cpu")
        )
        self.primary_bias = nn.Parameter(torch.empty(primary_channels, device="cpu"))
        matrices = sizes.CAPSULE_TYPES * (1 if point.weight_sharing else grid[0] * grid[1])
        self.W_IJDE = nn.Parameter(torch.empty(matrices, shape.classes, sizes.DIGIT_DIM, sizes.PRIMARY_DIM, device="cpu"))
        self.bias_JD = nn.Parameter(torch.empty(shape.classes, sizes.DIGIT_DIM, device="cpu"))
        widths = sizes.decoder_sizes(point, shape)
        self.decoder = nn.ModuleList(_dense(widths))
        if seed is not None:
            self.initialize(weights_generator(seed, point))

    def initialize(self, generator: torch.Generator) -> None:
        """Initialize all weights from `generator`, in the order of the parameters.

        They are uniform within 1/sqrt(fan-in), except W, which is normal with mean 0, and its bias, which is 0. The standard
        deviation of W is .1. With weight sharing it is .1 / sqrt(positions), because the prediction vectors that one matrix
        makes at all positions add up in one direction: with .1 the fixed policy never leaves 10 % on mnist-sample.
        """
        with torch.no_grad():
            uniform(self.conv1, generator)
            bound = 1 / math.sqrt(self.primary_weight[:, :, :, 0].numel())
            out_first = self.primary_weight.new_empty(self.primary_weight.permute(3, 2, 0, 1).shape)
            self.primary_weight.copy_(out_first.uniform_(-bound, bound, generator=generator).permute(2, 3, 1, 0))
            self.primary_bias.uniform_(-bound, bound, generator=generator)
            grid = sizes.primary_grid(self.shape)
            positions_of_a_matrix = sizes.CAPSULE_TYPES * grid[0] * grid[1] / len(self.W_IJDE)
            self.W_IJDE.normal_(0, 0.1 / math.sqrt(positions_of_a_matrix), generator=generator)
            self.bias_JD.zero_()
            for dense in self.decoder:
                uniform(dense, generator)

    def primary_capsules(self, images_BCHW: Tensor) -> Tensor:
        """The output of the PrimaryCaps convolution, before the squash, [P, B, M]."""
        assert self.conv1.bias is not None
        if images_BCHW.device.type == "cpu":
            weights = (self.conv1.weight, self.conv1.bias, self.primary_weight, self.primary_bias)
            algorithm = self.algorithms.of(len(images_BCHW), self.work_type or images_BCHW.dtype, self.grid)
            s_hwBM = primary_conv(images_BCHW, *weights, self.work_type, algorithm)
            return s_hwBM.flatten(0, 1)
        x_BFHW = F.relu(self._conv(images_BCHW, self.conv1.weight, self.conv1.bias, stride=1))
        weight_MFKK = self.primary_weight.permute(3, 2, 0, 1)
        s_BMhw = self._conv(x_BFHW, weight_MFKK, self.primary_bias, stride=sizes.PRIMARY_STRIDE).to(images_BCHW.dtype)
        return s_BMhw.permute(2, 3, 0, 1).flatten(0, 1)

    def _conv(self, x: Tensor, weight: Tensor, bias: Tensor, *, stride: int) -> Tensor:
        """A convolution by the library of the device, channels last, in the work type."""
        kind = self.work_type or x.dtype
        x = x.to(dtype=kind, memory_format=torch.channels_last)
        return F.conv2d(x, weight.to(dtype=kind, memory_format=torch.channels_last), bias.to(kind), stride=stride)

    def output_capsules(self, images_BCHW: Tensor) -> Tensor:
        """The digit capsules v of the images, [B, J, D]."""
        s_PBM = self.primary_capsules(images_BCHW)
        return digit_capsules(s_PBM, self.W_IJDE, self.bias_JD, types=sizes.CAPSULE_TYPES, iterations=self.routing_iterations)

    def decode(self, v_BJD: Tensor, chosen_B: Tensor) -> Tensor:
        """The reconstructions of images, [B, N] in [0, 1], from one digit capsule of each.

        `chosen_B` is the class of that capsule: the true one in training, that of the longest capsule in evaluation.
        """
        if self.decoder_input == "full":  # all capsules, the others masked with 0
            x = (v_BJD * one_hot(chosen_B, v_BJD[:, :, 0]).unsqueeze(-1)).flatten(1)
        else:
            x = v_BJD.gather(1, chosen_B.view(-1, 1, 1).expand(-1, 1, v_BJD.shape[2])).squeeze(1)
        *hidden, last = self.decoder
        for layer in hidden:
            x = F.relu(layer(x))
        return torch.sigmoid(last(x))

    @overload
    def forward(self, images_BCHW: Tensor, *, capsules: Literal[False] = False) -> Tensor: ...
    @overload
    def forward(self, images_BCHW: Tensor, *, capsules: Literal[True]) -> tuple[Tensor, Tensor]: ...
    def forward(self, images_BCHW: Tensor, *, capsules: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """The class scores of the images, [B, J]; with `capsules` (scores, digit capsules [B, J, D]).

        The images are float32 in [0, 1]. They get gradients if they ask for them. The decoder does not run: see `decode`.
        """
        v_BJD = self.output_capsules(images_BCHW)
        scores_BJ = capsule_length(v_BJD)
        return (scores_BJ, v_BJD) if capsules else scores_BJ

    def scores(self, images_BCHW: Tensor) -> Tensor:
        """The class scores of the images, [B, J]: the lengths of the digit capsules. The decoder does not run."""
        return capsule_length(self.output_capsules(images_BCHW))

    def losses(self, images_BCHW: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """The (margin loss, weighted reconstruction loss) of a batch. The decoder sees the capsule of the true class."""
        v_BJD = self.output_capsules(images_BCHW)
        reconstruction_BN = self.decode(v_BJD, labels_B)
        return margin_loss(capsule_length(v_BJD), labels_B), reconstruction_loss(reconstruction_BN, images_BCHW.flatten(1))


class LeNet5(nn.Module):
    """LeNet5, with which the paper compares: two convolutions, three dense layers, cross-entropy.

    Images smaller than 32x32 are padded to that size. `seed` is as for `CapsNet`.
    """

    def __init__(self, shape: ImageShape, *, seed: int | None = 0) -> None:
        super().__init__()
        grid = sizes.lenet_grid(shape)
        gap = [max(0, sizes.LENET_SIDE - side) for side in (shape.width, shape.height)]
        self.padding = [gap[0] // 2, gap[0] - gap[0] // 2, gap[1] // 2, gap[1] - gap[1] // 2]
        self.convolutions = nn.ModuleList(skip_init(nn.Conv2d, *channels, 5) for channels in ((shape.channels, 6), (6, 16)))
        widths = (16 * grid[0] * grid[1], 120, 84, shape.classes)
        self.dense = nn.ModuleList(_dense(widths))
        if seed is not None:
            self.initialize(weights_generator(seed, DesignPoint(network="lenet5")))

    def initialize(self, generator: torch.Generator) -> None:
        """Initialize all weights from `generator`, in the order of the parameters, uniform within 1/sqrt(fan-in)."""
        with torch.no_grad():
            for layer in (*self.convolutions, *self.dense):
                uniform(layer, generator)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The class scores of the images, [B, J]. The images are float32 in [0, 1], and get gradients if they ask for them."""
        return self.scores(images_BCHW)

    def scores(self, images_BCHW: Tensor) -> Tensor:
        """The class scores of the images, [B, J]."""
        x = F.pad(images_BCHW, self.padding)
        for convolution in self.convolutions:
            x = F.max_pool2d(F.relu(convolution(x)), 2)
        x = x.flatten(1)
        *hidden, last = self.dense
        for layer in hidden:
            x = F.relu(layer(x))
        scores: Tensor = last(x)
        return scores

    def losses(self, images_BCHW: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """The (cross-entropy, 0) of a batch: LeNet5 reconstructs nothing."""
        loss = F.cross_entropy(self.scores(images_BCHW), labels_B)
        return loss, torch.zeros_like(loss)


def _dense(widths: tuple[int, ...]) -> list[nn.Module]:
    """Dense layers between these widths, not initialized."""
    return [skip_init(nn.Linear, a, b) for a, b in itertools.pairwise(widths)]


def build_network(
    point: DesignPoint,
    shape: ImageShape,
    precision: Precision = "float32",
    algorithms: Algorithms = BY_DEFAULT,
    *,
    seed: int | None = 0,
) -> CapsNet | LeNet5:
    """The network of a design for images of this shape. See `CapsNet` for the arguments.

    Raises InputError for images that the layers of a CapsNet do not admit.
    """
    if point.network == "lenet5":
        return LeNet5(shape, seed=seed)
    return CapsNet(point, shape, precision, algorithms, seed=seed)
