"""Designs near a design: one or two of its dimensions are changed, numbers by steps of several sizes."""

from __future__ import annotations

import math
import random
from typing import Any

from fastrcaps_dse.problem.ranges import Choice, Range, values_of
from fastrcaps_dse.problem.schedules import defaults_of, is_whole_number
from fastrcaps_dse.problem.space import PLAIN_DIMENSIONS, DesignPoint, DesignSpace, make_point
from fastrcaps_dse.search.parameters import sample_field

SCALES = (0.02, 0.06, 0.2)  # standard deviations of a step, in ranges of the field
PARTS = ("lr_policy", "batch_schedule")
AT_ONCE = (1, 1, 2, 2, 3)  # dimensions that a neighbor differs in, each as likely


def dimensions_of(point: DesignPoint, space: DesignSpace) -> list[str]:
    """What can be changed of a design in this space: dimensions, and `part.field` for the open fields of its parts."""
    found = [name for name in (*PARTS, *PLAIN_DIMENSIONS) if len(getattr(space, name)) > 1]
    for part in PARTS:
        choices = space.fields_of(getattr(point, part))
        found += [f"{part}.{name}" for name, choice in choices.items() if not _is_single(choice)]
    return found


def neighbor(point: DesignPoint, space: DesignSpace, generator: random.Random) -> DesignPoint:
    """A design of the space that differs from `point`, which the space admits, in a few dimensions; the same where none is open."""
    open_here = dimensions_of(point, space)
    chosen = generator.sample(open_here, min(len(open_here), generator.choice(AT_ONCE)))
    scale = generator.choice(SCALES)
    values: dict[str, Any] = {name: getattr(point, name) for name in (*PARTS, *PLAIN_DIMENSIONS)}
    changes: dict[str, dict[str, float | str]] = {part: {} for part in PARTS}
    for name in chosen:
        part, dot, field = name.partition(".")
        if dot:
            now = getattr(getattr(point, part), field)
            changes[part][field] = moved(
                space.fields_of(getattr(point, part))[field], now, is_whole_number(field), scale, generator
            )
        elif name in PLAIN_DIMENSIONS:
            values[name] = generator.choice([value for value in getattr(space, name) if value != values[name]])
    for part in PARTS:
        if part in chosen:
            values[part] = _replaced(getattr(point, part), getattr(space, part), space, generator)
        elif changes[part]:
            values[part] = space.with_fields(values[part], changes[part])
    return make_point(**values)


def _replaced(part: Any, bases: tuple[Any, ...], space: DesignSpace, generator: random.Random) -> Any:
    """Another policy or schedule of the space; open fields that both have keep their value, the others are sampled."""
    base = generator.choice([other for other in bases if other != space.base_of(part)])
    has = defaults_of(type(part))
    given = {
        name: getattr(part, name) if name in has else sample_field(choice, generator)
        for name, choice in space.fields_of(base).items()
    }
    return space.with_fields(base, given)


def moved(choice: Choice, now: float | str, is_whole: bool, scale: float, generator: random.Random) -> float | str:
    """Another value of a field: one of the choices, or a step from `now` whose standard deviation is `scale` ranges, inside the range."""
    if not isinstance(choice, Range):
        return generator.choice([value for value in values_of(choice) if value != now])
    low, high, number = choice.low, choice.high, float(now)
    if choice.step or is_whole:
        step = choice.step or 1.0
        last = math.floor((high - low) / step + 1e-9)
        here = round((number - low) / step)
        jump = max(1, round(abs(generator.gauss(0, scale * last))))
        signed = jump if generator.random() < 0.5 else -jump
        index = here + signed if 0 <= here + signed <= last else here - signed
        return low + step * min(last, max(0, index))
    if choice.log:
        low, high, number = math.log(low), math.log(high), math.log(number)
    there = number + generator.gauss(0, scale * (high - low))
    there = 2 * low - there if there < low else 2 * high - there if there > high else there  # reflected at the ends
    there = min(high, max(low, there))
    return min(choice.high, max(choice.low, math.exp(there) if choice.log else there))


def _is_single(choice: Choice) -> bool:
    return choice.finite and choice.count == 1 if isinstance(choice, Range) else len({*choice}) == 1
