"""The weights of runs that are stopped early: kept up to a bound on disk for what is on the anytime front, else made again.

A folder beside the runs of a storage, on the machine that trains, has the weights after each epoch that was more accurate than all
before it. A file is named after its run and epoch, and after a key of everything that decides the training (`Training.prefix_keys`), so
that it is found for the very same training alone.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastrcaps_dse.runs.prefix_cache import link

FOLDER = "stopped"  # in the folder of all runs
SUFFIX = ".safetensors"
LIMIT_BYTES = 2 * 10**9  # the weights of the full network have 33 MB
NAME = re.compile(r"run-(\d+)-epoch-(\d+)-([0-9a-f]+)\.safetensors")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StoppedWeights:
    """The weights that a storage keeps of runs that are stopped early."""

    folder: Path
    limit: int = LIMIT_BYTES  # bytes

    def keep(self, run_id: int, epoch: int, key: str, weights: Path) -> Path | None:
        """Keep a file of weights, of a run after an epoch; where. None where the disk does not let it, which costs no more than that."""
        path = self.folder / f"run-{run_id:06d}-epoch-{epoch:04d}-{key}{SUFFIX}"
        partial = path.with_suffix(f".partial-{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            link(weights, partial)
            partial.replace(path)
        except OSError as error:
            logger.warning("the weights after epoch %d of run %d are not kept: %s", epoch, run_id, error.strerror or error)
            return None
        finally:
            with suppress(OSError):
                partial.unlink()  # it stays where both were the same file already
        return path

    def find(self, key: str) -> Path | None:
        """The weights after the epoch of this key."""
        return next(iter(sorted(self.folder.glob(f"run-*-{key}.safetensors"))), None)

    def trim(self, of_study: Mapping[int, Mapping[int, float]]) -> int:
        """Delete what is not on the front, and the cheapest to make again until the rest fits the bound; how many files stay.

        `of_study` maps each run of a study to its epochs on the front, and these to the seconds that training up to them takes. Runs of
        other studies are left as they are, and count for the bound.
        """
        ours: list[tuple[float, Path]] = []
        total = 0
        for path in sorted(self.folder.glob("run-*.safetensors")):
            found = NAME.fullmatch(path.name)
            run_id, epoch = (int(found[1]), int(found[2])) if found else (0, 0)
            if run_id in of_study and epoch not in of_study[run_id]:
                path.unlink(missing_ok=True)
                continue
            with suppress(FileNotFoundError):
                total += path.stat().st_size
                if run_id in of_study:
                    ours.append((of_study[run_id][epoch], path))
        ours.sort()
        dropped = 0
        for _, path in ours:
            if total <= self.limit:
                break
            total -= path.stat().st_size
            path.unlink(missing_ok=True)
            dropped += 1
        if dropped:
            logger.info(
                "%d of %d stopped designs on the front keep their weights, within %.1f GB; `export` makes the others again",
                *(len(ours) - dropped, len(ours), self.limit / 1e9),
            )
        return len(ours) - dropped

    def drop(self, run_ids: set[int]) -> None:
        """Delete the weights of these runs, e.g. as their study is deleted."""
        for path in self.folder.glob("run-*.safetensors"):
            found = NAME.fullmatch(path.name)
            if found and int(found[1]) in run_ids:
                path.unlink(missing_ok=True)
