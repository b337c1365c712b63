"""What a container of any kind gives: the parts that it has, with labels as they are written there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastrcaps_dse.data.splits import Split

BYTES = "value / 255"
UNIT = "value as it is, at a resolution of 1/255"
"""How stored values become inputs of the network: of 8 bits, and of floats from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The images of a container, before they are split and their labels are checked."""

    train: Split
    test: Split | None = None  # None if the container has no test set
    validation: Split | None = None  # the container's own
    classes: tuple[str, ...] | None = None  # their names by label; None if the container has labels only
    scaling: str = BYTES  # how stored values become inputs of the network
    notes: tuple[str, ...] = ()  # what was skipped or converted

    def parts(self) -> Iterator[Split]:
        """The parts that are there."""
        yield from (part for part in (self.train, self.validation, self.test) if part is not None)
