"""What went wrong and how to fix it: every error that a person can cause or cure is one of these."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """One line that says what is wrong, a hint how to fix it, and the exit code of the command line."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Between processes, too, the hint stays with the error."""
        return type(self), (self.message, self.hint)


class InputError(UserError):
    """The person's input is at fault (exit code 2)."""

    exit_code = 2


class MachineError(UserError):
    """The machine is at fault: disk, file, database, network (exit code 1)."""

    exit_code = 1


class TooLittleMemory(MachineError):
    """The memory does not suffice for a design: its trial fails, the study goes on."""


class NothingFits(UserError):
    """The limits leave no design (exit code 3)."""

    exit_code = 3


class RunFailed(Exception):
    """A run that cannot give a measurement, e.g. because a loss or a score is not finite: its trial fails, the study goes on."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """The hint for an unknown word: the nearest of the choices, and all of them."""
    names = list(choices)
    close = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.5)
    listing = "known: " + ", ".join(names)
    return f"did you mean {close[0]!r}? {listing}" if close else listing


def visible(text: str, keep: str = "") -> str:
    r"""A text that is safe to print: control characters, marks of text direction and halves of characters as escapes such as \x1b.

    `keep` lists those that stay, such as a line feed in a text of several lines.
    """
    return text if text.isprintable() else "".join(c if c in keep else _visible(c) for c in text)


def _visible(character: str) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    return character.encode("unicode_escape").decode("ascii") if hidden else character
