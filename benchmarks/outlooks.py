"""Whether the outlook is right: the expected gain of the next seconds of training, beside what these seconds then gave.

Guided searches go over the recorded table; at several moments the outlook says what it expects of the seconds
that follow, and the search goes on. Gains are shares of the hypervolume of what was found up to then, by true values.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmarks import record
from benchmarks.boards import MemoryBoard
from benchmarks.recorded import RecordedTable, load_table
from benchmarks.replay import forecaster, make_replay
from benchmarks.tables import TABLES
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.candidates import Guided
from fastrcaps_dse.search.explorer import Explorer
from fastrcaps_dse.search.history import History
from fastrcaps_dse.search.optuna_storage import quiet_optuna

EVERY = 4  # trials between two looks
AHEAD = 300.0  # s of training that the outlook speaks of


@dataclass(kw_only=True)
class Watched:
    """The guided proposer, and what it expects now and then."""

    guided: Guided
    expected: dict[int, float] = field(default_factory=dict)  # by finished trials

    def propose(self, history: History) -> DesignPoint | None:
        """What the guided search proposes."""
        count = len(history.finished)
        if count >= 2 * EVERY and count % EVERY == 0 and count not in self.expected:
            seen = self.guided.outlook(history, AHEAD)
            if seen is not None and seen.designs:
                self.expected[count] = seen.gain
        return self.guided.propose(history)


def compared(table: RecordedTable, seed: int) -> list[tuple[int, float, float]]:
    """(trials, expected gain, gain of the seconds that followed) at several moments of one search."""
    quiet_optuna()
    executor = make_replay(table)
    spec = StudySpec(name="replay", space=table.space, epochs=table.epochs, trials=len(table.designs), seed=seed)
    watched = Watched(guided=Guided(spec=spec, forecast=forecaster(executor.truth)))
    Explorer(spec=spec, board=MemoryBoard(target=len(table.designs)), proposers=[watched]).run(executor)
    found = []
    trace = executor.tally.traces["whole"]
    for count, expected in watched.expected.items():
        began = trace[count - 1]
        later = [moment.found for moment in trace if moment.seconds <= began.seconds + AHEAD]
        if trace[-1].seconds >= began.seconds + AHEAD:  # there was so much left to train
            found.append((count, expected, later[-1] / began.found - 1.0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="recorded seeds, one search with each")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    table = load_table(TABLES["grid"], asked.seeds)
    rows = [row for seed in range(asked.seeds) for row in compared(table, seed)]
    expected, given = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    found: dict[str, Any] = {
        "seconds_ahead": AHEAD,
        "looks": len(rows),
        "mean_expected_gain": round(float(expected.mean()), 4),
        "mean_gain": round(float(given.mean()), 4),
        "rank_correlation": round(float(np.corrcoef(expected.argsort().argsort(), given.argsort().argsort())[0, 1]), 3),
        "median_error": round(statistics.median(abs(expected - given).tolist()), 4),
        "rows": [[count, round(e, 4), round(g, 4)] for count, e, g in rows],
    }
    print(found)
    record.write("outlooks", "benchmarks.outlooks", torch.device("cpu"), found)


if __name__ == "__main__":
    main()
