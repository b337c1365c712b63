"""Quantities as people write and read them: "7M", "90s", "99.2%".

The page's quantities.js has the same functions; it takes the tables from here.
"""

from __future__ import annotations

import math
import re

from fastrcaps_dse.errors import InputError

TIME_TO = "time_to"
"""The first part of the name of an objective `time_to:ACC`; ACC is an accuracy in percent."""
ROBUST = "robust"
"""The name of the accuracy on affine copies of images."""
PERCENT = ("acc", ROBUST)
"""The objectives that are shares of images, in percent."""
NEVER = 1e9
"""The least value of `time_to:ACC`, in seconds, of a run that never reaches ACC.

The value is 1 % higher for each percent that the run stays below ACC. So it is worse than any time that is reached, and of two
runs that do not reach ACC the nearer one is better.
"""
ESTIMATED = "~"
"""What stands before a time that the device whose step times count has not measured."""
UNITS = {"time": "s", TIME_TO: "s", "latency": "ms", "memory": "MB"}
"""The unit that a quantity is written with, by what it measures."""
_NUMBER = r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
_COUNT = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "m": 1e6, "G": 1e9, "B": 1e9}
_SECONDS = {"": 1, "s": 1, "ms": 1e-3, "m": 60, "min": 60, "h": 3600, "d": 86400}
FACTORS: dict[str, dict[str, float]] = {
    "params": _COUNT,
    "macs": _COUNT,
    "epochs": {"": 1},
    "time": _SECONDS,
    TIME_TO: _SECONDS,
    "latency": {"": 1, "ms": 1, "us": 1e-3, "s": 1e3},
    "memory": {"": 1, "MB": 1, "M": 1, "kB": 1e-3, "KB": 1e-3, "GB": 1e3},
    "acc": {"": 1, "%": 1},
    ROBUST: {"": 1, "%": 1},
}
"""What a number is multiplied by for each suffix that it may have, by what it measures."""
EXAMPLES: dict[str, tuple[str, ...]] = {
    "params": ("7M", "6.7e6", "500k"),
    "macs": ("200M",),
    "epochs": ("12",),
    "time": ("90s", "10m", "2h"),
    TIME_TO: ("90s", "10m", "2h"),
    "latency": ("5ms",),
    "memory": ("20MB",),
    "acc": ("99.2", "99.2% (percent)"),
    ROBUST: ("90", "90% (percent)"),
}
"""How a quantity may be written, by what it measures; the page shows the first."""


def _kind(name: str) -> str:
    """The key of an objective in the tables above."""
    return name.partition(":")[0]


def _examples(kind: str) -> str:
    """The examples in one line: "90s, 10m or 2h"."""
    *others, last = EXAMPLES[kind]
    return f"{', '.join(others)} or {last}" if others else last


def parse_quantity(objective: str, text: str) -> float:
    """The value of a quantity as people write it ("7M", "90s", "99.2%"), in the unit of the objective.

    Raises InputError for a text that is not a quantity, or is out of range.
    """
    kind = _kind(objective)
    match = re.fullmatch(_NUMBER + r"\s*([A-Za-z%]*)", text.strip())
    factor = FACTORS[kind].get(match[2]) if match else None
    if match is None or factor is None:
        raise InputError(f"{text!r} is not a quantity for {objective}", f"write it as {_examples(kind)}")
    value = float(match[1]) * factor
    if not math.isfinite(value) or value < 0 or (kind in PERCENT and value > 100):
        raise InputError(f"{text!r} is out of range for {objective}", f"write it as {_examples(kind)}")
    return value


def is_timed(name: str) -> bool:
    """Whether an objective counts seconds, so that its values belong to a device."""
    return _kind(name) in ("time", TIME_TO, "latency")


def format_value(objective: str, value: float, *, estimated: bool = False) -> str:
    """The value of an objective, in its unit, as people read it: "99.37 %", "12.4 s", "6,708,400".

    `estimated` marks what counts seconds: "~ 12.4 s".
    """
    if estimated and is_timed(objective) and not (_kind(objective) == TIME_TO and value >= NEVER):
        return f"{ESTIMATED} {format_value(objective, value)}"
    kind = _kind(objective)
    if kind in PERCENT:
        return f"{value:.2f} %"
    if kind == TIME_TO and value >= NEVER:
        return "not reached"
    if kind in ("time", TIME_TO):
        return format_seconds(value)
    if kind in ("latency", "memory"):
        return f"{value:.3g} {UNITS[kind]}"
    return f"{value:,.0f}" if value == round(value) or value > 1000 else f"{value:,.1f}"


def format_difference(objective: str, delta: float) -> str:
    """The difference of two values of an objective, with its sign: of accuracies in percentage points, "-1.52 points"."""
    sign = "+" if delta > 0 else "-"
    return sign + (f"{abs(delta):.2f} points" if objective in PERCENT else format_value(objective, abs(delta)))


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 run", "2 runs"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def format_bytes(size: float) -> str:
    """A size on disk as people read it: "812 B", "1.2 MB", "3.4 GB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= 0.9995 * factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"


def format_seconds(seconds: float) -> str:
    """A duration as people read it: "0.85 s", "12.4 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"
