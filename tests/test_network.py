"""The network against slow, literal float64 versions of the paper's formulas, values and gradients."""

import math

import pytest
import torch
from torch import Tensor

from benchmarks import yardstick
from fastrcaps_dse.capsnet import losses, sizes
from fastrcaps_dse.capsnet.network import CapsNet, LeNet5, build_network
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.space import DesignPoint, parse_design

MNIST = sizes.ImageShape(channels=1, height=28, width=28, classes=10)
VARIANTS = [
    (DesignPoint(), 8_215_728),
    (DesignPoint(decoder="small"), 8_142_000),
    (DesignPoint(weight_sharing=True), 6_782_128),
    (DesignPoint(weight_sharing=True, decoder="small"), 6_708_400),
    (parse_design("lenet5"), 61_706),
]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def literal_squash(s: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(s)
    squashed: Tensor = norm**2 / (1 + norm**2) * s / norm
    return squashed


def literal_routing(u_IE: Tensor, W_IJDE: Tensor, bias_JD: Tensor, iterations: int) -> Tensor:
    """Procedure 1 of Sabour et al., capsule by capsule, with stored logits, for one sample."""
    inputs, outputs = W_IJDE.shape[:2]
    u_hat = [[W_IJDE[i, j] @ u_IE[i] for j in range(outputs)] for i in range(inputs)]
    b = [[torch.zeros((), dtype=u_IE.dtype) for _ in range(outputs)] for _ in range(inputs)]
    for iteration in range(iterations):
        c = [torch.stack(row).exp() / torch.stack(row).exp().sum() for row in b]
        v = []
        for j in range(outputs):
            s = bias_JD[j]
            for i in range(inputs):
                s = s + c[i][j] * u_hat[i][j]
            v.append(literal_squash(s))
        if iteration < iterations - 1:
            b = [[b[i][j] + u_hat[i][j] @ v[j] for j in range(outputs)] for i in range(inputs)]
    return torch.stack(v)


@pytest.mark.parametrize(("point", "count"), VARIANTS)
def test_parameter_counts(point: DesignPoint, count: int) -> None:
    assert sizes.parameter_count(point, MNIST) == count
    assert sum(p.numel() for p in build_network(point, MNIST).parameters()) == count


@pytest.mark.parametrize("shape", [(3, 32, 32, 10), (1, 17, 20, 2), (2, 40, 31, 47)])
@pytest.mark.parametrize("point", [point for point, _ in VARIANTS])
def test_counts_and_layers_for_other_images(point: DesignPoint, shape: tuple[int, int, int, int]) -> None:
    image = sizes.ImageShape(channels=shape[0], height=shape[1], width=shape[2], classes=shape[3])
    network = build_network(point, image)
    network.initialize(seeded(0))
    assert sum(p.numel() for p in network.parameters()) == sizes.parameter_count(point, image)
    images, labels = torch.rand(2, *shape[:3], generator=seeded(1)), torch.tensor([0, 1])
    assert network.scores(images).shape == (2, shape[3])
    assert all(math.isfinite(loss.item()) for loss in network.losses(images, labels))
    if isinstance(network, CapsNet):
        assert network.decode(network.output_capsules(images), labels).shape == (2, image.pixels)


def test_images_that_the_layers_do_not_admit() -> None:
    with pytest.raises(InputError, match="16x28 pixels are too small"):
        sizes.parameter_count(DesignPoint(), sizes.ImageShape(channels=1, height=16, width=28, classes=10))
    with pytest.raises(InputError, match="at least 2 classes"):
        sizes.parameter_count(DesignPoint(), sizes.ImageShape(channels=1, height=28, width=28, classes=1))


@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
@pytest.mark.parametrize("shared", [False, True])
def test_the_plain_routing_is_the_literal_one(iterations: int, shared: bool) -> None:
    generator = seeded(iterations)

    def sample(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    types, positions, outputs = 3, 4, 5
    u = sample(2, types * positions, 8).requires_grad_()
    W = sample(types if shared else types * positions, outputs, 16, 8).mul(0.3).requires_grad_()
    bias = sample(outputs, 16).requires_grad_()
    weights = sample(2, outputs, 16)

    plain = yardstick.route(yardstick.votes(u, W), bias, iterations)
    # weight sharing by type: input capsule i is at position i % 4 of type i // 4
    full_W = W[torch.arange(types * positions) // positions] if shared else W
    slow = torch.stack([literal_routing(u[b], full_W, bias, iterations) for b in range(2)])
    torch.testing.assert_close(plain, slow, rtol=1e-12, atol=1e-13)
    got = torch.autograd.grad((plain * weights).sum(), (u, W, bias))
    expected = torch.autograd.grad((slow * weights).sum(), (u, W, bias))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_squash() -> None:
    s = torch.randn(7, 16, generator=seeded(0), dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(yardstick.squash(s), torch.stack([literal_squash(row) for row in s]))
    assert torch.autograd.gradcheck(yardstick.squash, (s,))
    for kind in (torch.float32, torch.float64):
        zero = torch.zeros(3, 8, dtype=kind, requires_grad=True)
        out = yardstick.squash(zero)
        (out.sum() + losses.capsule_length(zero).sum()).backward()
        assert not out.any() and zero.grad is not None and zero.grad.isfinite().all()


def test_margin_and_reconstruction_loss() -> None:
    generator = seeded(0)
    lengths = torch.rand(4, 10, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 3, 9, 3])
    expected = 0.0
    for row, label in zip(lengths.tolist(), labels.tolist(), strict=True):
        for k, v in enumerate(row):
            expected += max(0, 0.9 - v) ** 2 if k == label else 0.5 * max(0, v - 0.1) ** 2
    assert losses.margin_loss(lengths, labels).item() == pytest.approx(expected / 4, rel=1e-12)
    a, b = torch.rand(2, 4, 20, generator=generator, dtype=torch.float64)
    expected = sum(0.0005 * (x - y) ** 2 for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)) / 4
    assert losses.reconstruction_loss(a, b).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("point", [point for point, _ in VARIANTS[:4]])
def test_whole_network_against_a_literal_one(point: DesignPoint) -> None:
    """Small images in float64: every layer by hand, losses and all gradients."""
    shape = sizes.ImageShape(channels=1, height=19, width=17, classes=3)
    network = build_network(point, shape).double()
    assert isinstance(network, CapsNet)
    network.initialize(seeded(3))
    images = torch.rand(2, 1, 19, 17, generator=seeded(4), dtype=torch.float64)
    labels = torch.tensor([2, 0])
    margin, reconstruction = network.losses(images, labels)
    parameters = list(network.parameters())
    got = torch.autograd.grad(margin + reconstruction, parameters)

    conv1 = torch.nn.functional.conv2d(images, network.conv1.weight, network.conv1.bias).relu()
    primary = torch.nn.functional.conv2d(conv1, network.primary_weight.permute(3, 2, 0, 1), network.primary_bias, stride=2)
    height, width = primary.shape[2:]
    assert (height, width) == sizes.primary_grid(shape) == (2, 1)
    total = torch.zeros((), dtype=torch.float64)
    for b, label in enumerate(labels.tolist()):
        u = [
            literal_squash(primary[b, 8 * t : 8 * t + 8, y, x]) for t in range(32) for y in range(height) for x in range(width)
        ]  # input capsule i = positions * type + position
        W = network.W_IJDE
        full_W = torch.stack([W[i // 2] if point.weight_sharing else W[i] for i in range(64)])
        v = literal_routing(torch.stack(u), full_W, network.bias_JD, 3)
        for k in range(3):
            length = torch.linalg.vector_norm(v[k])
            total = total + ((0.9 - length).relu() ** 2 if k == label else 0.5 * (length - 0.1).relu() ** 2) / 2
        masked = torch.cat([v[k] if k == label else 0 * v[k] for k in range(3)])
        x = masked if point.decoder == "full" else v[label]
        first, second, third = network.decoder
        x = torch.sigmoid(third(second(first(x).relu()).relu()))
        total = total + 0.0005 * ((x - images[b].flatten()) ** 2).sum() / 2
    assert (margin + reconstruction).item() == pytest.approx(total.item(), rel=1e-12)
    for a, b_ in zip(got, torch.autograd.grad(total, parameters), strict=True):
        torch.testing.assert_close(a, b_, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("decoder", ["full", "small"])
def test_the_decoder_sees_the_longest_capsule_and_no_other(decoder: str) -> None:
    """A reconstruction as evaluation makes it, from the longest capsule, against one by hand."""
    shape = sizes.ImageShape(channels=1, height=19, width=17, classes=3)
    network = build_network(parse_design(f"decoder={decoder}"), shape)
    assert isinstance(network, CapsNet)
    network.initialize(seeded(1))
    images = torch.rand(4, 1, 19, 17, generator=seeded(2))
    v, longest = network.output_capsules(images), network.scores(images).argmax(1)
    got = network.decode(v, longest)
    assert got.shape == (4, shape.pixels)
    first, second, third = network.decoder
    for b, k in enumerate(longest.tolist()):
        x = torch.zeros(3, 16).index_copy(0, torch.tensor([k]), v[b, k : k + 1]).flatten() if decoder == "full" else v[b, k]
        torch.testing.assert_close(got[b], torch.sigmoid(third(second(first(x).relu()).relu())))


def test_bfloat16_stays_near_float32() -> None:
    images, labels = torch.rand(4, 1, 28, 28, generator=seeded(2)), torch.tensor([1, 2, 3, 4])
    grads = []
    for precision in ("float32", "bfloat16"):
        network = CapsNet(DesignPoint(), MNIST, precision)
        network.initialize(seeded(0))
        margin, reconstruction = network.losses(images, labels)
        grads.append(torch.autograd.grad(margin + reconstruction, [network.primary_weight, network.W_IJDE]))
        assert all(p.dtype == torch.float32 for p in network.parameters())
    for a, b in zip(*grads, strict=True):
        assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.999


def test_lenet_pads_small_images() -> None:
    network = LeNet5(MNIST)
    assert network.padding == [2, 2, 2, 2]
    assert LeNet5(sizes.ImageShape(channels=3, height=32, width=32, classes=10)).padding == [0, 0, 0, 0]


def counted_macs(point: DesignPoint, shape: sizes.ImageShape) -> int:
    """Multiply-adds of a literal classification, counted layer by layer as it runs."""
    network = build_network(point, shape)
    total = 0

    def count(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        total += weight[0].numel() * output.numel()

    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(count)
    network.scores(torch.zeros(1, shape.channels, shape.height, shape.width))
    return total


def test_macs_and_memory() -> None:
    assert sizes.classification_macs(parse_design("lenet5"), MNIST) == counted_macs(parse_design("lenet5"), MNIST) == 416_520
    primary = 81 * 256 * 256 * 36 + 81 * 256 * 400
    assert sizes.classification_macs(DesignPoint(), MNIST) == primary + 2_396_160
    assert sizes.classification_macs(DesignPoint(weight_sharing=True), MNIST) == primary + 573_440
    assert sizes.classification_macs(DesignPoint(decoder="small"), MNIST) == sizes.classification_macs(DesignPoint(), MNIST)
    full, shared = (sizes.classification_memory(DesignPoint(weight_sharing=ws), MNIST) for ws in (False, True))
    assert full == 4 * (8_215_728 - 1_411_344 + 9216 + 11_520 * 17) and shared == 4 * (6_782_128 - 1_411_344 + 102_400 + 9216)
    assert sizes.static_objectives(DesignPoint(), MNIST) == {
        "params": 8_215_728,
        "macs": primary + 2_396_160,
        "memory": full / 1e6,
    }
