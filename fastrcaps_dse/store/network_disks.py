"""Whether a file lies on a network disk, where SQLite's locks are not reliable."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from sqlalchemy.engine import URL

from fastrcaps_dse.store.url import sqlite_path

logger = logging.getLogger(__name__)

NETWORK_KINDS = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "panfs",
        "smb3",
        "smbfs",
    }
)
"""Kinds of file systems of other machines, as the kernel names them."""
NETWORK_FUSE = frozenset({"ceph", "davfs", "gcsfuse", "glusterfs", "juicefs", "rclone", "s3fs", "sshfs"})
"""The same, of those that a program provides: `fuse.sshfs`."""
MOUNTS = Path("/proc/self/mountinfo")

WARNING = "SQLite's locks are not reliable on network disks (%s): use PostgreSQL for several machines"


def warn_of_network_disk(url: URL) -> None:
    """Warn if the database is an SQLite file on a network disk."""
    kind = network_disk_of(url)
    if kind is not None:
        logger.warning(WARNING, kind)


def network_disk_of(url: URL) -> str | None:
    """The kind of the network disk that an SQLite database lies on; None for a local disk, another database, or where nothing tells."""
    path = sqlite_path(url)
    if path is None:
        return None
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        kind = file_system_of(path.resolve(), mounts)
    except OSError:  # no Linux
        return None
    return kind if kind is not None and is_network(kind) else None


def is_network(kind: str) -> bool:
    """Whether a file system of this kind is of another machine."""
    family, _, program = kind.partition(".")
    return program in NETWORK_FUSE if family == "fuse" else kind in NETWORK_KINDS


def file_system_of(path: Path, mounts: str) -> str | None:
    """The kind of the file system that an absolute path lies on, by the text of /proc/self/mountinfo (see `man proc`); None if no mount
    has it.
    """
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) < 5 or not after:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
        depth = len(point.parts)
        if path.is_relative_to(point) and (found is None or depth >= found[0]):  # a later mount hides an earlier one
            found = depth, after.split(" ")[0]
    return found[1] if found else None
