"""Explorations under bad conditions, and what holds afterwards: see `soak_kills`, `soak_machines`, `soak_throughput`, `soak_fuzz`.

Everything is seeded, bounded and on this computer alone. The record is reports/benchmarks/soak-PART.json; the exit code is 1 if anything
was lost, done twice or left behind.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PARTS = ("kills", "machines", "throughput", "fuzz")
WORKERS_EVERY = 8  # of the studies that are killed, each so manieth has two workers; they take longest


def kills(asked: argparse.Namespace, folder: Path, dataset: Path) -> dict[str, Any]:
    """Studies that are killed and continued until they are complete; those of `--first` and after it."""
    from benchmarks import soak_study
    from benchmarks.soak_kills import Findings, KilledStudy, kill_and_continue

    findings, begun = Findings(), time.monotonic()
    at_calls = soak_study.strace() is not None
    numbers = range(asked.first, asked.first + asked.studies)
    for number in numbers:
        if time.monotonic() > begun + asked.seconds:
            break
        workers = 2 if number % WORKERS_EVERY == WORKERS_EVERY - 1 else 1
        how: dict[str, Any] = {
            "number": number,
            "workers": workers,
            "kills": asked.kills,
            "at_calls": at_calls and workers == 1,
        }
        kill_and_continue(KilledStudy(folder=folder / f"study-{number}", dataset=dataset, **how), findings)
        print(f"study {number}: {sum(findings.kills.values())} kills so far, {len(findings.wrong)} faults", flush=True)
    return {**dataclasses.asdict(findings), "kills": dict(findings.kills), "seconds": round(time.monotonic() - begun, 1)}


def machines(asked: argparse.Namespace, folder: Path, dataset: Path) -> dict[str, Any]:
    """Machines on PostgreSQL, with restarts of the server, and four on SQLite."""
    from benchmarks.soak_kills import Findings
    from benchmarks.soak_machines import Farm, work_together
    from fastrcaps_dse import store
    from tests.postgres import running_server

    wrong: list[str] = []
    rows = []
    count = asked.machines
    how: dict[str, Any] = {"dataset": dataset, "seed": asked.first}
    if "postgresql" in asked.engines:
        with running_server() as server:
            findings = Findings()
            many = {"machines": count, "designs": asked.designs, "killed": max(1, count // 5), "frozen": max(1, count // 10)}
            farm = Farm(folder=folder / "many", url=server.new_database(), server=server, **many, **how)
            rows.append(work_together(farm, findings))
            wrong += findings.wrong
    if "sqlite" in asked.engines:
        findings = Findings()
        few: dict[str, Any] = {"machines": 4, "designs": min(40, asked.designs), "killed": 1, "frozen": 1}
        farm = Farm(folder=folder / "few", url=store.parse_url(str(folder / "few.db")), **few, **how)
        rows.append(work_together(farm, findings))
        wrong += findings.wrong
    for row in rows:
        print(json.dumps(row), flush=True)
    return {"farms": rows, "wrong": wrong}


def throughput(asked: argparse.Namespace, folder: Path, dataset: Path) -> dict[str, Any]:
    """See `soak_throughput`."""
    from benchmarks.soak_throughput import measure

    return measure(folder, asked)


def fuzz(asked: argparse.Namespace, folder: Path, dataset: Path) -> dict[str, Any]:
    """See `soak_fuzz`."""
    from benchmarks.soak_fuzz import fuzz as try_inputs

    return try_inputs(folder, first=asked.first, inputs=asked.inputs, seconds=asked.seconds)


def added(before: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Findings beside those of an earlier call: numbers are summed, by name where they have names, and lists are joined."""
    total: dict[str, Any] = {}
    for name, value in found.items():
        earlier = before.get(name)
        if isinstance(value, dict) and isinstance(earlier, dict):
            total[name] = {key: earlier.get(key, 0) + value.get(key, 0) for key in sorted({*earlier, *value})}
        else:
            total[name] = value if earlier is None else earlier + value
    return total


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--parts", default="kills,machines,throughput", help=f"some of {', '.join(PARTS)}")
    made.add_argument("--studies", type=int, default=48, help="that are killed")
    made.add_argument("--kills", type=int, default=5, help="at most, of each study")
    made.add_argument("--first", type=int, default=0, help="the seed: the number of the first study")
    made.add_argument("--seconds", type=float, default=3600.0, help="after which no further study is begun")
    made.add_argument("--machines", type=int, default=20, help="that work on one study")
    made.add_argument("--designs", type=int, default=120, help="of that study")
    made.add_argument("--engines", default="postgresql,sqlite")
    made.add_argument("--processes", default="1,2,4,8", help="of the throughput")
    made.add_argument("--inputs", type=int, default=5000, help="that are fuzzed; the first has the number --first")
    made.add_argument("--window", type=float, default=10.0, help="seconds of each figure of the throughput")
    made.add_argument("--add", action="store_true", help="add to the findings of the record that is there")
    made.add_argument("--no-record", action="store_true")
    return made


def main(arguments: list[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    if unknown := set(asked.parts.split(",")) - set(PARTS):
        raise SystemExit(f"no such parts: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    from tests.conftest import write_tiny

    faults = 0
    for part in asked.parts.split(","):
        with tempfile.TemporaryDirectory(prefix="fastrcaps-soak-", ignore_cleanup_errors=True) as place:
            found = globals()[part](asked, Path(place), write_tiny(Path(place) / "tiny"))
        faults += len(found.get("wrong", ()))
        print(json.dumps(found, indent=1), flush=True)
        if not asked.no_record:
            print(keep(part, found, add=asked.add))
    return 1 if faults else 0


def keep(part: str, found: dict[str, Any], *, add: bool) -> Path:
    """Write the record of a part; with `add`, together with the findings of the one that is there."""
    import torch

    from benchmarks import record

    path = record.PLACE / f"soak-{part}.json"
    if add and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        found = added({name: before[name] for name in found if name in before}, found)
    return record.write(f"soak-{part}", "benchmarks.soak", torch.device("cpu"), found)


if __name__ == "__main__":
    sys.exit(main())
