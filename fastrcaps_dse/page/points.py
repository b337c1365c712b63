"""What the page shows of the anytime view: for each design the numbers of epochs after which it may be stopped, packed.

The values are those of `analysis/anytime.py`. The page unpacks them when its view is chosen.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from fastrcaps_dse.analysis.annealing import is_cut_short
from fastrcaps_dse.analysis.results import weights_of
from fastrcaps_dse.analysis.uncertainty import Standing
from fastrcaps_dse.problem.objectives import Objective
from fastrcaps_dse.store import Key, StudyRow, TrialRow


def points_by_trial(
    study: StudyRow,
    points: Sequence[TrialRow],
    objectives: Sequence[Objective],
    members: set[Key],
    standings: Mapping[Key, Standing],
) -> tuple[dict[int, dict[str, Any]], list[dict[str, float]]]:
    """(the points of each design by trial, the standard errors that they refer to).

    `points` are those of `anytime_trials`. A design has `stops`, the numbers of epochs; `values` by name; `front`, whether each point is on
    the front; `seeds`; and, where they are known, `errors` (the index of its standard errors in the list), `probability`, `test_acc`,
    `weights`, and `cut`, whether it ends before its learning rate has come down. What is the same for all points of a design is given
    once, else as a list in the order of `stops`. A design without an epoch has none.
    """
    errors: list[dict[str, float]] = []
    numbers: dict[str, int] = {}
    found: dict[int, dict[str, Any]] = {}
    for trial, rows in itertools.groupby((p for p in points if p.stop_after is not None), key=lambda point: point.trial):
        found[trial] = _packed_points(study, [*rows], objectives, members, standings, (errors, numbers))
    return found, errors


def _packed_points(
    study: StudyRow,
    rows: Sequence[TrialRow],
    objectives: Sequence[Objective],
    members: set[Key],
    standings: Mapping[Key, Standing],
    listed: tuple[list[dict[str, float]], dict[str, int]],
) -> dict[str, Any]:
    measured = [row.measurement for row in rows if row.measurement is not None]
    names = [name for name in measured[0].values if all(name in m.values for m in measured)]
    sure = [standings[row.key] for row in rows]
    plan = {"epochs": study.identity["epochs"], "images": study.train_images}
    record = {
        "seeds": _packed([row.seeds for row in rows]),
        "front": _packed([row.key in members for row in rows]),
        "errors": _packed([_number(standing.errors(objectives), listed) for standing in sure]),
        "probability": _packed([None if s.on_front is None else round(s.on_front, 4) for s in sure]),
        "test_acc": _packed([m.test_acc for m in measured]),
        "weights": _packed([weights_of(row) for row in rows]),
        "cut": _packed([is_cut_short(row.design, stop_after=row.stop_after or 0, **plan) for row in rows]),
        "time_estimated": _packed([row.time_estimated for row in rows]),
    }
    values = {name: _packed([round(m.values[name], 6) for m in measured]) for name in names}
    return {"stops": [row.stop_after for row in rows], "values": values} | {
        name: packed for name, packed in record.items() if packed is not None and packed is not False
    }


def _packed(values: Sequence[Any]) -> Any:
    """The value, if all are the same; else the list."""
    return values[0] if all(value == values[0] for value in values) else list(values)


def _number(errors: Mapping[str, float] | None, listed: tuple[list[dict[str, float]], dict[str, int]]) -> int | None:
    """The place of standard errors in the list of those that differ, at the end of which they are put if they are new."""
    if errors is None:
        return None
    found, numbers = listed
    key = repr(errors)
    if key not in numbers:
        numbers[key] = len(found)
        found.append(dict(errors))
    return numbers[key]
