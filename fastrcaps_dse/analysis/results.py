"""Rows as plain values: the JSON and CSV that the command line prints and the pages carry (the contract is in README)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fastrcaps_dse.analysis.pareto import front
from fastrcaps_dse.analysis.picks import Candidate, Limit, Pick
from fastrcaps_dse.analysis.uncertainty import Standing, standings
from fastrcaps_dse.problem.objectives import Objective, costs_of
from fastrcaps_dse.problem.space import design_to_dict
from fastrcaps_dse.store import EpochRow, RunRow, StudyRow, TrialRow


def front_of(trials: Sequence[TrialRow], objectives: Sequence[Objective]) -> list[TrialRow]:
    """The designs on the Pareto front, in the order of their trials."""
    done = [(trial, trial.measurement) for trial in trials if trial.measurement is not None]
    costs = [costs_of(objectives, measured.values) for _, measured in done]
    return [done[index][0] for index in front(costs)]


def standings_of(trials: Sequence[TrialRow], objectives: Sequence[Objective]) -> dict[int, Standing]:
    """How sure each measured design's place is, by trial."""
    done = [trial for trial in trials if trial.measurement is not None]
    costs = [
        [costs_of(objectives, run.measurement.values) for run in trial.runs if run.measurement is not None] for trial in done
    ]
    return dict(zip((trial.trial for trial in done), standings(costs), strict=True))


def values_of(trial: TrialRow) -> dict[str, float] | None:
    """The values by objective name; None where the trial has no measurement."""
    measured = trial.measurement
    return None if measured is None else dict(measured.values)


def weights_of(trial: TrialRow) -> str | None:
    """Where the weights of the design are kept, if they are."""
    return next((run.weights for run in trial.runs if run.weights), None)


def candidate(trial: TrialRow, objectives: Sequence[Objective], standing: Standing) -> Candidate:
    """A measured trial, as the pick sees it."""
    values = values_of(trial)
    assert values is not None
    return Candidate(
        trial=trial.trial,
        label=trial.design.label,
        values=values,
        errors=standing.errors(objectives),
        seeds=standing.seeds,
        on_front=standing.on_front,
    )


def design_record(trial: TrialRow) -> dict[str, Any]:
    """One design with its values."""
    return {
        "trial": trial.trial,
        "label": trial.design.label,
        "design": design_to_dict(trial.design),
        "values": values_of(trial),
        "seeds": trial.seeds,
        "test_acc": trial.measurement.test_acc if trial.measurement else None,
        "pruned_after": trial.measurement.pruned_after if trial.measurement else None,
        "weights": weights_of(trial),
    }


def front_record(
    study: StudyRow,
    objectives: Sequence[Objective],
    members: Sequence[TrialRow],
    tied: Sequence[TrialRow],
    known: Mapping[int, Standing],
) -> dict[str, Any]:
    """The Pareto front of a study, and the designs that are statistically tied with it."""
    stated = [{"name": o.name, "unit": o.unit, "direction": o.direction} for o in objectives]

    def record(trial: TrialRow) -> dict[str, Any]:
        standing = known[trial.trial]
        sure = {"errors": standing.errors(objectives), "on_front": standing.on_front, "tied": standing.doubtful}
        return design_record(trial) | sure

    return {
        "study": study.name,
        "objectives": stated,
        "designs": [record(t) for t in members],
        "tied": [record(t) for t in tied],
    }


def design_rows(trials: Sequence[TrialRow]) -> Iterator[list[Any]]:
    """A table: the head, then a row for each design."""
    for index, record in enumerate(map(design_record, trials)):
        design, values = record.pop("design"), record.pop("values")
        row = {"trial": record.pop("trial"), "label": record.pop("label")} | design | values | record
        if index == 0:
            yield list(row)
        yield list(row.values())


def pick_record(study: StudyRow, limits: Sequence[Limit], result: Pick, trials: Mapping[int, TrialRow]) -> dict[str, Any]:
    """A pick, or the nearest miss."""

    def design(number: int | None) -> dict[str, Any] | None:
        return None if number is None else design_record(trials[number])

    return {
        "study": study.name,
        "limits": [asdict(limit) for limit in limits],
        "pick": design(result.trial),
        "why": list(result.why),
        "nearest_miss": design(result.nearest_miss),
    }


def trial_record(study: StudyRow, trial: TrialRow, runs: Sequence[tuple[RunRow, Sequence[EpochRow]]]) -> dict[str, Any]:
    """One design in full, with every epoch of its runs."""
    details = [
        {name: getattr(run, name) for name in ("seed", "state", "reason", "device", "precision", "software", "weights")}
        | {"measurement": asdict(run.measurement) if run.measurement else None, "epochs": [asdict(epoch) for epoch in epochs]}
        for run, epochs in runs
    ]
    return {"study": study.name, **design_record(trial), "state": trial.state, "runs": details}


def study_record(study: StudyRow, trials: Sequence[TrialRow]) -> dict[str, Any]:
    """A study in a line."""
    stated = {name: study.identity[name] for name in ("dataset", "protocol", "epochs", "seeds")}
    return {
        "study": study.name,
        **stated,
        "objectives": ",".join(study.identity["objectives"]),
        "designs": len(trials),
        "failed": sum(t.state == "failed" for t in trials),
        "front": len(front_of(trials, study.objectives)),
    }
