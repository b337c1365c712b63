"""Learning-rate policies and batch-size schedules: frozen data. `timelines` and `rates` say what they do to a run.

Equations and algorithms are numbered as in the FasTrCaps paper (Marchisio et al., IJCNN 2020, arXiv 1905.10142).
A learning rate belongs to a step and has no unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar, Literal

REFERENCE_EPOCHS = 30
"""Epochs of a run in the paper. The phases of a batch-size schedule are stated for a run of this length."""

FieldKind = Literal["whole number", "real number", "cycle"]
"""What a field of a policy or schedule holds; a cycle is a number of epochs, or "phase"."""

# Each field below states its kind once, in its metadata. Text forms, study files and samplers read it from there.
_WHOLE: Mapping[str, FieldKind] = MappingProxyType({"kind": "whole number"})
_REAL: Mapping[str, FieldKind] = MappingProxyType({"kind": "real number"})
_CYCLE: Mapping[str, FieldKind] = MappingProxyType({"kind": "cycle"})


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_range(lr_min: float, lr_max: float) -> None:
    _require(
        0 < lr_min <= lr_max < math.inf,
        f"learning rates need 0 < lr_min <= lr_max, got lr_min={lr_min}, lr_max={lr_max}",
    )


def _require_cycle(cycle: float | str) -> None:
    valid = cycle == "phase" if isinstance(cycle, str) else 0 < cycle < math.inf
    _require(valid, f'cycle must be a positive number of epochs or "phase", got {cycle!r}')


@dataclass(frozen=True, kw_only=True)
class FixedRate:
    """One learning rate for the whole run."""

    name: ClassVar[str] = "fixed"
    lr: float = field(default=1e-3, metadata=_REAL)

    def __post_init__(self) -> None:
        _require(0 < self.lr < math.inf, f"lr must be positive, got {self.lr}")


@dataclass(frozen=True, kw_only=True)
class ExponentialDecay:
    """The rate falls exponentially with the step: `lr * decay ** (step / decay_steps)`."""

    name: ClassVar[str] = "exp-decay"
    lr: float = field(default=1e-3, metadata=_REAL)
    decay: float = field(default=0.96, metadata=_REAL)  # factor for every `decay_steps` steps, in (0, 1]
    decay_steps: int = field(default=2000, metadata=_WHOLE)  # steps

    def __post_init__(self) -> None:
        _require(0 < self.lr < math.inf, f"lr must be positive, got {self.lr}")
        _require(0 < self.decay <= 1, f"decay must be in (0, 1], got {self.decay}")
        _require(self.decay_steps >= 1, f"decay_steps must be at least 1, got {self.decay_steps}")


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """The rate rises, falls, and then decays to a tenth of `lr_min`, once over the whole run.

    Source: Eq. 1 and Algorithm 1 of the paper.
    """

    name: ClassVar[str] = "one-cycle"
    lr_min: float = field(default=1e-4, metadata=_REAL)
    lr_max: float = field(default=1e-3, metadata=_REAL)
    half: float = field(default=0.45, metadata=_REAL)  # share of the steps that rise; as many fall; in (0, 0.5]

    def __post_init__(self) -> None:
        _require_range(self.lr_min, self.lr_max)
        _require(0 < self.half <= 0.5, f"half must be in (0, 0.5], got {self.half}")


@dataclass(frozen=True, kw_only=True)
class WarmRestarts:
    """The rate falls along half a cosine from `lr_max` to `lr_min`, and restarts after every cycle.

    It also restarts at each change of batch size. `cycle` is the length of a cycle in epochs, or "phase" for one cycle over
    each phase of the batch-size schedule. With AdaBatch, "phase" gives WarmAdaBatch.

    Source: Eq. 2, Algorithm 2 and (WarmAdaBatch) Algorithm 5 of the paper.
    """

    name: ClassVar[str] = "warm-restarts"
    lr_min: float = field(default=1e-4, metadata=_REAL)
    lr_max: float = field(default=1e-3, metadata=_REAL)
    cycle: float | Literal["phase"] = field(default=1.0, metadata=_CYCLE)  # epochs

    def __post_init__(self) -> None:
        _require_range(self.lr_min, self.lr_max)
        _require_cycle(self.cycle)


@dataclass(frozen=True, kw_only=True)
class WarmRestartsPolynomial:
    """Warm restarts that fall as `(1 - t/T) ** power` instead of a cosine.

    Source: reference 23 of the paper.
    """

    name: ClassVar[str] = "warm-restarts-poly"
    lr_min: float = field(default=1e-4, metadata=_REAL)
    lr_max: float = field(default=1e-3, metadata=_REAL)
    cycle: float | Literal["phase"] = field(default=1.0, metadata=_CYCLE)  # epochs
    power: float = field(default=0.9, metadata=_REAL)  # of the decay; 1 is linear

    def __post_init__(self) -> None:
        _require_range(self.lr_min, self.lr_max)
        _require_cycle(self.cycle)
        _require(0 < self.power < math.inf, f"power must be positive, got {self.power}")


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """One rate for most of the run, then a much lower one for its last steps: the tail.

    `tail` is a share of the steps of the whole run, however many epochs these are.
    """

    name: ClassVar[str] = "fine-tune"
    lr: float = field(default=1e-3, metadata=_REAL)
    tail_lr: float = field(default=1e-5, metadata=_REAL)
    tail: float = field(default=0.2, metadata=_REAL)  # share of the steps, in (0, 1)

    def __post_init__(self) -> None:
        _require(
            0 < self.tail_lr <= self.lr < math.inf,
            f"learning rates need 0 < tail_lr <= lr, got tail_lr={self.tail_lr}, lr={self.lr}",
        )
        _require(0 < self.tail < 1, f"tail must be above 0 and below 1, got {self.tail}")


LR_POLICIES = (FixedRate, ExponentialDecay, OneCycle, WarmRestarts, WarmRestartsPolynomial, FineTune)
LrPolicy = FixedRate | ExponentialDecay | OneCycle | WarmRestarts | WarmRestartsPolynomial | FineTune


@dataclass(frozen=True, kw_only=True)
class FixedBatch:
    """One batch size for the whole run."""

    name: ClassVar[str] = "fixed"
    size: int = field(default=16, metadata=_WHOLE)  # images

    def __post_init__(self) -> None:
        _require(self.size >= 1, f"a batch size must be at least 1, got {self.size}")


@dataclass(frozen=True, kw_only=True)
class AdaBatch:
    """A small head batch for a few epochs, then the tail batch.

    Source: AdaBatch as the paper evaluates it, Section V-B.
    """

    name: ClassVar[str] = "adabatch"
    head_batch: int = field(default=1, metadata=_WHOLE)  # images
    head_epochs: int = field(default=3, metadata=_WHOLE)  # epochs of a run of 30
    tail_batch: int = field(default=16, metadata=_WHOLE)  # images

    def __post_init__(self) -> None:
        _require(min(self.head_batch, self.tail_batch) >= 1, "a batch size must be at least 1")
        _require(
            1 <= self.head_epochs < REFERENCE_EPOCHS,
            f"head_epochs must be 1 to {REFERENCE_EPOCHS - 1} (of a run of {REFERENCE_EPOCHS}), got {self.head_epochs}",
        )


@dataclass(frozen=True, kw_only=True)
class AdaBatchDoubling:
    """A head batch in epochs 1-3, then 2^p in epochs 4-8, 2^(p+1) in 9-13 and 2^(p+2) from 14 on.

    Source: Algorithm 3 of the paper.
    """

    name: ClassVar[str] = "adabatch-p"
    p: int = field(default=3, metadata=_WHOLE)  # exponent of the first batch size after the head, 0 to 16
    head_batch: int = field(default=1, metadata=_WHOLE)  # images
    head_epochs: int = field(default=3, metadata=_WHOLE)  # epochs of a run of 30

    def __post_init__(self) -> None:
        _require(0 <= self.p <= 16, f"p must be 0 to 16, got {self.p}")
        _require(self.head_batch >= 1, "a batch size must be at least 1")
        _require(1 <= self.head_epochs <= 19, f"head_epochs must be 1 to 19, got {self.head_epochs}")


BATCH_SCHEDULES = (FixedBatch, AdaBatch, AdaBatchDoubling)
BatchSchedule = FixedBatch | AdaBatch | AdaBatchDoubling


_DEFAULTS: Mapping[type, Mapping[str, Any]] = MappingProxyType(
    {cls: MappingProxyType({f.name: f.default for f in fields(cls)}) for cls in (*LR_POLICIES, *BATCH_SCHEDULES)}
)
_KINDS: Mapping[type, Mapping[str, FieldKind]] = MappingProxyType(
    {cls: MappingProxyType({f.name: f.metadata["kind"] for f in fields(cls)}) for cls in (*LR_POLICIES, *BATCH_SCHEDULES)}
)


def defaults_of(cls: type) -> Mapping[str, Any]:
    """The defaults of a policy or schedule, by field."""
    return _DEFAULTS[cls]


def field_kind(cls: type[LrPolicy | BatchSchedule], name: str) -> FieldKind:
    """The kind of a field, as the policy or schedule class declares it. Raises KeyError for a field that the class lacks."""
    return _KINDS[cls][name]


def is_whole_number(name: str) -> bool:
    """Whether a field of this name holds a whole number in any policy or schedule."""
    classes = (*LR_POLICIES, *BATCH_SCHEDULES)
    return any(f.name == name and f.metadata["kind"] == "whole number" for cls in classes for f in fields(cls))
