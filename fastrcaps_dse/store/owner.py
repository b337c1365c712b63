"""Who owns a run, and whether that process lives.

A process says that it lives by a heartbeat in the database's clock. One that has not done so for `STALE_SECONDS` is taken for dead,
whether it has ended, is frozen or has lost the network; the death of a process of this machine is known at once.
"""

from __future__ import annotations

import functools
import json
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DEFUNCT = ("Z", "X")  # states of a process that has ended


def _seconds_from_environment(name: str, default: float) -> float:
    try:
        return max(1.0, float(os.environ.get(name, "")))
    except ValueError:
        return default


STALE_SECONDS = _seconds_from_environment("FASTRCAPS_STALE", 60.0)  # without a heartbeat, after which a run may be taken over
HEARTBEAT_SECONDS = STALE_SECONDS / 4


def host_name() -> str:
    """The name of this machine, by which others know it: FASTRCAPS_HOST, or its host name."""
    return os.environ.get("FASTRCAPS_HOST") or socket.gethostname()


def process_name() -> str:
    """This process, so that another can tell whether it lives: host, boot and start included, for numbers are used again."""
    return json.dumps([host_name(), os.getpid(), _started(os.getpid())])


@functools.cache
def _here() -> str:
    """What a process number means something in: the boot of this machine, and the name space (Linux); empty where they are unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{os.readlink('/proc/self/ns/pid')[5:-1]}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Boot, name space and start time of a process; empty where they cannot be known, and for one that has ended, waited for or not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return ""
    return "" if fields[0] in DEFUNCT else f"{_here()}:{fields[19]}"


def any_alive(owners: Iterable[Any]) -> bool:
    """Whether one of the owners of running runs is another process that lives; each has an `owner`, a `heartbeat` and the time `now`."""
    mine = process_name()
    return any(row["owner"] != mine and is_alive(row["owner"], row["heartbeat"], row["now"]) for row in owners)


def is_alive(owner: str | None, heartbeat: float | None, now: float) -> bool:
    """Whether the owner of a run lives, as far as is known; `heartbeat` and `now` are in the database's clock, in s."""
    return bool(owner) and heartbeat is not None and now - heartbeat < STALE_SECONDS and not is_known_dead(str(owner))


def is_known_dead(owner: str) -> bool:
    """Whether the owner is a process of this machine that has ended. Nothing is known of other machines, boots and name spaces."""
    host, pid, started = json.loads(owner)
    if host != host_name() or str(started).rpartition(":")[0] != _here():
        return False
    if _here():
        return _started(pid) != str(started)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
