"""Freeze-thaw: trains the runs of an anytime study step by step, always the one that promises the most for a second of training.

A run is paused after each step and may be taken up again later, so a design costs no more than it is worth. What comes next is a pure
function of the epochs that the study has: a search that was stopped goes on as an uninterrupted one would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.anytime_gain import Costs
from fastrcaps_dse.search.guided import FLOOR
from fastrcaps_dse.search.history import History
from fastrcaps_dse.search.parameters import sample_design
from fastrcaps_dse.search.protocols import Forecaster, Planner, Step
from fastrcaps_dse.search.step_choice import Option, least_alike, most_promising

CANDIDATES = 128  # new designs that are looked at, at most
NEGLIGIBLE = 2e-3  # of the hypervolume: a run that promises less is not worth its training


def make_planner(spec: StudySpec, forecast: Forecaster, negligible: float | None = None) -> Planner | None:
    """The planner of a study; None for one whose runs are trained whole.

    `negligible` is a share of the hypervolume: the search is done once no run promises more; None for the default.
    """
    if spec.sampler != "freeze-thaw":
        return None
    return FreezeThaw(spec=spec, forecast=forecast, negligible=NEGLIGIBLE if negligible is None else negligible)


@dataclass(kw_only=True)
class FreezeThaw:
    """See `Planner`."""

    spec: StudySpec
    forecast: Forecaster
    negligible: float = NEGLIGIBLE  # share of the hypervolume: once no run promises more, the search is done
    begun: dict[int, Option] = field(default_factory=dict)  # by trial: what is certain of those with an epoch, a cache

    def plan(self, history: History, room: int) -> Step | None:
        """See `Planner`: what was interrupted, the designs to try first, then what promises the most.

        Where nothing promises more than a negligible gain, new designs begin; and when there are as many as there are to be, the runs are
        completed with what they have.
        """
        runs = self._runs(history)
        interrupted = next((run for run in runs if run.is_interrupted), None)
        if interrupted is not None:
            return interrupted.step()
        points = self._new_points(history) if room > 0 else []
        new = [option for point in points if (option := self._option(point)) is not None]
        if new and (new[0].point in self.spec.first_designs or sum(run.done > 0 for run in runs) < 2):
            return least_alike(runs, new).step()
        chosen = most_promising(runs, new, self.negligible) if any(run.done for run in runs) else None
        if chosen is not None:
            return chosen.step()
        if points and not new:  # it cannot be trained here: it fails at once, and says why
            return Step(point=points[0], trial=None, until=self.spec.epochs)
        complete = next((run for run in runs if run.state == "free"), None)
        return None if complete is None else replace(complete.step(), until=complete.done, ends=True)

    def has_new_designs(self, history: History) -> bool:
        """See `Planner`."""
        return bool(self._new_points(history))

    def _runs(self, history: History) -> list[Option]:
        """The runs that were begun, by trial; without those that failed, and those that cannot be trained here."""
        measured = [trial for trial in history.closed.values() if history.ended[trial.number].measurement is not None]
        found = []
        for trial in sorted([*measured, *history.open.values()], key=lambda trial: trial.number):
            state: Literal["free", "under way", "ended"] = "under way" if trial.under_way else "free"
            if trial.number in history.ended:
                state = "ended"
            curve = history.curves.get(trial.number, ())
            option = self.begun.get(trial.number) or self._option(trial.point, trial.number)
            if option is None:
                continue
            if option.done != len(curve):
                option = replace(option, errors=np.log(100.0 - np.array(curve) + FLOOR))
            if option.state != state:
                option = replace(option, state=state)
            found.append(option)
            if curve:  # from then on, its steps are measured
                self.begun[trial.number] = option
        return found

    def _option(self, point: DesignPoint, trial: int | None = None) -> Option | None:
        """A design before its first epoch; None where it cannot be trained here."""
        forecast, epochs = self.forecast(point), self.spec.epochs
        if not math.isfinite(forecast.seconds):
            return None
        seconds = np.array(forecast.by_epoch or [forecast.seconds / epochs] * epochs)
        growing: dict[str, np.ndarray] = {"time": np.cumsum(seconds), "epochs": np.arange(1.0, epochs + 1)}
        names = {o.name for o in self.spec.objectives if o.wanted_acc is None} - {"acc"}
        if any(o.wanted_acc is not None for o in self.spec.objectives):
            names.add("time")  # time to an accuracy depends on accuracy and time
        costs = Costs(
            growing=np.array([_logarithms(growing[n]) for n in sorted(names & growing.keys())]).reshape(-1, epochs).T,
            fixed=_logarithms([forecast.fixed[name] for name in sorted(names - growing.keys())]),
        )
        return Option(point=point, trial=trial, state="free", errors=np.zeros(0), seconds=seconds, costs=costs)

    def _new_points(self, history: History) -> list[DesignPoint]:
        """New designs: the next of those to try first; else all, or of a large or infinite space, a random selection."""
        first = next((point for point in self.spec.first_designs if history.is_new(point)), None)
        if first is not None:
            return [first]
        space, generator = self.spec.space, history.generator(self.spec.seed)
        if space.enumerable:
            new = [point for point in space.designs() if history.is_new(point)]
        else:
            sampled = (sample_design(space, generator) for _ in range(CANDIDATES))
            new = list({point.key: point for point in sampled if history.is_new(point)}.values())
        return generator.sample(new, CANDIDATES) if len(new) > CANDIDATES else new


def _logarithms(values: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.array(values, dtype=np.float64), 1e-9))
