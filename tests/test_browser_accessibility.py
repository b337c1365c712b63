"""The page for everybody: axe-core in both themes and three widths, no scrolling sideways, focus that shows, forced colors."""

from __future__ import annotations

from functools import partial
from importlib.resources import files
from typing import Any

import pytest

from tests.browsing import FLAT, Open, eventually

pytestmark = pytest.mark.browser

AXE = """exclude => axe.run({ include: [['html']], exclude }, { resultTypes: ['violations'] }).then(({ violations }) =>
  violations.map(v => `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 160)).join(' | ')}`))"""


def test_axe_finds_nothing(open_page: Open, studies: Any) -> None:
    """In both themes and three widths, with every part of the page unfolded, a limit that is wrong and a range that is set."""
    axe = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    page = open_page(studies(13, seeds=2, failed=1, running=1)[1] + f"{FLAT}&limit.time=soon&range.params=6.7e6..7e6&sel=3,4")
    page.evaluate(axe)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found: dict[str, list[str]] = {}
    inside: list[list[str]] = []  # of plots, which are images: they are looked into once
    for width, themes in {1400: ("light", "dark"), 800: ("light",), 400: ("light", "dark")}.items():
        page.set_viewport_size({"width": width, "height": 900})
        for theme in themes:
            page.evaluate(f"fastrcaps.update({{ theme: {theme!r} }})")
            page.wait_for_timeout(150)  # the plots are drawn again
            violations = page.evaluate(AXE, inside)
            found |= {f"{width} px, {theme}": violations} if violations else {}
            inside = [[".plot > *"], [".chart > *"]]
            page.evaluate("fastrcaps.update({ epochs: 'every' })")  # the other view, for the rest of them
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not found


def fits(page: Any, width: int) -> bool:
    return int(page.evaluate("document.documentElement.scrollWidth")) <= width


def test_zoomed_to_200_percent_nothing_is_lost(open_page: Open, studies: Any) -> None:
    """Twice the zoom halves the width in CSS pixels; WCAG 1.4.10 asks for 320 of them."""
    page = open_page(studies()[1] + FLAT, width=640, height=450, device_scale_factor=2)
    for width in (640, 320):
        page.set_viewport_size({"width": width, "height": 450})
        eventually(partial(fits, page, width))  # the plots follow a moment later
        cut = """[...document.querySelectorAll('button, select, input, h1, h2, h3, summary, label, legend, #picked li')].filter(n => {
            const box = n.getBoundingClientRect();
            return box.width && !n.closest('.scroll, .skip, #parallel') && (box.right > innerWidth + 1 || box.left < -1); })
            .map(n => n.outerHTML.slice(0, 80))"""
        assert page.evaluate(cut) == []


def test_focus_is_seen_and_goes_in_the_order_of_reading(open_page: Open, studies: Any) -> None:
    page = open_page(studies(5)[1] + FLAT)
    order: list[int] = []
    for _ in range(45):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => {
            const n = document.activeElement;
            if (n === document.body) return null;
            const { outlineStyle, outlineWidth } = getComputedStyle(n);
            const outline = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
            return { place: [...document.querySelectorAll('*')].indexOf(n), outline, html: n.outerHTML.slice(0, 80) };
            }"""
        )
        if seen is None:
            break
        assert seen["outline"], seen["html"]
        order.append(seen["place"])
    assert len(order) > 30 and order == sorted(order)


def test_forced_colors_and_less_motion(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT, forced_colors="active", reduced_motion="reduce")
    assert page.evaluate("matchMedia('(forced-colors: active)').matches")
    style = "selector => { const s = getComputedStyle(document.querySelector(selector)); return [s.borderLeftWidth, s.borderTopStyle]; }"
    assert page.evaluate(style, "tr.pick td")[0] == "4px" and page.evaluate(style, ".badge")[1] == "solid"
    still = """[...document.querySelectorAll('*')].every(n => {
        const s = getComputedStyle(n);
        return s.animationName === 'none' && (s.transitionProperty === 'none' || ['0s', ''].includes(s.transitionDuration)); })"""
    assert page.evaluate(still)
