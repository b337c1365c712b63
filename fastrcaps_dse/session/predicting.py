"""What a trained network, or an exported file, says of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.export.confusion import confusion_matrix
from fastrcaps_dse.export.files import require_onnx
from fastrcaps_dse.export.folder import read_card
from fastrcaps_dse.export.picked import PickedNetwork, Prediction, as_floats, predictions
from fastrcaps_dse.export.pictures import Pictures, read_pictures
from fastrcaps_dse.export.runtimes import Run, load_onnx, load_program, scores_of
from fastrcaps_dse.export.writing import ONNX, PROGRAM

Runtime = Literal["torch", "pt2", "onnx"]
RUNTIMES: dict[str, str] = {"torch": "", "pt2": PROGRAM, "onnx": ONNX}
"""What computes the scores, and the file of an export that it needs besides the weights."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What was said of pictures; how well, if folders tell their classes."""

    pictures: Pictures
    predictions: tuple[Prediction, ...]
    classes: tuple[str, ...]

    @property
    def accuracy(self) -> float | None:
        """In percent; None if no folder tells the classes."""
        if not self.pictures.labeled:
            return None
        pairs = zip(self.pictures.pictures, self.predictions, strict=True)
        return 100.0 * sum(picture.label == said.label for picture, said in pairs) / len(self.predictions)

    @property
    def confusion(self) -> NDArray[np.int64] | None:
        """How many pictures of each class (rows) were predicted as each class (columns); None if no folder tells the classes."""
        labels = [picture.label for picture in self.pictures.pictures if picture.label is not None]
        if len(labels) != len(self.predictions):
            return None
        return confusion_matrix(labels, [said.label for said in self.predictions], len(self.classes))


def open_runtime(model: Path, runtime: str) -> Run | None:
    """What runs the file of an export; None for torch, which takes the weights. Raises UserErrors."""
    if runtime not in RUNTIMES:
        raise InputError(f"unknown runtime {runtime!r}", "known: " + ", ".join(RUNTIMES))
    if runtime == "torch":
        return None
    if runtime == "onnx":
        require_onnx("--runtime onnx")
    card = read_card(model)
    path = model / RUNTIMES[runtime]
    if not path.is_file():
        raise InputError(f"the export {model} has no {path.name}", "export it again, or use --runtime torch")
    run = load_onnx(path) if runtime == "onnx" else load_program(path)
    return run if card["scaling"]["input"] == "uint8" else lambda images: run(as_floats(images))


def predict(picked: PickedNetwork, paths: Sequence[Path], run: Run | None = None) -> Predicted:
    """What the network says of the pictures of files and folders; `run` computes the scores instead of it, if given.

    Raises InputError for no picture, a file that is none, or a folder that is not named like a class.
    """
    pictures = read_pictures(paths, picked.shape, picked.classes, picked.scaling)
    scores = picked.scores_of(pictures.pixels) if run is None else scores_of(run, pictures.pixels)
    return Predicted(pictures=pictures, predictions=tuple(predictions(scores, picked.classes)), classes=picked.classes)
