"""Quantities as people write and read them, against values by hand."""

import pytest

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.quantities import NEVER, counted, format_difference, format_seconds, format_value, parse_quantity


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
        ("time_to:95", "1m", 60),
        ("latency", "2ms", 2),
        ("memory", "500kB", 0.5),
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
    assert "write it as" in error.value.hint


def test_durations_as_people_read_them() -> None:
    assert [format_seconds(s) for s in (0.123, 12.34, 99.6, 200, 7500)] == [
        "0.12 s",
        "12.3 s",
        "1 min 40 s",
        "3 min 20 s",
        "2 h 05 min",
    ]


@pytest.mark.parametrize(
    ("objective", "value", "text"),
    [
        ("acc", 99.369, "99.37 %"),
        ("time", 12.34, "12.3 s"),
        ("time_to:95", 200, "3 min 20 s"),
        ("time_to:95", NEVER, "not reached"),
        ("params", 6_708_400, "6,708,400"),
        ("macs", 201_820_160, "201,820,160"),
        ("epochs", 2.5, "2.5"),
        ("latency", 1.234, "1.23 ms"),
        ("memory", 25, "25 MB"),
    ],
)
def test_values_with_their_units(objective: str, value: float, text: str) -> None:
    assert format_value(objective, value) == text


def test_a_number_with_its_noun() -> None:
    assert [counted(n, "run") for n in (0, 1, 2, 1200)] == ["0 runs", "1 run", "2 runs", "1,200 runs"]


def test_differences_of_accuracies_are_points() -> None:
    assert format_difference("acc", -1.518) == "-1.52 points" and format_difference("acc", 0.3) == "+0.30 points"
    assert format_difference("time", -12.0) == "-12.0 s" and format_difference("params", 1_433_600.0) == "+1,433,600"
