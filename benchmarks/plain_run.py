"""Whole runs in the plain manner: the trainer's data, schedules and measures around the yardstick's network and step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.yardstick import PlainCapsNet, PlainTraining
from fastrcaps_dse.capsnet.network import CapsNet
from fastrcaps_dse.data import Split
from fastrcaps_dse.trainer import Training
from fastrcaps_dse.trainer.images import as_floats


class PlainSteps:
    """A plain step for each batch."""

    def __init__(self, network: PlainCapsNet) -> None:
        self.whole = PlainTraining(network)
        self.optimizer: torch.optim.Optimizer = self.whole.optimizer

    def warm_up(self, images: Split, batch_size: int, steps: int) -> None:
        """Nothing: as plain scripts do."""

    def run(self, images: Split, batch_size: int, rates: Sequence[float]) -> Tensor:
        total = 0.0
        for step, rate in enumerate(rates):
            batch = slice(step * batch_size, (step + 1) * batch_size)
            labels = images.labels[batch]
            total += self.whole.step(as_floats(images.images[batch]), labels, rate) * len(labels)
        return torch.tensor([total, 0.0])  # the plain loss is one sum


class PlainRun(Training):
    """`Training` with the plain network, from the same weights; malloc is left as it is, as in plain scripts."""

    keeps_memory = False

    def _make_steps(self) -> None:
        if isinstance(self.network, CapsNet):
            self.network = PlainCapsNet(self.network).to(self.device)  # type: ignore[assignment]
        self.steps = PlainSteps(self.network)  # type: ignore[arg-type]
        self.optimizer = self.steps.optimizer
        self.warm = set()
