"""Racing: further seeds for the designs whose membership of the Pareto front is uncertain."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fastrcaps_dse.analysis.uncertainty import next_to_seed, standings
from fastrcaps_dse.problem.objectives import Measurement, Objective, costs_of
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.search.protocols import Executor, Failed, Measured, OutOfTime, Request, Tell, ignore

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class RacedDesign:
    """A measured design with its runs."""

    point: DesignPoint
    runs: list[Measurement]
    seeds: set[int]  # that have a run already, failed ones among them


@dataclass(kw_only=True)
class Race:
    """Trains further seeds, up to `max_seeds` of a design, until it is certain at 95 % which designs are on the front.

    All looks at the growing seeds count together toward the 95 %.
    """

    designs: Mapping[int, RacedDesign]  # by trial
    objectives: Sequence[Objective]
    max_seeds: int
    first_seed: int
    may_start: Callable[[], bool] = lambda: True  # False once the budget is over
    tell: Tell = ignore
    under_way: set[int] = field(default_factory=set)  # trials

    def run(self, executor: Executor) -> int:
        """Race; how many runs were trained. Raises UserErrors."""
        trained = 0
        for message in executor.run(self.next_request):
            request = message.request
            if isinstance(message, (Measured, Failed, OutOfTime)):
                self.under_way.discard(request.trial)
            if isinstance(message, (Measured, Failed)):
                trained += 1
                self.designs[request.trial].seeds.add(request.seed)
            if isinstance(message, Measured):
                self.designs[request.trial].runs.append(message.measurement)
            elif isinstance(message, Failed):
                logger.warning("trial %d failed with seed %d: %s", request.trial, request.seed, message.reason)
            self.tell(message)
        return trained

    def next_request(self) -> Request | None:
        """A seed of the design that it tells most about; None where no membership is uncertain, or the budget is over."""
        if not self.may_start():
            return None
        costs = [[costs_of(self.objectives, run.values) for run in design.runs] for design in self.designs.values()]
        trials = [*self.designs]
        taken = [index for index, trial in enumerate(trials) if trial in self.under_way]
        index = next_to_seed(standings(costs), self.max_seeds, taken)
        if index is None:
            return None
        self.under_way.add(trials[index])
        design = self.designs[trials[index]]
        seed = next(seed for seed in itertools.count(self.first_seed) if seed not in design.seeds)
        return Request(trial=trials[index], point=design.point, seed=seed, prune=False)
