"""How much the command line says on stderr: hints and warnings, with --verbose the log, with --quiet only warnings and errors."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from fastrcaps_dse.errors import InputError, visible

LOGGER = logging.getLogger("fastrcaps_dse")
_QUIET = logging.getLogger("fastrcaps_dse.cli.hints")
"""Hints are said where this logger is enabled for them."""


class LogLines(logging.Handler):
    """The log as lines: "warning: ..."."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record."""
        self.say(f"{record.levelname.lower()}: {visible(record.getMessage())}")


def start_log() -> None:
    """Show warnings on stderr."""
    LOGGER.handlers = [LogLines(lambda text: print(text, file=sys.stderr))]
    LOGGER.setLevel(logging.WARNING)
    _QUIET.setLevel(logging.NOTSET)


def be_verbose(value: bool) -> None:
    """Show everything, if `value` says so."""
    if value:
        _refuse_both(is_quiet())
        LOGGER.setLevel(logging.INFO)


def be_quiet(value: bool) -> None:
    """Show no progress and no hints, if `value` says so."""
    if value:
        _refuse_both(LOGGER.level == logging.INFO)
        _QUIET.setLevel(logging.ERROR)


def is_quiet() -> bool:
    """Whether progress and hints are left out."""
    return _QUIET.level == logging.ERROR


def _refuse_both(both: bool) -> None:
    if both:
        raise InputError("--verbose and --quiet contradict each other", "give one of them")
