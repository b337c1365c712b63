"""What the page shows of the processes that work on a study, now and over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.store import RunRow, TrialRow, Worker, process_of


def workers_content(workers: Sequence[Worker]) -> dict[str, Any]:
    """How many runs are being trained, in words, and each of them with its worker; no words where there is none.

    Seconds are left out: they would change with every look.
    """
    living = [worker for worker in workers if worker.is_alive]
    text = f"{counted(len(living), 'run')} on {counted(len({w.host for w in living}), 'machine')}" if living else ""
    if len(workers) > len(living):
        text += f"{', ' if text else ''}{len(workers) - len(living)} without a sign of life"
    names = ("host", "process", "device", "trial", "label", "seed", "epoch", "epochs")
    return {"text": text, "rows": [{n: getattr(w, n) for n in names} | {"alive": w.is_alive} for w in workers]}


@dataclass(kw_only=True)
class Lane:
    """A row of the timeline: the runs of a worker, one after another."""

    device: str
    host: str  # empty where it is not known
    owner: str | None
    free: float  # s since 1970, when its last run ended


def timeline_content(trials: Sequence[TrialRow]) -> dict[str, Any]:
    """The runs by wall clock: [trial, seed, start, end, state, lane, worker], in s since `origin` (s since 1970).

    A lane, [device, host], has the runs of a worker; a worker that begins after another one of its device and host has ended goes on with
    that one's lane. Runs whose worker is not known share lanes of their device as far as they do not overlap. `workers` has
    [host, process]; the worker of a run counts in it, and is null where it is not known. A run that is not finished has no end. The state
    is done, pruned, failed, running or interrupted.
    """
    runs = sorted(((run.started, run.run_id, trial.trial, run) for trial in trials for run in trial.runs), key=lambda r: r[:2])
    origin = runs[0][0] if runs else 0.0
    ends: dict[str | None, float] = {}  # of the last run of each owner
    for *_, run in runs:
        ends[run.owner] = max(ends.get(run.owner, 0.0), _end(run))
    lanes: list[Lane] = []
    workers: dict[str, int] = {}
    rows = []
    for started, _, trial, run in runs:
        number = _lane(lanes, run, ends)
        worker = None if run.owner is None else workers.setdefault(run.owner, len(workers))
        end = None if run.ended is None else round(run.ended - origin, 3)
        rows.append([trial, run.seed, round(started - origin, 3), end, _state(run), number, worker])
    stated = [[lane.device, lane.host] for lane in lanes]
    return {"origin": origin, "lanes": stated, "workers": [list(process_of(owner)) for owner in workers], "runs": rows}


def _lane(lanes: list[Lane], run: RunRow, ends: Mapping[str | None, float]) -> int:
    """The number of the lane that a run goes on with, which is then busy until it ends; a new one if no lane is free for it."""
    device, host = run.device or "no device yet", process_of(run.owner)[0] if run.owner else ""
    free = [k for k, lane in enumerate(lanes) if (lane.device, lane.host) == (device, host) and lane.free <= run.started]
    mine = next((k for k in free if lanes[k].owner == run.owner), None)
    left = next((k for k in free if lanes[k].owner is None or ends[lanes[k].owner] <= run.started), None)
    number = mine if mine is not None else left
    if number is None:
        number = len(lanes)
        lanes.append(Lane(device=device, host=host, owner=run.owner, free=run.started))
    lanes[number].owner, lanes[number].free = run.owner, _end(run)
    return number


def _end(run: RunRow) -> float:
    return math.inf if run.ended is None else run.ended


def _state(run: RunRow) -> str:
    pruned = run.measurement is not None and run.measurement.pruned_after is not None
    return "pruned" if pruned else run.state
