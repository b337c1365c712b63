"""Study files: TOML in, a validated StudySpec out. An unknown key is refused, and the error names the nearest valid one."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.problem.notation import convert_field, parse_policy, parse_schedule
from fastrcaps_dse.problem.objectives import parse_objectives
from fastrcaps_dse.problem.quantities import parse_quantity
from fastrcaps_dse.problem.ranges import DIGITS, Choice, Range, to_digits
from fastrcaps_dse.problem.schedules import BATCH_SCHEDULES, LR_POLICIES, is_whole_number
from fastrcaps_dse.problem.space import Decoder, DesignPoint, DesignSpace, Network, parse_design
from fastrcaps_dse.problem.study_spec import StudySpec

RATES = ("lr_min", "lr_max", "lr", "tail_lr")  # fields whose values depend on each other: one is at most the other
MOST = 2**53  # a whole number in a study file: more than any of them means


def load_study(path: Path) -> StudySpec:
    """The study of a study file. Raises InputError for a file that cannot be read or is not valid."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"no study file {path}", "name one of studies/*.toml, or write one: see docs/study-files.md") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the study file {path} cannot be read: {error}", "is it a readable TOML file?") from None
    return parse_study(text, default_name=path.stem, source=str(path))


PACKAGE = Path(__file__).parent.parent
STUDY_FOLDERS = (Path("studies"), PACKAGE / "studies", PACKAGE.parent / "studies")
"""The folders with study files: in the working directory, in the installed package, in the repository of an editable install."""


def find_study_file(name: str) -> StudySpec:
    """The study of a study file, given by its path or by its name in one of `STUDY_FOLDERS`. Raises InputError."""
    if name.endswith(".toml") or Path(name).is_file():
        return load_study(Path(name))
    named = {path.stem: path for folder in reversed(STUDY_FOLDERS) for path in folder.glob("*.toml")}
    if name not in named:
        raise InputError(
            f"there is no study file {name!r}", nearest(name, sorted(named)) + "; or the path of a file of your own"
        )
    return load_study(named[name])


def parse_study(text: str, *, default_name: str, source: str = "the study file") -> StudySpec:
    """The study that the text of a study file describes.

    `default_name` is its name if the text gives none; `source` is what error messages call the text.
    Raises InputError for a text that is not valid.
    """
    try:
        document = tomllib.loads(text)
        repr(document)  # a number that is too long to be told is refused here, not where it is told
    except (ValueError, RecursionError) as error:
        why = str(error).partition(";")[0] if isinstance(error, ValueError) else "too many brackets"
        raise InputError(f"{source} is not valid TOML: {why}", "see studies/quick.toml for an example") from None
    allowed = [f.name for f in fields(StudySpec) if f.name != "text"]
    _refuse_unknown(document, allowed, source)
    given = dict(document)
    given["space"] = _parse_space(_table(given.get("space", {}), "space"), source)
    for name in ("epochs", "seeds", "trials", "seed", "train_images"):
        if name in given and (type(given[name]) is not int or abs(given[name]) > MOST):
            raise InputError(f"{source}: {name} must be a whole number, got {given[name]!r}", f"e.g. {name} = 1")
    for name in ("name", "dataset", "protocol", "sampler", "time", "pruning", "within"):
        if name in given and not isinstance(given[name], str):
            raise InputError(f"{source}: {name} must be a text, got {given[name]!r}", f'e.g. {name} = "..."')
    for name in ("relabel", "anytime", "scale_decay"):
        if type(given.get(name, False)) is not bool:
            raise InputError(f"{source}: {name} must be true or false, got {given[name]!r}", f"e.g. {name} = true")
    if given.get("anytime") and "sampler" not in given:
        given["sampler"] = "freeze-thaw"
    if type(given.get("test_share", 0.5)) not in (int, float):
        raise InputError(f"{source}: test_share must be a number, got {given['test_share']!r}", "e.g. test_share = 0.2")
    if "within" in given:
        given["within"] = parse_quantity("time", given["within"])
    if "objectives" in given:
        given["objectives"] = parse_objectives(_texts(given["objectives"], "objectives"))
    if "first" in given:
        given["first"] = tuple(parse_design(text) for text in _texts(given["first"], "first"))
        for point in given["first"]:
            if not given["space"].admits(point):
                raise InputError(
                    f"{source}: the space does not admit {point.label!r} of first", "widen [space] or leave it out"
                )
    return StudySpec(**({"name": default_name} | given), text=text)


def _parse_space(table: Mapping[str, Any], source: str) -> DesignSpace:
    allowed = [f.name if f.name != "open_fields" else "fields" for f in fields(DesignSpace)]
    _refuse_unknown(table, allowed, f"[space] of {source}")
    choices = {name: _choices(table[name], name) for name in allowed if name in table and name != "fields"}
    defaults: dict[str, Any] = {
        "lr_policy": ["fixed", "exp-decay", "one-cycle", "warm-restarts", "warm-restarts(cycle=phase)"],
        "batch_schedule": [1, 16, 128, "adabatch"],
    }
    choices = defaults | choices
    space: dict[str, Any] = {name: tuple(values) for name, values in choices.items()}
    space["lr_policy"] = tuple(parse_policy(text) for text in choices["lr_policy"])
    space["batch_schedule"] = tuple(parse_schedule(text) for text in choices["batch_schedule"])
    for name, kinds in (("decoder", get_args(Decoder)), ("network", get_args(Network))):
        for value in choices.get(name, []):
            if value not in kinds:
                raise InputError(f"{source}: unknown {name} {value!r}", nearest(str(value), kinds))
    for name, kind in (("weight_sharing", bool), ("routing_iterations", int), ("shift", int), ("flip", bool)):
        for value in choices.get(name, []):
            if type(value) is not kind:
                raise InputError(
                    f"{source}: {name} lists {value!r}", f"write {'true or false' if kind is bool else 'whole numbers'}"
                )
    for point in ({"routing_iterations": value} for value in choices.get("routing_iterations", [])):
        DesignPoint(**point)
    for point in ({"shift": value} for value in choices.get("shift", [])):
        DesignPoint(**point)
    space["open_fields"] = _parse_fields(_table(table.get("fields", {}), "space.fields"), source)
    built = DesignSpace(**space)
    _check_corners(built)
    return built


def _check_corners(space: DesignSpace) -> None:
    """Refuse a space in which a policy or schedule is not valid everywhere, so that no trial fails for a bad value."""
    for part in (*space.lr_policy, *space.batch_schedule):
        choices = space.fields_of(part)
        for name, choice in choices.items():
            if name not in RATES:
                for value in (choice.low, choice.high) if isinstance(choice, Range) else choice:
                    space.with_fields(part, {name: value})
        # the rates of a policy depend on each other: all are valid where each lowest one is with each highest one
        rates = {name: _extremes(choice) for name, choice in choices.items() if name in RATES}
        for corner in itertools.product(*rates.values()):
            space.with_fields(part, dict(zip(rates, corner, strict=True)))


def _extremes(choice: Choice) -> tuple[float, float]:
    values = (choice.low, choice.high) if isinstance(choice, Range) else tuple(float(value) for value in choice)
    odd = next((value for value in values if not math.isfinite(value)), None)  # has no order
    return (min(values), max(values)) if odd is None else (odd, odd)


def _parse_fields(table: Mapping[str, Any], source: str) -> dict[str, Choice]:
    allowed = sorted({f.name for cls in (*LR_POLICIES, *BATCH_SCHEDULES) for f in fields(cls)})
    _refuse_unknown(table, allowed, f"[space.fields] of {source}")
    return {
        name: _parse_range(name, value, source) if isinstance(value, Mapping) else _parse_values(name, value, source)
        for name, value in table.items()
    }


def _parse_values(name: str, value: object, source: str) -> tuple[float | str, ...]:
    """The choices of a field, of which each must be of its kind."""
    values = _choices(value, name)
    owners = [cls for cls in (*LR_POLICIES, *BATCH_SCHEDULES) if any(f.name == name for f in fields(cls))]
    for each in values:
        is_number = type(each) in (int, float) and abs(each) <= MOST  # which no nan is
        if not is_number and not isinstance(each, str):
            raise InputError(f"{source}: {name} lists {each!r}", f"list numbers, e.g. {name} = [{_example(name)}]")
        convert_field(owners[0], name, each)
    return tuple(values)


def _example(name: str) -> object:
    """The default of a field."""
    return next(f.default for cls in (*LR_POLICIES, *BATCH_SCHEDULES) for f in fields(cls) if f.name == name)


def _parse_range(name: str, table: Mapping[str, Any], source: str) -> Range:
    _refuse_unknown(table, [f.name for f in fields(Range)], f"{name} of {source}")
    example = f"{name} = {{ low = 1, high = 10 }}" if is_whole_number(name) else f"{name} = {{ low = 1e-4, high = 1e-3 }}"
    if not {"low", "high"} <= set(table):
        raise InputError(f"{source}: the range of {name} needs low and high", example)
    numbers = {key: value for key, value in table.items() if key != "log"}
    if not all(type(n) in (int, float) and abs(n) <= MOST for n in numbers.values()):
        raise InputError(f"{source}: low, high and step of {name} must be numbers", example)
    if type(table.get("log", False)) is not bool:
        raise InputError(f"{source}: log of {name} must be true or false, got {table['log']!r}", example)
    if is_whole_number(name) and not all(float(n).is_integer() for n in numbers.values()):
        raise InputError(f"{source}: low, high and step of {name} must be whole numbers", example)
    if is_whole_number(name) and table.get("log", False):
        raise InputError(f"{source}: {name} has whole numbers, which are sampled evenly", "leave log out, or list values")
    if is_whole_number(name):
        parsed = Range(**{"step": 1, **table})
    else:
        parsed = Range(**{**table, **{end: to_digits(table[end]) for end in ("low", "high")}})
    log_without_zero = parsed.low > 0 or not parsed.log
    step_fits = parsed.step is None or (parsed.step > 0 and not parsed.log)
    if not (0 <= parsed.low <= parsed.high and log_without_zero and step_fits):
        raise InputError(f"{source}: bad range of {name}", "0 <= low <= high; log needs low > 0 and no step; step > 0")
    if parsed.step is not None and not is_whole_number(name) and parsed.step < parsed.high * 10.0 ** (1 - DIGITS):
        raise InputError(
            f"{source}: the step of {name} is too fine: values are told apart by {DIGITS} digits", "leave step out, or widen it"
        )
    return parsed


def _refuse_unknown(table: Mapping[str, Any], allowed: list[str], where: str) -> None:
    for name in table:
        if name not in allowed:
            raise InputError(f"unknown key {name!r} in {where}", nearest(name, allowed))


def _table(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{name} must be a table", f"write [{name}]")
    return value


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{name} must be a list, got {value!r}", f"write {name} = [...]")
    return value


def _texts(value: object, name: str) -> list[str]:
    texts = _list(value, name)
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{name} must list texts, got {text!r}", f'write {name} = ["..."]')
    return texts


def _choices(value: object, name: str) -> list[Any]:
    values = _list(value, name)
    if not values:
        raise InputError(f"{name} lists nothing", f"write {name} = [...] with at least one choice")
    return values
