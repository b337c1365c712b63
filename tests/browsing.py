"""What the tests of the page in a browser share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastrcaps_dse.page.report import render
from fastrcaps_dse.store import Store

Open = Callable[..., Any]


def file_of(ours: Store) -> str:
    row = ours.study()
    return render(row, ours.trials(row), ours.epochs_of(row.study_id), row.objectives)


def texts(page: Any, selector: str) -> list[str]:
    return [str(text) for text in page.locator(selector).all_inner_texts()]


def marked(page: Any, kind: str) -> list[int]:
    """The trials that a small trace of the scatter marks."""
    found: list[int] = page.evaluate(f"document.querySelector('#scatter').data.find(t => t.name === {kind!r}).customdata")
    return found


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)
