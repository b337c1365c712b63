"""A table that is recorded in part, the records of searches on it, and the seats of other libraries' searches."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import peers, record, search
from benchmarks.peers import METRICS, Peer, Seat, dimensions, point_of, take_seat
from benchmarks.recorded import ListedSpace, load_table
from benchmarks.search_curves import curves
from benchmarks.search_methods import methods
from benchmarks.search_table import Row, append, names_of
from benchmarks.shares import truth_of
from benchmarks.tables import TABLES, TablePlan, wide_designs, wide_space
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.timelines import build_timeline

IMAGES, EPOCHS = 2000, 30


def rows(point: DesignPoint, seed: int, epochs: int = EPOCHS) -> list[Row]:
    """A run whose accuracy is 20 + seed after the first epoch, and rises by 2 with each."""
    line = build_timeline(point.batch_schedule, epochs=EPOCHS, images=IMAGES)
    found = []
    for epoch in range(epochs):
        phase = line.phase_of_epoch(epoch)
        facts = (seed, epoch + 1, phase.batch_size, phase.steps_per_epoch, f"{20 + seed + 2 * epoch:.2f}", 0)
        found.append([*names_of(point), *map(str, facts)])
    return found


@pytest.fixture
def plan(tmp_path: Path) -> TablePlan:
    """The wide table with two whole runs of its first design, one of the second and third, and a part of the fourth."""
    plan = replace(TABLES["wide"], csv=tmp_path / "table.csv")
    first, second, third, fourth, *_ = wide_designs()
    for point, seed in ((first, 0), (second, 0), (third, 0), (first, 1)):
        append(plan.csv, rows(point, seed))
    append(plan.csv, rows(fourth, 0, 5))
    return plan


def test_a_table_in_part_has_the_seeds_that_all_its_designs_have(plan: TablePlan) -> None:
    table = load_table(plan)
    assert [d.point for d in table.designs] == wide_designs()[:3] and table.seeds == 1
    assert table.is_sample and isinstance(table.space, ListedSpace) and table.around == wide_space()
    assert table.facts()["runs"] == 3 and table.epochs == EPOCHS
    two = load_table(plan, 2)
    assert [d.point for d in two.designs] == wide_designs()[:1] and two.seeds == 2
    assert two.designs[0].true_cost()[0] == -(20.5 + 2 * 29)
    append(plan.csv, rows(wide_designs()[1], 0))  # recorded twice
    assert load_table(plan) == table
    with pytest.raises(SystemExit, match="search_table --table wide"):
        load_table(replace(plan, csv=plan.csv.with_name("none.csv")))


def test_seconds_are_steps_times_those_of_a_step(plan: TablePlan) -> None:
    steps = json.loads((record.PLACE / "step-times.json").read_text())["steps"]
    design = load_table(plan).designs[0]
    assert (design.point.batch_schedule.name, design.point.decoder, design.point.weight_sharing) == ("adabatch", "small", False)

    def step_seconds(size: int) -> float:
        of_variant = (key for key in steps if key.startswith("capsnet, small decoder, 3 ") and "1x28x28" in key)
        (key,) = (key for key in of_variant if key.endswith(f"batch {size}, float32"))
        return float(steps[key]["seconds"])

    assert design.seconds[0] == pytest.approx(IMAGES / 8 * step_seconds(8))
    assert design.seconds[-1] == pytest.approx(math.ceil(IMAGES / 64) * step_seconds(64))


def test_a_record_says_what_it_rests_on_and_keeps_what_is_not_renewed(
    plan: TablePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = load_table(plan)
    records = search.Records(name="wide", table=table, truth=truth_of(table))
    found = methods(table, 5, 5)
    monkeypatch.setattr(search, "steps_processor", lambda table: "a processor")
    monkeypatch.setattr(record, "PLACE", tmp_path)
    records.begin(renew=False)
    for name in ("explore random", "oracle, accurate", "oracle, anytime"):
        method = found[name]
        records.take(name, method, [method.run(table, records.truth, seed) for seed in (0, 1)])
    records.begin(renew=True)
    records.take("explore random", found["explore random"], [found["explore random"].run(table, records.truth, 3)])
    whole = json.loads((tmp_path / "search-wide.json").read_text())
    anytime = json.loads((tmp_path / "search-wide-anytime.json").read_text())
    assert whole["table"]["runs"] == 3 and whole["table"]["seconds_of_steps_measured_on"] == "a processor"
    assert {*whole["methods"]} == {"explore random"} and whole["methods"]["explore random"]["searches"] == 1
    assert {*anytime["methods"]} == {"explore random", "oracle, accurate", "oracle, anytime"}
    assert {*anytime["methods"]["explore random"]} == {"searches", "anytime", "accurate"}
    assert anytime["methods"]["oracle, anytime"]["anytime"]["found_at_the_end"]["min"] == 1
    drawn = {trace.name for trace in curves(anytime["methods"], "anytime").data if trace.name}
    assert drawn == {"random, no design twice"}


def seat_on(plan: TablePlan) -> Seat:
    table = load_table(plan)
    return take_seat(table, truth_of(table), 0)


def values_of(point: DesignPoint) -> dict[str, object]:
    """A design as a proposal of another library: texts and numbers, fields that the design lacks with any value."""
    values: dict[str, object] = {"lr_policy": point.lr_policy.name, "batch_schedule": point.batch_schedule.name}
    values |= {"weight_sharing": str(point.weight_sharing), "decoder": point.decoder}
    fields = {**vars(point.lr_policy), **vars(point.batch_schedule)}
    lacking = {"lr": 1e-3, "lr_max": 1e-3, "lr_min": 1e-4, "decay_steps": 50, "cycle": "phase", "size": 16, "head_batch": 8}
    lacking |= {"head_epochs": 1, "tail_batch": 32, "p": 4}
    return values | {
        name: str(v) if isinstance(v := fields.get(name, other), int | str) else v for name, other in lacking.items()
    }


def test_proposals_of_other_libraries_are_designs_of_the_space() -> None:
    space = wide_space()
    names = dimensions(space)
    for point in wide_designs()[:20]:
        if point.batch_schedule.name == "fixed":  # whose text is the number alone
            continue
        assert {*values_of(point)} == {*names}
        assert point_of(space, values_of(point)) == point


def test_a_seat_gives_each_design_once_and_counts_no_epoch_twice(plan: TablePlan) -> None:
    seat = seat_on(plan)
    first, second, third = (design.point for design in seat.table.designs)
    wanted = values_of(first)
    assert [seat.sit(wanted) for _ in range(4)] == [0, 1, 2, 3]
    assert seat.designs[0] == first and {*seat.designs[:3]} == {first, second, third} and seat.designs[3] == first
    seconds = seat.table.designs[0].seconds
    costs = seat.train(0, 2)
    assert costs == dict(
        zip(METRICS, [math.log(100.05 - 22), math.log(sum(seconds[:2])), math.log(seat.table.designs[0].params)], strict=True)
    )
    seat.train(3, 3)  # the same design again
    assert seat.executor.spent == pytest.approx(sum(seconds[:3])) and seat.idle == 0
    seat.sit(wanted)
    seat.train(4, 1)
    assert seat.executor.spent == pytest.approx(sum(seconds[:3])) and seat.idle == 1 and not seat.is_over


def test_a_library_that_is_missing_is_skipped_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    absent = Peer(package="no-such-library", module="no_such_library", search=peers.syne_tune)
    monkeypatch.setattr(peers, "PEERS", {"a peer": absent})
    monkeypatch.setattr(record, "PLACE", tmp_path)
    monkeypatch.setattr("sys.argv", ["peers", "--tables", "grid", "--processes", "1"])
    monkeypatch.setattr(peers, "load_table", lambda *_: pytest.fail("there is nothing to search with"))
    peers.main()
    assert "a peer: skipped, as no-such-library is not installed" in capsys.readouterr().out
    assert not [*tmp_path.iterdir()]
