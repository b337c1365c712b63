"""Checks of training on a device: captured and eager steps against float64, and runs that are continued from a checkpoint."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu_stages import Emit, Item, Setting
from benchmarks.training_cases import VARIANTS, design
from benchmarks.yardstick import PlainCapsNet, PortCapsNet
from fastrcaps_dse import data
from fastrcaps_dse.capsnet.network import CapsNet, Precision
from fastrcaps_dse.data import DataSet, Split
from fastrcaps_dse.problem.space import DesignPoint, parse_design
from fastrcaps_dse.trainer import Training, epoch_images
from fastrcaps_dse.trainer.adam import Optimizer
from fastrcaps_dse.trainer.images import as_floats
from fastrcaps_dse.trainer.steps import ADAM, CAPTURE_FROM, EagerSteps, GraphSteps

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
FULL_BATCHES = 3  # of an epoch of the steps that are compared; an odd, smaller batch follows
EPOCHS = 2


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """The largest relative differences: of a loss, of Adam's first moment (a mean of gradients), and of the way of the weights."""

    loss: float
    moment: float
    way: float


AGAINST_FLOAT64: dict[tuple[str, Precision], Tolerance] = {
    ("cpu", "float32"): Tolerance(loss=1e-5, moment=1e-2, way=5e-3),
    ("cpu", "bfloat16"): Tolerance(loss=1e-2, moment=1e-1, way=2e-1),
    ("cuda", "float32"): Tolerance(loss=2e-3, moment=1e-1, way=5e-2),  # convolutions round to TF32, 10 bits, by torch's default
    ("cuda", "bfloat16"): Tolerance(loss=1e-2, moment=1e-1, way=2e-1),
}
CAPTURED_AGAINST_EAGER = {
    "cpu": Tolerance(loss=0.0, moment=0.0, way=0.0),
    "cuda": Tolerance(loss=1e-4, moment=5e-2, way=2e-2),  # sums in another order
}
RESTARTED = 1e-3  # relative difference of the losses of a continued run on a GPU; none on a CPU


def sample(setting: Setting, images: int) -> DataSet:
    """So many training images of mnist-sample; in a quick test small cuttings of them, the classes in turn."""
    whole = data.load("mnist-sample")
    train, test = whole.train, whole.test
    if not setting.quick:
        return replace(whole, train=train.subset(torch.arange(images) % len(train)))
    cut = slice(5, 24)

    def cuttings(split: Split, count: int) -> Split:
        each = -(-count // whole.shape.classes)
        in_turn = torch.stack([(split.labels == label).nonzero()[:each, 0] for label in range(whole.shape.classes)], 1)
        few = split.subset(in_turn.flatten()[:count])
        return Split(images=few.images[:, :, cut, cut].contiguous(), labels=few.labels)

    shape = replace(whole.shape, height=19, width=19)
    return DataSet(name="cuttings", train=cuttings(train, images), test=cuttings(test, 30), shape=shape)


# --- steps --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What some steps did: the mean loss of each epoch; the moment and the way of all weights, by parameter, in float64."""

    losses: list[float]
    moments: list[Tensor]
    ways: list[Tensor]


def parameters_of(network: nn.Module) -> list[nn.Parameter]:
    """The parameters in an order that both networks share."""
    if isinstance(network, CapsNet):
        first = [*network.conv1.parameters(), network.primary_weight, network.primary_bias, network.W_IJDE, network.bias_JD]
    else:
        assert isinstance(network, PlainCapsNet)
        first = [*network.conv1.parameters(), *network.primary.parameters(), network.W, network.bias]
    return [*first, *network.decoder.parameters()]


def _alike(network: nn.Module, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of the parameters as float64, those of the PrimaryCaps convolution in the layout of PyTorch."""
    found = [tensor.detach().double() for tensor in tensors]
    if isinstance(network, CapsNet):
        found[2] = found[2].permute(3, 2, 0, 1)
    return found


def _taken(network: nn.Module, start: Sequence[Tensor], optimizer: Optimizer, losses: list[float]) -> Taken:
    parameters = parameters_of(network)
    return Taken(
        losses=losses,
        moments=_alike(network, [optimizer.state[p]["exp_avg"] for p in parameters]),
        ways=[now - before for now, before in zip(_alike(network, parameters), start, strict=True)],
    )


def rates_of(images: Split, batch_size: int) -> list[float]:
    """Learning rates that differ from step to step, and are exact in float32."""
    return [2.0 ** -(10 + step % 3) for step in range(-(-len(images) // batch_size))]


def product_steps(kind: str, network: CapsNet, epochs: Sequence[Split], batch_size: int, device: torch.device) -> Taken:
    """The epochs by the product's steps, `kind` being captured or eager. Raises RuntimeError for steps that are not captured."""
    start = [tensor.clone() for tensor in _alike(network, parameters_of(network))]
    steps = GraphSteps(network, device, epochs[0]) if kind == "captured" else EagerSteps(network, device)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        steps.warm_up(epochs[0], batch_size, CAPTURE_FROM)
    if any("not captured" in str(warning.message) for warning in said):
        raise RuntimeError("; ".join(str(warning.message) for warning in said))
    losses = [
        float(steps.run(images, batch_size, rates_of(images, batch_size)).double().sum()) / len(images) for images in epochs
    ]
    return _taken(network, start, steps.optimizer, losses)


def exact_steps(network: PlainCapsNet, epochs: Sequence[Split], batch_size: int) -> Taken:
    """The epochs in float64, by a yardstick."""
    network = network.double()
    start = [tensor.clone() for tensor in _alike(network, parameters_of(network))]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, foreach=False, **ADAM)
    losses = []
    for images in epochs:
        total = 0.0
        for step, rate in enumerate(rates_of(images, batch_size)):
            batch = slice(step * batch_size, (step + 1) * batch_size)
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            loss = network.loss(as_floats(images.images[batch]).double(), images.labels[batch])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(images.labels[batch])
        losses.append(total / len(images))
    return _taken(network, start, optimizer, losses)


def differences(found: Taken, right: Taken) -> dict[str, float]:
    """The largest relative difference of a loss, of a parameter's moment, and of the way of all weights together."""

    def norm(tensors: Sequence[Tensor]) -> float:
        return float(torch.stack([tensor.norm() for tensor in tensors]).norm())

    def of_all(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
        return norm([x - y for x, y in zip(a, b, strict=True)]) / norm(b)

    moments = [of_all([a], [b]) for a, b in zip(found.moments, right.moments, strict=True)]
    return {
        "loss": max(abs(a - b) / abs(b) for a, b in zip(found.losses, right.losses, strict=True)),
        "moment": max(moments),
        "way": of_all(found.ways, right.ways),
    }


def _within(found: dict[str, float], allowed: Tolerance) -> bool:
    return all(value <= getattr(allowed, name) for name, value in found.items())  # false for what is not a number, too


def check_steps(variant: str, precision: Precision, batch_size: int, setting: Setting, emit: Emit, end: float) -> None:
    """Compare captured, eager and float64 steps of one network variant, precision and batch size."""
    device = torch.device(setting.device)
    odd = batch_size // 3
    dataset = sample(setting, (1 if setting.quick else FULL_BATCHES) * batch_size + odd)
    point = design(variant, batch_size)
    network = CapsNet(point, dataset.shape, precision)
    network.initialize(torch.Generator().manual_seed(1))
    epochs = [epoch_images(dataset.train, 0, epoch, 2).to(device) for epoch in range(EPOCHS)]
    exact = exact_steps(PortCapsNet(network).to(device), epochs, batch_size)
    taken = {
        kind: product_steps(kind, copy.deepcopy(network).to(device), epochs, batch_size, device)
        for kind in ("captured", "eager")
    }
    pairs = {
        "captured against float64": (taken["captured"], exact, AGAINST_FLOAT64[device.type, precision]),
        "eager against float64": (taken["eager"], exact, AGAINST_FLOAT64[device.type, precision]),
        "captured against eager": (taken["captured"], taken["eager"], CAPTURED_AGAINST_EAGER[device.type]),
    }
    for name, (found, right, allowed) in pairs.items():
        differs = differences(found, right)
        emit(
            f"{variant}, {precision}, batch {batch_size}: {name}",
            _within(differs, allowed),
            differences={key: float(f"{value:.3g}") for key, value in differs.items()},
            allowed=vars(allowed),
            last_batch=odd or batch_size,
            losses=found.losses,
        )


def batch_sizes(setting: Setting) -> tuple[int, ...]:
    """The batch sizes of checks and speeds."""
    return (1, 4) if setting.quick else (1, 16, 128)


def steps_items(setting: Setting) -> list[Item]:
    """Each batch size, precision and network variant."""
    cases = itertools.product(batch_sizes(setting), PRECISIONS, VARIANTS)
    return [
        Item(name=f"{variant}, {precision}, batch {size}", act=partial(check_steps, variant, precision, size))
        for size, precision, variant in cases
    ]


# --- checkpoints --------------------------------------------------------------------------------------------------------

CONTINUED = {
    "full": "lr_policy=warm-restarts(cycle=phase) batch_schedule=adabatch(head_batch=4,tail_batch=8)",
    "ws+small": "lr_policy=one-cycle batch_schedule=7 weight_sharing=true decoder=small",
}


def _curve(run: Training) -> Iterator[tuple[float, float]]:
    for epoch in run.epochs():
        yield epoch.margin_loss + epoch.reconstruction_loss, epoch.acc


def check_restart(variant: str, setting: Setting, emit: Emit, end: float) -> None:
    """A run that goes on from a checkpoint against one that is not interrupted, and that one against itself."""
    dataset = sample(setting, 12 if setting.quick else 1800)
    point: DesignPoint = parse_design(CONTINUED[variant])

    def new() -> Training:
        settings: dict[str, Any] = {"epochs": 3, "protocol": "paper", "device": torch.device(setting.device)}
        return Training(point, 0, dataset, **settings)

    whole = [*_curve(new())]
    again = [*_curve(new())] if setting.on_gpu else whole  # a GPU may sum in another order
    file = setting.folder / f"{variant}.safetensors"
    for stop in (1, 2):
        begun = new()
        for _ in range(stop):
            begun.run_epoch()
        begun.save(file)
        continued = new()
        continued.load(file)
        rest = [*_curve(continued)]
        differs = max(abs(a[0] - b[0]) / b[0] for a, b in zip(rest, whole[stop:], strict=True))
        itself = max(abs(a[0] - b[0]) / b[0] for a, b in zip(again, whole, strict=True))
        allowed = max(RESTARTED, 3 * itself) if setting.on_gpu else 0.0
        emit(
            f"{variant}: continued after epoch {stop}",
            differs <= allowed,
            difference=differs,
            of_two_whole_runs=itself,
            allowed=allowed,
            accuracies={"whole": [acc for _, acc in whole], "continued": [acc for _, acc in rest]},
        )


def restart_items(setting: Setting) -> list[Item]:
    """A run with two batch sizes, and one with an odd last batch."""
    return [Item(name=f"{variant}: continued", act=partial(check_restart, variant)) for variant in CONTINUED]
