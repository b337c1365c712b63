"""Checks of whole explorations on a device: workers side by side, too little memory; and the paper's designs as far as time goes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.gpu_checks import sample
from benchmarks.gpu_stages import Emit, Item, Setting
from fastrcaps_dse import data, session
from fastrcaps_dse.errors import UserError
from fastrcaps_dse.problem.space import NAMED_DESIGNS, DesignPoint
from fastrcaps_dse.problem.study_file import find_study_file, parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, override
from fastrcaps_dse.runs.budget import start_budget
from fastrcaps_dse.runs.executors import open_executor
from fastrcaps_dse.search.optuna_storage import quiet_optuna
from fastrcaps_dse.search.protocols import Event, TrialFailed, TrialFinished
from fastrcaps_dse.session import OpenStudy
from fastrcaps_dse.trainer import Training

STUDY = """
name = "{name}"
dataset = "{dataset}"
protocol = "paper"
epochs = 2
sampler = "exhaustive"
first = []
[space]
lr_policy = {policies}
batch_schedule = [{batch}]
weight_sharing = [false]
decoder = ["small"]
"""
POLICIES = ["fixed", "one-cycle", "exp-decay", "warm-restarts"]
BESIDE = 2  # workers
IN_A_WORKER = 1e-3  # relative difference of the losses of a run in a worker on a GPU; none on a CPU
LITTLE_BYTES = 700e6  # of GPU memory: enough for the network and Adam, not for a step of LARGE images
LARGE = 1500  # images of a batch


def small_study(setting: Setting, name: str, *, policies: list[str], batch: int) -> StudySpec:
    """A study of one batch size on mnist-sample, or in a quick test on cuttings of a few images."""
    dataset = "mnist-sample"
    if setting.quick:
        dataset = str(write_images(setting))
    text = STUDY.format(name=name, dataset=dataset, policies=str(policies).replace("'", '"'), batch=batch)
    return parse_study(text, default_name=name)


def write_images(setting: Setting) -> Path:
    """A folder with a few small images."""
    folder = setting.folder / "images"
    if not folder.exists():
        few = sample(setting, 40)
        folder.mkdir(parents=True)
        for part, split in (("train", few.train), ("t10k", few.test)):
            data.write_idx(folder / f"{part}-images-idx3-ubyte.gz", split.images[:, 0].numpy())
            data.write_idx(folder / f"{part}-labels-idx1-ubyte.gz", split.labels.numpy().astype("uint8"))
    return folder


@contextmanager
def opened(spec: StudySpec, setting: Setting, file: str) -> Iterator[OpenStudy]:
    """The study in a database of the setting's folder."""
    quiet_optuna()
    setting.folder.mkdir(parents=True, exist_ok=True)
    with session.open_study(spec, str(setting.folder / file), data_dir=setting.data_dir, device=setting.device) as study:
        yield study


# --- workers ------------------------------------------------------------------------------------------------------------


def check_workers(setting: Setting, emit: Emit, end: float) -> None:
    """The same study in this process and in two workers: equal epochs, but for what the device rounds."""
    policies = POLICIES[:2] if setting.quick else POLICIES
    curves, seconds = {}, {}
    for workers in (1, BESIDE):
        spec = small_study(setting, f"workers-{workers}", policies=policies, batch=8 if setting.quick else 16)
        with opened(spec, setting, "workers.db") as study:
            start = time.perf_counter()
            with open_executor(study.cost_model, workers=workers, fresh=True) as executor:
                session.explore(study, executor, trials=len(policies))
            seconds[f"{workers} workers"] = round(time.perf_counter() - start, 2)
            epochs = session.results(study).epochs
        curves[workers] = {(row.label, row.epoch): row.margin_loss + row.reconstruction_loss for row in epochs.itertuples()}
    same_runs = curves[1].keys() == curves[BESIDE].keys() and len(curves[1]) == 2 * len(policies)
    differs = max((abs(curves[BESIDE].get(k, math.nan) - loss) / loss for k, loss in curves[1].items()), default=math.nan)
    allowed = IN_A_WORKER if setting.on_gpu else 0.0
    emit(
        f"{BESIDE} workers against one process",
        same_runs and differs <= allowed,
        difference=differs,
        allowed=allowed,
        runs=len(policies),
        exploration_seconds=seconds,
    )


# --- too little memory ---------------------------------------------------------------------------------------------------


@contextmanager
def little_memory(setting: Setting) -> Iterator[None]:
    """A context with little memory on the GPU; on a CPU, where each step says so."""
    if setting.on_gpu:
        device = torch.device(setting.device)
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, LITTLE_BYTES / total), device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
            torch.cuda.empty_cache()
        return
    with mock.patch.object(Training, "train_on", side_effect=torch.OutOfMemoryError("out of memory")):
        yield


def check_memory(first: bool, setting: Setting, emit: Emit, end: float) -> None:
    """A trial with too little memory fails and says so: that of a `first` design, or one whose sampler measures steps."""
    name = "a run with too little memory" if first else "a sampler that measures a step with too little memory"
    spec = small_study(setting, f"memory-{first}", policies=["fixed"], batch=LARGE)
    spec = override(spec, first=tuple(spec.space.examples())[:1] if first else (), sampler="exhaustive" if first else "guided")
    with opened(spec, setting, f"memory-{first}.db") as study:
        study.cost_model.memory.bytes_of_a_run = 2**60  # so that it is tried
        failed: list[str] = []
        try:
            with little_memory(setting):
                session.explore(study, trials=1, tell=lambda e: failed.append(e.reason) if isinstance(e, TrialFailed) else None)
            emit(name, len(failed) == 1 and "too little memory" in failed[0], said=failed)
        except (RuntimeError, UserError) as error:
            emit(name, False, error=f"the study ended: {type(error).__name__}: {str(error)[:200]}")
    again = Training(
        DesignPoint(decoder="small"), 0, sample(setting, 32), epochs=1, protocol="paper", device=study.context.device
    )
    emit(f"after {name}, training goes on", math.isfinite(again.run_epoch().margin_loss))


# --- the paper's designs ---------------------------------------------------------------------------------------------------

EPOCHS = (30, 20, 15, 10, 7, 5, 3, 2, 1)  # of a run: the paper's, or as many as there is time for
BESIDE_TRAINING = 1.4  # seconds of an exploration by those of its training: evaluation, captures, checkpoints
OF_THE_TIME = 0.9  # that is left, for the exploration


def paper_study(setting: Setting) -> StudySpec:
    """The paper's study: on mnist if it is there, else on mnist-sample; one seed of its first designs."""
    spec = find_study_file("paper-mnist")
    dataset = "mnist"
    try:
        data.load("mnist", setting.data_dir, download=False)
    except UserError:
        dataset = "mnist-sample"
    first = spec.first
    if setting.quick:
        dataset, first = str(write_images(setting)), first[:2]
    return override(spec, dataset=dataset, first=first, seeds=1, trials=len(first), sampler="random")


def epochs_within(seconds: float, whole: float, most: int) -> int:
    """The epochs of each run, if those of `most` epochs take `whole` seconds in all; at least one."""
    return next((epochs for epochs in EPOCHS if epochs <= most and whole * epochs / most <= seconds), 1)


def explore_designs(setting: Setting, emit: Emit, end: float) -> None:
    """Explore the paper's designs with the time that is left; a figure for each, and how much faster than `fixed` each is."""
    spec = paper_study(setting)
    left = OF_THE_TIME * (end - time.monotonic())
    with opened(override(spec, name="estimate"), setting, "paper.db") as study:
        whole = sum(study.cost_model.forecast(point).seconds for point in spec.first_designs)
    epochs = 1 if setting.quick else epochs_within(left, BESIDE_TRAINING * whole, spec.epochs)
    emit("epochs of a run", None, epochs=epochs, estimated_seconds=round(whole * epochs / spec.epochs, 1), dataset=spec.dataset)
    found: dict[str, dict[str, Any]] = {}

    def tell(event: Event) -> None:
        if isinstance(event, TrialFinished):
            values = {name: round(value, 4) for name, value in event.measurement.values.items()}
            found[event.point.label] = values
            emit(event.point.label, None, **values)
        elif isinstance(event, TrialFailed):
            emit(event.point.label, False, error=event.reason)

    budget = start_budget(max(1.0, OF_THE_TIME * (end - time.monotonic())))
    with (
        opened(override(spec, name="paper", epochs=epochs), setting, "paper.db") as study,
        open_executor(study.cost_model, budget=budget, data_dir=setting.data_dir) as executor,
    ):
        session.explore(study, executor, trials=len(spec.first_designs), budget=budget, tell=tell)
    for point in spec.first_designs:
        if point.label not in found:
            emit(point.label, None, skipped="out of time")
    fixed = found.get(NAMED_DESIGNS["fixed"].label)
    if fixed is not None:
        faster = {label: round(fixed["time"] / values["time"], 3) for label, values in found.items() if values["time"]}
        emit("times faster than fixed", None, **faster)


def workers_items(setting: Setting) -> list[Item]:
    """One check."""
    return [Item(name=f"{BESIDE} workers against one process", act=check_workers)]


def memory_items(setting: Setting) -> list[Item]:
    """A run, and a sampler that measures."""
    return [
        Item(name="a run with too little memory", act=lambda *how: check_memory(True, *how)),
        Item(name="a sampler with too little memory", act=lambda *how: check_memory(False, *how)),
    ]


def designs_items(setting: Setting) -> list[Item]:
    """One exploration."""
    return [Item(name="the paper's designs", act=explore_designs)]
