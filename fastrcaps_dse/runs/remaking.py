"""Weights that are not kept, made again: the same training with the same seed up to the epoch, bit for bit on the same device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastrcaps_dse import trainer
from fastrcaps_dse.capsnet.algorithms import BY_DEFAULT, algorithms_from_dict
from fastrcaps_dse.runs.context import Context
from fastrcaps_dse.runs.files import LAST, PREVIOUS
from fastrcaps_dse.runs.prefix_cache import PrefixCache
from fastrcaps_dse.runs.runner import PREFIXES
from fastrcaps_dse.runs.stopped_weights import FOLDER, StoppedWeights
from fastrcaps_dse.store import RunRow, run_folder
from fastrcaps_dse.trainer import CheckpointError, Training

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Remaking:
    """The training of a run, to be done again up to an epoch."""

    context: Context
    run: RunRow
    epoch: int  # counted from 1

    def weights(self, say: Callable[[str], None] = lambda _: None) -> Path:
        """The file of the weights after the epoch: kept ones, or those of the training that is done again.

        `say` is told of each epoch that is trained. Raises UserErrors, RunFailed. Other accuracies than those of the run, as another
        device or other software may give, are told in a warning.
        """
        here = self.context
        training = self._training()
        keys = training.prefix_keys()
        stopped = StoppedWeights(folder=here.store.runs_folder / FOLDER)
        kept = stopped.find(keys[self.epoch - 1])
        if kept is not None:
            return kept
        self._begin(training, keys)
        accuracies = [row.acc for row in here.store.epochs(self.run.run_id)]
        while training.done < self.epoch:
            say(f"trial {self.run.trial}: epoch {training.done + 1} of {self.epoch} is trained again")
            self._compare(training.run_epoch(), accuracies)
        own = stopped.folder / f"{keys[self.epoch - 1]}.new-{self.run.run_id}"
        own.parent.mkdir(parents=True, exist_ok=True)
        training.save_weights(own)
        path = stopped.keep(self.run.run_id, self.epoch, keys[self.epoch - 1], own)
        if path is None:
            return own
        own.unlink()
        return path

    def _training(self) -> Training:
        run = self.run
        algorithms = BY_DEFAULT if run.algorithms is None else algorithms_from_dict(run.algorithms)
        return self.context.training(run.design, run.seed, algorithms)

    def _begin(self, training: Training, keys: Sequence[str]) -> None:
        """Go to the latest epoch up to the wanted one that a checkpoint has: of the run itself, or of the prefix cache."""
        here = self.context
        prefix = PrefixCache(folder=here.store.runs_folder / PREFIXES).longest(keys[: self.epoch])
        reached = 0
        for path in self._own_checkpoints():
            try:
                training.load(path)
            except (CheckpointError, KeyError, OSError):
                training.reset()
                continue
            if training.done <= self.epoch and self._is_same_device():
                reached = training.done
                break
            training.reset()
        if prefix is not None and len(prefix.epochs) > reached:
            try:
                training.load(prefix.checkpoint, fork=True)
            except (CheckpointError, KeyError, OSError):
                training.reset()

    def _is_same_device(self) -> bool:
        here = (trainer.device_name(self.context.device), trainer.software())
        return here == (self.run.device, self.run.software)

    def _own_checkpoints(self) -> Iterator[Path]:
        folder = run_folder(self.context.store.runs_folder, self.run.run_id)
        for name in (LAST, PREVIOUS):
            yield from sorted(folder.rglob(name), reverse=True)

    def _compare(self, epoch: trainer.Epoch, accuracies: Sequence[float]) -> None:
        before = accuracies[epoch.epoch - 1]
        if abs(epoch.acc - before) > 1e-9:
            logger.warning(
                "epoch %d reaches %.2f %% now, and reached %.2f %% when the study was explored (on %s, with %s): these weights are of the "
                "same design and seed, but not the same",
                *(epoch.epoch, epoch.acc, before, self.run.device, self.run.software),
            )
