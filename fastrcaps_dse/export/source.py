"""What is exported, and how."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastrcaps_dse.capsnet.network import CapsNet, LeNet5
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.data import Split
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.export.plain import Pixels
from fastrcaps_dse.figures.plots import ParetoInfo
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.store import RunRow, StudyRow, TrialRow

UNKNOWN_LICENSE = "unknown"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which files an export has. Raises InputError for values that are not allowed."""

    pixels: Pixels = "uint8"
    onnx: bool | None = None  # None: if everything that it needs is installed
    half: bool = False  # files with weights in float16, too
    int8: bool = False  # an ONNX file with 8-bit weights, too
    tolerance: float = 0.2  # percentage points of test accuracy that a smaller file may lose
    license: str = UNKNOWN_LICENSE  # of the weights, as the Hugging Face hub names it

    def __post_init__(self) -> None:
        if self.pixels not in ("uint8", "float32"):
            raise InputError(f"unknown pixels {self.pixels!r}", "known: uint8, float32")
        if not (math.isfinite(self.tolerance) and 0 <= self.tolerance <= 100):
            raise InputError(f"a tolerance of {self.tolerance:g} percentage points is not valid", "give 0 to 100, such as 0.2")
        if self.int8 and self.onnx is False:
            raise InputError("--int8 is an ONNX file", "leave out --no-onnx")
        if not self.license.strip() or "\n" in self.license:
            raise InputError(f"{self.license!r} is not the name of a license", "give its name, such as mit or cc-by-4.0")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A trained network, where it comes from, and the images that test it."""

    network: CapsNet | LeNet5  # in float32, on the CPU, in eval mode
    shape: ImageShape
    classes: Sequence[str]
    study: StudyRow
    trial: TrialRow
    run: RunRow  # the one that trained the weights
    errors: Mapping[str, float]  # standard errors of the design's values, by objective, where seeds tell them
    front: ParetoInfo
    test: Split

    @property
    def measured(self) -> Measurement:
        """What the run measured."""
        assert self.run.measurement is not None
        return self.run.measurement

    @property
    def runs(self) -> list[tuple[int, Measurement]]:
        """The (seed, measurement) of each run of the design that has one."""
        return [(run.seed, run.measurement) for run in self.trial.runs if run.measurement is not None]

    @property
    def test_mean(self) -> tuple[float | None, float | None]:
        """The (mean, standard error) of the test accuracy over the seeds, in percent; None where it is not known."""
        found = [measured.test_acc for _, measured in self.runs if measured.test_acc is not None]
        if not found:
            return None, None
        return statistics.fmean(found), statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else None
