"""Rows as the JSON that the command line prints; docs/storage.md says which keys can be relied on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fastrcaps_dse.analysis.picks import Limit, Pick
from fastrcaps_dse.analysis.results import front_of, values_of, weights_of
from fastrcaps_dse.analysis.uncertainty import Standing
from fastrcaps_dse.analysis.views import view_name
from fastrcaps_dse.problem.objectives import Objective
from fastrcaps_dse.problem.space import design_to_dict
from fastrcaps_dse.store import EpochRow, Key, RunRow, StudyRow, TrialRow, Worker

RUN_FIELDS = ("seed", "state", "reason", "device", "precision", "software", "wall_time", "time_estimated", "weights")


def design_record(trial: TrialRow) -> dict[str, Any]:
    """One design with its values."""
    return {
        "trial": trial.trial,
        "label": trial.label,
        "stop_after": trial.stop_after,
        "epochs_in_all": trial.epochs_in_all,
        "design": design_to_dict(trial.design),
        "values": values_of(trial),
        "time_estimated": trial.time_estimated,
        "seeds": trial.seeds,
        "test_acc": trial.measurement.test_acc if trial.measurement else None,
        **_test_robust(trial),
        "pruned_after": trial.measurement.pruned_after if trial.measurement else None,
        "weights": weights_of(trial),
    }


def _test_robust(trial: TrialRow) -> dict[str, Any]:
    """The accuracy on affine copies of the test images; nothing where it is not measured."""
    measured = trial.measurement
    return {} if measured is None or measured.test_robust is None else {"test_robust": measured.test_robust}


def front_record(
    study: StudyRow,
    objectives: Sequence[Objective],
    members: Sequence[TrialRow],
    tied: Sequence[TrialRow],
    sure: Mapping[Key, Standing],
    *,
    anytime: bool,
) -> dict[str, Any]:
    """The Pareto front of a study, and the designs that are statistically tied with it."""
    stated = [{"name": o.name, "unit": o.unit, "direction": o.direction} for o in objectives]

    def record(trial: TrialRow) -> dict[str, Any]:
        standing = sure[trial.key]
        sureness = {"errors": standing.errors(objectives), "on_front": standing.on_front, "tied": standing.doubtful}
        return design_record(trial) | sureness

    return {
        "study": study.name,
        "view": view_name(anytime),
        "reference": study.reference,
        "objectives": stated,
        "designs": [record(t) for t in members],
        "tied": [record(t) for t in tied],
    }


def pick_record(
    study: StudyRow, limits: Sequence[Limit], result: Pick, named: TrialRow | None, *, anytime: bool
) -> dict[str, Any]:
    """A pick, or the nearest miss: `named` is the row of either."""
    design = None if named is None else design_record(named)
    return {
        "study": study.name,
        "view": view_name(anytime),
        "limits": [asdict(limit) for limit in limits],
        "pick": design if result.trial is not None else None,
        "why": list(result.why),
        "nearest_miss": design if result.trial is None else None,
    }


def trial_record(
    study: StudyRow,
    trial: TrialRow,
    runs: Sequence[tuple[RunRow, Sequence[EpochRow]]],
    stops: Sequence[tuple[TrialRow, bool]] | None = None,
) -> dict[str, Any]:
    """One design in full, with every epoch of its runs; in the anytime view with its `stops`, (row, whether it is on the front) each."""
    details = [
        {name: getattr(run, name) for name in RUN_FIELDS}
        | {"measurement": asdict(run.measurement) if run.measurement else None, "epochs": [asdict(epoch) for epoch in epochs]}
        for run, epochs in runs
    ]
    head = {"study": study.name, "view": view_name(stops is not None), "reference": study.reference}
    record = {**head, **design_record(trial), "state": trial.state, "runs": details}
    return record | (
        {} if stops is None else {"stops": [design_record(row) | {"on_front": on_front} for row, on_front in stops]}
    )


def study_record(
    study: StudyRow, trials: Sequence[TrialRow], workers: Sequence[Worker], rows: Sequence[TrialRow]
) -> dict[str, Any]:
    """A study in a line; `workers` are those of all studies, `rows` those of the view that the study was started with."""
    living = [worker for worker in workers if worker.study == study.name and worker.is_alive]
    stated = {name: study.identity[name] for name in ("dataset", "protocol", "epochs", "seeds")}
    stated["train_images"] = study.identity.get("train_images")
    return {
        "study": study.name,
        **stated,
        "objectives": ",".join(study.identity["objectives"]),
        "designs": len(trials),
        **{state: sum(t.state == state for t in trials) for state in ("running", "interrupted", "failed")},
        "front": len(front_of(rows, study.objectives)),
        "workers": len({(worker.host, worker.process) for worker in living}),
        "hosts": ",".join(sorted({worker.host for worker in living})),
    }


def worker_record(worker: Worker) -> dict[str, Any]:
    """A worker in a line."""
    plain = asdict(worker)
    silent, alive = plain.pop("silent"), plain.pop("is_alive")
    return plain | {"silent_seconds": round(silent, 1), "alive": alive}
