"""The paper's two studies at full scale on a device, as far as time goes, in a folder with which a later call goes on.

The first seed of the eight designs on MNIST comes first, then on Fashion-MNIST, then the second seed of both, so that whatever is there
compares all designs that it has. A run that is cut off goes on after its last epoch where its checkpoint is still in the folder, and
begins again where only the database was carried on.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from benchmarks.gpu_product import OF_THE_TIME, write_images
from benchmarks.gpu_stages import Emit, Item, Setting
from benchmarks.paper_record import write_figures, write_tables, write_verdicts
from benchmarks.paper_runs import How, Plan, make_plan, missing, train, trials_of
from fastrcaps_dse import data
from fastrcaps_dse.errors import UserError
from fastrcaps_dse.problem.space import paper_name
from fastrcaps_dse.problem.study_spec import override
from fastrcaps_dse.runs.budget import start_budget
from fastrcaps_dse.search.optuna_storage import quiet_optuna
from fastrcaps_dse.search.protocols import Failed, Measured

STUDIES = ("paper-mnist", "paper-fashion-mnist")
DATABASE = "paper.db"


def plans_of(setting: Setting) -> list[Plan]:
    """The two studies, in one database."""
    storage = (setting.keep or setting.folder) / DATABASE
    if not setting.quick:
        return [make_plan(name, storage) for name in STUDIES]
    few = [make_plan(name, storage, dataset=str(write_images(setting)), epochs=1) for name in STUDIES]
    return [replace(plan, spec=override(plan.spec, first=plan.spec.first[:1]), seeds=2) for plan in few]


def train_paper(setting: Setting, emit: Emit, end: float) -> None:
    """Go on with both studies until the time is over, and write their records; a figure for each run."""
    quiet_optuna()
    plans = []
    for plan in plans_of(setting):
        try:
            data.load(plan.spec.dataset, setting.data_dir, download=False)
            plans.append(plan)
        except UserError as error:
            emit(plan.name, None, skipped=error.message)
    if not plans:
        return
    records = setting.records or setting.folder / "records"

    def heard(plan: Plan, event: Measured | Failed) -> None:
        point, seed = event.request.point, event.request.seed
        name = f"{plan.name}: {paper_name(point) or point.label}, seed {seed}"
        write_tables(plan, records / plan.name)
        if isinstance(event, Failed):
            emit(name, False, error=event.reason)
            return
        emit(name, None, **{objective: round(value, 4) for objective, value in event.measurement.values.items()})

    budget = start_budget(max(1.0, OF_THE_TIME * (end - time.monotonic())))
    how = How(data_dir=setting.data_dir, device=setting.device, workers=1 if setting.quick else None)
    train(plans, None, how, budget, heard)
    for plan in plans:
        report_on(plan, records / plan.name, emit)


def report_on(plan: Plan, folder: Path, emit: Emit) -> None:
    """Write the whole record of a study, and tell what it lacks."""
    trials = trials_of(plan)
    if not trials:
        emit(plan.name, None, skipped="out of time")
        return
    write_tables(plan, folder)
    left_out = {"no_verdicts": write_verdicts(plan, folder), "no_figures": write_figures(plan, folder)}
    emit(plan.name, None, lacks=missing(plan, trials) or "nothing", **{name: why for name, why in left_out.items() if why})


def paper_items(setting: Setting) -> list[Item]:
    """One long recording."""
    return [Item(name="the paper's studies", act=train_paper)]
