"""What the page shows of a study, as plain values: the same for the live page and for the file."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fastrcaps_dse.analysis.pareto import hypervolume
from fastrcaps_dse.analysis.results import front_of, standings_of, values_of, weights_of
from fastrcaps_dse.analysis.uncertainty import Standing
from fastrcaps_dse.figures.plots import is_logarithmic
from fastrcaps_dse.problem.objectives import OBJECTIVES, Objective, costs_of, needs_asking, shown
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.space import design_to_dict
from fastrcaps_dse.store import EpochRow, RunRow, StudyRow, TrialRow, without_password

PROTOCOLS = {
    "validation": "Accuracy is measured on training images held out to select the epoch; test accuracy once, at that epoch.",
    "paper": "Accuracy is the highest over the epochs on the test set, as the paper measures it.",
}
CLOCKS = {
    "steps": "Time is steps times the seconds of a step measured alone, up to the end of the epoch of the highest accuracy.",
    "measured": "Time is by the clock, up to the end of the epoch of the highest accuracy, evaluation excluded.",
}


class HypervolumeInfo(NamedTuple):
    """How the front grew: its hypervolume after each measured trial, as a share of the last."""

    trials: tuple[int, ...]
    seconds: tuple[float, ...]  # of training that all runs so far took
    shares: tuple[float, ...]


def hypervolume_info(
    trials: Sequence[TrialRow], objectives: Sequence[Objective], seconds: Mapping[int, float]
) -> HypervolumeInfo:
    """In the order in which trials ended. Objectives are scaled to the range that the study measured, time by its logarithm; what is
    worst in one is 1.1 times the range from the best. `seconds` of training by trial.
    """
    done = [trial for trial in trials if trial.measurement is not None]
    done.sort(key=lambda trial: (max((run.ended or 0.0) for run in trial.runs), trial.trial))
    if not done:
        return HypervolumeInfo(trials=(), seconds=(), shares=())
    costs = []
    for trial in done:
        values = values_of(trial) or {}
        cost = costs_of(objectives, values)
        costs.append([math.log(max(c, 1e-9)) if _is_logarithmic(o) else c for c, o in zip(cost, objectives, strict=True)])
    low, high = ([f(column) for column in zip(*costs, strict=True)] for f in (min, max))
    scaled = [[(c - a) / ((b - a) or 1.0) for c, a, b in zip(cost, low, high, strict=True)] for cost in costs]
    reference = [1.1] * len(objectives)
    front: list[list[float]] = []
    volume, spent, volumes, times = 0.0, 0.0, [], []
    for trial, point in zip(done, scaled, strict=True):
        if not any(all(m <= c for m, c in zip(member, point, strict=True)) for member in front):
            front = [m for m in front if not all(c <= a for c, a in zip(point, m, strict=True))] + [point]
            volume = hypervolume(front, reference)
        spent += seconds.get(trial.trial, 0.0)
        volumes.append(volume)
        times.append(round(spent, 3))
    return HypervolumeInfo(
        trials=tuple(trial.trial for trial in done),
        seconds=tuple(times),
        shares=tuple(round(v / (volumes[-1] or 1.0), 5) for v in volumes),
    )


def _is_logarithmic(objective: Objective) -> bool:
    """Whether an objective is drawn on a logarithmic axis: as in every figure, and latency too."""
    return is_logarithmic(objective) or objective.name == "latency"


def study_content(
    study: StudyRow,
    trials: Sequence[TrialRow],
    objectives: Sequence[Objective],
    seconds: Mapping[int, float],
    *,
    storage: str | None = None,
) -> dict[str, Any]:
    """The study as the page shows it, its curves apart. `seconds` of training by trial; `storage` as a person names it."""
    members = {trial.trial for trial in front_of(trials, objectives)}
    known = standings_of(trials, objectives)
    done = [values_of(trial) or {} for trial in trials if trial.measurement is not None]
    columns = [o for o in _columns(objectives) if all(o.name in values for values in done)]
    grown = hypervolume_info(trials, objectives, seconds)
    return {
        "study": {
            "name": study.name,
            "summary": _summary(study, trials, members),
            "notes": [PROTOCOLS[study.identity["protocol"]], CLOCKS[study.identity.get("time", "steps")]],
            "epochs": study.identity["epochs"],
            "objectives": [o.name for o in objectives],
            "command": _command(study, objectives, storage),
        },
        "columns": [
            {"name": o.name, "title": o.title, "unit": o.unit, "better": "more" if o.direction == "maximize" else "less"}
            | {"log": _is_logarithmic(o)}
            for o in columns
        ],
        "designs": [_design(trial, trial.trial in members, known.get(trial.trial), objectives) for trial in trials],
        "hypervolume": grown._asdict(),
    }


def _command(study: StudyRow, objectives: Sequence[Objective], storage: str | None) -> str:
    """The command that picks from what the page shows, without limits; a page may be shared, so no password is in it."""
    parts = ["fastrcaps-dse", "pick", "--study", study.name]
    if tuple(objectives) != study.objectives:
        parts += ["--objectives", ",".join(o.name for o in objectives)]
    return shlex.join([*parts, *(("--storage", without_password(storage)) if storage else ())])


def _columns(objectives: Sequence[Objective]) -> list[Objective]:
    """The study's objectives first, then what else is measured of every design without asking."""
    named = [*objectives, *(o for o in shown(objectives) if o not in objectives)]
    return [*named, *(o for o in OBJECTIVES.values() if o not in named and not needs_asking(o.name))]


def _summary(study: StudyRow, trials: Sequence[TrialRow], members: Iterable[int]) -> str:
    states = {state: sum(trial.state == state for trial in trials) for state in ("done", "running", "failed")}
    parts = [
        f"{study.identity['dataset']}, protocol {study.identity['protocol']}, {counted(study.identity['epochs'], 'epoch')}",
        counted(study.identity["seeds"], "seed"),
        f"{states['done']} of {counted(len(trials), 'design')} measured",
        *(f"{states[state]} {state}" for state in ("running", "failed") if states[state]),
        f"{len(list(members))} on the front",
    ]
    return ", ".join(parts)


def _design(trial: TrialRow, member: bool, standing: Standing | None, objectives: Sequence[Objective]) -> dict[str, Any]:
    """One design in the page's short form; what is not there is left out."""
    plain = design_to_dict(trial.design)
    measured = trial.measurement
    record: dict[str, Any] = {"t": trial.trial, "l": trial.design.label, "s": trial.state, "d": plain, "n": trial.seeds}
    if member:
        record["f"] = 1
    if measured is not None:
        record["v"] = {name: round(value, 6) for name, value in (values_of(trial) or {}).items()}
        record |= {k: v for k, v in (("ta", measured.test_acc), ("stopped", measured.pruned_after)) if v is not None}
    if standing is not None and standing.on_front is not None:
        record |= {"p": round(standing.on_front, 4), "e": standing.errors(objectives)}
    reason = next((run.reason for run in trial.runs if run.reason), None)
    if reason:
        record["r"] = reason
    if (weights := weights_of(trial)) is not None:
        record["w"] = weights
    return record


def curves_content(trial: TrialRow, epochs_of: Mapping[int, Sequence[EpochRow]]) -> list[dict[str, Any]]:
    """The runs of a design, epoch by epoch: accuracy, and the learning rate of the first and the last step."""
    return [_curve(run, epochs_of[run.run_id]) for run in trial.runs if epochs_of.get(run.run_id)]


def _curve(run: RunRow, epochs: Sequence[EpochRow]) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "acc": [round(epoch.acc, 3) for epoch in epochs],
        "lr": [float(f"{rate:.4g}") for epoch in epochs for rate in (epoch.lr_first, epoch.lr_last)],
        "batch": [epoch.batch_size for epoch in epochs],
    }
