"""State that stays where it is, and memory that does not suffice, as far as a CPU can tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastrcaps_dse import data, trainer
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.trainer import Training, stopwatch

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tiny: Path) -> DataSet:
    return data.load(str(tiny))


def test_a_checkpoint_is_read_into_the_memory_of_captured_steps(dataset: DataSet, tmp_path: Path) -> None:
    """A capture knows only addresses: after loading, the optimizer's state is where it was, with the checkpoint's values."""
    first, second = (
        Training(parse_design("batch_schedule=16 decoder=small"), seed, dataset, epochs=2, device=CPU) for seed in (0, 1)
    )
    for run in (first, second):
        run.run_epoch()
    first.save(tmp_path / "first")
    states = [second.optimizer.state[p] for p in second.network.parameters()]
    tensors = [value for state in states for value in state.values()]
    second.load(tmp_path / "first", fork=True)
    now = [value for p in second.network.parameters() for value in second.optimizer.state[p].values()]
    right = [value for p in first.network.parameters() for value in first.optimizer.state[p].values()]
    assert len(now) == 3 * len(states) and all(a is b for a, b in zip(now, tensors, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(now, right, strict=True))


def test_too_little_memory_in_a_measurement_says_how_to_fix_it(dataset: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a step (for estimates, samplers and the number of workers), of a classification, and in the range test."""

    def lacks(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    point = parse_design("batch_schedule=16 decoder=small")
    training = Training(point, 0, dataset, epochs=1, device=CPU)
    monkeypatch.setattr(Training, "train_on", lacks)
    monkeypatch.setattr(stopwatch, "_repeated", lacks)
    for act in (
        lambda: trainer.range_test(training, steps=10, lr_start=1e-6, lr_end=1.0),
        lambda: trainer.measure_step(point, dataset, 16, CPU, "float32"),
        lambda: trainer.measure_latency(point, dataset, CPU, "float32"),
    ):
        with pytest.raises(MachineError, match="too little memory") as caught:
            act()
        assert "smaller batch sizes" in caught.value.hint
