"""Networks from the weights that a run has kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from fastrcaps_dse.capsnet.network import CapsNet, LeNet5, build_network
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.data import DataSet, class_names
from fastrcaps_dse.errors import InputError, MachineError, UserError
from fastrcaps_dse.problem.space import DesignPoint, parse_design
from fastrcaps_dse.trainer.checkpoint import CheckpointError, read_tensors

OF_NETWORK = ("network", "weight_sharing", "decoder", "routing_iterations")
"""The dimensions of a design that decide its network; the others decide how it is trained."""
HINT = "name the design and the images with which the weights were trained"


def weights_metadata(point: DesignPoint, dataset: DataSet) -> dict[str, str]:
    """What a file of weights says of itself: the design, the names of the classes, the shape of the images, and how pixels are scaled."""
    return {
        "design": point.key,
        "classes": json.dumps(class_names(dataset)),
        "image_shape": shape_text(dataset.shape),
        "pixel_scaling": dataset.scaling,
    }


def load_network(path: Path | str, point: DesignPoint, shape: ImageShape) -> CapsNet | LeNet5:
    """The trained network of a design, ready to classify; `network(images)` gives class scores [B, J].

    `images` are float32 [B, C, H, W] in [0, 1] on the CPU. Raises MachineError for a file that cannot be read, InputError for weights
    of another network or of other images.
    """
    network = build_network(point, shape, seed=None)
    try:
        copy_weights(network, Path(path), point, shape)
    except CheckpointError as error:
        raise MachineError(f"the weights {path} cannot be used: {error}", "train the design again, with --fresh") from None
    return network.eval()


def copy_weights(network: CapsNet | LeNet5, path: Path, point: DesignPoint, shape: ImageShape) -> None:
    """Give the weights of a file to the network of a design for images of this shape, all of them or none.

    Raises CheckpointError for a missing or broken file, InputError for weights of another network or of other images.
    """
    tensors, metadata = read_tensors(path)
    parameters = dict(network.named_parameters())
    _check_metadata(path, metadata, point, shape)
    _check_tensors(path, tensors, parameters)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def shape_text(shape: ImageShape) -> str:
    """The shape of the images, as the metadata of files have it."""
    return json.dumps(asdict(shape))


def _check_metadata(path: Path, metadata: Mapping[str, str], point: DesignPoint, shape: ImageShape) -> None:
    """Raises InputError if a file says that it is of another network or of other images; files of earlier versions say less."""
    stored = _stored_design(metadata)
    differing = [name for name in OF_NETWORK if stored is not None and getattr(stored, name) != getattr(point, name)]
    if differing:
        theirs, ours = (" ".join(f"{name}={getattr(of, name)}" for name in differing) for of in (stored, point))
        raise InputError(f"the weights {path} are of a design with {theirs}, not with {ours}", HINT)
    if metadata.get("image_shape", shape_text(shape)) != shape_text(shape):
        theirs, ours = _in_words(json.loads(metadata["image_shape"])), _in_words(asdict(shape))
        raise InputError(f"the weights {path} are for {theirs}, not for {ours}", HINT)


def _stored_design(metadata: Mapping[str, str]) -> DesignPoint | None:
    """The design that a file names; None if it names none, or one that this version does not have: then its tensors tell."""
    try:
        return parse_design(metadata["design"])
    except (KeyError, UserError):
        return None


def _in_words(shape: Mapping[str, int]) -> str:
    images = "x".join(str(shape.get(name)) for name in ("channels", "height", "width"))
    return f"{images} images of {shape.get('classes')} classes"


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    """Raises InputError if the tensors are not those of the network."""
    for name in sorted(parameters.keys() | tensors.keys()):
        theirs, ours = (list(of[name].shape) if name in of else "nothing" for of in (tensors, parameters))
        if theirs != ours:
            raise InputError(f"the weights {path} are of another network: {name} is {theirs} there and {ours} here", HINT)
