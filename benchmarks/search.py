"""Searches replayed on a table of real runs: training seconds spent against the hypervolume that is found.

`benchmarks.search_table` recorded the runs, `benchmarks.step_times` the seconds of their steps. The product's own loop asks for
designs; an executor answers with what the recorded run of that design and seed did, and counts the seconds. True values are the
means over the recorded seeds. Two shares of the hypervolume of all designs' true values are recorded (objectives scaled to the table's
ranges, time and parameters by their logarithm): `found`, of the designs that were trained whole, and `reported`, of those among them
that the measurements put on the front, which the noise of a single seed diminishes. Where seeds are raced, further seeds go to designs
whose membership of the front is uncertain.
"""

from __future__ import annotations

import argparse
import bisect
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks import record
from benchmarks.replay import Recorded, Table, explored, load_table, oracle, plain_optuna, raced, spared_at_most
from fastrcaps_dse.problem.study_spec import Pruning, Sampler

GOAL = 0.99  # of the table's hypervolume
POINTS, END = 120, 12_000.0  # of a plotted curve; s
PRUNING: tuple[Pruning, ...] = ("safe", "on")
SAMPLERS: tuple[Sampler, ...] = ("guided", "tpe", "nsga2", "random", "gp")
Trace = Sequence[tuple[float, float, float]]
"""(seconds spent, share found, share reported) after each run."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to search."""

    search: Callable[[Sequence[Recorded], int, int], Table]  # (table, recorded seeds, seed of the search)
    racing: bool = False

    def run(self, table: Sequence[Recorded], seeds: int, seed: int) -> tuple[Trace, float]:
        """(the trace of one search, its own seconds)."""
        began = time.perf_counter()
        executor = self.search(table, seeds, seed)
        if self.racing:
            raced(executor, seed, seeds)
        return executor.trace, time.perf_counter() - began


def methods(trials: int, gp_trials: int) -> dict[str, Method]:
    """By name: plain Optuna; the product with each sampler, with pruning and with racing; an oracle."""
    found: dict[str, Method] = {"oracle": Method(search=oracle)}
    for sampler in ("tpe", "nsga2", "random", "gp"):
        count = gp_trials if sampler == "gp" else trials
        found[f"optuna {sampler}"] = Method(search=partial(plain_optuna, sampler=sampler, trials=count))
    for sampler in SAMPLERS:
        search = partial(explored, sampler=sampler)
        found[f"explore {sampler}"] = Method(search=search)
        if sampler == "gp":  # which thinks long
            continue
        pruned = {mode: partial(explored, sampler=sampler, pruning=mode) for mode in PRUNING}
        found[f"explore {sampler}, pruning on"] = Method(search=pruned["on"])
        found[f"explore {sampler}, racing"] = Method(search=search, racing=True)
        if sampler == "guided":
            found[f"explore {sampler}, pruning safe"] = Method(search=pruned["safe"])
            found[f"explore {sampler}, pruning on, racing"] = Method(search=pruned["on"], racing=True)
    return dict(sorted(found.items(), key=lambda item: "gp" in item[0]))


def quartiles(traces: Sequence[Trace], column: int) -> list[list[float]]:
    """[seconds, lower quartile, median, upper quartile] of a share over the training seconds of several searches."""
    end = max(trace[-1][0] for trace in traces)
    rows = []
    for step in range(1, POINTS + 1):
        at = END * step / POINTS
        shares = []
        for trace in traces:
            last = bisect.bisect_right([t[0] for t in trace], at) - 1
            shares.append(trace[last][column] if last >= 0 else 0.0)
        rows.append([round(at, 1), *(round(q, 4) for q in statistics.quantiles(shares, n=4, method="inclusive"))])
        if at > end:
            break
    return rows


def reached(trace: Trace, goal: float) -> float | None:
    """Seconds until the share found reaches the goal."""
    return next((seconds for seconds, found, _ in trace if found >= goal), None)


def summary(traces: Sequence[Trace], own: Sequence[float]) -> dict[str, Any]:
    """What the searches of one method reached; `own` seconds that each of them took itself."""
    times = [reached(trace, GOAL) for trace in traces]
    reaching = [t for t in times if t is not None]
    ranked = statistics.median(math.inf if t is None else t for t in times)
    return {
        "seconds_to_goal": record.spread(reaching, 4) if reaching else None,
        "searches_that_reach_it": len(reaching),
        "median_seconds_of_all_searches": None if math.isinf(ranked) else round(ranked),
        "found_at_the_end": record.spread([trace[-1][1] for trace in traces], 4),
        "reported_at_the_end": record.spread([trace[-1][2] for trace in traces], 4),
        "seconds_in_all": record.spread([trace[-1][0] for trace in traces], 4),
        "overhead_seconds_a_trial": round(math.fsum(own) / sum(map(len, traces)), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=30)
    parser.add_argument("--gp-searches", type=int, default=30, help="with Optuna's GP sampler, which thinks long")
    parser.add_argument("--seeds", type=int, default=3, help="recorded seeds that are used")
    parser.add_argument("--trials", type=int, default=300, help="of plain Optuna")
    parser.add_argument("--gp-trials", type=int, default=60, help="of plain Optuna with its GP sampler")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="renew those methods of the record whose name has this in it")
    asked = parser.parse_args()
    table = load_table(asked.seeds)
    earlier = json.loads((record.PLACE / "search.json").read_text(encoding="utf-8"))["methods"] if asked.only else {}
    found: dict[str, Any] = {"designs": len(table)}
    found |= {"share_of_training_that_pruning_could_spare_at_most": round(spared_at_most(table), 4), "methods": earlier}
    with ProcessPoolExecutor(asked.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for name, method in methods(asked.trials, asked.gp_trials).items():
            if asked.only not in name:
                continue
            searches = range(asked.gp_searches if name.split(",")[0].endswith("gp") else asked.searches)
            traces, own = zip(*pool.map(partial(method.run, table, asked.seeds), searches), strict=True)
            told = summary(traces, own)
            print(name, json.dumps(told), flush=True)
            curves = {"found": quartiles(traces, 1), "reported": quartiles(traces, 2)} if len(searches) > 1 else {}
            found["methods"][name] = {"searches": len(searches)} | told | curves
            record.write("search", "benchmarks.search", torch.device("cpu"), found)  # a long run: nothing is lost where it ends


if __name__ == "__main__":
    main()
