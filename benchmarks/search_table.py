"""Record a table of real runs, every epoch of its designs with 3 seeds, that searches are replayed on.

`--table grid` is reports/benchmarks/search-table.csv, `--table lenet5` search-table-lenet5.csv; see `benchmarks.tables`. Each finished
run is appended at once, the first seed of all designs before the second. The program can be stopped at any moment, also by a kill: the same
command goes on after the last epoch that was trained, from a checkpoint in build/. The seconds of a step are measured apart, alone, by
`benchmarks.step_times`.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.tables import TABLES, TablePlan
from fastrcaps_dse import data, trainer
from fastrcaps_dse.errors import RunFailed
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict
from fastrcaps_dse.trainer import Epoch, Training

COLUMNS = ["lr_policy", "batch_schedule", "weight_sharing", "decoder", "seed", "epoch", "batch_size", "steps", "acc", "params"]
PARTIAL = Path(__file__).parent.parent / "build" / "search-table"  # checkpoints of runs under way

Row = list[str]
MakeTraining = Callable[[DesignPoint, int], Training]


def names_of(point: DesignPoint) -> list[str]:
    """The design in the first columns of the table."""
    plain = design_to_dict(point)
    return [str(plain[name]) for name in COLUMNS[:4]]


def recorded(path: Path, epochs: int) -> set[tuple[str, ...]]:
    """(design, seed) of each run of which every epoch is there."""
    if not path.exists():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        return {tuple(row[name] for name in COLUMNS[:5]) for row in csv.DictReader(file) if int(row["epoch"]) == epochs}


def append(path: Path, rows: Sequence[Row]) -> None:
    """Append rows to the table by one write, so that a kill leaves all of them or none; a new table begins with its columns."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    if not path.exists():
        table.writerow(COLUMNS)
    table.writerows(rows)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, text.getvalue().encode())
    finally:
        os.close(file)


@dataclass(frozen=True, kw_only=True)
class Partial:
    """The files of a run under way: its rows so far, and a checkpoint of at most as many epochs."""

    rows: Path
    checkpoint: Path

    def resume(self, run: Training) -> list[Row]:
        """Continue the run after its last checkpoint, if there is one; the rows of the epochs up to it."""
        with suppress(trainer.CheckpointError, OSError, ValueError):
            rows: list[Row] = json.loads(self.rows.read_text(encoding="utf-8"))
            run.load(self.checkpoint)
            if len(rows) >= run.done:
                return rows[: run.done]
            run.reset()
        return []

    def keep(self, run: Training, rows: Sequence[Row]) -> None:
        """Keep what is there after an epoch. The rows come first: a checkpoint is never ahead of them."""
        self.rows.parent.mkdir(parents=True, exist_ok=True)
        new = self.rows.with_suffix(".new")
        new.write_text(json.dumps(list(rows)), encoding="utf-8")
        os.replace(new, self.rows)
        run.save(self.checkpoint)

    def drop(self) -> None:
        """Delete the files of a run that is recorded."""
        for path in (self.checkpoint, self.rows):
            path.unlink(missing_ok=True)


def partial_of(plan: TablePlan, point: DesignPoint, seed: int) -> Partial:
    """Where a run under way is kept."""
    name = hashlib.blake2b(f"{plan.name} {point.key} {seed}".encode(), digest_size=8).hexdigest()
    return Partial(rows=PARTIAL / f"{name}.json", checkpoint=PARTIAL / f"{name}.safetensors")


def train(run: Training, partial: Partial) -> list[Row]:
    """The rows of a run, which goes on where an earlier process left it. Raises RunFailed."""
    rows = partial.resume(run)
    for epoch in run.epochs():
        rows.append(_row(run, epoch))
        if run.done < run.timeline.epochs:
            partial.keep(run, rows)
    return rows


def _row(run: Training, epoch: Epoch) -> Row:
    facts = (epoch.epoch, epoch.batch_size, epoch.steps, f"{epoch.acc:.2f}", run.params)
    return [*names_of(run.point), str(run.seed), *map(str, facts)]


def make_training(plan: TablePlan, device: torch.device) -> MakeTraining:
    """Makes the runs of a table, which select on the test set, as the paper does."""
    dataset = data.load(plan.dataset)
    precision = trainer.choose_precision(device)

    def make(point: DesignPoint, seed: int) -> Training:
        return Training(point, seed, dataset, epochs=plan.epochs, protocol="paper", device=device, precision=precision)

    return make


def record_table(plan: TablePlan, make: MakeTraining, *, part: int = 0, parts: int = 1, most: int | None = None) -> int:
    """Train and append the runs that are missing, every `parts`-th from the `part`-th on; at most so many. How many there were."""
    there = recorded(plan.csv, plan.epochs)
    done = 0
    for number, (seed, point) in enumerate(itertools.product(range(plan.seeds), plan.designs())):
        if number % parts != part or (*names_of(point), str(seed)) in there:
            continue
        if done == most:
            break
        partial = partial_of(plan, point, seed)
        try:
            rows = train(make(point, seed), partial)
        except RunFailed as error:  # its design stays out of the table
            print(f"seed {seed} {point.label}: {error}", flush=True)
            continue
        append(plan.csv, rows)
        partial.drop()
        done += 1
        print(f"{number + 1}: seed {seed} {point.label}: {max(float(row[8]) for row in rows)} %", flush=True)
    return done


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", choices=[*TABLES], default="grid")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--part", default="0/1", help="K/N: every N-th run from the K-th on, for N processes side by side")
    parser.add_argument("--most", type=int, help="runs to record at most now")
    asked = parser.parse_args()
    plan = TABLES[asked.table]
    part, parts = map(int, asked.part.split("/"))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        record_table(plan, make_training(plan, torch.device(asked.device)), part=part, parts=parts, most=asked.most)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
