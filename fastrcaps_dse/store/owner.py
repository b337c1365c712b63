"""Who owns a run, and whether that process lives."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

STALE_SECONDS = 120.0  # a run of another machine whose heart has not beaten for so long is taken up again

DEFUNCT = ("Z", "X")  # states of a process that has ended


def process_name() -> str:
    """This process, so that another can tell whether it lives: host, boot and start included, for numbers are used again."""
    return json.dumps([socket.gethostname(), os.getpid(), _started(os.getpid())])


def _started(pid: int) -> str:
    """Boot and start time of a process (Linux); empty where they cannot be known, and for one that has ended but is not waited for."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return ""
    return "" if fields[0] in DEFUNCT else f"{boot}:{fields[19]}"


def any_alive(owners: Iterable[Mapping[str, Any]]) -> bool:
    """Whether one of the owners of running runs lives; each has an `owner` and a `heartbeat`."""
    return any(is_alive(row["owner"], row["heartbeat"]) for row in owners)


def is_trained(owner: str | None, heartbeat: float | None) -> bool:
    """Whether a living process trains a run that is not finished: this one, or another."""
    return owner == process_name() or is_alive(owner, heartbeat)


def is_alive(owner: str | None, heartbeat: float | None) -> bool:
    """Whether the owner of a run is another process that lives: on this host by its process, elsewhere by its heartbeat."""
    if not owner or heartbeat is None:
        return False
    host, pid, started = json.loads(owner)
    if host != socket.gethostname():
        return time.time() - heartbeat < STALE_SECONDS
    if pid == os.getpid() and started == _started(pid):
        return False  # it is this process itself: an earlier attempt of its own
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return bool(_started(pid) == started)
