"""How long searches think: the seconds of each decision of `benchmarks.search`'s methods, in one process, on a quiet machine.

A decision is what happens between the end of a run, or of a run's step, and the request for the next one.
"""

from __future__ import annotations

import json
import statistics
from typing import Any

import torch

from benchmarks import record
from benchmarks.recorded import load_table
from benchmarks.search import chosen, options
from benchmarks.shares import truth_of
from benchmarks.tables import TABLES

PARTS = ("oracle", "pruning", "racing")  # of the names of methods that think like others, or not at all


def thought(seconds: list[float]) -> dict[str, Any]:
    """What the decisions took, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    return {
        "decisions": len(seconds),
        "ms": {"median": _ms(statistics.median(seconds)), "95 %": _ms(cuts[-1]), "max": _ms(max(seconds))},
        "seconds_in_all": round(sum(seconds), 2),
    }


def _ms(seconds: float) -> float:
    return float(f"{1000 * seconds:.3g}")


def main() -> None:
    asked = options().parse_args()
    torch.set_num_threads(1)
    path = record.PLACE / "search-think.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if asked.only and path.exists() else {}
    found: dict[str, Any] = {"searches": asked.searches}
    for name in asked.tables.split(","):
        table = load_table(TABLES[name], asked.seeds)
        truth = truth_of(table)
        found[name] = earlier.get(name, {}) | {"table": table.facts()}
        for method_name, method, count in chosen(asked, table):
            if any(part in method_name for part in PARTS):
                continue
            outcomes = [method.run(table, truth, seed) for seed in range(count)]
            found[name][method_name] = thought([seconds for outcome in outcomes for seconds in outcome.thinking])
            print(name, method_name, found[name][method_name], flush=True)
    print(record.write("search-think", "benchmarks.search_think", torch.device("cpu"), found))


if __name__ == "__main__":
    main()
