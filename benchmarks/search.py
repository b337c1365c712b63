"""Searches replayed on a table of real runs: training seconds spent against the hypervolume that is found.

`benchmarks.search_table` recorded the runs, `benchmarks.step_times` the seconds of their steps. A search asks for designs; the
replay answers with what the recorded run of that design and seed did, and counts the seconds. True values are the means over
the recorded seeds. Two shares of the hypervolume of all designs' true values are told (objectives scaled to the table's ranges, time
and parameters by their logarithm): that of the designs that were trained whole (`found`), and that of those among them which
the measurements put on the front (`reported`), from which the noise of a single seed takes some. Where seeds are raced, further
seeds go to designs of which it is open whether they are on the front.
"""

from __future__ import annotations

import argparse
import bisect
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks import record
from benchmarks.replay import Design, Replay, Told, at_random, guided, load_table, plain, race, spared_at_most, unrepeated
from fastrcaps_dse.problem.study_spec import Pruning

GOAL = 0.99  # of the table's hypervolume
POINTS, END = 120, 12_000.0  # of a drawn curve; s


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to search."""

    search: Callable[..., None]
    how: Mapping[str, Any] = field(default_factory=dict)
    sharing: bool = False
    pruning: Pruning = "off"
    racing: bool = False
    told: Told = "reached"

    def run(self, table: list[Design], seeds: int, seed: int) -> tuple[list[tuple[float, float, float]], float]:
        """(the trace of one search, its own seconds)."""
        began = time.perf_counter()
        replay = Replay(table=table, seeds=seeds, sharing=self.sharing, pruning=self.pruning, told=self.told)
        self.search(replay, seed, **self.how)
        if self.racing:
            race(replay, seed, seeds)
        return replay.trace, time.perf_counter() - began


def methods(trials: int, gp_trials: int) -> dict[str, Method]:
    """By name: Optuna's samplers as they are; without repeats and with what the explorer adds; the guide."""
    found = {
        f"optuna {sampler}": Method(search=plain, how={"sampler": sampler, "trials": gp_trials if sampler == "gp" else trials})
        for sampler in ("tpe", "nsga2", "gp", "random")
    }
    bases: dict[str, Method] = {
        name: Method(search=unrepeated, how={"sampler": name, "proposals": 3 if name == "gp" else 20})
        for name in ("tpe", "nsga2", "gp")
    }
    bases |= {"random": Method(search=at_random), "guided": Method(search=guided)}
    for name, base in bases.items():
        shared = replace(base, sharing=True)
        stopped = replace(shared, pruning="on")
        added = {"": base, ", sharing": shared, ", sharing, stopping": stopped}
        added |= {
            ", sharing, racing": replace(shared, racing=True),
            ", sharing, stopping, racing": replace(stopped, racing=True),
        }
        if name != "gp":  # which thinks long
            added[", sharing, safe"] = replace(shared, pruning="safe")
        if name in ("tpe", "nsga2", "guided"):  # random designs listen to nothing
            added |= {f", sharing, stopping, told {told}": replace(stopped, told=told) for told in ("nothing", "foreseen")}
        found |= {f"{name}, no repeats{what}": method for what, method in added.items()}
    return dict(sorted(found.items(), key=lambda item: "gp" in item[0]))  # what thinks longest comes last


def quartiles(traces: Sequence[Sequence[tuple[float, float, float]]], column: int) -> list[list[float]]:
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


def reached(trace: Sequence[tuple[float, float, float]], goal: float) -> float | None:
    """Seconds until the share found reaches the goal."""
    return next((seconds for seconds, found, _ in trace if found >= goal), None)


def summary(traces: list[list[tuple[float, float, float]]], own: Sequence[float]) -> dict[str, Any]:
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
    parser.add_argument("--seeds", type=int, default=3, help="recorded seeds that are used")
    parser.add_argument("--trials", type=int, default=300, help="of plain Optuna")
    parser.add_argument("--gp-trials", type=int, default=100, help="of Optuna's GP sampler, which thinks long")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="renew those methods of the record whose name has this in it")
    asked = parser.parse_args()
    table = load_table(asked.seeds)
    earlier = json.loads((record.PLACE / "search.json").read_text(encoding="utf-8"))["methods"] if asked.only else {}
    found: dict[str, Any] = {"designs": len(table), "searches": asked.searches}
    found |= {"share_of_training_that_stopping_could_spare_at_most": round(spared_at_most(table), 4), "methods": earlier}
    with ProcessPoolExecutor(asked.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for name, method in methods(asked.trials, asked.gp_trials).items():
            if asked.only not in name:
                continue
            searched = pool.map(partial(method.run, table, asked.seeds), range(asked.searches))
            traces, own = map(list, zip(*searched, strict=True))
            told = summary(traces, own)
            print(name, json.dumps(told), flush=True)
            found["methods"][name] = told | {"found": quartiles(traces, 1), "reported": quartiles(traces, 2)}
            record.write("search", "benchmarks.search", torch.device("cpu"), found)  # a long run: nothing is lost where it ends


if __name__ == "__main__":
    main()
