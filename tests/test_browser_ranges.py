"""Ranges of the parallel view in a real browser: by keyboard, typed, by touch; keep, exclude and restore."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browsing import FLAT, Open, eventually, texts

pytestmark = pytest.mark.browser

SHOWN = "[...document.querySelectorAll('#table tbody tr')].map(r => Number(r.dataset.trial)).sort((a, b) => a - b)"


def within(page: Any, name: str, low: float, high: float) -> list[int]:
    return [
        trial
        for trial, value in page.evaluate("name => fastrcaps.study.measured.map(d => [d.trial, d.values[name]])", name)
        if low <= value <= high
    ]


def test_ranges_by_keyboard(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT)
    lower = page.get_by_role("slider", name="acc: lower end of the range")
    lower.focus()
    low, high = page.evaluate(
        "(() => { const v = fastrcaps.study.measured.map(d => d.values.acc); return [Math.min(...v), Math.max(...v)]; })()"
    )
    for key in ("PageUp", "PageUp", "ArrowUp", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    limit = low + 0.22 * (high - low)
    assert page.evaluate(SHOWN) == within(page, "acc", limit, high)
    assert lower.get_attribute("aria-valuetext") == f"{limit:.2f} %" and lower.get_attribute("aria-valuenow") == "22"
    assert page.evaluate("document.activeElement.dataset.key") == "acc lower" and "range.acc=" in page.url
    page.keyboard.press("End")  # it stops at the other end: only the best is left
    assert page.evaluate(SHOWN) == within(page, "acc", high, high)
    page.keyboard.press("Home")
    assert len(page.evaluate(SHOWN)) == 40 and "range" not in page.url
    kinds = page.get_by_role("slider", name="decoder: upper end of the range")
    kinds.focus()
    page.keyboard.press("ArrowDown")
    assert kinds.get_attribute("aria-valuetext") == "full" and {
        t[-5:] == "small" for t in texts(page, "#table td.wrap:nth-child(3)")
    } == {False}


def test_ranges_are_typed(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT)
    page.locator("#range-fields summary").click()
    low, high = page.locator('[id="range-lower-time"]'), page.locator('[id="range-upper-time"]')
    low.fill("90s")
    high.fill("2m")
    high.blur()
    expected = within(page, "time", 90 - 1e-6, 120 + 1e-6)
    assert page.evaluate(SHOWN) == expected and 0 < len(expected) < 40
    high.fill("soon")
    high.blur()
    assert page.locator('[id="range-wrong-time"]').inner_text() == "Not a valid value; e.g. 90s. This axis has no range now."
    assert high.get_attribute("aria-invalid") == "true" and len(page.evaluate(SHOWN)) == 40
    high.fill("80s")
    high.blur()
    assert 'above "to"' in page.locator('[id="range-wrong-time"]').inner_text() and len(page.evaluate(SHOWN)) == 40
    page.locator('[id="range-upper-design.decoder"]').select_option("full")
    assert all(d == "full" for d in page.evaluate("fastrcaps.views.table.rows().map(d => d.design.decoder)"))


def test_a_finger_sets_a_range_and_a_tap_clears_it(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT, has_touch=True)
    page.locator("#parallel").scroll_into_view_if_needed()
    box = page.locator('.grip[data-axis="params"]').bounding_box()
    x, top, height = box["x"] + box["width"] / 2, box["y"], box["height"]
    client = page.context.new_cdp_session(page)

    def touch(kind: str, y: float | None) -> None:
        points = [] if y is None else [{"x": x, "y": y}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", top + 2)
    for share in (0.1, 0.2, 0.34):
        touch("touchMove", top + share * height)
    touch("touchEnd", None)
    eventually(lambda: bool(page.evaluate(SHOWN) == within(page, "params", 0, 7e6)))
    touch("touchStart", top + height / 2)
    touch("touchEnd", None)
    eventually(lambda: len(page.evaluate(SHOWN)) == 40)


def test_keep_exclude_and_restore(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT)
    keep, exclude, restore = (page.locator(f"#{name}") for name in ("keep", "exclude", "restore"))
    assert keep.is_disabled() and exclude.is_disabled() and restore.is_hidden()
    page.evaluate("fastrcaps.update({ ranges: { params: [6.7e6, 7e6] } })")  # its axis is not logarithmic
    small = within(page, "params", 6.7e6, 7e6)
    assert keep.inner_text() == f"Keep {len(small)} designs"
    keep.click()
    assert page.evaluate(SHOWN) == small and page.locator("#unbrush").is_hidden()
    assert page.locator("#kept").inner_text() == f"{40 - len(small)} designs hidden"
    assert page.evaluate("[...fastrcaps.views.parallel.points.keys()].map(d => d.trial)") == small
    eventually(lambda: f"outside the ranges ({40 - len(small)})" in page.locator("#legend").inner_text())
    page.evaluate(f"fastrcaps.update({{ selected: [{small[0]}, {small[2]}] }})")
    exclude.click()
    rest = [trial for trial in small if trial not in (small[0], small[2])]
    assert page.evaluate(SHOWN) == rest
    again = open_page(page.url)
    assert again.evaluate(SHOWN) == rest
    restore.click()
    assert len(page.evaluate(SHOWN)) == 40 and "keep=" not in page.url and "hide=" not in page.url


def test_axes_have_round_ticks_where_there_is_room(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT)
    ticks = page.evaluate("fastrcaps.views.parallel.axes.filter(a => !a.isKinds).map(a => a.ticks.map(a.tick))")
    accuracy, seconds, params = ticks
    assert 6 <= len(accuracy) <= 14 and all(text.endswith(" %") and len(text) <= 7 for text in accuracy)
    assert len(seconds) >= 3 and all(text.split()[1] in ("s", "min", "h") for text in seconds)
    assert 6 <= len(params) <= 14 and all(text.endswith("M") for text in params)
