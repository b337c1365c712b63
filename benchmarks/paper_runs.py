"""Studies that are recorded for reports/paper: what they train, and how far they are.

A recording begins with one seed of every design and adds the others in rounds, so that whatever is there compares all designs. It is a
study of the product like any other, which `explore` may have begun, too; then it goes on in the order that `explore` has, all seeds of a
design before the next. Beside the database, a journal has a line for each run that was measured: on which machine, by which command and
commit.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import record
from benchmarks.gpu_facts import card
from fastrcaps_dse import session, store
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.space import paper_name
from fastrcaps_dse.problem.study_file import find_study_file
from fastrcaps_dse.problem.study_spec import StudySpec, dataset_label, override
from fastrcaps_dse.runs.budget import Budget
from fastrcaps_dse.runs.executors import open_executor
from fastrcaps_dse.search.protocols import Event, Failed, Measured
from fastrcaps_dse.store import Store, StudyRow, TrialRow

Heard = Callable[[Measured | Failed], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study to be recorded, and where. Its spec has the seeds of the first round."""

    spec: StudySpec
    seeds: int  # of each design, in all rounds
    scale: dict[str, Any]  # what differs from the study file, by key
    storage: Path  # the SQLite file

    @property
    def name(self) -> str:
        """The study's name, which is that of the record, too."""
        return self.spec.name

    @property
    def designs(self) -> int:
        """How many designs are recorded: those that the study file lists first, or as many as it tries."""
        return len(self.spec.first_designs) or self.spec.trials

    @property
    def journal(self) -> Path:
        """The file with a line for each measured run."""
        return self.storage.with_suffix(".jsonl")


def make_plan(file: str, storage: Path, **scale: Any) -> Plan:
    """The plan of a study file, given by its name or path, on a smaller scale where `scale` says so.

    `scale` has keys of a study file (`epochs`, `train_images`, `dataset`); None leaves one as it is. Each is part of the study's name, as
    it makes it another study. Raises InputError.
    """
    spec = find_study_file(file)
    changed = {key: value for key, value in scale.items() if value is not None and value != getattr(spec, key)}
    nouns = {"train_images": "image", "epochs": "epoch"}
    named = [
        dataset_label(value) if key == "dataset" else counted(value, nouns[key]).replace(" ", "-").replace(",", "")
        for key, value in changed.items()
    ]
    plan = Plan(
        spec=override(spec, **changed, name="-".join([spec.name, *named])), seeds=spec.seeds, scale=changed, storage=storage
    )
    row = _stored(plan)[0]
    return replace(plan, spec=replace(plan.spec, seeds=1 if row is None else row.identity["seeds"]))


# --- how far it is --------------------------------------------------------------------------------------------------------


def trials_of(plan: Plan) -> list[TrialRow]:
    """What the study has trained so far; nothing before it is begun."""
    return _stored(plan)[1]


def _stored(plan: Plan) -> tuple[StudyRow | None, list[TrialRow]]:
    """The study as it is stored, with its trials; None and nothing before it is begun."""
    if not plan.storage.exists():
        return None, []
    ours = Store(store.open_url(str(plan.storage)))
    try:
        row = next((row for row in ours.studies() if row.name == plan.name), None)
        return row, [] if row is None else ours.trials(row)
    finally:
        ours.close()


def lacks(trials: Sequence[TrialRow], designs: int, seeds: int) -> bool:
    """Whether runs are missing of so many seeds of so many designs; those that failed are none."""
    if len(trials) < designs:
        return True
    tried = [sum(run.state in ("done", "failed") for run in trial.runs) for trial in trials if trial.state != "failed"]
    return any(trial.state in ("running", "interrupted") for trial in trials) or any(count < seeds for count in tried)


def missing(plan: Plan, trials: Sequence[TrialRow]) -> list[str]:
    """In words, what the record lacks of the plan; empty for a complete one."""
    said = []
    tried = {trial.design.key for trial in trials}
    untouched = [paper_name(point) or point.label for point in plan.spec.first_designs if point.key not in tried]
    if untouched:
        said.append(f"not begun: {', '.join(untouched)}")
    elif len(trials) < plan.designs:
        said.append(f"{counted(plan.designs - len(trials), 'design')} of {plan.designs} not begun")
    lacking: dict[str, list[str]] = {}
    for trial in trials:
        name = paper_name(trial.design) or trial.design.label
        said += [f"{name}: seed {run.seed} failed: {run.reason}" for run in trial.runs if run.state == "failed"]
        done = sum(run.state in ("done", "failed") for run in trial.runs)
        if trial.state != "failed" and done < plan.seeds:
            under_way = ", the next is under way" if any(run.state in ("running", "interrupted") for run in trial.runs) else ""
            lacking.setdefault(f"only {done} of {counted(plan.seeds, 'seed')}{under_way}", []).append(name)
    return said + [f"{what}: {', '.join(names)}" for what, names in lacking.items()]


# --- training ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class How:
    """Where and with what the runs are trained."""

    data_dir: Path | None = None
    device: str | None = None
    workers: int | None = 1  # None for as many as the machine has use for


def advance(plan: Plan, seeds: int, how: How, budget: Budget, heard: Heard) -> bool:
    """Train what is missing of the first `seeds` of each design; whether all of it is there now.

    `heard` is called with each run that was measured or failed, after it is stored. Raises UserErrors.
    """
    if not lacks(trials_of(plan), plan.designs, seeds):
        return True
    plan.storage.parent.mkdir(parents=True, exist_ok=True)
    with session.open_study(plan.spec, str(plan.storage), data_dir=how.data_dir, device=how.device) as study:
        write_line = _journal(plan, study.context.device)

        def tell(event: Event) -> None:
            if isinstance(event, (Measured, Failed)):
                write_line(event)
                heard(event)

        where: dict[str, Any] = {"workers": how.workers, "data_dir": how.data_dir, "trials": plan.designs}
        with open_executor(study.cost_model, budget=budget, **where) as executor:
            session.explore(study, executor, trials=plan.designs, budget=budget, tell=tell)
            if seeds > 1 and not budget.over:
                session.race(study, executor, max_seeds=seeds, every=True, budget=budget, tell=tell)
    return not lacks(trials_of(plan), plan.designs, seeds)


def train(
    plans: Sequence[Plan], seeds: int | None, how: How, budget: Budget, heard: Callable[[Plan, Measured | Failed], None]
) -> bool:
    """Train the plans as far as the budget goes: the first seed of all of them, then the second; whether all is there.

    `seeds` is how far to go now; None for all that the study files name. Raises UserErrors.
    """
    last = max(plan.seeds if seeds is None else min(seeds, plan.seeds) for plan in plans)
    complete = True
    for count in range(1, last + 1):
        for plan in plans:
            if count > plan.seeds:
                continue
            if budget.over:
                return False
            complete &= advance(plan, count, how, budget, lambda event, plan=plan: heard(plan, event))  # type: ignore[misc]
    return complete


def command() -> str:
    """The command of this process, without the folders of this machine."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return " ".join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *words])


def _journal(plan: Plan, device: torch.device) -> Callable[[Measured | Failed], None]:
    """Writes a line for each run; each is one write, so that several processes may write into one file."""
    facts: dict[str, Any] = {
        "study": plan.name,
        "command": command(),
        "commit": record.commit(),
        "machine": record.machine(device) | card(device),
    }

    def write(event: Measured | Failed) -> None:
        now = datetime.datetime.now().isoformat(timespec="seconds")
        outcome = "measured" if isinstance(event, Measured) else "failed"
        line = {"at": now, "run": event.request.run_id, "seed": event.request.seed, "outcome": outcome} | facts
        file = os.open(plan.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, (json.dumps(line) + "\n").encode())
        finally:
            os.close(file)

    return write


def sessions_of(plan: Plan) -> list[dict[str, Any]]:
    """By machine, commit and command: how many runs were measured there, and from when to when."""
    if not plan.journal.exists():
        return []
    grouped: dict[str, dict[str, Any]] = {}
    for text in plan.journal.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["study"] != plan.name:
            continue
        facts = {name: line[name] for name in ("command", "commit", "machine")}
        found = grouped.setdefault(json.dumps(facts, sort_keys=True), facts | {"runs": 0, "from": line["at"]})
        found["runs"] += line["outcome"] == "measured"
        found["to"] = line["at"]
    return list(grouped.values())
