"""The prefix cache: runs whose first epochs are the same training train them once.

A folder beside the runs of a storage keeps the checkpoint at the end of such epochs, the weights of the best epoch and the records of
all, under a key of everything that decides the training. What was used longest ago is dropped when the cache grows too large.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastrcaps_dse.store import host_name

CHECKPOINT, BEST, EPOCHS = "checkpoint.safetensors", "best.safetensors", "epochs.json"
ABANDONED_SECONDS = 86400.0  # no process takes so long to fill a folder of the cache
LIMIT_BYTES = 2 * 10**9  # a checkpoint of the full network has 99 MB


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """The first epochs of a run."""

    folder: Path
    epochs: tuple[Mapping[str, Any], ...]  # the trainer's record of each

    @property
    def checkpoint(self) -> Path:
        """The state of the training at the end of the last of the epochs."""
        return self.folder / CHECKPOINT

    @property
    def best(self) -> Path:
        """The weights of the first epoch of the highest accuracy."""
        return self.folder / BEST


@dataclass(frozen=True, kw_only=True)
class PrefixCache:
    """The prefixes that a storage keeps."""

    folder: Path
    limit: int = LIMIT_BYTES

    def longest(self, keys: Sequence[str]) -> Prefix | None:
        """The longest complete prefix in the cache; `keys` are those of 1, 2, ... epochs."""
        for count in range(len(keys), 0, -1):
            folder = self.folder / keys[count - 1]
            try:
                epochs = json.loads((folder / EPOCHS).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if len(epochs) == count and (folder / CHECKPOINT).exists() and (folder / BEST).exists():
                os.utime(folder)
                return Prefix(folder=folder, epochs=tuple(epochs))
        return None

    def keep(self, key: str, checkpoint: Path, best: Path, epochs: Sequence[Mapping[str, Any]]) -> None:
        """Keep the first epochs of a run. A full disk or another process costs no more than the entry."""
        folder, partial = self.folder / key, self.folder / f"{key}.{_writer()}"
        if folder.exists():
            return
        try:
            partial.mkdir(parents=True, exist_ok=True)
            link(checkpoint, partial / CHECKPOINT)
            link(best, partial / BEST)
            (partial / EPOCHS).write_text(json.dumps(list(epochs)), encoding="utf-8")
            partial.rename(folder)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
        self._trim()

    def _trim(self) -> None:
        """Drop what was used longest ago until the rest fits."""
        total = 0
        with suppress(FileNotFoundError):  # another process has dropped it meanwhile; the next entry comes with another look
            entries = sorted((p for p in self.folder.iterdir() if p.is_dir()), key=lambda p: -p.stat().st_mtime)
            for entry in entries:
                total += sum(path.stat().st_size for path in entry.iterdir())
                if total > self.limit:
                    shutil.rmtree(entry, ignore_errors=True)


def is_abandoned(folder: Path) -> bool:
    """Whether a folder of the cache was begun by a process that no longer runs, on this machine or long ago on another."""
    _, dot, writer = folder.name.partition(".")
    if not dot:
        return False
    host, _, pid = writer.rpartition("-")
    try:
        if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
            return True
        if host == _writer().rpartition("-")[0]:
            os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        pass
    return False


def _writer() -> str:
    """This process, in the name of a folder that it fills."""
    host = "".join(letter if letter.isalnum() else "_" for letter in host_name())
    return f"{host}-{os.getpid()}"


def is_entry(folder: Path) -> bool:
    """Whether a folder of the cache is a prefix that a run can begin with; others were left by a process that was stopped."""
    return all((folder / name).is_file() for name in (CHECKPOINT, BEST, EPOCHS)) and "." not in folder.name


def link(source: Path, target: Path) -> None:
    """The same file under another name: a link if the file system has links, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
