"""The loop of an exploration: asks proposers for designs, lets an executor train them, and keeps what was measured."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.history import History, OpenTrial
from fastrcaps_dse.search.protocols import (
    LAST_MESSAGES,
    Board,
    EpochFinished,
    Executor,
    Failed,
    Measured,
    Message,
    OutOfTime,
    Paused,
    Planner,
    Proposer,
    Request,
    RunStarted,
    Step,
    StepsTaken,
    Tell,
    TrialFailed,
    TrialFinished,
    TrialStarted,
    ignore,
)
from fastrcaps_dse.store import RunRow, Taken

PAUSE = 1.0  # s between two looks at what other processes do

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Explorer:
    """Explores the designs of a study until it has `target` trials, the budget is over or the space has no more designs.

    Other processes may work on the same study: each run is claimed on the board, and what they have done is taken in before each
    proposal. Attributes beyond seven: what it is handed is one thing each, and what it decides are the last five.
    """

    spec: StudySpec
    board: Board
    proposers: Sequence[Proposer]  # asked in this order
    planner: Planner | None = None  # asked instead, where runs are trained step by step
    admits: Callable[[DesignPoint], bool] = lambda _: True  # False for a design that a limit rules out
    may_start: Callable[[DesignPoint], bool] = lambda _: True  # False once the budget is over; may raise InputError
    tell: Tell = ignore
    exhausted: bool = False  # the space has no more designs
    spent: bool = False  # the budget is
    claimed: dict[int, RunRow] = field(default_factory=dict)  # runs that this process has, by run id
    begun: set[int] = field(default_factory=set)  # trials that this process has worked on
    ending: set[int] = field(default_factory=set)  # trials that are completed with what they have

    def __post_init__(self) -> None:
        self.history = History(seeds=self.spec.seeds, admits=self.admits)

    def run(self, executor: Executor) -> None:
        """Explore. Raises UserErrors."""
        try:
            for message in executor.run(self.next_request):
                self.tell(message)
                self._take(message)
                if not isinstance(message, StepsTaken):
                    self.board.mirror()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Let the runs that are not finished wait for the next exploration."""
        with suppress(Exception):  # of the storage: the runs are taken up again in any case
            for run in self.claimed.values():
                self.board.leave(run)
            self.board.mirror(last=True)

    # --- what comes next ----------------------------------------------------------------------------------------------

    def next_request(self) -> Request | None:
        """The next run: a further seed of a trial, one that was left, or a new design; with a planner, the next step of a run.

        Where there is none and this process has nothing else to do, it waits until it is certain that all others live.
        """
        while not self.spent:
            self._refresh()
            try:
                request = self._next_run() if self.planner is None else self._next_step(self.planner)
            except Taken:  # another process was faster
                continue
            if request is not None:
                return request
            if self.claimed or self.exhausted or not self.board.is_doubtful():
                return None
            time.sleep(PAUSE)
        return None

    def _refresh(self) -> None:
        """Take in what other processes have done since the last time."""
        changed = [run for run in self.board.changes() if self._is_told_by_board(run)]
        for run in changed:
            self.history.take(run)
        self._take_curves(changed)
        self.history.set_left(run for run in self.board.left() if run.run_id not in self.claimed)

    def _is_told_by_board(self, run: RunRow) -> bool:
        """Of this process's own runs, the executor tells."""
        mine = self.claimed.get(run.run_id)
        return mine is None or mine.attempt < run.attempt

    def _take_curves(self, runs: Sequence[RunRow]) -> None:
        """Take in the epochs of the first runs of trials, where a planner asks for them."""
        trials = {run.run_id: run.trial for run in runs if run.seed == self.spec.seed}
        if self.planner is not None and trials:
            self.history.curves |= {trials[run]: [*curve] for run, curve in self.board.curves(trials).items()}

    def _next_run(self) -> Request | None:
        """The next whole run. Raises Taken."""
        run = self._open_run() or self._new_design()
        return None if run is None else self._request(run)

    def _next_step(self, planner: Planner) -> Request | None:
        """The step that promises the most. Runs are completed once none is trained any more, which might change it. Raises Taken."""
        room = self.board.target - len(self.history.finished) - len(self.history.open)
        began = time.perf_counter()
        step = planner.plan(self.history, room)
        thought = time.perf_counter() - began
        self.exhausted = step is None and not planner.has_new_designs(self.history)
        if step is None or (step.ends and any(trial.number not in self.ending for trial in self.history.under_way)):
            return None
        self.spent = not self.may_start(step.point)
        if self.spent:
            return None
        run = self.board.claim(step.point, self.spec.seed, step.trial)
        if run is None:  # another process has begun the last design that there is room for
            raise Taken
        logger.info("next: %s, up to epoch %d, chosen in %.0f ms", step.point.label, step.until, 1e3 * thought)
        return self._request(run, step)

    def _open_run(self) -> RunRow | None:
        """Claim the next run of a trial that is not finished and that nobody works on. Raises Taken."""
        history, target = self.history, self.board.target
        at_work = len(history.finished) + sum(1 for t in history.open.values() if t.under_way or t.number in self.begun)
        for trial in sorted(history.open.values(), key=lambda t: (not t.measured, t.number)):
            if not trial.under_way and (trial.number in self.begun or at_work < target):
                return self.board.claim(trial.point, self._next_seed(trial), trial.number)
        return None

    def _next_seed(self, trial: OpenTrial) -> int:
        return next(seed for seed in range(self.spec.seed, self.spec.seed + self.spec.seeds) if seed not in trial.measured)

    def _new_design(self) -> RunRow | None:
        """Claim the next design, if there is one and it may start. Raises Taken."""
        if len(self.history.finished) + len(self.history.open) >= self.board.target:
            return None
        began = time.perf_counter()
        proposals = (proposer.propose(self.history) for proposer in self.proposers)
        point = next((point for point in proposals if point is not None), None)
        thought = time.perf_counter() - began
        self.exhausted = point is None
        if point is None:
            return None
        self.spent = not self.may_start(point)
        if self.spent:
            return None
        run = self.board.claim(point, self.spec.seed, None)
        if run is not None:
            logger.info("next: %s, chosen in %.0f ms", point.label, 1e3 * thought)
        return run

    def _request(self, run: RunRow, step: Step | None = None) -> Request:
        is_resumed = run.trial in self.history.open
        self.claimed[run.run_id] = run
        self.history.take(run)
        if run.trial not in self.begun:
            self.begun.add(run.trial)
            counts = {"finished": len(self.history.finished), "target": self.board.target}
            self.tell(TrialStarted(trial=run.trial, point=run.design, resumed=is_resumed, **counts))
        request = Request(trial=run.trial, point=run.design, seed=run.seed, run_id=run.run_id, attempt=run.attempt)
        if step is None:
            return request
        if step.ends:
            self.ending.add(run.trial)
        return replace(request, until=step.until, ends=step.ends)

    # --- what the executor says ---------------------------------------------------------------------------------------

    def _take(self, message: Message) -> None:
        """Take in what the executor says."""
        trial, run = message.request.trial, self.claimed[message.request.run_id]
        match message:
            case RunStarted() if self.planner is not None:
                self.history.curves[trial] = [*message.accuracies]
            case EpochFinished() if self.planner is not None:
                self.history.curves[trial].append(message.epoch.acc)
        if not isinstance(message, LAST_MESSAGES):
            return
        del self.claimed[run.run_id]
        was_open = trial in self.history.open
        match message:
            case Measured():
                self.history.take(replace(run, state="done", measurement=message.measurement))
                self._take_curves([run])  # it may have been taken over from another study
            case Failed():
                self.history.take(replace(run, state="failed"))
            case Paused():
                self.history.take(replace(run, state="interrupted"))
            case OutOfTime():
                self.spent = True
                self.history.take(replace(run, state="interrupted"))
        ended = self.history.ended.get(trial) if was_open else None
        if ended is not None and ended.measurement is not None:
            self.tell(TrialFinished(trial=trial, point=ended.point, measurement=ended.measurement))
        elif ended is not None:
            reason = message.reason if isinstance(message, Failed) else "a run of it failed"
            self.tell(TrialFailed(trial=trial, point=ended.point, reason=reason))
