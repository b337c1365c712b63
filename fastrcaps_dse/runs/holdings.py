"""What the runs folder of a storage holds, what of it is needed, and what can be freed without loss."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastrcaps_dse import store
from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.runs.prefix_cache import is_entry
from fastrcaps_dse.runs.runner import PREFIXES
from fastrcaps_dse.runs.stopped_weights import FOLDER, SUFFIX
from fastrcaps_dse.store import UNFINISHED, RunRow, RunsPlace, Store

logger = logging.getLogger(__name__)

WEIGHTS_KIND = "weights"
CHECKPOINTS = "checkpoints of runs that are not finished"
PREFIX_CACHE = "prefix cache: epochs that later runs can begin with"
STOPPED = "weights of designs that stop early: they can be made again"
LEFT_OVER = "left over: no run needs it"
KINDS = (WEIGHTS_KIND, CHECKPOINTS, PREFIX_CACHE, STOPPED, LEFT_OVER)
FREED = (PREFIX_CACHE, STOPPED, LEFT_OVER)
"""What `free` deletes: no result and no continued run needs it."""


@dataclass(frozen=True, kw_only=True)
class Holding:
    """Files of one kind: on this machine, or behind a URL."""

    kind: str  # of KINDS
    paths: tuple[Path, ...]  # files; folders in the prefix cache; behind a URL, as the working copy has or would have them
    size: int  # bytes; a file with two names counts once for each
    runs_place: RunsPlace | None = None  # that a study has of its own; None for the storage's folder, and working copies in it


def holdings(ours: Store, *, remote: bool = False) -> list[Holding]:
    """What the storage's runs folder holds, by kind, in the order of `KINDS`; then what other places hold that studies have.

    `remote`: behind URLs, too, which takes the network; one that is out of reach is told in a warning and left out.
    """
    runs_places, default = ours.runs_places.all(), ours.runs_places.default
    behind = {id_: _behind(runs_place) for id_, runs_place in runs_places.items()} if remote else {}  # before the runs are read
    runs = {study: ours.runs(study) for study in runs_places}
    copies = {id_: runs_place for id_, runs_place in runs_places.items() if runs_place.remote is not None}
    shared = [run for id_, runs_place in runs_places.items() if runs_place is default for run in runs[id_]]
    entries = [*_classified(default.folder, shared, without={runs_place.folder.name for runs_place in copies.values()})]
    for id_, runs_place in copies.items():
        entries += _classified(runs_place.folder, runs[id_])
    found = [Holding(kind=kind, paths=paths, size=sum(map(_size, paths))) for kind, paths in _by_kind(entries)]
    for id_, runs_place in runs_places.items():
        if runs_place is not default and runs_place.remote is None:
            kinds = _by_kind(_classified(runs_place.folder, runs[id_]))
            found += [Holding(kind=kind, paths=p, size=sum(map(_size, p)), runs_place=runs_place) for kind, p in kinds if p]
        elif runs_place is not default and remote:
            found += classified_behind(runs_place, behind[id_], runs[id_])
    return found


def free(held: Iterable[Holding]) -> int:
    """Delete the files of these holdings, and folders that are empty then; the bytes that they had. Raises MachineError."""
    freed = 0
    for holding in held:
        if holding.runs_place is not None and holding.runs_place.remote is not None:
            holding.runs_place.remove(holding.paths)
            freed += holding.size
            continue
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


def _behind(runs_place: RunsPlace) -> dict[str, int]:
    """The bytes of each file behind the URL of a place, by name; nothing where that is out of reach."""
    try:
        return runs_place.files()
    except MachineError as error:
        logger.warning("%s", error.message)
        return {}


def classified_behind(runs_place: RunsPlace, files: Mapping[str, int], runs: Iterable[RunRow]) -> list[Holding]:
    """What the files behind the URL of a place are, by kind. `runs` have been read after them: a file of none is left over."""
    sizes = {runs_place.folder / name: size for name, size in files.items()}
    by_folder = {store.run_folder(runs_place.folder, run.run_id).name: run for run in runs}
    kinds = _by_kind((_kind(path, by_folder.get(path.relative_to(runs_place.folder).parts[0])), path) for path in sizes)
    return [
        Holding(kind=kind, paths=paths, size=sum(sizes[path] for path in paths), runs_place=runs_place)
        for kind, paths in kinds
        if paths
    ]


def _by_kind(entries: Iterable[tuple[str, Path]]) -> list[tuple[str, tuple[Path, ...]]]:
    """The paths of each kind, in the order of `KINDS`."""
    found: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for kind, path in entries:
        found[kind].append(path)
    return [(kind, tuple(sorted(paths))) for kind, paths in found.items()]


def _classified(folder: Path, runs: Iterable[RunRow], *, without: Collection[str] = ()) -> Iterator[tuple[str, Path]]:
    """(kind, path) of each file of a folder of runs; `without` are folders in it that belong to others."""
    by_folder = {store.run_folder(folder, run.run_id).name: run for run in runs}
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        if entry.name in without:
            continue
        if entry.name == PREFIXES and entry.is_dir():
            for prefix in sorted(entry.iterdir()):
                yield (PREFIX_CACHE if is_entry(prefix) else LEFT_OVER), prefix
            continue
        for path in sorted(p for p in entry.rglob("*") if p.is_file()) if entry.is_dir() else [entry]:
            is_stopped = entry.name == FOLDER and path.suffix == SUFFIX
            yield STOPPED if is_stopped else _kind(path, by_folder.get(entry.name)), path


def _kind(path: Path, run: RunRow | None) -> str:
    """What a file in the folder of a run is; of None, in any other folder."""
    if run is not None and run.weights and Path(run.weights).absolute() == path.absolute():
        return WEIGHTS_KIND
    return CHECKPOINTS if run is not None and run.state in UNFINISHED else LEFT_OVER


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 for what is gone meanwhile."""
    try:
        return sum(p.stat().st_size for p in path.iterdir()) if path.is_dir() else path.stat().st_size
    except OSError:
        return 0
