"""The text forms of policies and schedules: a name, with the fields that are not at their default.

`one-cycle`, `warm-restarts(cycle=phase)`, `adabatch(head_batch=4)`; a fixed batch size is just the number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.problem.schedules import BATCH_SCHEDULES, LR_POLICIES, BatchSchedule, FixedBatch, LrPolicy


def to_text(part: LrPolicy | BatchSchedule) -> str:
    """The canonical text of a policy or schedule: `parse_policy` and `parse_schedule` give the same part back."""
    if isinstance(part, FixedBatch):
        return str(part.size)
    changed = [
        f"{f.name}={getattr(part, f.name):{_format(f.type)}}" for f in fields(part) if getattr(part, f.name) != f.default
    ]
    return f"{part.name}({','.join(changed)})" if changed else part.name


def _format(annotation: object) -> str:
    return "" if str(annotation) == "int" or "Literal" in str(annotation) else ".6g"


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


def _parse(text: str, classes: Mapping[str, Any], what: str) -> Any:
    match = re.fullmatch(r"\s*([\w+-]+)\s*(?:\((.*)\))?\s*", text)
    if match is None or match[1] not in classes:
        raise InputError(f"unknown {what} {text!r}", nearest(match[1] if match else text, classes))
    cls = classes[match[1]]
    known = [f.name for f in fields(cls)]
    given: dict[str, Any] = {}
    for item in filter(None, ((match[2] or "").split(","))):
        name, equals, value = (s.strip() for s in item.partition("="))
        if not equals or name not in known:
            raise InputError(f"unknown field {name!r} of {what} {match[1]!r}", nearest(name, known) if known else "it has none")
        given[name] = convert_field(cls, name, value)
    return build(cls, given)


def build(cls: Any, given: Mapping[str, Any]) -> Any:
    """A policy or schedule from its fields; a value out of range becomes an InputError."""
    try:
        return cls(**given)
    except ValueError as error:
        raise InputError(f"{cls.name}: {error}", "see the ranges in README, 'Study files'") from None


def convert_field(cls: Any, name: str, value: object) -> int | float | str:
    """A field's value in the field's type. Raises InputError where it does not fit."""
    annotation = str(next(f.type for f in fields(cls) if f.name == name))
    if "Literal" in annotation and value == "phase":
        return "phase"
    try:
        number = float(str(value))
        if annotation == "int":
            if not number.is_integer():
                raise ValueError
            return int(number)
        return number
    except (ValueError, OverflowError):
        kind = "a whole number" if annotation == "int" else "a number"
        raise InputError(f"{cls.name}: {name} must be {kind}, got {value!r}", f"e.g. {name}={_default(cls, name)}") from None


def _default(cls: Any, name: str) -> object:
    return next(f.default for f in fields(cls) if f.name == name)
