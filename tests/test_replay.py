"""Searches replayed on a table: what they find by definition, which seconds they count, what samplers are told."""

from __future__ import annotations

import itertools
import math
import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from benchmarks.recorded import OBJECTIVES, Recorded, RecordedTable, listed_space
from benchmarks.replay import Replay, explored, make_replay
from benchmarks.replay_others import oracle, plain_optuna
from benchmarks.search import found_by, seconds_to
from benchmarks.search_methods import Outcome, methods
from benchmarks.shares import BY_EPOCH, REFERENCE, Truth, View, Volume, shuffled, truth_of, volume_of
from benchmarks.snapping import Nearest
from benchmarks.tables import wide_designs, wide_space
from fastrcaps_dse.problem.space import DesignPoint, DesignSpace, parse_design
from fastrcaps_dse.search.protocols import EpochFinished, Measured, Message, Paused, Request, RunStarted

EPOCHS, SEEDS = 4, 2
SHARED = 2  # epochs that the first two designs have in common


def design(number: int, point: DesignPoint, generator: np.random.Generator, seeds: int = SEEDS) -> Recorded:
    rises = generator.uniform(0, 20, (seeds, EPOCHS)) * generator.choice([1, 1, -1], (seeds, EPOCHS))
    curves = np.clip(40 + 3 * number + np.cumsum(rises, axis=1), 1, 99).round(2)
    prefixes = [epoch if number < 2 and epoch < SHARED else 100 * (number + 1) + epoch for epoch in range(EPOCHS)]
    return Recorded(
        point=point,
        params=10**6 * (1 + number % 3),
        seconds=(5.0,) * SHARED + tuple(float(s) for s in generator.uniform(2, 9, EPOCHS - SHARED).round(2)),
        curves={seed: tuple(map(float, curve)) for seed, curve in enumerate(curves)},
        prefixes=tuple(prefixes),
    )


def grid_table(seeds: int = SEEDS) -> RecordedTable:
    space = DesignSpace(
        lr_policy=tuple(parse_design(name).lr_policy for name in ("fixed", "one-cycle", "warm-restarts")),
        batch_schedule=tuple(parse_design(f"batch_schedule={size}").batch_schedule for size in (16, 64)),
        weight_sharing=(False, True),
        decoder=("small",),
    )
    generator = np.random.default_rng(3)
    designs = tuple(design(number, point, generator, seeds) for number, point in enumerate(space.designs()))
    return RecordedTable(designs=designs, around=space)


def sample_table() -> RecordedTable:
    generator = np.random.default_rng(4)
    designs = tuple(design(number, point, generator) for number, point in enumerate(wide_designs()[:10]))
    return RecordedTable(designs=designs, around=wide_space())


def request(point: DesignPoint, *, trial: int = 0, seed: int = 0, until: int | None = None, ends: bool = False) -> Request:
    return Request(trial=trial, point=point, seed=seed, run_id=trial + 1, attempt=1, until=until, ends=ends)


def kinds(messages: Sequence[Message]) -> list[type[Message]]:
    return [type(message) for message in messages]


def counted(points: Sequence[Sequence[float]]) -> float:
    """The volume below the reference that points dominate, cell by cell."""
    inside = [p for p in points if all(c < r for c, r in zip(p, REFERENCE, strict=True))]
    axes = [sorted({p[k] for p in inside} | {REFERENCE[k]}) for k in range(3)]
    cells = itertools.product(*(itertools.pairwise(axis) for axis in axes))
    return math.fsum(
        math.prod(high - low for low, high in cell)
        for cell in cells
        if any(all(p[k] <= cell[k][0] for k in range(3)) for p in inside)
    )


def test_the_share_is_that_of_the_definition() -> None:
    table = grid_table()
    truth = truth_of(table)
    keys = [d.point.key for d in table.designs]
    whole, stopped = [], {}
    for d in table.designs:
        ends = [curve.index(max(curve)) for curve in d.curves.values()]
        time = statistics.fmean(sum(d.seconds[: end + 1]) for end in ends)
        whole.append((-statistics.fmean(map(max, d.curves.values())), math.log(time), math.log(d.params)))
        stopped[d.point.key] = [
            (-statistics.fmean(max(c[:k]) for c in d.curves.values()), math.log(sum(d.seconds[:k])), math.log(d.params))
            for k in range(1, EPOCHS + 1)
        ]

    def scaled(points: Sequence[Sequence[float]], by: Sequence[Sequence[float]]) -> list[list[float]]:
        low, high = np.min(by, axis=0), np.max(by, axis=0)
        return ((np.array(points) - low) / (high - low)).tolist()  # type: ignore[no-any-return]

    every = [*itertools.chain(*stopped.values())]
    assert truth.share(keys[:5]) == pytest.approx(counted(scaled(whole, whole)[:5]) / counted(scaled(whole, whole)))
    assert truth.share(keys) == 1
    executor = make_replay(table, truth=truth)
    for number, d in enumerate(table.designs[:3]):
        executor.answer(request(d.point, trial=number))
    found = [*itertools.chain(*(stopped[key] for key in keys[:3]))]
    for view, by in (("anytime", every), ("accurate", whole)):
        share = counted(scaled(found, by)) / counted(scaled(every, by))
        assert executor.tally.traces[view][-1].found == pytest.approx(share), view  # type: ignore[index]


def test_designs_that_never_learned_do_not_stretch_the_scale() -> None:
    table = grid_table()
    one, *rest = table.designs
    failed = Recorded(
        point=one.point,
        params=one.params,
        seconds=one.seconds,
        curves=dict.fromkeys(range(SEEDS), (10.0,) * EPOCHS),
        prefixes=(),
    )
    low = truth_of(RecordedTable(designs=(failed, *rest), around=table.around))
    without = truth_of(RecordedTable(designs=tuple(rest), around=table.around))
    assert low.scales["whole"] == without.scales["whole"] != low.scales["anytime"]


def test_a_volume_that_grows_is_the_volume_of_all_points() -> None:
    points = np.random.default_rng(5).uniform(0, 1.3, (25, 3))
    growing, total = Volume(), 0.0
    for count, point in enumerate(points.tolist(), 1):
        gain = growing.gain([point])
        assert growing.add([point]) - total == pytest.approx(gain, abs=1e-12)
        total = growing.volume
        assert total == pytest.approx(volume_of(points[:count].tolist()))
    assert total == pytest.approx(counted(points.tolist()))


def test_the_epochs_of_a_single_seed_hold_all_that_whole_runs_hold() -> None:
    """With one seed, the time to the maximum is the seconds up to an epoch."""
    truth = truth_of(grid_table(seeds=1))
    for key in truth.designs:
        assert truth.whole[key] in truth.stopped["accurate"][key]
    assert truth.volumes["accurate"] >= truth.volumes["whole"]


def test_the_seconds_of_each_epoch_count_once() -> None:
    table = grid_table()
    first, second, *_ = table.designs
    executor = make_replay(table)
    steps = [(first, 1), (second, 1), (first, 3), (first, None), (second, None)]
    said = [[*executor.answers(request(d.point, trial=table.designs.index(d), until=until))] for d, until in steps]
    assert [kinds(messages)[-1] for messages in said] == [Paused, Paused, Paused, Measured, Measured]
    assert [sum(isinstance(m, EpochFinished) for m in messages) for messages in said] == [1, 1, 2, 1, 3]
    begins = [messages[0].accuracies for messages in said if isinstance(messages[0], RunStarted)]
    assert begins == [(), (), first.curves[0][:1], first.curves[0][:3], second.curves[0][:1]]
    # the first epochs of both are the same training with the same seed
    assert executor.spent == pytest.approx(sum(first.seconds) + sum(second.seconds[SHARED:]))
    executor.answer(request(first.point, trial=7, seed=1))
    assert executor.spent == pytest.approx(2 * sum(first.seconds) + sum(second.seconds[SHARED:]))
    assert not executor.paused


def test_a_run_that_ends_early_trains_nothing_more() -> None:
    table = grid_table()
    executor, point = make_replay(table), table.designs[3].point
    [*executor.answers(request(point, until=2))]
    spent = executor.spent
    _, last = executor.answers(request(point, until=2, ends=True))
    assert isinstance(last, Measured) and executor.spent == spent
    curve = table.designs[3].curves[0][:2]
    assert last.measurement.pruned_after == 2 and last.measurement["acc"] == max(curve)
    assert not executor.tally.runs, "it is no whole run"


@pytest.mark.parametrize("view", ["whole", *BY_EPOCH])
def test_the_oracle_gains_the_most_a_second_at_each_step(view: View) -> None:
    """Against a search of every extension at every step, with runs that have nothing in common."""
    shared = grid_table()
    apart = [replace(d, prefixes=tuple(100 * n + k for k in range(EPOCHS))) for n, d in enumerate(shared.designs)]
    table = replace(shared, designs=tuple(apart))
    truth = truth_of(table)
    done, spent = dict.fromkeys(truth.designs, 0), 0.0
    points: list[tuple[float, ...]] = []
    executor = oracle(table, 0, view=view, truth=truth)
    while open_designs := [key for key in done if done[key] < EPOCHS]:
        ends = [EPOCHS] if view == "whole" else range(1, EPOCHS + 1)
        rates = {
            (key, end): (volume_of([*points, *truth.points(view, key, done[key], end)]) - volume_of(points))
            / sum(truth.designs[key].seconds[done[key] : end])
            for key in open_designs
            for end in ends
            if end > done[key]
        }
        key, end = max(rates, key=lambda k: rates[k])
        if rates[key, end] < 1e-12:
            break
        points += truth.points(view, key, done[key], end)
        spent += sum(truth.designs[key].seconds[done[key] : end])
        done[key] = end
        assert found_by(executor.tally.traces[view], spent + 1e-6) == pytest.approx(volume_of(points) / truth.volumes[view])
    assert executor.tally.traces[view][-1].found == pytest.approx(1)


@pytest.mark.parametrize("sampler", ["guided", "freeze-thaw", "random", "nsga2"])
@pytest.mark.parametrize("make", [grid_table, sample_table])
def test_the_product_explores_a_table_whole(make: Callable[[], RecordedTable], sampler: str) -> None:
    table = make()
    executor = explored(table, 1, sampler=sampler)  # type: ignore[arg-type]
    if sampler == "freeze-thaw":
        assert executor.tally.traces["anytime"][-1].found > 0.9
        assert executor.spent <= total_seconds(table) + 1e-9
    else:
        assert executor.spent == pytest.approx(total_seconds(table))
        assert {*executor.tally.runs} == {*executor.truth.designs}
        assert executor.tally.traces["whole"][-1].found == pytest.approx(1)
    assert len(executor.thinking) >= len(executor.tally.measured)


def total_seconds(table: RecordedTable) -> float:
    """Of the runs of one seed of all designs; what two have in common counts once."""
    first, second, *rest = table.designs
    return sum(first.seconds) + sum(second.seconds[SHARED:]) + sum(sum(d.seconds) for d in rest)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_plain_optuna_repeats_designs_of_a_grid_and_none_of_a_sample(sampler: str) -> None:
    grid, sample = grid_table(), sample_table()
    repeated = plain_optuna(grid, 0, sampler=sampler, trials=30)
    assert len(repeated.tally.measured) == 30 and len(repeated.tally.runs) <= len(grid.designs)
    trained = [sum(repeated.truth.designs[run.design.key].seconds) for run in repeated.tally.measured.values()]
    assert repeated.spent == pytest.approx(sum(trained)), "a repeat is trained again"
    once = plain_optuna(sample, 0, sampler=sampler, trials=30)
    assert len(once.tally.measured) == len(once.tally.runs) == len(sample.designs)


def test_proposals_become_the_nearest_design() -> None:
    designs = wide_designs()[:20]
    nearest = Nearest(space=wide_space(), recorded=designs)
    for point in designs:
        assert nearest.to(point, lambda _: True) == point and nearest.distance(point, point) == 0
        second = nearest.to(point, partial(operator.ne, point))
        assert second is not None and second != point and nearest.distance(point, second) > 0
    one = parse_design("lr_policy=fixed(lr=3e-4) batch_schedule=32")
    assert nearest.distance(one, parse_design("lr_policy=fixed(lr=3e-3) batch_schedule=32")) == pytest.approx(1)
    assert nearest.distance(one, parse_design("lr_policy=one-cycle batch_schedule=64 decoder=small")) == 3
    assert nearest.to(one, lambda _: False) is None


def test_shuffled_seeds_change_what_searches_see_and_not_what_is_true() -> None:
    truth = truth_of(grid_table(seeds=3))
    others = [shuffled(truth, seed) for seed in range(4)]
    for other in others:
        again = Truth(other.designs)  # computed anew
        assert {**again.whole} == {key: pytest.approx(point) for key, point in truth.whole.items()}
        assert again.volumes == pytest.approx(truth.volumes) and other.volumes == truth.volumes
        one, two, *_ = other.designs.values()
        before = [*truth.designs.values()][:2]
        places = [[d.curves[s] for s in range(3)].index(b.curves[0]) for d, b in zip((one, two), before, strict=True)]
        assert places[0] == places[1], "they share their first epochs"
    assert len({tuple(d.curves[0] for d in other.designs.values()) for other in others}) == len(others)


def test_quartiles_count_searches_that_never_reach_a_goal() -> None:
    table = grid_table()
    truth = truth_of(table)
    oracles = methods(table, 30, 10)["oracle, anytime"]
    outcome = oracles.run(table, truth, 0)
    never = Outcome(traces={"anytime": []}, spent=1.0, thinking=[])
    told = seconds_to([outcome, never, never], "anytime", 0.5)
    assert told["reached"] == 1 and told["median"] is None and told["lower"] is not None
    assert found_by(outcome.traces["anytime"], 0.0) == 0 and found_by(outcome.traces["anytime"], math.inf) > 0.99


def test_a_listed_space_has_its_designs_alone() -> None:
    designs = wide_designs()[:5]
    space = listed_space(designs)
    assert space.enumerable and space.size() == 5 and [*space.designs()] == designs
    assert space.admits(designs[0]) and not space.admits(parse_design("fixed")) and len(OBJECTIVES) == 3
    assert isinstance(make_replay(sample_table()), Replay) and isinstance(truth_of(sample_table()), Truth)
