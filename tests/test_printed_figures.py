"""Figures for paper: their axes, their labels, and, in a real browser, that no text covers another or leaves the page."""

from __future__ import annotations

import csv
import itertools
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse import store
from fastrcaps_dse.cli.figures import chosen_designs
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.figures import paper
from fastrcaps_dse.figures.labels import Box, put_labels
from fastrcaps_dse.figures.printed import DASHES, SYMBOLS, Coordinate, Mark, pair_front, printed_scatter, wants_error
from fastrcaps_dse.figures.sheet import LETTERS, Sheet
from fastrcaps_dse.figures.ticks import axis_of, linear_ticks, log_ticks, text_width
from fastrcaps_dse.problem.objectives import parse_objectives
from fastrcaps_dse.problem.space import NAMED_DESIGNS, parse_design
from fastrcaps_dse.store import Store
from tests.conftest import Command
from tests.synthetic import write_study
from tests.test_figures import FIXED, TRIALS, WAB
from tests.test_figures_cli import write_study as write_curves

OBJECTIVES = parse_objectives("acc,time,params")

# --- axes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (50, 600, ["50", "60", "80", "100", "150", "200", "300", "400", "500", "600"]),
        (280, 340, ["280", "290", "300", "310", "320", "330", "340"]),
        (0.00005, 0.005, ["5e-5", "0.0001", "0.0002", "0.0003", "0.0005", "0.001", "0.002", "0.003", "0.005"]),
    ],
)
def test_ticks_of_logarithmic_axes_are_plain_numbers(low: float, high: float, expected: list[str]) -> None:
    ticks = log_ticks(low, high, 400, 10)
    assert [text for _, text in ticks if low <= _ <= high] and set(expected) & {text for _, text in ticks}
    texts = [text for _, text in ticks]
    assert len(texts) == len(set(texts)) and len(texts) >= 3
    assert all(float(text.replace(",", "")) == pytest.approx(value) for value, text in ticks)
    assert texts == expected or len(texts) < len(expected)  # fewer where they have no room


@pytest.mark.parametrize("length", [60, 150, 300, 600])
@pytest.mark.parametrize(("low", "high"), [(1, 1e6), (90, 99.5), (0.01, 3), (60, 70), (1e-7, 1e-2)])
def test_neighboring_ticks_have_room(low: float, high: float, length: float) -> None:
    for ticks in (log_ticks(low, high, length, 10), linear_ticks(low, high, length, 10)):
        axis = axis_of("a", [low, high], log=False, length=length, size=10, upright=False)
        assert axis.range[0] < low < high < axis.range[1]
        for (a, left), (b, right) in itertools.pairwise(ticks):
            assert a < b and left != right


def test_epochs_are_whole() -> None:
    for last in (1, 3, 10, 12, 30, 200):
        axis = axis_of("epoch", [1, last], log=False, length=250, size=LETTERS, upright=False, whole=True)
        assert axis.ticks and all(value == round(value) and text == f"{value:,.0f}" for value, text in axis.ticks)


def test_zeros_and_equal_values_have_an_axis() -> None:
    assert axis_of("a", [], log=True, length=100, size=8, upright=True).ticks
    for log in (False, True):
        axis = axis_of("a", [5.0, 5.0], log=log, length=100, size=8, upright=True)
        assert axis.range[0] < axis.range[1] and 0 < axis.position(5.0) < 1


# --- what is plotted --------------------------------------------------------------------------------------------------


def test_accuracies_are_errors_where_all_are_high() -> None:
    assert wants_error([91.0, 99.0], None) and not wants_error([89.0, 99.0], None)
    assert wants_error([50.0], True) and not wants_error([99.0], False)
    assert not wants_error([99.0, 100.0], True) and not wants_error([], True)  # a logarithm of no error


def mark(trial: int, acc: float, time: float, **how: Any) -> Mark:
    settings: dict[str, Any] = {"errors": {}, "on_front": True, "labeled": True} | how
    return Mark(trial, {"acc": acc, "time": time, "params": 1.0}, **settings)


MARKS = [mark(0, 95, 10), mark(1, 99, 50), mark(2, 98, 60, on_front=False), mark(3, 97, 20), mark(4, 90, 12, on_front=False)]


@pytest.mark.parametrize("as_error", [False, True])
def test_the_front_of_two_objectives(as_error: bool) -> None:
    kinds = [Coordinate(objective, as_error) for objective in OBJECTIVES[:2]]
    expected = [(99.0, 50.0), (97.0, 20.0), (95.0, 10.0)]
    assert pair_front(MARKS, kinds) == [(100 - acc if as_error else acc, time) for acc, time in expected]
    assert [kind.title.partition(" ")[0] for kind in kinds] == ["error," if as_error else "accuracy", "time"]


def test_error_bars_end_above_zero_on_a_logarithmic_axis() -> None:
    one = mark(0, 99.9, 10, errors={"acc": 0.5, "time": 2.0})
    below, above = Coordinate(OBJECTIVES[0], True).ends(one)
    assert below == pytest.approx(0.09) and above == 0.5 and Coordinate(OBJECTIVES[0], False).ends(one) == (0.5, 0.5)
    figure = printed_scatter([one], (OBJECTIVES[0], OBJECTIVES[1]), OBJECTIVES, Sheet(), error=True).figure
    bars = [trace for trace in figure.data if trace.error_x.array is not None]
    assert len(bars) == 1 and list(bars[0].error_x.array) == [0.5] and list(bars[0].error_y.array) == [2.0]
    plain = printed_scatter(MARKS, (OBJECTIVES[0], OBJECTIVES[1]), OBJECTIVES, Sheet(), error=None).figure
    assert not any(trace.error_x.array for trace in plain.data)  # one seed has no spread


def test_curves_differ_in_gray() -> None:
    styles = {(DASHES[k % len(DASHES)], SYMBOLS[k % len(SYMBOLS)]) for k in range(paper.MOST_CURVES)}
    assert len(styles) == paper.MOST_CURVES


def test_a_curve_of_several_seeds_has_its_error() -> None:
    trials, kept = [FIXED[0], WAB[0]], {**FIXED[1], **WAB[1]}
    info = paper.paper_info(trials, trials, kept, epochs=3, images=1600)
    assert info.named[0].error == pytest.approx((1.0, 2.0, 0.5)) == info.accuracy[0].error  # of two: half their difference
    single = {run_id: epochs for run_id, epochs in kept.items() if run_id == 0}
    assert paper.paper_info(trials[:1], [], single, epochs=3, images=1600).accuracy[0].error is None


def test_named_designs_are_known_by_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by their labels, which may be written in another way."""
    trial = TRIALS[1]
    monkeypatch.setattr(type(trial.design), "label", property(lambda _: "anything"))
    assert list(paper.named_trials(TRIALS)) == ["fixed", "wab+ws", "ws", "adabatch"]
    assert paper.named_trials([trial])["wab+ws"].design == NAMED_DESIGNS["wab+ws"]


def test_designs_are_chosen() -> None:
    measured = TRIALS[:3]

    def numbers(text: str | None) -> list[int]:
        return [trial.trial for trial in chosen_designs(text, measured, measured[1:2], "s")]

    assert numbers(None) == numbers("front") == [1] and numbers("all") == numbers("named") == [0, 1, 2]
    assert numbers("2, wab+ws,2") == [2, 1]
    for text, message in (("9", "no trial 9"), ("wab", "no measured design 'wab'"), (",", "names no design")):
        with pytest.raises(InputError, match=message):
            numbers(text)


def test_of_many_chosen_designs_the_most_accurate_have_curves() -> None:
    from tests.test_figures import named_row

    rows = [named_row(k, f"lr_policy=fixed(lr={k + 1}e-5)", [[50.0 + k, 60.0 + k]], 1.0) for k in range(40)]
    kept = {run: epochs for _, stored in rows for run, epochs in stored.items()}
    trials = [trial for trial, _ in rows]
    info = paper.paper_info(trials, [], kept, epochs=2, images=1600, chosen=trials)
    assert [int(d.curve.name.split(":")[0]) for d in info.accuracy] == list(range(40 - paper.MOST_CURVES, 40))


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 12, 60, 200])
def test_labels_cover_nothing(count: int) -> None:
    page = Box(0, 0, 300, 200)
    marks = [(10 + (k * 71) % 280, 10 + (k * 37) % 180) for k in range(count)]
    placed = put_labels(marks, [(12.0, 9.0)] * count, range(count), page, 3.0)
    assert placed and len(placed) <= count
    marked = [Box(x - 3, y - 3, x + 3, y + 3) for x, y in marks]
    for label in placed:
        assert label.box.within(page) and not any(label.box.overlaps(box) for box in marked)
    assert not any(a.box.overlaps(b.box) for a, b in itertools.combinations(placed, 2))
    assert count > 60 or len(placed) == count


def test_a_label_keeps_off_lines_while_there_is_room() -> None:
    above = ((0.0, 112.0), (300.0, 112.0))
    (label,) = put_labels([(150, 100)], [(12.0, 9.0)], [0], Box(0, 0, 300, 200), 3.0, [above])
    assert label.box.top < 112  # it would be above the mark, on the line, else
    everywhere = [((0.0, float(y)), (300.0, float(y))) for y in range(0, 200, 4)]
    assert len(put_labels([(150, 100)], [(12.0, 9.0)], [0], Box(0, 0, 300, 200), 3.0, everywhere)) == 1


# --- on the page ------------------------------------------------------------------------------------------------------


def texts_in(chromium: Any, path: Path) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The boxes of all texts of an SVG as a browser shows them, and that of the image."""
    page = chromium.new_page()
    page.set_content(f"<body style='margin:0'>{path.read_text(encoding='utf-8')}</body>")
    script = """() => {
      const box = node => { const b = node.getBoundingClientRect(); return {x: b.x, y: b.y, right: b.right, bottom: b.bottom}; };
      const texts = [...document.querySelectorAll('text')].filter(t => t.textContent.trim() && getComputedStyle(t).opacity > 0);
      return [texts.map(t => ({...box(t), text: t.textContent})), box(document.querySelector('svg'))];
    }"""
    found, whole = page.evaluate(script)
    page.close()
    return found, whole


@pytest.mark.browser
@pytest.mark.parametrize(
    ("designs", "seeds", "columns"),
    [(48, 3, 1), *(pytest.param(*further, marks=pytest.mark.thorough) for further in ((4, 1, 1), (300, 1, 2)))],
)
def test_no_text_covers_another_or_leaves_the_page(
    command: Command, chromium: Any, tmp_path: Path, designs: int, seeds: int, columns: int
) -> None:
    write_study(tmp_path / "s.db", designs, seeds=seeds, epochs=12)
    said = command("report", "--figures", "out", "--storage", "s.db", "--columns", columns)
    assert said.code == 0, said.err
    paths = sorted((tmp_path / "out").glob("*.svg"))
    names = ["fig8ab-pareto-acc-params", "fig8ab-pareto-acc-time", "fig8ab-pareto-time-params"]
    assert [path.stem for path in paths] == [*names, "fig8c-accuracy", "fig8d-learning-rate"]
    for path in paths:
        texts, whole = texts_in(chromium, path)
        assert len(texts) > 8 and whole["right"] == pytest.approx(96 * {1: 3.5, 2: 7.16}[columns], abs=0.6)
        for text in texts:
            assert text["x"] >= -0.5 and text["y"] >= -0.5, (path.name, text)
            assert text["right"] <= whole["right"] + 0.5 and text["bottom"] <= whole["bottom"] + 0.5, (path.name, text)
        for a, b in itertools.combinations(texts, 2):
            across = min(a["right"], b["right"]) - max(a["x"], b["x"])
            down = min(a["bottom"], b["bottom"]) - max(a["y"], b["y"])
            assert across <= 1 or down <= 2.5, (path.name, a, b)  # a box of letters has some room above and below them
    source = paths[0].read_text(encoding="utf-8")
    assert re.match(rf'<svg [^>]*width="{ {1: 3.5, 2: 7.16}[columns] }in"', source) and "<image" not in source
    assert not re.search(r"(?:href|src|url)\s*[=(]\s*['\"]?https?:", source)  # nothing is loaded
    with (tmp_path / "out/key.csv").open(encoding="utf-8", newline="") as file:
        key = {row["trial"]: row for row in csv.DictReader(file)}
    ours = Store(store.parse_url("s.db"))
    labels = {str(trial.trial): trial.design.label for trial in ours.trials(ours.study())}
    assert all(row["label"] == labels[trial] for trial, row in key.items()) and {r["on_front"] for r in key.values()} == {
        "True"
    }


def objects_of(pdf: bytes) -> str:
    """All objects of a PDF as text, those that are packed into streams unpacked."""
    found = [pdf.decode("latin-1")]
    for match in re.finditer(rb"stream\r?\n", pdf):
        try:
            found.append(zlib.decompressobj().decompress(pdf[match.end() :]).decode("latin-1"))
        except zlib.error:
            continue
    return "\n".join(found)


@pytest.mark.browser
@pytest.mark.usefixtures("browser")
def test_a_pdf_is_one_page_of_vectors_with_its_fonts(command: Command, tmp_path: Path) -> None:
    write_study(tmp_path / "s.db", 12, epochs=4)
    said = command("report", "--figures", "out", "--storage", "s.db", "--format", "pdf", "--objectives", "acc,time")
    assert said.code == 0, said.err
    paths = sorted((tmp_path / "out").glob("*.pdf"))
    assert [path.stem for path in paths] == ["fig8ab-pareto-acc-time", "fig8c-accuracy", "fig8d-learning-rate"]
    for path in paths:
        text = objects_of(path.read_bytes())
        boxes = re.findall(r"/MediaBox \[([\d. ]+)\]", text)
        assert len(boxes) == 1 and re.search(r"/Count 1\b", text)
        assert float(boxes[0].split()[2]) == pytest.approx(3.5 * 72, abs=0.8)
        assert re.search(r"/FontFile[23]? ", text) and re.search(r"/Subtype ?/(TrueType|Type0|CIDFontType2)", text)
        assert not re.search(r"/Subtype ?/Image", text)


@pytest.mark.browser
@pytest.mark.usefixtures("browser")
def test_a_png_has_600_dots_an_inch(command: Command, tmp_path: Path) -> None:
    write_study(tmp_path / "s.db", 6, epochs=2)
    said = command(
        "report", "--figures", "out", "--storage", "s.db", "--format", "png", "--objectives", "acc,time", "--columns", 2
    )
    assert said.code == 0, said.err
    data = (tmp_path / "out/fig8ab-pareto-acc-time.png").read_bytes()
    assert struct.unpack(">I", data[16:20]) == (round(7.16 * 600),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--columns", "3"], "--columns is 1 or 2, not 3"),
        (["--columns", "1", "--width", "800"], "both say how wide a figure is"),
        (["--designs", "7"], "no trial 7"),
        (["--designs", "fixd"], "no measured design 'fixd'"),
        (["--format", "html", "--columns", "1"], "as large as its window"),
    ],
)
def test_wrong_options_are_one_clear_line(command: Command, tmp_path: Path, arguments: list[str], message: str) -> None:
    write_curves(tmp_path / "s.db", {"fixed": [[90.0]]}, {"fixed": 1.0})
    said = command("report", "--figures", "out", *arguments, "--storage", "s.db")
    assert said.code == 2 and message in said.err and len(said.err.splitlines()) == 2 and not (tmp_path / "out").exists()
    assert command("report", "--designs", "all", "--storage", "s.db").code == 2  # of figures alone


def test_widths_of_texts_are_not_underestimated() -> None:
    """By the widths of Arial, in thousandths of its size."""
    arial = {
        "a": 556,
        "i": 222,
        "m": 833,
        "W": 944,
        "1": 556,
        ",": 278,
        " ": 278,
        "(": 333,
        "-": 333,
        "E": 667,
        "O": 778,
        "f": 278,
    }
    for letter, width in arial.items():
        assert text_width(letter, 1000) >= 0.92 * width
    assert text_width(parse_design("wab+ws").key, 10) > 200
