"""The text forms of policies and schedules: a name, then the fields that are not at their default.

Examples are `one-cycle`, `warm-restarts(cycle=phase)` and `adabatch(head_batch=4)`. A fixed batch size is just the number.
`labels` has the shorter texts by which people tell designs apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.problem.ranges import DIGITS, to_digits
from fastrcaps_dse.problem.schedules import (
    BATCH_SCHEDULES,
    LR_POLICIES,
    BatchSchedule,
    FieldKind,
    FixedBatch,
    LrPolicy,
    defaults_of,
    field_kind,
)

_FORMATS: Mapping[FieldKind, str] = {"whole number": "", "real number": f".{DIGITS}g", "cycle": ""}


def to_text(part: LrPolicy | BatchSchedule) -> str:
    """The canonical text of a policy or schedule. `parse_policy` and `parse_schedule` read it back."""
    if isinstance(part, FixedBatch):
        return str(part.size)
    changed = {name: getattr(part, name) for name, default in defaults_of(type(part)).items() if getattr(part, name) != default}
    texts = [f"{name}={value:{_FORMATS[field_kind(type(part), name)]}}" for name, value in changed.items()]
    return f"{part.name}({','.join(texts)})" if texts else part.name


def parse_policy(text: str) -> LrPolicy:
    """A learning-rate policy from its text, e.g. `one-cycle(lr_max=2e-3)`. Raises InputError."""
    policy: LrPolicy = _parse(str(text), {cls.name: cls for cls in LR_POLICIES}, "learning-rate policy")
    return policy


def parse_schedule(text: str | int) -> BatchSchedule:
    """A batch-size schedule from its text, e.g. `128`, `adabatch`, `adabatch-p(p=4)`. Raises InputError."""
    if re.fullmatch(r"-?\d+", str(text).strip()):
        text = f"fixed(size={text})"
    schedule: BatchSchedule = _parse(str(text), {cls.name: cls for cls in BATCH_SCHEDULES}, "batch-size schedule")
    return schedule


def _parse(text: str, classes: Mapping[str, type[LrPolicy | BatchSchedule]], what: str) -> Any:
    match = re.fullmatch(r"\s*([\w+-]+)\s*(?:\((.*)\))?\s*", text)
    if match is None or match[1] not in classes:
        raise InputError(f"unknown {what} {text!r}", nearest(match[1] if match else text, classes))
    cls = classes[match[1]]
    names = [f.name for f in fields(cls)]
    given: dict[str, Any] = {}
    for item in filter(None, ((match[2] or "").split(","))):
        name, equals, value = (s.strip() for s in item.partition("="))
        if not equals or name not in names:
            raise InputError(f"unknown field {name!r} of {what} {match[1]!r}", nearest(name, names) if names else "it has none")
        given[name] = convert_field(cls, name, value)
    try:
        return cls(**given)
    except ValueError as error:
        raise InputError(f"{cls.name}: {error}", "see the ranges in docs/study-files.md") from None


def convert_field(cls: type[LrPolicy | BatchSchedule], name: str, value: object) -> int | float | str:
    """The value of a field, converted to the kind that `cls` declares for it; a real number in the digits that its text has.

    `value` is a text or a number. Raises InputError for a value that does not fit.
    """
    kind = field_kind(cls, name)
    if kind == "cycle" and value == "phase":
        return "phase"
    try:
        number = float(str(value))
        if kind == "whole number":
            if not number.is_integer():
                raise ValueError
            return int(number)
        return to_digits(number)
    except (ValueError, OverflowError):
        wanted = "a whole number" if kind == "whole number" else "a number"
        default = next(f.default for f in fields(cls) if f.name == name)
        raise InputError(f"{cls.name}: {name} must be {wanted}, got {value!r}", f"e.g. {name}={default}") from None
