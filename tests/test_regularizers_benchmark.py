"""Weight decay and smoothed labels, which `benchmarks.regularizers` adds to the trainer, against their definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.regularizers import DECAY, Decayed, Smoothed, smoothed_margin_loss, summary
from fastrcaps_dse import data
from fastrcaps_dse.capsnet.losses import margin_loss
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.trainer import Training


def test_smoothed_labels_by_hand() -> None:
    lengths, labels = torch.tensor([[0.5, 0.2]], dtype=torch.float64), torch.tensor([0])
    # targets .95 and .05: .95 (.9 - .5)^2 + .5 .05 (.5 - .1)^2 and .05 (.9 - .2)^2 + .5 .95 (.2 - .1)^2
    assert smoothed_margin_loss(lengths, labels, 0.1).item() == pytest.approx(0.152 + 0.004 + 0.0245 + 0.00475, rel=1e-12)
    assert smoothed_margin_loss(lengths, labels, 0.0) == margin_loss(lengths, labels)


@pytest.fixture
def run_of(small_capsnet: None, tiny: Path) -> Any:
    dataset = data.load(str(tiny))

    def begin(kind: type[Training]) -> Training:
        return kind(parse_design("fixed · b8"), 3, dataset, epochs=1, device=torch.device("cpu"))

    return begin


def test_weights_decay_beside_the_gradients(run_of: Any) -> None:
    plain, decayed = run_of(Training), run_of(Decayed)
    start = [p.detach().clone() for p in plain.network.parameters()]
    for run in (plain, decayed):  # one step
        run.train_on(data.Split(images=run.train_split.images[:8], labels=run.train_split.labels[:8]), 8, [1e-3])
    for before, a, b in zip(start, plain.network.parameters(), decayed.network.parameters(), strict=True):
        torch.testing.assert_close(a - b, 1e-3 * DECAY * before, rtol=1e-2, atol=1e-7)
    moved = [(a - b).abs().max().item() for a, b in zip(plain.network.parameters(), decayed.network.parameters(), strict=True)]
    assert max(moved) > 1e-7


def test_without_smoothing_a_run_is_that_of_the_trainer(run_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [e.acc for e in run_of(Training).epochs()], [e.margin_loss for e in run_of(Training).epochs()]
    smoothed = [e.margin_loss for e in run_of(Smoothed).epochs()]
    assert smoothed != whole[1]
    monkeypatch.setattr(Smoothed, "smoothing", 0.0)
    assert [e.margin_loss for e in run_of(Smoothed).epochs()] == pytest.approx(whole[1], rel=1e-6)


def test_differences_are_those_of_equal_seeds() -> None:
    values = {"plain": (90.0, 92.0, 94.0), "weight-decay": (91.0, 92.5)}
    runs = [
        {"dataset": "d", "form": form, "seed": seed, "test_acc": value}
        for form, found in values.items()
        for seed, value in enumerate(found)
    ]
    found = summary([*runs, {"dataset": "e", "form": "plain", "seed": 0, "test_acc": 10.0}], "d", "test_acc")
    assert found["plain"] == {"mean": 92.0, "error": 1.155, "n": 3} and "label-smoothing" not in found
    against = found["weight-decay"]["against_plain"]
    # differences 1 and .5: mean .75, standard error .25, t = 3 with one degree of freedom
    assert against["difference"] == 0.75 and against["p"] == pytest.approx(0.2048, abs=1e-4)
    assert against["interval_95"] == pytest.approx([0.75 - 12.706 * 0.25, 0.75 + 12.706 * 0.25], abs=1e-3)
