"""Several machines work on one study: some are killed and replaced, some freeze and wake up, the server restarts. Nothing may be lost or
done twice.

Each machine is a process with a name (FASTRCAPS_HOST) and a folder of its own; all are on this computer.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks import soak_checks, soak_study
from benchmarks.soak_kills import Findings
from benchmarks.soak_study import Command
from fastrcaps_dse import store
from fastrcaps_dse.store import Store
from tests.postgres import Server

FROZEN_SECONDS = 5.0  # longer than FASTRCAPS_STALE of the soak
LIMIT = 540.0  # s for the whole study
EPOCHS = 3


@dataclass(frozen=True, kw_only=True)
class Farm:
    """How many machines and designs, and what happens to the machines."""

    folder: Path
    dataset: Path
    url: store.URL
    machines: int  # at a time
    designs: int
    killed: int
    frozen: int
    server: Server | None = None  # that is restarted twice
    seed: int = 0
    name: str = "s"

    def command(self, number: int) -> Command:
        """What a machine runs."""
        storage = self.url.render_as_string(hide_password=False)
        arguments = ("explore", str(self.folder / "study.toml"), "--storage", storage, "--trials", str(self.designs))
        options = ("--device", "cpu", "--workers", "1")
        environment = {"FASTRCAPS_HOST": f"machine-{number}"}
        place = self.folder / f"machine-{number}"
        return Command(arguments=(*arguments, *options), folder=place, environment=environment)


@dataclass(kw_only=True)
class Work:
    """The machines that are at work, and what is to happen to them."""

    farm: Farm
    findings: Findings
    at_work: dict[int, ForkServerProcess] = field(default_factory=dict)  # by the machine's number
    frozen: dict[int, float] = field(default_factory=dict)  # when each wakes up, in s of the monotonic clock
    started: int = 0
    events: list[tuple[float, str]] = field(default_factory=list)  # by share of the designs that are finished
    seen: dict[tuple[str, int], dict[int, tuple[Any, ...]]] = field(default_factory=dict)
    done: dict[tuple[str, int], float] = field(default_factory=dict)  # accuracies that a reader saw finished
    codes: Counter[int] = field(default_factory=Counter)

    def start_machine(self) -> None:
        """One more machine joins."""
        self.at_work[self.started] = soak_study.start(self.farm.command(self.started))
        self.started += 1

    def run(self) -> None:
        """Until the study is complete and all machines have left."""
        random_ = random.Random(f"machines {self.farm.seed}")
        begun = time.monotonic()
        for _ in range(self.farm.machines):
            self.start_machine()
        while self.at_work and time.monotonic() < begun + LIMIT:
            share = self._look()
            while self.events and self.events[0][0] <= share:
                self._happen(self.events.pop(0)[1], random_)
            for number, moment in [*self.frozen.items()]:
                if time.monotonic() > moment:
                    del self.frozen[number]
            self._take_leave()
            time.sleep(0.1)
        for number, process in self.at_work.items():
            self.findings.wrong.append(f"machine {number} is at work after {LIMIT:.0f} s")
            self._signal(number, signal.SIGCONT)
            process.kill()
            process.join()

    def _look(self) -> float:
        """Read the study as another program would: the share of the designs that are finished."""
        with contextlib.suppress(sa.exc.OperationalError):  # the server restarts
            now = soak_checks.curves_of(self.farm.url, self.farm.name)
            self.findings.reads += 1
            for name, curve in now.items():
                kept = self.seen.setdefault(name, {})
                for number, values in curve.items():
                    if kept.setdefault(number, values) != values:
                        self.findings.wrong.append(f"{name}: epoch {number} was {kept[number]} and is {values}")
        finished = sum(len(curve) == EPOCHS for curve in self.seen.values())
        return finished / self.farm.designs

    def _happen(self, what: str, random_: random.Random) -> None:
        able = [number for number in self.at_work if number not in self.frozen]
        if what.startswith("restart") and self.farm.server is not None:
            self.farm.server.restart("immediate" if what.endswith("immediate") else "fast")
        elif what == "kill" and able:
            self._signal(random_.choice(able), signal.SIGKILL)
            self.start_machine()
        elif what == "freeze" and able:
            number = random_.choice(able)
            self._signal(number, signal.SIGSTOP)
            self.frozen[number] = time.monotonic() + FROZEN_SECONDS
            # by a thread: a machine that is frozen while it writes keeps out whoever reads SQLite, this process among them
            threading.Timer(FROZEN_SECONDS, self._signal, (number, signal.SIGCONT)).start()
        else:
            return
        self.findings.kills[what] += 1

    def _signal(self, number: int, which: signal.Signals) -> None:
        process = self.at_work.get(number)
        if process is not None and process.pid is not None and process.exitcode is None:
            os.kill(process.pid, which)

    def _take_leave(self) -> None:
        """Note which machines have ended, and how."""
        for number, process in [*self.at_work.items()]:
            if process.exitcode is None:
                continue
            self.codes[process.exitcode] += 1
            if process.exitcode not in (0, -signal.SIGKILL):
                said = (self.farm.folder / f"machine-{number}" / "output.txt").read_text(encoding="utf-8")[-1500:]
                self.findings.wrong.append(f"machine {number} ends with {process.exitcode}: {said}")
            if process.pid is not None and (left := soak_study.ended(process.pid)):
                self.findings.wrong.append(f"machine {number} leaves the processes {left}")
            process.close()
            del self.at_work[number]


def work_together(farm: Farm, findings: Findings) -> dict[str, Any]:
    """Let the machines complete the study, then check it; figures of the work. What is wrong is added to the findings."""
    farm.folder.mkdir(parents=True)
    text = soak_study.study_text(farm.name, farm.dataset, epochs=EPOCHS, trials=farm.designs, seed=farm.seed, rates=30)
    (farm.folder / "study.toml").write_text(text, encoding="utf-8")
    random_ = random.Random(f"events {farm.seed}")
    happenings = ["kill"] * farm.killed + ["freeze"] * farm.frozen
    events = [(random_.uniform(0.02, 0.9), what) for what in happenings]
    if farm.server is not None:
        events += [(0.35, "restart immediate"), (0.65, "restart fast")]
    work = Work(farm=farm, findings=findings, events=sorted(events))
    begun = time.monotonic()
    work.run()
    seconds = time.monotonic() - begun
    ours = Store(farm.url)
    row = ours.study(farm.name)
    faults = [*_faults(farm, ours, work)]
    findings.note(f"{farm.machines} machines, {farm.url.get_backend_name()}", faults)
    runs = ours.runs(row.study_id)
    findings.studies += 1
    findings.epochs += sum(map(len, ours.epochs_of(row.study_id).values()))
    found = {
        "storage": farm.url.get_backend_name(),
        "machines_at_a_time": farm.machines,
        "machines_in_all": work.started,
        "designs": len({run.design.key for run in runs}),
        "happened": dict(findings.kills),
        "attempts_of_runs": dict(sorted(Counter(run.attempt for run in runs).items())),
        "exit_codes": {str(code): count for code, count in sorted(work.codes.items())},
        "seconds": round(seconds, 1),
        "wrong": faults[:20],
    }
    ours.close()
    return found


def _faults(farm: Farm, ours: Store, work: Work) -> Iterator[str]:
    row = ours.study(farm.name)
    yield from soak_checks.double_work(ours, row, farm.designs)
    yield from soak_checks.lost(work.seen, soak_checks.curves_of(farm.url, farm.name), running=0)
    yield from soak_checks.owners_alive(ours, row)
    yield from soak_checks.mirror_faults(ours, row)
    path = store.sqlite_path(farm.url)
    if path:
        yield from soak_checks.integrity(path)
    if row.revision < len(ours.runs(row.study_id)):
        yield f"the revision {row.revision} has not counted all runs"
