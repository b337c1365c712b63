"""Early pruning: nothing that could still enter the front is stopped, at the confidence that is stated."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse.analysis.pareto import dominates
from fastrcaps_dse.problem.objectives import costs_of, parse_objectives
from fastrcaps_dse.search.pruning import ENOUGH, FinishedCurve, PartialRun, accuracy_bound, cost_of, decide

OBJECTIVES = parse_objectives("acc,time,params")


def partial_run(
    accuracies: list[float], *, epochs: int = 6, seconds: float = 10.0, params: float = 5.0, policy: str = "fixed"
) -> PartialRun:
    return PartialRun(policy=policy, fixed={"params": params}, seconds=(seconds,) * epochs, accuracies=tuple(accuracies))


def test_outcomes_are_measurements() -> None:
    begun = partial_run([80.0, 90.0, 85.0])
    assert begun.best_epoch == 2 and cost_of(begun, OBJECTIVES, 2, 90.0) == (-90.0, 20.0, 5.0)
    wanted = parse_objectives("epochs,time_to:88,time_to:95")
    assert cost_of(begun, wanted, 2, 90.0)[:2] == (2.0, 20.0)
    assert cost_of(begun, wanted, 5, 96.0) == (5.0, 20.0, 50.0)  # 95 % would be reached in the fifth epoch


accuracy = st.floats(10, 99)


@given(
    curve=st.lists(accuracy, min_size=6, max_size=6),
    front=st.lists(st.tuples(accuracy, st.floats(1, 100), st.floats(1, 9)), max_size=8),
    done=st.integers(1, 5),
    names=st.sampled_from(["acc,time,params", "acc,params", "acc,epochs", "time_to:90,acc,params", "time,params"]),
)
def test_safe_prunes_only_what_is_dominated_in_the_end(
    curve: list[float], front: list[tuple[float, float, float]], done: int, names: str
) -> None:
    objectives = parse_objectives(names)
    measured = [
        costs_of(objectives, {"acc": a, "time": t, "params": p, "epochs": t / 10, "time_to:90": t if a >= 90 else 2e9})
        for a, t, p in front
    ]
    begun, whole = partial_run(curve[:done]), partial_run(curve)
    if decide(begun, objectives, measured, [], "safe"):
        cost = cost_of(whole, objectives, whole.best_epoch, max(curve))
        assert any(dominates(member, cost) for member in measured)


def reason(*arguments: Any) -> str | None:
    prune = decide(*arguments)
    return prune.reason if prune else None


def test_when_it_prunes_and_when_not() -> None:
    perfect = [(-100.0, 5.0, 5.0)]
    assert reason(partial_run([90.0]), OBJECTIVES, perfect, [], "safe") == "dominated, whatever it reaches"
    assert reason(partial_run([90.0]), OBJECTIVES, perfect, [], "off") is None
    assert reason(partial_run([90.0], params=4.0), OBJECTIVES, perfect, [], "safe") is None  # smaller: on the front
    assert reason(partial_run([90.0]), OBJECTIVES, [], [], "on") is None
    assert reason(partial_run([100.0]), OBJECTIVES, [], [], "safe") == "its accuracy cannot rise further"
    assert reason(partial_run([100.0] * 6), OBJECTIVES, perfect, [], "safe") is None  # it is over
    good = [(-97.0, 5.0, 5.0)]
    assert reason(partial_run([90.0, 91.0]), OBJECTIVES, good, [], "safe") is None  # 98 % may follow
    curves = [FinishedCurve(policy="fixed", accuracies=(90.0, 91.0, 92.0, 92.0, 92.5, 92.0))] * ENOUGH
    assert reason(partial_run([90.0, 91.0]), OBJECTIVES, good, curves[1:], "on") is None  # too few curves
    assert "no plausible future (95%)" in (reason(partial_run([90.0, 91.0]), OBJECTIVES, good, curves, "on") or "")
    late = [FinishedCurve(policy="fixed", accuracies=(90.0, 91.0, 92.0, 92.0, 92.5, 98.0))] * ENOUGH
    assert reason(partial_run([90.0, 91.0]), OBJECTIVES, good, late, "on") is None
    assert reason(partial_run([90.0, 91.0], policy="one-cycle"), OBJECTIVES, good, curves + late, "on") is None


def test_with_few_curves_the_bound_is_cautious() -> None:
    generator = random.Random(5)

    def curve() -> tuple[float, ...]:
        left = 20.0 * math.exp(-generator.expovariate(2.0))
        return (80.0, 100 - left)

    above = 0
    for _ in range(2000):
        finished = [FinishedCurve(policy="fixed", accuracies=curve()) for _ in range(8)]
        above += max(curve()) > accuracy_bound(partial_run([80.0], epochs=2), 2, finished)
    assert 0 < above / 2000 < 0.05


def test_runs_of_other_policies_count_where_there_are_few_alike() -> None:
    flat = [FinishedCurve(policy="fixed", accuracies=(80.0, 80.0))] * 19
    rising = [FinishedCurve(policy="one-cycle", accuracies=(80.0, 90.0))] * 19
    assert accuracy_bound(partial_run([60.0], epochs=2), 2, flat + rising) == 60.0
    assert accuracy_bound(partial_run([60.0], epochs=2), 2, flat[1:] + rising) == 80.0  # the error may be halved


def test_a_maximum_that_is_final() -> None:
    """On the front or not: where one of twenty like it may rise it goes on, where fewer do it stops, and counts as whole."""
    flat = FinishedCurve(policy="fixed", accuracies=(90.0, 92.0, 91.0, 91.5, 92.0, 91.0))
    late = FinishedCurve(policy="fixed", accuracies=(90.0, 92.0, 91.0, 91.5, 92.0, 93.0))
    assert decide(partial_run([80.0, 85.0]), OBJECTIVES, [], [flat] * 18, "on") is None  # too few curves for the confidence
    prune = decide(partial_run([80.0, 85.0]), OBJECTIVES, [], [flat] * 19, "on")
    assert prune is not None and not prune.censored and prune.reason.startswith("its maximum is final")
    assert decide(partial_run([80.0]), OBJECTIVES, [], [flat] * 19, "on") is None  # they rose in their second epoch
    assert decide(partial_run([80.0, 85.0]), OBJECTIVES, [], [flat] * 18 + [late], "on") is None
    assert decide(partial_run([80.0, 85.0]), OBJECTIVES, [], [flat] * 38 + [late], "on") is not None
    assert decide(partial_run([80.0, 85.0]), OBJECTIVES, [], [flat] * 40, "safe") is None


def test_the_bound_keeps_its_confidence() -> None:
    """Curves of one kind, exchangeable: a further one ends above its bound in about 5 % of cases, never in much more."""
    generator = random.Random(3)

    def curve() -> tuple[float, ...]:
        error, accuracies = generator.uniform(5, 20), []
        for _ in range(6):
            accuracies.append(100 - error)
            error *= generator.uniform(0.6, 1.05)
        return tuple(accuracies)

    above = 0
    for _ in range(2000):
        finished = [FinishedCurve(policy="fixed", accuracies=curve()) for _ in range(39)]
        new = curve()
        above += max(new) > accuracy_bound(partial_run(list(new[:2])), 6, finished)
    assert above / 2000 == pytest.approx(0.05, abs=0.015)
    assert accuracy_bound(partial_run([80.0]), 6, [FinishedCurve(policy="fixed", accuracies=curve())] * (ENOUGH - 1)) == 100.0
    few = [FinishedCurve(policy="fixed", accuracies=curve()) for _ in range(ENOUGH)]
    assert accuracy_bound(partial_run([80.0]), 6, few) > max(
        100 - 20 * (100 - max(f.accuracies)) / (100 - f.accuracies[0]) for f in few
    )
