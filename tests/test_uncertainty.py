"""Probabilities of being on the front, against closed forms and simulated truths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fastrcaps_dse.analysis import pareto, uncertainty


def test_one_objective_is_a_t_test() -> None:
    """Two designs, one objective: P(a < b) is that of a t with the pooled degrees of freedom."""
    a, b = [[1.0], [1.4], [1.2]], [[1.5], [1.3], [1.7], [1.9]]
    first, second = uncertainty.standings([a, b], samples=20_000)
    pooled = math.sqrt((2 * np.var(a, ddof=1) + 3 * np.var(b, ddof=1)) / 5)
    t = (1.6 - 1.2) / (pooled * math.sqrt(1 / 3 + 1 / 4))
    expected = float(stats.t.cdf(t, 5))
    assert first.on_front == pytest.approx(expected, abs=0.01) and second.on_front == pytest.approx(1 - expected, abs=0.01)
    assert first.error is not None
    assert [*first.error, *first.mean] == pytest.approx([pooled / math.sqrt(3), 1.2])


def test_without_repeats_nothing_is_claimed() -> None:
    designs = uncertainty.standings([[[1.0, 2.0]], [[2.0, 1.0]]])
    assert all(s.on_front is None and s.error is None and not s.doubtful for s in designs)
    assert uncertainty.next_to_seed(designs, 5) == 0  # a second seed tells the spread
    assert uncertainty.next_to_seed(designs, 1) is None
    assert uncertainty.standings([]) == [] and uncertainty.next_to_seed([], 5) is None
    with pytest.raises(ValueError, match="without a measurement"):
        uncertainty.standings([[[1.0]], []])


def test_exact_objectives_and_clear_fronts() -> None:
    costs = [[[-90.0, 5.0], [-90.1, 5.0]], [[-80.0, 7.0], [-80.1, 7.0]], [[-95.0, 9.0], [-95.1, 9.0]], [[-90.05, 5.0]]]
    designs = uncertainty.standings(costs)
    assert designs[2].on_front == 1 and designs[1].on_front == 0
    assert designs[0].doubtful and designs[3].doubtful  # the same but for noise
    assert uncertainty.next_to_seed(designs, 5) == 3 and uncertainty.next_to_seed(designs, 1) is None


def test_what_is_said_to_be_sure_is_so() -> None:
    """Simulated truths: of the designs with P above 95 %, at least 95 % are on the true front; of those below 5 %, at most 5 %."""
    generator = np.random.default_rng(5)
    sure, right, out, wrong = 0, 0, 0, 0
    for trial in range(60):
        truth = np.column_stack([generator.uniform(80, 99, 20) * -1, generator.uniform(1, 3, 20), generator.integers(1, 4, 20)])
        spread = np.array([0.8, 0.1, 0.0])
        costs = [truth[i] + spread * generator.standard_normal((3, 3)) for i in range(20)]
        members = set(pareto.front(truth.tolist()))
        for index, standing in enumerate(uncertainty.standings([c.tolist() for c in costs], seed=trial, samples=400)):
            assert standing.on_front is not None
            sure += standing.on_front > 0.95
            right += standing.on_front > 0.95 and index in members
            out += standing.on_front < 0.05
            wrong += standing.on_front < 0.05 and index in members
    assert sure > 100 and out > 100
    assert right / sure >= 0.95 and wrong / out <= 0.05


def test_luck_is_not_taken_for_merit() -> None:
    """Many designs that differ by little more than the noise: shrunk means give true probabilities, the means as measured do not."""
    generator = np.random.default_rng(8)
    told: dict[str, list[tuple[float, bool]]] = {"shrunk": [], "as measured": []}
    for trial in range(300):
        truth = 1.2 * generator.standard_normal((40, 2))
        errors = np.full_like(truth, 1.0)
        means = truth + errors * generator.standard_normal(truth.shape)
        members = set(pareto.front(truth.tolist()))
        for how, (m, e) in {"shrunk": uncertainty.shrunk(means, errors), "as measured": (means, errors)}.items():
            chances = uncertainty.on_front_probability(m, e, freedom=40, seed=trial, samples=150)
            told[how] += [(chance, index in members) for index, chance in enumerate(chances.tolist()) if chance > 0.4]
    (said, are), (said_before, were) = (np.mean(pairs, axis=0) for pairs in (told["shrunk"], told["as measured"]))
    assert min(map(len, told.values())) > 50
    assert are > said - 0.05 and were < said_before - 0.03, (said, are, said_before, were)


def test_a_race_goes_on_until_its_tests_together_are_sure() -> None:
    def designs(*chances: float) -> list[uncertainty.Standing]:
        return [uncertainty.Standing(mean=(0.0,), error=(1.0,), seeds=2, on_front=chance) for chance in chances]

    assert uncertainty.next_to_seed(designs(0.04, 0.004, 0.996), 6) == 0 and not designs(0.04)[0].doubtful
    assert uncertainty.next_to_seed(designs(0.004, 0.97), 6) == 1
    assert uncertainty.next_to_seed(designs(0.004, 0.996), 6) is None
    assert (
        uncertainty.next_to_seed(designs(0.04, 0.5), 6, taken=[1]) == 0
        and uncertainty.next_to_seed(designs(0.04, 0.5), 2) is None
    )


def test_few_or_exact_designs_stay_as_they_are() -> None:
    means = np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0], [4.0, 8.0]])
    errors = np.array([[0.5, 0.0]] * 4)
    few = uncertainty.shrunk(means[:3], errors[:3])
    assert (few[0] == means[:3]).all() and (few[1] == errors[:3]).all()
    shrunk, left = uncertainty.shrunk(means, errors)
    assert (shrunk[:, 1] == means[:, 1]).all() and (left[:, 1] == 0).all()
    weight = (5 / 3 - 0.25) / (5 / 3)
    assert shrunk[0, 0] == pytest.approx(2.5 - 1.5 * weight) and left[0, 0] == pytest.approx(0.5 * math.sqrt(weight))
    alike = uncertainty.shrunk(np.array([[1.0], [1.1], [1.0], [1.1]]), np.full((4, 1), 1.0))  # no more than halfway
    assert alike[0][0, 0] == pytest.approx(1.025) and alike[1][0, 0] == pytest.approx(math.sqrt(0.5))
