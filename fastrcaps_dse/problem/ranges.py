"""The values that a field of a policy or schedule may take: a range, or a list of choices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

DIGITS = 6
"""Real numbers that agree in so many digits are the same value of a design."""


def to_digits(number: float) -> float:
    """The real number in so many digits, so that a design is what its text says."""
    return float(f"{number:.{DIGITS}g}")


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values that a field of a policy or schedule may take."""

    low: float  # included
    high: float  # included
    log: bool = False  # sampled evenly by the logarithm
    step: float | None = None  # distance of neighboring values; None for all real numbers

    @property
    def finite(self) -> bool:
        """Whether the range has finitely many values."""
        return self.step is not None or self.low == self.high

    @property
    def count(self) -> int:
        """The number of values of a finite range."""
        return 1 if not self.step else math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def values(self) -> Iterator[float]:
        """The values of a finite range, in rising order."""
        return (self.low + k * (self.step or 0) for k in range(self.count))

    def contains(self, value: object) -> bool:
        """Whether the range has this value."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        if not self.step:
            return True
        nearest = self.low + round((value - self.low) / self.step) * self.step
        return math.isclose(value, nearest, rel_tol=1e-9)


Choice = Range | tuple[float | str, ...]
"""What a field is open to."""


def count_of(choice: Choice) -> int:
    """The number of values of a finite range, or of choices that differ."""
    if isinstance(choice, Range):
        return choice.count
    return len({to_digits(value) if isinstance(value, float) else value for value in choice})


def values_of(choice: Choice) -> Iterator[float | str]:
    """The values of a finite range, or the choices, each once."""
    return choice.values() if isinstance(choice, Range) else iter(dict.fromkeys(choice))


def contains(choice: Choice, value: object) -> bool:
    """Whether the value is in the range, or among the choices."""
    return choice.contains(value) if isinstance(choice, Range) else value in choice
