"""Writes an export: the model files from the plain form, each loaded again and checked, then what is known of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.export import card, checking, files, images, model_card, runtimes
from fastrcaps_dse.export.checking import Checked, Truth
from fastrcaps_dse.export.folder import CARD, check_target, new_folder
from fastrcaps_dse.export.picked import PickedNetwork
from fastrcaps_dse.export.plain import Classifier
from fastrcaps_dse.export.source import Options, Source

WEIGHTS, PROGRAM, ONNX = "model.safetensors", "model.pt2", "model.onnx"
HALF_PROGRAM, HALF_ONNX, INT8_ONNX = "model-half.pt2", "model-half.onnx", "model-int8.onnx"
README = "README.md"

Say = Callable[[str], None]


def write_export(out: Path, source: Source, options: Options, say: Say) -> dict[str, Any]:
    """Write the export of a network into the folder `out`, and return its card.

    Every file is loaded again and run on all test images. `say` is told of each. Raises UserErrors, after which there is no folder, or
    the earlier export: InputError for a folder that is none of ours, MachineError for one that cannot be written, a file that does not
    compute what the network does, or a smaller file that loses more accuracy than the tolerance.
    """
    check_target(out)
    if options.int8 or options.onnx:
        files.require_onnx("--int8" if options.int8 else "an ONNX file")
    export = _Export(source=source, options=options, truth=_truth(source), say=say)
    _check_accuracy(source, export.truth, options)
    with new_folder(out) as folder:
        written = export.write_models(folder)
        facts = card.facts(source, options, written, export.truth.accuracy)
        (folder / model_card.FRONT).write_bytes(images.png(images.front_image(source.front, *source.trial.key)))
        (folder / README).write_text(model_card.readme(facts), encoding="utf-8")
        (folder / CARD).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")  # last: it makes the folder an export
    return facts


def _truth(source: Source) -> Truth:
    """What the trained network says of the test images. Raises MachineError for scores that are no numbers."""
    scores = _scores(source, source.test.images)
    if not torch.isfinite(scores).all():
        raise MachineError("the trained network gives scores that are not finite", "train the design again, with --fresh")
    return Truth(images=source.test, scores=scores)


def _scores(source: Source, pixels: Tensor) -> Tensor:
    network = PickedNetwork(source.network, design=source.trial.design, shape=source.shape, classes=source.classes)
    return network.scores_of(pixels)


def _check_accuracy(source: Source, truth: Truth, options: Options) -> None:
    """Refuse weights that do not give the test accuracy that the study has of them. Raises MachineError.

    A run in bfloat16 is exported in float32, so its accuracy may differ by a little; the card states both.
    """
    stored = source.measured.test_acc
    if stored is None or source.run.precision == "bfloat16":
        return
    if abs(truth.accuracy - stored) > options.tolerance:
        raise MachineError(
            f"the weights reach {truth.accuracy:.2f} % on the test set, and the study says {stored:.2f} %",
            "they were changed after training; train the design again, with --fresh",
        )


@dataclass(frozen=True, kw_only=True)
class _Export:
    """An export that is being written."""

    source: Source
    options: Options
    truth: Truth
    say: Say

    def write_models(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Write and check the model files; what is known of each, by name."""
        wants_onnx = files.has_onnx() if self.options.onnx is None else self.options.onnx
        written = {WEIGHTS: self._weights(folder / WEIGHTS)}
        written |= self._programs(folder, PROGRAM, ONNX if wants_onnx else None, half=False)
        if self.options.half:
            written |= self._programs(folder, HALF_PROGRAM, HALF_ONNX if wants_onnx else None, half=True)
        if self.options.int8:
            files.write_int8(folder / INT8_ONNX, folder / ONNX)
            written[INT8_ONNX] = self._onnx(folder / INT8_ONNX, "8-bit weights")
        if not wants_onnx and self.options.onnx is None:
            self.say(f"no ONNX file: it needs {files.ONNX_HINT}")
        return written

    def _weights(self, path: Path) -> dict[str, Any]:
        files.write_weights(path, self.source.network, card.weights_metadata(self.source, self.options))
        network, point, shape, classes = files.read_weights(path)
        again = PickedNetwork(network, design=point, shape=shape, classes=classes)
        if (point, shape, classes) != (self.source.trial.design, self.source.shape, tuple(self.source.classes)):
            raise MachineError(f"{path.name} names another network than the one that was written", "nothing is exported")

        def run(images_: Tensor) -> tuple[Tensor, Tensor]:
            scores = again.scores_of(images_)
            return scores, scores.argmax(1)

        checked = checking.check(run, self.truth, "uint8")
        return self._known(path, "float32", checked)

    def _programs(self, folder: Path, program: str, onnx: str | None, *, half: bool) -> dict[str, dict[str, Any]]:
        """The program of torch.export, and the ONNX file made of it."""
        metadata = card.weights_metadata(self.source, self.options)
        made = files.make_program(Classifier(self.source.network, self.options.pixels, half=half), self.source.shape)
        files.write_program(folder / program, made, metadata)
        numbers = "float16 weights" if half else "float32"
        checked = checking.check(runtimes.load_program(folder / program), self.truth, self.options.pixels)
        written = {program: self._known(folder / program, numbers, checked)}
        if onnx is not None:
            files.write_onnx(folder / onnx, made, metadata)
            written[onnx] = self._onnx(folder / onnx, numbers)
        return written

    def _onnx(self, path: Path, numbers: str) -> dict[str, Any]:
        checked = checking.check(runtimes.load_onnx(path), self.truth, self.options.pixels)
        return self._known(path, numbers, checked) | {"opset": files.OPSET, "operators": files.operators(path)}

    def _known(self, path: Path, numbers: str, checked: Checked) -> dict[str, Any]:
        """What is known of a checked file. Raises MachineError for one that may not be exported."""
        exact = numbers == "float32"
        if exact:
            checking.require_equal(checked, self.truth, path.name)
        else:
            self._require_tolerance(path.name, checked)
        agree = "the same classes" if not checked.other_classes else f"{checked.other_classes} with another class"
        self.say(
            f"{path.name}: {checked.images:,} test images, {agree}, {checked.accuracy:.2f} %, "
            f"scores within {checked.largest_difference:.1e}"
        )
        return {
            "numbers": numbers,
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "images": checked.images,
            "accuracy": checked.accuracy,
            "largest_difference": checked.largest_difference,
            "bound": self.truth.bound if exact else None,
            "other_classes": checked.other_classes,
        }

    def _require_tolerance(self, name: str, checked: Checked) -> None:
        lost = self.truth.accuracy - checked.accuracy
        if lost > self.options.tolerance + 1e-9:
            raise MachineError(
                f"{name} loses {lost:.2f} percentage points: {checked.accuracy:.2f} % on the test set, not {self.truth.accuracy:.2f} %",
                f"leave it out, or allow more than {self.options.tolerance:g} with --tolerance",
            )
