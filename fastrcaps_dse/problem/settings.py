"""Single settings of a study file, by their dotted keys: `epochs=5`, `space.fields.lr_max={low=1e-4, high=1e-3, log=true}`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.problem.ranges import Range
from fastrcaps_dse.problem.schedules import BATCH_SCHEDULES, LR_POLICIES
from fastrcaps_dse.problem.space import DesignSpace
from fastrcaps_dse.problem.study_spec import StudySpec

FIELDS = tuple(sorted({f.name for cls in (*LR_POLICIES, *BATCH_SCHEDULES) for f in fields(cls)}))
"""The fields of policies and schedules, which stand under [space.fields]."""
KEYS = (
    *(f.name for f in fields(StudySpec) if f.name not in ("text", "space")),
    *(f"space.{f.name}" for f in fields(DesignSpace) if f.name != "open_fields"),
    *(f"space.fields.{name}" for name in FIELDS),
)
"""All keys of a study file, as they are written with dots."""
ENDS = tuple(f.name for f in fields(Range))
"""The keys of a range."""


def with_settings(text: str, settings: Sequence[str]) -> str:
    """The text of a study file with these settings, each `KEY=VALUE` with the value as in TOML; a bare word is a text.

    Comments are left out. The text comes back as it was if there is no setting. Raises InputError for an unknown key, a value that is
    not TOML, or a text that is not valid.
    """
    if not settings:
        return text
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the study file is not valid TOML: {error}", "see studies/quick.toml for an example") from None
    for setting in settings:
        _put(document, *_parse(setting))
    return f"# with --set {' --set '.join(settings)}\n".replace("\n", " ").rstrip() + "\n" + to_toml(document)


def _parse(setting: str) -> tuple[list[str], Any]:
    """The parts of a setting's key, and its value."""
    key, equals, value = (part.strip() for part in setting.partition("="))
    if not equals or not key:
        raise InputError(f"--set takes KEY=VALUE, got {setting!r}", "e.g. --set epochs=5")
    parts = key.split(".")
    range_of = ".".join(parts[:-1]) if parts[-1] in ENDS and len(parts) == 4 else key
    if range_of not in KEYS:
        raise InputError(f"unknown key {key!r} in --set", nearest(key, KEYS))
    try:
        if "\n" in value:
            raise tomllib.TOMLDecodeError("one line")
        return parts, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        if re.fullmatch(r"[A-Za-z][\w./+:-]*", value):
            return parts, value
        example = f"--set {key}='\"{value}\"'" if not re.match(r"[\[{\"']", value) else "--set space.decoder='[\"small\"]'"
        raise InputError(f"--set {key}: {value!r} is not a value of TOML", f"write texts in quotes, e.g. {example}") from None


def _put(document: dict[str, Any], parts: Sequence[str], value: Any) -> None:
    """Set a value by the parts of its key; tables on the way are made."""
    *tables, last = parts
    for name in tables:
        inner = document.setdefault(name, {})
        if not isinstance(inner, dict):  # a list of values that becomes a range
            inner = document[name] = {}
        document = inner
    document[last] = value


def to_toml(document: Mapping[str, Any]) -> str:
    """A document of plain values as TOML: tables below what is not one, ranges inline. `tomllib` reads back the same."""
    return "".join(_lines(document, ""))


def _lines(table: Mapping[str, Any], name: str) -> list[str]:
    is_table = {key: isinstance(value, Mapping) and name != "space.fields" for key, value in table.items()}
    lines = [f"{key} = {_value(value)}\n" for key, value in table.items() if not is_table[key]]
    for key, value in table.items():
        if is_table[key]:
            inner = f"{name}.{key}" if name else key
            lines += [f"\n[{inner}]\n", *_lines(value, inner)]
    return lines


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(c, c if c.isprintable() else f"\\U{ord(c):08x}") for c in value) + '"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value)


_ESCAPES = {'"': '\\"', "\\": "\\\\"}
