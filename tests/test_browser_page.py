"""The page in a real browser: its address, exports and themes, hostile studies, live changes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse.store import Store, tables
from tests.browsing import FLAT, Open, Serve, eventually, file_of, marked
from tests.serving import Server, watched_of
from tests.synthetic import write_study

pytestmark = pytest.mark.browser

# --- address, theme, export -------------------------------------------------------------------------------------------


def test_a_link_shows_the_same(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT)
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
    assert broken.locator("#axis-x").input_value() == "time"


PATCHES = [
    "{ limits: { params: '7M' } }",
    "{ limits: { acc: '99.9', params: '6.8M' } }",
    "{ limits: { time: '3m' }, prefer: 'acc' }",
    "{ prefer: 'knee' }",
    "{ prefer: '' }",
    "{ filter: 'one-cycle' }",
    "{ filter: '' }",
    "{ ranges: { params: [6.6e6, 7e6] } }",
    "{ ranges: {} }",
    "{ only: [0, 2, 4, 6, 8, 10, 12], without: [4] }",
    "{ without: [1, 2] }",
    "{ only: null, without: [] }",
    "{ sort: ['time', 'down'] }",
    "{ sort: ['', ''] }",
    "{ columns: { macs: true, seeds: false } }",
    "{ columns: {} }",
    "{ selected: [3, 17] }",
    "{ selected: [] }",
    "{ x: 'macs', z: '' }",
    "{ view: 'pairs' }",
    "{ view: 'one' }",
    "{ error: '0' }",
    "{ error: '' }",
    "{ x: 'acc', z: 'params' }",
    "{ epochs: 'every' }",
    "{ epochs: 'every', sort: ['stop_after', 'down'] }",
    "{ epochs: 'whole' }",
    "{ ranges: { epochs: [2, 4] } }",
    "{ theme: 'dark' }",
    "{ theme: 'light' }",
]
SHOWN = """() => JSON.stringify({
  text: document.body.innerText,
  rows: [...document.querySelectorAll('#table tr')].map((row) => row.className),
  fields: [...document.querySelectorAll('input, select')].map((field) => [field.value, field.checked]),
  theme: document.documentElement.dataset.theme,
  axes: document.querySelector('#parallel svg').innerHTML,
  lines: document.querySelector('#parallel canvas').toDataURL(),
  marks: document.querySelectorAll('#parallel canvas')[1].toDataURL(),
  plots: [...document.querySelectorAll('.plot svg, .pair svg')].map((plot) => plot.innerHTML),
  dots: [...document.querySelectorAll('.pair canvas')].map((canvas) => canvas.toDataURL()),
})"""


def shows(page: Any, expected: dict[str, Any]) -> bool:
    return bool(json.loads(page.evaluate(SHOWN)) == expected)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.thorough)])
def test_each_change_draws_all_that_a_new_page_draws(open_page: Open, studies: Any, seed: int) -> None:
    """After any changes of the state, the page is that which its address opens: no view was left behind."""
    page = open_page(studies(seeds=2)[1] + FLAT)
    generator = random.Random(seed)
    for _ in range(3):
        patches = [generator.choice(PATCHES) for _ in range(8)]
        for patch in patches:
            page.evaluate(f"fastrcaps.update({patch})")
        fresh = open_page(page.url)
        expected = json.loads(fresh.evaluate(SHOWN))
        eventually(partial(shows, page, expected))
        fresh.close()


def test_the_state_changes_by_updates_alone(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1])
    error = "(() => { 'use strict'; try { fastrcaps.state.hover = 3; } catch (error) { return error.name; } })()"
    assert page.evaluate(error) == "TypeError"
    page.evaluate("location.hash = 'limit.params=7M&filter=small&sort=time.up'")
    eventually(lambda: page.locator("#limit-text-params").input_value() == "7M")
    assert page.locator("#filter").input_value() == "small" and "--max-params 7M" in page.locator("#command").inner_text()


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
    page = open_page(studies()[1] + FLAT, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#picked h3").is_visible()


def test_the_theme_follows_the_system(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT, color_scheme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 24, 31)"


# --- hostile studies --------------------------------------------------------------------------------------------------


def test_names_and_reasons_never_become_markup(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)><b>{{end}}</b>"
    ours = write_study(tmp_path / "s.db", 6, name=evil, failed=1)
    with ours.engine.begin() as connection:
        connection.execute(tables.run.update().values(reason=f"=cmd {evil}", weights=f"{evil}.safetensors"))
    (tmp_path / "s.html").write_text(file_of(ours), encoding="utf-8")
    server = serve(watched_of(ours))
    for address in (f"file://{tmp_path / 's.html'}", f"http://{server.host}/"):
        page = open_page(address + f"{FLAT}&sel=0,1&filter=" + "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
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


def test_the_page_follows_a_study_that_another_process_runs(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 5, running=1)
    server = serve(watched_of(ours))
    page = open_page(f"http://{server.host}/{FLAT}&limit.params=9M&sel=1")
    eventually(lambda: page.locator("#status").inner_text() == "live")
    assert "5 of 6 designs measured" in page.locator("#summary").inner_text()
    code = GROW.format(root=str(Path(__file__).parent.parent), path=str(tmp_path / "s.db"))
    subprocess.run([sys.executable, "-c", code], check=True)
    eventually(lambda: "8 of 9 designs measured" in page.locator("#summary").inner_text())
    assert page.locator("#table tbody tr").count() == 9 and marked(page, "selected") == [1]
    assert page.locator("#limit-text-params").input_value() == "9M"
    assert page.evaluate("fastrcaps.views.lines.charts['by-trials'].spec.series[0].points.length") == 8


def test_a_page_says_when_it_is_stale_and_comes_back(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    open_page.expected.append("net::ERR_")  # type: ignore[attr-defined]  # that a connection is refused, or ends
    ours = write_study(tmp_path / "s.db", 5)
    with Server(watched_of(ours)) as server:
        page = open_page(f"http://{server.host}/{FLAT}")
        eventually(lambda: page.locator("#status").inner_text() == "live")
    eventually(lambda: page.locator("#status").inner_text().startswith("stale"))
    write_study(tmp_path / "other.db", 7)
    serve(watched_of(Store(ours.url.set(database=str(tmp_path / "other.db")))), port=server.port)
    eventually(lambda: page.locator("#status").inner_text() == "live")
    eventually(lambda: page.locator("#table tbody tr").count() == 7)
