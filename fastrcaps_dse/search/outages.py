"""A study is opened even where its database is just restarting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError

from fastrcaps_dse import store
from fastrcaps_dse.errors import MachineError

T = TypeVar("T")


def patiently(act: Callable[[], T]) -> T:
    """What `act` gives, tried again while the database restarts; so it is written to change nothing where it already was.

    Raises what `act` raises, once it is certain that waiting does not help.
    """
    begun = time.monotonic()
    while True:
        try:
            return act()
        except (
            StorageInternalError,
            MachineError,
        ) as error:  # the error of the database is the cause of the one, the context of the other
            if time.monotonic() - begun >= store.restart_patience(error.__cause__ or error.__context__):
                raise
        time.sleep(0.5)
