"""How often designs that are said to be on the front, with more than 95 % probability, are.

Twice. With the recorded table: two seeds are raced, the third is held out; as the front of one seed is noisy itself, the front of the
means over all seeds is recorded beside it. And with simulated noise, where the truth is given: the table's means are the truth, each
seed is a sample around them with the spread that the table's seeds have, and up to six seeds of a design are raced.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import record
from benchmarks.boards import MemoryBoard, run_row
from benchmarks.recorded import OBJECTIVES, RecordedTable, load_table
from benchmarks.replay import explored, raced
from benchmarks.tables import TABLES
from fastrcaps_dse.analysis.pareto import front
from fastrcaps_dse.analysis.uncertainty import OUT, SURE, standings
from fastrcaps_dse.problem.objectives import Measurement, costs_of
from fastrcaps_dse.search.protocols import Measured, Message, Request
from fastrcaps_dse.search.racing import Race

SEEDS, MOST = 3, 6  # recorded; raced for each design with simulated noise


def held_out(table: RecordedTable, search: int) -> Counter[str]:
    """Two recorded seeds are raced; against the third, and against all."""
    held = search % SEEDS
    kept = [s for s in range(SEEDS) if s != held]
    designs = tuple(replace(d, curves={k: d.curves[s] for k, s in enumerate(kept)}) for d in table.designs)
    found = raced(explored(replace(table, designs=designs), search, sampler="random"), search, SEEDS - 1).tally
    keys = [design.point.key for design in table.designs]
    sure = {
        keys.index(k) for k, s in zip(found.runs, standings([*found.runs.values()]), strict=True) if (s.on_front or 0) > SURE
    }
    of_held = {*front([d.cost(d.curves[held]) for d in table.designs])}
    of_means = {*front([d.true_cost() for d in table.designs])}
    return Counter(said=len(sure), of_one_seed=len(sure & of_held), of_the_means_of_all=len(sure & of_means))


@dataclass(frozen=True, kw_only=True)
class Noise:
    """An executor whose runs are samples around given costs [designs, objectives]."""

    truth: NDArray[np.float64]
    spread: NDArray[np.float64]  # standard deviation of a seed, by objective
    generator: np.random.Generator
    workers: int = 1

    def sample(self, trial: int) -> Measurement:
        """A run of a design."""
        costs = self.truth[trial] + self.spread * self.generator.standard_normal(len(self.spread))
        signs = (-1.0 if o.direction == "maximize" else 1.0 for o in OBJECTIVES)
        return Measurement(values={o.name: s * float(c) for o, s, c in zip(OBJECTIVES, signs, costs, strict=True)})

    def run(self, next_request: Callable[[], Request | None]) -> Iterator[Message]:
        """Answer each request with a sample."""
        while (request := next_request()) is not None:
            yield Measured(request=request, measurement=self.sample(request.trial))


def simulated(table: RecordedTable, search: int) -> Counter[str]:
    """Seeds sampled around given means are raced, by the product's own race."""
    runs = np.array(
        [[design.cost(curve) for curve in design.curves.values()] for design in table.designs]
    )  # [design, seed, cost]
    truth, spread = runs.mean(axis=1), np.sqrt(runs.var(axis=1, ddof=1).mean(axis=0))
    noise = Noise(truth=truth, spread=spread, generator=np.random.default_rng(search))
    first = [replace(run_row(k, k, d.point, 0), state="done", measurement=noise.sample(k)) for k, d in enumerate(table.designs)]
    board = MemoryBoard(target=0, told=first, runs=len(first))
    race = Race(board=board, objectives=OBJECTIVES, seeds=1, max_seeds=MOST, first_seed=0)
    race.run(noise)
    measured: dict[int, list[Measurement]] = {k: [] for k in range(len(table.designs))}
    for run in race.runs.values():
        if run.measurement is not None:
            measured[run.trial].append(run.measurement)
    costs = [[costs_of(OBJECTIVES, values.values) for values in runs] for runs in measured.values()]
    chances = [s.on_front or 0.0 for s in standings(costs)]
    members = {*front(truth.tolist())}
    sure = {i for i, chance in enumerate(chances) if chance > SURE}
    out = {i for i, chance in enumerate(chances) if chance < OUT}
    counts = Counter(
        said_to_be_on=len(sure), that_are=len(sure & members), said_not_to_be=len(out), that_are_not=len(out - members)
    )
    return counts + Counter(seeds=sum(map(len, costs)), designs=len(costs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=30)
    asked = parser.parse_args()
    table = load_table(TABLES["grid"], SEEDS)
    found = {}
    with ProcessPoolExecutor(None, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for name, measure, count in (("held_out_seed", held_out, SEEDS), ("simulated_noise", simulated, asked.searches)):
            found[name] = dict(sum(pool.map(partial(measure, table), range(count)), Counter())) | {"searches": count}
            print(name, found[name], flush=True)
    print(record.write("calibration", "benchmarks.calibration", torch.device("cpu"), found))


if __name__ == "__main__":
    main()
