"""Explorations that are killed again and again, at random moments and at system calls that write, and always continued by the same command.

The reference is the same study in another folder, which nobody kills.
"""

from __future__ import annotations

import csv
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from benchmarks import soak_checks, soak_study
from benchmarks.soak_checks import Curves
from benchmarks.soak_study import WRITES, Command
from fastrcaps_dse import store
from fastrcaps_dse.store import Store

PATIENCE = 120.0  # s for a command that nobody kills
PAUSE = 0.02  # s between two looks of the reader
STORAGE = "s.db"


@dataclass(frozen=True, kw_only=True)
class KilledStudy:
    """One study: how it is run, and by which random numbers it is killed."""

    folder: Path
    dataset: Path
    number: int
    workers: int
    kills: int  # at most
    at_calls: bool  # some of them at system calls; else all at random moments
    name: str = "s"

    @property
    def url(self) -> store.URL:
        """Its database."""
        return store.parse_url(str(self.folder / "killed" / STORAGE))

    def command(self, place: str, *, traced: bool = False) -> Command:
        """The command that begins the study and continues it."""
        arguments = ("explore", str(self.folder / "study.toml"), "--storage", str(self.folder / place / STORAGE))
        options = ("--trials", "3", "--device", "cpu", "--workers", str(self.workers), "--log", "csv=log")
        return Command(arguments=(*arguments, *options), folder=self.folder / place, environment={}, traced=traced)


@dataclass(kw_only=True)
class Findings:
    """What was done to studies, and what was wrong."""

    studies: int = 0
    kills: Counter[str] = field(default_factory=Counter)  # by moment: "random", or the name of a system call
    attempts: int = 0  # commands
    epochs: int = 0  # that are stored in the end
    trained_again: int = 0  # epochs
    reads: int = 0  # of a reader while processes worked
    wrong: list[str] = field(default_factory=list)

    def note(self, where: str, faults: Iterator[str] | list[str]) -> None:
        """Keep what is wrong."""
        self.wrong += [f"{where}: {fault}" for fault in faults]


def kill_and_continue(study: KilledStudy, findings: Findings) -> None:
    """Run one study to its end, killed at most so many times; what it finds is added to the findings."""
    random_ = random.Random(f"kills {study.number}")
    text = soak_study.study_text(study.name, study.dataset, seed=study.number)
    study.folder.mkdir(parents=True)
    (study.folder / "study.toml").write_text(text, encoding="utf-8")
    calls, seconds = _reference(study, findings)
    seen: dict[tuple[str, int], dict[int, tuple[object, ...]]] = {}
    for number in range(study.kills + 1):
        last = number == study.kills
        at_call = study.at_calls and not last and random_.random() < 0.7
        process = soak_study.start(study.command("killed", traced=at_call))
        leader = process.pid
        assert leader is not None
        findings.attempts += 1
        tracer, moment, name = None, None if last else seconds * random_.uniform(0.0, 0.8), "random"
        if at_call:
            name = random_.choice([call for call in WRITES if calls.get(call)])
            tracer = soak_study.trace(leader, study.folder, call=name, number=random_.randint(1, calls[name]))
            moment = None
        _watch(study, process, moment, seen, findings)
        if tracer is not None:
            tracer.process.wait(PATIENCE)
        code = process.exitcode
        process.close()
        findings.note(f"study {study.number}, attempt {number}", _after(study, leader, seen, last=code == 0))
        if code == 0:
            break
        if code != -9:
            said = (study.folder / "killed" / "output.txt").read_text(encoding="utf-8")[-2000:]
            findings.wrong.append(f"study {study.number}, attempt {number}: exit code {code}: {said}")
            return
        findings.kills[name] += 1
    findings.note(f"study {study.number}", _compare(study, findings))
    findings.studies += 1


def _reference(study: KilledStudy, findings: Findings) -> tuple[dict[str, int], float]:
    """Run the study without a kill: (how often it makes each call that writes, seconds)."""
    process = soak_study.start(study.command("reference", traced=study.at_calls))
    assert process.pid is not None
    tracer = soak_study.trace(process.pid, study.folder) if study.at_calls else None
    begun = time.monotonic()
    process.join(PATIENCE)
    if process.exitcode != 0:
        findings.wrong.append(f"study {study.number}: the reference ends with {process.exitcode}")
    process.close()
    return (tracer.counted() if tracer else {}), time.monotonic() - begun


def _watch(
    study: KilledStudy,
    process: ForkServerProcess,
    moment: float | None,
    seen: dict[tuple[str, int], dict[int, tuple[object, ...]]],
    findings: Findings,
) -> None:
    """Read the study while it runs, and kill its process after `moment` seconds; None lets it run to its end."""
    begun = time.monotonic()
    while process.exitcode is None and time.monotonic() < begun + PATIENCE:
        if moment is not None and time.monotonic() >= begun + moment:
            process.kill()
            break
        if (study.folder / "killed" / STORAGE).exists():
            now = soak_checks.curves_of(study.url, study.name)
            findings.reads += 1
            findings.note(f"study {study.number}, while it runs", soak_checks.lost(seen, now, running=1))
            for name, curve in now.items():
                seen.setdefault(name, {}).update(curve)
        process.join(PAUSE)
    if process.exitcode is None:
        process.join(0 if moment is None else PATIENCE)
    if process.exitcode is None:
        findings.wrong.append(f"study {study.number} hangs: killed after {PATIENCE:.0f} s")
        process.kill()
        process.join()


def _after(study: KilledStudy, leader: int, seen: Curves, *, last: bool) -> Iterator[str]:
    """What is wrong once a process has ended: with the database, with what a reader had seen, with processes that are left."""
    if left := soak_study.ended(leader):
        yield f"the processes {left} are left"
    if not (study.folder / "killed" / STORAGE).exists():
        return
    yield from soak_checks.unreadable(study.url)  # first: who opens it for writing takes back what was written in part
    yield from soak_checks.integrity(study.folder / "killed" / STORAGE)
    yield from soak_checks.lost(seen, soak_checks.curves_of(study.url, study.name), running=0 if last else 1)


def _compare(study: KilledStudy, findings: Findings) -> Iterator[str]:
    """What is wrong with a study that is complete, beside its reference."""
    ours, reference = Store(study.url), Store(store.parse_url(str(study.folder / "reference" / STORAGE)))
    row, other = ours.study(study.name), reference.study(study.name)
    mine = soak_checks.curves_of(ours.url, study.name)
    yield from soak_checks.differences(soak_checks.curves_of(reference.url, study.name), mine)
    yield from soak_checks.double_work(ours, row, row.target_trials)
    yield from soak_checks.mirror_faults(ours, row)
    yield from soak_checks.owners_alive(ours, row)
    kept, wrong = soak_checks.kept_files(ours, row)
    expected, wrong_there = soak_checks.kept_files(reference, other)
    yield from wrong
    yield from (f"the reference: {fault}" for fault in wrong_there)
    if kept != expected:
        yield f"weights are kept of {sorted(kept)}, of the reference {sorted(expected)}"
    findings.epochs += sum(map(len, mine.values()))
    yield from _trained_again(study, findings)
    ours.close()
    reference.close()


def _trained_again(study: KilledStudy, findings: Findings) -> Iterator[str]:
    """Runs that trained more epochs again than they were killed, by the log of epochs."""
    path = study.folder / "killed" / "log" / f"{study.name}.epochs.csv"
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        rows = [(row["label"], row["seed"], row["epoch"]) for row in csv.DictReader(file)]
    again = len(rows) - len(set(rows))
    kills = sum(findings.kills.values())
    findings.trained_again += again
    if again > study.kills * study.workers:
        yield f"{again} epochs were trained again after {kills} kills of all studies, at most {study.kills} of this one"
