"""Helpers of the tests that open the page in a browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastrcaps_dse.page.report import render
from fastrcaps_dse.store import Store

Open = Callable[..., Any]
FLAT = "#z="
"""What makes the scatter flat, added to an address. Drawing it in three dimensions takes seconds where there is no GPU."""


def file_of(ours: Store) -> str:
    """The page of the only study of a database, as one file."""
    row = ours.study()
    return render(row, ours.trials(row), ours.epochs_of(row.study_id), row.objectives)


def texts(page: Any, selector: str) -> list[str]:
    return [str(text) for text in page.locator(selector).all_inner_texts()]


def marked(page: Any, kind: str) -> list[int]:
    """The trials that a trace of the scatter marks: "selected", "hover" or "pick"."""
    found: list[int] = page.evaluate(f"document.querySelector('#scatter').data.find(t => t.name === {kind!r}).customdata")
    return found


def eventually(check: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail after a minute."""
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline, "the condition does not hold after 60 s"
        time.sleep(0.05)
