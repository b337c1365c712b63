"""The anytime view of the page in a real browser: the points and picks of Python, its switch, what follows it, a live study."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse.analysis import picks, results
from fastrcaps_dse.analysis.annealing import annealing_note
from fastrcaps_dse.analysis.anytime import anytime_trials
from fastrcaps_dse.analysis.uncertainty import Standing
from fastrcaps_dse.problem.objectives import OBJECTIVES, Objective
from fastrcaps_dse.store import Key, Store, TrialRow, tables
from tests.browsing import FLAT, Open, Serve, eventually, texts
from tests.conftest import Command
from tests.serving import watched_of
from tests.synthetic import add_designs, make_spec, write_study

pytestmark = pytest.mark.browser

SHOWN = """fastrcaps.study.designs.map(({ trial, stop_after, label, on_front, seeds, values, errors, probability, tied, test_acc }) => (
  { trial, stop_after, label, on_front, seeds, values, errors, probability, tied, test_acc }))"""


def points_of(ours: Store) -> list[TrialRow]:
    row = ours.study()
    return anytime_trials(ours.trials(row), ours.epochs_of(row.study_id), row)


def same_points(
    shown: list[Any], points: list[TrialRow], objectives: Sequence[Objective], sure: Mapping[Key, Standing]
) -> None:
    """Check what the page shows against the points of Python, one by one."""
    front = {t.key for t in results.front_of(points, objectives)}
    assert len(shown) == len(points) and any(f["values"]["time_to:98"] > 1e6 for f in shown if f["values"])
    for found, point in zip(shown, points, strict=True):
        assert found["trial"] == point.trial and found["label"] == point.label and found["on_front"] == (point.key in front)
        assert found.get("stop_after") == point.stop_after
        if point.measurement is None:
            assert found["values"] is None
            continue
        standing = sure[point.key]
        assert found["values"] == {name: round(value, 6) for name, value in point.measurement.values.items()}
        assert found["seeds"] == point.seeds and found["errors"] == standing.errors(objectives)
        assert (found["probability"], found["tied"]) == (round(standing.on_front or 0, 4), standing.doubtful)
        assert found.get("test_acc") == point.measurement.test_acc


def test_points_and_picks_are_those_of_python(open_page: Open, studies: Any, command: Command) -> None:
    """With several seeds, runs under way, a failed one, and an objective that early epochs have not reached."""
    ours, address = studies(12, seeds=3, running=2, failed=1, objectives="acc,time,params,time_to:98")
    row, points = ours.study(), points_of(ours)
    page = open_page(f"{address}{FLAT}&epochs=every")
    sure = results.standings_of(points, row.objectives)
    same_points(page.evaluate(SHOWN), points, row.objectives, sure)
    candidates = [results.candidate(t, row.objectives, sure[t.key]) for t in points if t.measurement is not None]
    generator = random.Random(4)
    cut = next(t for t in results.front_of(points, row.objectives) if annealing_note([t], row) and t.measurement)
    values = dict(cut.measurement.values) if cut.measurement else {}
    only = {"params": str(values["params"]), "time": f"{values['time'] + 1e-5:.6f}", "acc": f"{values['acc'] - 1e-5:.6f}"}
    early = nothing = 0
    for turn in range(12):
        names = [n for n in ("params", "time", "acc", "epochs") if generator.random() < 0.4]  # in the order of the command line
        given = {name: str(round(generator.choice(candidates).values[name] * 1.001, 3)) for name in names}
        given |= {"acc": str(min(float(given["acc"]), 100))} if "acc" in given else {}
        prefer = generator.choice([None, "knee", "time", "acc"])
        given = given if turn else only
        limits = [
            picks.parse_limit(n, "min" if OBJECTIVES[n].direction == "maximize" else "max", text) for n, text in given.items()
        ]
        expected = picks.pick(candidates, row.objectives, limits, prefer)
        page.evaluate("([limits, prefer]) => fastrcaps.update({ limits, prefer })", [given, prefer or ""])
        assert tuple(texts(page, "#picked li")) == expected.why, (given, prefer)
        picked = results.picked_row(points, expected)
        assert picked is not None
        if expected.trial is None:
            nothing += 1
            assert f"{picked.label} (trial {picked.trial})" in page.locator("#picked p").first.inner_text()
            continue
        assert page.locator("#picked h3").inner_text() == f"{picked.label} (trial {picked.trial})"
        assert page.evaluate("fastrcaps.answer.design.key") == f"{picked.trial}-{picked.stop_after}"
        note = annealing_note([picked], row)
        assert texts(page, "#early") == ([note] if note else [])
        early += bool(note)
        assert f"--stop-after {picked.stop_after} --out" in page.locator("#export").inner_text()
    assert early and nothing < 12
    page.evaluate("limits => fastrcaps.update({ limits, prefer: '' })", only)
    to_copy = page.locator("#command").inner_text()
    assert to_copy.startswith("fastrcaps-dse pick --study synthetic --anytime --max-params")
    answer = command(*shlex.split(to_copy)[1:], "--storage", ours.url.database, "--json")
    assert json.loads(answer.out)["why"] == [*texts(page, "#picked li"), *texts(page, "#early")]


def test_the_switch_is_one_for_all_views(open_page: Open, studies: Any) -> None:
    ours, address = studies(40)
    members = results.front_of(points_of(ours), ours.study().objectives)
    page = open_page(f"{address}{FLAT}&sel=3&limit.time=60s")
    assert page.locator("#epochs input:checked").get_attribute("value") == "whole" and "--anytime" not in page.url
    page.locator("#epochs input:checked").focus()
    page.keyboard.press("ArrowRight")
    eventually(lambda: "epochs=every" in page.url)
    heads = page.locator("#table thead th").all_inner_texts()
    column = heads.index("stop after epoch")
    first = page.locator("#table tbody tr").first.locator("td")
    best = min(members, key=lambda t: t.key)
    assert first.nth(1).inner_text() == str(best.trial) and first.nth(column).inner_text() == f"{best.stop_after} of 6"
    assert "training time" in heads and page.locator("#limits label").nth(1).inner_text() == "training time, at most"
    assert f"{len(members)} designs and epochs on the front" in page.locator("#summary").inner_text()
    # a design is selected as a whole, its points are marked, and its run is a line
    epochs = [t.stop_after or 0 for t in points_of(ours) if t.trial == 3]
    eventually(lambda: page.locator(".pair .single[data-mark=selected]").count() == len(epochs))
    assert page.locator(".pair path.runs").count() >= 2
    page.evaluate(f"fastrcaps.update({{ selected: [{best.trial}] }})")
    mine = [t for t in members if t.trial == best.trial]
    eventually(lambda: page.evaluate("fastrcaps.views.lines.charts.accuracy.spec.series[0].trial") == best.trial)
    marked = page.evaluate("fastrcaps.views.lines.charts.accuracy.spec.series[0].members.map(([epoch]) => epoch)")
    assert marked == [t.stop_after for t in mine]
    page.evaluate("fastrcaps.update({ hover: fastrcaps.study.keyAt(3, 2) })")
    hovered = page.locator("#table tr.hover td")
    assert hovered.nth(1).inner_text() == "3" and hovered.nth(column).inner_text() == f"{max(e for e in epochs if e <= 2)} of 6"
    page.evaluate("fastrcaps.update({ ranges: { epochs: [1, 1] } })")
    assert page.locator("#count").inner_text().startswith("40 designs and epochs of ")
    page.locator("#exclude").click()  # hides designs, with all their epochs
    assert page.locator("#kept").inner_text() == "1 design hidden"
    page.locator("#epochs label", has_text="whole runs").click()
    eventually(lambda: "epochs=" not in page.url or "epochs=whole" in page.url)
    assert page.locator("#table tbody tr").count() == 39 and page.locator(".pair path.runs").count() == 0


def test_a_live_page_has_its_epochs_when_they_are_asked_for(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 4, running=2)
    row = ours.study()
    ours.set_study(row.study_id, {"identity": {**row.identity, "anytime": True}})
    with ours.engine.begin() as connection:
        connection.execute(tables.run.update().where(tables.run.c.state == "running").values(owner=None))
    server = serve(watched_of(ours))
    page = open_page(f"http://{server.host}/{FLAT}")
    assert "2 paused" in page.locator("#summary").inner_text() and "paused" in page.locator("#table").inner_text()
    assert page.locator("#epochs input:checked").get_attribute("value") == "every"  # as the study was started
    assert len(page.evaluate("fastrcaps.study.measured")) == len(points_of(ours))
    assert "--" not in page.locator("#command").inner_text().replace("--study", "")
    ours.set_study(row.study_id, {"identity": row.identity})
    another = serve(watched_of(ours))
    page = open_page(f"http://{another.host}/{FLAT}")
    assert page.evaluate("fastrcaps.study.anytime === undefined") and len(page.evaluate("fastrcaps.study.measured")) == 4
    page.locator("#epochs input[value=every]").check()
    eventually(lambda: len(page.evaluate("fastrcaps.study.measured")) == len(points_of(ours)))
    add_designs(ours, ours.study(), make_spec("synthetic"), 2)
    eventually(lambda: len(page.evaluate("fastrcaps.study.measured")) == len(points_of(ours)))
    assert "--anytime" in page.locator("#command").inner_text() and page.locator("#count").inner_text().endswith(
        "designs and epochs"
    )
