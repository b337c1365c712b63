"""The trainer: what a real run does, step by step; the same root gives the same curve, continued or not."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fastrcaps_dse import data, trainer
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.errors import InputError, RunFailed
from fastrcaps_dse.problem.rates import learning_rate
from fastrcaps_dse.problem.schedules import AdaBatch
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.problem.timelines import build_timeline
from fastrcaps_dse.trainer import CheckpointError, Epoch, Training
from fastrcaps_dse.trainer.adam import Adam
from fastrcaps_dse.trainer.steps import CAPTURE_FROM, GraphSteps

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tiny: Path) -> DataSet:
    return data.load(str(tiny))


def training(dataset: DataSet, design: str = "batch_schedule=16 decoder=small", **changes: object) -> Training:
    settings: dict[str, Any] = {"epochs": 3, "device": CPU} | changes
    return Training(parse_design(design), settings.pop("seed", 0), dataset, **settings)


def curve(run: Training) -> list[dict[str, object]]:
    """The epochs without their seconds."""
    return [{k: v for k, v in asdict(epoch).items() if "seconds" not in k} for epoch in run.epochs()]


def weights(run: Training) -> list[Tensor]:
    return [p.detach().clone() for p in run.network.parameters()]


@pytest.mark.parametrize(
    "design", ["batch_schedule=adabatch(head_batch=8)", "lr_policy=one-cycle weight_sharing=true batch_schedule=16", "lenet5"]
)
@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_the_same_root_gives_the_same_curve_bit_for_bit(dataset: DataSet, design: str) -> None:
    first, second, other = (training(dataset, design, seed=seed, epochs=2) for seed in (3, 3, 4))
    assert curve(first) == curve(second) != curve(other)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 2])
@pytest.mark.usefixtures("small_capsnet")
def test_a_continued_run_is_the_uninterrupted_one(dataset: DataSet, tmp_path: Path, stop: int) -> None:
    design = "lr_policy=warm-restarts(cycle=phase) batch_schedule=adabatch(head_batch=4) decoder=small"
    whole = training(dataset, design)
    expected = curve(whole)
    begun = training(dataset, design)
    for _ in range(stop):
        begun.run_epoch()
    begun.save(tmp_path / "c.safetensors")
    continued = training(dataset, design)
    continued.load(tmp_path / "c.safetensors")
    assert curve(continued) == expected[stop:]
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(continued), strict=True))


@pytest.mark.usefixtures("small_capsnet")
def test_the_steps_of_a_real_run(dataset: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch sizes, and the learning rate that Adam really used, are those of schedule and policy at every step."""
    run = training(
        dataset, "lr_policy=warm-restarts(cycle=phase) batch_schedule=adabatch(head_batch=3,tail_batch=16)", epochs=3
    )
    images = len(run.train_split)
    assert images == 39  # the last batch of 16 is a smaller one
    sizes: list[int] = []
    rates: list[float] = []
    losses, step = run.network.losses, run.optimizer.step

    def watch_losses(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(labels))
        return losses(images, labels)

    def watch_step() -> None:
        rates.append(float(run.optimizer.param_groups[0]["lr"]))
        step()

    monkeypatch.setattr(run.steps, "warm_up", lambda *_: None)
    monkeypatch.setattr(run.network, "losses", watch_losses)
    monkeypatch.setattr(run.optimizer, "step", watch_step)
    epochs = list(run.epochs())
    assert sizes == [3] * 13 + [16, 16, 7] * 2
    line = build_timeline(AdaBatch(head_batch=3), epochs=3, images=images)
    assert rates == pytest.approx([learning_rate(run.point.lr_policy, k, line) for k in range(19)], rel=1e-6)
    assert rates[12] < 1.2e-4 and rates[13] == pytest.approx(1e-3, rel=1e-6)  # restarted at the change of batch size
    assert [(e.batch_size, e.steps) for e in epochs] == [(3, 13), (16, 3), (16, 3)]
    for epoch, (first, last) in zip(epochs, ((0, 12), (13, 15), (16, 18)), strict=True):
        assert [epoch.lr_first, epoch.lr_last] == pytest.approx([rates[first], rates[last]])


def test_one_step_is_adam_on_the_mean_loss(dataset: DataSet) -> None:
    run = training(dataset, "shift=0 batch_schedule=64 decoder=small", protocol="paper", epochs=1)
    reference = training(dataset, "shift=0 batch_schedule=64 decoder=small", protocol="paper", epochs=1)
    images = run.train_split.images.float() / 255
    parameters = list(reference.network.parameters())
    margin, reconstruction = reference.network.losses(images, run.train_split.labels)
    (margin + reconstruction).backward()
    run.run_epoch()
    for before, after in zip(parameters, run.network.parameters(), strict=True):
        assert before.grad is not None
        m, v = 0.1 * before.grad, 0.001 * before.grad**2
        expected = before - 1e-3 * (m / 0.1) / ((v / 0.001).sqrt() + 1e-8)
        clear = before.grad.abs() > 1e-6  # below, the order of the images decides the sign of the gradient, and Adam's step
        torch.testing.assert_close(after[clear], expected[clear], rtol=1e-4, atol=2e-5)
        assert (after - before).abs().max() <= 1.001e-3


@pytest.mark.slow
def test_it_learns(dataset: DataSet) -> None:
    run = training(dataset, "batch_schedule=8 decoder=small", epochs=4)
    epochs = list(run.epochs())
    assert epochs[-1].margin_loss < epochs[0].margin_loss / 2 and epochs[-1].acc == 100
    assert run.test_accuracy() == 100
    assert all(e.train_seconds > 0 and e.eval_seconds > 0 for e in epochs)


@pytest.mark.usefixtures("small_capsnet")
def test_designs_of_one_seed_start_with_the_same_weights(dataset: DataSet) -> None:
    a, b = training(dataset, "wab"), training(dataset, "fixed")
    assert all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))
    small = training(dataset, "decoder=small")
    assert small.params < a.params
    assert not torch.equal(
        trainer.epoch_images(a.train_split, 0, 0, 2).images, trainer.epoch_images(a.train_split, 0, 1, 2).images
    )


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_an_epoch_shows_each_image_once_shifted(shift: int) -> None:
    """Every image of the epoch is one of the set's, moved by up to `shift` pixels, zeros moved in; none twice."""
    side = 5
    images = torch.arange(1, 61, dtype=torch.uint8).view(60, 1, 1, 1).repeat(1, 1, side, side)
    split = data.Split(images=images, labels=torch.arange(60))
    shown = trainer.epoch_images(split, seed=1, epoch=0, shift=shift)
    assert sorted(shown.labels.tolist()) == list(range(60)) and shown.labels.tolist() != list(range(60))
    moves = set()
    for image, label in zip(shown.images[:, 0], shown.labels.tolist(), strict=True):
        filled = image == label + 1
        rows, columns = (filled.any(d).nonzero().flatten().tolist() for d in (1, 0))
        assert int((image != 0).sum()) == len(rows) * len(columns)
        down = rows[0] if rows[0] else rows[-1] - (side - 1)
        right = columns[0] if columns[0] else columns[-1] - (side - 1)
        assert max(abs(down), abs(right)) <= shift
        moves.add((down, right))
    assert len(moves) > 2 * shift**2


@pytest.mark.usefixtures("small_capsnet")
def test_protocols(dataset: DataSet) -> None:
    paper, honest = training(dataset, protocol="paper"), training(dataset)
    assert len(paper.train_split) == len(dataset.train) and torch.equal(paper.select_split.images, dataset.test.images)
    assert len(honest.train_split) + len(honest.select_split) == len(dataset.train)


@pytest.mark.usefixtures("small_capsnet")
def test_a_loss_that_is_not_finite_fails_the_run(dataset: DataSet) -> None:
    run = training(dataset, "lr_policy=fixed(lr=1e30) batch_schedule=16")
    with pytest.raises(RunFailed, match=r"not finite in epoch \d"):
        list(run.epochs())


@pytest.mark.usefixtures("small_capsnet")
def test_checkpoints_that_cannot_be_used(dataset: DataSet, tmp_path: Path) -> None:
    run = training(dataset)
    run.run_epoch()
    path = tmp_path / "c.safetensors"
    run.save(path)
    whole = path.read_bytes()
    for cut in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError):
            training(dataset).load(path)
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match="another run"):
        training(dataset, seed=1).load(path)
    with pytest.raises(CheckpointError, match="another run"):
        training(dataset, "wab").load(path)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.usefixtures("small_capsnet")
def test_weights_go_out_and_come_back(dataset: DataSet, tmp_path: Path) -> None:
    run = training(dataset)
    run.run_epoch()
    run.save_weights(tmp_path / "w.safetensors")
    other = training(dataset, seed=9)
    other.load_weights(tmp_path / "w.safetensors")
    assert other.test_accuracy() == run.test_accuracy()
    assert all(torch.equal(a, b) for a, b in zip(weights(run), weights(other), strict=True))


def test_bfloat16_learns_as_well(dataset: DataSet) -> None:
    run = training(dataset, "batch_schedule=8 decoder=small", epochs=4, precision="bfloat16")
    epochs = list(run.epochs())
    assert epochs[-1].acc == 100 and all(p.dtype == torch.float32 for p in run.network.parameters())


@pytest.mark.usefixtures("small_capsnet")
def test_the_range_test(dataset: DataSet) -> None:
    test = trainer.range_test(training(dataset, "batch_schedule=16"), steps=16, lr_start=1e-6, lr_end=1.0)
    assert test.rates[0] == 1e-6 and all(a < b for a, b in zip(test.rates, test.rates[1:], strict=False))
    assert len(test.losses) == len(test.rates) and all(math.isfinite(loss) for loss in test.losses)
    with pytest.raises(InputError, match="not finite from the first step"):
        broken = training(replace(dataset, train=dataset.train))
        with torch.no_grad():
            for p in broken.network.parameters():
                p.fill_(math.nan)
        trainer.range_test(broken, steps=10, lr_start=1e-6, lr_end=1.0)


def test_the_suggestion_is_where_the_loss_falls_fastest() -> None:
    rates = [10 ** (-6 + k / 20) for k in range(100)]
    losses = [1 / (1 + math.exp(8 * (math.log10(rate) + 3))) for rate in rates]  # steepest at 1e-3
    found = trainer.RangeTest(rates=tuple(rates), losses=tuple(losses)).suggestion()
    assert found is not None and 3e-4 < found[1] < 5e-3 and found[0] == pytest.approx(found[1] / 10)
    assert trainer.RangeTest(rates=tuple(rates), losses=tuple(rates)).suggestion() is None


def test_devices_and_precisions_by_name() -> None:
    assert trainer.choose_device("cpu") == CPU
    with pytest.raises(InputError, match="no device 'tpu'"):
        trainer.choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no device 'cuda'") as error:
            trainer.choose_device("cuda")
        assert "cpu" in error.value.hint
    assert trainer.choose_precision(CPU, "bfloat16") == "bfloat16" and trainer.choose_precision(CPU) in ("float32", "bfloat16")
    with pytest.raises(InputError, match="unknown precision"):
        trainer.choose_precision(CPU, "float8")


@pytest.mark.usefixtures("small_capsnet")
def test_an_epoch_is_a_plain_record(dataset: DataSet) -> None:
    epoch = training(dataset).run_epoch()
    assert isinstance(epoch, Epoch) and epoch.epoch == 1 and 0 <= epoch.acc <= 100


@pytest.mark.slow
@pytest.mark.parametrize("design", ["batch_schedule=16", "ws batch_schedule=3"])
@pytest.mark.usefixtures("small_capsnet")
def test_captured_steps_are_the_eager_ones(dataset: DataSet, design: str) -> None:
    """The steps that find their images and learning rate on the device, not captured here, against the eager ones."""
    run, other = (training(dataset, design.replace("ws ", "weight_sharing=true decoder=small ")) for _ in range(2))
    size = run.timeline.phases[0].batch_size
    graph = GraphSteps(other.network, CPU, other.train_split)
    graph.warm_up(other.train_split, size, steps=1000)
    assert sorted(graph.replays) == sorted({size, 39 % size} - {0})  # the last, smaller batch has its own
    for epoch in range(2):
        images = trainer.epoch_images(run.train_split, 0, epoch, 2)
        rates = [2.0 ** -(10 + k) for k in range(-(-39 // size))]  # exact in float32, in which the device keeps them
        assert torch.equal(graph.run(images, size, rates), run.train_on(images, size, rates))
    assert all(torch.equal(a, b) for a, b in zip(weights(run), weights(other), strict=True))


@pytest.mark.usefixtures("small_capsnet")
def test_a_capture_leaves_weights_and_optimizer_as_they_were(dataset: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    run = training(dataset)
    steps = GraphSteps(run.network, CPU, run.train_split)
    before = weights(run)

    def take_some(images: data.Split, size: int) -> Callable[[], None]:
        steps.run(images, size, [1e-3] * 2)
        return lambda: steps._step_on_next(size)

    monkeypatch.setattr(steps, "_capture", take_some)
    steps.warm_up(run.train_split, 16, steps=1000)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(run), strict=True))
    assert not any(value.any() for state in steps.optimizer.state.values() for value in state.values())
    steps.replays.clear()
    steps.run(run.train_split, 16, [1e-3])
    before, moments = weights(run), [s["exp_avg"].clone() for s in steps.optimizer.state.values()]
    steps.warm_up(run.train_split, 16, steps=1000)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(run), strict=True))
    assert all(torch.equal(a, s["exp_avg"]) for a, s in zip(moments, steps.optimizer.state.values(), strict=True))
    steps.warm_up(run.train_split, 5, steps=CAPTURE_FROM - 1)
    assert 5 not in steps.replays  # too few steps to repay it


@pytest.mark.usefixtures("small_capsnet")
def test_warming_up_changes_nothing_and_counts_apart(dataset: DataSet) -> None:
    run = training(dataset, "batch_schedule=adabatch(head_batch=4)", epochs=3)
    before = weights(run)
    assert run.warm_up(4, steps=10) > 0
    assert all(torch.equal(a, b) for a, b in zip(before, weights(run), strict=True)) and not run.optimizer.state
    epochs = list(training(dataset, "batch_schedule=adabatch(head_batch=4)", epochs=3).epochs())
    warm = [e.warm_up_seconds for e in epochs]
    assert [e.batch_size for e in epochs] == [4, 16, 16] and warm[2] < min(warm[:2])


def test_adam_is_that_of_pytorch_to_the_last_bit() -> None:
    generator = torch.Generator().manual_seed(3)
    shapes = [(5, 7), (3,), (2, 3, 4)]
    start = [torch.randn(*shape, generator=generator) for shape in shapes]
    ours, theirs, unused = ([torch.nn.Parameter(t.clone()) for t in start] for _ in range(3))
    settings: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    mine = Adam([*ours, unused[0]], lr=1e-3, **settings)
    pytorchs = torch.optim.Adam(theirs, lr=1e-3, fused=True, **settings)
    for rate in (1e-3, 3e-3, 0.0, 1e-4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        mine.param_groups[0]["lr"] = pytorchs.param_groups[0]["lr"] = rate
        mine.step()
        pytorchs.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b) and mine.state[a].keys() == pytorchs.state[b].keys()
        assert all(torch.equal(value, pytorchs.state[b][name]) for name, value in mine.state[a].items())
    assert unused[0] not in mine.state and torch.equal(unused[0], start[0])
    mine.zero_grad()
    assert all(p.grad is None for p in ours)


@pytest.mark.slow
def test_training_on_a_cpu_loads_no_compiler(dataset: DataSet) -> None:
    """It would take a second of each process."""
    code = (
        "import sys, torch; from fastrcaps_dse import Training, data, parse_design; from fastrcaps_dse.capsnet import sizes\n"
        "sizes.CONV_CHANNELS, sizes.CAPSULE_TYPES = 8, 2\n"
        "run = Training(parse_design('batch_schedule=128'), 0, data.load('mnist-sample'), epochs=1, device=torch.device('cpu'))\n"
        "run.run_epoch(); print('torch._dynamo' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


@pytest.mark.usefixtures("small_capsnet")
def test_others_may_read_weights_as_they_may_other_files(dataset: DataSet, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    training(dataset).save_weights(tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
