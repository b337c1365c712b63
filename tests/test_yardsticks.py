"""The yardsticks have the trainer's mathematics; what the training benchmark says of their rates; the way to an accuracy."""

from __future__ import annotations

import json
import math
import mmap
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_facts, record, training, training_cases
from benchmarks.plain_run import RUNS
from benchmarks.training_cases import VARIANTS, Case, ProcessLost, Worker, design
from benchmarks.training_goal import seconds_to
from benchmarks.training_rows import measure, speeds
from benchmarks.yardstick import (
    YARDSTICKS,
    CannotCompile,
    CompiledTraining,
    PlainCapsNet,
    PlainTraining,
    PortCapsNet,
    make_yardstick,
)
from fastrcaps_dse import data
from fastrcaps_dse.capsnet.network import CapsNet
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.trainer import Training

CPU = torch.device("cpu")
SMALL = ImageShape(channels=1, height=19, width=17, classes=3)


def network(variant: str = "full", shape: ImageShape = SMALL) -> CapsNet:
    made = CapsNet(design(variant, 4), shape)
    made.initialize(torch.Generator().manual_seed(5))
    return made


def batch(images: int = 5, shape: ImageShape = SMALL) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    pixels = torch.rand(images, shape.channels, shape.height, shape.width, generator=generator)
    return pixels, torch.randint(0, shape.classes, (images,), generator=generator)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_port_is_the_plain_network(variant: str) -> None:
    """Losses, scores and every gradient in float64, where rounding is 1e-16."""
    like = network(variant)
    plain, port = PlainCapsNet(like).double(), PortCapsNet(like).double()
    images, labels = batch()
    losses = [yardstick.loss(images.double(), labels) for yardstick in (plain, port)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-13, atol=0)
    torch.testing.assert_close(port.scores(images.double()), plain.scores(images.double()), rtol=1e-12, atol=0)
    for (name, a), b in zip(plain.named_parameters(), port.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None and a.grad.any(), name
        assert (a.grad - b.grad).norm() <= 1e-12 * a.grad.norm(), name


@pytest.mark.slow
@pytest.mark.parametrize("variant", [pytest.param("full", marks=pytest.mark.thorough), "ws+small"])
@pytest.mark.parametrize("form", YARDSTICKS)
def test_each_yardstick_trains_as_the_trainer_does(form: str, variant: str) -> None:
    """The loss of the first steps, with the trainer's own network and Adam beside it."""
    like = network(variant)
    if form == "compiled":  # what is compiled, without the slow compiler of the machine
        whole: PlainTraining = CompiledTraining(PlainCapsNet(like), backend="aot_eager")
    else:
        whole = make_yardstick(form, like, CPU)
    images, labels = batch()
    before = [p.detach().clone() for p in whole.network.parameters()]
    assert whole.prepare(images, labels) >= 0
    assert all(torch.equal(a, b) for a, b in zip(before, whole.network.parameters(), strict=True))
    optimizer = torch.optim.Adam(like.parameters(), lr=1e-3)
    for rate in (1e-3, 2e-3, 1e-3):
        margin, reconstruction = like.losses(images, labels)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        (margin + reconstruction).backward()
        optimizer.step()
        assert whole.step(images, labels, rate) == pytest.approx((margin + reconstruction).item(), rel=1e-4)


def test_only_the_port_has_a_fused_optimizer() -> None:
    fused = {form: make_yardstick(form, network(), CPU).optimizer.defaults["fused"] for form in YARDSTICKS}
    assert fused == {"plain": False, "port": True, "compiled": False}


@pytest.mark.thorough
def test_a_machine_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise OSError("no C++ compiler: g++")

    whole = CompiledTraining(PlainCapsNet(network()), backend=broken)  # type: ignore[arg-type]
    with pytest.raises(CannotCompile, match=r"torch\.compile does not work here .*no C\+\+ compiler"):
        whole.prepare(*batch())
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))  # in the process that times it
    row = measure("full", 1, ["compiled"], "cpu", 1)
    assert len(row) == 1 and row[0]["form"] == "compiled" and "torch.compile does not work here" in row[0]["skipped"]


def test_rates_are_compared_with_the_best_yardstick() -> None:
    rates = {"plain": [10.0, 11.0, 12.0], "port": [20.0, 30.0, 20.0], "compiled": [40.0, 10.0, 10.0], "float32": [60.0] * 3}
    ours = speeds("float32", rates)
    assert ours["best"] == "port"  # by the median: compiled was faster once
    assert ours["times_best"] == {"median": 3.0, "min": 2.0, "max": 3.0, "n": 3}
    assert ours["times_plain"] == {"median": 5.45, "min": 5.0, "max": 6.0, "n": 3}
    assert ours["epoch_seconds"] == 1000
    assert "times_best" not in speeds("port", rates) and "times_plain" not in speeds("plain", rates)
    assert "best" not in speeds("float32", {"float32": [60.0]})


@pytest.mark.thorough
def test_the_benchmark_from_its_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "PLACE", tmp_path)
    monkeypatch.setattr(training, "bounds", lambda: {})
    options = "--rounds 1 --batches 2 --evaluated 16 --variants ws+small --forms port,float32 --name t"
    monkeypatch.setattr(sys, "argv", ["training", *options.split()])
    training.main()
    written = json.loads((tmp_path / "t.json").read_text())
    port, ours = written["rows"]
    assert [port["form"], ours["form"]] == ["port", "float32"] and ours["best"] == "port"
    ratio = ours["images_per_second"]["median"] / port["images_per_second"]["median"]
    assert ours["times_best"]["median"] == pytest.approx(ratio, rel=0.02)
    assert all(row["peak_memory_mb"] > 50 and row["evaluated_per_second"]["median"] > 0 for row in written["rows"])
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_process_is_not_waited_for_without_end() -> None:
    case = Case(variant="full", batch_size=1, form="port", device="cpu", steps=1)
    worker = Worker(case, time.monotonic() - 1)
    with pytest.raises(ProcessLost, match="port did not answer in time"):
        worker.wait()
    assert not worker.process.is_alive()


@pytest.fixture(scope="module")
def images(tiny: Path) -> data.DataSet:
    return data.load(str(tiny))


@pytest.mark.parametrize("form", ["plain", "port", "float32"])
def test_seconds_to_an_accuracy(form: str, images: data.DataSet) -> None:
    point = parse_design("batch_schedule=8 decoder=small")
    found = seconds_to(60.0, form, point, images, CPU, epochs=6)
    assert found["seconds"] == found["trained_seconds"] > 0 and found["accuracies"][-1] >= 60
    assert all(acc < 60 for acc in found["accuracies"][:-1]) and found["epochs"] == len(found["accuracies"])
    run = RUNS.get(form, Training)(point, 0, images, epochs=6, protocol="paper", device=CPU)
    assert [round(run.run_epoch().acc, 3) for _ in range(found["epochs"])] == found["accuracies"]


def test_an_accuracy_that_is_never_reached_has_no_seconds(images: data.DataSet) -> None:
    point = parse_design("batch_schedule=16 decoder=small")
    never = seconds_to(101.0, "float32", point, images, CPU, epochs=2)
    assert never["seconds"] is None and never["epochs"] == 2 and never["trained_seconds"] > 0
    late = seconds_to(101.0, "float32", point, images, CPU, epochs=2, end=-math.inf)
    assert late["epochs"] == 0 and late["seconds"] is None


def test_the_peak_of_memory_begins_anew() -> None:
    with mmap.mmap(-1, 2**28) as block:
        block.write(bytes(2**28))
        before = training_cases.peak_bytes("cpu")
    training_cases.forget_peak("cpu")
    assert before > 2**28 and training_cases.peak_bytes("cpu") < before - 2**27


def test_what_a_card_says() -> None:
    told = gpu_facts.parse_answer("580.65.06, 1980, 1980, 2619, 700.00\n")
    assert told == {
        "driver": "580.65.06",
        "clock_mhz": 1980.0,
        "highest_clock_mhz": 1980.0,
        "memory_clock_mhz": 2619.0,
        "power_limit_w": 700.0,
    }
    assert gpu_facts.parse_answer("580.65.06, [N/A], 1980, 2619, [N/A]")["clock_mhz"] is None
    assert set(gpu_facts.parse_answer("No devices were found").values()) == {None}
    assert gpu_facts.card(CPU) == {}
