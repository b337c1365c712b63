"""Files behind a URL, in an object store or on a server: written whole or not at all, waited for, told without secrets."""

from __future__ import annotations

import errno
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from fastrcaps_dse.errors import InputError, MachineError, nearest, visible
from fastrcaps_dse.store.url import SECRETS

OUTAGE_SECONDS = 600.0  # for which a process that trains waits for a place that is out of reach
TOLD_AFTER = 3.0  # s of waiting
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # s between two tries
EXAMPLES = "e.g. /mnt/shared/runs or s3://BUCKET/FOLDER"
PARTIAL = ".partial"  # the end of the name of a file that is not whole yet
PROBE = ".check-"  # the start of the name of a file that is written to see whether that works
WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"}
"""Schemes of object stores, where a file is there once its upload is complete: it needs no name for the meantime."""
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}
PACKAGES |= {"sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol", "oss": "ossfs", "oci": "ocifs"}
HOPELESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
"""Errors that waiting does not cure."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


def is_remote(runs_place: str | None) -> bool:
    """Whether a place of files is a URL."""
    return runs_place is not None and "://" in runs_place


def parse_place(text: str) -> str:
    """A place of files as it is stored: a URL, or the absolute path of a folder.

    Raises InputError for what is neither, and MachineError for a URL whose package is not installed. No message tells a password.
    """
    if not is_remote(text):
        # a URL with a slash too few would make a folder whose name has the password in it
        if re.match(r"[A-Za-z][\w+.-]+:", text) or re.search(r":[^/]*@", text):
            raise InputError("the place of the runs' files is neither a folder nor a URL: a URL has ://", EXAMPLES)
        if not text.strip() or not text.isprintable():
            raise InputError(f"{visible(text)!r} is not the name of a folder", EXAMPLES)
        return str(Path(text).expanduser().absolute())
    scheme, _, rest = text.partition("://")
    if not re.fullmatch(r"[A-Za-z][\w+.-]*", scheme) or not rest.strip("/") or not text.isprintable():
        raise InputError("the place of the runs' files is not a URL of a folder", EXAMPLES)
    options = f"FSSPEC_{scheme.upper()}_"
    if "@" in rest.partition("/")[0] and ":" in rest.rpartition("@")[0]:
        raise InputError(f"the URL {masked(text)} has a password", f"leave it out; the variable {options}PASSWORD may have it")
    if "?" in rest or "::" in rest:
        raise InputError(
            f"the URL {scheme}://... has options", f"name them in variables {options}..., see docs/shared-files.md"
        )
    _require(scheme)
    return text.rstrip("/")


def _require(scheme: str) -> None:
    """Raises UserErrors where files of this scheme cannot be used here."""
    try:
        from fsspec import available_protocols, get_filesystem_class
    except ImportError:
        raise MachineError("files at a URL need the package fsspec", "pip install 'fastrcaps-dse[remote]'") from None
    try:
        get_filesystem_class(scheme)
    except ImportError as error:
        package = PACKAGES.get(scheme)
        raise MachineError(
            f"files at {scheme}:// need a package that is not installed",
            f"pip install {package}" if package else masked(str(error)),
        ) from None
    except ValueError:
        close, _, _ = nearest(scheme, available_protocols()).rpartition("known: ")
        raise InputError(f"{scheme}:// is not a URL of files", f"{close}{EXAMPLES}") from None


class Remote:
    """The files below a URL. A name is a path below it. Every method raises UserErrors alone.

    `patience` is for how many seconds an outage is waited for; `sleep` waits.
    """

    def __init__(self, url: str, *, patience: float = 0.0, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url, self.patience, self.sleep = url, patience, sleep
        self._opened: tuple[Any, str] | None = None

    def files(self, below: str = "") -> dict[str, int]:
        """The bytes of each file in a folder and the folders in it, by name. Nothing for one that is not there."""

        def find() -> dict[str, int]:
            system, root = self._open()
            folder = f"{root}/{below}" if below else root
            system.invalidate_cache()
            try:
                found = system.find(folder, detail=True)
            except FileNotFoundError:
                return {}
            start = len(system._strip_protocol(root)) + 1
            return {path[start:]: int(info["size"]) for path, info in found.items() if info["type"] == "file"}

        return self._patiently("read", find)

    def get(self, name: str, target: Path) -> bool:
        """Bring a file to `target`, which is whole or not there; False where there is no such file."""

        def fetch() -> bool:
            system, root = self._open()
            system.invalidate_cache()
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
            try:
                size = int(system.info(f"{root}/{name}")["size"])
                system.get_file(f"{root}/{name}", str(partial))
                if partial.stat().st_size != size:
                    raise OSError(f"{name} came with {partial.stat().st_size} of {size} bytes")
                partial.replace(target)
            except FileNotFoundError:
                return False
            finally:
                partial.unlink(missing_ok=True)
            return True

        return self._patiently("read", fetch)

    def put(self, source: Path, name: str) -> None:
        """Write a file, in the place of one of this name. Who reads finds the old one or the new one, whole."""

        def upload() -> None:
            system, root = self._open()
            path, size = f"{root}/{name}", source.stat().st_size
            folder, _, last = path.rpartition("/")
            if self._is_whole:
                _put(system, source, path, size)
                return
            system.makedirs(folder, exist_ok=True)
            partial = f"{folder}/.{last}.{uuid.uuid4().hex[:8]}{PARTIAL}"
            try:
                _put(system, source, partial, size)
                _move(system, partial, path)
            except Exception:
                with suppress(Exception):
                    system.rm_file(partial)
                raise

        self._patiently("written", upload)

    def remove(self, names: Iterable[str]) -> None:
        """Delete files; those that are gone already are none."""

        def delete() -> None:
            system, root = self._open()
            for name in names:
                with suppress(FileNotFoundError):
                    system.rm_file(f"{root}/{name}")
            system.invalidate_cache()

        names = list(names)
        self._patiently("written", delete)

    def check(self) -> None:
        """Raises MachineError where files cannot be written, read and deleted."""
        name, text = f"{PROBE}{uuid.uuid4().hex[:8]}", b"fastrcaps-dse"

        def test() -> None:
            system, root = self._open()
            if not self._is_whole:
                system.makedirs(root, exist_ok=True)
            system.pipe_file(f"{root}/{name}", text)
            read = system.cat_file(f"{root}/{name}")
            system.rm_file(f"{root}/{name}")
            if read != text:
                raise OSError("what was written is not what is read")

        self._patiently("written", test)

    @property
    def _is_whole(self) -> bool:
        return self.url.partition("://")[0] in WHOLE

    def _open(self) -> tuple[Any, str]:
        """The file system, and the path of the URL in it. It is opened anew after an error: a connection may be broken."""
        if self._opened is None:
            from fsspec.core import url_to_fs

            system, root = url_to_fs(self.url, skip_instance_cache=True)
            self._opened = system, root.rstrip("/")
        return self._opened

    def _patiently(self, done: str, act: Callable[[], T]) -> T:
        """What `act` gives; an outage is waited for as long as patience lasts. The libraries have errors of their own: all are told."""
        start, pause, is_told = time.monotonic(), FIRST_PAUSE, False
        while True:
            try:
                found = act()
            except Exception as error:
                self._opened = None
                waited = time.monotonic() - start
                text = masked(_first_line(error))
                if not _may_pass(error) or waited >= self.patience:
                    raise MachineError(
                        f"the runs' files at {masked(self.url)} cannot be {done}: {text}",
                        "check --runs, the network and your access, then run the same command again: nothing is lost",
                    ) from None
                if waited > TOLD_AFTER and not is_told:
                    is_told = True
                    logger.warning(
                        "%s does not answer (%s): waiting, for %.0f s at most", masked(self.url), text, self.patience
                    )
                self.sleep(min(pause, max(self.patience - waited, 0.0)))
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if is_told:
                logger.warning("%s answers again: going on", masked(self.url))
            return found


def _put(system: Any, source: Path, path: str, size: int) -> None:
    """Upload a file, and see that all of it is there."""
    system.put_file(str(source), path)
    system.invalidate_cache()
    there = int(system.info(path)["size"])
    if there != size:
        raise OSError(f"{source.name} arrived with {there} of {size} bytes")


def _move(system: Any, source: str, target: str) -> None:
    """Rename a file, also where the server replaces none."""
    try:
        system.mv(source, target)
    except FileExistsError:
        system.rm_file(target)
        system.mv(source, target)
    except OSError:
        if not system.exists(target) or not system.exists(source):
            raise
        system.rm_file(target)
        system.mv(source, target)


def _may_pass(error: Exception) -> bool:
    """Whether waiting may help against an error."""
    if isinstance(error, OSError):
        lasting = isinstance(error, (FileNotFoundError, PermissionError, NotADirectoryError)) or error.errno in HOPELESS
        return not lasting
    return not isinstance(error, (ImportError, NotImplementedError, TypeError, ValueError, AttributeError))


def _first_line(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (said.strip().splitlines() or [""])[0] or type(error).__name__


def masked(text: str) -> str:
    """A text without passwords of URLs, secret options, and secret values of variables or fsspec's settings."""
    text = re.sub(r"://([^/@\s:]*):[^/\s]*@", r"://\1:***@", text)
    text = re.sub(r"([?&][^=&\s]*(?:sig|cred|pass|pwd|secret|token|key)[^=&\s]*)=[^&\s'\"]+", r"\1=***", text, flags=re.I)
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "***")
    return visible(text)


def _secrets() -> set[str]:
    """Values that must not be told."""
    found = {value for name, value in os.environ.items() if SECRETS.search(name) and name not in ("PWD", "OLDPWD")}
    with suppress(ImportError):
        from fsspec.config import conf

        for options in conf.values():
            found |= {str(value) for name, value in options.items() if SECRETS.search(name)}
    return {value for value in found if len(value) >= 6}  # shorter ones are words such as "true"
