"""The log of the command line: warnings as lines on stderr, more of it with --verbose."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

LOGGER = logging.getLogger("fastrcaps_dse")


class LogLines(logging.Handler):
    """The log as lines: "warning: ..."."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record."""
        self.say(f"{record.levelname.lower()}: {record.getMessage()}")


def start_log() -> None:
    """Show warnings on stderr."""
    LOGGER.handlers = [LogLines(lambda text: print(text, file=sys.stderr))]
    LOGGER.setLevel(logging.WARNING)


def be_verbose(value: bool) -> None:
    """Show everything, if `value` says so."""
    if value:
        LOGGER.setLevel(logging.INFO)
