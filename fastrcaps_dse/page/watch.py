"""A study that the live page shows: read again when it changes, so that a page gets only what is new to it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastrcaps_dse.analysis.views import sees_anytime
from fastrcaps_dse.errors import UserError
from fastrcaps_dse.page.content import study_content
from fastrcaps_dse.page.curves import curves_content
from fastrcaps_dse.page.panels import PANELS
from fastrcaps_dse.problem.objectives import Objective
from fastrcaps_dse.store import Store, StudyRow, notes_of, run_folder, workers_of

WEIGHTS = "weights.safetensors"  # the file of a run


@dataclass(frozen=True, kw_only=True)
class Source:
    """The study of a page, and the database that it is read from."""

    store: Store
    study: StudyRow
    objectives: Sequence[Objective]
    storage: str | None = None  # the database as the user wrote it
    anytime: bool | None = None  # the view to start with; None for the one that the study was started with

    def pulse(self) -> tuple[Any, ...]:
        """A few numbers that change whenever the study does: quick to read."""
        return self.store.pulse(self.study.study_id)

    def content(self, *, epochs: bool = False) -> dict[str, Any]:
        """What the page shows of the study, without the curves; with the epochs of all runs if these are asked for or shown first."""
        seconds = self.store.train_seconds(self.study.study_id)
        notes = notes_of(self.store, self.study.study_id)
        workers = workers_of(self.store, [self.study])
        trials = self.store.trials(self.study)
        is_asked = epochs or sees_anytime(self.study, self.anytime)
        return study_content(
            self.study,
            trials,
            self.objectives,
            seconds,
            storage=self.storage,
            notes=notes,
            workers=workers,
            epochs=self.store.epochs_of(self.study.study_id) if is_asked else None,
            anytime=self.anytime,
        )

    def panel(self, name: str) -> dict[str, Any]:
        """What a panel shows that is worked out when it is opened. Raises KeyError for one that there is not."""
        return PANELS[name](self.store.trials(self.study), self.objectives)

    def weights(self, trial: int) -> Path | None:
        """The file of a design's weights in its run's own folder, whatever path is stored; None if there is none. Raises MachineError."""
        self.store.runs_places.refresh()  # the page may be older than the name of a place
        runs_place = self.store.runs_places.of(self.study.study_id)
        for row in self.store.trials(self.study):
            for run in row.runs if row.trial == trial else ():
                own = run_folder(runs_place.folder, run.run_id)
                stored = Path(str(run.weights))
                is_own = stored.is_relative_to(own) and ".." not in stored.parts and stored.name == WEIGHTS
                path = stored if is_own else own / WEIGHTS
                if run.weights and runs_place.bring(path):
                    return path
        return None

    def curves(self, trials: Sequence[int]) -> dict[int, Any]:
        """The curves of some designs by trial. Trials that the study does not have are left out."""
        wanted = set(trials)
        return {
            trial.trial: curves_content(self.study, trial, {run.run_id: self.store.epochs(run.run_id) for run in trial.runs})
            for trial in self.store.trials(self.study)
            if trial.trial in wanted
        }


@dataclass(kw_only=True)
class Watched:
    """A study as it was last read, and the revision in which each of its designs last changed."""

    source: Source
    server: str = field(default_factory=lambda: secrets.token_hex(4))  # the revisions of another server mean nothing here
    revision: int = 0  # of the study; 0 before it is first read
    error: str | None = None  # why the study cannot be read now
    lock: threading.Lock = field(default_factory=threading.Lock)
    pulse: tuple[Any, ...] = ()
    epochs: bool = False  # whether a page has asked for the epochs of all runs
    summary: dict[str, Any] = field(default_factory=dict)  # the content without the designs
    designs: dict[int, tuple[int, dict[str, Any]]] = field(
        default_factory=dict
    )  # by trial: revision of its last change, design

    def look(self) -> bool:
        """Read the study if it changed. Returns whether it, or the error, did."""
        with self.lock:  # a request and the watch may look at once
            return self._look()

    def include_epochs(self) -> None:
        """Read the epochs of all runs, too, from now on."""
        with self.lock:
            if not self.epochs:
                self.epochs, self.pulse = True, ()
                self._look()

    def _look(self) -> bool:
        try:
            pulse = self.source.pulse()
            if pulse == self.pulse and self.error is None:
                return False
            content = self.source.content(epochs=self.epochs)
        except UserError as error:
            changed, self.error = self.error != error.message, error.message
            return changed
        self.revision, self.pulse, self.error = self.revision + 1, pulse, None
        for design in content.pop("designs"):
            _, earlier = self.designs.get(design["trial"], (0, None))
            if earlier != design:
                self.designs[design["trial"]] = self.revision, design
        self.summary = content
        return True

    def since(self, revision: int) -> dict[str, Any]:
        """The study with the designs that changed after a revision."""
        designs = [design for changed, design in self.designs.values() if changed > revision]
        return {**self.summary, "designs": designs, "revision": self.revision, "server": self.server}
