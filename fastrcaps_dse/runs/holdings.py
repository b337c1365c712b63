"""What the runs folder of a storage holds, what of it is needed, and what can be freed without loss."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fastrcaps_dse import store
from fastrcaps_dse.runs.prefix_cache import is_entry
from fastrcaps_dse.runs.runner import PREFIXES
from fastrcaps_dse.store import UNFINISHED, RunRow, Store

WEIGHTS_KIND = "weights"
CHECKPOINTS = "checkpoints of runs that are not finished"
PREFIX_CACHE = "prefix cache: epochs that later runs can begin with"
LEFT_OVER = "left over: no run needs it"
KINDS = (WEIGHTS_KIND, CHECKPOINTS, PREFIX_CACHE, LEFT_OVER)
FREED = (PREFIX_CACHE, LEFT_OVER)
"""What `free` deletes: no result and no continued run needs it."""


@dataclass(frozen=True, kw_only=True)
class Holding:
    """Files of one kind in the runs folder."""

    kind: str  # of KINDS
    paths: tuple[Path, ...]  # files; folders in the prefix cache
    size: int  # bytes; a file with two names counts once for each


def holdings(ours: Store) -> list[Holding]:
    """What the runs folder holds, by kind, in the order of `KINDS`; nothing for a folder that is not there."""
    folder = ours.runs_folder
    runs = [run for study in ours.studies() for run in ours.runs(study.study_id)]
    found: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for kind, path in _classified(folder, runs):
        found[kind].append(path)
    return [Holding(kind=kind, paths=tuple(sorted(paths)), size=sum(map(_size, paths))) for kind, paths in found.items()]


def free(held: Iterable[Holding]) -> int:
    """Delete the files of these holdings, and folders that are empty then; the bytes that they had."""
    freed = 0
    for holding in held:
        for path in holding.paths:
            size = _size(path)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            freed += 0 if path.exists() else size
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
    return freed


def _classified(folder: Path, runs: Iterable[RunRow]) -> Iterator[tuple[str, Path]]:
    """(kind, path) of each file of a runs folder."""
    by_folder = {store.run_folder(folder, run.run_id).name: run for run in runs}
    kept = {str(Path(run.weights).absolute()) for run in by_folder.values() if run.weights}
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        if entry.name == PREFIXES and entry.is_dir():
            for prefix in sorted(entry.iterdir()):
                yield (PREFIX_CACHE if is_entry(prefix) else LEFT_OVER), prefix
            continue
        run = by_folder.get(entry.name)
        for path in sorted(p for p in entry.rglob("*") if p.is_file()) if entry.is_dir() else [entry]:
            if str(path.absolute()) in kept:
                yield WEIGHTS_KIND, path
            elif run is not None and run.state in UNFINISHED:
                yield CHECKPOINTS, path
            else:
                yield LEFT_OVER, path


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 for what is gone meanwhile."""
    try:
        return sum(p.stat().st_size for p in path.iterdir()) if path.is_dir() else path.stat().st_size
    except OSError:
        return 0
