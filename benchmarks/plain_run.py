"""Whole runs in the manner of the yardsticks: the trainer's data, schedules and measures around their networks and steps."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.yardstick import PlainCapsNet, PlainTraining, make_yardstick
from fastrcaps_dse.capsnet.network import CapsNet
from fastrcaps_dse.data import Split
from fastrcaps_dse.trainer import Training
from fastrcaps_dse.trainer.adam import Optimizer
from fastrcaps_dse.trainer.images import as_floats
from fastrcaps_dse.trainer.steps import run_through


class PlainSteps:
    """A step of a yardstick for each batch."""

    def __init__(self, whole: PlainTraining) -> None:
        self.whole = whole
        self.optimizer: Optimizer = whole.optimizer

    def warm_up(self, images: Split, batch_size: int, steps: int) -> None:
        """Compile what the form compiles, for each size that a batch has; plain scripts do nothing."""
        for few in {min(batch_size, len(images)), len(images) % batch_size or batch_size}:
            self.whole.prepare(as_floats(images.images[:few]), images.labels[:few])

    def run(self, images: Split, batch_size: int, rates: Sequence[float]) -> Tensor:
        return run_through(self.take(images, batch_size, rates))

    def take(self, images: Split, batch_size: int, rates: Sequence[float]) -> Generator[int, None, Tensor]:
        """A plain script does not say how far it is."""
        yield from ()
        total = 0.0
        for step, rate in enumerate(rates):
            batch = slice(step * batch_size, (step + 1) * batch_size)
            labels = images.labels[batch]
            total += self.whole.step(as_floats(images.images[batch]), labels, rate) * len(labels)
        return torch.tensor([total, 0.0])  # the plain loss is one sum


class PlainRun(Training):
    """`Training` with a yardstick, from the same weights; malloc is left as it is, as in plain scripts."""

    keeps_memory = False
    form: ClassVar[str] = "plain"

    def _make_steps(self) -> None:
        if isinstance(self.network, CapsNet):
            whole = make_yardstick(self.form, self.network, self.device)
            self.network = whole.network  # type: ignore[assignment]
        else:
            assert isinstance(self.network, PlainCapsNet)
            whole = PlainTraining(self.network, fused=self.form == "port")
        self.steps = PlainSteps(whole)
        self.optimizer = self.steps.optimizer
        self.warm = set()


class PortRun(PlainRun):
    """A run in the manner of popular ports."""

    form = "port"


class CompiledRun(PlainRun):
    """A run whose loss and gradients are compiled; compilation counts as warm-up."""

    form = "compiled"


RUNS: dict[str, type[PlainRun]] = {kind.form: kind for kind in (PlainRun, PortRun, CompiledRun)}
