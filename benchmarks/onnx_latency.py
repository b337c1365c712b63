"""Milliseconds to classify one image, and 64: the trained form of a network against its exported files.

The record, reports/benchmarks/onnx-latency.json, has networks for 28x28 images. Every form has the same weights and classifies the same
images. Each is loaded, timed and closed before the next, because the idle threads of ONNX Runtime spin and would slow torch. The forms
take turns block by block, so that a busy moment of the machine meets several of them.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import record
from fastrcaps_dse import data
from fastrcaps_dse.capsnet.network import build_network
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.export import files, runtimes
from fastrcaps_dse.export.plain import Classifier, plain_form
from fastrcaps_dse.problem.space import DesignPoint

DESIGNS = {
    "full": DesignPoint(),
    "weight sharing": DesignPoint(weight_sharing=True, decoder="small"),
    "lenet5": DesignPoint(network="lenet5"),
}
BATCHES = (1, 64)
BLOCKS = 3
Form = Callable[[Tensor], Any]


def makers(point: DesignPoint, shape: ImageShape, folder: Path) -> dict[str, Callable[[], Form]]:
    """What loads each form, by name: a form classifies uint8 images [B, C, H, W]."""
    network = build_network(point, shape)
    network.initialize(torch.Generator().manual_seed(0))
    network.eval()
    plain = plain_form(network)
    program = files.make_program(Classifier(network, "uint8"), shape)
    files.write_program(folder / "m.pt2", program, {})
    files.write_onnx(folder / "m.onnx", program, {})
    files.write_int8(folder / "m8.onnx", folder / "m.onnx")
    return {
        "trained form": lambda: lambda images: network.scores(images.float() / 255),
        "plain form": lambda: lambda images: plain(images.float() / 255),
        "torch.export": lambda: runtimes.load_program(folder / "m.pt2"),
        "ONNX Runtime": lambda: runtimes.load_onnx(folder / "m.onnx"),
        "ONNX Runtime, 8 bits": lambda: runtimes.load_onnx(folder / "m8.onnx"),
    }


@torch.no_grad()
def measure(made: dict[str, Callable[[], Form]], images: Tensor, calls: int) -> dict[str, list[float]]:
    """Seconds of each call of each form, in blocks of `calls`."""
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(BLOCKS):
        for name, make in made.items():
            form = make()
            for call in range(calls + 2):
                start = time.perf_counter()
                form(images)
                if call >= 2:  # the first calls prepare
                    seconds[name].append(time.perf_counter() - start)
            del form  # its threads end
            gc.collect()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=30, help="of a block, with one image; a sixth of them with 64")
    asked = parser.parse_args()
    dataset = data.load("mnist-sample")
    found: dict[str, Any] = {}
    for name, point in DESIGNS.items():
        with tempfile.TemporaryDirectory() as folder:
            made = makers(point, dataset.shape, Path(folder))
            for batch in BATCHES:
                seconds = measure(made, dataset.test.images[:batch], asked.calls if batch == 1 else max(3, asked.calls // 6))
                one = {form: record.spread([1e3 * s for s in each]) for form, each in seconds.items()}
                ours = statistics.median(seconds["trained form"])
                ratio = {form: round(ours / statistics.median(each), 2) for form, each in seconds.items()}
                found[f"{name}, batch {batch}"] = {"milliseconds": one, "times_as_fast_as_the_trained_form": ratio}
                print(name, batch, {form: spread["median"] for form, spread in one.items()}, flush=True)
    versions = {package: __import__(package).__version__ for package in files.ONNX_PACKAGES}
    print(record.write("onnx-latency", "benchmarks.onnx_latency", torch.device("cpu"), {"versions": versions, "forms": found}))


if __name__ == "__main__":
    main()
