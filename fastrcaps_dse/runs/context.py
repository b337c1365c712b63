"""What the runs of a study are trained with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastrcaps_dse.capsnet.algorithms import Algorithms
from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.problem.timelines import Timeline, build_timeline
from fastrcaps_dse.store import Store, StudyRow
from fastrcaps_dse.trainer import Training

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Context:
    """A stored study, its images, and the device that trains."""

    spec: StudySpec
    study: StudyRow
    store: Store
    dataset: DataSet
    device: torch.device
    precision: Precision

    def timeline(self, point: DesignPoint) -> Timeline:
        """The epochs and steps of a run of this design."""
        return build_timeline(
            point.batch_schedule, epochs=self.spec.epochs, images=self.study.train_images, scale_decay=self.spec.scale_decay
        )

    def training(
        self, point: DesignPoint, seed: int, algorithms: Algorithms, make_training: Callable[..., Training] = Training
    ) -> Training:
        """A run of this design with this seed, before its first epoch."""
        return make_training(
            point,
            seed,
            self.dataset,
            epochs=self.spec.epochs,
            protocol=self.spec.protocol,
            scale_decay=self.spec.scale_decay,
            device=self.device,
            precision=self.precision,
            algorithms=algorithms,
        )
