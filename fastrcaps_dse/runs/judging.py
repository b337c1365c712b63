"""Whether a run should go on, by what its study has measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastrcaps_dse.problem.objectives import Objective, costs_of
from fastrcaps_dse.problem.schedules import Timeline
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import Pruning
from fastrcaps_dse.search.pruning import Course, Finished, Stop, judge
from fastrcaps_dse.store import EpochRow, Store, StudyRow


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judges one run against what its study had measured when it began."""

    point: DesignPoint
    timeline: Timeline
    known: Mapping[str, float]  # the objectives that training does not change
    step_seconds: Mapping[int, float] | None  # by batch size; None where the clock tells the time objective
    objectives: Sequence[Objective]
    costs: Sequence[tuple[float, ...]]  # of the measured designs
    finished: Sequence[Finished]
    mode: Pruning

    def __call__(self, rows: Sequence[EpochRow]) -> Stop | None:
        """Whether the run should stop after these epochs."""
        if not rows:
            return None
        mean = math.fsum(row.counted_seconds for row in rows) / sum(row.steps for row in rows)
        phases = [self.timeline.phase_of_epoch(epoch) for epoch in range(len(rows), self.timeline.epochs)]
        rest = [p.steps_per_epoch * (self.step_seconds or {}).get(p.batch_size, mean) for p in phases]
        course = Course(
            policy=self.point.lr_policy.name,
            known=self.known,
            seconds=(*(row.counted_seconds for row in rows), *rest),
            accuracies=tuple(row.acc for row in rows),
        )
        return judge(course, self.objectives, self.costs, self.finished, self.mode)


def measured_so_far(store: Store, study: StudyRow) -> tuple[list[tuple[float, ...]], list[Finished]]:
    """(costs of the measured designs, whole runs) of a study."""
    trials = store.trials(study)
    curves = store.epochs_of(study.study_id)
    measured = [t.measurement for t in trials if t.measurement is not None]
    finished = [
        Finished(policy=trial.design.lr_policy.name, accuracies=tuple(row.acc for row in curves[run.run_id]))
        for trial in trials
        for run in trial.runs
        if run.measurement is not None and run.measurement.pruned_after is None
    ]
    return [costs_of(study.objectives, m.values) for m in measured], finished
