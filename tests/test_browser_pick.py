"""The pick in a real browser: that of the command line, live, by keyboard."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from typing import Any

import pytest

from fastrcaps_dse.analysis import picks, results
from fastrcaps_dse.problem.objectives import OBJECTIVES
from fastrcaps_dse.problem.quantities import PERCENT
from tests.browsing import FLAT, Open, eventually, marked, texts

pytestmark = pytest.mark.browser

# --- the pick ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({}, marks=pytest.mark.thorough),
        {"seeds": 3},
        pytest.param({"objectives": "params,time,acc,macs,epochs"}, marks=pytest.mark.thorough),
        {"objectives": "robust,acc,time,params"},
        {"objectives": "acc"},
    ],
)
def test_the_pick_is_that_of_the_command_line(open_page: Open, studies: Any, how: dict[str, Any]) -> None:
    ours, address = studies(**how)
    page = open_page(address + FLAT)
    row = ours.study()
    trials = ours.trials(row)
    standings = results.standings_of(trials, row.objectives)
    candidates = [results.candidate(t, row.objectives, standings[t.key]) for t in trials if t.measurement is not None]
    generator = random.Random(3)
    basic = ["params", "time", "acc"]  # in the order in which the command line takes them
    names = basic + [n for n in page.evaluate("fastrcaps.study.columns.map(c => c.name)") if n not in basic]
    nothing = 0
    for _ in range(25):
        given: dict[str, str] = {}
        for name in generator.sample(names, generator.randint(0, 3)):
            value = generator.choice(candidates).values[name] * generator.choice([1, 1.001, 0.999])
            given[name] = str(round(min(value, 100) if name in PERCENT else value, 3))
        prefer = generator.choice([None, None, "knee", generator.choice(row.objectives).name])
        limits = [
            picks.parse_limit(n, "min" if OBJECTIVES[n].direction == "maximize" else "max", given[n])
            for n in names
            if n in given
        ]
        expected = picks.pick(candidates, row.objectives, limits, prefer)
        page.evaluate(
            "([limits, prefer]) => fastrcaps.update({ limits, prefer })",
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
    assert 0 < nothing < 25 or how == {"objectives": "acc"}


def test_the_command_gives_the_same_pick(open_page: Open, studies: Any) -> None:
    """What the page says to copy, run in a shell."""
    ours, address = studies()
    page = open_page(address + f"{FLAT}&limit.params=7M&limit.macs=2e8&limit.acc=97%25&prefer=time")
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
    page = open_page(studies()[1] + FLAT)

    def walk_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({selector!r})"):
                return
        raise AssertionError(f"Tab never reaches {selector}")

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
    page = open_page(studies()[1] + FLAT)
    slider = page.locator("#limit-range-params")
    slider.focus()
    for _ in range(80):
        page.keyboard.press("ArrowLeft")
    limit = page.locator("#limit-text-params").input_value()
    assert re.fullmatch(r"[67](\.\d+)?M", limit) and f"--max-params {limit}" in page.locator("#command").inner_text()
    page.locator("#loosen").click()
    assert "--" not in page.locator("#command").inner_text().replace("--study", "").replace("--storage", "")


def test_a_wrong_limit_is_told_and_is_not_in_force(open_page: Open, studies: Any) -> None:
    page = open_page(studies()[1] + FLAT)
    field, told = page.locator("#limit-text-time"), page.locator("#limit-wrong-time")
    without = page.locator("#picked h3").inner_text()
    field.fill("45s")
    assert "--max-time 45s" in page.locator("#command").inner_text() and page.locator("#picked h3").inner_text() != without
    examples = {
        "soon": "Not a valid time; e.g. 90s, 10m. No limit on it is in force.",
        ">= 45s": "Not a valid limit; use <=. No limit on it is in force.",
        "=45s": "Not a valid limit; use <=. No limit on it is in force.",
        "<=": "Not a valid time; e.g. 90s, 10m. No limit on it is in force.",
        "45kg": "Not a valid time; e.g. 90s, 10m. No limit on it is in force.",
    }
    for text, expected in examples.items():
        field.fill(text)
        assert told.inner_text() == expected and field.get_attribute("aria-invalid") == "true"
        assert "--max-time" not in page.locator("#command").inner_text() and page.locator("#picked h3").inner_text() == without
        assert page.locator("#picked .wrong").inner_text() == f'without time to max accuracy "{text}": it is not valid'
    field.fill("<= 45s")
    assert told.inner_text() == "" and field.get_attribute("aria-invalid") == "false"
    assert "--max-time 45s" in page.locator("#command").inner_text() and page.locator("#picked .wrong").count() == 0
    page.locator("#limit-text-acc").fill("101")
    assert told.inner_text() == "" and page.locator("#limit-wrong-acc").inner_text().startswith(
        "Not a valid accuracy; e.g. 99.2"
    )
    linked = open_page(studies()[1] + f"{FLAT}&limit.time=soon&limit.params=7M")
    assert linked.locator("#limit-text-time").input_value() == "soon" and linked.locator("#limit-wrong-time").inner_text()
    assert "--max-params 7M" in linked.locator("#command").inner_text()
