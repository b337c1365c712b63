"""Designs as rows of numbers, as the surrogate sees them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrcaps_dse.problem.ranges import Range, values_of
from fastrcaps_dse.problem.schedules import AdaBatchDoubling, defaults_of
from fastrcaps_dse.problem.space import PLAIN_DIMENSIONS, DesignPoint, DesignSpace, make_point

Features = Mapping[str, float | str | bool]
"""A design's dimensions by name: numbers that have an order, and texts that have none."""

RATE, LAST_BATCH = "lr_policy.peak rate", "batch_schedule.last batch"
ALIKE = {
    "lr_policy.lr": RATE,
    "lr_policy.lr_max": RATE,
    "batch_schedule.size": LAST_BATCH,
    "batch_schedule.tail_batch": LAST_BATCH,
}
"""Fields of several policies or schedules that mean the same have one name: what one of them shows, all know."""
DECADE = 10.0  # numbers that span at least so much are compared by their logarithms


def features_of(point: DesignPoint) -> Features:
    """The dimensions of a design, those of its policy and schedule with them."""
    features: dict[str, float | str | bool] = {name: getattr(point, name) for name in PLAIN_DIMENSIONS}
    for dimension in ("lr_policy", "batch_schedule"):
        part = getattr(point, dimension)
        features[dimension] = part.name
        features |= {f"{dimension}.{name}": getattr(part, name) for name in defaults_of(type(part))}
    return features


def aligned_features(point: DesignPoint) -> Features:
    """The same, with one name for what several policies or schedules have: the peak rate, the last batch."""
    found = {ALIKE.get(name, name): value for name, value in features_of(point).items()}
    if isinstance(point.batch_schedule, AdaBatchDoubling):
        found[LAST_BATCH] = 2 ** (point.batch_schedule.p + 2)
    return found


def encode(designs: Sequence[Features]) -> NDArray[np.float64]:
    """Designs as rows of numbers, for sums of differences: of each text a column for each of its values (two that differ are 1 apart),
    numbers over their range, by their logarithm where they span a decade.
    """
    names = sorted({name for design in designs for name in design})
    columns: list[list[float]] = []
    for name in names:
        values = [design.get(name) for design in designs]
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values if v is not None):
            numbers = [float(v) for v in values if v is not None]
            low, high = min(numbers), max(numbers)
            logarithmic = low > 0 and high >= 10 * low
            scaled = [low if v is None else float(v) for v in values]
            if logarithmic:
                scaled, low, high = [math.log(v) for v in scaled], math.log(low), math.log(high)
            columns.append([(v - low) / ((high - low) or 1.0) for v in scaled])
        else:
            for kind in sorted({str(v) for v in values}):
                columns.append([0.5 * (str(v) == kind) for v in values])
    return np.array(columns, dtype=np.float64).T.reshape(len(designs), len(columns))


@dataclass(frozen=True, kw_only=True)
class Column:
    """A dimension of the code: a number over its range, or whether a text is a certain one."""

    dimension: int  # columns of one dimension have one length
    name: str
    kind: str | None = None  # the text; None for a number
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def codes(self, values: Sequence[float | str | bool | None]) -> NDArray[np.float64]:
        """Numbers are in [0, 1] over the range, and in its middle where a design has no such field: it does not count there."""
        if self.kind is not None:
            return np.array([str(value) == self.kind for value in values]) / math.sqrt(2)  # two that differ are 1 apart
        numbers = np.array([math.nan if value is None else float(value) for value in values])
        scaled = ((np.log(numbers) if self.log else numbers) - self.low) / (self.high - self.low)
        return np.where(np.isnan(numbers), 0.5, scaled)


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Writes designs as numbers. Dimensions in which no designs differ have no column."""

    columns: tuple[Column, ...]

    @property
    def dimensions(self) -> list[int]:
        """The dimension of each column."""
        return [column.dimension for column in self.columns]

    def encode(self, designs: Sequence[Features]) -> NDArray[np.float64]:
        """[len(designs), columns]."""
        found = np.empty((len(designs), len(self.columns)))
        for k, column in enumerate(self.columns):
            found[:, k] = column.codes([design.get(column.name) for design in designs])
        return found


def encoder_of(designs: Iterable[Features], ranges: Mapping[str, tuple[float, float, bool]] | None = None) -> Encoder:
    """The encoder for designs like these; numbers over `ranges` (low, high, by their logarithm) where it has them, else over those
    of the designs.
    """
    values: dict[str, set[Any]] = {}
    for design in designs:
        for name, value in design.items():
            values.setdefault(name, set()).add(value)
    columns: list[Column] = []
    for dimension, name in enumerate(sorted(values)):
        columns += _columns(dimension, name, values[name], (ranges or {}).get(name))
    return Encoder(columns=tuple(columns))


def _columns(dimension: int, name: str, values: set[Any], span: tuple[float, float, bool] | None) -> list[Column]:
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        low, high = min(values), max(values)
        log = low > 0 and high >= DECADE * low
        low, high, log = span if span is not None else (low, high, log)
        if log:
            low, high = math.log(low), math.log(high)
        return [Column(dimension=dimension, name=name, low=low, high=high, log=log)] if high > low else []
    kinds = sorted({str(value) for value in values})
    return [Column(dimension=dimension, name=name, kind=kind) for kind in kinds] if len(kinds) > 1 else []


def ranges_of(space: DesignSpace) -> dict[str, tuple[float, float, bool]]:
    """The (lowest, highest, whether by the logarithm) of the open fields of a space that are ranges of numbers, by feature."""
    found: dict[str, tuple[float, float, bool]] = {}
    for dimension, parts in (("lr_policy", space.lr_policy), ("batch_schedule", space.batch_schedule)):
        for part in parts:
            for field, choice in space.fields_of(part).items():
                if isinstance(choice, Range) and choice.high > choice.low:
                    name = ALIKE.get(f"{dimension}.{field}", f"{dimension}.{field}")
                    low, high, log = found.get(name, (choice.low, choice.high, choice.log))
                    low, high = min(low, choice.low), max(high, choice.high)
                    found[name] = low, high, log or choice.log or (low > 0 and high >= DECADE * low)
    return found


def space_features(space: DesignSpace) -> list[Features]:
    """The dimensions of some designs of a space that have each value of each choice, and both ends of each range."""
    found: list[Features] = []
    plain = {name: getattr(space, name)[0] for name in PLAIN_DIMENSIONS} | {"network": "capsnet"}
    example = {"lr_policy": space.lr_policy[0], "batch_schedule": space.batch_schedule[0]}
    for dimension in example:
        for part in getattr(space, dimension):
            variants = [part]
            for name, choice in space.fields_of(part).items():
                values = [choice.low, choice.high] if isinstance(choice, Range) else values_of(choice)
                variants += [space.with_fields(part, {name: value}) for value in values]
            found += [aligned_features(make_point(**plain, **(example | {dimension: variant}))) for variant in variants]
    return [*found, *({name: value} for name in PLAIN_DIMENSIONS for value in getattr(space, name))]
