"""Memory: what lacks it fails alone and with the reason, and what a run needs is known before it is trained."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fastrcaps_dse import cores, session, trainer
from fastrcaps_dse.capsnet import convolution, memory, routing, sizes
from fastrcaps_dse.capsnet.algorithms import DFT_UP_TO, TILES_UP_TO, Algorithms, contenders, default_algorithm, phase_points
from fastrcaps_dse.capsnet.memory import Load, evaluation_batch, largest, largest_batch, training_bytes
from fastrcaps_dse.capsnet.network import CapsNet
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.data import DataSet, Split
from fastrcaps_dse.errors import InputError, RunFailed, TooLittleMemory
from fastrcaps_dse.problem.space import DesignPoint, parse_design
from fastrcaps_dse.runs import cost_model as cost_models
from fastrcaps_dse.trainer import Training
from fastrcaps_dse.trainer.algorithm_choice import _time_in_turn
from fastrcaps_dse.trainer.memory import lacks_memory
from tests.conftest import Command, write_tiny
from tests.limited_memory import IMAGES, WHERE
from tests.sessions import Heard, opened, spec_of

CPU = torch.device("cpu")
VARIANTS = ("fixed", "decoder=small", "weight_sharing=true", "ws")
MUCH = 2**60  # bytes


def shape_of(side: int, channels: int = 3, classes: int = 10) -> ImageShape:
    return ImageShape(channels=channels, height=side, width=side, classes=classes)


# --- recognized ---------------------------------------------------------------------------------------------------------


def test_lacks_of_memory_are_recognized_as_they_happen() -> None:
    for allocate in (lambda: torch.empty(2**50), lambda: np.empty(2**50), lambda: bytearray(2**60)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert lacks_memory(caught.value)
        with pytest.raises(TooLittleMemory, match="too little memory") as clear, trainer.clear_device_errors():
            allocate()
        assert "smaller batch sizes" in clear.value.hint


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] data. DefaultCPUAllocator: not enough memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("MPS backend out of memory"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_what_libraries_say_of_too_little_memory_is_recognized(error: Exception) -> None:
    assert lacks_memory(error)
    later = RuntimeError("operation failed due to a previous error during capture")
    later.__context__ = error
    assert lacks_memory(later)


@pytest.mark.parametrize(
    "error", [RuntimeError("an illegal memory access was encountered"), OSError(errno.ENOSPC, "disk full"), RunFailed("x")]
)
def test_other_errors_are_not(error: Exception) -> None:
    assert not lacks_memory(error)
    with pytest.raises(type(error)) as caught, trainer.clear_device_errors():
        raise error
    assert caught.value is error


def test_an_algorithm_that_lacks_memory_is_left_out() -> None:
    def lacks() -> None:
        raise RuntimeError("can't allocate memory")

    assert [*_time_in_turn({"dft": lacks, "tiles": lambda: None})] == ["tiles"]
    with pytest.raises(MemoryError):
        _time_in_turn({"dft": lacks})


# --- a study whose memory is limited --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("limited") / "images", train=IMAGES, test=IMAGES)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit of the address space is Linux's")
@pytest.mark.parametrize(
    "where", [name if name == "training" else pytest.param(name, marks=pytest.mark.thorough) for name in WHERE]
)
def test_a_design_that_lacks_memory_fails_alone(where: str, images: Path, tmp_path: Path) -> None:
    """In a process, or workers, with little memory: while steps are timed, trained, evaluated, tested or forecast."""
    (tmp_path / "images").symlink_to(images)
    environment = os.environ | {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1", "FASTRCAPS_ALGORITHMS": "default"}
    command = [sys.executable, "-m", "tests.limited_memory", where, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    if where == "estimate":
        (warning,) = said["warnings"]
        assert f"batches of {IMAGES} images need about" in warning and "images fit" in warning
        assert said["states"] == {"100": "done", "50": "done"} and said["reasons"] == []
        return
    failed = {"evaluation": "100 ws", "test": "100 ws"}.get(where, str(IMAGES))
    assert said["states"].pop(failed) == "failed"
    assert set(said["states"].values()) == {"done"} and said["front"] >= 1
    assert said["reasons"] == ["the device has too little memory for this batch size"]
    assert said["large_steps"] <= 1  # what lacks memory is not tried again


def test_a_measurement_that_lacks_memory_is_not_repeated(
    tiny: Path, tmp_path: Path, small_capsnet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def lacks(point: Any, dataset: Any, batch_size: int, *_: Any, **__: Any) -> Any:
        tried.append(batch_size)
        raise TooLittleMemory("too little")

    monkeypatch.setattr(cost_models, "measure_step", lacks)
    point = parse_design("batch_schedule=16 decoder=small")
    with opened(tmp_path, spec_of(tiny)) as study:
        costs = study.cost_model
        for _ in range(3):
            with pytest.raises(TooLittleMemory, match="too little"):
                costs.step_seconds(point, 16)
            assert costs.forecast(point).seconds == float("inf") and costs.forecast(point).fixed["params"] > 0
            assert costs.run_seconds(point) == costs.first_epoch_seconds(point) == float("inf")
            assert costs.bounds(point, "time") == (float("inf"), float("inf"))
        assert tried == [16]
        assert costs.occupancy(point) == 1


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["guided", "exhaustive"])
def test_where_every_measurement_lacks_memory_every_trial_fails_and_the_study_ends(
    tiny: Path, tmp_path: Path, small_capsnet: None, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    def lacks(*_: Any, **__: Any) -> Any:
        raise TooLittleMemory("too little")

    monkeypatch.setattr(cost_models, "measure_step", lacks)
    with opened(tmp_path, spec_of(tiny, sampler=sampler, first=())) as study:
        session.explore(study, trials=2)
        found = session.results(study)
        assert found.trials["state"].tolist() == ["failed"] * 2 and found.runs["reason"].tolist() == ["too little"] * 2
        assert found.front.empty


# --- before training ------------------------------------------------------------------------------------------------------


def test_designs_that_cannot_fit_are_ruled_out_and_told_once(
    tiny: Path, tmp_path: Path, small_capsnet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "EVALUATED", 1)
    heard = Heard()
    with opened(tmp_path, spec_of(tiny)) as study, heard.listening():
        guard = study.cost_model.memory
        small, large = parse_design("batch_schedule=16 decoder=small"), parse_design("batch_schedule=32 decoder=small")
        guard.bytes_of_a_run = guard.bytes_of(small)
        assert guard.admits(small) and not guard.admits(large) and not guard.admits(large)
        assert guard.bytes_of(large) > guard.bytes_of(small)
    assert len(heard.warnings) == 1 and "batches of up to 1" in heard.warnings[0]


def test_train_refuses_a_design_that_cannot_fit(
    command: Command, tiny: Path, small_capsnet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "available_memory", lambda *_: 10**6)
    said = command("train", "--design", "batch_schedule=16 decoder=small", "--dataset", tiny, "--device", "cpu", "--epochs", 1)
    assert said.code == InputError.exit_code
    assert "too little memory: batches of 16 images need about" in said.err and "no batch size fits" in said.err


def test_the_address_space_of_a_process_counts() -> None:
    code = (
        "import resource; from fastrcaps_dse import cores; before = cores.available_memory(); "
        "resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31)); print(before, cores.available_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert 0 < after < 2**31 and (before < 2**31 or after < before)


# --- the estimate -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("design", [*VARIANTS, "lenet5"])
@pytest.mark.parametrize("side", [17, 28, 64, 128, 227])
def test_larger_batches_need_more_memory(design: str, side: int) -> None:
    point, shape = parse_design(design), shape_of(side)
    needs = [training_bytes(Load(point=point, shape=shape, batch=batch), 1000) for batch in range(1, 300)]
    assert all(a > 4 * 4 * sizes.parameter_count(point, shape) for a in needs)
    assert needs[-1] > needs[0] or design == "lenet5"  # whose evaluation needs more than its steps
    room = needs[150]
    fits = largest_batch(Load(point=point, shape=shape, batch=299), 1000, room)
    assert needs[fits - 1] <= room and (fits == 299 or needs[fits] > room or fits >= 150)


def test_the_largest_number_that_fits() -> None:
    for most in range(40):
        for limit in range(45):
            assert largest(lambda n, limit=limit: n <= limit, most) == min(most, limit)  # type: ignore[misc]


def test_what_cannot_fit_is_said() -> None:
    """A matrix for each of the 359,552 input capsules of a 227x227 image and each of 196 classes: 36 GB of weights, 144 to train."""
    shape = shape_of(227, classes=196)
    point = DesignPoint()
    assert sizes.parameter_count(point, shape) * 4 > 36e9
    assert largest_batch(Load(point=point, shape=shape, batch=128), 100, 100e9) == 0
    shared = Load(point=parse_design("ws"), shape=shape, batch=128)
    assert 1 <= largest_batch(shared, 100, 20e9) < 128


@pytest.mark.parametrize("side", [28, 32])
def test_small_images_are_evaluated_as_before(side: int) -> None:
    for design in VARIANTS:
        for channels in (1, 3):
            for kind in (torch.float32, torch.bfloat16):
                assert evaluation_batch(parse_design(design), shape_of(side, channels), kind) == 500


def test_large_images_are_evaluated_few_at_a_time() -> None:
    for design in VARIANTS:
        point, shape = parse_design(design), shape_of(224)
        few = evaluation_batch(point, shape)
        assert 1 <= few < 50
        assert memory.classification_bytes(Load(point=point, shape=shape, batch=few)) <= memory.EVALUATION_BYTES


def test_the_way_of_small_images_does_not_change() -> None:
    """Chunks and algorithms of 28x28 and 32x32 images, on which their bits depend."""
    for side in (28, 32):
        grid = sizes.primary_grid(shape_of(side))
        assert phase_points(grid) <= TILES_UP_TO < DFT_UP_TO
        assert convolution.rows_at_once(grid, 32, 81 * 256 * 4) == grid[0]
        inputs = 32 * grid[0] * grid[1]
        assert routing.images_at_once(inputs * 10 * 16 * 4, "cpu") >= routing.ROUTE_CHUNK
        assert routing.images_at_once(2 * inputs * 10 * 4, "cpu") >= 500
        for batch in range(1, 600):
            for kind in (torch.float32, torch.bfloat16):
                assert default_algorithm(batch, kind, grid) == default_algorithm(batch, kind)
                assert contenders(batch, kind, grid) == contenders(batch, kind)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_large_grids_have_no_dense_transforms(kind: torch.dtype) -> None:
    for side in range(17, 240, 7):
        grid = sizes.primary_grid(shape_of(side))
        for batch in (1, 4, 8, 16, 64, 500):
            assert default_algorithm(batch, kind, grid) in contenders(batch, kind, grid)
            if side > 72:
                assert contenders(batch, kind, grid) == ("direct",)


# --- in parts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("design", VARIANTS)
@pytest.mark.usefixtures("small_capsnet")
def test_parts_give_what_the_whole_gives(design: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses and all gradients, the images' too, with a few rows, and one or two images, at a time."""
    shape = ImageShape(channels=2, height=31, width=26, classes=5)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(5, 2, 31, 26, generator=generator, dtype=torch.float64)
    labels = torch.arange(5)

    def results() -> list[torch.Tensor]:
        network = CapsNet(parse_design(design), shape, algorithms=Algorithms(chosen={5: "direct"})).double()
        asked = images.clone().requires_grad_()
        margin, reconstruction = network.losses(asked, labels)
        inputs = [asked, *network.parameters()]
        return [margin.detach(), *torch.autograd.grad(margin + reconstruction, inputs)]

    whole = results()
    taken: set[int] = set()

    def few(count: int) -> Any:
        def at_once(*_: object) -> int:
            taken.add(count)
            return count

        return at_once

    monkeypatch.setattr(convolution, "rows_at_once", few(3))
    monkeypatch.setattr(routing, "images_at_once", few(2))
    parts = results()
    assert taken == {2, 3}
    for a, b in zip(parts, whole, strict=True):
        assert (a - b).abs().max() <= 1e-12 * b.abs().max()


@pytest.mark.thorough
def test_large_pictures_of_many_classes_train_at_the_batch_size_that_is_advised() -> None:
    """A step and an evaluation of a 227x227 RGB image of 196 classes, with weight sharing."""
    shape, point = shape_of(227, classes=196), parse_design("ws")
    advised = largest_batch(Load(point=point, shape=shape, batch=1), 1, cores.available_memory())
    if advised == 0:
        pytest.skip("this machine's memory does not suffice")
    split = Split(
        images=torch.randint(0, 256, (1, 3, 227, 227), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
        labels=torch.tensor([195]),
    )
    few = Split(images=split.images[:1], labels=split.labels[:1])
    dataset = DataSet(name="large", train=split, test=few, shape=shape)
    training = Training(point, 0, dataset, epochs=1, protocol="paper", device=CPU, precision="float32")
    sums = training.train_on(Split(images=split.images[:advised], labels=split.labels[:advised]), advised, [1e-3])
    assert sums.isfinite().all() and sums[0] > 0
    assert training.test_accuracy() in (0.0, 100.0)
