"""Files that cannot be used: all of them in one error."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastrcaps_dse.errors import InputError

NAMED = 10  # files that the message names
STRAY = "in no folder of a class"


def printable(name: str) -> str:
    """A name of a file or class that can be printed and stored, whatever bytes it has."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


@dataclass(frozen=True, kw_only=True)
class BadFile:
    """A file, and why it cannot be used."""

    path: Path
    reason: str

    @property
    def name(self) -> str:
        """Its path, as it can be printed."""
        return printable(str(self.path))


class BadFiles(InputError):
    """Files of a data set that cannot be used; the message names the first ones, `files` has all."""

    def __init__(self, message: str, hint: str, files: Sequence[BadFile]) -> None:
        super().__init__(message, hint)
        self.files = tuple(files)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.hint, self.files)


def bad_files_error(folder: Path, files: Sequence[BadFile]) -> BadFiles:
    """The error for these files of a folder, at least one."""
    hint = "remove them or make them again"
    if len(files) == 1:
        (only,) = files
        what = "cannot be used" if only.reason == STRAY else "is not an image that can be read"
        return BadFiles(f"{only.name} {what}: {only.reason}", hint.replace("them", "it"), files)
    named = ", ".join(f"{bad.name} ({bad.reason})" for bad in files[:NAMED])
    if len(files) > NAMED:
        named += f" and {len(files) - NAMED:,} more"
        hint += f"; `fastrcaps-dse data {folder}` lists all"
    return BadFiles(f"{len(files):,} files cannot be used: {named}", hint, files)
