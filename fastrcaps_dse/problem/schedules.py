"""Learning-rate policies and batch-size schedules: frozen data, and pure functions of the step and the epoch.

Equations and algorithms are numbered as in the FasTrCaps paper (Marchisio et al., IJCNN 2020, arXiv 1905.10142).
A *step* is one optimizer update, counted from 0 over the whole run. An *epoch* is one pass over the training images,
counted from 0. A learning rate belongs to a step and has no unit.

The module is long because a new policy is one dataclass and one function, and both belong here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar, Literal

REFERENCE_EPOCHS = 30
REFERENCE_IMAGES = 60_000  # of an epoch of the paper
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


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Consecutive epochs of one batch size."""

    first_epoch: int
    epochs: int
    batch_size: int  # images
    first_step: int
    steps_per_epoch: int  # includes the last, smaller batch of an epoch


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The phases of one run, and which epochs and steps belong to each."""

    images: int  # training images of an epoch
    epochs: int
    phases: tuple[Phase, ...]
    decay_scale: float = 1.0  # factor of a policy's decay_steps

    @property
    def total_steps(self) -> int:
        """The number of steps of the run."""
        return self.first_step(self.epochs)

    def phase_of_epoch(self, epoch: int) -> Phase:
        """The phase of an `epoch`, which is 0 to epochs - 1."""
        return next(phase for phase in reversed(self.phases) if phase.first_epoch <= epoch)

    def phase_of_step(self, step: int) -> Phase:
        """The phase of a `step`, which is 0 to total_steps - 1."""
        return next(phase for phase in reversed(self.phases) if phase.first_step <= step)

    def first_step(self, epoch: int) -> int:
        """The first step of an `epoch`. For `epoch` equal to `epochs`, this is the number of steps of the run."""
        phase = self.phase_of_epoch(epoch)
        return phase.first_step + (epoch - phase.first_epoch) * phase.steps_per_epoch


def _phase_plan(schedule: BatchSchedule) -> list[tuple[int, int]]:
    """The (first epoch, batch size in images) of each phase in a run of 30 epochs."""
    match schedule:
        case FixedBatch():
            return [(0, schedule.size)]
        case AdaBatch():
            return [(0, schedule.head_batch), (schedule.head_epochs, schedule.tail_batch)]
        case AdaBatchDoubling():
            starts = (schedule.head_epochs + 5 * k for k in range(3))
            return [(0, schedule.head_batch), *((start, 2 ** (schedule.p + k)) for k, start in enumerate(starts))]


def build_timeline(schedule: BatchSchedule, *, epochs: int, images: int, scale_decay: bool = False) -> Timeline:
    """The timeline of a run of `epochs` epochs over `images` training images.

    A run shorter than 30 epochs keeps the shape of the schedule: the starts of the phases scale with the length of the run,
    and each phase has at least one epoch. A run with fewer epochs than phases has only the first phases. Two neighboring
    phases of the same batch size stay apart, because a policy may restart between them.

    With `scale_decay`, decay steps are those of the paper's run of 30 epochs over 60,000 images: they scale with the images that this
    run trains on in all, so that the rate falls to the same value at its end.

    Raises ValueError for less than one epoch or image.
    """
    _require(epochs >= 1, f"a run needs at least 1 epoch, got {epochs}")
    _require(images >= 1, f"a run needs at least 1 training image, got {images}")
    plan = _phase_plan(schedule)[:epochs]
    scale = min(1.0, epochs / REFERENCE_EPOCHS)
    starts: list[int] = []
    for index, (start, _) in enumerate(plan):
        earliest = starts[-1] + 1 if starts else 0
        latest = epochs - (len(plan) - index)
        starts.append(min(max(earliest, math.floor(start * scale + 0.5)), latest))
    phases: list[Phase] = []
    step = 0
    for start, end, (_, size) in zip(starts, [*starts[1:], epochs], plan, strict=True):
        per_epoch = math.ceil(images / size)
        phases.append(Phase(first_epoch=start, epochs=end - start, batch_size=size, first_step=step, steps_per_epoch=per_epoch))
        step += per_epoch * (end - start)
    decay_scale = epochs * images / (REFERENCE_EPOCHS * REFERENCE_IMAGES) if scale_decay else 1.0
    return Timeline(images=images, epochs=epochs, phases=tuple(phases), decay_scale=decay_scale)


def exponential_decay(step: float, *, lr: float, decay: float, decay_steps: float) -> float:
    """The exponentially decaying rate of a step: `lr * decay ** (step / decay_steps)`."""
    return float(lr * decay ** (step / decay_steps))


def one_cycle(step: float, *, total_steps: int, lr_min: float, lr_max: float, half: float = 0.45) -> float:
    """The one-cycle rate of a step.

    It rises linearly to `lr_max` at the share `half` of the run, falls to `lr_min` at twice that share, and then falls
    linearly to `lr_min / 10` at the end of the run.

    Source: Eq. 1 of the paper.
    """
    position = step / total_steps
    if position <= half:
        return lr_min + (lr_max - lr_min) * position / half
    if position <= 2 * half:
        return lr_max - (lr_max - lr_min) * (position - half) / half
    return lr_min - 0.9 * lr_min * (position - 2 * half) / (1 - 2 * half)


def cosine_cycle(t: float, *, cycle_steps: float, lr_min: float, lr_max: float) -> float:
    """The rate `t` steps after a restart: half a cosine from `lr_max` at 0 to `lr_min` at `cycle_steps`.

    Source: Eq. 2 of the paper.
    """
    return lr_min + (lr_max - lr_min) / 2 * (1 + math.cos(math.pi * t / cycle_steps))


def polynomial_cycle(t: float, *, cycle_steps: float, lr_min: float, lr_max: float, power: float) -> float:
    """The rate `t` steps after a restart: `lr_min` plus `(1 - t / cycle_steps) ** power` of the range up to `lr_max`."""
    return float(lr_min + (lr_max - lr_min) * (1 - t / cycle_steps) ** power)


def tail_start(tail: float, total_steps: int) -> int:
    """The first step of the tail of a run.

    The tail is the last `tail * total_steps` steps, rounded: at least one, at most all but the first. A run of one step has no tail.
    """
    steps = max(1, math.floor(tail * total_steps + 0.5))
    return max(1, total_steps - steps)


def cycle_position(cycle: float | str, step: int, timeline: Timeline) -> tuple[int, int]:
    """(Steps since the last restart, steps of the cycle). A change of batch size is a restart, too."""
    phase = timeline.phase_of_step(step)
    in_phase = step - phase.first_step
    if isinstance(cycle, str):
        return in_phase, phase.epochs * phase.steps_per_epoch
    cycle_steps = max(1, math.floor(cycle * phase.steps_per_epoch + 0.5))
    return in_phase % cycle_steps, cycle_steps


def learning_rate(policy: LrPolicy, step: int, timeline: Timeline) -> float:
    """The learning rate of a `step`, which is 0 to total_steps - 1, in a run with this `timeline`."""
    match policy:
        case FixedRate():
            return policy.lr
        case ExponentialDecay():
            decay_steps = policy.decay_steps * timeline.decay_scale
            return exponential_decay(step, lr=policy.lr, decay=policy.decay, decay_steps=decay_steps)
        case OneCycle():
            return one_cycle(
                step, total_steps=timeline.total_steps, lr_min=policy.lr_min, lr_max=policy.lr_max, half=policy.half
            )
        case WarmRestarts():
            t, cycle_steps = cycle_position(policy.cycle, step, timeline)
            return cosine_cycle(t, cycle_steps=cycle_steps, lr_min=policy.lr_min, lr_max=policy.lr_max)
        case WarmRestartsPolynomial():
            t, cycle_steps = cycle_position(policy.cycle, step, timeline)
            return polynomial_cycle(t, cycle_steps=cycle_steps, lr_min=policy.lr_min, lr_max=policy.lr_max, power=policy.power)
        case FineTune():
            return policy.lr if step < tail_start(policy.tail, timeline.total_steps) else policy.tail_lr


def range_test_rate(step: int, *, steps: int, lr_start: float, lr_end: float) -> float:
    """The learning rate of a `step`, which is 0 to steps - 1, of a range test: geometric from `lr_start` to `lr_end`."""
    return float(lr_start * (lr_end / lr_start) ** (step / max(1, steps - 1)))
