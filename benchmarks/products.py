"""How fast the matrix products inside a training step are, beside that of a large one: 2048 x 2048 x 2048 on the same threads.

Every product of a step is timed where it runs, in the steps of a real training, with its multiply-adds. `share` is the rate inside
the products (all their operations by all their seconds) by the rate of the large product, which is timed in turn with the steps.
`products` lists the kinds of products that take the most time. Also told: the part of a step that is spent in products.
The record is reports/benchmarks/products.json; --before adds what another checkout does.

    git worktree add ../before COMMIT
    python -m benchmarks.products --before ../before
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import record
from benchmarks.training_cases import chosen_algorithms
from fastrcaps_dse import data
from fastrcaps_dse.data import Split
from fastrcaps_dse.problem.schedules import FixedBatch
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.trainer import Training

STEPS = {1: 20, 16: 6, 128: 2}  # of one timing
LARGE = 2048
LISTED = 6  # kinds of products of each row
aten = torch.ops.aten
PRODUCTS = (aten.mm, aten.bmm, aten.addmm, aten.addmm_, aten.baddbmm, aten.baddbmm_)


class Stopwatch(TorchDispatchMode):
    """Seconds and operations of each kind of product, while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])  # operations, seconds, calls

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        start = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        seconds = time.perf_counter() - start
        if func.overloadpacket in PRODUCTS:
            a, b = [x for x in args if isinstance(x, Tensor)][-2:]
            batches = a.shape[0] if a.dim() == 3 else 1
            m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
            form = f"{'t' if a.stride(-1) != 1 else 'n'}{'t' if b.stride(-1) != 1 else 'n'}"
            entry = self.found[f"{func.overloadpacket.__name__} {batches} x {m} x {k} x {n} {form}"]
            for index, value in enumerate((2.0 * batches * m * k * n, seconds, 1)):
                entry[index] += value
        return result


def seconds_of(act: Callable[[], object]) -> float:
    """The seconds of one call."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def design(shared: bool, batch_size: int) -> DesignPoint:
    """A design of full decoder and one batch size."""
    return DesignPoint(weight_sharing=shared, batch_schedule=FixedBatch(size=batch_size))


def measure(shared: bool, batch_size: int, rounds: int, *, choose: bool) -> dict[str, Any]:
    """The row of one network variant and batch size."""
    dataset, steps = data.load("mnist-sample"), STEPS.get(batch_size, 2)
    cpu = torch.device("cpu")
    more: dict[str, Any] = {"algorithms": chosen_algorithms(dataset.shape, batch_size, "float32", cpu)} if choose else {}
    training = Training(design(shared, batch_size), 0, dataset, epochs=1, protocol="paper", device=cpu, **more)
    few = slice(0, batch_size * steps)
    images = Split(images=dataset.train.images[few], labels=dataset.train.labels[few])
    a, b, out = (torch.randn(LARGE, LARGE) for _ in range(3))

    def train() -> None:
        training.train_on(images, batch_size, [1e-4] * steps).tolist()

    train()
    watch = Stopwatch()
    whole, inside, large = [], [], []
    for _ in range(rounds):
        large.append(min(seconds_of(lambda: torch.mm(a, b, out=out)) for _ in range(2)))
        whole.append(seconds_of(train))
        before = sum(seconds for _, seconds, _ in watch.found.values())
        with watch:
            train()
        inside.append(sum(seconds for _, seconds, _ in watch.found.values()) - before)
    operations = sum(found for found, _, _ in watch.found.values()) / rounds
    large_rate = 2 * LARGE**3 / statistics.median(large)
    rates = [operations / seconds for seconds in inside]
    slowest = sorted(watch.found.items(), key=lambda item: -item[1][1])[:LISTED]
    return {
        "variant": "ws" if shared else "full",
        "batch_size": batch_size,
        "algorithm": more["algorithms"].of(batch_size, torch.float32) if more else "default",
        "step_ms": record.spread([1e3 * seconds / steps for seconds in whole]),
        "in_products": round(statistics.median(inside) / statistics.median(whole), 2),
        "gflops": record.spread([rate / 1e9 for rate in rates]),
        "large_gflops": round(large_rate / 1e9, 1),
        "share": record.spread([rate / large_rate for rate in rates]),
        "products": {
            kind: {
                "ms_per_step": round(1e3 * s / rounds / steps, 2),
                "calls": round(calls / rounds / steps),
                "gflops": round(n / s / 1e9),
            }
            for kind, (n, s, calls) in slowest
        },
    }


def rows_of(asked: argparse.Namespace, *, choose: bool) -> list[dict[str, Any]]:
    """The rows of all batch sizes and variants."""
    sizes = [int(size) for size in asked.batches.split(",")]
    return [measure(shared, size, asked.rounds, choose=choose) for size in sizes for shared in (False, True)]


def rows_before(root: Path) -> list[dict[str, Any]]:
    """The rows of another checkout, by this program with its package."""
    command = [sys.executable, __file__, *(a for a in sys.argv[1:] if a not in ("--before", str(root))), "--rows"]
    said = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(root)}, cwd=root, stdout=subprocess.PIPE, text=True, check=True
    )
    rows: list[dict[str, Any]] = json.loads(said.stdout)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", default="1,16,128")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--before", help="a checkout to compare with")
    parser.add_argument("--rows", action="store_true", help="print the rows of the default algorithms, and write no record")
    asked = parser.parse_args()
    if asked.rows:
        print(json.dumps(rows_of(asked, choose=False)))
        return
    found = {"before": rows_before(Path(asked.before))} if asked.before else {}
    found["rows"] = rows_of(asked, choose=True)
    for name, rows in found.items():
        for row in rows:
            print(name, json.dumps({k: v for k, v in row.items() if k != "products"}))
    print(record.write("products", "benchmarks.products", torch.device("cpu"), found))


if __name__ == "__main__":
    main()
