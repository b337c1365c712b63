"""The committed record of a study: every epoch, run and design as CSV, the claims, the figures, and what is missing."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import record
from benchmarks.paper_runs import Plan, command, missing, sessions_of, trials_of
from fastrcaps_dse import session
from fastrcaps_dse.analysis.paired import mean_interval
from fastrcaps_dse.errors import UserError
from fastrcaps_dse.problem.objectives import selected_epoch
from fastrcaps_dse.problem.space import paper_name
from fastrcaps_dse.problem.study_spec import dataset_label

if TYPE_CHECKING:
    from fastrcaps_dse.analysis.results import Results
    from fastrcaps_dse.problem.objectives import Measurement
    from fastrcaps_dse.store import EpochRow, TrialRow

LEFT_OUT = ("weights", "worker")  # paths and processes of a machine
PLAIN = ("test_acc", "test_robust")  # measured beside the objectives, where the study has them
DESIGN_COLUMNS = ("trial", "design", "name", "seeds", "quantity", "mean", "error", "low", "high")
FILES = {
    "record.json": "what was trained, where, by which commands, and what is missing",
    "designs.csv": "a row for each design and quantity: mean, standard error and 95 % interval over its seeds",
    "trials.csv": "a row for each design, as `export-study` writes it",
    "runs.csv": "a row for each design and seed",
    "epochs.csv": "a row for each epoch of each run",
    "verdicts.md": "the paper's claims with their verdicts; likewise verdicts.html and verdicts.json",
    "figures": "the paper's figures of this study",
}


def write_tables(plan: Plan, folder: Path) -> None:
    """Write designs, trials, runs, epochs and record.json as the study is now; files of earlier calls are replaced.

    Raises InputError where nothing is stored of the study.
    """
    found = session.results(plan.name, storage=str(plan.storage))
    folder.mkdir(parents=True, exist_ok=True)
    trials = found.whole or found.rows
    _replace(folder / "designs.csv", _csv(design_rows(trials, found.epoch_rows)))
    for name in ("trials", "runs", "epochs"):
        frame = getattr(found, name).drop(columns=list(LEFT_OUT), errors="ignore")
        _replace(folder / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))
    _replace(folder / "record.json", json.dumps(_facts(plan, found, trials), indent=1, ensure_ascii=False) + "\n")


def write_verdicts(plan: Plan, folder: Path) -> str:
    """Write the paper's claims with their verdicts as a page, as Markdown and as JSON; why not, or nothing where they are written."""
    from fastrcaps_dse.cli.paper import write_paper

    if not any(paper_name(trial.design) and trial.measurement is not None for trial in trials_of(plan)):
        return "none of the paper's designs is measured"
    study: dict[str, Any] = {"storage": str(plan.storage), "study": plan.name, "objectives": None}
    said = io.StringIO()
    try:
        write_paper(folder / "verdicts.html", as_json=False, **study)
        with contextlib.redirect_stdout(said):
            write_paper(None, as_json=True, **study)
    except UserError as error:
        return error.message
    _replace(folder / "verdicts.json", said.getvalue())
    return ""


def write_figures(plan: Plan, folder: Path) -> str:
    """Draw the figures 4a, 8a to 8d and the table 4b; why not, or nothing where they are drawn."""
    from fastrcaps_dse.cli.figures import Wanted
    from fastrcaps_dse.cli.figures import write_figures as draw

    if not any(trial.measurement is not None for trial in trials_of(plan)):
        return "no design is measured"
    try:
        draw(folder / "figures", Wanted(kind="svg", designs="all"), storage=str(plan.storage), study=plan.name, objectives=None)
    except UserError as error:
        return error.message
    return ""


def _facts(plan: Plan, found: Results, trials: Sequence[TrialRow]) -> dict[str, Any]:
    """What record.json says."""
    lacking = missing(plan, trials)
    runs = [run for trial in trials for run in trial.runs if run.measurement is not None]
    study, dataset = found.study, dataset_label(found.study.identity["dataset"])
    return {
        "study": plan.name,
        "command": command(),
        "date": datetime.date.today().isoformat(),
        "commit": record.commit(),
        "complete": not lacking,
        "missing": lacking,
        "scale": plan.scale | ({"dataset": dataset} if "dataset" in plan.scale else {}),
        "seeds": plan.seeds,
        "runs": len(runs),
        "counted_in_step_times_of": study.reference,
        "trained_on": [
            {"device": device, "precision": precision, "software": software, "runs": count}
            for (device, precision, software), count in Counter((r.device, r.precision, r.software) for r in runs).items()
        ],
        "trained": sessions_of(plan),
        "identity": dict(study.identity) | {"dataset": dataset, "seeds": plan.seeds},
        "images": {"fingerprint": study.dataset_fingerprint, **study.image_shape, "train": study.train_images},
        "files": FILES,
        "study_file": study.spec_text,
    }


# --- designs over their seeds ---------------------------------------------------------------------------------------------


def design_rows(trials: Sequence[TrialRow], epochs_of: Mapping[int, Sequence[EpochRow]]) -> list[dict[str, Any]]:
    """A row for each design and quantity: its seeds, the mean, and with two seeds the standard error and the 95 % interval.

    Quantities are the study's objectives and what else is measured of every run; `epoch_of_max_acc` (counted from 1); what the test
    images say; and where each epoch was tested, `max_test_acc` and `epoch_of_max_test_acc`: the epoch selected on the test set, as the
    paper does.
    """
    return [row for trial in trials for row in _design_rows(trial, epochs_of)]


def _design_rows(trial: TrialRow, epochs_of: Mapping[int, Sequence[EpochRow]]) -> Iterator[dict[str, Any]]:
    done = [run for run in trial.runs if run.measurement is not None]
    each = [values_of(run.measurement, epochs_of.get(run.run_id, ())) for run in done if run.measurement is not None]
    head = {"trial": trial.trial, "design": trial.design.label, "name": paper_name(trial.design) or "", "seeds": len(done)}
    for name in each[0] if each else ():
        if all(name in values for values in each):
            yield head | {"quantity": name} | interval([values[name] for values in each])


def values_of(measured: Measurement, epochs: Sequence[EpochRow]) -> dict[str, float]:
    """The values of a run by name."""
    values = {name: value for name, value in measured.values.items() if name != "epochs"}  # which is the next
    values |= {"epoch_of_max_acc": float(measured.selected_epoch)}
    values |= {name: value for name in PLAIN if (value := getattr(measured, name, None)) is not None}
    tested = [epoch.test_acc for epoch in epochs if epoch.test_acc is not None]
    if tested and len(tested) == len(epochs):
        values |= {"max_test_acc": max(tested), "epoch_of_max_test_acc": float(selected_epoch(tested))}
    return values


def interval(values: Sequence[float]) -> dict[str, float]:
    """`mean`, and with several values the standard `error` and the 95 % interval from `low` to `high`, by Student's t."""
    found = mean_interval(values)
    if found.error is None:
        return {"mean": found.mean}
    ends = {"low": found.low, "high": found.high}  # None where all values are equal
    return {"mean": found.mean, "error": found.error} | {k: found.mean if end is None else end for k, end in ends.items()}


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV; a value that a row lacks is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, DESIGN_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _replace(path: Path, text: str) -> None:
    """Write a file that is never there in part."""
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)
