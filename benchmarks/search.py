"""Searches replayed on tables of real runs: training seconds spent against the hypervolume that is found.

`benchmarks.search_table` recorded the runs, `benchmarks.step_times` the seconds of their steps. The product's own loop asks for
designs; an executor answers with what the recorded run of that design and seed did, and counts the seconds of each epoch. The share of
the hypervolume of all true values is recorded as it grows, see `benchmarks.shares`: `found`, of what was trained, and for whole runs
`reported`, of those designs among them that the measurements put on the front, which the noise of a single seed diminishes. Where
seeds are raced, further seeds go to designs whose membership of the front is uncertain.

Each table has two records, of whole runs and of the anytime view: `search.json` and `search-anytime.json` for the grid, and so on.
"""

from __future__ import annotations

import argparse
import bisect
import json
import math
import os
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks import record
from benchmarks.recorded import RecordedTable, load_table
from benchmarks.replay import Moment
from benchmarks.replay_others import spared_at_most
from benchmarks.search_methods import Method, Outcome, methods
from benchmarks.shares import Truth, View, truth_of
from benchmarks.tables import TABLES

GOALS = (0.9, 0.95, 0.99)  # of the table's hypervolume
POINTS = 100  # of a plotted curve
RECORDS = {
    ("grid", "whole"): "search",
    ("grid", "anytime"): "search-anytime",
    ("wide", "whole"): "search-wide",
    ("wide", "anytime"): "search-wide-anytime",
    ("lenet5", "whole"): "search-lenet5",
    ("lenet5", "anytime"): "search-lenet5-anytime",
}
CURVES: dict[View, str] = {"whole": "whole", "anytime": "anytime", "accurate": "anytime"}  # the record that a view is in


def quartiles(outcomes: Sequence[Outcome], view: View, *, begin: float, end: float) -> list[list[float]]:
    """[seconds, lower quartile, median, upper quartile] of the share found by several searches, evenly by the logarithm of time."""
    rows = []
    for step in range(POINTS + 1):
        at = begin * (end / begin) ** (step / POINTS)
        shares = [found_by(outcome.traces.get(view, []), at) for outcome in outcomes]
        cuts = statistics.quantiles(shares, n=4, method="inclusive") if len(shares) > 1 else shares * 3
        rows.append([round(at, 1), *(round(q, 4) for q in cuts)])
    return rows


def found_by(trace: Sequence[Moment], seconds: float) -> float:
    """The share that a search had found by then."""
    last = bisect.bisect_right([moment.seconds for moment in trace], seconds) - 1
    return trace[last].found if last >= 0 else 0.0


def reached(trace: Sequence[Moment], goal: float) -> float:
    """Seconds until the share found reaches the goal; infinite where it never does."""
    return next((moment.seconds for moment in trace if moment.found >= goal), math.inf)


def seconds_to(outcomes: Sequence[Outcome], view: View, goal: float) -> dict[str, Any]:
    """When the searches reach a goal: quartiles over all of them (None where a quartile never does), and how many do."""
    times = sorted(reached(outcome.traces.get(view, []), goal) for outcome in outcomes)
    last = len(times) - 1
    cuts = {"lower": times[last // 4], "median": statistics.median(times), "upper": times[last - last // 4]}
    told: dict[str, float | None] = {name: round(cut, 1) if math.isfinite(cut) else None for name, cut in cuts.items()}
    return told | {"reached": sum(map(math.isfinite, times))}


def summary(outcomes: Sequence[Outcome], view: View) -> dict[str, Any]:
    """What the searches of one method reached in a view."""
    last = [outcome.traces[view][-1] for outcome in outcomes]
    different = {tuple((moment.seconds, moment.found) for moment in outcome.traces[view]) for outcome in outcomes}
    told: dict[str, Any] = {"different_searches": len(different)}
    told |= {"seconds_to": {str(goal): seconds_to(outcomes, view, goal) for goal in GOALS}}
    told["found_at_the_end"] = record.spread([moment.found for moment in last], 4)
    if view == "whole":
        told["reported_at_the_end"] = record.spread([moment.reported for moment in last], 4)
    return told | {"seconds_in_all": record.spread([outcome.spent for outcome in outcomes], 4)}


@dataclass(kw_only=True)
class Records:
    """The two records of a table, which grow method by method: nothing is lost where a long run ends."""

    name: str  # of the table
    table: RecordedTable
    truth: Truth
    found: dict[str, dict[str, Any]] = field(default_factory=dict)  # by record

    def begin(self, *, renew: bool) -> None:
        """Start with what is certain of the table; with `renew`, keep the methods that are recorded."""
        for kind in ("whole", "anytime"):
            path = record.PLACE / f"{RECORDS[self.name, kind]}.json"
            earlier = json.loads(path.read_text(encoding="utf-8"))["methods"] if renew and path.exists() else {}
            facts: dict[str, Any] = {"table": self.table.facts() | {"seconds_of_steps_measured_on": steps_processor(self.name)}}
            if kind == "whole":
                facts["share_of_training_that_pruning_could_spare_at_most"] = round(spared_at_most(self.table), 4)
            self.found[kind] = facts | {"methods": earlier}

    def take(self, name: str, method: Method, outcomes: Sequence[Outcome]) -> None:
        """Take in the searches of a method, and write the records that they belong to."""
        begin, end = curves_span(self.table)
        for view in method.views:
            kept = self.found[CURVES[view]]["methods"].setdefault(name, {})
            if view != "accurate":  # which stands beside `anytime`
                kept.clear()
                kept["searches"] = len(outcomes)
            told = summary(outcomes, view)
            print(self.name, name, view, json.dumps(told), flush=True)
            kept[view] = told | {"curve": quartiles(outcomes, view, begin=begin, end=end)}
        for kind in {CURVES[view] for view in method.views}:
            record.write(RECORDS[self.name, kind], "benchmarks.search", torch.device("cpu"), self.found[kind])


def curves_span(table: RecordedTable) -> tuple[float, float]:
    """The seconds that curves are drawn over: from the shortest first epoch to four times a run of each design."""
    return min(design.seconds[0] for design in table.designs), 4 * sum(math.fsum(design.seconds) for design in table.designs)


def steps_processor(table: str) -> str:
    """The processor that the seconds of a table's steps were measured on."""
    path = record.PLACE / f"{TABLES[table].steps}.json"
    said: str = json.loads(path.read_text(encoding="utf-8"))["machine"]["processor"]
    return said


def chosen(asked: argparse.Namespace, table: RecordedTable) -> Iterator[tuple[str, Method, int]]:
    """(name, method, number of searches) of what is to be recorded."""
    for name, method in methods(table, asked.trials, asked.gp_trials).items():
        if asked.only in name:
            count = asked.gp_searches if method.thinks_long else asked.searches
            yield name, method, 1 if method.is_fixed else count


def options() -> argparse.ArgumentParser:
    """What the program may be asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default="grid,lenet5", help="which tables")
    parser.add_argument("--searches", type=int, default=30)
    parser.add_argument("--gp-searches", type=int, default=3, help="with Optuna's GP sampler, which thinks long")
    parser.add_argument("--seeds", type=int, help="recorded seeds that are used; all that every design has, unless stated")
    parser.add_argument("--trials", type=int, default=300, help="of plain Optuna on a grid")
    parser.add_argument("--gp-trials", type=int, default=60, help="of plain Optuna with its GP sampler")
    parser.add_argument(
        "--shuffle", action="store_true", help="the recorded seeds of each design in random order, so that all searches differ"
    )
    parser.add_argument("--only", default="", help="renew those methods of the records whose name has this in it")
    return parser


def main() -> None:
    parser = options()
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    with ProcessPoolExecutor(asked.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for name in asked.tables.split(","):
            table = load_table(TABLES[name], asked.seeds)
            truth = truth_of(table)
            assert truth.volumes and truth.whole and truth.stopped  # computed once, for all processes
            records = Records(name=name, table=table, truth=truth)
            records.begin(renew=bool(asked.only))
            for method_name, method, count in chosen(asked, table):
                run = partial(method.run, table, truth, shuffle=asked.shuffle)
                outcomes = [*pool.map(run, range(count))]
                records.take(method_name, method, outcomes)


if __name__ == "__main__":
    main()
