"""The page in a real browser: the file without a network, each linked view."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browsing import FLAT, Open, eventually, marked, texts

pytestmark = pytest.mark.browser

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
        pytest.param(2000, {}, marks=pytest.mark.thorough),
    ],
)
def test_studies_of_any_size(open_page: Open, studies: Any, designs: int, how: dict[str, Any]) -> None:
    _, address = studies(designs, **how)
    page = open_page(address)
    count = designs + how.get("failed", 0) + how.get("running", 0)
    assert page.locator("#count").inner_text() == f"{count:,} design{'s' * (count != 1)}"
    assert page.locator("#table tbody tr").count() == min(100, count)
    objectives = max(2, len(how.get("objectives", "a,b,c").split(",")))
    assert page.locator(".pair").count() == (objectives * (objectives - 1) // 2 if designs else 0)
    if not designs:
        assert page.locator("#picked h3").inner_text() == "No design is measured yet"
    if how.get("seeds"):
        assert any("±" in text for text in texts(page, "#table td")) and any(
            "tied" in text for text in texts(page, "#table td")
        )
        assert page.locator("#accuracy .band").count() > 0 and page.locator(".pair .bars").count() > 0
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
    eventually(lambda: drawn(page, "#accuracy") == [trial])
    assert drawn(page, "#rate") == [trial] and drawn(page, "#batch") == [trial]
    other = page.locator("#table tbody tr").nth(3)
    other.click()
    eventually(lambda: len(marked(page, "selected")) == 2)
    eventually(lambda: len(drawn(page, "#accuracy")) == 2)
    page.locator("#clear").click()
    eventually(lambda: marked(page, "selected") == [])


def drawn(page: Any, chart: str) -> list[int]:
    """The trials whose curves a chart draws."""
    found: list[int] = page.evaluate(
        f"[...document.querySelectorAll('{chart} .curve')].map((curve) => Number(curve.dataset.trial))"
    )
    return found


def hover_over_the_front(page: Any) -> tuple[int, float, float]:
    """Move the pointer over a member of the front in the flat scatter: its trial, and where it is on the screen (px)."""
    page.locator("#scatter").scroll_into_view_if_needed()
    trial, x, y = page.evaluate(
        """() => { const panel = fastrcaps.views.scatter.pairs.panels[0]; const box = panel.node.getBoundingClientRect();
        const { design, x, y } = [...panel.picture.places.values()].find((place) => place.design.on_front);
        return [design.trial, box.x + x, box.y + y]; }"""
    )
    page.mouse.move(x - 30, y - 30)
    page.mouse.move(x, y)
    return trial, x, y


def test_the_scatter_marks_in_all_views(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT)
    trial, _, _ = hover_over_the_front(page)
    eventually(lambda: page.locator(f"tr[data-trial='{trial}'].hover").count() == 1)
    page.mouse.down()
    page.mouse.up()
    eventually(lambda: page.locator(f"tr[data-trial='{trial}'].chosen").count() == 1)
    eventually(lambda: marked(page, "selected") == [trial])
    assert f"sel={trial}" in page.url


def test_a_click_outlives_a_redraw(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT)
    trial, x, y = hover_over_the_front(page)
    eventually(lambda: marked(page, "hover") == [trial])
    page.evaluate(  # pressed, drawn anew as a study that grows would, and let go: all within a moment
        """async ([x, y]) => {
        const place = { bubbles: true, clientX: x, clientY: y };
        const act = (Kind, name) => document.elementFromPoint(x, y).dispatchEvent(new Kind(name, place));
        act(PointerEvent, 'pointerdown'); act(MouseEvent, 'mousedown');
        fastrcaps.views.scatter.draw(); await new Promise((done) => setTimeout(done, 0));
        act(PointerEvent, 'pointerup'); act(MouseEvent, 'mouseup'); }""",
        [x, y],
    )
    eventually(lambda: marked(page, "selected") == [trial])


def test_axes_are_chosen(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1])
    page.locator("#views button", has_text="One pair").click()
    page.locator("#axis-x").select_option("macs")
    eventually(lambda: page.locator(".pair text.title").first.text_content().startswith("← multiply-adds to classify an image"))
    assert page.locator(".pair").count() == 1 and "x=macs" in page.url and "view=one" in page.url
    page.locator("#views button", has_text="All pairs").click()
    eventually(lambda: page.locator(".pair").count() == 3)
    page.locator(".enlarge").nth(2).click()  # time over parameters
    eventually(lambda: page.locator(".pair").count() == 1)
    assert page.locator("#axis-x").input_value() == "params" and page.locator("#axis-y").input_value() == "time"


def test_ranges_keep_what_lies_within(open_page: Open, studies: Any) -> None:
    ours, address = studies()
    page = open_page(address + FLAT)
    page.locator("#parallel").scroll_into_view_if_needed()
    grip = page.locator('.grip[data-axis="params"]').bounding_box()
    x, top = grip["x"] + grip["width"] / 2, grip["y"]
    page.mouse.move(x, top + 2)
    page.mouse.down()
    page.mouse.move(x, top + grip["height"] / 3, steps=4)
    page.mouse.up()
    low = [t.trial for t in ours.trials(ours.study()) if t.measurement and t.measurement["params"] < 7e6]
    shown = page.evaluate("[...document.querySelectorAll('#table tbody tr')].map(r => Number(r.dataset.trial))")
    assert sorted(shown) == sorted(low) and f"{len(low)} designs of 40" in page.locator("#count").inner_text()
    eventually(lambda: f"outside the ranges ({40 - len(low)})" in page.locator("#legend").inner_text())
    assert "range.params=" in page.url
    again = open_page(page.url)
    assert again.locator("#table tbody tr").count() == len(low)
    page.locator('.grip[data-axis="params"]').click()
    assert page.locator("#table tbody tr").count() == 40 and page.locator("#unbrush").is_hidden()


def test_lines_of_the_parallel_view_mark_too(open_page: Open, studies: Any) -> None:
    page = open_page(studies(1)[1] + FLAT)
    page.locator("#parallel").scroll_into_view_if_needed()
    box = page.locator("#parallel").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 100)
    place = page.evaluate(
        """(() => { const p = [...fastrcaps.views.parallel.points.values()][0];
        return [(p[0][0] + p[1][0]) / 2, (p[0][1] + p[1][1]) / 2]; })()"""
    )
    page.mouse.move(box["x"] + place[0], box["y"] + place[1])
    eventually(lambda: marked(page, "hover") == [0])
    page.mouse.click(box["x"] + place[0], box["y"] + place[1])
    eventually(lambda: marked(page, "selected") == [0])


def test_the_table_sorts_filters_and_chooses_columns(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT)
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
