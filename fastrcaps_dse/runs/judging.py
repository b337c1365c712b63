"""Whether a run should go on, by what its study has measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fastrcaps_dse.objectives import minimised
from fastrcaps_dse.schedules import Timeline
from fastrcaps_dse.space import DesignPoint
from fastrcaps_dse.stopping import Course, Finished, Stop, judge
from fastrcaps_dse.store import EpochRow, Store, StudyRow
from fastrcaps_dse.studyspec import Mode


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judges a run against what the study had measured when it began."""

    study: StudyRow
    mode: Mode
    costs: list[tuple[float, ...]]  # of the measured designs
    finished: list[Finished]

    @classmethod
    def of(cls, store: Store, study: StudyRow, mode: Mode) -> Judge:
        """Read what is measured; nothing where no run is to be stopped."""
        trials = store.trials(study) if mode != "off" else []
        curves = store.epochs_of(study.study_id) if mode != "off" else {}
        measured = [t.measurement for t in trials if t.measurement is not None]
        finished = [
            Finished(policy=trial.design.lr_policy.name, accuracies=tuple(row.acc for row in curves[run.run_id]))
            for trial in trials
            for run in trial.runs
            if run.measurement is not None and run.measurement.stopped_after is None
        ]
        costs = [minimised(study.objectives, {o.name: m.value(o) for o in study.objectives}) for m in measured]
        return cls(study=study, mode=mode, costs=costs, finished=finished)

    def __call__(
        self,
        point: DesignPoint,
        known: Mapping[str, float],
        timeline: Timeline,
        rows: list[EpochRow],
        step_seconds: Mapping[int, float] | None,
    ) -> Stop | None:
        """Whether a run should stop after the epochs of `rows`; `known` are the objectives that training does not change."""
        if self.mode == "off" or not rows:
            return None
        mean = math.fsum(row.counted_seconds for row in rows) / sum(row.steps for row in rows)
        phases = [timeline.phase_of_epoch(epoch) for epoch in range(len(rows), timeline.epochs)]
        rest = [p.steps_per_epoch * (step_seconds or {}).get(p.batch_size, mean) for p in phases]
        course = Course(
            policy=point.lr_policy.name,
            known=known,
            seconds=(*(row.counted_seconds for row in rows), *rest),
            accuracies=tuple(row.acc for row in rows),
        )
        return judge(course, self.study.objectives, self.costs, self.finished, self.mode)
