"""What runs an exported file: torch for a program of torch.export, ONNX Runtime for an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.export.files import CLASSES, INPUT, SCORES, require_onnx

Run = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Images [B, C, H, W], of the type that the file takes, to (scores [B, J], predicted classes [B])."""


BATCH = 64  # images


def scores_of(run: Run, images: Tensor) -> Tensor:
    """The class scores of any number of images, [B, J]."""
    return torch.cat([run(batch)[0] for batch in images.split(BATCH)])


def load_program(path: Path) -> Run:
    """What runs a program of torch.export. Raises InputError for a file that is none."""
    from torch.export import load

    try:
        module = load(path).module()
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{path} is not a program of torch.export: {str(error).splitlines()[0]}", "export it again") from None

    def run(images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            scores, classes = module(images)
        return scores, classes

    return run


def load_onnx(path: Path) -> Run:
    """What runs an ONNX file, on the CPU. Raises InputError for a file that is none, MachineError without ONNX Runtime."""
    require_onnx("ONNX Runtime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; it warns of its own choices
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own errors have no common class
        raise InputError(f"{path} is not an ONNX file that runs: {str(error).splitlines()[0]}", "export it again") from None

    def run(images: Tensor) -> tuple[Tensor, Tensor]:
        found = session.run([SCORES, CLASSES], {INPUT: np.ascontiguousarray(images.numpy())})
        return torch.from_numpy(found[0]), torch.from_numpy(found[1])

    return run
