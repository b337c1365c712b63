"""The networks as modules of PyTorch: initialized, called, copied, moved, with gradients by their input; weights in files."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from benchmarks.yardstick import PlainCapsNet
from fastrcaps_dse import data, trainer
from fastrcaps_dse.capsnet.algorithms import Algorithm, Algorithms
from fastrcaps_dse.capsnet.network import CapsNet, LeNet5, build_network
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.problem.space import DesignPoint, parse_design
from fastrcaps_dse.trainer import CheckpointError, Training

CPU = torch.device("cpu")
MNIST = ImageShape(channels=1, height=28, width=28, classes=10)
ODD = ImageShape(channels=3, height=21, width=18, classes=4)
DESIGNS = ("fixed", "decoder=small", "weight_sharing=true", "ws", "lenet5")


def images_of(shape: ImageShape, batch: int, kind: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(batch, shape.channels, shape.height, shape.width, generator=generator, dtype=torch.float64).to(kind)


# --- initialized --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.usefixtures("small_capsnet")
def test_a_network_begins_with_the_weights_of_a_run_of_its_seed(tiny: Path, design: str) -> None:
    dataset, point = data.load(str(tiny)), parse_design(design)
    for seed in (0, 3):
        run = Training(point, seed, dataset, epochs=1, device=CPU)
        network = build_network(point, dataset.shape, seed=seed)
        pairs = zip(network.named_parameters(), run.network.named_parameters(), strict=True)
        assert all(a == b and torch.equal(p, q) for (a, p), (b, q) in pairs)
    default, other = build_network(point, dataset.shape), build_network(point, dataset.shape, seed=3)
    first = [build_network(point, dataset.shape, seed=0), default]
    assert all(torch.equal(p, q) for p, q in zip(*(net.parameters() for net in first), strict=True))
    assert not torch.equal(next(iter(default.parameters())), next(iter(other.parameters())))


def test_other_random_numbers_stay_what_they_are() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    CapsNet(DesignPoint(), ODD)
    LeNet5(ODD)
    assert torch.equal(torch.rand(3), expected)


# --- called -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.usefixtures("small_capsnet")
def test_a_call_gives_the_class_scores(design: str) -> None:
    network, images = build_network(parse_design(design), ODD), images_of(ODD, 3)
    called = network(images)
    assert called.shape == (3, 4) and called.dtype == torch.float32 and called.requires_grad
    assert torch.equal(called, network.scores(images))
    if isinstance(network, CapsNet):
        scores, v = network(images, capsules=True)
        assert torch.equal(scores, called) and v.shape == (3, 4, 16)
        torch.testing.assert_close(v.norm(dim=2), scores)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.usefixtures("small_capsnet")
def test_the_habits_of_modules(design: str, tmp_path: Path) -> None:
    network, images = build_network(parse_design(design), ODD), images_of(ODD, 2)
    scores = network(images)
    assert not network.eval().training and network.train().training
    assert torch.equal(network.eval()(images), scores)
    twin = copy.deepcopy(network)
    with torch.no_grad():
        next(iter(twin.parameters())).zero_()
    assert torch.equal(network(images), scores) and not torch.equal(twin(images), scores)
    other = build_network(parse_design(design), ODD, seed=9)
    assert not torch.equal(other(images), scores)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    other.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    assert torch.equal(other(images), scores)
    torch.testing.assert_close(network.to(torch.float64)(images.double()).float(), scores, rtol=1e-4, atol=1e-6)
    assert network.float().to("meta")(images.to("meta")).shape == (2, 4)


# --- gradients by the input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["direct", "tiles", "dft"])
@pytest.mark.parametrize(("design", "shape"), [*itertools.product(("fixed", "weight_sharing=true"), [MNIST, ODD])])
def test_images_get_the_gradient_of_the_plain_network(algorithm: Algorithm, design: str, shape: ImageShape) -> None:
    """In float64, up to rounding; in float32 up to that of float32. The scores depend on no decoder."""
    batch = 3
    network = CapsNet(parse_design(design), shape, algorithms=Algorithms(chosen={batch: algorithm}), seed=2)
    plain = PlainCapsNet(network).double()
    labels = torch.arange(batch) % shape.classes

    def gradient(network: Any, kind: torch.dtype) -> Tensor:
        images = images_of(shape, batch, kind).requires_grad_()
        (found,) = torch.autograd.grad(network.scores(images)[torch.arange(batch), labels].sum(), images)
        assert found.shape == images.shape and found.dtype == kind
        return found.double()

    expected = gradient(plain, torch.float64)
    largest = expected.abs().max()
    assert (gradient(network, torch.float32) - expected).abs().max() <= 2e-3 * largest
    assert (gradient(network.double(), torch.float64) - expected).abs().max() <= 1e-10 * largest


@pytest.mark.usefixtures("small_capsnet")
def test_the_gradient_of_an_image_is_that_of_differences() -> None:
    network = CapsNet(DesignPoint(), ODD).double()
    images = images_of(ODD, 1, torch.float64).requires_grad_()
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (found,) = torch.autograd.grad(network(images)[0, 2], images)
    step = 1e-6
    with torch.no_grad():
        slope = (network(images + step * direction)[0, 2] - network(images - step * direction)[0, 2]) / (2 * step)
    assert (found * direction).sum().item() == pytest.approx(slope.item(), rel=1e-5)


@pytest.mark.usefixtures("small_capsnet")
def test_images_that_ask_for_no_gradient_get_none_and_weights_get_the_same() -> None:
    network, images = CapsNet(DesignPoint(decoder="small"), ODD), images_of(ODD, 2)
    gradients = []
    for asks in (False, True):
        asked = images.clone().requires_grad_(asks)
        network.zero_grad()
        network(asked).sum().backward()
        assert (asked.grad is not None) == asks
        gradients.append([p.grad for p in network.parameters()])
    pairs = zip(*gradients, strict=True)
    assert all((a is None and b is None) or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)


# --- weights in files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(tiny: Path, tmp_path: Path, small_capsnet: None) -> Path:
    """Those of a run of `ws`."""
    Training(parse_design("ws"), 4, data.load(str(tiny)), epochs=1, device=CPU).save_weights(str(tmp_path / "w.safetensors"))
    return tmp_path / "w.safetensors"


def test_weights_are_loaded_from_a_path_or_its_text(weights: Path, tiny: Path) -> None:
    shape = data.load(str(tiny)).shape
    for path in (weights, str(weights)):
        loaded = trainer.load_network(path, parse_design("ws"), shape)
        like = build_network(parse_design("ws"), shape, seed=4)
        assert not loaded.training
        assert all(torch.equal(p, q) for p, q in zip(loaded.parameters(), like.parameters(), strict=True))
    trainer.load_network(weights, parse_design("wab+ws"), shape)  # the same network, trained otherwise


WRONG = [
    ("decoder=small", {}, "weight_sharing=True, not with weight_sharing=False"),
    ("weight_sharing=true", {}, "decoder=small, not with decoder=full"),
    ("weight_sharing=true decoder=small routing_iterations=2", {}, "routing_iterations=3, not with routing_iterations=2"),
    ("lenet5", {}, "network=capsnet"),
    ("ws", {"height": 28, "width": 28}, "for 1x17x17 images of 3 classes, not for 1x28x28 images of 3 classes"),
    ("ws", {"classes": 5}, "for 1x17x17 images of 3 classes, not for 1x17x17 images of 5 classes"),
]


@pytest.mark.parametrize(("design", "other", "said"), WRONG)
def test_weights_of_another_design_or_shape_are_refused(
    weights: Path, tiny: Path, design: str, other: dict[str, int], said: str
) -> None:
    dataset = data.load(str(tiny))
    with pytest.raises(InputError, match=said) as caught:
        trainer.load_network(weights, parse_design(design), replace(dataset.shape, **other))
    assert str(weights) in caught.value.message and caught.value.hint
    if not other:
        training = Training(parse_design(design), 0, dataset, epochs=1, device=CPU)
        before = [p.clone() for p in training.network.parameters()]
        with pytest.raises(InputError, match=said):
            training.load_weights(str(weights))
        assert all(torch.equal(p, q) for p, q in zip(training.network.parameters(), before, strict=True))


def test_files_without_metadata_are_told_by_their_tensors(weights: Path, tiny: Path) -> None:
    safetensors.torch.save_file(safetensors.torch.load_file(weights), weights)
    shape = data.load(str(tiny)).shape
    trainer.load_network(weights, parse_design("ws"), shape)
    for design, changes, tensor in (
        ("weight_sharing=true", {}, r"decoder.0.weight is \[32, 16\] there and \[32, 48\] here"),
        ("ws", {"classes": 5}, r"W_IJDE is \[4, 3, 16, 8\] there and \[4, 5, 16, 8\] here"),
        ("lenet5", {}, r"W_IJDE is \[4, 3, 16, 8\] there and nothing here"),
    ):
        with pytest.raises(InputError, match=f"of another network: {tensor}"):
            trainer.load_network(weights, parse_design(design), replace(shape, **changes))


def test_broken_files_are_an_error_of_the_machine(weights: Path, tiny: Path) -> None:
    dataset = data.load(str(tiny))
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(MachineError, match="cannot be used"):
        trainer.load_network(str(weights), parse_design("ws"), dataset.shape)
    with pytest.raises(CheckpointError):
        Training(parse_design("ws"), 0, dataset, epochs=1, device=CPU).load_weights(weights.parent / "none")
