"""Optuna's errors where the database is out of reach: waited for, then told in clear words."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError

from fastrcaps_dse import store

PATIENCE = 60.0  # s

T = TypeVar("T")


def patiently(url: store.URL, act: Callable[[], T], patience: float = PATIENCE) -> T:
    """What `act` gives, tried again while the database restarts; so it is written to change nothing where it already was.

    Raises UserErrors; other errors of Optuna as they are.
    """
    begun = time.monotonic()
    while True:
        try:
            return act()
        except StorageInternalError as error:
            if error.__cause__ is None or not store.is_outage(error.__cause__):
                raise
            if time.monotonic() - begun > patience:
                raise store.translate(error.__cause__, url) from None
        time.sleep(0.5)
