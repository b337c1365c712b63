"""Samplers of Optuna on a table that is a sample of a continuous space.

A sampler proposes any design of the space; it gets the nearest recorded design that the search has not trained yet, and is told where
that one is. So no proposal is wasted on a design twice, and what a sampler knows is true. NSGA-II, whose generations hold its own
proposals alone, is told the values at the place that it proposed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import optuna
from optuna.trial import TrialState

from benchmarks.recorded import RecordedTable
from fastrcaps_dse.problem.ranges import Range
from fastrcaps_dse.problem.space import PLAIN_DIMENSIONS, DesignPoint, DesignSpace
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.history import History
from fastrcaps_dse.search.optuna_storage import directions_of
from fastrcaps_dse.search.parameters import suggest
from fastrcaps_dse.search.proposers import OptunaSampler

OF_ITS_OWN = "nsga2"  # the sampler that is told the place that it proposed


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """Finds the nearest recorded design."""

    space: DesignSpace
    recorded: Sequence[DesignPoint]

    def to(self, point: DesignPoint, is_new: Callable[[DesignPoint], bool]) -> DesignPoint | None:
        """The nearest of those that are new; None where none is."""
        new = [other for other in self.recorded if is_new(other)]
        return min(new, key=lambda other: self.distance(point, other), default=None)

    def distance(self, a: DesignPoint, b: DesignPoint) -> float:
        """How far two designs differ: 1 for each choice that is another, the share of its range for each number.

        A field that only one of them has counts nothing: its policy or schedule is another one already.
        """
        total = float(sum(getattr(a, name) != getattr(b, name) for name in PLAIN_DIMENSIONS))
        for one, other in ((a.lr_policy, b.lr_policy), (a.batch_schedule, b.batch_schedule)):
            total += type(one) is not type(other)
            shared = {f.name for f in fields(one)} & {f.name for f in fields(other)}
            total += sum(self._apart(name, getattr(one, name), getattr(other, name)) for name in shared)
        return total

    def _apart(self, name: str, one: float | str, other: float | str) -> float:
        choice = self.space.open_fields.get(name)
        if isinstance(choice, Range) and not isinstance(one, str) and not isinstance(other, str):
            scale = math.log if choice.log else float
            return abs(scale(one) - scale(other)) / (scale(choice.high) - scale(choice.low))
        return float(one != other)


@dataclass(kw_only=True)
class SnappingSampler(OptunaSampler):
    """The product's `OptunaSampler`, whose proposals become recorded designs."""

    nearest: Nearest

    def _new_proposals(self, sampler: optuna.samplers.BaseSampler, tries: int, history: History) -> Iterator[DesignPoint]:
        self.view.sampler = sampler
        asked = self.view.ask()
        point = self.nearest.to(suggest(asked, self.spec.space), history.is_new)
        if point is not None and self.spec.sampler == OF_ITS_OWN:
            self.asked[point.key] = asked
        else:  # once it is measured, the view gets it as a trial of its own place
            self.view.tell(asked, state=TrialState.FAIL)
        if point is not None:
            yield point


def snapping_sampler(spec: StudySpec, table: RecordedTable) -> SnappingSampler:
    """The sampler of a study on a table."""
    nearest = Nearest(space=table.around, recorded=[design.point for design in table.designs])
    view = optuna.create_study(directions=directions_of(spec))
    return SnappingSampler(spec=replace(spec, space=table.around), limits=(), view=view, nearest=nearest)
