"""The files of a run: checkpoints to continue from, the weights of its best epoch; and the records of its epochs, in step with them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastrcaps_dse.problem.objectives import selected_epoch
from fastrcaps_dse.runs.prefix_cache import Beginnings
from fastrcaps_dse.store import Store
from fastrcaps_dse.trainer import CheckpointError, Epoch, Training

LAST, PREVIOUS, WEIGHTS = "last.safetensors", "previous.safetensors", "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """The folder of one run, and its rows of the store."""

    store: Store
    run_id: int
    place: Path
    beginnings: Beginnings
    step_seconds: Mapping[int, float] | None  # by batch size; None where the clock tells the time objective
    warned: Callable[[str], None]

    def resume(self, training: Training) -> None:
        """Load the last checkpoint, or the one before it where that is broken, or begin anew."""
        for name in (LAST, PREVIOUS):
            if not (self.place / name).exists():
                continue
            try:
                training.load(self.place / name)
                if not self._has_best_weights(training.done):
                    raise CheckpointError(f"the weights that belong to {self.place / name} are gone")
                break
            except (CheckpointError, KeyError) as error:
                training.reset()
                self.warned(f"a checkpoint cannot be used ({error}); going back to the one before it")
        self.store.drop_epochs(self.run_id, after=training.done)
        for path in self.place.glob("epoch-*.safetensors"):
            if path.name > weights_name(training.done):  # of epochs that will be trained again
                path.unlink()

    def fork(self, training: Training, keys: Sequence[str]) -> None:
        """Start from the longest beginning that another run has trained, if there is one."""
        found = self.beginnings.longest(keys)
        if found is None:
            return
        try:
            training.load(found.checkpoint, fork=True)
            best = self._weights_of([epoch["acc"] for epoch in found.epochs])
            best.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found.best, best)
            for epoch in found.epochs:
                self._keep_row(epoch)
        except (CheckpointError, KeyError, OSError) as error:
            training.reset()
            self.store.drop_epochs(self.run_id, after=0)
            self.warned(f"a shared beginning cannot be used ({error}); training it again")

    def keep(self, training: Training, epoch: Epoch, *, best: bool) -> None:
        """Keep an epoch that was just trained; `best` says whether none before was as accurate."""
        self._keep_row(asdict(epoch))
        if best:
            training.save_weights(self.place / weights_name(epoch.epoch))
        if (self.place / LAST).exists():
            (self.place / LAST).replace(self.place / PREVIOUS)
        training.save(self.place / LAST)
        for path in sorted(self.place.glob("epoch-*.safetensors"))[:-2]:
            path.unlink()  # the last but one serves a run that falls back to its previous checkpoint

    def keep_beginning(self, key: str) -> None:
        """Let other runs begin with what this one has trained so far."""
        rows = self.store.epochs(self.run_id)
        self.beginnings.keep(key, self.place / LAST, self._weights_of([row.acc for row in rows]), [asdict(row) for row in rows])

    def best_weights(self, epoch: int) -> Path:
        """The weights after a selected epoch."""
        return self.place / weights_name(epoch)

    def select(self, epoch: int) -> Path:
        """Let the weights of the selected epoch be those of the run; where they are."""
        return self.best_weights(epoch).replace(self.place / WEIGHTS)

    def tidy(self) -> None:
        """Keep the weights of the run only."""
        for path in self.place.glob("*.safetensors"):
            if path.name != WEIGHTS:
                path.unlink()

    def _keep_row(self, epoch: Mapping[str, Any]) -> None:
        """The record of an epoch, with the seconds that it adds to the time objective: by steps, or as the clock told."""
        by_steps = None if self.step_seconds is None else epoch["steps"] * self.step_seconds[epoch["batch_size"]]
        self.store.set_epoch(
            self.run_id, {**epoch, "counted_seconds": epoch["train_seconds"] if by_steps is None else by_steps}
        )

    def _has_best_weights(self, done: int) -> bool:
        rows = [row for row in self.store.epochs(self.run_id) if row.epoch <= done]
        return len(rows) == done and self._weights_of([row.acc for row in rows]).exists()

    def _weights_of(self, accuracies: Sequence[float]) -> Path:
        return self.best_weights(selected_epoch(accuracies))


def weights_name(epoch: int) -> str:
    return f"epoch-{epoch:04d}.safetensors"
