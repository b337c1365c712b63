"""The guided search: its surrogate against known values, and its proposals against what is worth proposing."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from fastrcaps_dse.analysis.pareto import hypervolume
from fastrcaps_dse.problem.objectives import costs_of, parse_objectives
from fastrcaps_dse.search.guided import Acquisition, Candidate, GaussianProcess, Observation, encode

OBJECTIVES = parse_objectives("acc,time,params")
GRID = [*itertools.product("abc", (16, 32, 128), (False, True), ("full", "small"))]


def candidate(design: tuple[str, int, bool, str]) -> Candidate:
    policy, batch, sharing, decoder = design
    features: dict[str, float | str | bool] = {"policy": policy, "batch": str(batch), "sharing": sharing, "decoder": decoder}
    seconds = {16: 90.0, 32: 60.0, 128: 40.0}[batch] * (0.85 if sharing else 1)
    params = 8e6 - 1.4e6 * sharing - 7e4 * (decoder == "small")
    return Candidate(features=features, epochs=10, seconds=seconds, fixed={"params": params})


def observed(design: tuple[str, int, bool, str], noise: random.Random) -> Observation:
    """Effects of each dimension add up; one policy is better than the others."""
    policy, batch, sharing, _ = design
    error = 12 + {"a": 0, "b": -3, "c": 1}[policy] + {16: 0, 32: 1, 128: 4}[batch] + 0.8 * sharing
    acc = 100 - error + noise.gauss(0, 0.2)
    return Observation(candidate=candidate(design), acc=acc, time=candidate(design).seconds * noise.uniform(0.7, 1))


def test_designs_as_numbers() -> None:
    codes = encode([{"a": "x", "n": 1e-3}, {"a": "y", "n": 1e-1}, {"a": "x", "n": 1e-2, "only": 3}])
    distance = np.abs(codes[:, None] - codes[None]).sum(axis=2)
    assert distance[0, 1] == pytest.approx(2.0) and distance[0, 2] == pytest.approx(0.5)  # the text, and a decade of two


def test_a_process_interpolates_and_knows_where_it_does_not() -> None:
    codes = encode([candidate(d).features for d in GRID])
    truth = np.array([math.log(100 - observed(d, random.Random(0)).acc) for d in GRID])
    chosen = [k for k in range(len(GRID)) if k % 3]
    model = GaussianProcess(codes[chosen], truth[chosen])
    mean, deviation = model.predict(codes)
    left = [k for k in range(len(GRID)) if k % 3 == 0]
    assert np.abs(mean[left] - truth[left]).max() < 0.1 < np.ptp(truth)
    assert deviation[left].mean() > deviation[chosen].mean() > 0
    assert np.abs((mean[left] - truth[left]) / deviation[left]).max() < 4


def test_a_process_of_equal_values() -> None:
    mean, deviation = GaussianProcess(np.zeros((3, 2)), np.ones(3)).predict(np.ones((1, 2)))
    assert mean[0] == 1 and math.isfinite(deviation[0])


def share_found(order: list[int]) -> list[tuple[float, float]]:
    """(seconds, share of the hypervolume) after each design of a search."""
    results = [observed(d, random.Random(str(d))) for d in GRID]

    def cost(k: int) -> list[float]:
        values = {"acc": results[k].acc, "time": results[k].time, **results[k].candidate.fixed}
        acc, time, params = costs_of(OBJECTIVES, values)
        return [(acc + 90) / 10, math.log(time / 25) / 1.5, math.log(params / 6.5e6)]

    whole = hypervolume([cost(k) for k in range(len(GRID))], [1.1] * 3)
    spent, found, trace = 0.0, [], []
    for k in order:
        spent += results[k].candidate.seconds
        found.append(cost(k))
        trace.append((spent, hypervolume(found, [1.1] * 3) / whole))
    return trace


def guided(seed: int) -> list[int]:
    rest, order = list(range(len(GRID))), list[int]()
    while rest:
        measured = [observed(GRID[k], random.Random(str(GRID[k]))) for k in order]
        order.append(rest.pop(Acquisition(OBJECTIVES, seed).choose(measured, [candidate(GRID[k]) for k in rest])))
    return order


def test_it_finds_the_front_for_a_fraction_of_the_seconds() -> None:
    """99 % of the hypervolume in less than half the seconds of a random order, by medians over ten orders."""

    def until(trace: list[tuple[float, float]]) -> float:
        return next(seconds for seconds, share in trace if share >= 0.99)

    by_chance = sorted(until(share_found(random.Random(s).sample(range(len(GRID)), len(GRID)))) for s in range(10))
    by_guide = sorted(until(share_found(guided(s))) for s in range(3))
    assert by_guide[1] < by_chance[5] / 2


def test_other_objectives_and_edges() -> None:
    some = [observed(d, random.Random(1)) for d in GRID[:6]]
    rest = [candidate(d) for d in GRID[6:]]
    for names in ("acc", "acc,epochs", "time,params", "time_to:90,acc", "time_to:90"):
        assert 0 <= Acquisition(parse_objectives(names), 0).choose(some, rest) < len(rest)
    assert Acquisition(OBJECTIVES, 3).choose(some, rest) == Acquisition(OBJECTIVES, 3).choose(some, rest)
    assert rest[Acquisition(OBJECTIVES, 0).choose([], rest)].seconds == min(c.seconds for c in rest)  # the cheapest first
    with pytest.raises(ValueError, match="no design left"):
        Acquisition(OBJECTIVES, 0).choose(some, [])
