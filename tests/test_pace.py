"""How far an epoch is: told now and then, right, and without a change of any bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastrcaps_dse import data
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.search.protocols import Event, StepsTaken
from fastrcaps_dse.trainer import Training, pace
from fastrcaps_dse.trainer.pace import Pace
from tests.sessions import Heard, curves, explored, opened, spec_of

CPU = torch.device("cpu")


def test_at_most_four_reports_a_second() -> None:
    now = 0.0
    told = Pace(CPU, lambda: now)
    reports = []
    for step in range(1, 1001):  # of 10 ms
        now = step / 100
        if (done := told.done(step)) is not None:
            reports.append(done)
    assert reports == [*range(25, 1001, 25)]


@pytest.mark.usefixtures("small_capsnet")
def test_an_epoch_in_parts_is_the_epoch(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = data.load(str(tiny))
    whole, parts = (Training(parse_design("ws"), 0, dataset, epochs=2, device=CPU) for _ in range(2))
    expected = whole.run_epoch()
    monkeypatch.setattr(pace, "INTERVAL", 0.0)
    images, inside = [], parts.epoch_in_parts()
    with pytest.raises(StopIteration) as stop:
        while True:
            images.append(next(inside))
    size, count = expected.batch_size, len(parts.train_split)
    assert images == [min(size * step, count) for step in range(1, expected.steps + 1)] and images[-1] == count
    epoch = stop.value.value
    assert (epoch.margin_loss, epoch.reconstruction_loss, epoch.acc) == (
        expected.margin_loss,
        expected.reconstruction_loss,
        expected.acc,
    )
    assert all(torch.equal(a, b) for a, b in zip(whole.network.parameters(), parts.network.parameters(), strict=True))


class Watcher(Heard):
    """Keeps the reports."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[StepsTaken] = []

    def tell(self, event: Event) -> None:
        if isinstance(event, StepsTaken):
            self.taken.append(event)
        super().tell(event)


@pytest.mark.usefixtures("small_capsnet")
def test_an_exploration_tells_of_steps_and_measures_the_same(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for interval in (1e9, 0.0):
        monkeypatch.setattr(pace, "INTERVAL", interval)
        watcher = Watcher()
        with opened(tmp_path / str(interval), spec_of(tiny, time="measured")) as study:
            explored(study, watcher, 1)
            found.append(curves(study.store))
            assert bool(watcher.taken) == (interval == 0.0)
    assert found[0] == found[1]
    assert {taken.epoch for taken in watcher.taken} == {1, 2, 3, 4}
    assert {taken.of for taken in watcher.taken} == {study.row.train_images} == {max(taken.images for taken in watcher.taken)}
