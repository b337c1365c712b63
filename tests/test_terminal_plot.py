"""The scatter in characters: where marks and labels stand, by arithmetic done by hand."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastrcaps_dse.cli import console
from fastrcaps_dse.figures import terminal
from fastrcaps_dse.figures.plots import ParetoInfo, ParetoPoint
from fastrcaps_dse.figures.terminal import ASCII, UNICODE, Axis, Signs, axis_of, pareto_lines, ticks
from fastrcaps_dse.problem.objectives import find_objective, parse_objectives
from fastrcaps_dse.problem.quantities import NEVER


def info_of(names: str, *points: tuple[tuple[float, ...], bool]) -> ParetoInfo:
    """A scatter of these values and memberships; trials are counted."""
    objectives = parse_objectives(names)
    made = []
    for trial, (values, on_front) in enumerate(points):
        by_name = {"acc": 90.0, "time": 10.0, "params": 5.0} | {o.name: v for o, v in zip(objectives, values, strict=True)}
        made.append(ParetoPoint(trial=trial, label=f"d{trial}", values=by_name, on_front=on_front))
    return ParetoInfo(objectives=objectives, points=tuple(made))


def texts(info: ParetoInfo, width: int = 60, height: int = 15, signs: Signs = UNICODE) -> list[str]:
    return ["".join(span.text for span in line) for line in pareto_lines(info, width=width, height=height, signs=signs)]


def test_a_whole_plot() -> None:
    info = info_of("params,acc", ((0.0, 50.0), True), ((100.0, 100.0), True), ((100.0, 50.0), False))
    # 10 of the 60 columns are ticks and axis; 50 cells are for -5 to 105: 0 is in cell 50 * 5 / 110 = 2.3, 50 in 25,
    # 100 in 50 * 105 / 110 = 47.7; upwards 10 cells are for 47.5 to 100: 50 is in cell 0.5, 60 in 2.4,
    # 80 in 6.2, 100 in the last
    assert texts(info) == [
        "accuracy (%)",
        "100.00 % ┤" + " " * 47 + "◆1",
        *["         │"] * 2,
        " 80.00 % ┤",
        *["         │"] * 3,
        " 60.00 % ┤",
        "         │",
        "         │  ◆0" + " " * 43 + "•",
        "         └──┬" + "─" * 22 + "┬" + "─" * 21 + "┬──",
        " " * 12 + "0" + " " * 21 + "50" + " " * 20 + "100",
        "                                        trainable parameters",
        "◆ on the Pareto front of params, acc (2)   • dominated (1)",
    ]


def test_each_span_is_of_its_kind() -> None:
    info = info_of("params,acc", ((0.0, 50.0), True), ((100.0, 50.0), False))
    spans = [span for line in pareto_lines(info, width=60)[:-1] for span in line]
    assert [s.text for s in spans if s.kind == "front"] == ["◆0"]
    assert [s.text for s in spans if s.kind == "dominated"] == ["•"]
    assert all(re.fullmatch(r"[│┤└─┬]+", s.text) for s in spans if s.kind == "frame")


def test_members_in_one_cell_share_a_mark_and_hide_the_dominated() -> None:
    lines = texts(info_of("acc,params", ((95.0, 7.0), True), ((95.0, 7.0), False), ((95.0, 7.0), True), ((90.0, 9.0), False)))
    plot = "\n".join(lines[1:-4])
    assert "0,2◆" in plot and plot.count("◆") == 1 and plot.count("•") == 1  # the label stands left: right there is no room
    assert "(2)" in lines[-1]


def test_labels_hide_no_mark() -> None:
    values = [(float(x), 0.0) for x in range(20)] + [(50.0, 10.0)]
    info = info_of("params,macs", *((v, k in (0, 5)) for k, v in enumerate(values)))
    lines = texts(info, width=40)
    plot = "\n".join(lines[1:-4])
    assert plot.count("◆") == 2 and re.search(r"\b5", lines[-6])  # above its mark, for there are marks on both sides


@pytest.mark.parametrize(
    ("axis", "most", "expected"),
    [
        (("params", 0.0, 100.0), 5, [0, 20, 40, 60, 80, 100]),
        (("acc", 94.0, 97.0), 6, [94, 94.5, 95, 95.5, 96, 96.5, 97]),
        (("time", 8.0, 700.0), 8, [10, 20, 30, 60, 120, 300, 600]),
        (("time", 8.0, 700.0), 4, [10, 30, 120, 600]),
        (("time", 12.0, 21.0), 5, [12, 14, 16, 18, 20]),  # too narrow for the ladder
        (("time", 610.0, 1700.0), 5, [900, 1200, 1500]),  # in whole minutes
        (("time_to:99", 1.0, 10.0), 5, [1, 2, 5, 10]),
    ],
)
def test_ticks_are_round(axis: tuple[str, float, float], most: int, expected: list[float]) -> None:
    name, low, high = axis
    assert ticks(Axis(objective=find_objective(name), low=low, high=high, cells=50), most) == pytest.approx(expected)


def test_axes() -> None:
    acc, time = find_objective("acc"), find_objective("time")
    linear = axis_of(acc, [90.0, 95.0], 10)
    assert (linear.low, linear.high) == (89.75, 95.25) and [linear.cell(v) for v in (90.0, 92.5, 95.0)] == [0, 5, 9]
    assert axis_of(acc, [90.0, 100.0], 10).high == 100.0  # no accuracy is above
    logarithmic = axis_of(time, [1.0, 100.0], 11)
    assert logarithmic.low == pytest.approx(100**-0.05) and [logarithmic.cell(v) for v in (1.0, 10.0, 100.0)] == [0, 5, 10]
    alone = axis_of(acc, [80.0], 10)
    assert (alone.low, alone.high) == (76.0, 84.0) and alone.cell(80.0) == 5
    assert not axis_of(time, [0.0, 1.0], 10).logarithmic and axis_of(find_objective("params"), [0.0], 9).cell(0.0) == 4


def test_one_design_and_none() -> None:
    assert texts(info_of("acc,time")) == ["nothing to draw: no design is measured yet"]
    lines = texts(info_of("acc,time", ((99.0, 12.0), True)))
    assert lines[0] == "time to max accuracy (s), logarithmic" and any("◆0" in line for line in lines)
    assert lines[-1] == "◆ on the Pareto front of acc, time (1)   • dominated (0)"
    assert any("◆0" in line for line in texts(info_of("time", ((12.0,), True))))


def test_what_was_never_reached_is_not_drawn_but_said() -> None:
    info = info_of("acc,time_to:99", ((99.0, 12.0), True), ((98.0, NEVER * 1.01), False))
    lines = texts(info)
    assert lines[-1] == "1 design not drawn: not reached" and "dominated (0)" in lines[-2]
    assert texts(info_of("acc,time_to:99", ((98.0, NEVER), True))) == ["nothing to draw: no design reached it"]


def test_plain_characters() -> None:
    plain = texts(info_of("acc,time", ((99.0, 12.0), True), ((98.0, 13.0), False)), signs=ASCII)
    assert "\n".join(plain).isascii() and "*0" in "\n".join(plain)


NUMBERS = st.floats(min_value=1e-3, max_value=1e7)


@given(
    name=st.sampled_from(["acc", "time", "params"]), values=st.lists(NUMBERS, min_size=1, max_size=5), most=st.integers(2, 20)
)
def test_every_axis_has_ticks(name: str, values: list[float], most: int) -> None:
    axis = axis_of(find_objective(name), [min(v, 100.0) if name == "acc" else v for v in values], 20)
    found = ticks(axis, most)
    assert 1 <= len(found) <= most + 1 and all(axis.low * (1 - 1e-9) <= v <= axis.high * (1 + 1e-9) for v in found)


@given(
    points=st.lists(st.tuples(st.tuples(st.floats(0, 100), NUMBERS, NUMBERS), st.booleans()), max_size=30),
    names=st.sampled_from(["acc,time,params", "time,params,acc", "params,acc,time"]),
    width=st.integers(1, 200),
    height=st.integers(1, 60),
)
@example(  # no multiple of a step that is wide enough lies between these times
    points=[((0.0, 7847253.0, 1.0), False), ((0.0, 9417705.0, 1.0), False)], names="acc,time,params", width=1, height=1
)
def test_every_plot_keeps_its_size_and_shows_its_front(
    points: list[tuple[tuple[float, float, float], bool]], names: str, width: int, height: int
) -> None:
    order = ["acc", "time", "params"]
    made = [(tuple(values[order.index(name)] for name in names.split(",")), member) for values, member in points]
    lines = texts(info_of(names, *made), width, height)
    if not points:
        return
    assert len(lines) == max(terminal.LEAST_HEIGHT, height)
    assert all(len(line) <= max(terminal.LEAST_WIDTH, width) for line in lines[:-1])
    assert ("◆" in "".join(lines[1:-4])) == any(member for _, member in points)


def test_colors_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    info = info_of("acc,time", ((99.0, 12.0), True), ((98.0, 13.0), False))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def printed(encoding: str = "utf-8") -> str:
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding)
        monkeypatch.setattr("sys.stdout", stream)
        console.print_plot(info)
        stream.flush()
        return raw.getvalue().decode(encoding)

    assert "\x1b[" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])", printed())
    monkeypatch.delenv("FORCE_COLOR")
    piped = printed()
    assert "\x1b" not in piped and max(map(len, piped.splitlines())) == console.PIPED_PLOT_WIDTH
    assert printed("ascii").isascii()
    monkeypatch.setenv("COLUMNS", "70")
    assert max(map(len, printed().splitlines())) == 70
