"""What the unfolding panels of the page show, as plain values: worked out when a panel is opened, or for a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastrcaps_dse.problem.objectives import Objective
from fastrcaps_dse.store import RunRow, StudyRow, TrialRow

IMPORTANCE_METHOD = (
    "PED-ANOVA, as in Optuna: how differently a dimension is distributed among the best designs (the best {top}) and among all. "
    "The shares of an objective add up to 100 %."
)
IMPORTANCE_CAVEAT = (
    "A hint, not a proof: the designs are few, and the search prefers some of them, so that dimensions which often change together share "
    "their credit by chance."
)


def importance_content(trials: Sequence[TrialRow], objectives: Sequence[Objective]) -> dict[str, Any]:
    """The importance of each dimension for each objective. With too few designs, `objectives` is empty, and `note` says so."""
    from fastrcaps_dse.search.importance import LEAST_DESIGNS, importances  # Optuna takes a while to import

    done = [(trial.design, trial.measurement.values) for trial in trials if trial.measurement is not None]
    found = importances([design for design, _ in done], [values for _, values in done], objectives)
    if not found:
        note = f"Importances need at least {LEAST_DESIGNS} measured designs that differ; there are {len(done)}."
        return {"note": note, "objectives": []}
    return {
        "note": IMPORTANCE_CAVEAT,
        "method": IMPORTANCE_METHOD.format(top=found[0].top),
        "objectives": [
            {"name": one.objective, "shares": [[name, round(share, 4)] for name, share in one.shares.items()]} for one in found
        ],
    }


def timeline_content(trials: Sequence[TrialRow]) -> dict[str, Any]:
    """The runs by wall clock: [trial, seed, start, end, state, lane], in s since `origin` (s since 1970); a running run has no end.

    Each lane is a device; runs of a device that overlap are in lanes of their own. The state is done, pruned, failed or running.
    """
    runs = sorted(((run.started, run.run_id, trial.trial, run) for trial in trials for run in trial.runs), key=lambda r: r[:2])
    origin = runs[0][0] if runs else 0.0
    lanes: list[tuple[str, float]] = []  # device, and when the lane is free again
    rows = []
    for started, _, trial, run in runs:
        device, ended = run.device or "no device yet", run.ended if run.ended is not None else float("inf")
        lane = next((k for k, (name, free) in enumerate(lanes) if name == device and free <= started), None)
        if lane is None:
            lane = len(lanes)
            lanes.append((device, ended))
        lanes[lane] = (device, ended)
        end = None if run.ended is None else round(run.ended - origin, 3)
        rows.append([trial, run.seed, round(started - origin, 3), end, _state(run), lane])
    return {"origin": origin, "lanes": [device for device, _ in lanes], "runs": rows}


def _state(run: RunRow) -> str:
    pruned = run.measurement is not None and run.measurement.pruned_after is not None
    return "pruned" if pruned else run.state


def facts_of(study: StudyRow, trials: Sequence[TrialRow]) -> dict[str, Any]:
    """What must be equal for two studies to be compared: each as words."""
    runs = [run for trial in trials for run in trial.runs if run.device]
    identity = study.identity
    return {
        "data set": f"{identity['dataset']} ({study.dataset_fingerprint[:8]})",
        "epochs": identity["epochs"],
        "protocol": identity["protocol"],
        "count of time": identity.get("time", "steps"),
        "step times of": (study.reference or {}).get("device", ""),
        "device": ", ".join(sorted({str(run.device) for run in runs})),
        "precision": ", ".join(sorted({str(run.precision) for run in runs if run.precision})),
    }


PANELS: Mapping[str, Callable[[Sequence[TrialRow], Sequence[Objective]], dict[str, Any]]] = {
    "importance": importance_content,
    "timeline": lambda trials, _: timeline_content(trials),
}
"""The panels that are worked out in Python, by name."""
