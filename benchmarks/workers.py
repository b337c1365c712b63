"""Runs side by side on a processor: images a second of 1, 2, ... workers, each with its share of the threads.

All numbers of workers are timed in turn; the workers of a number train at the same time. The record is reports/benchmarks/workers.json.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import time
from multiprocessing.connection import Connection

import torch

from benchmarks import record
from fastrcaps_dse import data, trainer
from fastrcaps_dse.data import Split
from fastrcaps_dse.problem.schedules import FixedBatch
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.trainer import Training

BATCHES = (1, 16, 128)
STEADY_SECONDS = 1.0  # of training before a timing


def serve(workers: int, channel: Connection) -> None:
    """Train with the share of one of so many workers: for (batch size, seconds), the images that were trained a second."""
    trainer.take_share(workers)
    dataset = data.load("mnist-sample")
    trainings: dict[int, Training] = {}
    while (asked := channel.recv()) is not None:
        size, seconds = asked
        images = Split(images=dataset.train.images[:size], labels=dataset.train.labels[:size])
        if size not in trainings:
            point = DesignPoint(batch_schedule=FixedBatch(size=size))
            trainings[size] = Training(point, 0, dataset, epochs=1, protocol="paper", device=torch.device("cpu"))
        done, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < STEADY_SECONDS + seconds:
            trainings[size].train_on(images, size, [1e-4]).tolist()
            done += size * (passed >= STEADY_SECONDS)
        channel.send(done / (time.perf_counter() - start - STEADY_SECONDS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a timing")
    parser.add_argument("--most", type=int, default=trainer.all_threads(), help="workers")
    asked = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    groups: dict[int, list[Connection]] = {}
    for count in range(1, asked.most + 1):
        pairs = [spawn.Pipe() for _ in range(count)]
        for _, theirs in pairs:
            spawn.Process(target=serve, args=(count, theirs), daemon=True).start()
        groups[count] = [ours for ours, _ in pairs]
    rates: dict[tuple[int, int], list[float]] = {}
    for _, size, (count, channels) in itertools.product(range(asked.rounds), BATCHES, groups.items()):
        for channel in channels:
            channel.send((size, asked.seconds))
        rates.setdefault((size, count), []).append(sum(channel.recv() for channel in channels))
    for channel in itertools.chain(*groups.values()):
        channel.send(None)
    rows = []
    for (size, count), found in rates.items():
        ratios = [a / b for a, b in zip(found, rates[size, 1], strict=True)]
        row = {"batch_size": size, "workers": count, "threads_each": max(1, trainer.all_threads() // count)}
        rows.append(row | {"images_per_second": record.spread(found), "times_one_worker": record.spread(ratios)})
        print(rows[-1])
    print(record.write("workers", "benchmarks.workers", torch.device("cpu"), {"rows": rows}))


if __name__ == "__main__":
    main()
