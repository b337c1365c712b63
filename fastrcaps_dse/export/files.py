"""The model files of an export: weights as safetensors, programs of torch.export, and ONNX.

All programs come from the plain form, so they compute the same, and take any number of images.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fastrcaps_dse.capsnet.network import CapsNet, LeNet5, build_network
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.export.plain import Classifier
from fastrcaps_dse.problem.space import DesignPoint, parse_design
from fastrcaps_dse.trainer import CheckpointError
from fastrcaps_dse.trainer.checkpoint import read_tensors, write_tensors

if TYPE_CHECKING:
    from torch.export import ExportedProgram

OPSET = 20
INPUT, SCORES, CLASSES = "images", "scores", "classes"
"""The names of what a program takes and gives."""

EXTRA_FILE = "metadata.json"
"""The name of the metadata inside a file of torch.export."""

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
ONNX_HINT = "pip install 'fastrcaps-dse[onnx]'"


def has_onnx() -> bool:
    """Whether everything that ONNX files need is installed."""
    return all(find_spec(name) is not None for name in ONNX_PACKAGES)


def require_onnx(what: str) -> None:
    """Raises MachineError, with the command that installs it, unless everything that ONNX files need is installed."""
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise MachineError(f"{what} needs {', '.join(missing)}, not installed here", ONNX_HINT)


# --- weights ----------------------------------------------------------------------------------------------------------


def write_weights(path: Path, network: CapsNet | LeNet5, metadata: Mapping[str, Any]) -> None:
    """Write the weights, in the layout of the trained form, with what is needed to use them as metadata (JSON values).

    Raises MachineError for a file that cannot be written.
    """
    write_tensors(path, {name: p.detach() for name, p in network.named_parameters()}, as_texts(metadata))


def as_texts(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Metadata as texts: JSON, unless they are texts."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}


def read_weights(path: Path) -> tuple[CapsNet | LeNet5, DesignPoint, ImageShape, tuple[str, ...]]:
    """The (trained network, design, shape, class names) of a file of `write_weights`. Raises InputError for any other file."""
    try:
        tensors, metadata = read_tensors(path)
        point, shape = parse_design(metadata["design"]), ImageShape(**json.loads(metadata["shape"]))
        network = build_network(point, shape)
        parameters = dict(network.named_parameters())
        if set(parameters) != set(tensors):
            raise KeyError("the tensors are not those of the design")
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[name])
        classes = tuple(map(str, json.loads(metadata["classes"])))
    except (CheckpointError, KeyError, ValueError, TypeError, RuntimeError, InputError) as error:
        raise InputError(f"{path} does not hold an exported network: {error}", "export it again") from None
    return network.eval(), point, shape, classes


# --- programs ---------------------------------------------------------------------------------------------------------


def make_program(classifier: Classifier, shape: ImageShape) -> ExportedProgram:
    """The program of a classifier, for any number of images."""
    from torch.export import Dim, export

    kind = torch.uint8 if classifier.pixels == "uint8" else torch.float32
    example = torch.zeros(2, shape.channels, shape.height, shape.width, dtype=kind)
    return export(classifier.eval(), (example,), dynamic_shapes={INPUT: {0: Dim("batch")}})


def write_program(path: Path, program: ExportedProgram, metadata: Mapping[str, Any]) -> None:
    """Write a program as a file of torch.export, the metadata as its extra file. Raises MachineError for a file that cannot be written."""
    from torch.export import save

    try:
        save(program, path, extra_files={EXTRA_FILE: json.dumps(metadata)})
    except RuntimeError as error:  # as torch's writer says that the disk is full
        reason = str(error).splitlines()[0]
        raise MachineError(f"{path} cannot be written: {reason}", "free disk space, then run the same command again") from None


def write_onnx(path: Path, program: ExportedProgram, metadata: Mapping[str, Any]) -> None:
    """Write a program as an ONNX file in one piece, checked by ONNX, the metadata (JSON values) as its properties."""
    import onnx

    with quiet():
        made = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, input_names=[INPUT], output_names=[SCORES, CLASSES], verbose=False
        )
    assert made is not None
    model = made.model_proto
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]  # it names the batch otherwise, and ONNX infers it
    onnx.helper.set_model_props(model, as_texts(metadata))
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)


def write_int8(path: Path, source: Path) -> None:
    """Write an ONNX file whose convolutions and constant matrices are 8-bit, from one in float32.

    Weights are quantized here, one scale for each tensor; activations when the file runs, by the range that they have in a batch. ONNX
    Runtime's dynamic quantization is used, because torch's has no convolutions, which are most of a CapsNet.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(source, path, weight_type=QuantType.QUInt8, op_types_to_quantize=["Conv", "MatMul", "Gemm"])


def operators(path: Path) -> list[str]:
    """The names of the operators of an ONNX file, sorted; those outside the standard with their domain."""
    import onnx

    nodes = onnx.load(path, load_external_data=False).graph.node
    return sorted({node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}" for node in nodes})


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say of themselves: deprecations inside torch, and advice on the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
