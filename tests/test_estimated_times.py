"""Estimated times are marked wherever they are shown, and in words beside the mark."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from fastrcaps_dse import session, store
from fastrcaps_dse.analysis.results import estimated_note, front_of
from fastrcaps_dse.figures.plots import _hover, pareto_info
from fastrcaps_dse.page.watch import Source, Watched
from fastrcaps_dse.problem.quantities import NEVER, format_value
from fastrcaps_dse.store import Recount, Store, tables
from tests.browsing import FLAT, Open, file_of
from tests.conftest import Command
from tests.synthetic import write_study
from tests.test_browser_plots import PANEL

REFERENCE = {"device": "Reference One", "precision": "float32", "software": "x"}
NOTE = "~ marks an estimated time: the study counts in the step times of Reference One, which has not measured all of them yet"


@pytest.fixture
def ours(tmp_path: Path) -> Store:
    """A study of which the designs on the front are estimated."""
    made = write_study(tmp_path / "s.db", 12)
    study = made.study()
    made.set_study(study.study_id, {"reference": REFERENCE})
    members = [trial.trial for trial in front_of(made.trials(study), study.objectives)]
    with made.engine.begin() as connection:
        of_front = tables.run.c.trial.in_(members)
        connection.execute(tables.run.update().where(of_front).values(time_estimated=1))
    return made


def test_the_mark() -> None:
    assert format_value("time", 125.0, estimated=True) == "~ 2 min 05 s"
    assert (
        format_value("time_to:95", 12.4, estimated=True) == "~ 12.4 s"
        and format_value("latency", 5.0, estimated=True) == "~ 5 ms"
    )
    assert format_value("time_to:95", NEVER, estimated=True) == "not reached"  # as surely as without the mark
    for name, value in (("acc", 99.0), ("params", 7e6), ("macs", 2e8), ("memory", 30.0), ("epochs", 3.0)):
        assert format_value(name, value, estimated=True) == format_value(name, value)


def test_commands_mark_them_and_say_what_the_mark_means(command: Command, ours: Store) -> None:
    where = ("--storage", ours.url.database)
    shown = command("front", *where)
    times = [line for line in shown.out.splitlines() if " s " in line or " min " in line]
    assert times and all("  ~ " in line for line in times) and NOTE in shown.err
    shown = command("trials", *where)
    marked = [line for line in shown.out.splitlines() if "  ~ " in line]
    assert NOTE in shown.err and len(marked) == len(times) and all("on the front" in line for line in marked)
    epochs = command("trials", "--epochs", *where)
    assert epochs.out.count("  ~ ") == 6 * len(times)
    picked = command("pick", *where)
    assert "time ~ " in picked.out and NOTE in picked.out
    trial = json.loads(command("pick", "--json", *where).out)["pick"]["trial"]
    run = command("show", trial, *where).out
    assert "time: ~ " in run and "in the step times of Reference One in float32, estimated until it has measured them" in run


def test_data_for_other_software_have_a_field(command: Command, ours: Store, tmp_path: Path) -> None:
    where = ("--storage", ours.url.database)
    front = json.loads(command("front", "--json", *where).out)
    assert front["reference"] == REFERENCE and {design["time_estimated"] for design in front["designs"]} == {True}
    rows = list(csv.DictReader(io.StringIO(command("trials", "--csv", *where).out)))
    assert all((row["time_estimated"] == "True") == (row["on_front"] == "True") for row in rows)
    assert not any("~" in value for row in rows for value in row.values())
    one = json.loads(command("show", front["designs"][0]["trial"], "--json", *where).out)
    assert one["time_estimated"] is True and one["runs"][0]["time_estimated"] is True
    found = session.results(storage=ours.url)
    assert found.runs["time_estimated"].sum() == len(front["designs"]) == found.front["time_estimated"].sum()
    command("export-study", tmp_path / "tables", *where)
    assert json.loads((tmp_path / "tables" / "study.json").read_text(encoding="utf-8"))["reference"] == REFERENCE


def test_figures_mark_them(ours: Store) -> None:
    study = ours.study()
    trials = ours.trials(study)
    info = pareto_info(trials, front_of(trials, study.objectives), study.objectives)
    for point in info.points:
        assert ("time to max accuracy: ~ " in _hover(point)) == point.on_front == point.estimated


def test_a_study_without_estimates_says_nothing_of_them(tmp_path: Path) -> None:
    plain = write_study(tmp_path / "plain.db", 5)
    assert estimated_note(plain.study(), plain.trials(plain.study())) is None


def test_a_page_hears_of_a_run_that_is_counted_anew(ours: Store) -> None:
    study = ours.study()
    watched = Watched(source=Source(store=ours, study=study, objectives=study.objectives))
    assert watched.look() and not watched.look()
    run = next(run for run in ours.runs(study.study_id) if run.time_estimated)
    count = Recount(run_id=run.run_id, epochs={1: 1.5}, time=77.0, others={"epochs": 1.0})
    assert store.apply_recounts(ours, study.study_id, {**REFERENCE, "device": "another"}, [count]) == []
    assert not watched.look()
    assert store.apply_recounts(ours, study.study_id, REFERENCE, [count]) == [run.run_id]
    assert store.apply_recounts(ours, study.study_id, REFERENCE, [count]) == []  # once
    assert watched.look()
    (changed,) = [design for design in watched.since(1)["designs"] if design["trial"] == run.trial]
    assert changed["values"]["time"] == 77.0 and "time_estimated" not in changed


@pytest.mark.browser
def test_the_page_says_it_in_words_too(open_page: Open, ours: Store, tmp_path: Path) -> None:
    (tmp_path / "s.html").write_text(file_of(ours), encoding="utf-8")
    page = open_page(f"file://{tmp_path / 's.html'}{FLAT}")
    assert NOTE in page.inner_text("body")
    members = page.evaluate("fastrcaps.study.measured.filter(d => d.on_front).map(d => d.trial)")
    for row in page.locator("#table tbody tr").all():
        text = row.evaluate("row => row.textContent")
        estimated = int(row.get_attribute("data-trial")) in members
        assert ("~ " in text) == (" estimated" in text) == estimated, text
    assert "~ " in page.inner_text("#picked dl") and " estimated" in page.evaluate(
        "document.querySelector('#picked dl').textContent"
    )
    box = page.locator(".pair").bounding_box()
    x, y = page.evaluate(
        f"(() => {{ const p = [...{PANEL}[0].picture.places.values()].find(p => p.design.time_estimated); return [p.x, p.y]; }})()"
    )
    page.mouse.move(box["x"] + x, box["y"] + y)
    said = page.locator("#tip").inner_text()
    assert "~ estimated time" in said and re.search(r"time.*: ~ \d", said)
    wide = page.evaluate("[...document.querySelectorAll('#table .words')].every(n => n.getBoundingClientRect().width <= 1)")
    assert wide and page.evaluate("fastrcaps.views.table.csv().split('\\n')[0].includes('time_estimated')")
