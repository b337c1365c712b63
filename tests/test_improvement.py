"""Boxes of what a front dominates, and the expected gain of hypervolume, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from fastrcaps_dse.analysis.pareto import hypervolume
from fastrcaps_dse.search.improvement import Matrix, Outcomes, boxes, expected_gain


def gains_by_definition(front: Matrix, points: Matrix, reference: Matrix) -> list[float]:
    """One hypervolume for each point."""
    limit = reference.tolist()
    return [hypervolume(np.vstack([front, point]), limit) - hypervolume(front, limit) for point in points]


@pytest.mark.parametrize("costs", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("count", [0, 1, 7, 30])
def test_boxes_make_up_what_is_dominated(costs: int, count: int) -> None:
    generator = np.random.default_rng(10 * costs + count)
    front = generator.random((count, costs)) * 1.2  # some are not below the reference
    front[:, -1] = np.round(front[:, -1] * 4) / 4  # ties
    reference = np.full(costs, 1.1)
    lower, upper = boxes(front, reference)
    assert np.prod(upper - lower, axis=1).sum() == pytest.approx(hypervolume(front, reference.tolist()))
    samples = generator.random((500, costs)) * 1.1
    inside = ((samples[:, None] >= lower) & (samples[:, None] < upper)).all(axis=2).sum(axis=1)
    dominated = np.any(np.all(front[None] <= samples[:, None], axis=2), axis=1)
    assert (inside == dominated).all()  # in one box, or none
    if costs == 3:
        assert len(lower) <= 2 * count + 1


@pytest.mark.parametrize("costs", [1, 2, 3, 4])
def test_gains_of_certain_points_are_those_of_the_definition(costs: int) -> None:
    generator = np.random.default_rng(costs)
    front, points, reference = generator.random((12, costs)), generator.random((40, costs)) * 1.2, np.full(costs, 1.1)
    outcomes = Outcomes(mean=points, deviation=0 * points, least=points - 1, most=points + 1)
    assert expected_gain(boxes(front, reference), reference, outcomes) == pytest.approx(
        gains_by_definition(front, points, reference)
    )


def test_gains_of_uncertain_points_are_means_over_samples() -> None:
    generator = np.random.default_rng(0)
    front, points, reference = 0.3 + generator.random((6, 3)), generator.random((3, 3)), np.full(3, 1.3)
    deviation = np.array([[0.2, 0.1, 0.0]] * 3)
    least, most = np.full((3, 3), 0.15), np.full((3, 3), 0.95)
    points = np.clip(points, 0.15, 0.95)
    exact = expected_gain(
        boxes(front, reference), reference, Outcomes(mean=points, deviation=deviation, least=least, most=most)
    )
    samples = np.clip(points + deviation * generator.standard_normal((3000, 3, 3)), 0.15, 0.95)
    for k in range(3):
        found = np.array(gains_by_definition(front, samples[:, k], reference))
        assert exact[k] == pytest.approx(found.mean(), abs=4 * found.std() / np.sqrt(len(found)) + 1e-9)
