"""The estimate of memory against measured peaks: a process for each case trains one step, evaluates and saves a checkpoint.

It writes reports/benchmarks/memory.json; with `--sides 28 64` it measures those images alone, and writes nothing.

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
from benchmarks.training_cases import design, peak_bytes
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
    """Sizes and variants that differ in what needs the most memory."""
    rows = [
        (17, 1, 3, 1, "ws"),
        (28, 1, 10, 1, "full"),
        (28, 1, 10, 16, "ws+small"),
        (28, 1, 10, 128, "small"),
        (28, 3, 196, 32, "full"),
        (28, 3, 196, 32, "ws"),
        (32, 3, 10, 128, "full"),
        (64, 3, 10, 1, "ws"),
        (64, 3, 10, 16, "full"),
        (64, 1, 196, 8, "ws"),
        (64, 3, 10, 64, "ws+small"),
        (128, 3, 10, 4, "full"),
        (128, 3, 10, 4, "ws"),
        (227, 3, 196, 1, "ws+small"),
        (227, 3, 196, 3, "ws"),
        (227, 3, 10, 1, "full"),
        (227, 3, 196, 1, "full"),
    ]
    return [Case(side=s, channels=c, classes=k, batch=b, variant=v) for s, c, k, b, v in rows]


def estimate(case: Case) -> int:
    """The bytes that the product expects."""
    load = Load(point=design(case.variant, case.batch), shape=shape_of(case), batch=case.batch)
    return training_bytes(load, images_of(case))


def shape_of(case: Case) -> ImageShape:
    """The images of a case."""
    return ImageShape(channels=case.channels, height=case.side, width=case.side, classes=case.classes)


def images_of(case: Case) -> int:
    """How many images train: as many as are evaluated, at least."""
    return max(case.batch, evaluated(case))


def evaluated(case: Case) -> int:
    """Images of the test: one batch of the evaluation."""
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
