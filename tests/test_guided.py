"""The guided search: its surrogate against known values, and its proposals against what is worth proposing."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from scipy.special import gamma, kv

from fastrcaps_dse.analysis.pareto import hypervolume
from fastrcaps_dse.problem.objectives import costs_of, parse_objectives
from fastrcaps_dse.search.encoding import encode, encoder_of
from fastrcaps_dse.search.guided import Candidate, Observation, most_promising
from fastrcaps_dse.search.surrogate import (
    SPREAD,
    GaussianProcess,
    Kernel,
    Matrix,
    fit_kernel,
    loss,
    prior_kernel,
    squares_by_dimension,
)

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


def modeled_grid() -> tuple[Matrix, Matrix, list[int]]:
    """(codes, true values, dimensions of the columns) of the grid."""
    features = [candidate(design).features for design in GRID]
    encoder = encoder_of(features)
    truth = np.array([math.log(100 - observed(design, random.Random(0)).acc) for design in GRID])
    return encoder.encode(features), truth, encoder.dimensions


def test_a_process_interpolates_and_knows_where_it_does_not() -> None:
    codes, truth, dimensions = modeled_grid()
    chosen, left = [k for k in range(len(GRID)) if k % 3], [k for k in range(len(GRID)) if k % 3 == 0]
    model = GaussianProcess(codes[chosen], truth[chosen], fit_kernel(codes[chosen], truth[chosen], prior_kernel(dimensions)))
    mean, deviation = model.predict(codes)
    assert np.abs(mean[left] - truth[left]).max() < 0.1 < np.ptp(truth)
    assert deviation[left].mean() > deviation[chosen].mean() > 0
    assert np.abs((mean[left] - truth[left]) / deviation[left]).max() < 4
    joint = model.joint(codes[left])
    assert joint[0] == pytest.approx(mean[left]) and np.sqrt(np.diag(joint[1])) == pytest.approx(deviation[left], abs=1e-6)


def test_the_process_is_that_of_the_textbook() -> None:
    """Mean and variance by the formulas with an inverse, and Matern's kernel by that of its definition with a Bessel function."""
    generator = np.random.default_rng(0)
    codes, values, new = generator.random((9, 3)), generator.standard_normal(9), generator.random((4, 3))
    kernel = Kernel(dimensions=(0, 1, 1), logs=(0.3, -0.4, math.log(0.2)))

    def covariance(a: Matrix, b: Matrix) -> Matrix:
        lengths = np.exp([0.3, -0.4, -0.4])
        r = np.sqrt(5) * np.sqrt((((a[:, None] - b[None]) / lengths) ** 2).sum(axis=2)) + 1e-12
        found: Matrix = 2 ** (1 - 2.5) / gamma(2.5) * r**2.5 * kv(2.5, r)
        return found

    scale = max(float(values.std()), SPREAD)
    inverse = np.linalg.inv(covariance(codes, codes) + 0.2**2 * np.eye(9))
    cross = covariance(new, codes)
    mean, deviation = GaussianProcess(codes, values, kernel).predict(new)
    assert mean == pytest.approx(values.mean() + cross @ inverse @ (values - values.mean()), abs=1e-6)
    assert deviation == pytest.approx(scale * np.sqrt(1 - np.einsum("ij,jk,ik->i", cross, inverse, cross)), abs=1e-5)


def test_gradients_of_the_loss() -> None:
    codes, truth, dimensions = modeled_grid()
    squares = squares_by_dimension(codes, prior_kernel(dimensions).dimensions)
    values = (truth - truth.mean()) / truth.std()
    logs = np.random.default_rng(1).normal(0, 0.5, len(squares) + 1)
    slope = [
        (loss(logs + step, squares, values)[0] - loss(logs - step, squares, values)[0]) / 2e-5
        for step in 1e-5 * np.eye(len(logs))
    ]
    assert loss(logs, squares, values)[1] == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_a_dimension_that_does_not_count_gets_a_longer_length() -> None:
    generator = np.random.default_rng(2)
    codes = generator.random((60, 2))
    fitted = fit_kernel(codes, np.sin(6 * codes[:, 0]) + 0.05 * generator.standard_normal(60), prior_kernel([0, 1]))
    assert fitted.logs[1] > fitted.logs[0] + 1
    assert 0.01 < fitted.noise * np.sin(6 * codes[:, 0]).std() < 0.1


def test_a_process_of_equal_values() -> None:
    codes = np.zeros((3, 2))
    model = GaussianProcess(codes, np.ones(3), fit_kernel(codes, np.ones(3), prior_kernel([0, 1])))
    mean, deviation = model.predict(np.ones((1, 2)))
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


def guided() -> list[int]:
    rest, order = list(range(len(GRID))), list[int]()
    while rest:
        measured = [observed(GRID[k], random.Random(str(GRID[k]))) for k in order]
        order.append(rest.pop(most_promising(OBJECTIVES, measured, [candidate(GRID[k]) for k in rest])))
    return order


def test_it_finds_the_front_for_a_fraction_of_the_seconds() -> None:
    """99 % of the hypervolume in less than half the seconds of a random order, by the median over ten orders."""

    def until(trace: list[tuple[float, float]]) -> float:
        return next(seconds for seconds, share in trace if share >= 0.99)

    by_chance = sorted(until(share_found(random.Random(s).sample(range(len(GRID)), len(GRID)))) for s in range(10))
    assert until(share_found(guided())) < by_chance[5] / 2


def test_other_objectives_and_edges() -> None:
    some = [observed(d, random.Random(1)) for d in GRID[:6]]
    rest = [candidate(d) for d in GRID[6:]]
    for names in ("acc", "acc,epochs", "time,params", "time_to:90,acc", "time_to:90"):
        assert 0 <= most_promising(parse_objectives(names), some, rest) < len(rest)
    assert rest[most_promising(OBJECTIVES, [], rest)].seconds == min(c.seconds for c in rest)  # the cheapest first
    with pytest.raises(ValueError, match="no design left"):
        most_promising(OBJECTIVES, some, [])
