"""Networks from the weights that a run has kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from fastrcaps_dse.capsnet.network import CapsNet, LeNet5, build_network
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.data import DataSet, class_names
from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.trainer.checkpoint import CheckpointError, read_tensors


def weights_metadata(point: DesignPoint, dataset: DataSet) -> dict[str, str]:
    """What a file of weights says of itself: the design, the names of the classes, the shape of the images, and how pixels are scaled."""
    return {
        "design": point.key,
        "classes": json.dumps(class_names(dataset)),
        "image_shape": json.dumps(asdict(dataset.shape)),
        "pixel_scaling": dataset.scaling,
    }


def load_network(path: Path, point: DesignPoint, shape: ImageShape) -> CapsNet | LeNet5:
    """The trained network of a design, ready to classify; `network.scores(images)` gives class scores [B, J].

    `images` are float32 [B, C, H, W] in [0, 1] on the CPU. Raises MachineError for weights that cannot be read or are of another design.
    """
    network = build_network(point, shape)
    try:
        tensors, _ = read_tensors(path)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(tensors[name])
    except (CheckpointError, KeyError, RuntimeError) as error:
        raise MachineError(f"the weights {path} cannot be used: {error}", "train the design again, with --fresh") from None
    return network.eval()
