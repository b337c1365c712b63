"""The folder of an export: written beside its name and renamed at the end, so that it is whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastrcaps_dse.errors import InputError, MachineError

CARD = "card.json"
FORMAT = "fastrcaps-dse export 1"
"""What the card of an export says of itself under `format`."""


def read_card(folder: Path) -> dict[str, Any]:
    """The card of an export. Raises InputError for a folder that is none."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if card["format"] == FORMAT:
            return dict(card)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{folder} is not an export of fastrcaps-dse", "make one with `fastrcaps-dse pick --export DIR`")


def check_target(out: Path) -> None:
    """Refuse a folder that cannot be written, or holds something else than an export. Raises UserErrors."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out} is not a folder", "name a new folder")
    if out.is_dir() and any(out.iterdir()):
        try:
            read_card(out)
        except InputError:
            raise InputError(f"{out} holds something else than an export", "name a new folder") from None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(out, error) from None
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise _cannot_write(out, None)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write an export into, beside `out`; it becomes `out` at the end, in place of an earlier export.

    If anything goes wrong it is deleted. What killed exports have left beside `out` is deleted, too. Raises UserErrors; see
    `check_target`.
    """
    out = out.absolute()
    check_target(out)
    _remove_leftovers(out)
    partial, old = (_beside(out, f"{os.getpid()}.{kind}") for kind in ("partial", "old"))
    try:
        partial.mkdir()
        yield partial
        if out.exists():
            out.rename(old)
        partial.rename(out)
    except OSError as error:
        raise _cannot_write(out, error) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)


def _beside(out: Path, ending: str) -> Path:
    return out.parent / f".{out.name}.{ending}"


def _remove_leftovers(out: Path) -> None:
    """Delete what exports to this folder have left whose processes are gone."""
    for kind in ("partial", "old"):
        for path in out.parent.glob(f".{out.name}.*.{kind}"):
            number = path.name.split(".")[-2]
            if number.isdigit() and not _is_running(int(number)):
                shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _cannot_write(out: Path, error: OSError | None) -> MachineError:
    reason = "" if error is None else f": {error.strerror or error}"
    return MachineError(f"the folder {out} cannot be written{reason}", "name another folder, or free disk space")
