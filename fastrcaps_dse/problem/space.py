"""Design points, the design space, and their text forms.

A design has the four dimensions of the paper (learning-rate policy, batch-size schedule, weight sharing, decoder) and a few
more that a study file may open. For the text forms of policies and schedules see `notation`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.problem.labels import SEPARATOR, label_of, parse_label
from fastrcaps_dse.problem.notation import convert_field, parse_policy, parse_schedule, to_text
from fastrcaps_dse.problem.ranges import Choice, Range, contains, count_of, values_of
from fastrcaps_dse.problem.schedules import (
    LR_POLICIES,
    AdaBatch,
    BatchSchedule,
    ExponentialDecay,
    FixedBatch,
    FixedRate,
    LrPolicy,
    OneCycle,
    WarmRestarts,
    defaults_of,
)

Decoder = Literal["full", "small"]
Network = Literal["capsnet", "lenet5"]


@dataclass(frozen=True, kw_only=True)
class DesignPoint:
    """One design. The defaults are the paper's baseline, `fixed`. Raises InputError for values that are not allowed."""

    lr_policy: LrPolicy = field(default_factory=FixedRate)
    batch_schedule: BatchSchedule = field(default_factory=FixedBatch)
    weight_sharing: bool = False  # one W per capsule type instead of one per input capsule
    decoder: Decoder = "full"
    network: Network = "capsnet"  # lenet5, with which the paper compares, has no capsules and no decoder
    routing_iterations: int = 3
    shift: int = 2  # pixels; training images are shifted at random by up to this much each way
    flip: bool = False  # training images are mirrored left-right at random, each with probability 1/2

    def __post_init__(self) -> None:
        if self.decoder not in get_args(Decoder):
            raise InputError(f"unknown decoder {self.decoder!r}", nearest(str(self.decoder), get_args(Decoder)))
        if self.network not in get_args(Network):
            raise InputError(f"unknown network {self.network!r}", nearest(str(self.network), get_args(Network)))
        if not 1 <= self.routing_iterations <= 10:
            raise InputError(f"routing_iterations must be 1 to 10, got {self.routing_iterations}", "the paper's is 3")
        if not 0 <= self.shift <= 8:
            raise InputError(f"shift must be 0 to 8 pixels, got {self.shift}", "the paper's is 2; 0 switches it off")
        if self.network == "lenet5" and (self.weight_sharing, self.decoder, self.routing_iterations) != (False, "full", 3):
            raise InputError("lenet5 has no capsules", "leave weight_sharing, decoder and routing_iterations as they are")

    @property
    def key(self) -> str:
        """The canonical key: equal designs have equal keys, in any study."""
        return " ".join(f"{name}={value}" for name, value in design_to_dict(self).items())

    @property
    def label(self) -> str:
        """A short text that no other design has, such as `one-cycle · b16 · ws+small`. `parse_design` reads it back."""
        return label_of(self)


NAMED_DESIGNS: dict[str, DesignPoint] = {
    "fixed": DesignPoint(),
    "exp-decay": DesignPoint(lr_policy=ExponentialDecay()),
    "one-cycle": DesignPoint(lr_policy=OneCycle()),
    "warm-restarts": DesignPoint(lr_policy=WarmRestarts()),
    "adabatch": DesignPoint(batch_schedule=AdaBatch()),
    "wab": DesignPoint(lr_policy=WarmRestarts(cycle="phase"), batch_schedule=AdaBatch()),
    "ws": DesignPoint(weight_sharing=True, decoder="small"),
    "wab+ws": DesignPoint(
        lr_policy=WarmRestarts(cycle="phase"), batch_schedule=AdaBatch(), weight_sharing=True, decoder="small"
    ),
}
"""The eight CapsNet designs of the paper's table, by name. The paper's designs with weight sharing have the small decoder, too."""

LENET5_DESIGNS: dict[str, DesignPoint] = {
    "lenet5": DesignPoint(network="lenet5"),
    **{
        f"lenet5-{name}": replace(NAMED_DESIGNS[name], network="lenet5")
        for name in ("exp-decay", "one-cycle", "warm-restarts", "adabatch")
    },
}
"""The LeNet5 designs with which the paper compares in Fig. 4b, by name; `lenet5` is the one with a fixed learning rate."""


def paper_name(point: DesignPoint) -> str | None:
    """The name that the paper has for a design, such as `wab+ws`; None for the others."""
    return next((name for name, named in NAMED_DESIGNS.items() if named == point), None)


def lenet5_name(point: DesignPoint) -> str | None:
    """The name of a LeNet5 design of the paper, such as `lenet5-one-cycle`; None for the others."""
    return next((name for name, named in LENET5_DESIGNS.items() if named == point), None)


def design_to_dict(point: DesignPoint) -> dict[str, Any]:
    """The design as plain values by the names of its fields, in their order; later dimensions only where they are not at their default."""
    plain = {f.name: getattr(point, f.name) for f in fields(point)}
    plain = {name: value for name, value in plain.items() if name not in LATER_DIMENSIONS or value != LATER_DIMENSIONS[name]}
    return plain | {"lr_policy": to_text(point.lr_policy), "batch_schedule": to_text(point.batch_schedule)}


def design_from_dict(values: Mapping[str, Any]) -> DesignPoint:
    """The design that `design_to_dict` gave; missing fields are at their defaults.

    Raises InputError for an unknown field or a value that is not allowed.
    """
    names = [f.name for f in fields(DesignPoint)]
    for name in values:
        if name not in names:
            raise InputError(f"unknown dimension {name!r} of a design", nearest(name, names))
    given = dict(values)
    if "lr_policy" in given:
        given["lr_policy"] = parse_policy(given["lr_policy"])
    if "batch_schedule" in given:
        given["batch_schedule"] = parse_schedule(given["batch_schedule"])
    for name, kind in (("weight_sharing", bool), ("routing_iterations", int), ("shift", int), ("flip", bool)):
        if name in given and type(given[name]) is not kind:
            raise InputError(f"{name} must be {'true or false' if kind is bool else 'a whole number'}, got {given[name]!r}")
    return DesignPoint(**given)


def parse_design(text: str) -> DesignPoint:
    """The design of a text: a name (`wab+ws`), a label (`one-cycle · b128`) or a key (`lr_policy=one-cycle batch_schedule=128`).

    Raises InputError.
    """
    text = text.strip()
    if SEPARATOR.strip() in text:
        return DesignPoint(**parse_label(text))
    if text in NAMED_DESIGNS:
        return NAMED_DESIGNS[text]
    if text in LENET5_DESIGNS:
        return LENET5_DESIGNS[text]
    if "=" not in text.split("(")[0]:
        raise InputError(f"unknown design {text!r}", nearest(text, [*NAMED_DESIGNS, *LENET5_DESIGNS]))
    values: dict[str, Any] = {}
    for item in text.split():
        name, _, value = item.partition("=")
        plain: Any = {"true": True, "false": False}.get(value.lower(), value)
        values[name] = int(value) if name in ("routing_iterations", "shift") and re.fullmatch(r"-?\d+", value) else plain
    return design_from_dict(values)


# --- the space --------------------------------------------------------------------------------------------------------


PLAIN_DIMENSIONS = ("weight_sharing", "decoder", "network", "routing_iterations", "shift", "flip")
"""The dimensions that are plain values. The two others, policy and schedule, have fields of their own."""

LATER_DIMENSIONS: Mapping[str, Any] = {"flip": False}
"""Dimensions that studies of earlier versions lack, with their defaults. At its default such a dimension is left out of keys, of
identities of studies and of what samplers are told, so that these are the same as before."""


ENUMERABLE = 4096
"""The most designs of a space that are listed one by one. Of a larger one, as of an infinite one, designs are sampled."""


@dataclass(frozen=True, kw_only=True)
class DesignSpace:
    """The designs that a study may try: choices for each dimension, and ranges or choices for fields of policies and schedules.

    An open field (e.g. `lr_max`, `tail_batch`) replaces that field of every chosen policy or schedule that has it.
    """

    lr_policy: tuple[LrPolicy, ...]
    batch_schedule: tuple[BatchSchedule, ...]
    weight_sharing: tuple[bool, ...] = (False, True)
    decoder: tuple[Decoder, ...] = ("full", "small")
    network: tuple[Network, ...] = ("capsnet",)
    routing_iterations: tuple[int, ...] = (3,)
    shift: tuple[int, ...] = (2,)
    flip: tuple[bool, ...] = (False,)
    open_fields: Mapping[str, Choice] = field(default_factory=dict)

    @property
    def finite(self) -> bool:
        """Whether the space has finitely many designs."""
        return all(not isinstance(r, Range) or r.finite for r in self._used_fields().values())

    @property
    def stated_dimensions(self) -> tuple[str, ...]:
        """The dimensions that are plain values, without later ones that have their default in all designs."""
        usual = {name: (value,) for name, value in LATER_DIMENSIONS.items()}
        return tuple(name for name in PLAIN_DIMENSIONS if getattr(self, name) != usual.get(name))

    def _used_fields(self) -> dict[str, Choice]:
        present = {f.name for part in (*self.lr_policy, *self.batch_schedule) for f in fields(part)}
        return {name: r for name, r in self.open_fields.items() if name in present}

    def fields_of(self, part: LrPolicy | BatchSchedule) -> dict[str, Choice]:
        """The ranges and choices of the open fields that this policy or schedule has, by name."""
        names = defaults_of(type(part))
        return {name: r for name, r in self.open_fields.items() if name in names}

    @property
    def enumerable(self) -> bool:
        """Whether the space has so few designs that they are listed one by one."""
        size = self.size()
        return size is not None and size <= ENUMERABLE

    def designs(self) -> Iterator[DesignPoint]:
        """All designs of a space of at most `ENUMERABLE`, each once. Raises ValueError for a larger or an infinite space."""
        if not self.enumerable:
            raise ValueError("the design space is infinite or too large to be listed")
        seen: set[str] = set()
        policies = [p for part in self.lr_policy for p in self._variants(part)]
        schedules = [s for part in self.batch_schedule for s in self._variants(part)]
        rest = (getattr(self, name) for name in PLAIN_DIMENSIONS)
        for policy, schedule, *values in itertools.product(policies, schedules, *rest):
            point = make_point(lr_policy=policy, batch_schedule=schedule, **dict(zip(PLAIN_DIMENSIONS, values, strict=True)))
            if point.key not in seen:
                seen.add(point.key)
                yield point

    def _variants(self, part: Any) -> Iterator[Any]:
        open_here = self.fields_of(part)
        for values in itertools.product(*map(values_of, open_here.values())):
            yield self.with_fields(part, dict(zip(open_here, values, strict=True)))

    def _count(self, parts: Sequence[Any]) -> int:
        """How many policies, or schedules, there are of these choices. Choices that differ in open fields only are one."""
        distinct = set()
        for part in parts:
            open_here = self.fields_of(part)
            closed = tuple((f.name, getattr(part, f.name)) for f in fields(part) if f.name not in open_here)
            distinct.add((type(part), closed, math.prod(map(count_of, open_here.values()))))
        return sum(count for *_, count in distinct)

    @staticmethod
    def with_fields(part: Any, values: Mapping[str, float | str]) -> Any:
        """The policy or schedule with these values of its fields, each converted to its kind. Raises InputError."""
        try:
            return replace(part, **{name: convert_field(type(part), name, value) for name, value in values.items()})
        except ValueError as error:
            raise InputError(f"{part.name}: {error}", "narrow the ranges under [space.fields]") from None

    def admits(self, point: DesignPoint) -> bool:
        """Whether the design lies in the space."""
        plain = all(getattr(point, name) in getattr(self, name) for name in PLAIN_DIMENSIONS)
        return plain and self.base_of(point.lr_policy) is not None and self.base_of(point.batch_schedule) is not None

    def base_of(self, part: LrPolicy | BatchSchedule) -> Any | None:
        """The choice that differs from this policy or schedule in open fields only; None if the space does not admit the part."""
        choices: Sequence[Any] = self.lr_policy if isinstance(part, LR_POLICIES) else self.batch_schedule
        open_here = self.fields_of(part)
        if not all(contains(r, getattr(part, name)) for name, r in open_here.items()):
            return None
        free = {name: getattr(part, name) for name in open_here}
        return next((c for c in choices if type(c) is type(part) and replace(c, **free) == part), None)

    def examples(self, count: int = 24) -> list[DesignPoint]:
        """About `count` designs, evenly spread over the choices. Open fields keep the value that the choice has."""
        axes = [self.lr_policy, self.batch_schedule, *(getattr(self, name) for name in PLAIN_DIMENSIONS)]
        total = math.prod(map(len, axes))
        points = []
        for k in range(0, total, max(1, total // count)):
            values, rest = [], k
            for axis in reversed(axes):
                rest, index = divmod(rest, len(axis))
                values.append(axis[index])
            named = dict(zip(("lr_policy", "batch_schedule", *PLAIN_DIMENSIONS), reversed(values), strict=True))
            points.append(make_point(**named))
        return points

    def size(self) -> int | None:
        """The number of designs, or None for infinitely many. They are counted, not listed."""
        if not self.finite:
            return None
        trained = self._count(self.lr_policy) * self._count(self.batch_schedule)
        trained *= len(set(self.shift)) * len(set(self.flip))
        capsnets = len(set(self.weight_sharing)) * len(set(self.decoder)) * len(set(self.routing_iterations))
        return trained * sum(capsnets if network == "capsnet" else 1 for network in set(self.network))


def make_point(**values: Any) -> DesignPoint:
    """The design of sampled values by dimension. What LeNet5 does not use is set to its default, so that equal designs are equal."""
    if values["network"] == "lenet5":
        values = values | {"weight_sharing": False, "decoder": "full", "routing_iterations": 3}
    return DesignPoint(**values)
