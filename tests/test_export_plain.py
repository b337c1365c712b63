"""The plain form of a network against the trained form, and the files made of it at any batch size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import onnx
import pytest
import torch

from fastrcaps_dse.capsnet.network import CapsNet, LeNet5, build_network
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.export import files
from fastrcaps_dse.export.plain import Classifier, Pixels, plain_form
from fastrcaps_dse.export.runtimes import load_onnx, load_program
from fastrcaps_dse.problem.space import Decoder, DesignPoint

GRAY = ImageShape(channels=1, height=28, width=28, classes=10)
RGB = ImageShape(channels=3, height=32, width=32, classes=10)
TWO = ImageShape(channels=1, height=17, width=19, classes=2)
ODD = ImageShape(channels=3, height=21, width=23, classes=3)
FULL, WS = DesignPoint(), DesignPoint(weight_sharing=True)
VARIANTS = [replace(point, decoder=kind) for point in (FULL, WS) for kind in get_args(Decoder)]
"""Their files have no decoder."""
LENET = DesignPoint(network="lenet5")
BOUND = 5e-6  # of scores in float32 up to 1

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_onnx_registry")]


def trained(point: DesignPoint, shape: ImageShape, seed: int = 0) -> CapsNet | LeNet5:
    """A network whose scores are as large as those of a trained one."""
    network = build_network(point, shape)
    network.initialize(torch.Generator().manual_seed(seed))
    if isinstance(network, CapsNet):
        with torch.no_grad():
            network.primary_weight.mul_(20)
    return network.eval()


def pixels_of(shape: ImageShape, count: int, seed: int = 1) -> torch.Tensor:
    size = (count, shape.channels, shape.height, shape.width)
    return torch.randint(0, 256, size, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def label(value: object) -> str | None:
    if isinstance(value, DesignPoint):
        return value.label
    return f"{value.channels}x{value.height}x{value.width}" if isinstance(value, ImageShape) else None


@pytest.mark.usefixtures("small_capsnet")
@pytest.mark.parametrize("shape", [GRAY, RGB, TWO, ODD], ids=label)
@pytest.mark.parametrize("routing", [1, 2, 3, 5])
@pytest.mark.parametrize("shared", [False, True])
def test_the_plain_form_gives_the_scores_of_the_trained_form(shape: ImageShape, routing: int, shared: bool) -> None:
    network = trained(DesignPoint(weight_sharing=shared, routing_iterations=routing), shape)
    images = pixels_of(shape, 11).float() / 255
    with torch.no_grad():
        expected = network.scores(images)
        found = plain_form(network)(images)
        assert float(expected.max()) > 0.2 and float(expected.std()) > 0.02
        assert float((found - expected).abs().max()) < BOUND and torch.equal(found.argmax(1), expected.argmax(1))
        double = network.double()
        difference = plain_form(double)(images.double()) - double.scores(images.double())
    assert float(difference.abs().max()) < 1e-13


@pytest.mark.parametrize("shape", [GRAY, RGB, TWO], ids=label)
def test_the_plain_form_of_lenet5(shape: ImageShape) -> None:
    network, images = trained(LENET, shape), pixels_of(shape, 7).float() / 255
    with torch.no_grad():
        assert float((plain_form(network)(images) - network.scores(images)).abs().max()) < BOUND
        double = network.double()
        assert float((plain_form(double)(images.double()) - double.scores(images.double())).abs().max()) < 1e-13


@pytest.mark.usefixtures("small_capsnet")
def test_the_plain_form_holds_no_prediction_vectors_that_it_does_not_need() -> None:
    """Elements of the largest tensor that a forward pass makes: prediction vectors only with several routing iterations."""

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        most = 0

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.dim() > 1 and out.shape[0] != 4 * 36 * 10:
                self.most = max(self.most, out.numel())
            return out

    found = {}
    for shared, routing in ((False, 3), (False, 1), (True, 3)):
        plain = plain_form(trained(DesignPoint(weight_sharing=shared, routing_iterations=routing), GRAY))
        with torch.no_grad(), Largest() as largest:
            plain(torch.rand(40, 1, 28, 28))
        found[shared, routing] = largest.most
    conv1 = 40 * 32 * 20 * 20
    votes = 40 * 4 * 36 * 160
    assert found == {(False, 3): votes, (False, 1): conv1, (True, 3): conv1}


def agree(
    network: CapsNet | LeNet5, shape: ImageShape, pixels: Pixels, folder: Path, bound: float, *, half: bool = False
) -> Path:
    """Both files of a network are within a bound of it at batch 1, 5 and 64; the ONNX file."""
    program = files.make_program(Classifier(network, pixels, half=half), shape)
    files.write_program(folder / "m.pt2", program, {"design": "d"})
    files.write_onnx(folder / "m.onnx", program, {"design": "d", "classes": ["a", "b"]})
    images = pixels_of(shape, 64)
    given = images if pixels == "uint8" else images.float() / 255
    with torch.no_grad():
        expected = network.scores(images.float() / 255)
    for run in (load_program(folder / "m.pt2"), load_onnx(folder / "m.onnx")):
        for count in (1, 5, 64):
            scores, classes = run(given[:count])
            assert scores.shape == (count, shape.classes) and classes.dtype == torch.int64
            assert float((scores - expected[:count]).abs().max()) < bound
            assert torch.equal(classes, scores.argmax(1))
            if not half:
                assert torch.equal(classes, expected[:count].argmax(1))
    return folder / "m.onnx"


def check_standard(path: Path) -> None:
    """The file is of opset 20, with standard operators only, a free batch size, and its metadata."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
    assert {node.domain for node in model.graph.node} == {""} and not model.functions
    sizes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input]
    assert sizes[0][0] == "batch" and [v.name for v in model.graph.output] == ["scores", "classes"]
    assert {entry.key: entry.value for entry in model.metadata_props} == {"design": "d", "classes": '["a", "b"]'}
    assert files.operators(path) == sorted({node.op_type for node in model.graph.node})


@pytest.mark.usefixtures("small_capsnet")
@pytest.mark.parametrize(
    "point", [*(pytest.param(point, marks=pytest.mark.thorough) for point in VARIANTS[:3]), VARIANTS[3]], ids=label
)
def test_files_of_the_four_variants(point: DesignPoint, tmp_path: Path) -> None:
    check_standard(agree(trained(point, GRAY), GRAY, "uint8", tmp_path, BOUND))


@pytest.mark.usefixtures("small_capsnet")
@pytest.mark.parametrize(
    ("point", "shape", "pixels"),
    [(LENET, GRAY, "uint8"), (FULL, RGB, "uint8"), (WS, TWO, "float32")],
    ids=label,
)
def test_files_of_other_networks_and_images(point: DesignPoint, shape: ImageShape, pixels: Pixels, tmp_path: Path) -> None:
    check_standard(agree(trained(point, shape), shape, pixels, tmp_path, BOUND))


@pytest.mark.usefixtures("small_capsnet")
@pytest.mark.parametrize("point", [FULL, pytest.param(WS, marks=pytest.mark.thorough)], ids=label)
def test_files_in_float16_and_with_8_bits(point: DesignPoint, tmp_path: Path) -> None:
    network = trained(point, GRAY)
    agree(network, GRAY, "uint8", tmp_path, 2e-3, half=True)
    half = (tmp_path / "m.onnx").stat().st_size
    path = agree(network, GRAY, "uint8", tmp_path, BOUND)
    check_standard(path)
    files.write_int8(tmp_path / "m8.onnx", path)
    assert half < 0.75 * path.stat().st_size and (tmp_path / "m8.onnx").stat().st_size < 0.75 * path.stat().st_size
    images = pixels_of(GRAY, 16)
    with torch.no_grad():
        expected = network.scores(images.float() / 255)
    assert float((load_onnx(tmp_path / "m8.onnx")(images)[0] - expected).abs().max()) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("point", [FULL, pytest.param(WS, marks=pytest.mark.thorough)], ids=label)
def test_files_of_full_size(point: DesignPoint, tmp_path: Path) -> None:
    check_standard(agree(trained(point, GRAY), GRAY, "uint8", tmp_path, 2e-5))


@pytest.mark.usefixtures("small_capsnet")
def test_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    network = trained(WS, RGB)
    metadata = {
        "design": WS.key,
        "shape": {"channels": 3, "height": 32, "width": 32, "classes": 10},
        "classes": list("abcdefghij"),
    }
    files.write_weights(tmp_path / "m.safetensors", network, metadata)
    again, point, shape, classes = files.read_weights(tmp_path / "m.safetensors")
    assert (point, shape, classes) == (WS, RGB, tuple("abcdefghij"))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), network.parameters(), strict=True))
    assert not again.training
