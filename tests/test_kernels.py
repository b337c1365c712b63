"""The matrix-product forms of convolutions and routing against the plain ones in float64, values and gradients."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import yardstick
from fastrcaps_dse.capsnet.algorithms import (
    DFT_FROM,
    TILES_FROM,
    Algorithm,
    Algorithms,
    contenders,
    default_algorithm,
)
from fastrcaps_dse.capsnet.convolution import primary_conv
from fastrcaps_dse.capsnet.losses import capsule_length
from fastrcaps_dse.capsnet.network import CapsNet, Precision
from fastrcaps_dse.capsnet.routing import ROUTE_CHUNK, digit_capsules
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.problem.space import DesignPoint

ALGORITHMS: tuple[Algorithm, ...] = ("direct", "tiles", "dft")


def sample(generator: torch.Generator, *shape: int, kind: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(kind)


def agree(fast: Tensor, slow: Tensor, inputs: list[Tensor], weight: Tensor, bound: float) -> None:
    """Values and gradients within `bound` of the largest element."""
    pairs = [(fast, slow)]
    pairs += zip(
        torch.autograd.grad((fast * weight).sum(), inputs), torch.autograd.grad((slow * weight).sum(), inputs), strict=True
    )
    for a, b in pairs:
        assert (a - b).abs().max() <= bound * b.abs().max()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("batch", [1, 2, 7, 33])
@pytest.mark.parametrize(("height", "width", "channels"), [(28, 28, 1), (19, 24, 3), (29, 17, 2), (17, 17, 1)])
def test_convolutions(algorithm: Algorithm, batch: int, height: int, width: int, channels: int) -> None:
    generator = torch.Generator().manual_seed(batch)
    images = sample(generator, batch, channels, height, width)
    parameters = [
        sample(generator, 6, channels, 9, 9),
        sample(generator, 6),
        sample(generator, 9, 9, 6, 8),
        sample(generator, 8),
    ]
    w1, b1, w2, b2 = (p.requires_grad_() for p in parameters)
    plain = F.conv2d(F.conv2d(images, w1, b1).relu(), w2.permute(3, 2, 0, 1), b2, stride=2).permute(2, 3, 0, 1)
    fast = primary_conv(images, w1, b1, w2, b2, None, algorithm)
    agree(fast, plain, parameters, sample(generator, *plain.shape), 1e-11)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_default_algorithm_is_one_of_those_that_can_win(kind: torch.dtype) -> None:
    for batch in range(1, 600):
        assert default_algorithm(batch, kind) in contenders(batch, kind)
    assert "tiles" not in {name for batch in range(1, 600) for name in contenders(batch, torch.bfloat16)}


def test_a_network_uses_the_algorithms_that_it_is_given() -> None:
    """Those of the sizes that were chosen; all others are the default ones. Each algorithm rounds in its own way."""
    shape = ImageShape(channels=1, height=17, width=17, classes=3)
    images = torch.rand(8, 1, 17, 17, generator=torch.Generator().manual_seed(0))

    def output(batch: int, algorithms: Algorithms) -> Tensor:
        network = CapsNet(DesignPoint(), shape, algorithms=algorithms)
        network.initialize(torch.Generator().manual_seed(1))
        return network.primary_capsules(images[:batch])

    with torch.no_grad():
        by_name = {name: output(8, Algorithms(chosen={8: name})) for name in ALGORITHMS}
        assert not any(torch.equal(a, b) for a, b in itertools.combinations(by_name.values(), 2))
        assert torch.equal(output(8, Algorithms()), by_name["tiles"]) and TILES_FROM <= 8 < DFT_FROM
        assert torch.equal(output(7, Algorithms(chosen={8: "dft"})), output(7, Algorithms()))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
@pytest.mark.parametrize("outputs", [10, 3])
@pytest.mark.parametrize("shared", [False, True])
def test_routing(kind: torch.dtype, iterations: int, outputs: int, shared: bool) -> None:
    generator = torch.Generator().manual_seed(iterations)
    types, positions, batch = 4, 6, ROUTE_CHUNK + 3
    s = sample(generator, positions, batch, types * 8)
    W = sample(generator, types if shared else types * positions, outputs, 16, 8).mul(0.3)
    bias = sample(generator, outputs, 16)
    exact = [x.requires_grad_() for x in (s, W, bias)]
    u = yardstick.squash(s.unflatten(2, (types, 8))).permute(1, 2, 0, 3).flatten(1, 2)  # i = positions * type + position
    plain = yardstick.route(yardstick.votes(u, W), bias, iterations)
    given = [x.detach().to(kind).requires_grad_() for x in exact]
    fast = digit_capsules(*given, types=types, iterations=iterations)
    weight = sample(generator, *plain.shape)
    got = [fast, *torch.autograd.grad((fast * weight.to(kind)).sum(), given)]
    expected = [plain, *torch.autograd.grad((plain * weight).sum(), exact)]
    bound = 1e-11 if kind == torch.float64 else 2e-4
    for a, b in zip(got, expected, strict=True):
        assert (a.double() - b).abs().max() <= bound * b.abs().max()


@pytest.mark.parametrize("shared", [False, True])
def test_routing_is_finite_at_zero(shared: bool) -> None:
    s = torch.zeros(4, 3, 16, requires_grad=True)
    W = sample(torch.Generator().manual_seed(0), 2 if shared else 8, 5, 16, 8, kind=torch.float32).requires_grad_()
    bias = torch.zeros(5, 16, requires_grad=True)
    v = digit_capsules(s, W, bias, types=2, iterations=3)
    gradients = torch.autograd.grad(capsule_length(v).sum(), (s, W, bias))
    assert not v.any() and all(g.isfinite().all() for g in gradients)


def test_the_same_bits_every_time() -> None:
    generator = torch.Generator().manual_seed(0)
    images = sample(generator, 50, 1, 28, 28, kind=torch.float32)
    shapes = ((16, 1, 9, 9), (16,), (9, 9, 16, 16), (16,))
    parameters = [sample(generator, *shape, kind=torch.float32).requires_grad_() for shape in shapes]
    w1, b1, w2, b2 = parameters
    first, second = (torch.autograd.grad(primary_conv(images, w1, b1, w2, b2).square().sum(), parameters) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


LARGE_BATCH = 2 * ROUTE_CHUNK + 1  # images: routing takes them in chunks, the last of which is not full
ERRORS: dict[Precision, float] = {"float32": 1e-5, "bfloat16": 6e-2}
"""Bounds of the relative error of a gradient: |g - g64| / |g64| of each parameter."""


MNIST = ImageShape(channels=1, height=28, width=28, classes=10)


def a_batch(batch: int) -> tuple[Tensor, Tensor]:
    """Images and labels."""
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(batch, 1, 28, 28, generator=generator)
    return images, torch.randint(0, 10, (batch,), generator=generator)


@functools.lru_cache(maxsize=1)  # the tests of all algorithms and precisions follow each other
def exact_gradients(point: DesignPoint, batch: int) -> dict[str, Tensor]:
    """The gradient of each parameter, by the plain network in float64."""
    network = CapsNet(point, MNIST)
    network.initialize(torch.Generator().manual_seed(1))
    plain = yardstick.PlainCapsNet(network).double()
    images, labels = a_batch(batch)
    plain.loss(images.double(), labels).backward()
    primary = plain.primary.weight.grad
    assert primary is not None
    exact = {
        "conv1.weight": plain.conv1.weight.grad,
        "conv1.bias": None if plain.conv1.bias is None else plain.conv1.bias.grad,
        "primary_weight": primary.permute(2, 3, 1, 0),
        "primary_bias": None if plain.primary.bias is None else plain.primary.bias.grad,
        "W_IJDE": plain.W.grad,
        "bias_JD": plain.bias.grad,
    }
    exact |= {f"decoder.{name}": p.grad for name, p in plain.decoder.named_parameters()}
    return {name: gradient for name, gradient in exact.items() if gradient is not None}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("batch", [2, LARGE_BATCH])
@pytest.mark.parametrize("decoder", ["full", "small"])
@pytest.mark.parametrize("shared", [False, True])
def test_gradients_against_float64(precision: Precision, batch: int, algorithm: Algorithm, decoder: str, shared: bool) -> None:
    """Each network variant, precision and convolution algorithm, whole MNIST-sized networks, against the plain one."""
    point = DesignPoint(weight_sharing=shared, decoder=decoder)  # type: ignore[arg-type]
    if precision == "bfloat16" and algorithm == "tiles":
        pytest.skip("never used together")
    if batch == LARGE_BATCH and decoder == "small":
        pytest.skip("the decoder is the same for each batch size")
    network = CapsNet(point, MNIST, precision, Algorithms(chosen={batch: algorithm}))
    network.initialize(torch.Generator().manual_seed(1))
    margin, reconstruction = network.losses(*a_batch(batch))
    (margin + reconstruction).backward()
    exact, found = exact_gradients(point, batch), dict(network.named_parameters())
    assert sorted(exact) == sorted(found)
    for name, right in exact.items():
        got = found[name].grad
        assert got is not None
        error = float((got.double() - right).norm() / right.norm())
        assert error <= ERRORS[precision], f"{name}: {error:.1e}"
