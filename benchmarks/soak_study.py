"""Small studies for `benchmarks.soak`, and the product's command line as processes that can be killed at any moment."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

STUDY = """
name = "{name}"
dataset = "{dataset}"
epochs = {epochs}
trials = {trials}
seed = {seed}
sampler = "{sampler}"
objectives = ["acc", "params", "epochs"]
first = []
[space]
network = ["lenet5"]
lr_policy = ["fixed", "one-cycle", "warm-restarts"]
batch_schedule = ["fixed"]
weight_sharing = [false]
decoder = ["full"]
shift = [0, 1, 2]
[space.fields]
size = [8, 12, 16, 24]
{more}
"""
"""LeNet5 on tiny images; its objectives need no clock, so that two machines find the same front."""

WRITES = ("pwrite64", "write", "rename", "unlink", "link", "mkdir", "fdatasync", "ftruncate")
"""System calls that change what another process can see."""

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "FASTRCAPS_ALGORITHMS": "default",
    "FASTRCAPS_STALE": "3",
    "NO_COLOR": "1",
    "FASTRCAPS_DEBUG": "1",
}


def study_text(
    name: str, dataset: Path, *, epochs: int = 3, trials: int = 3, seed: int = 0, sampler: str = "random", rates: int = 0
) -> str:
    """A study file; `rates` learning rates make its space that many times as large."""
    more = f"lr = [{', '.join(f'{1e-3 + 1e-5 * k:.5f}' for k in range(rates))}]" if rates else ""
    return STUDY.format(name=name, dataset=dataset, epochs=epochs, trials=trials, seed=seed, sampler=sampler, more=more)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line of the product, and where it runs."""

    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    traced: bool = False  # wait for strace before the first step
    output: str = "output.txt"  # in the folder; appended to


def start(command: Command) -> ForkServerProcess:
    """Run a command in a process of its own, forked from one that has imported everything: it starts in milliseconds."""
    os.environ.update(ENVIRONMENT)  # of the process that forks, and of what it imports
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.soak_preload"])
    command.folder.mkdir(parents=True, exist_ok=True)
    process = context.Process(target=_run, args=(command,))
    process.start()
    return process


def _run(command: Command) -> None:
    from fastrcaps_dse import cli
    from fastrcaps_dse.trainer import stopwatch

    stopwatch.GROUP_SECONDS = 0.01  # nobody reads the step times of a soak
    assert stopwatch.measure_step.__kwdefaults__ is not None
    stopwatch.measure_step.__kwdefaults__["groups"] = 1
    os.setsid()
    os.chdir(command.folder)
    os.environ.update(command.environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    written = os.open(command.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(written, 1)
    os.dup2(written, 2)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    while command.traced and not _tracer():
        time.sleep(0.001)
    sys.argv = ["fastrcaps-dse", *command.arguments]
    cli.main()


def _tracer() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("TracerPid"))


def strace() -> str | None:
    """The program that kills at a system call; None where it is not installed."""
    return shutil.which("strace")


@dataclass(frozen=True, kw_only=True)
class Tracer:
    """strace, attached to a process and to all threads and processes that it starts."""

    process: subprocess.Popen[bytes]
    counts: Path

    def counted(self) -> dict[str, int]:
        """How often each call of WRITES was made, once the traced process has ended."""
        self.process.wait(60)
        rows = [line.split() for line in self.counts.read_text(encoding="utf-8").splitlines()]
        return {row[-1]: int(row[3]) for row in rows if row and row[-1] in WRITES and row[3].isdecimal()}


def trace(pid: int, folder: Path, *, call: str | None = None, number: int = 1) -> Tracer:
    """Attach strace to a process: it kills it at its `number`th `call`, or counts the calls of WRITES."""
    counts = folder / f"strace-{pid}.txt"
    program = strace()
    assert program is not None
    if call is None:
        options = ["-c", "-e", f"trace={','.join(WRITES)}"]
    else:
        options = ["-qq", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
    command = [program, "-f", *options, "-o", str(counts), "-p", str(pid)]
    return Tracer(process=subprocess.Popen(command, stderr=subprocess.DEVNULL), counts=counts)


def session_members(leader: int) -> list[int]:
    """The processes of the session that a command leads, without those that have ended."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if folder.name.isdecimal() and int(fields[3]) == leader and fields[0] not in ("Z", "X"):
            found.append(int(folder.name))
    return found


def ended(leader: int, patience: float = 20.0) -> list[int]:
    """The processes that a command has left behind after so many seconds."""
    deadline = time.monotonic() + patience
    while (left := session_members(leader)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left
