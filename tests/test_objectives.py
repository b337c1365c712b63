"""Objectives and measurements: names, costs and means against closed forms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.objectives import Measurement, costs_of, find_objective, mean_measurement, parse_objectives, time_to
from fastrcaps_dse.problem.quantities import NEVER, format_value


def test_objectives_keep_their_order() -> None:
    assert [o.name for o in parse_objectives("params, acc")] == ["params", "acc"]
    assert [o.direction for o in parse_objectives("acc,time,params")] == ["maximize", "minimize", "minimize"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("acc,tme", "unknown objective 'tme'", "did you mean 'time'"),
        ("acc,acc", "'acc' is given twice", "once"),
        ("", "no objective given", "acc, time, params"),
    ],
)
def test_bad_objectives(text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        parse_objectives(text)
    assert hint in error.value.hint


def test_costs_turn_the_sign_of_what_is_maximized() -> None:
    values = {"acc": 99.0, "time": 5.0, "params": 7.0}
    assert costs_of(parse_objectives("acc,time,params"), values) == (-99.0, 5.0, 7.0)
    with pytest.raises(ValueError, match="finite"):
        costs_of(parse_objectives("time"), {"time": math.nan})


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1e6)), min_size=1, max_size=6))
def test_the_mean_over_seeds(pairs: list[tuple[float, float]]) -> None:
    runs = [Measurement(values={"acc": a, "time": t, "params": 5}, test_acc=a / 2, selected_epoch=3) for a, t in pairs]
    mean = mean_measurement(runs)
    assert mean["acc"] == pytest.approx(sum(a for a, _ in pairs) / len(pairs))
    assert mean["time"] == pytest.approx(sum(t for _, t in pairs) / len(pairs))
    assert mean.test_acc == pytest.approx(mean["acc"] / 2)
    assert mean.selected_epoch == (3 if len(runs) == 1 else 0)


def test_time_to_an_accuracy() -> None:
    accuracies, seconds = [80.0, 95.0, 94.0, 97.0], [2.0, 3.0, 4.0, 5.0]
    assert time_to(80, accuracies, seconds) == 2 and time_to(94.5, accuracies, seconds) == 5
    assert time_to(97, accuracies, seconds) == 14
    near, far = time_to(98, accuracies, seconds), time_to(99, accuracies, seconds)
    assert NEVER <= near < far < math.inf and format_value("time_to:98", near) == "not reached"
    assert find_objective("time_to:99.20").name == "time_to:99.2" and find_objective("time_to:99").direction == "minimize"
    for name in ("time_to", "time_to:", "time_to:many", "time_to:101"):
        with pytest.raises(InputError):
            find_objective(name)


def test_other_objectives() -> None:
    names = "latency,macs,memory,epochs,time_to:95"
    assert [o.name for o in parse_objectives(names)] == names.split(",")
    measured = Measurement(values={"epochs": 2.0, "macs": 5.0})
    other = Measurement(values={"epochs": 3.0})
    assert mean_measurement([measured, other]).values == {"epochs": 2.5}
    assert measured["epochs"] == 2
    with pytest.raises(InputError, match="latency was not measured"):
        measured["latency"]
