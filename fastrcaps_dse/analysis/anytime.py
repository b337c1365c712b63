"""The anytime view of a study: every epoch of every run is a design that one can have.

A CapsNet that was trained for some of its epochs is one, too. Its accuracy is the highest so far, its time the seconds of the
epochs so far. So a point of this view is a design with a number of epochs, of runs that are finished, pruned, paused or still under way.
A run that is stopped early has followed the learning-rate policy and batch schedule of the whole run: the design with fewer epochs in all
is another one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fastrcaps_dse.capsnet.sizes import ImageShape, static_objectives
from fastrcaps_dse.problem.objectives import Measurement, Objective, mean_measurement, needs_asking, selected_epoch, time_to
from fastrcaps_dse.problem.quantities import ROBUST
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.store import EpochRow, RunRow, StudyRow, TrialRow

Epochs = Mapping[int, Sequence[EpochRow]]
"""The epochs of runs, in order, by run id."""


def anytime_trials(trials: Sequence[TrialRow], epochs: Epochs, study: StudyRow) -> list[TrialRow]:
    """The points of the anytime view: for each design, the numbers of epochs after which it is more accurate than after fewer ones.

    Arguments:
        trials: all designs of the study.
        epochs: those of all their runs.
        study: which they belong to.

    A point is a `TrialRow` with `stop_after`. Its runs are those that have so many epochs, with what they had reached by then, and its
    measurement is their mean. A design without an epoch, or whose only run has failed, is given as it is, without a measurement. A point
    for which an objective is not known, as the latency of a network that was not measured yet, is left out. `robust` no point has.
    """
    fixed = _Fixed(study, trials)
    points: list[TrialRow] = []
    for trial in trials:
        of_trial = [*_points(trial, epochs, study, fixed.of(trial.design))]
        points += of_trial or [replace(trial, measurement=None)]
    return points


def of_epochs(objectives: Iterable[Objective]) -> tuple[Objective, ...]:
    """The objectives that each epoch of a run has a value of: `robust` is measured at the selected epoch alone."""
    return tuple(objective for objective in objectives if objective.name != ROBUST)


def is_anytime(study: StudyRow) -> bool:
    """Whether a study was started to be seen in the anytime view."""
    return bool(study.identity.get("anytime", False))


def _points(trial: TrialRow, epochs: Epochs, study: StudyRow, fixed: Mapping[str, float]) -> Iterator[TrialRow]:
    """The points of one design, those with fewer epochs first."""
    curves = [(run, [*epochs.get(run.run_id, ())]) for run in trial.runs if run.state != "failed"]
    best = -math.inf
    for done in range(1, max((len(rows) for _, rows in curves), default=0) + 1):
        runs = tuple(_stopped(run, rows[:done], study, fixed) for run, rows in curves if len(rows) >= done)
        mean = mean_measurement([run.measurement for run in runs if run.measurement is not None])
        is_complete = all(objective.name in mean.values for objective in of_epochs(study.objectives))
        if is_complete and mean["acc"] > best:
            best = mean["acc"]
            yield replace(trial, runs=runs, measurement=mean, stop_after=done, epochs_in_all=study.identity["epochs"])


def _stopped(run: RunRow, rows: Sequence[EpochRow], study: StudyRow, fixed: Mapping[str, float]) -> RunRow:
    """A run as if it had ended after these epochs; its weights are those of the point only if their epoch is the same."""
    accuracies, seconds = [row.acc for row in rows], [row.counted_seconds for row in rows]
    selected = selected_epoch(accuracies, last=study.identity["protocol"] == "all-images")
    values = {"acc": accuracies[selected - 1], "time": math.fsum(seconds), "epochs": float(len(rows)), **fixed}
    for objective in study.objectives:
        if objective.wanted_acc is not None:
            values[objective.name] = time_to(objective.wanted_acc, accuracies, seconds)
    whole = run.measurement
    is_same = whole is not None and whole.selected_epoch == selected
    measured = Measurement(
        values=values,
        test_acc=whole.test_acc if whole is not None and is_same else None,
        selected_epoch=selected,
        time_estimated=run.time_estimated,
    )
    return replace(run, measurement=measured, weights=run.weights if is_same else None)


@dataclass(frozen=True)
class _Fixed:
    """The objectives that training does not change."""

    study: StudyRow
    trials: Sequence[TrialRow]

    def of(self, design: DesignPoint) -> dict[str, float]:
        """Those of a design: by formula, and what was measured of its network, in any run of the study."""
        values = {name: float(v) for name, v in static_objectives(design, ImageShape(**self.study.image_shape)).items()}
        for objective in of_epochs(self.study.objectives):
            if needs_asking(objective.name) and objective.wanted_acc is None:
                runs = itertools.chain.from_iterable(t.runs for t in self.trials if _network(t.design) == _network(design))
                measured = (run.measurement.values for run in runs if run.measurement is not None)
                values |= next(({objective.name: v[objective.name]} for v in measured if objective.name in v), {})
        return values


def _network(design: DesignPoint) -> tuple[object, ...]:
    """What decides how an image is classified."""
    return design.network, design.weight_sharing, design.routing_iterations
