"""How often designs that are said to be on the front, with more than 95 % probability, are.

Twice. With the recorded table: two seeds are raced, the third is held out; the front of one seed is itself noisy, so that of the
means over all seeds is told beside it. And with drawn noise, where the truth is known: the table's means are the truth, each
seed is a draw around them with the spread that the table's seeds have, and up to six seeds of a design are raced.
"""

from __future__ import annotations

import argparse
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch

from benchmarks import record
from benchmarks.replay import Design, Replay, at_random, load_table, race
from fastrcaps_dse.analysis.pareto import front
from fastrcaps_dse.analysis.uncertainty import OUT, SURE, next_to_seed, standings

SEEDS, MOST = 3, 6  # recorded; raced of each design where noise is drawn


def held_out(table: list[Design], search: int) -> Counter[str]:
    """Two recorded seeds are raced; against the third, and against all."""
    held = search % SEEDS
    kept = [s for s in range(SEEDS) if s != held]
    fewer = [replace(d, curves={k: d.curves[s] for k, s in enumerate(kept)}) for d in table]
    replay = Replay(table=fewer, seeds=SEEDS - 1, sharing=True)
    at_random(replay, search)
    race(replay, search, SEEDS - 1)
    sure = {i for i, s in zip(replay.whole, standings([*replay.whole.values()]), strict=True) if (s.on_front or 0) > SURE}
    alone = {*front([d.measured(d.curves[held]) for d in table])}
    means = {*front([d.true() for d in table])}
    return Counter(said=len(sure), of_one_seed=len(sure & alone), of_the_means_of_all=len(sure & means))


def drawn(table: list[Design], search: int) -> Counter[str]:
    """Seeds drawn around known means are raced, as a session does."""
    generator = np.random.default_rng(search)
    runs = np.array([[design.measured(curve) for curve in design.curves.values()] for design in table])  # [design, seed, cost]
    truth, spread = runs.mean(axis=1), np.sqrt(runs.var(axis=1, ddof=1).mean(axis=0))

    def seed(index: int) -> list[float]:
        found: list[float] = (truth[index] + spread * generator.standard_normal(truth.shape[1])).tolist()
        return found

    costs = [[seed(index)] for index in range(len(table))]
    while (index := next_to_seed(standings(costs, samples=500), MOST)) is not None:
        costs[index].append(seed(index))
    chances = [s.on_front or 0.0 for s in standings(costs)]
    members = {*front(truth.tolist())}
    sure = {i for i, chance in enumerate(chances) if chance > SURE}
    out = {i for i, chance in enumerate(chances) if chance < OUT}
    told = Counter(
        said_to_be_on=len(sure), that_are=len(sure & members), said_not_to_be=len(out), that_are_not=len(out - members)
    )
    return told + Counter(seeds=sum(map(len, costs)), designs=len(costs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=30)
    asked = parser.parse_args()
    table = load_table(SEEDS)
    found = {}
    with ProcessPoolExecutor(None, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for name, measure, count in (("held_out_seed", held_out, SEEDS), ("drawn_noise", drawn, asked.searches)):
            found[name] = dict(sum(pool.map(partial(measure, table), range(count)), Counter())) | {"searches": count}
            print(name, found[name], flush=True)
    print(record.write("calibration", "benchmarks.calibration", torch.device("cpu"), found))


if __name__ == "__main__":
    main()
