"""Racing: further seeds for the designs whose membership of the Pareto front is uncertain."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from fastrcaps_dse.analysis.uncertainty import next_to_seed, standings
from fastrcaps_dse.problem.objectives import Objective, costs_of
from fastrcaps_dse.search.protocols import (
    LAST_MESSAGES,
    Board,
    Executor,
    Failed,
    Measured,
    OutOfTime,
    Request,
    Tell,
    ignore,
)
from fastrcaps_dse.store import UNFINISHED, RunRow, Taken, TrialRow, grouped_trials

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Race:
    """Trains further seeds, up to `max_seeds` of a design, until it is certain at 95 % which designs are on the front.

    All looks at the growing seeds count together toward the 95 %. Several processes may race on one board. With `every`, all designs
    get `max_seeds`, seed after seed.
    """

    board: Board
    objectives: Sequence[Objective]
    seeds: int  # of each design, before the race
    max_seeds: int
    first_seed: int
    every: bool = False  # all designs get as many, certain or not
    stops: bool = False  # further seeds of a design stop after as many epochs as its first one
    may_start: Callable[[], bool] = lambda: True  # False once the budget is over
    tell: Tell = ignore
    runs: dict[int, RunRow] = field(default_factory=dict)  # of all processes, by run id
    claimed: set[int] = field(default_factory=set)  # ids of the runs that this process has

    def run(self, executor: Executor) -> int:
        """Race; how many runs were trained. Raises UserErrors."""
        trained = 0
        try:
            for message in executor.run(self.next_request):
                request = message.request
                if isinstance(message, LAST_MESSAGES):
                    self.claimed.discard(request.run_id)
                    self._keep(message)
                trained += isinstance(message, (Measured, Failed))
                if isinstance(message, Failed):
                    logger.warning("trial %d failed with seed %d: %s", request.trial, request.seed, message.reason)
                self.tell(message)
        finally:
            for run_id in self.claimed:
                self.board.leave(self.runs[run_id])
        return trained

    def _keep(self, message: object) -> None:
        """Take in how a run of this process has ended."""
        if isinstance(message, Measured):
            run = self.runs[message.request.run_id]
            self.runs[run.run_id] = replace(run, state="done", measurement=message.measurement)
        elif isinstance(message, (Failed, OutOfTime)):
            run = self.runs[message.request.run_id]
            self.runs[run.run_id] = replace(run, state="failed" if isinstance(message, Failed) else "interrupted")

    def next_request(self) -> Request | None:
        """A seed of the design that it tells most about; None where no membership is uncertain, or the budget is over."""
        while self.may_start():
            self.runs |= {run.run_id: run for run in self.board.changes() if run.run_id not in self.claimed}
            design = self._next_design()
            if design is None:
                return None
            seeds = {run.seed for run in design.runs if run.state not in UNFINISHED}
            seed = next(seed for seed in itertools.count(self.first_seed) if seed not in seeds)
            try:
                run = self.board.claim(design.design, seed, design.trial)
            except Taken:  # another process was faster
                continue
            if run is not None:
                self.runs[run.run_id] = run
                self.claimed.add(run.run_id)
                request = Request(trial=run.trial, point=run.design, seed=seed, run_id=run.run_id, attempt=run.attempt)
                until = self._until(design)
                return replace(request, prune=False, until=until, ends=until is not None)
        return None

    def _until(self, design: TrialRow) -> int | None:
        """The epochs after which a further seed of a design is complete; None for all."""
        first = min(design.runs, key=lambda run: run.seed).measurement
        return first.pruned_after if self.stops and first is not None else None

    def _next_design(self) -> TrialRow | None:
        """The measured design whose next seed tells most; those with a run under way are left out."""
        left = {run.run_id for run in self.board.left()} - self.claimed
        runs = sorted(self.runs.values(), key=lambda run: (run.trial, run.seed))
        designs = [trial for trial in grouped_trials(runs, self.seeds) if trial.measurement is not None]
        measured = [[run.measurement for run in trial.runs if run.measurement is not None] for trial in designs]
        costs = [[costs_of(self.objectives, run.values) for run in of_design] for of_design in measured]
        taken = [k for k, d in enumerate(designs) if any(r.state in UNFINISHED and r.run_id not in left for r in d.runs)]
        index = self._fewest(designs, taken) if self.every else next_to_seed(standings(costs), self.max_seeds, taken)
        return None if index is None else designs[index]

    def _fewest(self, designs: Sequence[TrialRow], taken: Collection[int]) -> int | None:
        """The index of the design with the fewest seeds, if it lacks some; a seed that failed is not tried again."""
        tried = [sum(run.state not in UNFINISHED for run in design.runs) for design in designs]
        lacking = [k for k, count in enumerate(tried) if count < self.max_seeds and k not in taken]
        return min(lacking, key=lambda k: (tried[k], k), default=None)
