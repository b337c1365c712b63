"""The plain form of a trained network: torch operators only, the routing unrolled. It is the one source of every exported file.

The trained form has kernels of its own, with backward passes and loops over the images of a batch, which exporters cannot follow.
The plain form computes the same scores from the same weights, up to rounding, for any batch size. It has no decoder.

With weight sharing it computes no prediction vectors, and with one routing iteration neither; else it computes each once, and
the routing reads them from there. Shape suffixes: see `capsnet`.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastrcaps_dse.capsnet import sizes
from fastrcaps_dse.capsnet.losses import capsule_length
from fastrcaps_dse.capsnet.network import CapsNet, LeNet5

Pixels = Literal["uint8", "float32"]
"""What an exported file takes: pixels as pictures have them, 0 to 255, or as numbers in [0, 1]."""

LARGEST_PIXEL = 255


def squash(s: Tensor, dim: int = -1) -> Tensor:
    """The squash |s| / (1 + |s|^2) s over a dimension. Source: Eq. 1 of Sabour et al., NIPS 2017."""
    n = (s * s).sum(dim, keepdim=True)
    return s * ((n + 1e-30).sqrt() / (1 + n))


class PlainCapsNet(nn.Module):
    """The class scores of a CapsNet: images [B, C, H, W] in [0, 1] to the lengths of the digit capsules, [B, J].

    It copies the weights of `network`. With `half`, weights are float16, and computed with in float32: a CPU
    takes many times longer to convolve in float16.
    """

    conv1_weight: Tensor
    conv1_bias: Tensor
    primary_weight: Tensor
    primary_bias: Tensor
    W: Tensor
    bias: Tensor

    def __init__(self, network: CapsNet, *, half: bool = False) -> None:
        super().__init__()
        matrices, self.classes, self.digit_dim, self.primary_dim = network.W_IJDE.shape
        self.types = network.primary_weight.shape[3] // self.primary_dim
        self.shared = matrices == self.types
        self.routing_iterations = network.routing_iterations
        assert network.conv1.bias is not None
        W_IJDE = network.W_IJDE
        # in the layout in which the products read them, so that a file holds no transposition of constants
        W = W_IJDE.permute(1, 2, 0, 3).flatten(2) if self.shared else W_IJDE.flatten(1, 2).transpose(1, 2)
        stored = {
            "conv1_weight": network.conv1.weight,
            "conv1_bias": network.conv1.bias,
            "primary_weight": network.primary_weight.permute(3, 2, 0, 1),
            "primary_bias": network.primary_bias,
            "W": W,  # with weight sharing [J, D, M], else [I, E, X]
            "bias": network.bias_JD,
        }
        for name, tensor in stored.items():
            self.register_parameter(name, _frozen(tensor, half))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The class scores, [B, J], in float32, or float64 if the weights are."""
        x = F.relu(F.conv2d(images_BCHW, _wide(self.conv1_weight), _wide(self.conv1_bias)))
        s_BMhw = F.conv2d(x, _wide(self.primary_weight), _wide(self.primary_bias), stride=sizes.PRIMARY_STRIDE)
        s_BTEP = s_BMhw.flatten(2).unflatten(1, (self.types, self.primary_dim))
        u_BTEP = squash(s_BTEP, 2)
        v_BJD = self._route_shared(u_BTEP) if self.shared else self._route(u_BTEP)
        return capsule_length(v_BJD)

    def _route(self, u_BTEP: Tensor) -> Tensor:
        """Routing with a matrix for each input capsule. Source: Procedure 1 of Sabour et al."""
        W_IEX, bias_JD = _wide(self.W), _wide(self.bias)
        J, D = self.classes, self.digit_dim
        u_BTPE = u_BTEP.transpose(2, 3)
        if self.routing_iterations == 1:  # all coupling coefficients are 1/J, and the sum over the inputs is one product
            return squash((u_BTPE.flatten(1) @ W_IEX.flatten(0, 1)).unflatten(1, (J, D)) / J + bias_JD)
        u_hat_IBX = u_BTPE.flatten(1, 2).transpose(0, 1) @ W_IEX
        u_hat_BJID = u_hat_IBX.unflatten(2, (J, D)).permute(1, 2, 0, 3).contiguous()
        s_BJD = u_hat_BJID.sum(2) / J + bias_JD
        total_BJD = torch.zeros_like(s_BJD)  # of v in the routing so far: the sum of the earlier ones
        for _ in range(1, self.routing_iterations):
            total_BJD = total_BJD + squash(s_BJD)
            c_BJI1 = (u_hat_BJID @ total_BJD.unsqueeze(3)).softmax(1)
            s_BJD = (c_BJI1.transpose(2, 3) @ u_hat_BJID).squeeze(2) + bias_JD
        return squash(s_BJD)

    def _route_shared(self, u_BTEP: Tensor) -> Tensor:
        """Routing with a matrix for each capsule type: the logits are u . (W^T v), and s = sum over types of W (sum of c u)."""
        W_JDM, bias_JD = _wide(self.W), _wide(self.bias)
        J, D = self.classes, self.digit_dim
        y_BM = u_BTEP.sum(3).flatten(1)
        s_BJD = (y_BM @ W_JDM.flatten(0, 1).t()).unflatten(1, (J, D)) / J + bias_JD
        total_BJD = torch.zeros_like(s_BJD)
        for _ in range(1, self.routing_iterations):
            total_BJD = total_BJD + squash(s_BJD)
            z_JBM = total_BJD.transpose(0, 1) @ W_JDM
            z_BTJE = z_JBM.unflatten(2, (self.types, self.primary_dim)).permute(1, 2, 0, 3)
            c_BTJP = (z_BTJE @ u_BTEP).softmax(2)
            y_BTJE = c_BTJP @ u_BTEP.transpose(2, 3)
            y_JBM = y_BTJE.permute(2, 0, 1, 3).flatten(2)
            s_BJD = (y_JBM @ W_JDM.transpose(1, 2)).transpose(0, 1) + bias_JD
        return squash(s_BJD)


class PlainLeNet5(nn.Module):
    """The class scores of LeNet5: images [B, C, H, W] in [0, 1] to [B, J]. It copies the weights of `network`.

    With `half`, weights are float16, and computed with in float32.
    """

    def __init__(self, network: LeNet5, *, half: bool = False) -> None:
        super().__init__()
        self.padding = list(network.padding)
        self.convolutions, self.dense = len(network.convolutions), len(network.dense)
        for kind, layers in (("convolution", network.convolutions), ("dense", network.dense)):
            for number, layer in enumerate(layers):
                assert isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None
                self.register_parameter(f"{kind}{number}_weight", _frozen(layer.weight, half))
                self.register_parameter(f"{kind}{number}_bias", _frozen(layer.bias, half))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The class scores, [B, J], in float32, or float64 if the weights are."""
        weights = {name: _wide(weight) for name, weight in self.named_parameters()}
        x = F.pad(images_BCHW, self.padding)
        for k in range(self.convolutions):
            x = F.max_pool2d(F.relu(F.conv2d(x, weights[f"convolution{k}_weight"], weights[f"convolution{k}_bias"])), 2)
        x = x.flatten(1)
        for k in range(self.dense):
            x = F.linear(x, weights[f"dense{k}_weight"], weights[f"dense{k}_bias"])
            x = F.relu(x) if k + 1 < self.dense else x
        return x


def _frozen(tensor: Tensor, half: bool) -> nn.Parameter:
    copied = tensor.detach().clone(memory_format=torch.contiguous_format)
    return nn.Parameter(copied.half() if half else copied, requires_grad=False)


def _wide(x: Tensor) -> Tensor:
    """The tensor in float32 if it is float16, else as it is."""
    return x.float() if x.dtype == torch.float16 else x


def plain_form(network: CapsNet | LeNet5, *, half: bool = False) -> PlainCapsNet | PlainLeNet5:
    """The plain form of a network: its class scores [B, J] from images [B, C, H, W] in [0, 1]. The weights are copied."""
    return PlainLeNet5(network, half=half) if isinstance(network, LeNet5) else PlainCapsNet(network, half=half)


class Classifier(nn.Module):
    """What a file holds: images [B, C, H, W] to (scores [B, J], predicted classes int64 [B]).

    `pixels` says what the images are; the scaling of pixels is part of the file.
    """

    def __init__(self, network: CapsNet | LeNet5, pixels: Pixels, *, half: bool = False) -> None:
        super().__init__()
        self.plain = plain_form(network, half=half)
        self.pixels = pixels

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The (scores, predicted classes) of images of the type that `pixels` names."""
        if self.pixels == "uint8":
            images = images.to(torch.float32) / LARGEST_PIXEL
        scores = self.plain(images)
        return scores, scores.argmax(1)
