"""Shared beginnings: runs whose first epochs are the same training train them once.

A folder beside a storage's runs keeps, under the key of what was trained, the checkpoint at its end, the weights of its best
epoch and the record of its epochs. It is a cache: what was used longest ago is dropped where it grows too large.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKPOINT, BEST, EPOCHS = "checkpoint.safetensors", "best.safetensors", "epochs.json"
LIMIT_BYTES = 2 * 10**9  # a checkpoint of the full network has 99 MB


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """The first epochs of a run."""

    folder: Path
    epochs: tuple[Mapping[str, Any], ...]  # the trainer's record of each

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    @property
    def best(self) -> Path:
        """The weights of the first epoch of the highest accuracy."""
        return self.folder / BEST


class Beginnings:
    """The kept beginnings of a storage."""

    def __init__(self, folder: Path, limit: int = LIMIT_BYTES) -> None:
        self.folder, self.limit = folder, limit

    def longest(self, keys: Sequence[str]) -> Beginning | None:
        """The longest one that is kept whole, of those of 1, 2, ... epochs with these keys."""
        for count in range(len(keys), 0, -1):
            place = self.folder / keys[count - 1]
            try:
                epochs = json.loads((place / EPOCHS).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if len(epochs) == count and (place / CHECKPOINT).exists() and (place / BEST).exists():
                os.utime(place)
                return Beginning(folder=place, epochs=tuple(epochs))
        return None

    def keep(self, key: str, checkpoint: Path, best: Path, epochs: Sequence[Mapping[str, Any]]) -> None:
        """Keep the beginning of a run; a full disk or another process only costs the cache."""
        place, partial = self.folder / key, self.folder / f"{key}.{os.getpid()}"
        if place.exists():
            return
        try:
            partial.mkdir(parents=True, exist_ok=True)
            _share(checkpoint, partial / CHECKPOINT)
            _share(best, partial / BEST)
            (partial / EPOCHS).write_text(json.dumps(list(epochs)), encoding="utf-8")
            partial.rename(place)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
        self._trim()

    def _trim(self) -> None:
        """Drop those that were used longest ago until the rest fits."""
        total = 0
        places = sorted((p for p in self.folder.iterdir() if p.is_dir()), key=lambda p: -p.stat().st_mtime)
        for place in places:
            total += sum(path.stat().st_size for path in place.iterdir())
            if total > self.limit:
                shutil.rmtree(place, ignore_errors=True)


def _share(source: Path, target: Path) -> None:
    """The same file under another name: a link where the file system has them, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
