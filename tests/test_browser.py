"""The page in a real browser: each linked view, the pick, the address, live changes, the file without a network."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse import picks, records
from fastrcaps_dse.objectives import OBJECTIVES
from fastrcaps_dse.page.report import render
from fastrcaps_dse.page.serve import _bind
from fastrcaps_dse.store import Store, tables
from tests.synthetic import write_study
from tests.test_page import Server, watched_of

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium(browser: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
        launched = playwright.chromium.launch(executable_path=browser, args=options)
        yield launched
        launched.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Open]:
    """Opens an address and waits for the page; at the end no page has said an error, or shown a dialog."""
    said: list[str] = []
    contexts: list[Any] = []

    def open_(address: str, *, width: int = 1280, height: int = 900, **how: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **how)
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.goto(address)
        eventually(lambda: bool(page.evaluate("window.complete")))
        return page

    open_.said = said  # type: ignore[attr-defined]
    yield open_
    for context in contexts:
        context.close()
    assert not said, said


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Store, str]]:
    """A study by its traits, and the address of its file; each made once."""
    made: dict[str, tuple[Store, str]] = {}

    def study(designs: int = 40, **how: Any) -> tuple[Store, str]:
        key = json.dumps([designs, how])
        if key not in made:
            place = tmp_path_factory.mktemp("page")
            ours = write_study(place / "s.db", designs, **how)
            (place / "s.html").write_text(file_of(ours), encoding="utf-8")
            made[key] = ours, f"file://{place / 's.html'}"
        return made[key]

    return study


def file_of(ours: Store) -> str:
    row = ours.study()
    return render(row, ours.trials(row), ours.epochs_of(row.study_id), row.objectives)


def texts(page: Any, selector: str) -> list[str]:
    return [str(text) for text in page.locator(selector).all_inner_texts()]


def marked(page: Any, kind: str) -> list[int]:
    """The trials that a small trace of the scatter marks."""
    found: list[int] = page.evaluate(f"document.querySelector('#scatter').data.find(t => t.name === {kind!r}).customdata")
    return found


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not check():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_works_without_a_network(open_page: Open, studies: Any) -> None:
    _, address = studies(failed=1, running=1)
    asked: list[str] = []
    page = open_page(address, offline=True)
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    eventually(lambda: bool(page.evaluate("window.complete")))
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [address]
    assert (
        page.locator("#name").inner_text() == "synthetic"
        and "40 of 42 designs measured" in page.locator("#summary").inner_text()
    )
    assert page.locator("#table tbody tr").count() == 42
    states = texts(page, "#table tr.failed td, #table tr.running td")
    assert "failed: the loss is not finite after epoch 2" in states and "running" in states


@pytest.mark.parametrize(
    ("designs", "how"),
    [
        (0, {}),
        (0, {"failed": 2, "running": 1}),
        (1, {}),
        (30, {"objectives": "acc,params"}),
        (30, {"objectives": "acc,time,params,macs,epochs"}),
        (30, {"objectives": "params"}),
        (20, {"seeds": 3}),
        (2000, {}),
    ],
)
def test_studies_of_any_size(open_page: Open, studies: Any, designs: int, how: dict[str, Any]) -> None:
    _, address = studies(designs, **how)
    page = open_page(address)
    count = designs + how.get("failed", 0) + how.get("running", 0)
    assert page.locator("#count").inner_text() == f"{count:,} design{'s' * (count != 1)}"
    assert page.locator("#table tbody tr").count() == min(100, count)
    flat = len(how.get("objectives", "a,b,c").split(",")) < 3
    kinds = page.evaluate("[...new Set(document.querySelector('#scatter').data.map(t => t.type))]")
    assert kinds == ([] if not designs else ["scatter"] if flat else ["scatter3d"])
    if not designs:
        assert page.locator("#picked h3").inner_text() == "No design is measured yet"
    if how.get("seeds"):
        assert any("±" in text for text in texts(page, "#table td")) and any(
            "tied" in text for text in texts(page, "#table td")
        )
        assert page.evaluate("document.querySelector('#accuracy').data.some(t => t.fill === 'toself')")
        assert page.evaluate("document.querySelector('#scatter').data.some(t => t.error_x)")
    if designs > 100:
        page.locator("#more").click()
        assert page.locator("#table tbody tr").count() == 600


# --- linked views -----------------------------------------------------------------------------------------------------


def test_the_table_marks_in_all_views(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1])
    row = page.locator("#table tbody tr").nth(20)
    trial = int(row.get_attribute("data-trial"))
    row.hover()
    eventually(lambda: marked(page, "hover") == [trial])
    row.click()
    eventually(lambda: marked(page, "selected") == [trial])
    assert "1 selected" in page.locator("#count").inner_text() and row.locator("input").is_checked()
    eventually(
        lambda: page.evaluate("[...new Set(document.querySelector('#accuracy').data.map(t => t.customdata[0]))]") == [trial]
    )
    assert page.evaluate("document.querySelector('#rate').data.length") == 1
    other = page.locator("#table tbody tr").nth(3)
    other.click()
    eventually(lambda: len(marked(page, "selected")) == 2)
    eventually(lambda: page.evaluate("document.querySelector('#accuracy').data.length") == 2)
    page.locator("#clear").click()
    eventually(lambda: marked(page, "selected") == [])


def test_the_scatter_marks_in_all_views(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + "#z=")
    page.locator("#scatter").scroll_into_view_if_needed()
    place = page.evaluate(
        """() => { const node = document.querySelector('#scatter'); const t = node.data.find(t => t.name === 'Pareto front');
        const l = node._fullLayout; const box = node.getBoundingClientRect();
        return [t.customdata[0], box.x + l.xaxis._offset + l.xaxis.d2p(t.x[0]), box.y + l.yaxis._offset + l.yaxis.d2p(t.y[0])]; }"""
    )
    page.mouse.move(place[1] - 30, place[2] - 30)
    page.mouse.move(place[1], place[2])
    eventually(lambda: page.locator(f"tr[data-trial='{place[0]}'].hover").count() == 1)
    page.mouse.down()
    page.mouse.up()
    eventually(lambda: page.locator(f"tr[data-trial='{place[0]}'].chosen").count() == 1)
    assert f"sel={place[0]}" in page.url


def test_axes_are_chosen(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1])
    page.locator("#axis-x").select_option("macs")
    page.locator("#axis-z").select_option("")
    titles = "(() => { const l = document.querySelector('#scatter').layout; return [l.xaxis?.title?.text, l.yaxis?.type]; })()"
    eventually(lambda: page.evaluate(titles) == ["multiply-adds to classify an image (multiply-adds)", "log"])
    assert "x=macs" in page.url and "z=" in page.url


def test_ranges_keep_what_lies_within(open_page: Open, studies: Any) -> None:
    ours, address = studies()
    page = open_page(address)
    page.locator("#parallel").scroll_into_view_if_needed()
    grip = page.locator('.grip[data-axis="params"]').bounding_box()
    x, top = grip["x"] + grip["width"] / 2, grip["y"]
    page.mouse.move(x, top + 2)
    page.mouse.down()
    page.mouse.move(x, top + grip["height"] / 3, steps=4)
    page.mouse.up()
    low = [t.trial for t in ours.trials(ours.study()) if t.measurement and t.measurement.params < 7e6]
    shown = page.evaluate("[...document.querySelectorAll('#table tbody tr')].map(r => Number(r.dataset.trial))")
    assert sorted(shown) == sorted(low) and f"{len(low)} designs of 40" in page.locator("#count").inner_text()
    faded = "document.querySelector('#scatter').data.find(t => t.name === 'outside the ranges').customdata.length"
    eventually(lambda: page.evaluate(faded) == 40 - len(low))
    assert "range.params=" in page.url
    again = open_page(page.url)
    assert again.locator("#table tbody tr").count() == len(low)
    page.locator('.grip[data-axis="params"]').click()
    assert page.locator("#table tbody tr").count() == 40 and page.locator("#unbrush").is_hidden()


def test_lines_of_the_parallel_view_mark_too(open_page: Open, studies: Any) -> None:
    page = open_page(studies(1)[1])
    page.locator("#parallel").scroll_into_view_if_needed()
    box = page.locator("#parallel").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 100)
    place = page.evaluate(
        "(() => { const p = [...fastrcaps.parallel.points.values()][0]; return [(p[0][0] + p[1][0]) / 2, (p[0][1] + p[1][1]) / 2]; })()"
    )
    page.mouse.move(box["x"] + place[0], box["y"] + place[1])
    eventually(lambda: marked(page, "hover") == [0])
    page.mouse.click(box["x"] + place[0], box["y"] + place[1])
    eventually(lambda: marked(page, "selected") == [0])


def test_the_table_sorts_filters_and_chooses_columns(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1])
    button = page.get_by_role("button", name="trainable parameters", exact=False).first
    button.click()
    head = page.locator("th", has_text="trainable parameters")
    assert head.get_attribute("aria-sort") == "ascending"
    numbers = [int(t.replace(",", "")) for t in texts(page, "#table tbody tr td:nth-child(7)")]
    assert numbers == sorted(numbers)
    page.locator("th button", has_text="trainable parameters").click()
    assert head.get_attribute("aria-sort") == "descending" and "sort=params.down" in page.url
    page.locator("#filter").fill("one-cycle small")
    assert all("one-cycle" in t and "small" in t for t in texts(page, "#table tbody tr td:nth-child(3)"))
    page.locator("#columns summary").click()
    page.locator("#columns label", has_text="lr policy").locator("input").check()
    assert "lr policy" in texts(page, "th")
    again = open_page(page.url)
    assert texts(again, "th") == texts(page, "th") and texts(again, "#table tbody tr") == texts(page, "#table tbody tr")


# --- the pick ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"seeds": 3}, {"objectives": "params,time,acc,macs,epochs"}, {"objectives": "acc"}])
def test_the_pick_is_that_of_the_command_line(open_page: Open, studies: Any, how: dict[str, Any]) -> None:
    ours, address = studies(**how)
    page = open_page(address)
    row = ours.study()
    trials = ours.trials(row)
    known = records.standings_of(trials, row.objectives)
    candidates = [records.candidate(t, row.objectives, known[t.trial]) for t in trials if t.measurement is not None]
    generator = random.Random(3)
    basic = ["params", "time", "acc"]  # in the order in which the command line takes them
    names = basic + [n for n in page.evaluate("fastrcaps.columns.map(c => c.name)") if n not in basic]
    nothing = 0
    for _ in range(40):
        given: dict[str, str] = {}
        for name in generator.sample(names, generator.randint(0, 3)):
            value = generator.choice(candidates).values[name] * generator.choice([1, 1.001, 0.999])
            given[name] = str(round(min(value, 100) if name == "acc" else value, 3))
        prefer = generator.choice([None, None, "knee", generator.choice(row.objectives).name])
        limits = [
            picks.parse_limit(n, "min" if OBJECTIVES[n].direction == "maximize" else "max", given[n])
            for n in names
            if n in given
        ]
        expected = picks.pick(candidates, row.objectives, limits, prefer)
        page.evaluate(
            "([limits, prefer]) => { Object.assign(fastrcaps.state, {limits, prefer}); fastrcaps.picking(); }",
            [given, prefer or ""],
        )
        assert tuple(texts(page, "#picked li")) == expected.why, (given, prefer)
        head = page.locator("#picked h3").inner_text()
        if expected.trial is None:
            nothing += 1
            assert head == "Nothing fits these limits"
            assert f"(trial {expected.nearest_miss})" in page.locator("#picked p").first.inner_text()
        else:
            assert head.endswith(f"(trial {expected.trial})")
            assert page.locator(f"tr[data-trial='{expected.trial}'].pick").count() == 1
    eventually(lambda: marked(page, "pick") == ([expected.trial] if expected.trial is not None else []))
    assert 0 < nothing < 40 or how == {"objectives": "acc"}


def test_the_command_gives_the_same_pick(open_page: Open, studies: Any) -> None:
    """What the page says to copy, run in a shell."""
    ours, address = studies()
    page = open_page(address + "#limit.params=7M&limit.macs=2e8&limit.acc=97%25&prefer=time")
    command = page.locator("#command").inner_text()
    assert command.startswith("fastrcaps-dse pick --study synthetic --") and "--max-params 7M" in command
    run = [sys.executable, "-m", "fastrcaps_dse", "pick", "--json"]
    answer = subprocess.run(
        f"{' '.join(run)} {command.removeprefix('fastrcaps-dse pick')} --storage {ours.url.database}",
        shell=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode in (0, 3), answer.stderr
    picked = json.loads(answer.stdout)
    assert texts(page, "#picked li") == picked["why"]


def test_a_pick_by_keyboard_alone(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1])

    def walk_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({selector!r})"):
                return
        raise AssertionError(f"Tab never comes to {selector}")

    walk_to("#limit-text-params")
    page.keyboard.type("7M")
    assert "--max-params 7M" in page.locator("#command").inner_text()
    assert page.locator("#picked li", has_text="within params <= 7,000,000").count() == 1
    walk_to("#prefer")
    page.keyboard.press("End")
    assert page.locator("#prefer").input_value() == "knee" and "--prefer knee" in page.locator("#command").inner_text()
    walk_to("#copy")
    page.keyboard.press("Enter")
    eventually(lambda: page.locator("#copy").inner_text() == "Copied")
    walk_to("#table input")
    page.keyboard.press("Space")
    eventually(lambda: len(marked(page, "selected")) == 1)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    eventually(lambda: len(marked(page, "selected")) == 2)


def test_sliders_and_wrong_quantities(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1])
    slider = page.locator("#limit-range-params")
    slider.focus()
    for _ in range(80):
        page.keyboard.press("ArrowLeft")
    limit = page.locator("#limit-text-params").input_value()
    assert re.fullmatch(r"[67](\.\d+)?M", limit) and f"--max-params {limit}" in page.locator("#command").inner_text()
    page.locator("#limit-text-time").fill("soon")
    assert page.locator("#limit-wrong-time").inner_text() == "write it as 90s"
    assert (
        page.locator("#limit-text-time").get_attribute("aria-invalid") == "true"
        and "--max-time" not in page.locator("#command").inner_text()
    )
    page.locator("#loosen").click()
    assert "--" not in page.locator("#command").inner_text().replace("--study", "").replace("--storage", "")


# --- address, theme, export -------------------------------------------------------------------------------------------


def test_a_link_shows_the_same(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1])
    page.locator("#limit-text-params").fill("7M")
    page.locator("#axis-y").select_option("macs")
    page.locator("#theme").click()
    page.locator("#table tbody tr").nth(5).click()
    again = open_page(page.url)
    for selector in ("#picked", "#command", "#count", "#table"):
        assert again.locator(selector).inner_text() == page.locator(selector).inner_text()
    assert (
        again.evaluate("document.documentElement.dataset.theme") == "dark" and again.locator("#axis-y").input_value() == "macs"
    )
    eventually(lambda: marked(again, "selected") == marked(page, "selected"))
    broken = open_page(studies()[1] + "#x=nothing&limit.params=abc&sel=a,999&sort=nothing.up&range.params=1..x&prefer=<b>")
    assert broken.locator("#axis-x").input_value() == "acc"


def test_exports(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + "#sel=3,4")

    def saved(selector: str) -> tuple[str, bytes]:
        with page.expect_download() as download:
            page.locator(selector).click()
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()

    name, table = saved("#csv")
    lines = table.decode().splitlines()
    assert name == "synthetic.csv" and len(lines) == 3 and lines[0].startswith("trial,design,state,on_front,lr_policy")
    for plot in ("scatter", "parallel", "accuracy", "by-seconds"):
        name, picture = saved(f'.export[data-plot="{plot}"] button:nth-child(1)')
        assert name == f"synthetic-{plot}.png" and picture.startswith(b"\x89PNG") and len(picture) > 5000
        name, drawing = saved(f'.export[data-plot="{plot}"] button:nth-child(2)')
        assert name == f"synthetic-{plot}.svg" and b"<svg" in drawing[:300]


@pytest.mark.parametrize("width", [400, 800])
def test_a_narrow_window(open_page: Open, studies: Any, width: int) -> None:
    page = open_page(studies()[1], width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#picked h3").is_visible()


def test_the_theme_follows_the_system(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1], color_scheme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 24, 31)"


# --- hostile studies --------------------------------------------------------------------------------------------------


def test_names_and_reasons_never_become_markup(open_page: Open, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)><b>{{end}}</b>"
    ours = write_study(tmp_path / "s.db", 6, name=evil, failed=1)
    with ours.engine.begin() as connection:
        connection.execute(tables.run.update().values(reason=f"=cmd {evil}", weights=f"{evil}.safetensors"))
    (tmp_path / "s.html").write_text(file_of(ours), encoding="utf-8")
    with Server(watched_of(ours)) as server:
        for address in (f"file://{tmp_path / 's.html'}", f"http://{server.host}/"):
            page = open_page(address + "#sel=0,1&filter=" + "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
            page.locator("#filter").fill("")
            page.locator("#table tbody tr").first.hover()
            page.wait_for_timeout(200)
            assert page.locator("#name").inner_text() == evil and page.title().startswith(evil)
            assert page.locator("img").count() == 0 and page.locator("main b").count() == 0


# --- live -------------------------------------------------------------------------------------------------------------

GROW = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from fastrcaps_dse import store
from fastrcaps_dse.store import Store
from tests.synthetic import add_designs, make_spec
ours = Store(store.parse_url({path!r}))
add_designs(ours, ours.study(), make_spec("synthetic"), 3)
"""


def test_the_page_follows_a_study_that_another_process_runs(open_page: Open, tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 5, running=1)
    with Server(watched_of(ours)) as server:
        page = open_page(f"http://{server.host}/#limit.params=9M&sel=1")
        eventually(lambda: page.locator("#status").inner_text() == "live")
        assert "5 of 6 designs measured" in page.locator("#summary").inner_text()
        code = GROW.format(root=str(Path(__file__).parent.parent), path=str(tmp_path / "s.db"))
        subprocess.run([sys.executable, "-c", code], check=True)
        eventually(lambda: "8 of 9 designs measured" in page.locator("#summary").inner_text())
        assert page.locator("#table tbody tr").count() == 9 and marked(page, "selected") == [1]
        assert page.locator("#limit-text-params").input_value() == "9M"
        assert page.evaluate("document.querySelector('#by-trials').data[0].x.length") == 8


def test_a_page_says_when_it_is_stale_and_comes_back(open_page: Open, tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 5)
    server = Server(watched_of(ours))
    port = server.port
    with server:
        page = open_page(f"http://{server.host}/")
        eventually(lambda: page.locator("#status").inner_text() == "live")
    eventually(lambda: page.locator("#status").inner_text().startswith("stale"))
    write_study(tmp_path / "other.db", 7)
    again = Server.__new__(Server)
    again.socket = _bind("127.0.0.1", port)
    again.start_on(watched_of(Store(ours.url.set(database=str(tmp_path / "other.db")))), "127.0.0.1", None)
    with again:
        eventually(lambda: page.locator("#status").inner_text() == "live")
        eventually(lambda: page.locator("#table tbody tr").count() == 7)
    open_page.said.clear()  # type: ignore[attr-defined]  # a browser says itself that a connection was refused
