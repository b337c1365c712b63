"""Whether a run should end early, given what its study has measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastrcaps_dse.problem.objectives import costs_of
from fastrcaps_dse.problem.quantities import is_timed
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.runs.context import Context
from fastrcaps_dse.runs.cost_model import CostModel
from fastrcaps_dse.search.pruning import FinishedCurve, PartialRun, Prune, decide
from fastrcaps_dse.store import EpochRow


@dataclass(frozen=True, kw_only=True)
class Pruner:
    """Decides about one run, against what its study had measured when the run began."""

    context: Context
    point: DesignPoint
    fixed: Mapping[str, float]  # the objectives that training does not change, by name
    step_seconds: Mapping[int, float] | None  # by batch size; None where the clock tells the time objective
    costs: Sequence[tuple[float, ...]]  # of the measured designs that may dominate it: an estimated time proves nothing
    curves: Sequence[FinishedCurve]

    def decide(self, epochs: Sequence[EpochRow]) -> Prune | None:
        """Whether the run should end after these epochs; None where it should go on."""
        if not epochs:
            return None
        spec, timeline = self.context.spec, self.context.timeline(self.point)
        mean = math.fsum(epoch.counted_seconds for epoch in epochs) / sum(epoch.steps for epoch in epochs)
        phases = [timeline.phase_of_epoch(epoch) for epoch in range(len(epochs), timeline.epochs)]
        rest = [p.steps_per_epoch * (self.step_seconds or {}).get(p.batch_size, mean) for p in phases]
        run = PartialRun(
            policy=self.point.lr_policy.name,
            fixed=self.fixed,
            seconds=(*(epoch.counted_seconds for epoch in epochs), *rest),
            accuracies=tuple(epoch.acc for epoch in epochs),
        )
        return decide(run, spec.objectives, self.costs, self.curves, spec.pruning)


def make_pruner(cost_model: CostModel, point: DesignPoint, step_seconds: Mapping[int, float] | None) -> Pruner | None:
    """What may end a run of this design early; None in a study that does not prune."""
    context = cost_model.context
    if context.spec.pruning == "off":
        return None
    trials = context.store.trials(context.study)
    epochs = context.store.epochs_of(context.study.study_id)
    by_time = any(is_timed(objective.name) for objective in context.study.objectives)
    measured = [t.measurement for t in trials if t.measurement is not None and not (by_time and t.time_estimated)]
    if by_time and cost_model.is_estimated(point):
        measured = []
    curves = [
        FinishedCurve(policy=trial.design.lr_policy.name, accuracies=tuple(epoch.acc for epoch in epochs[run.run_id]))
        for trial in trials
        for run in trial.runs
        if run.measurement is not None and run.measurement.pruned_after is None
    ]
    return Pruner(
        context=context,
        point=point,
        fixed=cost_model.fixed(point),
        step_seconds=step_seconds,
        costs=[costs_of(context.study.objectives, measurement.values) for measurement in measured],
        curves=curves,
    )
