"""A training step beside other programs that compute: how OpenMP waits, how many threads it has, and what follows the load.

Each setting has a process of its own. In each round, beside none, one, two and four programs, all settings are timed in turn. The
fair share of a program beside k others is 1/(k+1) of the processor, so its step takes k+1 times as long as alone.
The record is reports/benchmarks/shared-cores.json.
"""

from __future__ import annotations

import torch  # isort: skip  (first, so that OpenMP starts with the environment of the setting)

import argparse
import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import record
from benchmarks.training_cases import chosen_algorithms
from fastrcaps_dse import cores, data
from fastrcaps_dse.capsnet.algorithms import Algorithms
from fastrcaps_dse.data import Split
from fastrcaps_dse.problem.schedules import FixedBatch
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.trainer import Training

SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "short wait": cores.SHORT_WAIT,
    "wait 2000": {"GOMP_SPINCOUNT": "2000"},
    "wait 50000": {"GOMP_SPINCOUNT": "50000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "product": cores.SHORT_WAIT,  # and the number of threads follows the load
}
LOADS = (0, 1, 2, 4)  # other programs
BATCHES = (1, 16, 128)
STEADY_SECONDS, TIMED_SECONDS = 0.5, 0.8  # of training before a timing, and of the timing, at least
MOST_BUSY_SECONDS = 600.0  # after which a busy program ends by itself


def serve(setting: str, algorithms: Algorithms, channel: Connection) -> None:
    """Answer each batch size with the seconds of a step."""
    device = torch.device("cpu")
    if setting != "product":
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # a set number does not follow the load
    dataset = data.load("mnist-sample")
    trainings = {}
    for size in BATCHES:
        point = DesignPoint(batch_schedule=FixedBatch(size=size))
        trainings[size] = Training(point, 0, dataset, epochs=1, protocol="paper", device=device, algorithms=algorithms)
    while (size := channel.recv()) is not None:
        training = trainings[size]
        images = Split(images=dataset.train.images[:size], labels=dataset.train.labels[:size])

        def steps(seconds: float, training: Training = training, images: Split = images, size: int = size) -> float:
            start, count = time.perf_counter(), 0
            while (passed := time.perf_counter() - start) < seconds or count == 0:
                training.train_on(images, size, [1e-4]).tolist()
                count += 1
            return passed / count

        steps(STEADY_SECONDS)
        channel.send(steps(TIMED_SECONDS))


def busy(seconds: float) -> None:
    """Compute on one core for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(10_000))


@contextmanager
def beside(count: int) -> Iterator[None]:
    """A context with so many busy programs."""
    spawn = multiprocessing.get_context("spawn")
    programs = [spawn.Process(target=busy, args=(MOST_BUSY_SECONDS,), daemon=True) for _ in range(count)]
    for program in programs:
        program.start()
    time.sleep(2.0 if programs else 0)  # they import this module first
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.join()


def start(setting: str, algorithms: Algorithms) -> tuple[Any, Connection]:
    """A process with this setting. All settings train with the same algorithms."""
    for name in (*cores.WAITING, *cores.THREADS):
        os.environ.pop(name, None)
    os.environ.update(SETTINGS[setting])
    spawn = multiprocessing.get_context("spawn")
    channel, other = spawn.Pipe()
    process = spawn.Process(target=serve, args=(setting, algorithms, other), daemon=True)
    process.start()
    for name in SETTINGS[setting]:
        del os.environ[name]
    return process, channel


def measure(settings: list[str], loads: list[int], batches: list[int], rounds: int) -> dict[tuple[int, int, str], list[float]]:
    """The seconds of a step by (other programs, batch size, setting), one for each round."""
    shape, cpu = data.load("mnist-sample").shape, torch.device("cpu")
    chosen = {n: a for size in batches for n, a in chosen_algorithms(shape, size, "float32", cpu).chosen.items()}
    workers = {setting: start(setting, Algorithms(chosen=chosen)) for setting in settings}
    found: dict[tuple[int, int, str], list[float]] = {}
    for turn, load in itertools.product(range(rounds), loads):
        with beside(load):
            for size, setting in itertools.product(batches, settings):
                channel = workers[setting][1]
                channel.send(size)
                found.setdefault((load, size, setting), []).append(channel.recv())
        print(f"round {turn + 1}, beside {load}", flush=True)
    for process, channel in workers.values():
        channel.send(None)
        process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--loads", default=",".join(map(str, LOADS)))
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--name", default="shared-cores", help="of the record")
    asked = parser.parse_args()
    settings = asked.settings.split(",")
    loads, batches = ([int(text) for text in option.split(",")] for option in (asked.loads, asked.batches))
    found = measure(settings, loads, batches, asked.rounds)
    rows = []
    for (load, size, setting), seconds in found.items():
        alone = statistics.median(found[loads[0], size, settings[0]])
        row = {"beside": load, "batch_size": size, "setting": setting, "ms": record.spread([1e3 * s for s in seconds])}
        row["fair_share"] = round((load + 1) * alone / statistics.median(seconds), 2)  # 1: as fast as is fair
        rows.append(row)
        print(f"beside {load}, batch {size:3}, {setting:12} {row['ms']} {row['fair_share']:.2f} of the fair share")
    print(record.write(asked.name, "benchmarks.shared_cores", torch.device("cpu"), {"rows": rows}))


if __name__ == "__main__":
    main()
