"""The loop of an exploration: asks proposers for designs, lets an executor train them, and keeps what was measured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from fastrcaps_dse.analysis.picks import Limit
from fastrcaps_dse.problem.objectives import Measurement, mean_measurement
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.history import FinishedTrial, History, OpenTrial
from fastrcaps_dse.search.optuna_storage import OptunaStudy
from fastrcaps_dse.search.protocols import (
    EpochFinished,
    Executor,
    Failed,
    Measured,
    Message,
    OutOfTime,
    Proposer,
    Request,
    RunStarted,
    Tell,
    TrialFailed,
    TrialFinished,
    TrialStarted,
    ignore,
)

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Explorer:
    """Explores the designs of a study until it has `target` trials, the budget is over or the space has no more designs.

    Attributes beyond seven: what it is handed is one thing each, and what it decides are the last two.
    """

    study: OptunaStudy
    history: History
    proposers: Sequence[Proposer]  # asked in this order
    target: int  # trials that the study is to have
    limits: Sequence[Limit] = ()  # they become Optuna's constraints
    may_start: Callable[[DesignPoint], bool] = lambda _: True  # False once the budget is over; may raise InputError
    tell: Tell = ignore
    exhausted: bool = False  # the space has no more designs
    spent: bool = False  # the budget is

    @property
    def spec(self) -> StudySpec:
        """What the study explores, and how."""
        return self.study.spec

    def run(self, executor: Executor) -> None:
        """Explore. Raises UserErrors."""
        try:
            for message in executor.run(self.next_request):
                self.tell(message)
                self._take(message)
        finally:
            self._leave()

    def _leave(self) -> None:
        """Let the trials that are not finished wait for the next exploration."""
        with suppress(Exception):  # of the storage: the trials are taken up again in any case
            for number in {*self.history.under_way, *(trial.number for trial in self.history.waiting)}:
                self.study.leave(number)

    def next_request(self) -> Request | None:
        """The next run: a further seed of a trial under way, a trial that an earlier process has left, or a new design."""
        history = self.history
        if self.spent:
            return None
        if not (history.waiting and history.waiting[0].number in history.under_way):
            if len(history.finished) + len(history.under_way) >= self.target:
                return None
            if not history.waiting and not self._add_trial():
                return None
        trial = history.waiting.pop(0)
        if trial.number not in history.under_way:
            history.under_way[trial.number] = trial
            if trial.resumed:
                self.study.take_up(trial.number)
            counts = {"finished": len(history.finished), "target": self.target}
            self.tell(TrialStarted(trial=trial.number, point=trial.point, resumed=trial.resumed, **counts))
        return Request(trial=trial.number, point=trial.point, seed=self.spec.seed + len(trial.runs))

    def _add_trial(self) -> bool:
        """Add a trial for the next design; whether there is one and it may start."""
        proposals = (proposer.propose(self.history) for proposer in self.proposers)
        point = next((point for point in proposals if point is not None), None)
        self.exhausted = point is None
        if point is None:
            return False
        self.spent = not self.may_start(point)
        if self.spent:
            return False
        logger.info("next: %s", point.label)
        self.history.keys.add(point.key)
        self.history.waiting.append(OpenTrial(number=self.study.add_trial(point), point=point))
        return True

    def _take(self, message: Message) -> None:
        """Take in what the executor says."""
        trial = self.history.under_way[message.request.trial]
        first_seed = not trial.runs
        match message:
            case RunStarted() if first_seed:
                self.study.report(trial.number, list(enumerate(message.accuracies, start=1)))
            case EpochFinished() if first_seed:
                self.study.report(trial.number, [(message.epoch.epoch, message.epoch.acc)])
            case Measured():
                self._measured(trial, message.measurement)
            case Failed():
                self._end(trial, None)
                self.study.fail(trial.number, message.reason)
                self.tell(TrialFailed(trial=trial.number, point=trial.point, reason=message.reason))
            case OutOfTime():
                self.spent = True

    def _measured(self, trial: OpenTrial, measurement: Measurement) -> None:
        """Ask for the trial's next seed, or end it after the last one; a pruned run spares the seeds after it."""
        trial.runs.append(measurement)
        if len(trial.runs) < self.spec.seeds and measurement.pruned_after is None:
            self.history.waiting.insert(0, trial)
            return
        mean = mean_measurement(trial.runs)
        self._end(trial, mean)
        self.study.complete(trial.number, mean, self.limits)
        self.tell(TrialFinished(trial=trial.number, point=trial.point, measurement=mean))

    def _end(self, trial: OpenTrial, measurement: Measurement | None) -> None:
        del self.history.under_way[trial.number]
        self.history.finished.append(FinishedTrial(number=trial.number, point=trial.point, measurement=measurement))
