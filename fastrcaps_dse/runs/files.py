"""The files of a run: checkpoints to continue from and the weights of its best epoch, in step with its records in the store."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastrcaps_dse.problem.objectives import selected_epoch
from fastrcaps_dse.runs.prefix_cache import PrefixCache, link
from fastrcaps_dse.runs.stopped_weights import FOLDER, StoppedWeights
from fastrcaps_dse.store import EpochRow, Store, attempt_folder, run_folder
from fastrcaps_dse.trainer import CheckpointError, Epoch, Training

LAST, PREVIOUS, WEIGHTS = "last.safetensors", "previous.safetensors", "weights.safetensors"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """The folder of one run, and its epochs in the store."""

    store: Store
    run_id: int
    attempt: int
    prefixes: PrefixCache
    last_counts: bool = False  # the weights of the last epoch are those of the run, not those of the most accurate one
    step_seconds: Mapping[int, float] | None  # by batch size; None where the clock tells the time objective

    @property
    def folder(self) -> Path:
        """Where this attempt writes, and no other."""
        return attempt_folder(self.store.runs_folder, self.run_id, self.attempt)

    def resume(self, training: Training) -> list[EpochRow]:
        """Load the last checkpoint, or the one before it if that is broken, or begin anew; the epochs that are done."""
        stored = self.store.epochs(self.run_id)
        self.store.runs_places.here.fetch(run_folder(self.store.runs_folder, self.run_id), LAST)
        self._inherit()
        if stored and not any((self.folder / name).exists() for name in (LAST, PREVIOUS)):
            logger.warning(
                "run %d begins again: its checkpoints after %d epochs are not in %s; --runs names a place that all machines share",
                *(self.run_id, len(stored), self.store.runs_places.here.text),
            )
        for name in (LAST, PREVIOUS):
            if not (self.folder / name).exists():
                continue
            try:
                training.load(self.folder / name)
                if training.done > len(stored):  # its process ended before it could store the epoch
                    training.reset()
                    continue
                if not self._has_best_weights(stored, training.done):
                    raise CheckpointError(f"the weights that belong to {self.folder / name} are gone")
                break
            except (CheckpointError, KeyError) as error:
                training.reset()
                logger.warning("a checkpoint cannot be used (%s); going back to the one before it", error)
        self.store.drop_epochs(self.run_id, self.attempt, after=training.done)
        for path in self.folder.glob("epoch-*.safetensors"):
            if path.name > weights_name(training.done):  # of epochs that will be trained again
                path.unlink()
        for path in self.folder.glob("*.partial"):  # of a process that was killed while it wrote
            path.unlink()
        return [row for row in stored if row.epoch <= training.done]

    def fork(self, training: Training, keys: Sequence[str]) -> list[EpochRow]:
        """Start from the longest prefix in the cache, if it has one; the epochs that are done."""
        found = self.prefixes.longest(keys)
        if found is None:
            return []
        try:
            training.load(found.checkpoint, fork=True)
            best = self.best_weights(self.selected([epoch["acc"] for epoch in found.epochs]))
            best.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found.best, best)
            return [self._keep_row(epoch) for epoch in found.epochs]
        except (CheckpointError, KeyError, OSError) as error:
            training.reset()
            self.store.drop_epochs(self.run_id, self.attempt, after=0)
            logger.warning("a cached prefix cannot be used (%s); training it again", error)
            return []

    def selected(self, accuracies: Sequence[float]) -> int:
        """The epoch whose weights are those of the run, as far as it is trained."""
        return selected_epoch(accuracies, last=self.last_counts)

    def keep(self, training: Training, epoch: Epoch, *, best: bool) -> EpochRow:
        """Keep an epoch that was just trained; `best` says whether it is more accurate than all before. Its stored record."""
        if best or self.last_counts:
            training.save_weights(self.folder / weights_name(epoch.epoch))
        if (self.folder / LAST).exists():
            (self.folder / LAST).replace(self.folder / PREVIOUS)
        training.save(self.folder / LAST)
        row = self._keep_row(asdict(epoch))  # at last: an epoch that is stored is never trained again
        for path in sorted(self.folder.glob("epoch-*.safetensors"))[:-2]:
            path.unlink()  # the last but one serves a run that falls back to its previous checkpoint
        self.store.runs_places.here.push(self.folder, without=(PREVIOUS,))
        return row

    def keep_prefix(self, key: str, rows: Sequence[EpochRow]) -> None:
        """Let other runs begin with what this one has trained so far."""
        best = self.best_weights(self.selected([row.acc for row in rows]))
        self.prefixes.keep(key, self.folder / LAST, best, [asdict(row) for row in rows])

    def keep_stopped(self, key: str, epoch: int) -> None:
        """Keep the weights after an epoch that was just trained, as those of a design that stops there."""
        stopped = StoppedWeights(folder=self.store.runs_folder / FOLDER)
        stopped.keep(self.run_id, epoch, key, self.best_weights(epoch))

    def best_weights(self, epoch: int) -> Path:
        """The weights after a selected epoch."""
        return self.folder / weights_name(epoch)

    def select(self, epoch: int) -> Path:
        """Make the weights of the selected epoch those of the run; their path.

        The epoch keeps its own until the run is stored as finished, so that a process that is killed in between loses nothing.
        """
        partial = self.folder / f"{WEIGHTS}.partial"
        partial.unlink(missing_ok=True)
        link(self.best_weights(epoch), partial)
        partial.replace(self.folder / WEIGHTS)
        partial.unlink(missing_ok=True)  # it stays where both were the same file already
        self.store.runs_places.here.push(self.folder, without=(PREVIOUS,))
        return self.folder / WEIGHTS

    def tidy(self) -> None:
        """Keep only the weights of the run, which is finished."""
        folder, weights = run_folder(self.store.runs_folder, self.run_id), self.folder / WEIGHTS
        keep_only(weights, folder)
        self.store.runs_places.here.drop(folder, keep=[weights])

    def drop_earlier(self) -> None:
        """Delete the files of the attempts before this one, which has a checkpoint of its own."""
        if not (self.folder / LAST).exists():
            return
        for earlier in run_folder(self.store.runs_folder, self.run_id).glob("attempt-*"):
            if int(earlier.name.removeprefix("attempt-")) < self.attempt:
                shutil.rmtree(earlier, ignore_errors=True)
                self.store.runs_places.here.drop(earlier)

    def _inherit(self) -> None:
        """Let this attempt have the checkpoints of the latest one before it. No attempt changes a file in place, so links will do."""
        for attempt in range(self.attempt - 1, -1, -1):
            earlier = attempt_folder(self.store.runs_folder, self.run_id, attempt)
            if not any((earlier / name).exists() for name in (LAST, PREVIOUS)):
                continue
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(earlier.glob("*.safetensors")):
                with suppress(FileNotFoundError, FileExistsError):
                    link(path, self.folder / path.name)
            return

    def _keep_row(self, epoch: Mapping[str, Any]) -> EpochRow:
        """Store an epoch, with the seconds that it adds to the time objective: by steps, or as the clock measured."""
        by_steps = None if self.step_seconds is None else epoch["steps"] * self.step_seconds[epoch["batch_size"]]
        row = EpochRow(**{**epoch, "counted_seconds": epoch["train_seconds"] if by_steps is None else by_steps})
        self.store.set_epoch(self.run_id, self.attempt, row)
        return row

    def _has_best_weights(self, stored: Sequence[EpochRow], done: int) -> bool:
        rows = [row for row in stored if row.epoch <= done]
        return len(rows) == done and self.best_weights(self.selected([row.acc for row in rows])).exists()


def keep_only(weights: Path, folder: Path) -> None:
    """Delete all in the folder of a finished run but its weights, with whatever attempts that were taken over have left."""
    kept = weights.absolute()
    for path in sorted(folder.absolute().rglob("*"), reverse=True):  # what is in a folder comes before it
        with suppress(OSError):
            if path.is_dir() and path not in kept.parents:
                path.rmdir()
            elif not path.is_dir() and path != kept:
                path.unlink(missing_ok=True)


def drop_superseded(runs: Path, run_id: int, attempt: int) -> None:
    """Delete the files of an attempt that was taken over, once a later one has its own; else the end of the run deletes them."""
    later = sorted(run_folder(runs, run_id).glob("attempt-*"))
    mine = attempt_folder(runs, run_id, attempt)
    if any((folder / name).exists() for folder in later if folder != mine for name in (LAST, WEIGHTS)):
        shutil.rmtree(mine, ignore_errors=True)


def weights_name(epoch: int) -> str:
    """The name of the file of weights after an epoch, counted from 1."""
    return f"epoch-{epoch:04d}.safetensors"
