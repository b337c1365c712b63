"""Scores that are not finite: a run that has them fails with the reason, wherever they appear, and its study goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from fastrcaps_dse import data, session, trainer
from fastrcaps_dse.errors import RunFailed
from fastrcaps_dse.problem.schedules import FixedBatch
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.trainer import Training
from fastrcaps_dse.trainer.steps import CAPTURE_FROM, EagerSteps, GraphSteps
from tests.sessions import opened, spec_of

CPU = torch.device("cpu")
DESIGNS = ("batch_schedule=16 decoder=small", "ws", "lenet5")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_capsnet")]


def training_of(tiny: Path, design: str = DESIGNS[0], epochs: int = 2) -> Training:
    return Training(parse_design(design), 0, data.load(str(tiny)), epochs=epochs, device=CPU)


def poison(training: Training, value: float = math.nan) -> None:
    """What an update with a gradient that is not finite leaves behind."""
    with torch.no_grad():
        for p in training.network.parameters():
            p.fill_(value)


def poisoned_after(monkeypatch: pytest.MonkeyPatch, poisons: Callable[[Training], bool]) -> None:
    """The last step of an epoch leaves weights that are not finite, in the runs and epochs that `poisons` chooses."""
    train_in_parts = Training.train_in_parts

    def poisoned(self: Training, *how: Any) -> Generator[int, None, torch.Tensor]:
        sums = yield from train_in_parts(self, *how)
        if poisons(self):
            poison(self)
        return sums

    monkeypatch.setattr(Training, "train_in_parts", poisoned)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("design", DESIGNS)
def test_no_accuracy_is_given_for_scores_that_are_not_finite(tiny: Path, design: str, value: float) -> None:
    training = training_of(tiny, design)
    images = len(training.select_split)
    training.accuracy(training.select_split)
    poison(training, value)
    assert not training.network.scores(training.select_split.images.float()).isfinite().any()
    with pytest.raises(RunFailed, match=f"the class scores of {images} of {images} images are not finite"):
        training.accuracy(training.select_split)
    with pytest.raises(RunFailed, match="of 24 of 24 images are not finite in the test of epoch 2"):
        training.test_accuracy(2)


def test_a_single_image_with_such_scores_is_found(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = training_of(tiny)
    scores = training.network.scores

    def one_is_infinite(images: torch.Tensor) -> torch.Tensor:
        found = scores(images)
        found[3, 1] = math.inf
        return found

    monkeypatch.setattr(training.network, "scores", one_is_infinite)
    with pytest.raises(RunFailed, match="of 1 of 24 images"):
        training.test_accuracy()


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("design", DESIGNS)
def test_weights_that_are_not_finite_after_the_last_step_fail_the_epoch(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, design: str, captured: bool
) -> None:
    """Every loss of the epoch was finite, as it is that before a step."""
    poisoned_after(monkeypatch, lambda training: training.done == 1)
    training = training_of(tiny, design)
    if captured:
        training.steps = GraphSteps(training.network, CPU, training.train_split)
        training.optimizer = training.steps.optimizer
        training.steps.warm_up(training.train_split, 16, CAPTURE_FROM)
        training.warm.add(16)
    else:
        assert isinstance(training.steps, EagerSteps)
    training.run_epoch()
    with pytest.raises(RunFailed, match="images are not finite after epoch 2$"):
        training.run_epoch()
    assert training.done == 1


def test_the_trial_fails_with_the_reason_and_the_study_goes_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned_after(monkeypatch, lambda training: training.point.batch_schedule == FixedBatch(size=16) and training.done == 2)
    with opened(tmp_path, spec_of(tiny)) as study:
        session.explore(study, trials=2)
        found = session.results(study)
    assert found.trials["state"].tolist() == ["done", "failed"]
    (reason,) = found.runs["reason"].dropna()
    assert reason == "the class scores of 9 of 9 images are not finite after epoch 3"
    assert len(found.front) == 1


def test_weights_that_fail_in_the_test_fail_the_trial(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of the best epoch, when they are read again."""
    load = Training.load_weights

    def broken(self: Training, path: Path) -> None:
        load(self, path)
        poison(self)

    monkeypatch.setattr(Training, "load_weights", broken)
    with opened(tmp_path, spec_of(tiny)) as study:
        session.explore(study, trials=1)
        found = session.results(study)
    assert found.trials["state"].tolist() == ["failed"]
    assert "of 24 of 24 images are not finite in the test of epoch" in found.runs["reason"][0]


def test_the_range_test_ends_at_a_loss_that_is_not_finite(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0

    def second(_: Training) -> bool:
        nonlocal steps
        steps += 1
        return steps == 12

    poisoned_after(monkeypatch, second)
    test = trainer.range_test(training_of(tiny), steps=40, lr_start=1e-6, lr_end=1e-4)
    assert len(test.losses) == 12 and all(math.isfinite(loss) for loss in test.losses)
