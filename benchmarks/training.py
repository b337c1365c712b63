"""The trainer against three yardsticks: images a second, seconds per 60,000-image epoch, peak memory, evaluation.

The yardsticks are a plain CapsNet, the same one compiled, and one as public ports write it (`benchmarks/yardstick.py`). Each
(network variant, batch size) has one process for each form, so that memory is its own; the forms are timed in turn, the same
images through each. `make bench` runs it; the record is reports/benchmarks/training.json.

    python -m benchmarks.training --device cuda --to-accuracy 99.4 --dataset mnist --data-dir data
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import record
from benchmarks.gpu_facts import card
from benchmarks.training_cases import EVALUATED, VARIANTS, ProcessLost
from benchmarks.training_goal import load_goal, seconds_to
from benchmarks.training_rows import measure
from benchmarks.yardstick import YARDSTICKS
from fastrcaps_dse import trainer


def bounds() -> dict[str, float]:
    """What this processor gives at most: matrix products and memory traffic, the best of several."""

    def best(act: Callable[[], object]) -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            act()
            times.append(time.perf_counter() - start)
        return min(times)

    found = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a = torch.randn(2048, 2048).to(kind)
        found[f"{name}_tflops"] = round(2 * 2048**3 / best(lambda a=a: a @ a) / 1e12, 3)  # type: ignore[misc]
    big, other = torch.empty(2**27), torch.ones(2**27)
    found["copy_gb_per_second"] = round(2 * 4 * 2**27 / best(lambda: big.copy_(other)) / 1e9, 1)
    return found


def default_forms(device: torch.device) -> list[str]:
    """The yardsticks and what the trainer chooses; on a GPU both precisions."""
    if device.type == "cuda":
        return [*YARDSTICKS, "float32", "bfloat16"]
    return [*YARDSTICKS, trainer.choose_precision(device)]


def rows_of(asked: argparse.Namespace, forms: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of all variants and batch sizes that were asked for; a line for what failed."""
    for batch_size in filter(None, asked.batches.split(",")):
        for variant in asked.variants.split(","):
            try:
                yield from measure(variant, int(batch_size), forms, asked.device, asked.rounds, evaluated=asked.evaluated)
            except ProcessLost as lost:
                yield {"variant": variant, "batch_size": int(batch_size), "failed": str(lost)}


def goals_of(asked: argparse.Namespace, forms: list[str]) -> Iterator[dict[str, Any]]:
    """The seconds of each form to the accuracy that was asked for."""
    if asked.to_accuracy is None:
        return
    point, dataset = load_goal(asked.dataset, asked.design, asked.data_dir)
    for form in forms:
        device = torch.device(asked.device)
        yield seconds_to(asked.to_accuracy, form, point, dataset, device, epochs=asked.epochs)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default="cpu")
    options.add_argument("--rounds", type=int, default=7, help="timings of each form")
    options.add_argument("--batches", default="1,16,128", help="batch sizes; empty for none")
    options.add_argument("--variants", default=",".join(VARIANTS))
    options.add_argument(
        "--forms", help="of plain, port, compiled, float32, bfloat16; default: the yardsticks and what the trainer chooses"
    )
    options.add_argument("--evaluated", type=int, default=EVALUATED, help="images of one timing of the evaluation")
    options.add_argument("--name", default="training", help="of the record")
    options.add_argument("--to-accuracy", type=float, metavar="PERCENT", help="also train whole runs until this test accuracy")
    options.add_argument("--dataset", default="mnist", help="of the whole runs")
    options.add_argument("--data-dir", type=Path, help="where it is")
    options.add_argument("--design", default="lr_policy=one-cycle batch_schedule=16", help="of the whole runs")
    options.add_argument("--epochs", type=int, default=12, help="of a whole run, at most")
    return options


def main() -> None:
    asked = parser().parse_args()
    device = trainer.choose_device(asked.device)
    forms = asked.forms.split(",") if asked.forms else default_forms(device)
    found: dict[str, Any] = {"card": card(device)} if device.type == "cuda" else {}
    found["bounds"] = bounds()
    for name, results in (("rows", rows_of(asked, forms)), ("to_accuracy", goals_of(asked, forms))):
        found[name] = []
        for row in results:
            found[name].append(row)
            print(json.dumps({k: v for k, v in row.items() if k != "profile"}), flush=True)
    print(record.write(asked.name, "benchmarks.training", device, found))


if __name__ == "__main__":
    main()
