"""What the unfolding panels of the page show, as plain values: worked out when a panel is opened, or for a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastrcaps_dse.page.workers import timeline_content
from fastrcaps_dse.problem.objectives import Objective
from fastrcaps_dse.problem.study_spec import dataset_text
from fastrcaps_dse.store import StudyRow, TrialRow

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


def facts_of(study: StudyRow, trials: Sequence[TrialRow]) -> dict[str, Any]:
    """What must be equal for two studies to be compared: each as words."""
    runs = [run for trial in trials for run in trial.runs if run.device]
    identity = study.identity
    return {
        "data set": f"{dataset_text(identity)} ({study.dataset_fingerprint[:8]})",
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
