"""The rows of the training benchmark: the forms of one network variant and batch size, timed in turn."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import record
from benchmarks.training_cases import EPOCH_IMAGES, EVALUATED, Case, Worker
from benchmarks.yardstick import YARDSTICKS

STEPS = {1: 30, 16: 6, 128: 2}  # of one timing on a CPU
EVALUATIONS = 3  # timings of the evaluation


def steps_of(batch_size: int, form: str, device: str) -> int:
    """The steps of one timing."""
    if device == "cpu":
        return STEPS.get(batch_size, 2)
    return 30 if form in YARDSTICKS else max(30, 6000 // batch_size)


def measure(
    variant: str,
    batch_size: int,
    forms: Sequence[str],
    device: str,
    rounds: int,
    *,
    end: float = math.inf,
    profiled: bool = True,
    evaluated: int = EVALUATED,
) -> list[dict[str, Any]]:
    """The rows of one variant and batch size: the forms in turn, `rounds` times.

    Arguments:
        forms: yardsticks (plain, port, compiled) and precisions of the trainer (float32, bfloat16).
        end: the moment of time.monotonic() at which to give up.
        profiled: whether the full network's rows have a profile.
        evaluated: images of one timing of the evaluation.

    A form that does not work here has a row that says why. Raises ProcessLost for a process that dies, or at the end.
    """
    workers = []
    try:
        for form in forms:  # one after the other, so that none compiles or captures beside another
            steps = steps_of(batch_size, form, device)
            case = Case(variant=variant, batch_size=batch_size, form=form, device=device, steps=steps, evaluated=evaluated)
            workers.append(Worker(case, end))
            workers[-1].wait()
        able = [worker for worker in workers if worker.skipped is None]
        rows = _rows(able, rounds, profiled=profiled and variant == "full")
    finally:
        for worker in workers:
            worker.stop(now=time.monotonic() > end)
    for worker in workers:
        if worker.skipped is not None:
            rows.append(_head(worker) | {"skipped": worker.skipped})
    return rows


def _head(worker: Worker) -> dict[str, Any]:
    return {"variant": worker.case.variant, "batch_size": worker.case.batch_size, "form": worker.case.form}


def _rows(workers: Sequence[Worker], rounds: int, *, profiled: bool) -> list[dict[str, Any]]:
    """A row for each of the workers, asked in turn."""
    rates: dict[str, list[float]] = {worker.case.form: [] for worker in workers}
    evaluation: dict[str, list[float]] = {worker.case.form: [] for worker in workers}
    for turn in range(rounds + 1):
        for worker in workers:
            seconds, _ = worker.ask("train")
            if turn:  # the first one warms up
                rates[worker.case.form].append(worker.case.batch_size * worker.case.steps / seconds)
    memory = {worker.case.form: worker.ask("memory")[1] for worker in workers}
    for turn in range(min(rounds, EVALUATIONS) + 1):
        for worker in workers:
            if worker.case.form == "compiled":  # it compiles the training alone
                continue
            seconds, _ = worker.ask("evaluate")
            if turn:
                evaluation[worker.case.form].append(worker.case.evaluated / seconds)
    rows = []
    for worker in workers:
        form = worker.case.form
        row = _head(worker) | speeds(form, rates) | {"peak_memory_mb": round(memory[form] / 1e6)}
        if form == "compiled":
            row["compile_seconds"] = round(worker.compile_seconds, 2)
        else:
            row["evaluated_per_second"] = record.spread(evaluation[form])
        if form not in YARDSTICKS and (algorithm := worker.ask("algorithm")[1]):
            row["algorithm"] = algorithm
        if profiled and form not in YARDSTICKS:
            row["profile"] = worker.ask("profile")[1].splitlines()
        rows.append(row)
    return rows


def speeds(form: str, rates: dict[str, list[float]]) -> dict[str, Any]:
    """What the images a second of all forms, round by round, say of one of them.

    `times_plain` is its rate by that of plain, and `times_best` that by the rate of the yardstick with the highest median; both
    round by round. Yardsticks are not compared with themselves.
    """
    rate = record.spread(rates[form])
    found: dict[str, Any] = {
        "images_per_second": rate,
        "epoch_seconds": float(f"{EPOCH_IMAGES / rate['median']:.4g}"),
    }

    def by(other: str) -> dict[str, float]:
        return record.spread([a / b for a, b in zip(rates[form], rates[other], strict=True)])

    if form != "plain" and "plain" in rates:
        found["times_plain"] = by("plain")
    measured = [yardstick for yardstick in YARDSTICKS if yardstick in rates]
    if form not in YARDSTICKS and measured:
        best = max(measured, key=lambda yardstick: statistics.median(rates[yardstick]))
        found |= {"times_best": by(best), "best": best}
    return found
