"""What the page shows of a study, as plain values that JSON can hold: the same for the live page and for the file."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fastrcaps_dse.analysis.chance import chance_note
from fastrcaps_dse.analysis.pareto import hypervolume
from fastrcaps_dse.analysis.results import estimated_note, front_of, standings_of, values_of, weights_of
from fastrcaps_dse.analysis.uncertainty import Standing, standard_errors
from fastrcaps_dse.figures.plots import is_logarithmic
from fastrcaps_dse.page.panels import facts_of
from fastrcaps_dse.page.workers import workers_content
from fastrcaps_dse.problem.objectives import OBJECTIVES, Objective, costs_of, needs_asking, with_basic
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.space import design_to_dict
from fastrcaps_dse.store import Key, Note, StudyRow, TrialRow, Worker, without_password

PROTOCOLS = {
    "validation": "Accuracy is measured on held-out training images, which select the epoch; test accuracy once, at that epoch.",
    "paper": "Accuracy is the highest test accuracy over all epochs, as in the paper.",
    "all-images": "All training images train. Accuracy is the test accuracy after the last epoch, which no accuracy selects.",
}
CLOCKS = {
    "steps": "Time is counted up to the end of the most accurate epoch: the number of steps times the seconds of a step measured alone.",
    "measured": "Time is counted up to the end of the most accurate epoch, by the clock, without evaluation.",
}


class HypervolumeInfo(NamedTuple):
    """How the front grew: its hypervolume after each measured trial, as a share of the last one."""

    trials: tuple[int, ...]
    seconds: tuple[float, ...]  # of training that all runs so far took
    shares: tuple[float, ...]


def hypervolume_info(
    trials: Sequence[TrialRow], objectives: Sequence[Objective], seconds: Mapping[int, float]
) -> HypervolumeInfo:
    """The hypervolume after each measured trial, in the order in which the trials ended.

    Each objective is scaled to the range that the study measured, training time by its logarithm. The reference point lies at 1.1 times
    this range from the best value. `seconds` maps trials to seconds of training.
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
    """Whether the page gives an objective a logarithmic axis: as all figures do, and latency too."""
    return is_logarithmic(objective) or objective.name == "latency"


def study_content(
    study: StudyRow,
    trials: Sequence[TrialRow],
    objectives: Sequence[Objective],
    seconds: Mapping[int, float],
    *,
    storage: str | None = None,
    notes: Mapping[int, Note] | None = None,
    workers: Sequence[Worker] = (),
) -> dict[str, Any]:
    """What the page shows of a study, without the curves.

    `seconds` maps trials to seconds of training. `storage` is the database as the user wrote it; it becomes part of the command to copy.
    `notes` maps trials to what people wrote about them. `workers` are those of the study now.
    """
    members = {trial.trial for trial in front_of(trials, objectives)}
    standings = standings_of(trials, objectives)
    measured = [values_of(trial) or {} for trial in trials if trial.measurement is not None]
    errors = _errors(trials, objectives, standings)
    protocol, note = study.identity["protocol"], chance_note(study, trials)
    columns = [o for o in _columns(objectives) if all(o.name in values for values in measured)]
    return {
        "study": {
            "name": study.name,
            "summary": _summary(study, trials, members),
            "notes": [
                *(line for line in (note, estimated_note(study, trials)) if line),
                PROTOCOLS[protocol],
                CLOCKS[study.identity.get("time", "steps")],
            ],
            "objectives": [o.name for o in objectives],
            "command": _command(study, objectives, storage),
            "export": _export_command(study, storage),
            "facts": facts_of(study, trials),
            "workers": workers_content(workers),
        },
        "columns": [
            {"name": o.name, "title": o.title, "unit": o.unit, "direction": o.direction, "log": _is_logarithmic(o)}
            for o in columns
        ],
        "designs": [
            _design(trial, trial.trial in members, standings.get(trial.key), errors.get(trial.key, {}))
            | _note((notes or {}).get(trial.trial))
            for trial in trials
        ],
        "hypervolume": hypervolume_info(trials, objectives, seconds)._asdict(),
    }


def _command(study: StudyRow, objectives: Sequence[Objective], storage: str | None) -> str:
    """The command that picks from what the page shows, without limits. It has no password in it, since a page may be passed on."""
    parts = ["fastrcaps-dse", "pick", "--study", study.name]
    if tuple(objectives) != study.objectives:
        parts += ["--objectives", ",".join(o.name for o in objectives)]
    return shlex.join([*parts, *(("--storage", without_password(storage)) if storage else ())])


def _export_command(study: StudyRow, storage: str | None) -> str:
    """The command that exports a design: it ends where the number of the trial comes, then the folder."""
    parts = ["fastrcaps-dse", "export", "--study", study.name]
    return shlex.join([*parts, *(("--storage", without_password(storage)) if storage else ())])


def _columns(objectives: Sequence[Objective]) -> list[Objective]:
    """The study's objectives, then all others that are measured of every design."""
    named = [*objectives, *(o for o in with_basic(objectives) if o not in objectives)]
    return [*named, *(o for o in OBJECTIVES.values() if o not in named and not needs_asking(o.name))]


def _summary(study: StudyRow, trials: Sequence[TrialRow], members: Iterable[int]) -> str:
    states = {state: sum(trial.state == state for trial in trials) for state in ("done", "running", "interrupted", "failed")}
    parts = [
        f"{study.identity['dataset']}, protocol {study.identity['protocol']}, {counted(study.identity['epochs'], 'epoch')}",
        counted(study.identity["seeds"], "seed"),
        f"{states['done']} of {counted(len(trials), 'design')} measured",
        *(f"{states[state]} {state}" for state in ("running", "interrupted", "failed") if states[state]),
        f"{len(list(members))} on the front",
    ]
    return ", ".join(parts)


def _note(note: Note | None) -> dict[str, Any]:
    return {} if note is None else {"note": note.text, "starred": note.starred}


def _errors(
    trials: Sequence[TrialRow], objectives: Sequence[Objective], standings: Mapping[Key, Standing]
) -> dict[Key, dict[str, float]]:
    """The standard errors of each design, by its key and then by name: of the objectives, and of all else that every run measured."""
    errors = {key: dict(standing.errors(objectives) or {}) for key, standing in standings.items()}
    runs = {t.key: [run.measurement for run in t.runs if run.measurement is not None] for t in trials if t.key in errors}
    given = {name for of_design in errors.values() for name in of_design}
    for name in (name for name in (*OBJECTIVES, "test_acc") if name not in given):
        values = [[m.test_acc if name == "test_acc" else m.values.get(name) for m in measured] for measured in runs.values()]
        if any(value is None for of_design in values for value in of_design):
            continue
        found = standard_errors([[float(v) for v in of_design if v is not None] for of_design in values])
        for key, error in zip(runs, found or (), strict=False):
            errors[key][name] = error
    return errors


def _design(trial: TrialRow, member: bool, standing: Standing | None, errors: Mapping[str, float]) -> dict[str, Any]:
    """One design. What it does not have (values, a reason, weights, ...) is left out."""
    measured = trial.measurement
    record: dict[str, Any] = {
        "trial": trial.trial,
        "label": trial.design.label,
        "state": trial.state,
        "design": design_to_dict(trial.design),
        "seeds": trial.seeds,
        "on_front": member,
    }
    if measured is not None:
        record["values"] = {name: round(value, 6) for name, value in measured.values.items()}
        record |= {"test_acc": measured.test_acc, "pruned_after": measured.pruned_after}
        record |= {"time_estimated": True} if trial.time_estimated else {}
    if standing is not None and standing.on_front is not None:
        record |= {"probability": round(standing.on_front, 4), "tied": standing.doubtful}
    if errors:
        record["errors"] = dict(errors)
    record |= {
        "reason": next((run.reason for run in trial.runs if run.reason), None),
        "weights": weights_of(trial),
    }
    return {name: value for name, value in record.items() if value is not None}
