"""One call that checks and measures the product on a machine with a GPU, within so many minutes.

    python -m benchmarks.gpu --minutes 25 --out DIR --data-dir data

In this order: captured and eager steps against float64; runs continued from checkpoints; workers side by side; too little memory;
the training benchmark; the paper's designs. DIR/findings.jsonl gets a line for each finding as it comes; summary.json and
summary.txt are written at the end, however it comes. Exit code 1 if a check failed. Without a GPU it does the same on a CPU.

    python -m benchmarks.gpu --stages paper --minutes 10 --out DIR --keep FOLDER --data-dir data

This trains the paper's two studies at full scale instead, as far as the minutes go. A later call with the same FOLDER goes on. The
records are in DIR/paper, and `python -m benchmarks.paper` writes them again from FOLDER/paper.db.
"""

from __future__ import annotations

import argparse
import datetime
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import record
from benchmarks.gpu_checks import batch_sizes, restart_items, steps_items
from benchmarks.gpu_facts import card
from benchmarks.gpu_paper import paper_items
from benchmarks.gpu_product import designs_items, memory_items, workers_items
from benchmarks.gpu_stages import Emit, Item, Setting, Stage, run_apart, run_here, skip
from benchmarks.training import default_forms
from benchmarks.training_cases import EVALUATED, VARIANTS
from benchmarks.training_rows import measure
from fastrcaps_dse import trainer

ROUNDS = 5  # timings of each form


def measure_speed(variant: str, batch_size: int, setting: Setting, emit: Emit, end: float) -> None:
    """The rows of the training benchmark for one variant and batch size."""
    forms = ["port", "float32"] if setting.quick else default_forms(torch.device(setting.device))
    rounds, evaluated = (1, 16) if setting.quick else (ROUNDS, EVALUATED)
    rows = measure(variant, batch_size, forms, setting.device, rounds, end=end, profiled=False, evaluated=evaluated)
    for row in rows:
        facts = {key: value for key, value in row.items() if key not in ("variant", "batch_size", "form")}
        emit(f"{variant}, batch {batch_size}: {row['form']}", None, **facts)


def speed_items(setting: Setting) -> list[Item]:
    """Each variant and batch size, the full network first."""
    sizes, variants = ((4,), ("ws+small",)) if setting.quick else (batch_sizes(setting)[::-1], tuple(VARIANTS))
    return [
        Item(name=f"{variant}, batch {size}", act=partial(measure_speed, variant, size))
        for variant in variants
        for size in sizes
    ]


STAGES = (
    Stage(name="steps", share=20, items=steps_items),
    Stage(name="restart", share=6, items=restart_items),
    Stage(name="workers", share=8, items=workers_items),
    Stage(name="memory", share=4, items=memory_items),
    Stage(name="speed", share=30, items=speed_items),
    Stage(name="designs", share=32, items=designs_items),
)
PAPER = Stage(name="paper", share=100, items=paper_items)  # only if it is asked for


class Journal:
    """The findings of all stages: written one by one, and summed up."""

    def __init__(self, folder: Path, head: dict[str, Any]) -> None:
        self.folder, self.head = folder, head
        self.findings: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "findings.jsonl").write_text("", encoding="utf-8")

    def tell(self, finding: dict[str, Any]) -> None:
        """Write a finding at once, and print what it says in short."""
        finding = {"at": datetime.datetime.now().isoformat(timespec="seconds")} | finding
        self.findings.append(finding)
        with (self.folder / "findings.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(finding) + "\n")
        print(line_of(finding), flush=True)

    def of(self, ok: bool | None, *, skipped: bool = False) -> list[dict[str, Any]]:
        """The findings with this outcome."""
        return [found for found in self.findings if found["ok"] is ok and ("skipped" in found) is skipped]

    def write_summary(self, ended: str) -> None:
        """Write summary.json and summary.txt."""
        counts = {
            "passed": len(self.of(True)),
            "failed": len(self.of(False)),
            "figures": len(self.of(None)),
            "skipped": len(self.of(None, skipped=True)),
        }
        facts = self.head | {"ended": ended} | counts | {"findings": self.findings}
        (self.folder / "summary.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        lines = [f"{name}: {value}" for name, value in (self.head | {"ended": ended} | counts).items()]
        groups = {"FAILED": self.of(False), "SKIPPED": self.of(None, skipped=True), "FIGURES": self.of(None)}
        for title, group in groups.items():
            lines += ["", title, *map(line_of, group)] if group else []
        (self.folder / "summary.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


UNSAID = ("at", "stage", "name", "ok", "seconds_since_item_began", "losses", "allowed", "last_batch")


def line_of(finding: dict[str, Any]) -> str:
    """A finding in one line."""
    outcome = {True: "ok", False: "FAILED", None: "skipped" if "skipped" in finding else "-"}[finding["ok"]]
    facts = ", ".join(f"{key} {_short(value)}" for key, value in finding.items() if key not in UNSAID)
    return f"{outcome:8}{finding['stage']}: {finding['name']}: {facts}".rstrip(": ")


def _short(value: Any) -> str:
    if isinstance(value, dict) and "median" in value:
        return f"{value['median']} ({value['min']} to {value['max']}, n={value['n']})"
    return str(value)


def run_stages(stages: Sequence[Stage], setting: Setting, end: float, journal: Journal, *, apart: bool) -> None:
    """Run the stages one after the other; each gets its share of the time that is left, and stops in time."""
    for index, stage in enumerate(stages):
        now = time.monotonic()
        part = stage.share / sum(other.share for other in stages[index:])
        stage_end = now + part * (end - now)
        if now >= end:
            skip(stage.name, stage.items(setting), "out of time", journal.tell)
        else:
            (run_apart if apart else run_here)(stage, setting, stage_end, journal.tell)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=25.0, help="of everything")
    options.add_argument("--out", type=Path, required=True, help="the folder of the findings")
    options.add_argument("--device", help="cuda, cuda:1 or cpu; default: a GPU if there is one")
    options.add_argument("--data-dir", type=Path, help="where MNIST is; without it, the included sample is used")
    options.add_argument("--stages", default=",".join(stage.name for stage in STAGES), help=f"some of these, and {PAPER.name}")
    options.add_argument(
        "--keep", type=Path, help="of the stage paper: the folder with which a later call goes on; default --out"
    )
    options.add_argument("--quick", action="store_true", help="tiny sizes, to test this program")
    options.add_argument("--in-process", action="store_true", help="all stages in this process, for a debugger")
    return options


def _ended(*_: object) -> None:
    raise KeyboardInterrupt


def run(arguments: Sequence[str] | None = None) -> int:
    """Everything; the exit code."""
    end = time.monotonic()
    asked = parser().parse_args(arguments)
    end += 60 * asked.minutes
    device = trainer.choose_device(asked.device)
    wanted = asked.stages.split(",")
    stages = [stage for stage in (*STAGES, PAPER) if stage.name in wanted]
    head = {"minutes": asked.minutes, **record.machine(device), **card(device)}
    journal = Journal(asked.out, head)
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=asked.out))
    where = {"data_dir": asked.data_dir, "keep": asked.keep or asked.out, "records": asked.out / PAPER.name}
    setting = Setting(device=str(device), folder=folder, quick=asked.quick, **where)
    how = "by an error"
    before = signal.signal(signal.SIGTERM, _ended)
    try:
        run_stages(stages, setting, end, journal, apart=not asked.in_process)
        how = "after all stages"
    except KeyboardInterrupt:
        how = "early, interrupted"
    finally:
        signal.signal(signal.SIGTERM, before)
        journal.write_summary(how)
    print((asked.out / "summary.txt").read_text(encoding="utf-8"))
    return 1 if journal.of(False) or how != "after all stages" else 0


if __name__ == "__main__":
    sys.exit(run())
