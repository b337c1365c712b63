"""The studies that a live page offers: one that is named, or all of a storage, each read when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.page.watch import Watched
from fastrcaps_dse.problem.study_spec import dataset_text

MOST_WATCHED = 20  # studies that are read again and again; the one asked for longest ago leaves first


@dataclass(kw_only=True)
class Library:
    """The studies of a storage by name. `first` is the one that opens."""

    first: Watched
    offers_all: bool = False  # else the first one is the only one
    others: dict[str, Watched] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def studies(self) -> list[dict[str, Any]]:
        """Name, data set and number of designs of each study that is offered, the newest first."""
        if not self.offers_all:
            return []
        source = self.first.source
        counts = source.store.trial_counts()
        return [
            {
                "name": row.name,
                "dataset": dataset_text(row.identity),
                "epochs": row.identity["epochs"],
                "designs": counts.get(row.study_id, 0),
            }
            for row in source.store.studies()
        ]

    def watched(self, name: str | None) -> Watched:
        """The study of this name, by default the first. Raises InputError for one that is not offered."""
        if name is None or name == self.first.source.study.name:
            return self.first
        if not self.offers_all:
            raise InputError("this page shows one study", "`fastrcaps-dse view` without --study offers all")
        with self.lock:
            if name not in self.others:
                row = self.first.source.store.study(name)
                self.others[name] = Watched(source=replace(self.first.source, study=row, objectives=row.objectives))
            self.others[name] = self.others.pop(name)  # the last asked for is last
            while len(self.others) > MOST_WATCHED:
                del self.others[next(iter(self.others))]
            return self.others[name]

    def __iter__(self) -> Iterator[Watched]:
        """All studies that have been asked for."""
        with self.lock:
            return iter([self.first, *self.others.values()])
