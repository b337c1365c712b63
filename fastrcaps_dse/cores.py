"""The cores that this process may use, how busy others keep them, and how OpenMP waits.

This module imports no torch: OpenMP reads its environment once, when torch is imported.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SHORT_WAIT = {"GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "0"}
"""How long an idle thread keeps its core, in loops of GNU's OpenMP and in ms of LLVM's and Intel's, before it sleeps.

Their own values are some milliseconds and 200 ms. A thread that waits so long takes the core from a program that computes,
which then makes this process wait in turn. The record reports/benchmarks/shared-cores.json compares both.
"""
WAITING = ("OMP_WAIT_POLICY", *SHORT_WAIT)  # variables by which a person decides how OpenMP waits
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # and how many threads it has
REPEATABLE = {"MKL_CBWR": "AUTO,STRICT"}
"""Lets Intel's MKL, which multiplies the matrices, give the same bits with any number of threads."""
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(kw_only=True)
class _Prepared:
    """What `prepare_openmp` found and did."""

    too_late: bool = False
    ours: tuple[str, ...] = ()  # variables that it set


_prepared = _Prepared()


def prepare_openmp(environ: MutableMapping[str, str] = os.environ) -> None:
    """Let OpenMP's idle threads sleep early, unless the environment says already how they wait, and products be repeatable.

    Workers inherit the environment.
    """
    _prepared.too_late = "torch" in sys.modules
    for name, value in REPEATABLE.items():
        environ.setdefault(name, value)
    if any(name in environ for name in WAITING):
        return
    environ.update(SHORT_WAIT)
    _prepared.ours = tuple(SHORT_WAIT)


def waiting() -> str:
    """How OpenMP's idle threads wait in this process, in words."""
    settings = ", ".join(f"{name}={os.environ[name]}" for name in WAITING if name in os.environ)
    if not _prepared.ours:
        return f"as the environment says: {settings}"
    if _prepared.too_late:
        return "as torch's own OpenMP does, since torch was imported before fastrcaps_dse"
    return f"briefly, then they sleep: {settings}"


def threads_are_set(environ: MutableMapping[str, str] = os.environ) -> bool:
    """Whether a person set the number of threads."""
    return any(name in environ for name in THREADS)


# --- how many ---------------------------------------------------------------------------------------------------------


def own_processors() -> list[int]:
    """The numbers of the processors on which this process may run."""
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return list(range(os.cpu_count() or 1))


def available_cores(cgroups: Path = CGROUPS) -> int:
    """How many cores this process may keep busy: its processors, or fewer where a container has a quota; at least one."""
    quota = min(_quotas(cgroups, _own_groups()), default=math.inf)
    return max(1, min(len(own_processors()), math.floor(quota + 0.5) if math.isfinite(quota) else sys.maxsize))


def available_memory(meminfo: Path = Path("/proc/meminfo"), cgroups: Path = CGROUPS) -> int:
    """Bytes that this process may still take without swapping, within its own limit (`ulimit -v`) and those of its container; unlimited
    where unknown.
    """
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return sys.maxsize
    return max(0, min([free, *_address_space_left(), *_memory_left(cgroups, _own_groups())]))


def _address_space_left() -> Iterator[int]:
    """Bytes that this process may still map, where that is limited."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            yield most - pages * resource.getpagesize()


def _memory_left(root: Path, groups: list[tuple[str, str]]) -> Iterator[int]:
    """Bytes that the control groups of this process have left."""
    for folder, is_v2 in _folders(root, groups, "memory"):
        most, used = ("memory.max", "memory.current") if is_v2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        with suppress(OSError, ValueError):  # no such group here, or no limit
            yield int((folder / most).read_text(encoding="ascii")) - int((folder / used).read_text(encoding="ascii"))


def _own_groups() -> list[tuple[str, str]]:
    """The (controllers, path) of each control group of this process; the controllers of cgroup v2 are empty."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [(controllers, path) for _, controllers, path in (line.split(":", 2) for line in lines)]


def _quotas(root: Path, groups: list[tuple[str, str]]) -> Iterator[float]:
    """The cores that each control group of this process, and each group around it, may use."""
    for folder, is_v2 in _folders(root, groups, "cpu"):
        yield from _quota(folder, v2=is_v2)


def _folders(root: Path, groups: list[tuple[str, str]], controller: str) -> Iterator[tuple[Path, bool]]:
    """The folders of the groups of a controller and of those around them, and whether each is of cgroup v2."""
    for controllers, path in groups:
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root
        inner = base / path.lstrip("/")
        for folder in {base, inner, *(parent for parent in inner.parents if parent.is_relative_to(base))}:
            yield folder, not controllers


def _quota(folder: Path, *, v2: bool) -> Iterator[float]:
    try:
        if v2:
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = ((folder / f"cpu.cfs_{kind}_us").read_text(encoding="ascii") for kind in ("quota", "period"))
        if quota != "max" and int(quota) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError):  # no such group here, or no quota
        return


# --- how busy ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What was used up to a moment."""

    all_busy: float  # s of the own processors, by any program
    own: float  # s of any processor, by this process


def usage(stat: Path = Path("/proc/stat"), *, low_priority: bool = False) -> Usage | None:
    """What the own processors did since the machine started; None where the system does not tell.

    Work at low priority counts only for a process that has low priority itself, as it gives way to others; or if `low_priority` is set.
    """
    own = os.times()
    try:
        lines = stat.read_text(encoding="ascii").splitlines()
        tick = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
    niced = low_priority or os.nice(0) > 0
    mine = {f"cpu{number}" for number in own_processors()}
    busy = 0
    for name, *counts in (line.split() for line in lines if line.startswith("cpu")):
        if name in mine:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, counts[:8])
            busy += user + (nice if niced else 0) + system + irq + softirq + steal
    return Usage(all_busy=busy / tick, own=own.user + own.system)
