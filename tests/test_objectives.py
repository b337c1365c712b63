"""Objectives and quantities."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.objectives import (
    Measurement,
    format_seconds,
    format_value,
    mean_measurement,
    minimised,
    parse_objectives,
    parse_quantity,
)


def test_objectives_keep_their_order() -> None:
    assert [o.name for o in parse_objectives("params, acc")] == ["params", "acc"]
    assert [o.direction for o in parse_objectives("acc,time,params")] == ["maximize", "minimize", "minimize"]


@pytest.mark.parametrize(
    ("text", "message", "mend"),
    [
        ("acc,tme", "unknown objective 'tme'", "did you mean 'time'"),
        ("acc,acc", "'acc' is given twice", "once"),
        ("", "no objective given", "acc, time, params"),
    ],
)
def test_bad_objectives(text: str, message: str, mend: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        parse_objectives(text)
    assert mend in error.value.mend


@pytest.mark.parametrize(
    ("objective", "text", "value"),
    [
        ("params", "7M", 7e6),
        ("params", "6.7e6", 6.7e6),
        ("params", "500k", 5e5),
        ("params", "42", 42),
        ("time", "90s", 90),
        ("time", "10m", 600),
        ("time", "2h", 7200),
        ("time", "0.5", 0.5),
        ("acc", "99.2", 99.2),
        ("acc", "99.2 %", 99.2),
    ],
)
def test_quantities(objective: str, text: str, value: float) -> None:
    assert parse_quantity(objective, text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("objective", "text"),
    [("params", t) for t in ("7Q", "", "M", "7MM", "-1", "1e999", "nan", "7 s")]
    + [("acc", "101"), ("acc", "7M"), ("time", "5x")],
)
def test_what_is_no_quantity(objective: str, text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_quantity(objective, text)
    assert "write it as" in error.value.mend


def test_values_as_people_read_them() -> None:
    assert [format_seconds(s) for s in (0.123, 12.34, 99.6, 200, 7500)] == [
        "0.12 s",
        "12.3 s",
        "1 min 40 s",
        "3 min 20 s",
        "2 h 05 min",
    ]
    assert format_value("acc", 99.369) == "99.37 %" and format_value("params", 6_708_400) == "6,708,400"


def test_minimised_turns_the_sign_of_what_is_maximised() -> None:
    values = {"acc": 99.0, "time": 5.0, "params": 7.0}
    assert minimised(parse_objectives("acc,time,params"), values) == (-99.0, 5.0, 7.0)
    with pytest.raises(ValueError, match="finite"):
        minimised(parse_objectives("time"), {"time": math.nan})


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1e6)), min_size=1, max_size=6))
def test_the_mean_over_seeds(pairs: list[tuple[float, float]]) -> None:
    runs = [Measurement(acc=a, time=t, params=5, test_acc=a / 2, selected_epoch=3) for a, t in pairs]
    mean = mean_measurement(runs)
    assert mean.acc == pytest.approx(sum(a for a, _ in pairs) / len(pairs))
    assert mean.time == pytest.approx(sum(t for _, t in pairs) / len(pairs))
    assert mean.test_acc == pytest.approx(mean.acc / 2)
    assert mean.selected_epoch == (3 if len(runs) == 1 else 0)
