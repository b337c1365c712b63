"""`report --paper`: what it writes and says, and the page in a real browser."""

from __future__ import annotations

import json
import math
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fastrcaps_dse.analysis.claims import CLAIMS
from fastrcaps_dse.figures import paper
from fastrcaps_dse.figures.printed import DASHES, SYMBOLS, Line, Mark, printed_curves, printed_scatter
from fastrcaps_dse.figures.sheet import Sheet
from fastrcaps_dse.figures.svg import svg_of
from fastrcaps_dse.problem.objectives import parse_objectives
from fastrcaps_dse.problem.space import LENET5_DESIGNS, NAMED_DESIGNS
from tests.conftest import Command
from tests.paper_studies import Trained, write_paper_study
from tests.test_figures import named_row, paper_info_of

TOPS = {"fixed": 99.0, "warm-restarts": 99.2, "adabatch": 99.2, "wab": 99.4, "ws": 98.9, "wab+ws": 99.2, "lenet5": 98.5}
FIGURES = ["fig4a-accuracy", *(f"fig8ab-pareto-{pair}" for pair in ("acc-params", "acc-time", "time-params"))]
FIGURES += ["fig8c-accuracy", "fig8d-learning-rate"]


def curve(top: float, generator: random.Random, epochs: int = 12) -> list[float]:
    return [round(top - 20 * math.exp(-0.7 * k) + generator.gauss(0, 0.03), 2) for k in range(epochs)]


def runs(designs: Sequence[str], *, seeds: int = 4) -> dict[str, list[Trained]]:
    """WarmAdaBatch is more accurate than Fixed by .4 points, weight sharing less accurate by .1."""
    generator = random.Random(7)
    return {
        name: [
            Trained(seed=seed, curve=curve(TOPS[name], generator), test=curve(TOPS[name] - 0.3, generator), seconds=10.0 + seed)
            for seed in range(seeds)
        ]
        for name in designs
    }


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a study of the protocol `both` that lacks two of the designs."""
    path = tmp_path_factory.mktemp("paper") / "both.db"
    write_paper_study(path, runs([*TOPS]), name="tenth", protocol="both", images=6000).close()
    return path


# --- the command --------------------------------------------------------------------------------------------------------


def test_it_writes_a_page_a_markdown_file_and_the_figures(command: Command, both: Path, tmp_path: Path) -> None:
    said = command("report", "--paper", "--storage", both)
    assert said.code == 0
    written = [
        "reports/tenth-paper.html",
        "reports/tenth-paper.md",
        *(f"reports/tenth-paper-figures/{name}.svg" for name in FIGURES),
    ]
    assert said.out.splitlines() == written
    assert re.search(
        r"^Epochs selected on held-out images: \d supported, 0 contradicted, \d open, of 9 claims$", said.err, flags=re.M
    )
    assert "tenth lacks exp-decay, one-cycle" in said.err
    text = (tmp_path / written[1]).read_text(encoding="utf-8")
    assert "| claim | paper, MNIST | here, held-out selection | verdict | here, test-set selection | verdict |" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| WarmAdaBatch is more accurate than Fixed |")]
    assert (
        "+0.08 points: 99.45 against 99.37 %" in row
        and row.count("| supported |") == 2
        and "p = 0.001<br>paired t test, 4 seeds" in row
    )
    assert re.search(r"\| wab \| 4 \| 99\.\d\d ± 0\.\d\d<br>\[99\.\d\d, 99\.\d\d\] .* \| 8,215,728 \|", text)
    assert "Training images: 6,000 (paper: 60,000)" in text and "Selecting the epoch on the test set adds 0." in text
    assert all((tmp_path / "reports" / link).is_file() for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text))
    assert len(re.findall(r"^\| lenet5 \|.*98\.86", text, flags=re.M)) == 1  # in Fig. 4b, beside the paper's


@pytest.mark.parametrize(("seeds", "needed"), [(5, 7), (7, None)])
def test_seeds_that_are_too_few_for_a_sign_test_are_told(
    command: Command, tmp_path: Path, seeds: int, needed: int | None
) -> None:
    """Fixed and WAB alone: four claims can be tested, and WAB never reaches Fixed, so two of them by the sign test."""
    tops = {"fixed": 99.0, "wab": 98.0}
    generator = random.Random(1)
    found = {name: [Trained(seed=k, curve=curve(top, generator)) for k in range(seeds)] for name, top in tops.items()}
    write_paper_study(tmp_path / "few.db", found).close()
    assert command("report", "--paper", "--storage", tmp_path / "few.db").code == 0
    text = (tmp_path / "reports" / "small-paper.md").read_text(encoding="utf-8")
    assert f"sign test, {seeds} seeds" in text
    assert ("With 5 seeds a sign test gives p = 0.0312 at best" in text) == (needed is not None)
    assert (f"From {needed} seeds on it can decide a claim" in text) == (needed is not None)


def test_json_has_the_same_as_data(command: Command, both: Path, tmp_path: Path) -> None:
    said = command("report", "--paper", "--json", "--storage", both)
    record = json.loads(said.out)
    assert said.code == 0 and not said.err and not (tmp_path / "reports").exists()
    assert record["protocol"] == "both" and record["missing"] == ["exp-decay", "one-cycle"]
    accuracy = record["claims"][0]
    assert accuracy["claim"] == "wab-accuracy" and accuracy["paper"] == {
        "text": "99.45 against 99.37 %",
        "effect": 0.08,
        "remark": "its text says 0.088",
    }
    for selection in ("held-out", "test"):
        here = accuracy["here"][selection]
        assert here["verdict"] == "supported" and here["low"] < 0.4 < here["high"] and here["seeds"] == [0, 1, 2, 3]
        assert here["p_for_raw"] < here["p_for"] < 0.05 and here["method"] == "t"
    assert [row["design"] for row in record["designs"]] == [name for name in NAMED_DESIGNS if name in TOPS]
    assert [speed["design"] for speed in record["speeds"]] == [*(name for name in NAMED_DESIGNS if name in TOPS), "lenet5"]
    wab = record["designs"][3]
    assert wab["selection_adds"]["mean"] == pytest.approx(
        wab["reached"]["test"]["acc"]["mean"] - wab["reached"]["held-out"]["acc"]["mean"]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--compare", "tenth"), "--compare does not go with --paper"),
        (("--figures", "out"), "--figures does not go with --paper"),
        (("--anytime",), "--anytime does not go with --paper"),
        (("--format", "pdf"), "--format does not go with --paper"),
        (("--no-error",), "--error does not go with --paper"),
        (("--json", "--out", "a.html"), "--out does not go with --paper --json"),
        (("--out", "a.md"), "--out names the page"),
    ],
)
def test_options_that_exclude_each_other(command: Command, both: Path, options: tuple[str, ...], message: str) -> None:
    said = command("report", "--paper", *options, "--storage", both)
    assert said.code == 2 and said.err.startswith(f"error: {message}") and "\nhint: " in said.err and not said.out
    assert command("report", "--json", "--storage", both).err.startswith("error: --json is of --paper")


def test_a_study_with_none_of_the_designs(command: Command, tmp_path: Path) -> None:
    write_paper_study(tmp_path / "s.db", {"lr_policy=fixed batch_schedule=128": [Trained(seed=0, curve=[90.0])]}).close()
    said = command("report", "--paper", "--storage", "s.db")
    assert (
        said.code == 2
        and not said.out
        and said.err.splitlines()
        == [
            "error: the study 'small' has none of the paper's eight designs: " + ", ".join(NAMED_DESIGNS),
            "hint: `fastrcaps-dse explore paper-mnist` trains all of them, `fastrcaps-dse train --design wab` one; "
            "--study names another study",
        ]
    )


def test_an_earlier_database_and_a_study_that_is_not_finished(command: Command, tmp_path: Path) -> None:
    """Of schema 9, without the columns of schema 10; one seed, one design in training, a data set that the paper does not have."""
    some = runs(["fixed", "wab"], seeds=1)
    some["wab"].append(Trained(seed=1, curve=[90.0], ends="running"))
    ours = write_paper_study(tmp_path / "s.db", some, name="a/<b>|", dataset="kmnist")
    with ours.engine.begin() as connection:
        for table, column in (("epoch", "test_acc"), ("run", "test_robust")):
            connection.execute(sa.text(f"ALTER TABLE fastrcaps_{table} DROP COLUMN {column}"))
        connection.execute(sa.text("UPDATE fastrcaps_schema SET version = 9"))
    ours.close()
    said = command("report", "--paper", "--storage", "s.db", "--out", "out here/p.html")
    assert said.code == 0 and "left out: wab: 1 run not finished" in said.err
    text = (tmp_path / "out here" / "p.md").read_text(encoding="utf-8")
    assert "# The paper, checked: a/\\<b\\>\\|" in text and "| claim | paper | here | verdict |" in text
    assert "one seed in common, and a test needs two | open |" in text and "no numbers for this data set" in text
    assert "its accuracies are too high by an unknown amount" in text
    assert "Without fixed, wab: not all of their seeds are finished." in text
    page = (tmp_path / "out here" / "p.html").read_text(encoding="utf-8")
    assert "a/&lt;b&gt;|" in page and "<b>" not in page and "<script" not in page


def test_the_document_has_every_claim() -> None:
    text = (Path(__file__).parent.parent / "docs" / "paper.md").read_text(encoding="utf-8")
    listed = re.findall(
        r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$", text.partition("## The claims")[2].partition("\n## ")[0], flags=re.M
    )
    assert listed[1:] == [claim.text for claim in CLAIMS]


# --- figures ------------------------------------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"


def test_a_curve_is_where_its_values_are() -> None:
    """The ends of the curve, read back by the numbers at the ticks."""
    line = Line("a < b & c", (1.0, 2.0, 4.0), (50.0, 70.0, 60.0), None, 0)
    made = printed_curves([line], Sheet(), title="accuracy (%)")
    root = ET.fromstring(svg_of(made, "one", "a curve <here>"))
    texts = {node.text: node for node in root.iter(f"{SVG}text")}
    assert {"a < b & c", "epoch", "accuracy (%)", "50", "70"} <= set(texts) and root.get("aria-label") == "a curve <here>"

    def at(text: str, letter: str) -> float:
        return float(texts[text].get(letter) or "nan")

    clipped = next(root.iter(f"{SVG}g"))  # what lies between the axes; the sample in the legend does not
    (path,) = [node.get("d", "") for node in clipped if node.get("d", "").count("L") == 2]
    points = [tuple(map(float, pair)) for pair in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]
    per_percent = (at("70", "y") - at("50", "y")) / 20
    assert points[1][1] - points[0][1] == pytest.approx(20 * per_percent, abs=0.2)
    assert points[2][1] - points[0][1] == pytest.approx(10 * per_percent, abs=0.2)
    per_epoch = (at("4", "x") - at("1", "x")) / 3
    assert points[2][0] - points[0][0] == pytest.approx(3 * per_epoch, abs=0.2) and points[0][0] == pytest.approx(
        at("1", "x"), abs=0.1
    )


def test_every_mark_is_drawn_once_and_within_the_picture() -> None:
    objectives = parse_objectives("acc,time,params")
    marks = [Mark(k, {"acc": 95.0 + k, "time": 10.0 + k, "params": 1e6}, {"acc": 0.2}, k == 2, True) for k in range(4)]
    made = printed_scatter(marks, (objectives[0], objectives[1]), objectives, Sheet(), error=True)
    root = ET.fromstring(svg_of(made, "two", "a scatter"))
    circles = [*root.iter(f"{SVG}circle")]
    assert len(circles) == 3 + 1  # the dominated, and one in the legend
    for circle in circles:
        assert 0 <= float(circle.get("cx", "-1")) <= made.width and 0 <= float(circle.get("cy", "-1")) <= made.height
    assert "nan" not in ET.tostring(root, encoding="unicode").lower().replace("dominant", "")
    assert {"0", "1", "2", "3"} <= {node.text for node in root.iter(f"{SVG}text")}


def test_every_style_of_a_curve_can_be_drawn() -> None:
    lines = [Line(str(k), (1.0, 2.0), (1.0 + k, 2.0 + k), (0.1, 0.2), k) for k in range(max(len(DASHES), len(SYMBOLS)))]
    root = ET.fromstring(svg_of(printed_curves(lines, Sheet(), title="y"), "n", "t"))
    assert sum("rgba" in (n.get("style") or "") for n in root.iter(f"{SVG}path")) == len(lines)  # bands


def test_lenet5_has_rows_beside_its_own_baseline() -> None:
    """As in Fig. 4b of the paper; the curves of Fig. 4a stay those of CapsNet."""
    info = paper_info_of(
        named_row(0, "lenet5-one-cycle", [[90.0, 93.0, 96.0]], 3.0),
        named_row(1, "fixed", [[90.0, 91.0, 99.0]], 10.0),
        named_row(2, "lenet5", [[90.0, 93.0, 92.0]], 4.0),
    )
    assert [speed.design for speed in info.speeds] == ["fixed", "lenet5", "lenet5-one-cycle"]
    assert [speed.epochs_to_baseline for speed in info.speeds] == [3, 2, 2]
    assert [speed.relative_time for speed in info.speeds] == [1.0, 1.0, pytest.approx(9 / 8)]
    assert [colored.curve.name for colored in info.named] == ["fixed"]
    assert not set(info.missing) & set(LENET5_DESIGNS) and "compared with its own" in paper.speed_markdown(info.speeds, "c")


# --- the page -----------------------------------------------------------------------------------------------------------

AXE = """axe.run().then(({ violations }) => violations.map(v =>
  `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 160)).join(' | ')}`))"""
CUT = """[...document.querySelectorAll('tbody td, tbody th, dd, h1, h2, p, svg')].filter(n => {
  const box = n.getBoundingClientRect(); return box.right > innerWidth + 1 || box.left < -1; }).length"""


@pytest.mark.browser
def test_the_page_fits_and_is_readable_in_both_themes(command: Command, both: Path, tmp_path: Path, chromium: Any) -> None:
    """It sends no request, runs no script and scrolls sideways at no width; axe finds nothing."""
    assert command("report", "--paper", "--storage", both, "--out", "p.html").code == 0
    axe = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    said: list[str] = []
    grounds = set()
    for width, scheme in ((1280, "light"), (400, "dark")):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
        page.goto(f"file://{tmp_path / 'p.html'}")
        for narrower in (width, width * 4 // 5):
            page.set_viewport_size({"width": narrower, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= narrower and page.evaluate(CUT) == 0
        assert page.locator(".verdict.supported").count() >= 2 and page.locator("figure svg").count() == len(FIGURES)
        grounds.add(page.evaluate("getComputedStyle(document.querySelector('figure svg > rect')).fill"))
        page.evaluate(axe)
        assert page.evaluate(AXE) == [], (width, scheme)
        context.close()
    assert said == [] and len(grounds) == 2  # the figures are dark where the page is
