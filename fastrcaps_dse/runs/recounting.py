"""Runs counted anew: once the reference has measured what was estimated, or when a study gets another reference."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fastrcaps_dse import store
from fastrcaps_dse.capsnet.algorithms import algorithms_from_dict
from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.errors import InputError, MachineError, TooLittleMemory, nearest
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.runs.context import Context
from fastrcaps_dse.runs.cost_model import CostModel
from fastrcaps_dse.runs.reference import Reference, Scale, reference_here, stored_reference
from fastrcaps_dse.store import EpochRow, Recount, RunRow
from fastrcaps_dse.store.rows import VALUE_COLUMNS

MOST = 4  # measurements between two runs

logger = logging.getLogger(__name__)

Wanted = tuple[DesignPoint, int | None]
"""A design and a batch size of its steps; None for classifying an image."""


# --- what was estimated -----------------------------------------------------------------------------------------------------


def catch_up(cost_model: CostModel, most: int | None = MOST) -> list[int]:
    """Measure what estimated runs wait for, if this device is the reference, and count those anew that wait for nothing more.

    At most `most` are measured, or None for all. The ids of the runs that were counted. It takes next to nothing where no run waits.
    """
    context = cost_model.context
    if not store.estimated_runs(context.store, context.study.study_id):
        return []
    cost_model.refresh()
    measure_wanted(cost_model, most)
    return recount(cost_model)


def measure_wanted(cost_model: CostModel, most: int | None = MOST) -> int:
    """Measure what the estimated runs of a study wait for, if this device is its reference; how much was measured, up to `most`."""
    scale, measured = cost_model.scale, 0
    if scale.reference is None or scale.elsewhere:
        return 0
    for point, size in _wanted(cost_model, [run for run in _runs(cost_model.context) if run.time_estimated]):
        if measured == most:
            break
        if scale.stored(scale.reference, point, size) is None:
            try:
                _ = cost_model.counted_latency(point) if size is None else cost_model.counted_step(point, size)
                measured += 1
            except TooLittleMemory as error:  # these runs stay estimated
                logger.info("%s: %s", point.label, error.message)
    return measured


def recount(cost_model: CostModel) -> list[int]:
    """Count the estimated runs anew whose times the reference has all measured by now; their ids."""
    cost_model.refresh()
    context, scale, reference = cost_model.context, cost_model.scale, cost_model.scale.reference
    if reference is None:
        return []
    runs = [run for run in _runs(context) if run.time_estimated and run.measurement is not None]
    ready = [
        run
        for run in runs
        if all(scale.stored(reference, point, size) is not None for point, size in _wanted(cost_model, [run]))
    ]
    if not ready:
        return []
    counts = [_counted(cost_model, run, context.store.epochs(run.run_id)) for run in ready]
    done = store.apply_recounts(context.store, context.study.study_id, reference.to_dict(), counts)
    if done:
        logger.info("%s counted in the step times of %s", counted(len(done), "run"), reference)
    return done


# --- one run ----------------------------------------------------------------------------------------------------------------


def counted_again(
    ours: store.Store, run: RunRow, rows: Sequence[EpochRow], step_seconds: Mapping[int, float] | None
) -> list[EpochRow]:
    """The stored epochs of a run that goes on, with the seconds that they count by now; those that differ are stored.

    `step_seconds` are those of a step by batch size; None where the clock tells the time. Raises Superseded.
    """
    if step_seconds is None:
        return [*rows]
    now = [replace(row, counted_seconds=row.steps * step_seconds[row.batch_size]) for row in rows]
    changed = {row.epoch: row.counted_seconds for row, was in zip(now, rows, strict=True) if row != was}
    if changed:
        ours.count_epochs(run.run_id, run.attempt, changed)
    return now


def as_counted_here(
    cost_model: CostModel, run: RunRow, rows: Sequence[EpochRow]
) -> tuple[Measurement | None, Sequence[EpochRow]]:
    """The measurement and the epochs of a run of another study, counted as this study counts.

    The measurement is None where this study cannot count the run, for lack of memory.
    """
    measured = run.measurement
    if cost_model.context.spec.time != "steps" or measured is None:
        return measured, rows
    try:
        timeline, algorithms = cost_model.context.timeline(run.design), algorithms_from_dict(run.algorithms or {})
        seconds = cost_model.seconds_by_batch_size(timeline, run.design, algorithms)
        now = [replace(row, counted_seconds=row.steps * seconds[row.batch_size]) for row in rows]
        values = cost_model.values(run.design, now, measured.selected_epoch)
    except TooLittleMemory:
        return None, rows
    estimated = cost_model.is_estimated(run.design)
    return replace(measured, values={**measured.values, **values}, time_estimated=estimated), now


def _counted(cost_model: CostModel, run: RunRow, rows: Sequence[EpochRow]) -> Recount:
    """A run as the reference counts it, which has all the times."""
    sizes = {row.batch_size for row in rows}
    seconds = {size: cost_model.counted_step(run.design, size).seconds for size in sizes}
    now = [replace(row, counted_seconds=row.steps * seconds[row.batch_size]) for row in rows]
    epochs = {row.epoch: row.counted_seconds for row in now}
    if run.measurement is None:
        return Recount(run_id=run.run_id, epochs=epochs)
    values = {**run.measurement.values, **cost_model.values(run.design, now, run.measurement.selected_epoch)}
    others = {name: value for name, value in values.items() if name not in VALUE_COLUMNS}
    return Recount(run_id=run.run_id, epochs=epochs, time=values["time"], others=others)


def _runs(context: Context) -> list[RunRow]:
    return context.store.runs(context.study.study_id)


def _wanted(cost_model: CostModel, runs: Sequence[RunRow]) -> list[Wanted]:
    """What runs count with, each once."""
    found: dict[str, Wanted] = {}
    for run in runs:
        sizes: list[int | None] = [phase.batch_size for phase in cost_model.context.timeline(run.design).phases]
        for size in [*sizes, None] if cost_model.has_latency else sizes:
            found.setdefault(cost_model.scale.text(run.design, size), (run.design, size))
    return [*found.values()]


# --- the reference of a study -----------------------------------------------------------------------------------------------


def agree_on_reference(cost_model: CostModel, name: str | None = None) -> None:
    """Give a study that counts steps its reference: the one that it has, else the device of its first run, else this one.

    `name`, of a device, makes that one the reference, and all runs are counted anew. Raises InputError for a name that is not known or
    whose step times are lacking, MachineError where another process trains runs of the study.
    """
    context = cost_model.context
    if context.spec.time != "steps":
        if name is not None:
            raise InputError("this study takes the time from the clock, which has no reference", "leave out --reference")
        return
    stored = stored_reference(context)
    wanted = None if name is None else named_reference(context, name, stored)
    if stored is None:
        first = _of_the_first_run(context) or wanted or reference_here(context)
        stored = Reference(**store.set_reference(context.store, context.study.study_id, first.to_dict()))  # type: ignore[arg-type]
    if wanted is not None and wanted != stored:
        _change(cost_model, wanted)
    cost_model.refresh()


def named_reference(context: Context, name: str, stored: Reference | None = None) -> Reference:
    """The device of this name with its precision and software: this one, the study's `stored` reference, else one of the storage.

    Raises InputError for a device that has no step times in the storage.
    """
    here = reference_here(context)
    measured = [Reference(**row) for row in store.measured_devices(context.store)]  # type: ignore[arg-type]
    devices: list[Reference] = [here, *([stored] if stored else []), *measured]
    for one in devices:
        if one.device == name:
            return one
    names = dict.fromkeys((here.device, *(one.device for one in measured)))
    raise InputError(f"no device {name!r} has step times in this database", nearest(name, names))


def _of_the_first_run(context: Context) -> Reference | None:
    """What trained the first run of a study of an earlier version; a CapsNet before others, as they have one precision."""
    runs = sorted((run for run in _runs(context) if run.device), key=lambda run: (run.design.network != "capsnet", run.run_id))
    if not runs:
        return None
    first = runs[0]
    precision: Precision = "bfloat16" if first.precision == "bfloat16" else "float32"
    return Reference(device=str(first.device), precision=precision, software=str(first.software))


def _change(cost_model: CostModel, wanted: Reference) -> None:
    """Make another device the reference of a study, and count all its runs anew. Raises UserErrors."""
    context = cost_model.context
    seen = context.store.state(context.study.study_id).revision
    there = CostModel(context)
    there.memory = cost_model.memory
    there.scale = Scale.of(context, wanted)
    epochs = context.store.epochs_of(context.study.study_id)
    runs = [run for run in _runs(context) if epochs.get(run.run_id)]
    if there.scale.elsewhere:
        times = [there.scale.stored(wanted, point, size) for point, size in _wanted(there, runs)]
        if (lacking := times.count(None)) > 0:
            raise InputError(
                f"{wanted} has measured {len(times) - lacking} of the {counted(len(times), 'step time')} that this study counts with",
                "name it as --reference on that machine, which then measures the others",
            )
    counts = [_counted(there, run, epochs[run.run_id]) for run in runs]
    if not store.change_reference(context.store, context.study.study_id, wanted.to_dict(), counts, seen=seen):
        raise MachineError(
            "another process trains runs of this study, so its reference stays", "wait for it, or leave out --reference"
        )
