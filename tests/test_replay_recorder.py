"""The recorder of the tables: it goes on where it was stopped, and a prefix of the wide table is a fair sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import search_table
from benchmarks.recorded import listed_space
from benchmarks.search_table import COLUMNS, append, partial_of, record_table, recorded
from benchmarks.tables import TABLES, WIDE_BLOCK, TablePlan, wide_designs, wide_space
from fastrcaps_dse import data
from fastrcaps_dse.problem.space import DesignPoint, parse_design
from fastrcaps_dse.trainer import Epoch, Training

DESIGNS = ("batch_schedule=16 decoder=small", "lr_policy=one-cycle batch_schedule=adabatch(head_batch=8,tail_batch=24)")

pytestmark = pytest.mark.usefixtures("small_capsnet")


def plan_at(path: Path) -> TablePlan:
    designs = [*map(parse_design, DESIGNS)]
    return TablePlan(
        name=path.stem, csv=path, dataset="", epochs=3, seeds=2, designs=lambda: designs, space=lambda: listed_space(designs)
    )


@pytest.fixture
def make(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[DesignPoint, int], Training]:
    """Short runs on few images, kept in a folder of the test's own."""
    monkeypatch.setattr(search_table, "PARTIAL", tmp_path / "build")
    dataset = data.load(str(tiny))

    def training(point: DesignPoint, seed: int) -> Training:
        return Training(point, seed, dataset, epochs=3, protocol="paper", device=torch.device("cpu"))

    return training


def test_a_recording_that_is_stopped_goes_on_within_the_run(
    make: Callable[[DesignPoint, int], Training], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = plan_at(tmp_path / "whole.csv"), plan_at(tmp_path / "stopped.csv")
    assert record_table(whole, make) == 4
    trained = Counter[int]()
    run_epoch = Training.run_epoch

    def counted(run: Training) -> Epoch:
        epoch = run_epoch(run)
        trained[run.done] += 1
        if sum(trained.values()) in (2, 9):  # stopped before the epoch is kept
            raise KeyboardInterrupt
        return epoch

    monkeypatch.setattr(Training, "run_epoch", counted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            record_table(stopped, make)
    assert record_table(stopped, make, most=2) == 2 and record_table(stopped, make) == 0
    assert stopped.csv.read_bytes() == whole.csv.read_bytes()
    assert sum(trained.values()) == 4 * 3 + 2, "each stop loses the epoch that was trained, no other"
    assert not [*(tmp_path / "build").iterdir()]
    assert [row.split(",")[-6] for row in whole.csv.read_text().splitlines()[1::3]] == ["0", "0", "1", "1"], "first seeds first"


def test_a_checkpoint_behind_its_rows_is_enough(make: Callable[[DesignPoint, int], Training], tmp_path: Path) -> None:
    plan, point = plan_at(tmp_path / "table.csv"), parse_design(DESIGNS[0])
    partial, run = partial_of(plan, point, 0), make(point, 0)
    rows = [[str(run.run_epoch().acc)] for _ in range(2)]
    partial.keep(run, rows)
    partial.rows.write_text('[["a"], ["b"], ["an epoch that no checkpoint has"]]')
    assert partial.resume(again := make(point, 0)) == [["a"], ["b"]] and again.done == 2
    partial.rows.write_text('[["a"]]')  # too few
    assert partial.resume(again := make(point, 0)) == [] and again.done == 0
    assert partial.resume(again := make(parse_design(DESIGNS[1]), 0)) == [] and again.done == 0, "of another run"


def test_only_whole_runs_count_as_recorded(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    row = ["fixed", "16", "False", "small", "0", "1", "16", "3", "50.00", "1"]
    append(path, [row])
    append(path, [[*row[:4], "1", str(epoch), *row[6:]] for epoch in (1, 2)])
    assert path.read_text().splitlines()[0].split(",") == COLUMNS
    assert recorded(path, 2) == {("fixed", "16", "False", "small", "1")} and recorded(tmp_path / "none.csv", 2) == set()


def test_every_block_of_the_wide_table_is_spread_over_the_space() -> None:
    designs = wide_designs()
    space = wide_space()
    assert len({point.key for point in designs}) == len(designs) >= 60
    assert all(space.admits(point) and parse_design(point.key) == point for point in designs)
    assert TABLES["wide"].epochs == 30 and TABLES["wide"].seeds == 3
    for begin in range(0, len(designs), WIDE_BLOCK):
        block = designs[begin : begin + WIDE_BLOCK]
        assert {sum(p.weight_sharing for p in block), sum(p.decoder == "small" for p in block)} == {WIDE_BLOCK // 2}
        assert Counter(p.batch_schedule.name for p in block) == {"fixed": 4, "adabatch": 2, "adabatch-p": 2}
        assert len({p.lr_policy.name for p in block}) == 5
