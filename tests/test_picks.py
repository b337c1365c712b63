"""The pick: always within the limits, never dominated there, with true reasons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse.analysis import picks
from fastrcaps_dse.analysis.picks import Candidate, Limit
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.objectives import parse_objectives

OBJECTIVES = parse_objectives("acc,time,params")
level = st.integers(1, 6).map(float)
tables = st.lists(st.fixed_dictionaries({"acc": level, "time": level, "params": level}), max_size=12)
limits = st.lists(
    st.builds(Limit, objective=st.sampled_from(["acc", "time", "params"]), bound=st.sampled_from(["max", "min"]), value=level),
    max_size=3,
)


def candidates(rows: list[dict[str, float]]) -> list[Candidate]:
    return [Candidate(trial=k, label=f"d{k}", values=row) for k, row in enumerate(rows)]


def dominates(a: dict[str, float], b: dict[str, float]) -> bool:
    nowhere_worse = a["acc"] >= b["acc"] and a["time"] <= b["time"] and a["params"] <= b["params"]
    return nowhere_worse and a != b


@given(tables, limits, st.sampled_from([None, "acc", "time", "params", "knee"]))
def test_the_pick_against_brute_force(rows: list[dict[str, float]], bounds: list[Limit], prefer: str | None) -> None:
    try:
        picks.check_limits(bounds)
    except InputError:
        return
    result = picks.pick(candidates(rows), OBJECTIVES, bounds, prefer)

    def fits(row: dict[str, float]) -> bool:
        return all(row[b.objective] <= b.value if b.bound == "max" else row[b.objective] >= b.value for b in bounds)

    fitting = [row for row in rows if fits(row)]
    if not fitting:
        assert result.trial is None and (result.nearest_miss is None) == (not rows)
        return
    assert result.trial is not None and result.nearest_miss is None
    chosen = rows[result.trial]
    assert fits(chosen) and not any(dominates(row, chosen) for row in fitting)
    free = next((o.name for o in OBJECTIVES if all(b.objective != o.name for b in bounds)), "acc")
    wanted = prefer or free
    if wanted != "knee":
        extreme = (max if wanted == "acc" else min)(row[wanted] for row in fitting)
        assert chosen[wanted] == extreme
    beaten = sum(dominates(chosen, row) for row in rows)
    assert f"it dominates {beaten} of the other" in result.why[1]
    above = sum(dominates(row, chosen) for row in rows)
    assert ("none dominates it" in result.why[1]) == (above == 0)


TABLE = candidates(
    [
        {"acc": 99.0, "time": 10.0, "params": 6.7e6},
        {"acc": 99.4, "time": 30.0, "params": 8.2e6},
        {"acc": 98.0, "time": 4.0, "params": 6.7e6},
        {"acc": 97.0, "time": 40.0, "params": 8.2e6},
    ]
)


def test_reasons_say_what_binds_and_what_the_next_design_costs() -> None:
    result = picks.pick(TABLE, OBJECTIVES, [picks.parse_limit("params", "max", "7M")])
    assert result.trial == 0
    assert result.why == (
        "d0 is the most accurate of 2 measured designs within params <= 7,000,000",
        "it dominates 1 of the other 3 designs, and none dominates it",
        "params <= 7,000,000 binds: without it, d1 (trial 1): acc +0.40 points, time +20.0 s, params +1,500,000",
        "next in time: d2 (trial 2): acc -1.00 points, time -6.0 s, params same",
    )
    loose = picks.pick(TABLE, OBJECTIVES, [picks.parse_limit("params", "max", "9M")])
    assert loose.trial == 1 and "params <= 9,000,000 does not bind" in loose.why


def test_the_nearest_miss() -> None:
    result = picks.pick(TABLE, OBJECTIVES, [picks.parse_limit("params", "max", "6M"), picks.parse_limit("acc", "min", "98.5")])
    assert result.trial is None and result.nearest_miss == 0
    assert "params <= 6,000,000: the nearest measured value is 6,700,000" in result.why
    assert picks.pick([], OBJECTIVES).why == ("the study has no finished design yet",)


def test_limits_as_texts() -> None:
    assert picks.parse_limits(["latency<=5ms", " acc >=  99% ", "time_to:95<=1m"]) == [
        Limit(objective="latency", bound="max", value=5.0),
        Limit(objective="acc", bound="min", value=99.0),
        Limit(objective="time_to:95", bound="max", value=60.0),
    ]
    for text, message in (
        ("acc=99", "'acc=99' is not a valid limit; use <= or >="),
        ("tme<=3", "unknown objective"),
        ("params<=7Q", "not a quantity"),
    ):
        with pytest.raises(InputError, match=message):
            picks.parse_limits([text])


def test_limits_that_contradict_each_other_and_unknown_preferences() -> None:
    with pytest.raises(InputError, match="contradict"):
        picks.pick(
            TABLE, OBJECTIVES, [Limit(objective="acc", bound="min", value=99), Limit(objective="acc", bound="max", value=98)]
        )
    with pytest.raises(InputError, match="cannot prefer 'nee'") as error:
        picks.pick(TABLE, OBJECTIVES, prefer="nee")
    assert "did you mean 'knee'" in error.value.hint


def test_a_sure_design_is_preferred_to_one_within_its_noise() -> None:
    def one(trial: int, acc: float, on_front: float | None, seeds: int) -> Candidate:
        errors = {"acc": 0.2, "time": 0.0, "params": 0.0} if on_front is not None else None
        values = {"acc": acc, "time": 10.0 + trial, "params": 5.0 - trial}
        return Candidate(trial=trial, label=f"d{trial}", values=values, errors=errors, seeds=seeds, on_front=on_front)

    objectives = parse_objectives("acc,time,params")
    lucky, steady, weak = one(0, 95.3, 0.6, 1), one(1, 95.0, 0.99, 4), one(2, 90.0, 0.99, 4)
    found = picks.pick([lucky, steady, weak], objectives)
    assert found.trial == 1
    assert "it is on the front with probability 0.99 (4 seeds)" in found.why
    assert any(
        line.startswith("preferred to one within its noise that is less sure: d0 (trial 0): acc +0.30 points")
        for line in found.why
    )
    assert picks.pick([lucky, weak], objectives).trial == 0  # the sure one is far behind
    assert picks.pick([one(0, 95.3, None, 1), one(1, 95.0, None, 1)], objectives).trial == 0
    assert picks.pick([one(0, 95.3, 0.97, 3), steady], objectives).trial == 0
