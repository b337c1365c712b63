"""The runs of the paper's designs in a study, as each way to select the epoch has them.

The paper reports the highest test accuracy over the epochs of a run: it selects the epoch on the images that it reports. The honest way
selects the epoch on held-out training images and reports the test accuracy there. What a study can give depends on its protocol.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from fastrcaps_dse.analysis.claims import Outcome
from fastrcaps_dse.problem.objectives import selected_epoch
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.space import paper_name
from fastrcaps_dse.store import EpochRow, RunRow, TrialRow

Selection = Literal["held-out", "test"]
"""On which images the epoch of a run is selected. The accuracy that counts is always that of the test set."""
SELECTIONS: Mapping[str, tuple[Selection, ...]] = {
    "validation": ("held-out",),
    "both": ("held-out", "test"),
    "paper": ("test",),
    "all-images": ("test",),
}
"""What each protocol can give."""
ByDesign = Mapping[str, Mapping[int, Outcome]]
"""Outcomes by the name of the design and the seed."""
Epochs = Mapping[int, Sequence[EpochRow]]


def outcomes(
    trials: Sequence[TrialRow], epochs_of: Epochs, protocol: str, selection: Selection
) -> dict[str, dict[int, Outcome]]:
    """The outcomes of all named designs that have one, by name and seed. Runs that cannot give one are left out, see `left_out`."""
    found: dict[str, dict[int, Outcome]] = {}
    for name, run in _named_runs(trials):
        if why_not(run, epochs_of, protocol) is None:
            found.setdefault(name, {}).setdefault(run.seed, _outcome(run, epochs_of[run.run_id], protocol, selection))
    return found


def left_out(trials: Sequence[TrialRow], epochs_of: Epochs, protocol: str) -> list[str]:
    """Which runs of named designs cannot be compared, and why: a line for each design that has some."""
    reasons: dict[str, Counter[str]] = {}
    for name, run in _named_runs(trials):
        if (why := why_not(run, epochs_of, protocol)) is not None:
            reasons.setdefault(name, Counter())[why] += 1
    return [
        f"{name}: " + ", ".join(f"{counted(n, 'run')} {why}" for why, n in sorted(found.items()))
        for name, found in reasons.items()
    ]


def why_not(run: RunRow, epochs_of: Epochs, protocol: str) -> str | None:
    """Why a run cannot be compared; None if it can."""
    if run.measurement is None:
        return "failed" if run.state == "failed" else "not finished"
    if run.measurement.pruned_after is not None:
        return "pruned"
    rows = epochs_of.get(run.run_id, ())
    if not rows or len(rows) < run.measurement.selected_epoch:
        return "without stored epochs"
    if "held-out" in SELECTIONS[protocol] and run.measurement.test_acc is None:
        return "without a test accuracy"
    if protocol == "both" and any(row.test_acc is None for row in rows):
        return "without test accuracies of its epochs"
    if rows[0].counted_seconds <= 0:
        return "without training time"
    return None


def _named_runs(trials: Sequence[TrialRow]) -> list[tuple[str, RunRow]]:
    return [(name, run) for trial in trials if (name := paper_name(trial.design)) is not None for run in trial.runs]


def _outcome(run: RunRow, rows: Sequence[EpochRow], protocol: str, selection: Selection) -> Outcome:
    """A run that `why_not` finds nothing wrong with."""
    measured = run.measurement
    assert measured is not None
    if selection == "held-out":
        curve, epoch = [row.acc for row in rows], measured.selected_epoch
    else:
        curve = [acc for row in rows if (acc := row.test_acc if protocol == "both" else row.acc) is not None]
        epoch = selected_epoch(curve)
    acc = measured.test_acc if selection == "held-out" else curve[epoch - 1]
    assert acc is not None
    return Outcome(
        seed=run.seed,
        acc=acc,
        epoch=epoch,
        curve=curve,
        seconds=[*itertools.accumulate(row.counted_seconds for row in rows)],
        params=measured["params"],
    )
