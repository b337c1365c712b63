"""Boards for searches that train nothing: one in memory, and one in a database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fastrcaps_dse import store
from fastrcaps_dse.analysis.picks import Limit
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.board import StoreBoard
from fastrcaps_dse.search.optuna_storage import open_optuna_study, open_storage
from fastrcaps_dse.store import RunRow, Store

SHAPE = {"channels": 1, "height": 28, "width": 28, "classes": 10}


@dataclass(kw_only=True)
class MemoryBoard:
    """See `search.protocols.Board`: one process claims, so nothing is ever taken."""

    target: int
    told: list[RunRow] = field(default_factory=list)  # that `changes` has yet to tell
    trials: int = 0
    runs: int = 0
    begun: dict[tuple[int, int], RunRow] = field(default_factory=dict)  # by trial and seed

    def changes(self) -> Sequence[RunRow]:
        """The runs that were handed over at the start, once."""
        told, self.told = self.told, []
        return told

    def left(self) -> Sequence[RunRow]:
        """All that were begun: no other process works here, and the explorer knows which ones it has."""
        return [*self.begun.values()]

    def is_doubtful(self) -> bool:
        """Never: no other process works here."""
        return False

    def claim(self, point: DesignPoint, seed: int, trial: int | None) -> RunRow | None:
        """A new run, or another attempt of one that was paused."""
        if trial is None:
            if self.trials >= self.target:
                return None
            trial, self.trials = self.trials, self.trials + 1
        if (trial, seed) in self.begun:
            run = self.begun[trial, seed]
            run = replace(run, attempt=run.attempt + 1)
        else:
            self.runs += 1
            run = run_row(self.runs, trial, point, seed)
        self.begun[trial, seed] = run
        return run

    def curves(self, runs: Collection[int]) -> Mapping[int, Sequence[float]]:
        """None: the explorer has them from the executor."""
        return {}

    def leave(self, run: RunRow) -> None:
        """Nobody else could go on with it."""

    def mirror(self, *, last: bool = False) -> None:
        """There is no other storage."""


def run_row(run_id: int, trial: int, point: DesignPoint, seed: int) -> RunRow:
    """A run that was just claimed."""
    return RunRow(
        run_id=run_id,
        trial=trial,
        design=point,
        seed=seed,
        state="running",
        reason=None,
        device=None,
        precision=None,
        software=None,
        measurement=None,
        wall_time=None,
        weights=None,
        started=0.0,
        ended=None,
        attempt=1,
    )


def open_board(spec: StudySpec, url: store.URL, target: int, limits: Sequence[Limit] = ()) -> StoreBoard:
    """The board of a study in a database, which is made where it is not there yet; no images belong to it."""
    optunas = open_optuna_study(spec, open_storage(url))
    ours = Store(url, create=True)
    if spec.name not in [row.name for row in ours.studies()]:
        facts = {"dataset_fingerprint": "0" * 32, "image_shape": SHAPE, "train_images": 1000}
        row = {"study_id": optunas.study_id, "identity": spec.identity(), "spec_text": spec.text, "target_trials": target}
        ours.add_study(row | facts)
    study = ours.study(spec.name)
    ours.set_target(study.study_id, target)
    return StoreBoard(store=ours, study=study, optuna=optunas, limits=limits)
