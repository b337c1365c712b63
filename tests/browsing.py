"""Helpers of the tests that open the page in a browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastrcaps_dse.page.report import render
from fastrcaps_dse.store import Store

Open = Callable[..., Any]
Serve = Callable[..., Any]
FLAT = "#z="
"""Added to an address, it opens one large pair of columns in place of all pairs."""


def file_of(ours: Store) -> str:
    """The page of the only study of a database, as one file."""
    row = ours.study()
    return render(row, ours.trials(row), ours.epochs_of(row.study_id), row.objectives)


def texts(page: Any, selector: str) -> list[str]:
    return [str(text) for text in page.locator(selector).all_inner_texts()]


def marked(page: Any, kind: str) -> list[int]:
    """The trials that the first panel of the scatter marks: "selected", "hover" or "pick"."""
    marks = f"[...document.querySelector('.pair').querySelectorAll('.single[data-mark={kind}]')].map((mark) => Number(mark.dataset.trial))"
    found: list[int] = page.evaluate(marks)
    return found


def eventually(check: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail after a minute."""
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline, "the condition does not hold after 60 s"
        time.sleep(0.05)
