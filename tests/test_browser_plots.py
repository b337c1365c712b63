"""The page's plots in a real browser: what they draw is true, nothing overlaps, and what the user set stays."""

from __future__ import annotations

import io
import itertools
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fastrcaps_dse.analysis.results import values_of
from fastrcaps_dse.figures.plots import rate_curve
from fastrcaps_dse.problem.objectives import OBJECTIVES
from tests.browsing import FLAT, Open, Serve, eventually
from tests.plot_faults import plot_faults
from tests.serving import watched_of
from tests.synthetic import write_study
from tests.test_browser_page import GROW

pytestmark = pytest.mark.browser

FIVE = "acc,time,params,macs,epochs"
PANEL = "fastrcaps.views.scatter.pairs.panels"

# --- geometry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("designs", "how"),
    [
        (4, {"objectives": "acc,params"}),
        (40, {"seeds": 2}),
        (40, {"objectives": FIVE}),
        pytest.param(1000, {"objectives": "acc,time,params,macs"}, marks=pytest.mark.thorough),
    ],
)
def test_nothing_overlaps_or_leaves_its_panel(open_page: Open, studies: Any, designs: int, how: dict[str, Any]) -> None:
    page = open_page(studies(designs, **how)[1] + "#sel=1,2", width=1400)
    for width, scheme in ((1400, "light"), (800, "dark"), (400, "light")):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(250)  # until the plots have the new width
        assert plot_faults(page) == [], width


def test_the_look_for_faults_finds_them(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1])
    assert plot_faults(page) == []
    page.evaluate("document.querySelector('.pair text.label').setAttribute('x', -200)")
    page.evaluate("document.querySelectorAll('#accuracy text.tick').forEach((tick) => tick.setAttribute('x', 100))")
    faults = plot_faults(page)
    assert any(fault.startswith("leaves its panel") for fault in faults) and any(f.startswith("overlap") for f in faults)
    page.evaluate("fastrcaps.views.scatter.pairs.panels[0].labels.replaceChildren()")
    assert any(fault.startswith("the pick has no number") for fault in plot_faults(page))


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_every_pair_has_its_front(open_page: Open, studies: Any) -> None:
    """The step line of each panel goes through the designs that none dominates in its two columns."""
    ours, address = studies(objectives=FIVE)
    page = open_page(address)
    names = FIVE.split(",")
    pairs = page.evaluate(f"{PANEL}.map((panel) => [panel.names.x, panel.names.y])")
    assert pairs == [[x, y] for y, x in itertools.combinations(names, 2)]
    measured = {t.trial: values_of(t) or {} for t in ours.trials(ours.study())}
    cost = {
        name: {t: (-1 if OBJECTIVES[name].direction == "maximize" else 1) * v[name] for t, v in measured.items()}
        for name in names
    }
    for k, (x, y) in enumerate(pairs):
        drawn = page.evaluate(f"{PANEL}[{k}].picture.frontOfPair().map((d) => d.trial)")
        ends = {(round(cost[x][t], 6), round(cost[y][t], 6)) for t in drawn}
        expected = {
            (round(cost[x][a], 6), round(cost[y][a], 6))
            for a in measured
            if not any(
                cost[x][b] <= cost[x][a] and cost[y][b] <= cost[y][a] and (cost[x][b], cost[y][b]) != (cost[x][a], cost[y][a])
                for b in measured
            )
        }
        assert ends == expected, (x, y)
        corners = page.locator(".pair").nth(k).locator(".steps").get_attribute("d")
        assert len(re.findall("[ML]", corners)) == 2 * len(expected) - 1


def test_marks_stand_where_their_values_are(open_page: Open, studies: Any) -> None:
    """Two ticks give the scale of each axis; by it the place of every design is its value."""
    ours, address = studies(seeds=2)
    page = open_page(address + "#view=one&error=0")
    measured = {t.trial: values_of(t) or {} for t in ours.trials(ours.study())}
    frame = page.evaluate(
        f"""(() => {{ const {{ frame, places }} = {PANEL}[0].picture;
        return {{ x: frame.ticksX.map((t) => [Number(t.text), frame.x(t.at)]), y: frame.ticksY.map((t) => [Number(t.text), frame.y(t.at)]),
        places: [...places.values()].map(({{ design, x, y }}) => [design.trial, x, y]) }}; }})()"""
    )
    (a, left), (b, right) = frame["x"][0], frame["x"][-1]  # seconds, on a logarithmic axis
    (low, bottom), (high, top) = frame["y"][0], frame["y"][-1]
    assert len(frame["places"]) == len(measured) and len(frame["x"]) >= 3
    for trial, x, y in frame["places"]:
        assert a * (b / a) ** ((x - left) / (right - left)) == pytest.approx(measured[trial]["time"], rel=2e-3)
        assert low + (high - low) * (y - bottom) / (top - bottom) == pytest.approx(measured[trial]["acc"], abs=5e-3)
    ticks = page.locator(".pair text.tick").all_text_contents()
    assert not {"6", "7", "8", "9"} & set(ticks[: len(frame["x"])])


def test_accuracy_is_shown_as_error_where_all_are_high(open_page: Open, studies: Any) -> None:
    ours, address = studies()
    measured = {t.trial: values_of(t) or {} for t in ours.trials(ours.study())}
    assert min(values["acc"] for values in measured.values()) > 90
    page = open_page(address + FLAT)
    title = page.locator(".pair text.title").nth(1)
    assert page.locator("#error").is_checked() and title.text_content().startswith("← error: 100 \N{MINUS SIGN} accuracy (%)")
    assert page.locator("#accuracy-title").inner_text() == "Error over epochs"
    trial, y, at = page.evaluate(
        f"(() => {{ const p = {PANEL}[0].picture; const {{ design, y }} = [...p.places.values()][3];"
        "return [design.trial, y, p.frame.y(Math.log10(100 - design.values.acc))]; })()"
    )
    assert y == pytest.approx(at) and trial in measured
    page.locator("#error").click()
    eventually(lambda: page.locator(".pair text.title").nth(1).text_content().startswith("accuracy (%)"))
    assert page.locator("#accuracy-title").inner_text() == "Accuracy over epochs" and "error=0" in page.url
    again = open_page(page.url)
    assert not again.locator("#error").is_checked()
    box = again.locator(".pair").bounding_box()
    x, y = again.evaluate(f"(() => {{ const {{ x, y }} = [...{PANEL}[0].picture.places.values()][0]; return [x, y]; }})()")
    again.mouse.move(box["x"] + x, box["y"] + y)
    said = again.locator("#tip").inner_text()
    assert re.search(r"accuracy: \d\d\.\d\d % \(error \d\.\d\d %\)", said) and "trial " in said


def test_the_rate_is_the_policys_own(open_page: Open, studies: Any) -> None:
    ours, address = studies(running=1)
    trials = ours.trials(ours.study())
    chosen = [
        next(t for t in trials if t.design.lr_policy.name == name and t.state == "done")
        for name in ("fixed", "exp-decay", "one-cycle", "warm-restarts")
    ]
    running = next(t for t in trials if t.state == "running")
    page = open_page(address + f"{FLAT}&sel={','.join(str(t.trial) for t in [*chosen, running])}")
    series = page.evaluate(
        "fastrcaps.views.lines.charts.rate.spec.series.map(({ trial, points, until }) => ({ trial, points, until }))"
    )
    assert [s["trial"] for s in series] == [t.trial for t in [*chosen, running]]
    for trial, shown in zip([*chosen, running], series, strict=True):
        curve = rate_curve(trial.design, name="", epochs=6, images=1667)
        assert [x for x, _ in shown["points"]] == pytest.approx(curve.x, abs=1e-4)
        assert [y for _, y in shown["points"]] == pytest.approx(curve.y, rel=1e-4)
        assert shown["until"] == (3 if trial is running else 6)
    assert page.locator("#rate .planned").count() == 1 and "planned" in page.locator("#rate-note").inner_text()
    wab = next(t for t in trials if t.design.batch_schedule.name == "adabatch")
    page.evaluate(f"fastrcaps.update({{ selected: [{wab.trial}] }})")
    eventually(lambda: page.locator("#batch .curve").count() == 1)
    sizes = page.evaluate("fastrcaps.views.lines.charts.batch.spec.series[0].points")
    assert sizes[0] == [0, 1] and sizes[-1] == [6, 16]
    ticks = page.locator("#batch text.tick").all_text_contents()
    assert {"0", "1", "2", "3", "4", "5", "6"} <= set(ticks)


# --- what the user set ------------------------------------------------------------------------------------------------


def zoomed(page: Any) -> list[float]:
    found: list[float] = page.evaluate(f"Object.values({PANEL}[0].picture.frame.ranges).flat()")
    return found


def test_zoom_scroll_and_focus_stay_when_a_study_grows(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 8, running=1)
    server = serve(watched_of(ours))
    page = open_page(f"http://{server.host}/")
    eventually(lambda: page.locator("#status").inner_text() == "live")
    whole = zoomed(page)
    box = page.locator(".pair").first.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 160, steps=4)
    page.mouse.up()
    eventually(lambda: zoomed(page) != whole)
    kept = zoomed(page)
    page.locator(".enlarge").nth(1).focus()
    page.mouse.wheel(0, 120)
    page.wait_for_timeout(200)
    scroll = page.evaluate("scrollY")
    assert scroll > 0
    code = GROW.format(root=str(Path(__file__).parent.parent), path=str(tmp_path / "s.db"))
    subprocess.run([sys.executable, "-c", code], check=True)
    eventually(lambda: "11 of 12 designs measured" in page.locator("#summary").inner_text())
    eventually(lambda: page.evaluate("fastrcaps.views.scatter.groups.flatMap((g) => g.designs).length") == 11)
    assert zoomed(page) == kept and page.evaluate("scrollY") == scroll
    assert page.evaluate("document.activeElement === document.querySelectorAll('.enlarge')[1]")
    page.locator("#unzoom").click()
    eventually(lambda: page.locator("#unzoom").is_hidden() and zoomed(page) != kept)


@pytest.mark.slow
def test_three_dimensions_one_click_away(open_page: Open, studies: Any) -> None:
    page = open_page(studies(12)[1], width=600, height=600)
    assert page.evaluate("window.Plotly === undefined")  # it is not even unpacked
    page.locator("#views button", has_text="3D").click()
    eventually(lambda: bool(page.evaluate("Boolean(document.querySelector('.scene').data)")))
    names = page.evaluate("document.querySelector('.scene').data.map((t) => t.name)")
    assert names[-1] == "drops" and "Pareto front" in names and "view=3d" in page.url
    front = page.evaluate("fastrcaps.study.measured.filter((d) => d.on_front).length")
    assert page.evaluate("document.querySelector('.scene').data.at(-1).x.length") >= 3 * front
    # the wheel scrolls the page until the scene has the focus
    page.evaluate("document.activeElement.blur()")
    box = page.locator(".scene").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.wheel(0, 100)
    eventually(lambda: page.evaluate("scrollY") > 0)
    # a camera is kept in the address, and reset
    camera = "{ eye: { x: 0.5, y: 2, z: 1 }, center: { x: 0, y: 0, z: 0 } }"
    page.evaluate(f"Plotly.relayout(document.querySelector('.scene'), {{ 'scene.camera': {camera} }})")
    eventually(lambda: "camera=0.5%2C2%2C1" in page.url)
    page.evaluate("fastrcaps.update({ hover: 3 })")
    eventually(lambda: page.evaluate("document.querySelector('.scene').data.find((t) => t.name === 'hover').customdata") == [3])
    eye = "document.querySelector('.scene').layout.scene.camera.eye"
    again = open_page(page.url, width=600, height=600)
    eventually(lambda: again.evaluate(f"document.querySelector('.scene').data && {eye}") == {"x": 0.5, "y": 2, "z": 1})
    again.locator("#untwist").click()
    eventually(lambda: "camera" not in again.url and again.evaluate(eye)["x"] == 1.55)


def test_a_browser_without_webgl_stays_flat(open_page: Open, studies: Any) -> None:
    page = open_page(studies(12)[1])
    page.evaluate(
        """() => { const own = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
          return kind.includes('webgl') ? null : own.call(this, kind, ...rest);
        }; }"""
    )
    page.locator("#views button", has_text="3D").click()
    eventually(lambda: "no WebGL" in page.locator("#scatter-note").inner_text())
    assert page.locator(".pair").count() == 1 and page.locator(".pair").is_visible()


def test_a_browser_that_cannot_unpack_says_so(chromium: Any, studies: Any) -> None:
    context = chromium.new_context()
    context.add_init_script("delete window.DecompressionStream")
    page = context.new_page()
    page.goto(studies(12)[1])
    eventually(lambda: "too old to unpack" in page.locator("#summary").inner_text())
    context.close()


# --- pictures that are saved ------------------------------------------------------------------------------------------


def saved(page: Any, plot: str, kind: str) -> bytes:
    with page.expect_download() as download:
        page.locator(f'.export[data-plot="{plot}"] button', has_text=kind).click()
    return Path(download.value.path()).read_bytes()


@pytest.mark.parametrize("view", ["", pytest.param("#view=3d", marks=pytest.mark.thorough)])
def test_a_saved_picture_has_a_ground_and_a_legend(open_page: Open, studies: Any, view: str) -> None:
    """From the dark page too, it is light: dark text on white."""
    page = open_page(studies(12)[1] + view, width=600, height=600, color_scheme="dark")
    eventually(lambda: not view or bool(page.evaluate("Boolean(document.querySelector('.scene')._fullLayout)")))
    for plot in ["scatter"] if view else ["scatter", "parallel", "accuracy", "rate", "by-trials"]:
        text = saved(page, plot, "SVG").decode()
        words = "".join(ET.fromstring(text).itertext())
        assert "synthetic" in words
        expected = {
            "scatter": "Pareto front",
            "parallel": "Pareto front",
            "accuracy": ": ",
            "rate": ": ",
            "by-trials": "hypervolume",
        }
        assert expected[plot] in words
        pixels = np.asarray(Image.open(io.BytesIO(saved(page, plot, "PNG"))).convert("RGBA")).reshape(-1, 4)
        assert (pixels[:, 3] == 255).all(), "some of it is transparent"
        light = (pixels[:, :3].min(axis=1) > 225).mean()
        dark = (pixels[:, :3].max(axis=1) < 110).mean()
        assert light > 0.6 and 0 < dark < 0.2, plot
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    if not view:  # the page itself is as it was
        assert page.evaluate("document.querySelector('#by-trials .curve').getAttribute('stroke')") == "#f59e5b"


TICKS = """([name, values, isError]) => {
  const { study, views } = fastrcaps;
  const own = study.measured.map((d) => d.values[name]);
  study.measured.forEach((d, k) => { d.values[name] = values[k % values.length]; });
  fastrcaps.update({ error: isError ? '1' : '0' });
  views.scatter.axes = new Map();
  const axis = views.scatter.axis(name);
  study.measured.forEach((d, k) => { d.values[name] = own[k]; });
  return { title: axis.title, ticks: [3, 5, 8].map((most) => axis.ticks(axis.low, axis.high, most).map((t) => t.text)) };
}"""


def test_ticks_are_round_and_few(open_page: Open, studies: Any) -> None:
    """The ticks of axes from less than a second to days, and of accuracies: none is lost, none is twice."""
    page = open_page(studies(12)[1])
    cases = [
        ("time", [60, 500], False, "(s)", ["60", "80", "100", "150", "200", "300", "400"]),
        ("time", [0.5, 900], False, "(s)", ["1", "10", "100"]),
        ("time", [600, 9000], False, "(min)", ["10", "20", "50", "100"]),
        ("time", [3600, 200_000], False, "(h)", ["1", "10"]),
        ("acc", [98.5, 99.7], True, "error", ["0.3", "1", "1.5"]),
        ("acc", [99.0, 100.0], True, "error", ["0", "1"]),
        ("params", [6.7e6, 8.2e6], False, "trainable parameters", ["7M", "8M"]),
        ("epochs", [1, 6], False, "epochs", ["2", "4", "6"]),
        ("epochs", [3, 4], False, "epochs", ["3", "4"]),
    ]
    for name, values, is_error, title, some in cases:
        found = page.evaluate(TICKS, [name, values, is_error])
        assert title in found["title"], name
        for most, ticks in zip((3, 5, 8), found["ticks"], strict=True):
            assert 1 <= len(ticks) <= most + 1 and len(set(ticks)) == len(ticks), (name, values, ticks)
        assert set(some) <= set(found["ticks"][2]), (name, values, found["ticks"][2])
        if name == "epochs":
            assert all(math.isclose(float(t) % 1, 0) for ticks in found["ticks"] for t in ticks)
