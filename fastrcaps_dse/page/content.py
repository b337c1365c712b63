"""What the page shows of a study, as plain values that JSON can hold: the same for the live page and for the file."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastrcaps_dse.analysis.annealing import annealing_note
from fastrcaps_dse.analysis.anytime import Epochs, anytime_trials, is_anytime, of_epochs
from fastrcaps_dse.analysis.chance import chance_note
from fastrcaps_dse.analysis.pareto import hypervolume
from fastrcaps_dse.analysis.picks import counted_designs
from fastrcaps_dse.analysis.results import estimated_note, front_of, standings_of, values_of, weights_of
from fastrcaps_dse.analysis.uncertainty import Standing, standard_errors
from fastrcaps_dse.analysis.views import check_view, sees_anytime
from fastrcaps_dse.figures.plots import is_logarithmic
from fastrcaps_dse.page.panels import facts_of
from fastrcaps_dse.page.points import points_by_trial
from fastrcaps_dse.page.workers import workers_content
from fastrcaps_dse.problem.objectives import OBJECTIVES, Objective, costs_of, needs_asking, titled, with_basic
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.space import design_to_dict
from fastrcaps_dse.problem.study_spec import dataset_text
from fastrcaps_dse.store import Key, Note, StudyRow, TrialRow, Worker, without_password

PROTOCOLS = {
    "validation": "Accuracy is measured on held-out training images, which select the epoch; test accuracy once, at that epoch.",
    "both": "Accuracy is measured on held-out training images, which select the epoch; test accuracy counts at that epoch.",
    "paper": "Accuracy is the highest test accuracy over all epochs, as in the paper.",
    "all-images": "All training images train. Accuracy is the test accuracy after the last epoch, which no accuracy selects.",
}
EVERY_EPOCH = "Each epoch of a run is a design that you can have: stop there, with the highest accuracy and the seconds so far."
CLOCKS = {
    "steps": "Time is counted up to the end of {epoch}: the number of steps times the seconds of a step measured alone.",
    "measured": "Time is counted up to the end of {epoch}, by the clock, without evaluation.",
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

    In the anytime view a trial counts with all its points at once, and a trial that is not finished comes last.

    Each objective is scaled to the range that the study measured, training time by its logarithm. The reference point lies at 1.1 times
    this range from the best value. `seconds` maps trials to seconds of training.
    """
    done = [trial for trial in trials if trial.measurement is not None]
    done.sort(key=lambda trial: (max((run.ended or _unfinished(trial)) for run in trial.runs), trial.trial))
    if not done:
        return HypervolumeInfo(trials=(), seconds=(), shares=())
    by_logarithm = [_is_logarithmic(o) for o in objectives]
    costs = []
    for trial in done:
        cost = costs_of(objectives, values_of(trial) or {})
        costs.append([math.log(max(c, 1e-9)) if is_log else c for c, is_log in zip(cost, by_logarithm, strict=True)])
    low, high = ([f(column) for column in zip(*costs, strict=True)] for f in (min, max))
    scaled = [[(c - a) / ((b - a) or 1.0) for c, a, b in zip(cost, low, high, strict=True)] for cost in costs]
    reference = [1.1] * len(objectives)
    front: list[list[float]] = []
    spent = 0.0
    volumes: list[float] = []
    times: list[float] = []
    numbers = list(dict.fromkeys(trial.trial for trial in done))
    of_trial: dict[int, list[list[float]]] = {number: [] for number in numbers}
    for trial, point in zip(done, scaled, strict=True):
        of_trial[trial.trial].append(point)
    for number in numbers:
        grown = False
        for point in of_trial[number]:
            if not any(all(m <= c for m, c in zip(member, point, strict=True)) for member in front):
                front = [m for m in front if not all(c <= a for c, a in zip(point, m, strict=True))] + [point]
                grown = True
        spent += seconds.get(number, 0.0)
        volumes.append(hypervolume(front, reference) if grown else volumes[-1])
        times.append(round(spent, 3))
    return HypervolumeInfo(
        trials=tuple(numbers),
        seconds=tuple(times),
        shares=tuple(round(v / (volumes[-1] or 1.0), 5) for v in volumes),
    )


def _unfinished(trial: TrialRow) -> float:
    """When a run without an end counts as ended, in s since 1970."""
    return 0.0 if trial.stop_after is None else math.inf


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
    epochs: Epochs | None = None,
    anytime: bool | None = None,
) -> dict[str, Any]:
    """What the page shows of a study, without the curves.

    `seconds` maps trials to seconds of training. `storage` is the database as the user wrote it; it becomes part of the command to copy.
    `notes` maps trials to what people wrote about them. `workers` are those of the study now. `epochs` are those of all runs: with them,
    the page can show the anytime view. `anytime` is the view to start with, by default the one that the study was started with.
    """
    check_view(sees_anytime(study, anytime), objectives)
    members = {trial.trial for trial in front_of(trials, objectives)}
    standings = standings_of(trials, objectives)
    measured = [values_of(trial) or {} for trial in trials if trial.measurement is not None]
    errors = _errors(trials, objectives, standings)
    content: dict[str, Any] = {
        "study": {
            "name": study.name,
            "summary": _summary(study, trials, f"{len(members)} on the front"),
            "notes": _notes(study, trials, "the most accurate epoch"),
            "objectives": [o.name for o in objectives],
            "command": _command(study, objectives, storage),
            "export": _export_command(study, storage),
            "facts": facts_of(study, trials),
            "workers": workers_content(workers),
            "anytime": is_anytime(study),
            "starts_anytime": sees_anytime(study, anytime),
            "has_epochs": _has_epochs(study, objectives) or sees_anytime(study, anytime),
        },
        "columns": _columns_content(objectives, measured),
        "designs": [
            _design(trial, trial.trial in members, standings.get(trial.key), errors.get(trial.key, {}))
            | _note((notes or {}).get(trial.trial))
            for trial in trials
        ],
        "hypervolume": hypervolume_info(trials, objectives, seconds)._asdict(),
    }
    if epochs is not None and content["study"]["has_epochs"]:
        _add_points(content, study, trials, objectives, seconds, epochs)
    return content


def _has_epochs(study: StudyRow, objectives: Sequence[Objective]) -> bool:
    """Whether the page offers the anytime view."""
    return study.identity["epochs"] > 1 and len(of_epochs(objectives)) == len(objectives)


def _add_points(
    content: dict[str, Any],
    study: StudyRow,
    trials: Sequence[TrialRow],
    objectives: Sequence[Objective],
    seconds: Mapping[int, float],
    epochs: Epochs,
) -> None:
    """Put what the anytime view shows into the content of a page."""
    points = anytime_trials(trials, epochs, study)
    members = {point.key for point in front_of(points, objectives)}
    measured = [values_of(point) or {} for point in points if point.measurement is not None]
    packed, errors = points_by_trial(study, points, objectives, members, standings_of(points, objectives))
    for design in content["designs"]:
        if design["trial"] in packed:
            design["points"] = packed[design["trial"]]
    early = annealing_note([point for point in points if point.key in members], study)
    designs = counted(len({trial for trial, _ in members}), "design")
    content["anytime"] = {
        "summary": _summary(study, trials, f"{counted_designs(len(members), True)} on the front, of {designs}"),
        "notes": [EVERY_EPOCH, *([f"On the front, {early}."] if early else []), *_notes(study, points, "the epoch")],
        "columns": _columns_content(objectives, measured, anytime=True),
        "epochs": study.identity["epochs"],
        "errors": errors,
        "hypervolume": hypervolume_info(points, objectives, seconds)._asdict(),
    }


def _notes(study: StudyRow, rows: Sequence[TrialRow], epoch: str) -> list[str]:
    """What to know about the numbers of a view. `epoch` is the one up to which its time is counted, in words."""
    lines = (chance_note(study, rows), estimated_note(study, rows), PROTOCOLS[study.identity["protocol"]])
    return [*(line for line in lines if line), CLOCKS[study.identity.get("time", "steps")].format(epoch=epoch)]


def _columns_content(
    objectives: Sequence[Objective], measured: Sequence[Mapping[str, float]], *, anytime: bool = False
) -> list[dict[str, Any]]:
    """The columns of a view, whose measured designs have these values."""
    columns = [o for o in _columns(objectives) if all(o.name in values for values in measured)]
    return [
        {"name": o.name, "title": o.title, "unit": o.unit, "direction": o.direction, "log": _is_logarithmic(o)}
        for o in titled(columns, anytime)
    ]


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


def _summary(study: StudyRow, trials: Sequence[TrialRow], front: str) -> str:
    states = {state: sum(trial.state == state for trial in trials) for state in ("done", "running", "interrupted", "failed")}
    words = {"interrupted": "paused"} if is_anytime(study) else {}
    parts = [
        f"{dataset_text(study.identity)}, protocol {study.identity['protocol']}, {counted(study.identity['epochs'], 'epoch')}",
        counted(study.identity["seeds"], "seed"),
        f"{states['done']} of {counted(len(trials), 'design')} measured",
        *(f"{states[state]} {words.get(state, state)}" for state in ("running", "interrupted", "failed") if states[state]),
        front,
    ]
    return ", ".join(parts) + _outlook(study, states["done"] + states["failed"])


def _outlook(study: StudyRow, finished: int) -> str:
    """What another hour of training is expected to give, if the latest exploration has said so of what is there now."""
    if study.outlook is None or study.outlook["trials"] != finished:
        return ""
    return f"; {study.outlook['text']}"


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
        record |= {"test_acc": measured.test_acc, "test_robust": measured.test_robust, "pruned_after": measured.pruned_after}
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
