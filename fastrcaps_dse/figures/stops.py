"""The anytime view in a scatter: what is written beside a design that stops after an epoch, and the lines through its epochs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T", bound="_Stopped")


class _Stopped(Protocol):
    """What stands for a design in a scatter."""

    @property
    def trial(self) -> int: ...

    @property
    def stop_after(self) -> int | None: ...


def tag_of(trial: int, stop_after: int | None) -> str:
    """A design beside its mark: the number of its trial, and in the anytime view after which epoch it is stopped."""
    return str(trial) if stop_after is None else f"{trial}@{stop_after}"


def runs_of(points: Sequence[T]) -> list[list[T]]:
    """The points of each design of the anytime view in the order of their epochs, for a line through them; none of whole runs."""
    by_trial: dict[int, list[T]] = defaultdict(list)
    for point in sorted((p for p in points if p.stop_after is not None), key=lambda p: p.stop_after or 0):
        by_trial[point.trial].append(point)
    return [run for run in by_trial.values() if len(run) > 1]
