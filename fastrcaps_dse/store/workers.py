"""Which processes train the runs of a study, on which machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from fastrcaps_dse.problem.space import design_from_dict
from fastrcaps_dse.store import tables
from fastrcaps_dse.store.connection import now_in
from fastrcaps_dse.store.database import Store
from fastrcaps_dse.store.owner import is_alive
from fastrcaps_dse.store.rows import StudyRow


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process and the run that it trains, or did when its heart last beat."""

    study: str
    host: str
    process: int  # its number on the host
    device: str | None  # None before the run has begun
    trial: int
    label: str  # of the design
    seed: int
    epoch: int  # of the run, the last one that is finished
    epochs: int  # of the run in all
    silent: float  # s since the last sign of life, in the database's clock
    is_alive: bool


def process_of(owner: str) -> tuple[str, int]:
    """The host of an owner, and the number that its process has there."""
    host, process, *_ = json.loads(owner)
    return str(host), int(process)


def worker_name(owner: str | None) -> str | None:
    """An owner as people tell workers apart: "host:process"; None for none."""
    return None if owner is None else "{}:{}".format(*process_of(owner))


def workers_of(ours: Store, studies: Sequence[StudyRow]) -> list[Worker]:
    """The workers of studies, by study in the order given, then by host, process and trial.

    One that has died is among them, until another process takes its run over.
    """
    by_id = {study.study_id: study for study in studies}
    c = tables.run.c
    last = sa.select(sa.func.max(tables.epoch.c.epoch)).where(tables.epoch.c.run_id == c.run_id).scalar_subquery()
    facts = (c.study_id, c.trial, c.seed, c.design, c.device, c.owner, c.heartbeat)
    query = sa.select(*facts, last.label("epoch"), now_in(ours.engine).label("now"))
    found = ours.rows(query.where((c.state == "running") & c.owner.is_not(None) & c.study_id.in_([*by_id])))
    order = {study_id: number for number, study_id in enumerate(by_id)}
    found.sort(key=lambda row: (order[row["study_id"]], *process_of(row["owner"]), row["trial"], row["seed"]))
    return [_worker(row, by_id[row["study_id"]]) for row in found]


def _worker(row: sa.RowMapping, study: StudyRow) -> Worker:
    host, process = process_of(row["owner"])
    return Worker(
        study=study.name,
        host=host,
        process=process,
        device=row["device"],
        trial=row["trial"],
        label=design_from_dict(row["design"]).label,
        seed=row["seed"],
        epoch=row["epoch"] or 0,
        epochs=study.identity["epochs"],
        silent=max(0.0, row["now"] - (row["heartbeat"] or 0.0)),
        is_alive=is_alive(row["owner"], row["heartbeat"], row["now"]),
    )
