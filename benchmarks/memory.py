"""The estimate of memory against measured peaks: a process for each case trains one step, evaluates and saves a checkpoint.

The record is reports/benchmarks/memory.json.

    python -m benchmarks.memory
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import record
from benchmarks.training_cases import VARIANTS, design, peak_bytes
from fastrcaps_dse import cores
from fastrcaps_dse.capsnet.memory import Load, evaluation_batch, training_bytes
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.data import DataSet, Split
from fastrcaps_dse.trainer import Training

LEAVE = 2 * 10**9  # bytes of the machine that no case takes


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run of one step."""

    side: int  # pixels
    channels: int
    classes: int
    batch: int  # images
    variant: str


def cases() -> list[Case]:
    """Sizes that differ in what needs the most memory."""
    sizes = [
        *((28, 1, 10, batch) for batch in (1, 16, 128)),
        (28, 3, 196, 32),
        (32, 3, 10, 128),
        *((64, 3, 10, batch) for batch in (1, 16, 64)),
        (64, 1, 196, 8),
        (128, 3, 10, 4),
        (128, 1, 196, 2),
        (227, 3, 10, 1),
        (227, 3, 196, 1),
        (227, 3, 196, 3),
    ]
    return [Case(side=s, channels=c, classes=k, batch=b, variant=v) for s, c, k, b in sizes for v in VARIANTS]


def estimate(case: Case) -> int:
    """The bytes that the product expects."""
    load = Load(point=design(case.variant, case.batch), shape=shape_of(case), batch=case.batch)
    return training_bytes(load, images_of(case))


def shape_of(case: Case) -> ImageShape:
    return ImageShape(channels=case.channels, height=case.side, width=case.side, classes=case.classes)


def images_of(case: Case) -> int:
    return max(case.batch, evaluated(case))


def evaluated(case: Case) -> int:
    """Images of the test: a batch of the evaluation, which for large pictures takes long: as few as the peak shows."""
    return evaluation_batch(design(case.variant, case.batch), shape_of(case))


def measure(case: Case, folder: Path) -> int:
    """The bytes that one step, an evaluation and a checkpoint add to the peak of this process."""
    shape = shape_of(case)
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        size = (count, shape.channels, shape.height, shape.width)
        images = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
        return Split(images=images, labels=torch.arange(count) % shape.classes)

    count = evaluated(case)
    dataset = DataSet(name="random", train=split(max(case.batch, count)), test=split(count), shape=shape)
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))  # loads the libraries
    before = peak_bytes("cpu")
    training = Training(
        design(case.variant, case.batch),
        0,
        dataset,
        epochs=1,
        protocol="paper",
        device=torch.device("cpu"),
        precision="float32",
    )
    few = Split(images=dataset.train.images[: case.batch], labels=dataset.train.labels[: case.batch])
    training.train_on(few, case.batch, [1e-3])
    training.accuracy(dataset.test)
    training.save(folder / "checkpoint")
    return peak_bytes("cpu") - before


def apart(case: Case) -> int | None:
    """The measurement in a process of its own; None where it failed."""
    command = [sys.executable, "-m", "benchmarks.memory", "--case", json.dumps(asdict(case))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout.split()[-1]) if done.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--sides", type=int, nargs="*", help="only images of these sides")
    asked = parser.parse_args()
    if asked.case:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(Case(**asked.case), Path(folder)))
        return
    rows: list[dict[str, Any]] = []
    for case in cases():
        if asked.sides and case.side not in asked.sides:
            continue
        expected = estimate(case)
        row = asdict(case) | {"estimated_mb": round(expected / 1e6)}
        if expected > cores.available_memory() - LEAVE:
            row["skipped"] = "does not fit this machine"
        elif (measured := apart(case)) is None:
            row["error"] = "the process failed"
        else:
            row |= {"measured_mb": round(measured / 1e6), "ratio": round(expected / measured, 2)}
        print(row, flush=True)
        rows.append(row)
    ratios = [row["ratio"] for row in rows if "ratio" in row]
    facts = {"cases": rows, "least_ratio": min(ratios), "largest_ratio": max(ratios)}
    if not asked.sides:
        print(record.write("memory", "benchmarks.memory", torch.device("cpu"), facts))


if __name__ == "__main__":
    main()
