"""The trainer against the plain yardstick: images a second, peak memory, seconds per 60,000-image epoch, evaluation.

Each (network variant, batch size) has one process for each form, so that memory is its own; the forms are timed in turn, the
same images through each. `make bench` runs it; the record is reports/benchmarks/training.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks import record
from benchmarks.yardstick import PlainCapsNet, PlainTraining
from fastrcaps_dse import data, trainer
from fastrcaps_dse.capsnet.network import build_network
from fastrcaps_dse.data import Split
from fastrcaps_dse.problem.schedules import FixedBatch, build_timeline, learning_rate
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.trainer import Training, epoch_images
from fastrcaps_dse.trainer.images import as_floats

VARIANTS = {"full": (False, "full"), "small": (False, "small"), "ws": (True, "full"), "ws+small": (True, "small")}
STEPS = {1: 30, 16: 6, 128: 2}  # of one timing on a CPU
EPOCH_IMAGES = 60_000
EVALUATED = 500  # images of one timing of the evaluation


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one process measures."""

    variant: str
    batch_size: int
    form: str  # "plain", or the precision of the trainer
    device: str
    steps: int


def design(variant: str, batch_size: int) -> DesignPoint:
    sharing, decoder = VARIANTS[variant]
    return DesignPoint(weight_sharing=sharing, decoder=decoder, batch_schedule=FixedBatch(size=batch_size))  # type: ignore[arg-type]


def prepare(case: Case) -> tuple[Callable[[], None], Callable[[], None], Callable[[int], str]]:
    """(train some steps, evaluate some images, profile some steps), each waiting for the device at its end."""
    device = torch.device(case.device)
    dataset = data.load("mnist-sample")
    few = case.batch_size * case.steps
    chosen = torch.arange(few) % len(dataset.train)
    images = Split(images=dataset.train.images[chosen], labels=dataset.train.labels[chosen]).to(device)
    shown = Split(images=dataset.test.images[:EVALUATED], labels=dataset.test.labels[:EVALUATED]).to(device)
    point = design(case.variant, case.batch_size)
    plain = case.form == "plain"
    if plain:
        network = build_network(point, dataset.shape)
        network.initialize(torch.Generator().manual_seed(0))
        whole = PlainTraining(PlainCapsNet(network).to(device))  # type: ignore[arg-type]
    run = None if plain else Training(point, 0, dataset, epochs=1, protocol="paper", device=device, precision=case.form)  # type: ignore[arg-type]
    line = build_timeline(point.batch_schedule, epochs=1, images=few)
    epoch = 0

    def train() -> None:
        nonlocal epoch
        epoch += 1
        shifted = epoch_images(images, 0, epoch, point.shift)
        rates = [learning_rate(point.lr_policy, step, line) for step in range(case.steps)]
        if run:
            run.train_on(shifted, case.batch_size, rates).tolist()
            return
        for step, rate in enumerate(rates):
            batch = slice(step * case.batch_size, (step + 1) * case.batch_size)
            whole.step(as_floats(shifted.images[batch]), shifted.labels[batch], rate)

    @torch.no_grad()
    def evaluate() -> None:
        if run:
            run.accuracy(shown)
            return
        for start in range(0, len(shown), case.batch_size):
            whole.network.scores(as_floats(shown.images[start : start + case.batch_size])).argmax(1).sum().item()

    def profile(rows: int) -> str:
        with torch.profiler.profile() as profiled:
            train()
        key = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
        return str(profiled.key_averages().table(sort_by=key, row_limit=rows, max_name_column_width=40))

    if run:
        run.warm_up(case.batch_size, steps=EPOCH_IMAGES // case.batch_size)
    return train, evaluate, profile


def peak_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    with open("/proc/self/status", encoding="ascii") as status:  # of this process alone; ru_maxrss counts its parent's too
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def serve(case: Case, channel: Connection) -> None:
    """Do what is asked and answer with the seconds it took."""
    train, evaluate, profile = prepare(case)
    acts: dict[str, Callable[[], Any]] = {
        "train": train,
        "evaluate": evaluate,
        "memory": lambda: peak_bytes(case.device),
        "profile": lambda: profile(14),
    }
    while (asked := channel.recv()) is not None:
        start = time.perf_counter()
        answer = acts[asked]()
        channel.send((time.perf_counter() - start, answer))


class Worker:
    """A process that serves one case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        context = multiprocessing.get_context("spawn")
        self.channel, other = context.Pipe()
        self.process = context.Process(target=serve, args=(case, other), daemon=True)
        self.process.start()

    def ask(self, what: str) -> tuple[float, Any]:
        self.channel.send(what)
        answer: tuple[float, Any] = self.channel.recv()
        return answer

    def stop(self) -> None:
        self.channel.send(None)
        self.process.join()


def measure(variant: str, batch_size: int, forms: list[str], device: str, rounds: int) -> list[dict[str, Any]]:
    """The rows of one variant and batch size: the forms in turn, `rounds` times."""
    on_cpu = device == "cpu"
    steps = STEPS.get(batch_size, 2) if on_cpu else max(30, 6000 // batch_size)
    workers = [
        Worker(
            Case(
                variant=variant,
                batch_size=batch_size,
                form=form,
                device=device,
                steps=steps if form != "plain" or on_cpu else 30,
            )
        )
        for form in forms
    ]
    rates: dict[str, list[float]] = {form: [] for form in forms}
    evaluation: dict[str, list[float]] = {form: [] for form in forms}
    for turn in range(rounds + 1):
        for worker in workers:
            seconds, _ = worker.ask("train")
            if turn:  # the first one warms up
                rates[worker.case.form].append(worker.case.batch_size * worker.case.steps / seconds)
    memory = {worker.case.form: worker.ask("memory")[1] for worker in workers}
    for turn in range(min(rounds, 3) + 1):
        for worker in workers:
            seconds, _ = worker.ask("evaluate")
            if turn:
                evaluation[worker.case.form].append(EVALUATED / seconds)
    profiles = {w.case.form: w.ask("profile")[1] for w in workers if variant == "full" and w.case.form != "plain"}
    for worker in workers:
        worker.stop()
    rows = []
    for form in forms:
        rate = record.spread(rates[form])
        row = {
            "variant": variant,
            "batch_size": batch_size,
            "form": form,
            "images_per_second": rate,
            "epoch_seconds": float(f"{EPOCH_IMAGES / rate['median']:.4g}"),
            "peak_memory_mb": round(memory[form] / 1e6),
            "evaluated_per_second": record.spread(evaluation[form]),
        }
        if form != "plain" and "plain" in forms:
            row["times_plain"] = record.spread([a / b for a, b in zip(rates[form], rates["plain"], strict=True)])
        if form in profiles:
            row["profile"] = profiles[form].splitlines()
        rows.append(row)
    return rows


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7, help="timings of each form")
    parser.add_argument("--batches", default="1,16,128")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--forms", help="of plain, float32, bfloat16; default: plain and what the trainer chooses")
    parser.add_argument("--name", default="training", help="of the record")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    forms = (asked.forms or f"plain,{trainer.choose_precision(device)}").split(",")
    rows = []
    limits = bounds()
    for batch_size in map(int, asked.batches.split(",")):
        for variant in asked.variants.split(","):
            for row in measure(variant, batch_size, forms, asked.device, asked.rounds):
                rows.append(row)
                print(json.dumps({k: v for k, v in row.items() if k != "profile"}), flush=True)
    print(record.write(asked.name, "benchmarks.training", device, {"bounds": limits, "rows": rows}))


if __name__ == "__main__":
    main()
