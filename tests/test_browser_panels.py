"""The panels that unfold, in a real browser: importance, slices, distributions, timeline, a second study, notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse.page.library import Library
from fastrcaps_dse.page.notes import NoteBook
from fastrcaps_dse.page.report import render
from fastrcaps_dse.page.watch import Source
from fastrcaps_dse.store import Note, notes_of, set_note
from tests.browsing import FLAT, Open, Serve, eventually, texts
from tests.serving import watched_of
from tests.synthetic import add_designs, make_spec, write_study
from tests.test_workers import owner, set_runs

pytestmark = pytest.mark.browser


def unfold(page: Any, name: str) -> None:
    page.locator(f"#{name}-panel > summary").click()
    eventually(lambda: page.locator(f"#{name}-panel .body > *").count() > 0)


def test_panels_are_drawn_when_they_are_opened(open_page: Open, studies: Any) -> None:
    page = open_page(studies(40, failed=1, running=1)[1] + FLAT)
    assert page.locator(".panel .body > *").count() == 0
    unfold(page, "importance")
    assert texts(page, "#importance-panel caption") == [
        f"Importance for {title}" for title in page.evaluate("fastrcaps.study.objectives.map(c => c.title)")
    ]
    for table in page.locator("#importance-panel table").all():
        shares = [int(text.split()[0]) for text in table.locator("td:nth-child(2)").all_inner_texts()]
        assert sorted(shares, reverse=True) == shares and 97 <= sum(shares) <= 103
    unfold(page, "slices")
    assert page.locator("#slices-panel svg").count() == 5  # four dimensions that vary, and the learning rate
    first = page.locator("#slices-panel svg").first
    front = page.evaluate("fastrcaps.study.measured.filter(d => d.on_front).length")
    assert first.locator(".point").count() == 40 and first.locator(".front").count() == front
    trial = int(first.locator(".point").last.get_attribute("data-trial"))
    first.locator(".point").last.click()
    assert page.evaluate("fastrcaps.state.selected") == [trial]
    page.locator("#filter").fill("one-cycle")
    shown = page.locator("#table tbody tr").count()
    eventually(lambda: page.locator("#slices-panel svg").first.locator(".point").count() == shown)
    page.locator("#filter").fill("")
    page.locator("#slices-objective").select_option("params")
    assert "trainable parameters by lr policy" in page.locator("#slices-panel svg").first.get_attribute("aria-label")


def test_distributions_count_the_best_and_all(open_page: Open, studies: Any) -> None:
    ours, address = studies(40)
    page = open_page(address + FLAT)
    unfold(page, "distributions")
    page.locator("#distributions-share").select_option("10")
    trials = [t for t in ours.trials(ours.study()) if t.measurement is not None]
    best = sorted(trials, key=lambda t: -t.measurement["acc"])[:4]
    titles = page.locator("#distributions-panel svg", has=page.locator("text=decoder")).locator(".best title")
    said = [titles.nth(k).text_content() for k in range(titles.count())]
    share = {
        kind: [sum(t.design.decoder == kind for t in some) / len(some) for some in (best, trials)] for kind in ("full", "small")
    }
    assert said == [f"{k}: {100 * top:.0f} % of the best, {100 * every:.0f} % of all" for k, (top, every) in share.items()]


def test_the_timeline_grows_with_the_study(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 5, failed=1, running=1)
    server = serve(watched_of(ours))
    page = open_page(f"http://{server.host}/{FLAT}")
    unfold(page, "timeline")
    eventually(lambda: page.locator("#timeline-panel .chart .run").count() == 7)
    words = page.locator("#timeline-panel .legend").inner_text()
    assert "5 done" in words and "1 failed" in words and "1 running" in words
    add_designs(ours, ours.study(), make_spec("synthetic"), 2)
    eventually(lambda: page.locator("#timeline-panel .chart .run").count() == 9)


def test_the_header_says_who_works(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    """How many runs on how many machines; unfolded, each with its host, and it follows the study. The timeline has the hosts, too."""
    ours = write_study(tmp_path / "s.db", 5, running=3, seeds=1)
    set_runs(ours, {k: {"owner": owner(host, k), "device": "cpu", "silent": 0} for k, host in ((6, "a"), (7, "b"), (8, "b"))})
    server = serve(watched_of(ours))
    page = open_page(f"http://{server.host}/{FLAT}")
    assert page.locator("#workers [role=status]").inner_text() == "3 runs on 2 machines"
    page.locator("#workers > summary").click()
    rows = page.locator("#workers tbody tr")
    first = ours.trials(ours.study())[5]
    assert rows.count() == 3 and texts(rows.nth(0), "td")[:3] == ["a", "6", "cpu"]
    assert texts(rows.nth(0), "td")[3:] == [f"trial 5, seed 0: {first.design.label}", "3 of 6"]
    assert texts(page, "#workers th") == ["host", "process", "device", "design", "epoch"]
    unfold(page, "timeline")
    titles = page.locator("#timeline-panel .run.running title")
    eventually(lambda: titles.count() == 3)
    assert "; on a, process 6, cpu; " in str(titles.nth(0).text_content())
    assert "a: cpu" in page.locator("#timeline-panel .chart").text_content()
    set_runs(ours, {6: {"owner": owner("c", 1), "silent": 0}, 8: {"owner": None, "silent": 0}})
    eventually(lambda: page.locator("#workers [role=status]").inner_text() == "2 runs on 2 machines")
    assert texts(rows.nth(1), "td")[0] == "c" and page.locator("#workers").get_attribute("open") is not None
    set_runs(ours, {k: {"owner": None, "silent": 0} for k in (6, 7)})
    eventually(lambda: page.locator("#workers").is_hidden())


def test_two_studies_on_the_same_axes(open_page: Open, tmp_path: Path) -> None:
    one, other = write_study(tmp_path / "s.db", 30), write_study(tmp_path / "t.db", 20, name="second", epochs=4)
    row, second = one.study(), other.study()
    compared = Source(store=other, study=second, objectives=second.objectives).content()
    html = render(row, one.trials(row), one.epochs_of(row.study_id), row.objectives, compared=compared)
    (tmp_path / "s.html").write_text(html, encoding="utf-8")
    page = open_page(f"file://{tmp_path / 's.html'}{FLAT}")
    unfold(page, "compare")
    assert "epochs: 6 here, 4 there" in page.locator("#compare-panel .wrong").inner_text()
    page.locator("#compare-x").select_option("params")
    page.locator("#compare-y").select_option("acc")
    groups = [[t.measurement for t in s.trials(s.study()) if t.measurement] for s in (one, other)]
    values = [[(m["params"], -m["acc"]) for m in measured] for measured in groups]
    low, high = ([f(v[k] for some in values for v in some) for k in (0, 1)] for f in (min, max))
    for k, points in enumerate(values):  # the slow way: the area as a sum over cells between all coordinates
        scaled = [[(p[i] - low[i]) / (high[i] - low[i]) for i in (0, 1)] for p in points]
        xs = sorted({p[0] for p in scaled} | {1.1})
        area = sum((b - a) * (1.1 - min(p[1] for p in scaled if p[0] <= a)) for a, b in zip(xs, xs[1:], strict=False))
        assert f"hypervolume {100 * area / 1.21:.1f} %" in texts(page, "#compare-panel .keys li")[k]
    front = sum(not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in values[0]) for p in values[0])
    assert page.locator("#compare-panel .front-mark.key-0.member").count() == front


def test_another_study_is_chosen_in_the_header(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 6)
    first = watched_of(ours)
    write_study(tmp_path / "s.db", 4, name="second")
    server = serve(Library(first=first, offers_all=True), notes=NoteBook(store=ours))
    page = open_page(f"http://{server.host}/{FLAT}")
    eventually(lambda: page.locator("#studies").is_visible())
    assert texts(page, "#study option") == ["second (mnist-sample, 4 designs)", "synthetic (mnist-sample, 6 designs)"]
    page.locator("#study").select_option("second")
    page.wait_for_url("**/?study=second*")
    eventually(lambda: page.locator("#name").inner_text() == "second")
    assert page.locator("#table tbody tr").count() == 4 and "--study second" in page.locator("#command").inner_text()
    write_a_note(page, ours.study("second").study_id, ours)


def write_a_note(page: Any, study_id: int, ours: Any) -> None:
    row = page.locator("#table tbody tr[data-trial='2']")
    row.locator("button.note").click()
    page.locator("#note-text").fill("<b>train longer</b>")
    page.locator("#note-star").check()
    page.locator("#note-dialog button[value=save]").click()
    eventually(lambda: "★ <b>train longer</b>" in row.inner_text())
    assert notes_of(ours, study_id) == {2: Note(text="<b>train longer</b>", starred=True)}
    assert page.evaluate("document.activeElement.className") == "note" and page.evaluate("fastrcaps.state.selected") == []
    page.locator("#filter").fill("starred")
    assert page.evaluate("fastrcaps.views.table.rows().map(d => d.trial)") == [2]


def test_notes_are_read_in_a_file(open_page: Open, tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 5)
    row = ours.study()
    set_note(ours, row.study_id, 3, Note(text="the good one", starred=True))
    html = render(row, ours.trials(row), ours.epochs_of(1), row.objectives, notes=notes_of(ours, 1))
    (tmp_path / "s.html").write_text(html, encoding="utf-8")
    page = open_page(f"file://{tmp_path / 's.html'}{FLAT}")
    assert "★ the good one" in page.locator("#table tr[data-trial='3']").inner_text()
    assert page.locator("button.note").count() == 0 and page.locator("#studies").is_hidden()
