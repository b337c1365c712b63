"""The table in a real browser: words beside colors, the best first, rows that stay while a study grows, menus that close."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browsing import FLAT, Open, Serve, eventually, texts
from tests.serving import watched_of
from tests.synthetic import add_designs, make_spec, write_study

pytestmark = pytest.mark.browser


def test_front_and_pick_are_said_in_words(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT)
    members = set(page.evaluate("fastrcaps.study.measured.filter(d => d.on_front).map(d => d.trial)"))
    picked = page.evaluate("fastrcaps.answer.design.trial")
    rows = {int(row.get_attribute("data-trial")): row.inner_text() for row in page.locator("#table tbody tr").all()}
    assert {trial for trial, text in rows.items() if "on the front" in text} == members
    assert [trial for trial, text in rows.items() if "picked" in text] == [picked]
    page.locator("#limit-text-params").fill("7M")
    another = page.evaluate("fastrcaps.answer.design.trial")
    assert another != picked
    said = [int(r.get_attribute("data-trial")) for r in page.locator("#table tbody tr").all() if "picked" in r.inner_text()]
    assert said == [another]


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_first_click_sorts_the_best_first(open_page: Open, studies: Any, seeds: int) -> None:
    page = open_page(studies(20, seeds=seeds)[1] + FLAT)
    for name, first in {"acc": "descending", "time": "ascending", "params": "ascending"}.items():
        title = page.evaluate(f"fastrcaps.study.column({name!r}).title")
        page.locator("th button", has_text=title).first.click()
        values = page.evaluate(
            """name => [...document.querySelectorAll('#table tbody tr')].map(
                r => fastrcaps.study.byTrial.get(Number(r.dataset.trial)).values[name])""",
            name,
        )
        assert values == sorted(values, reverse=first == "descending")
        assert page.locator("th[aria-sort]").get_attribute("aria-sort") == first
    if seeds > 1:  # every value that differs between seeds has its error
        assert all("±" in text for text in texts(page, "#table tbody td:nth-child(5)"))
        assert all("±" in text for text in texts(page, "#table tbody td:nth-child(8)"))


def test_a_design_that_is_clicked_elsewhere_is_scrolled_to(open_page: Open, studies: Any) -> None:
    page = open_page(studies(250)[1] + FLAT)
    assert page.locator("#table tbody tr").count() == 100
    trial = page.evaluate("fastrcaps.views.table.rows().at(-1).trial")
    before = page.evaluate("scrollY")
    page.evaluate(f"fastrcaps.toggle({trial})")  # as a click on a point does
    row = page.locator(f"#table tr[data-trial='{trial}']")
    inside = """row => {
        const nodes = [row, row.closest('.scroll'), row.closest('table').tHead.rows[0].cells[0]];
        const [r, f, h] = nodes.map(n => n.getBoundingClientRect());
        return r.top >= h.bottom - 1 && r.bottom <= f.bottom + 1 && Math.abs(h.top - f.top) < 2; }"""
    assert row.count() == 1 and row.evaluate(inside)  # in sight, below a head that stays at the top
    assert page.evaluate("scrollY") == before


def test_a_menu_closes_by_escape_and_by_a_click_elsewhere(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT)
    menu = page.locator("#columns")
    menu.locator("summary").click()
    menu.locator("input").nth(2).focus()
    page.keyboard.press("Escape")
    assert menu.get_attribute("open") is None and page.evaluate("document.activeElement.textContent") == "Columns"
    menu.locator("summary").click()
    menu.locator("input").nth(2).focus()
    page.locator("#designs-title").click()
    assert menu.get_attribute("open") is None and page.evaluate("document.activeElement.textContent") == "Columns"


def test_what_is_new_leaves_focus_scroll_and_menus_alone(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 60, running=1)
    server = serve(watched_of(ours))
    page = open_page(f"http://{server.host}/{FLAT}&sort=acc.down")
    eventually(lambda: page.locator("#status").inner_text() == "live")
    page.locator("#columns summary").click()
    frame = page.locator("#designs .scroll")
    frame.evaluate(
        """f => {
        f.scrollTop = 300;
        f.querySelectorAll('tbody input')[20].focus({ preventScroll: true });
        f.kept = document.activeElement; }"""
    )
    place = frame.evaluate("f => f.scrollTop")
    page.evaluate("window.rows = [...document.querySelectorAll('#table tbody tr')]")
    add_designs(ours, ours.study(), make_spec("synthetic"), 3)
    eventually(lambda: page.locator("#table tbody tr").count() == 64)
    assert frame.evaluate("f => document.activeElement === f.kept") and frame.evaluate("f => f.scrollTop") == place
    assert page.locator("#columns").get_attribute("open") is not None
    assert page.evaluate("rows.every(row => row.isConnected)")  # they are the same nodes as before
