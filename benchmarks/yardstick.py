"""Three yardsticks: CapsNets and their training steps as people write them with PyTorch alone.

- plain: the literal formulas in the manner of the reference code. The votes element by element ([B, I, 8, J*16]), stored
  logits, Adam tensor by tensor.
- compiled: the plain one, its loss and the gradients of it through `torch.compile`.
- port: what popular PyTorch ports do. The votes are one product, routing works on them as a whole, and Adam is fused.

All have the parameters of `fastrcaps_dse.capsnet.network.CapsNet` and its results, up to rounding; all wait for the loss at every
step, as scripts do. They work in float32, or in float64: the tests compare with that.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastrcaps_dse.capsnet import sizes
from fastrcaps_dse.capsnet.network import CapsNet


def squash(s: Tensor) -> Tensor:
    """|s|^2 / (1 + |s|^2) * s / |s| over the last dimension (Eq. 1)."""
    squared = (s * s).sum(-1, keepdim=True)
    squashed: Tensor = squared / (1 + squared) * s / (squared + 1e-30).sqrt()
    return squashed


def votes(u_BIE: Tensor, W_IJDE: Tensor) -> Tensor:
    """u_hat[j|i] = W[i,j] u[i], [B, I, J, D], element by element; with weight sharing W is [T, J, D, E], repeated first."""
    batch, inputs, E = u_BIE.shape
    matrices, J, D, _ = W_IJDE.shape
    W = W_IJDE.repeat_interleave(inputs // matrices, 0).flatten(1, 2).transpose(1, 2)  # [I, E, J*D]
    tiled = u_BIE.unsqueeze(-1).expand(batch, inputs, E, J * D)
    return (tiled * W).sum(2).view(batch, inputs, J, D)


def route(u_hat_BIJD: Tensor, bias_JD: Tensor, iterations: int = 3) -> Tensor:
    """Dynamic routing (Procedure 1) with stored logits: v [B, J, D]."""
    logits = u_hat_BIJD.new_zeros(u_hat_BIJD.shape[:3])
    for iteration in range(iterations):
        c = logits.softmax(2)
        v = squash((c.unsqueeze(-1) * u_hat_BIJD).sum(1) + bias_JD)
        if iteration < iterations - 1:
            logits = logits + (u_hat_BIJD * v.unsqueeze(1)).sum(-1)
    return v


class PlainCapsNet(nn.Module):
    """The network of `like`, with a copy of its weights."""

    def __init__(self, like: CapsNet) -> None:
        super().__init__()
        self.iterations, self.decoder_input = like.routing_iterations, like.decoder_input
        self.conv1 = nn.Conv2d(like.conv1.in_channels, sizes.CONV_CHANNELS, sizes.KERNEL)
        channels = sizes.CAPSULE_TYPES * sizes.PRIMARY_DIM
        self.primary = nn.Conv2d(sizes.CONV_CHANNELS, channels, sizes.KERNEL, sizes.PRIMARY_STRIDE)
        self.W = nn.Parameter(torch.empty_like(like.W_IJDE))
        self.bias = nn.Parameter(torch.empty_like(like.bias_JD))
        self.decoder = nn.ModuleList(
            nn.Linear(d.weight.shape[1], d.weight.shape[0]) for d in like.decoder if isinstance(d, nn.Linear)
        )
        with torch.no_grad():
            own = {
                self.conv1.weight: like.conv1.weight,
                self.conv1.bias: like.conv1.bias,
                self.primary.weight: like.primary_weight.permute(3, 2, 0, 1),
                self.primary.bias: like.primary_bias,
                self.W: like.W_IJDE,
                self.bias: like.bias_JD,
            }
            for mine, theirs in own.items():
                assert mine is not None and theirs is not None
                mine.copy_(theirs)
        self.decoder.load_state_dict(like.decoder.state_dict())

    def output_capsules(self, images: Tensor) -> Tensor:
        x = self.primary(F.relu(self.conv1(images)))
        types, dim = sizes.CAPSULE_TYPES, sizes.PRIMARY_DIM
        u = squash(x.view(len(x), types, dim, -1).transpose(2, 3).reshape(len(x), -1, dim))  # i = positions * type + position
        return route(votes(u, self.W), self.bias, self.iterations)

    def scores(self, images: Tensor) -> Tensor:
        lengths: Tensor = self.output_capsules(images).norm(dim=-1)
        return lengths

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        v = self.output_capsules(images)
        length = v.norm(dim=-1)
        present = F.one_hot(labels, length.shape[1]).to(length.dtype)
        margin = present * F.relu(0.9 - length) ** 2 + 0.5 * (1 - present) * F.relu(length - 0.1) ** 2
        x = (v * present.unsqueeze(-1)).flatten(1) if self.decoder_input == "full" else (v * present.unsqueeze(-1)).sum(1)
        *hidden, last = self.decoder
        for layer in hidden:
            x = F.relu(layer(x))
        drawn = torch.sigmoid(last(x))
        return margin.sum(1).mean() + 0.0005 * ((drawn - images.flatten(1)) ** 2).sum(1).mean()


class PortCapsNet(PlainCapsNet):
    """The same network as popular ports write it: the votes of all images as one product, routing with stored logits."""

    def output_capsules(self, images: Tensor) -> Tensor:
        x = self.primary(F.relu(self.conv1(images)))
        types, dim = sizes.CAPSULE_TYPES, sizes.PRIMARY_DIM
        u = squash(x.view(len(x), types, dim, -1).transpose(2, 3))  # [B, types, positions, 8]
        if len(self.W) == types:  # weight sharing
            u_hat = torch.einsum("btpe,tjde->btpjd", u, self.W).flatten(1, 2)
        else:
            u_hat = torch.einsum("bie,ijde->bijd", u.flatten(1, 2), self.W)
        logits = u_hat.new_zeros(u_hat.shape[:3])
        for iteration in range(self.iterations):
            c = logits.softmax(2)
            v = squash(torch.einsum("bij,bijd->bjd", c, u_hat) + self.bias)
            if iteration < self.iterations - 1:
                logits = logits + torch.einsum("bijd,bjd->bij", u_hat, v)
        return v


class PlainTraining:
    """The training step of a yardstick; with `fused`, Adam updates all tensors at once."""

    def __init__(self, network: PlainCapsNet, *, fused: bool = False) -> None:
        self.network = network
        self.loss: Callable[[Tensor, Tensor], Tensor] = network.loss
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, foreach=False, fused=fused)

    def step(self, images: Tensor, labels: Tensor, rate: float) -> float:
        """One update; the loss of the batch before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss = self.loss(images, labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def prepare(self, images: Tensor, labels: Tensor) -> float:
        """The seconds of what is compiled for batches of this size, beyond those of the step itself; plain steps need nothing."""
        return 0.0


REASON = 300  # characters of a compiler's error


class CannotCompile(Exception):
    """`torch.compile` does not work here, for example without a C++ compiler."""


class CompiledTraining(PlainTraining):
    """The step of a network whose loss and gradients are compiled; Adam is as in the plain one."""

    def __init__(self, network: PlainCapsNet, *, backend: str = "inductor") -> None:
        super().__init__(network)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the compiler's own modules
            self.loss = torch.compile(network.loss, backend=backend, dynamic=False)

    def prepare(self, images: Tensor, labels: Tensor) -> float:
        """Compile forward and backward pass for batches of this size; weights stay as they are.

        Returns the seconds of compilation. Raises CannotCompile.
        """

        def seconds() -> float:
            start = time.perf_counter()
            self.loss(images, labels).backward()
            if images.device.type == "cuda":
                torch.cuda.synchronize(images.device)
            return time.perf_counter() - start

        try:
            first = seconds()
        except Exception as error:  # compilers raise what they like
            reason = " ".join(str(error).split())[:REASON]
            raise CannotCompile(f"torch.compile does not work here ({type(error).__name__}: {reason})") from error
        again = seconds()
        self.optimizer.zero_grad()
        return max(0.0, first - again)


YARDSTICKS = ("plain", "port", "compiled")


def make_yardstick(form: str, like: CapsNet, device: torch.device) -> PlainTraining:
    """The training step of a yardstick, of one of the forms `YARDSTICKS`, from the weights of `like`."""
    network = (PortCapsNet if form == "port" else PlainCapsNet)(like).to(device)
    if form == "compiled":
        return CompiledTraining(network)
    return PlainTraining(network, fused=form == "port" and device.type in ("cpu", "cuda"))
