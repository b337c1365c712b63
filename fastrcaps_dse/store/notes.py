"""Notes and stars that people give designs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.store import tables
from fastrcaps_dse.store.database import Store

LONGEST_NOTE = 2000  # characters


@dataclass(frozen=True, kw_only=True)
class Note:
    """What somebody wrote about a design."""

    text: str = ""
    starred: bool = False


def notes_of(store: Store, study_id: int) -> Mapping[int, Note]:
    """The notes of a study, by trial."""
    c = tables.note.c
    query = sa.select(c.trial, c.text, c.starred).where(c.study_id == study_id)
    return {row["trial"]: Note(text=row["text"], starred=bool(row["starred"])) for row in store.rows(query)}


def set_note(store: Store, study_id: int, trial: int, note: Note) -> None:
    """Keep the note of a design in place of its earlier one; an empty one without a star is deleted.

    Raises InputError for a trial that the study does not have, and for a text that is too long.
    """
    if len(note.text) > LONGEST_NOTE:
        raise InputError(f"the note has {len(note.text):,} characters", f"a note has at most {LONGEST_NOTE:,}")
    runs, c = tables.run.c, tables.note.c

    def act(connection: sa.Connection) -> None:
        found = sa.select(runs.run_id).where((runs.study_id == study_id) & (runs.trial == trial)).limit(1)
        if connection.scalar(found) is None:
            raise InputError(f"the study has no trial {trial}", "reload the page")
        connection.execute(tables.note.delete().where((c.study_id == study_id) & (c.trial == trial)))
        if note.text or note.starred:
            row = {
                "study_id": study_id,
                "trial": trial,
                "text": note.text,
                "starred": int(note.starred),
                "changed": time.time(),
            }
            connection.execute(tables.note.insert().values(**row))

    store.write(act)
