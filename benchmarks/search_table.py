"""Record a table of real runs, every epoch of 48 designs with 3 seeds, that searches are replayed on.

Each finished run is appended to reports/benchmarks/search-table.csv; the same command goes on where it was stopped. The
seconds of a step are measured apart, alone, by `benchmarks.step_times`.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from pathlib import Path

import torch

from benchmarks import record
from fastrcaps_dse import data, trainer
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict, parse_design
from fastrcaps_dse.trainer import Training

TABLE = record.PLACE / "search-table.csv"
DATASET, EPOCHS, SEEDS = "fashion-mnist-sample", 10, 3
POLICIES = ("fixed", "one-cycle", "warm-restarts")
SCHEDULES = ("16", "32", "128", "adabatch(head_batch=8,tail_batch=64)")
COLUMNS = ["lr_policy", "batch_schedule", "weight_sharing", "decoder", "seed", "epoch", "batch_size", "steps", "acc", "params"]


def designs() -> list[DesignPoint]:
    """The designs of the table."""
    grid = itertools.product(POLICIES, SCHEDULES, ("false", "true"), ("full", "small"))
    return [
        parse_design(f"lr_policy={policy} batch_schedule={schedule} weight_sharing={sharing} decoder={decoder}")
        for policy, schedule, sharing, decoder in grid
    ]


def recorded(path: Path) -> set[tuple[str, ...]]:
    """(design, seed) of each run of which every epoch is there."""
    if not path.exists():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        return {tuple(row[name] for name in COLUMNS[:5]) for row in csv.DictReader(file) if int(row["epoch"]) == EPOCHS}


def rows_of(point: DesignPoint, seed: int, dataset: data.DataSet, device: torch.device) -> list[list[str]]:
    """The epochs of one run."""
    precision = trainer.choose_precision(device)
    run = Training(point, seed, dataset, epochs=EPOCHS, protocol="paper", device=device, precision=precision)
    head = [*names_of(point), str(seed)]
    return [[*head, str(e.epoch), str(e.batch_size), str(e.steps), f"{e.acc:.2f}", str(run.params)] for e in run.epochs()]


def names_of(point: DesignPoint) -> list[str]:
    """The design in the first columns of the table."""
    plain = design_to_dict(point)
    return [str(plain[name]) for name in COLUMNS[:4]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--part", default="0/1", help="K/N: every N-th run from the K-th on, for N processes side by side")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    part, parts = map(int, asked.part.split("/"))
    dataset = data.load(DATASET)
    known = recorded(TABLE)
    if not TABLE.exists():
        with TABLE.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(COLUMNS)
    for number, (seed, point) in enumerate(itertools.product(range(SEEDS), designs())):
        if number % parts != part or (*names_of(point), str(seed)) in known:
            continue
        rows = rows_of(point, seed, dataset, device)
        with TABLE.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
        print(f"seed {seed} {point.label}: {max(float(row[8]) for row in rows)} %", flush=True)


if __name__ == "__main__":
    main()
