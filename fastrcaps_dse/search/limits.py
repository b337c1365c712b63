"""Limits that rule designs out before they are trained."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import optuna

from fastrcaps_dse.analysis.picks import Limit, check_limits
from fastrcaps_dse.errors import InputError, NothingFits
from fastrcaps_dse.problem.objectives import needs_asking
from fastrcaps_dse.problem.quantities import format_value
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.parameters import suggest
from fastrcaps_dse.search.protocols import Bounds

SAMPLED = 1000  # designs of a space that is not listed that are looked at before it is called empty


@dataclass(frozen=True, kw_only=True)
class LimitFilter:
    """Tells which designs cannot keep the limits, whatever their training gives."""

    limits: Sequence[Limit] = ()
    bounds: Bounds = lambda *_: None

    def admits(self, point: DesignPoint) -> bool:
        """Whether the design may keep every limit."""
        return not self.violated(point)

    def violated(self, point: DesignPoint) -> list[Limit]:
        """The limits that the design is certain to break."""
        return [limit for limit in self.limits if limit.violation(self.nearest(point, limit)) > 0]

    def nearest(self, point: DesignPoint, limit: Limit) -> float:
        """Of the values that the design can reach, the one nearest to keeping the limit."""
        bounds = self.bounds(point, limit.objective)
        return limit.value if bounds is None else bounds[limit.bound == "min"]

    def check(self, spec: StudySpec) -> None:
        """Raises InputError for limits that contradict each other or need an objective that is not measured, NothingFits where
        they rule out every design, or each of a thousand of a space that is not listed.
        """
        check_limits(self.limits)
        for limit in self.limits:
            if needs_asking(limit.objective) and limit.objective not in [o.name for o in spec.objectives]:
                raise InputError(
                    f"the limit {limit} needs an objective that is not measured", f"add {limit.objective} to --objectives"
                )
        if self.limits:
            self._refuse_empty(spec)

    def _refuse_empty(self, spec: StudySpec) -> None:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=spec.seed))
        sampled = (suggest(study.ask(), spec.space) for _ in range(SAMPLED))
        designs = spec.space.designs() if spec.space.enumerable else itertools.chain(spec.first_designs, sampled)
        least: dict[Limit, float] = {}
        for point in designs:
            violated = self.violated(point)
            if not violated:
                return
            for limit in violated:
                value = self.nearest(point, limit)
                least[limit] = min(least.get(limit, value), value, key=limit.violation)
        nearest = ", ".join(
            f"{limit} (the nearest is {format_value(limit.objective, value)})" for limit, value in least.items()
        )
        raise NothingFits(f"no design of the space satisfies {nearest}", "loosen the limits or widen the space")
