"""The board in the store: what the processes of a study share, on this machine and on others."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from optuna.exceptions import StorageInternalError

from fastrcaps_dse import store
from fastrcaps_dse.analysis.picks import Limit
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict
from fastrcaps_dse.search.optuna_storage import OptunaStudy
from fastrcaps_dse.store import EpochRow, Full, RunRow, Store, StudyRow, TrialRow, grouped_trials

MIRROR_PAUSE = 2.0  # s between two looks of Optuna's tables at ours
MIRROR_PATIENCE = 60.0  # s to wait for another process that writes them, at the end
FEW_RUNS = 8  # whose epochs are asked for one by one

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class StoreBoard:
    """See `Board`. `most` designs may be in the study; None for the target that is stored."""

    store: Store
    study: StudyRow
    optuna: OptunaStudy
    limits: Sequence[Limit] = ()  # they become Optuna's constraints
    most: int | None = None
    seen: int = -1  # revision that `changes` has seen
    mirrored: int = -1  # revision up to which this process knows Optuna's tables to be like ours
    mirrored_at: float = -MIRROR_PAUSE  # s, of a monotonic clock
    target: int = 0
    until: float | None = None  # s since 1970 by the database's clock, to which this process may write Optuna's trials

    def changes(self) -> Sequence[RunRow]:
        """See `Board`."""
        state = self.store.state(self.study.study_id)
        self.target = state.target if self.most is None else self.most
        if state.revision == self.seen:
            return ()
        changed = self.store.changed_runs(self.study.study_id, self.seen)
        self.seen = max([state.revision, *(run.revision for run in changed)])
        return changed

    def left(self) -> Sequence[RunRow]:
        """See `Board`."""
        return self.store.left_runs(self.study.study_id)

    def is_doubtful(self) -> bool:
        """See `Board`."""
        return self.store.are_runs_doubtful(self.study.study_id)

    def claim(self, point: DesignPoint, seed: int, trial: int | None) -> RunRow | None:
        """See `Board`."""
        design = design_to_dict(point)
        try:
            return self.store.claim_run(self.study.study_id, trial, design, point.key, seed, most=self.most)
        except Full:
            return None

    def curves(self, runs: Collection[int]) -> Mapping[int, Sequence[float]]:
        """See `Board`."""
        if len(runs) > FEW_RUNS:
            epochs: Mapping[int, Sequence[EpochRow]] = self.store.epochs_of(self.study.study_id)
        else:
            epochs = {run: self.store.epochs(run) for run in runs}
        return {run: [epoch.acc for epoch in epochs.get(run, ())] for run in runs}

    def leave(self, run: RunRow) -> None:
        """See `Board`."""
        self.store.leave_run(run.run_id, run.attempt)

    def mirror(self, *, last: bool = False) -> None:
        """See `Board`. One process at a time writes; the last call waits until it may."""
        now = time.monotonic()
        if not last and now < self.mirrored_at + MIRROR_PAUSE:
            return
        self.mirrored_at = now
        while not self._mirror_once():
            if not last or time.monotonic() > now + MIRROR_PATIENCE:
                return
            time.sleep(0.2)

    def _mirror_once(self) -> bool:
        """Whether Optuna's tables are like ours now: not while another process writes them, or the database is out of reach."""
        self.until = self.store.begin_mirroring(self.study.study_id)
        if self.until is None:
            return False
        try:
            self._mirror()
        except StorageInternalError as error:
            if error.__cause__ is None or not store.is_outage(error.__cause__):
                raise
            return False  # the next look writes what is lacking
        finally:
            if self.until is not None:
                self.store.end_mirroring(self.study.study_id, self.until)
        return True

    def _mirror(self) -> None:
        """Write what has changed to Optuna's tables."""
        revision = self.store.state(self.study.study_id).revision
        changed = {run.trial for run in self.store.changed_runs(self.study.study_id, self.mirrored)}
        running = {row.trial for row in self.store.unfinished_runs(self.study.study_id) if row.owner is not None}
        runs = self.store.runs_of_trials(self.study.study_id, changed | running)
        trials = grouped_trials(runs, self.study.identity["seeds"])
        self.optuna.mirror(self._with_epochs(trials), self.limits)
        if self.until is not None:
            self.mirrored = revision

    def _with_epochs(self, trials: Sequence[TrialRow]) -> Iterator[tuple[TrialRow, Sequence[EpochRow]]]:
        """Each design with the epochs of its first run; the right to write is extended while there are many."""
        extended = time.monotonic()
        for trial in trials:
            if time.monotonic() > extended + MIRROR_PAUSE and self.until is not None:
                extended = time.monotonic()
                self.until = self.store.go_on_mirroring(self.study.study_id, self.until)
            if self.until is None:  # another process writes them, as this one was frozen
                return
            yield trial, self.store.epochs(trial.runs[0].run_id)
