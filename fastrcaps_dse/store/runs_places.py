"""Where the files of a study's runs are: a folder on this machine, or files behind a URL with a working copy here."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import sqlalchemy as sa

from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.store import tables
from fastrcaps_dse.store.remote import OUTAGE_SECONDS, PARTIAL, PROBE, Remote, is_remote, masked, parse_place

logger = logging.getLogger(__name__)


class RunsPlace:
    """The files of a study's runs. Where they are behind a URL, `folder` is a working copy; elsewhere nothing needs to be moved."""

    def __init__(self, folder: Path, remote: Remote | None = None) -> None:
        self.folder, self.remote = folder, remote
        self._pushed: dict[str, tuple[int, int]] = {}  # by name: bytes and time of change of what this process has written

    @property
    def text(self) -> str:
        """The place as it is printed."""
        return str(self.folder) if self.remote is None else masked(self.remote.url)

    def check(self) -> None:
        """Raises MachineError where files cannot be written."""
        if self.remote is not None:
            self.remote.check()
        _check_folder(self.folder)

    def push(self, folder: Path, *, without: Collection[str] = ()) -> None:
        """Write the files of a folder that have changed, in the order of their names, and delete there what is gone here.

        `without` are names of files that stay here. Raises MachineError once an outage lasts too long.
        """
        if self.remote is None:
            return
        here = {self._name(path): path for path in _files_in(folder) if path.name not in without}
        for name, path in here.items():
            found = path.stat()
            state = found.st_size, found.st_mtime_ns
            if self._pushed.get(name) != state:
                self.remote.put(path, name)
                self._pushed[name] = state
        gone = [name for name in self._pushed if name.startswith(f"{self._name(folder)}/") and name not in here]
        self.remote.remove(gone)
        for name in gone:
            del self._pushed[name]

    def fetch(self, folder: Path, needed: str) -> None:
        """Bring the newest attempt of a run that has the file `needed`, unless it, or a newer one, is here.

        `folder` is that of the run; attempts are folders in it. Raises MachineError once an outage lasts too long.
        """
        if self.remote is None:
            return
        there = self.remote.files(self._name(folder))
        attempts = {str(PurePosixPath(name).parent) for name in there if PurePosixPath(name).name == needed}
        here = [self._name(path.parent) for path in folder.rglob(needed)]
        newest = max(attempts, key=_by_number, default=None)
        if newest is None or any(_by_number(attempt) >= _by_number(newest) for attempt in here):
            return
        names = [name for name in there if str(PurePosixPath(name).parent) == newest and not name.endswith(PARTIAL)]
        for name in sorted(names, key=lambda name: (PurePosixPath(name).name == needed, name)):  # the needed one at last
            self.remote.get(name, self.folder / name)

    def bring(self, path: Path) -> bool:
        """Whether a file is here, now that it is fetched if it was not."""
        if path.is_file() or self.remote is None:
            return path.is_file()
        return ".." not in path.parts and path.is_relative_to(self.folder) and self.remote.get(self._name(path), path)

    def drop(self, folder: Path, keep: Collection[Path] = ()) -> None:
        """Delete the files of a folder behind the URL, but those to keep; the working copy stays. Failing costs space alone."""
        if self.remote is None:
            return
        kept = {self._name(path) for path in keep}
        try:
            self.remote.remove(name for name in self.remote.files(self._name(folder)) if name not in kept)
        except MachineError as error:
            logger.warning("%s; `fastrcaps-dse clean --free` deletes what is left over", error.message)
        self._pushed = {
            name: state for name, state in self._pushed.items() if name in kept or not name.startswith(f"{self._name(folder)}/")
        }

    def remove(self, paths: Iterable[Path]) -> None:
        """Delete files behind the URL, named as the working copy has them. Raises MachineError."""
        if self.remote is not None:
            self.remote.remove(self._name(path) for path in paths)

    def files(self) -> dict[str, int]:
        """The bytes of each file behind the URL, by its path below it; nothing for a place that is a folder. Raises MachineError."""
        found = {} if self.remote is None else self.remote.files()
        return {name: size for name, size in found.items() if not name.startswith(PROBE)}  # another process may be checking

    def _name(self, path: Path) -> str:
        """The name behind the URL of a path in the working copy."""
        name = path.relative_to(self.folder).as_posix()
        return "" if name == "." else name


class RunsPlaces:
    """The places of the studies of a storage. `default` is the folder of those for which the user has named none."""

    def __init__(self, default: Path, rows: Callable[[sa.Select[Any]], Sequence[Mapping[str, Any]]]) -> None:
        """`rows` gives those of a query."""
        self.default = RunsPlace(default)
        self.here = self.default  # of the study that this process trains
        self.named: str | None = None  # as the user has named it, now or earlier
        self._rows = rows
        self._by_study: dict[int, RunsPlace] = {}

    def of(self, study_id: int) -> RunsPlace:
        """The place of a study."""
        if study_id not in self._by_study:
            self._by_study = self._read() | self._by_study
        return self._by_study.get(study_id, self.default)

    def refresh(self) -> None:
        """Read anew where the studies have their files, but for that which this process trains."""
        self._by_study = {
            study: runs_place for study, runs_place in self._by_study.items() if runs_place is self.here is not self.default
        }

    def all(self) -> dict[int, RunsPlace]:
        """The place of each study, by its id."""
        return {study: self.of(study) for study in self._read()}

    def _read(self) -> dict[int, RunsPlace]:
        c = tables.study.c
        found = self._rows(sa.select(c.study_id, c.created, c.runs_place))
        return {row["study_id"]: self.made(row["study_id"], row["created"], row["runs_place"]) for row in found}

    def made(self, study_id: int, created: float, named: str | None) -> RunsPlace:
        """The place of a study, where its files are at `named`: a folder of its own there, as ids of runs count within a storage."""
        if named is None:
            return self.default
        own = study_folder(study_id, created)
        if is_remote(named):
            return RunsPlace(self.default.folder / own, Remote(f"{named}/{own}"))
        return RunsPlace(found_folder(named) / own)

    def enter(self, study_id: int, runs_place: RunsPlace, named: str) -> None:
        """Let this process train runs of a study whose files are there; it waits for outages from now on."""
        self._by_study[study_id] = self.here = runs_place
        self.named = named
        if runs_place.remote is not None:
            runs_place.remote.patience = OUTAGE_SECONDS

    def bring(self, weights: str) -> Path | None:
        """The file of a run's weights, as the store names it, fetched if it is behind a URL; None if there is none."""
        path = Path(weights)
        runs_places = {id(runs_place): runs_place for runs_place in (self.here, *self._by_study.values())}
        inner_first = sorted(runs_places.values(), key=lambda runs_place: -len(runs_place.folder.parts))
        owner = next((runs_place for runs_place in inner_first if path.is_relative_to(runs_place.folder)), None)
        is_here = path.is_file() if owner is None else owner.bring(path)
        return path if is_here else None


def named_place(text: str | None) -> str | None:
    """The place that the user names, or FASTRCAPS_RUNS does, as it is stored; None if none is named. Raises UserErrors."""
    given = text if text is not None else os.environ.get("FASTRCAPS_RUNS")
    return parse_place(given) if given is not None and (given or text is not None) else None


def check_place(named: str) -> None:
    """Raises MachineError where files cannot be written to a place that the user names."""
    if is_remote(named):
        Remote(named).check()
    else:
        _check_folder(Path(named))


def study_folder(study_id: int, created: float) -> str:
    """The folder of a study in a place: another one for each study, also of two databases whose files are in the same place."""
    return f"study-{study_id:06d}-{hashlib.sha256(repr(float(created)).encode()).hexdigest()[:8]}"


def found_folder(stored: str) -> Path:
    """A stored folder as it is called on this machine: FASTRCAPS_RUNS names it where it is elsewhere."""
    here = os.environ.get("FASTRCAPS_RUNS")
    return Path(here).expanduser() if here and not is_remote(here) and not Path(stored).is_dir() else Path(stored)


def _check_folder(folder: Path) -> None:
    probe = folder / f"{PROBE}{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise MachineError(
            f"the runs' files cannot be written to {folder}: {error.strerror}", "name another folder with --runs"
        ) from None


def _files_in(folder: Path) -> list[Path]:
    """The whole files of a folder, by name."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if path.is_file() and not path.name.endswith(PARTIAL))


def _by_number(name: str) -> list[tuple[int, str]]:
    """A key that sorts attempt-10 after attempt-9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
