"""Synthetic problems over spaces with continuous fields: accuracy, time and parameters of a design by closed formulas.

They have the shape of what CapsNets do. The error has a best peak rate, which depends on policy, batch size and weight sharing, and
above which it rises more steeply than below; smaller batches cost time and lower the error; the lowest rate, the cycle, the decay and
the shape of a policy have best values that depend on the batch size. A higher peak rate reaches its maximum earlier, so that each
choice of all else has a curve of trade-offs. The size of every effect is drawn once by the problem's seed. A measurement has the noise
of a seed.

The true front is that of all discrete choices, on a fine grid of peak rates, with all other continuous fields at their best value,
which is known: they change the error alone.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrcaps_dse.analysis.pareto import hypervolume, nondominated
from fastrcaps_dse.capsnet.sizes import ImageShape, parameter_count
from fastrcaps_dse.problem.ranges import Range, values_of
from fastrcaps_dse.problem.schedules import AdaBatchDoubling, BatchSchedule, FixedBatch, LrPolicy
from fastrcaps_dse.problem.space import PLAIN_DIMENSIONS, DesignPoint, DesignSpace, make_point
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.timelines import Timeline, build_timeline

SHAPE = ImageShape(channels=1, height=28, width=28, classes=10)
IMAGES = 2000  # of an epoch
RATES = 129  # of the grid of peak rates, for the true front
NOISE = 0.04  # standard deviation of a seed: of the logarithm of the error, and twice that of the share of the run
MOST_ERROR = 90.0  # %
LEAST_SHARE = 0.1
REFERENCE = (1.1, 1.1, 1.1)

SPACES = {
    "wide": """
epochs = 10
[space]
lr_policy = ["fixed", "exp-decay", "one-cycle", "warm-restarts", "warm-restarts-poly"]
batch_schedule = ["fixed", "adabatch", "adabatch-p"]
weight_sharing = [false, true]
decoder = ["full", "small"]
routing_iterations = [1, 2, 3]
shift = [0, 2]
[space.fields]
lr = { low = 3e-4, high = 3e-3, log = true }
lr_max = { low = 5e-4, high = 5e-3, log = true }
lr_min = { low = 1e-5, high = 4e-4, log = true }
decay = { low = 0.8, high = 0.99 }
half = { low = 0.2, high = 0.5 }
power = { low = 0.4, high = 2.5 }
cycle = [0.5, 1, 2, "phase"]
size = [16, 32, 64, 128]
head_batch = [1, 2, 4, 8]
head_epochs = { low = 1, high = 6 }
tail_batch = [16, 32, 64]
p = { low = 3, high = 6 }
""",
    "cycles": """
epochs = 10
[space]
lr_policy = ["one-cycle", "warm-restarts", "warm-restarts-poly"]
batch_schedule = ["fixed"]
weight_sharing = [false, true]
decoder = ["full", "small"]
routing_iterations = [1, 2, 3, 4]
[space.fields]
lr_max = { low = 3e-4, high = 1e-2, log = true }
lr_min = { low = 1e-5, high = 3e-4, log = true }
cycle = { low = 0.25, high = 5 }
power = { low = 0.4, high = 2.5 }
half = { low = 0.2, high = 0.5 }
size = { low = 8, high = 128, step = 4 }
""",
    "phases": """
epochs = 30
[space]
lr_policy = ["fixed", "exp-decay", "one-cycle"]
batch_schedule = ["adabatch", "adabatch-p"]
weight_sharing = [false, true]
decoder = ["full", "small"]
routing_iterations = [2, 3]
shift = [0, 1, 2]
[space.fields]
lr = { low = 1e-4, high = 5e-3, log = true }
lr_max = { low = 3e-4, high = 1e-2, log = true }
lr_min = { low = 1e-5, high = 3e-4, log = true }
decay = { low = 0.8, high = 0.99 }
half = { low = 0.2, high = 0.5 }
head_batch = { low = 1, high = 8 }
head_epochs = { low = 1, high = 12 }
tail_batch = [8, 16, 32, 64, 128]
p = { low = 3, high = 6 }
""",
}
"""The spaces of the problems by name, as study files write them."""

RATE_FIELDS = ("lr", "lr_max")


@dataclass(frozen=True, kw_only=True)
class Effects:
    """How much each choice matters. Errors are by their natural logarithm; rates, too."""

    policy: Mapping[str, float]  # of the error
    policy_rate: Mapping[str, float]  # of the best rate
    policy_share: Mapping[str, float]  # of the share of the run
    weight_sharing: float
    decoder: float
    routing: float
    routing_with_weight_sharing: float
    shift: float
    batch: float  # for each doubling of the last batch
    head: float  # for a head of smaller batches over the whole run
    batch_rate: float  # of the best rate, for each doubling
    weight_sharing_rate: float
    routing_rate: float
    width: float  # of the rates that do alike
    bend: float  # of the error, at a distance of a width below the best rate
    haste: float  # of the share of the run, for a width
    shapes: Mapping[str, tuple[float, float]]  # (weight, best value at batch size 16) of the fields that change the error alone


SHAPE_FIELDS: Mapping[
    str, tuple[float, float]
] = {  # (lowest, highest) of the best value at batch size 16, scaled as `_scaled` does
    "lr_min": (math.log(3e-5), math.log(2e-4)),
    "cycle": (math.log(0.5), math.log(3.0)),
    "power": (math.log(0.6), math.log(1.8)),
    "half": (-1.5, -0.8),
    "decay": (-0.2, -0.03),
}
DRIFT = {"lr_min": 0.3, "cycle": 0.25, "power": 0.1, "half": 0.05, "decay": -0.01}
"""How the best value of a field moves with each doubling of the last batch."""


@cache
def drawn_effects(seed: int) -> Effects:
    """The effects of a problem."""
    generator = np.random.default_rng(seed)
    policies = ("fixed", "exp-decay", "one-cycle", "warm-restarts", "warm-restarts-poly")

    def one(low: float, high: float) -> float:
        return float(generator.uniform(low, high))

    def each(low: float, high: float) -> dict[str, float]:
        return {name: one(low, high) for name in policies}

    return Effects(
        policy=each(0.0, 0.35),
        policy_rate=each(-0.4, 0.4),
        policy_share=each(-0.1, 0.1),
        weight_sharing=one(0.1, 0.3),
        decoder=one(-0.05, 0.1),
        routing=one(0.03, 0.12),
        routing_with_weight_sharing=one(-0.05, 0.05),
        shift=one(-0.08, 0.08),
        batch=one(0.06, 0.15),
        head=one(0.2, 0.5),
        batch_rate=one(0.25, 0.45),
        weight_sharing_rate=one(-0.3, 0.3),
        routing_rate=one(-0.15, 0.15),
        width=one(0.6, 0.9),
        bend=one(0.12, 0.25),
        haste=one(0.12, 0.2),
        shapes={name: (one(0.08, 0.25), one(*span)) for name, span in SHAPE_FIELDS.items()},
    )


def _scaled(name: str, value: float) -> float:
    """A field on the scale on which its effect is a parabola."""
    return value - 1.0 if name == "decay" else math.log(value)


def _unscaled(name: str, value: float) -> float:
    return value + 1.0 if name == "decay" else math.exp(value)


UNIT = {"lr_min": 1.0, "cycle": 0.8, "power": 0.6, "half": 0.4, "decay": 0.08}
"""Distances from the best value that cost a field's weight, on its scale."""


def batches_of(schedule: BatchSchedule) -> tuple[int, int]:
    """(first batch, last batch) of a schedule, in images."""
    if isinstance(schedule, FixedBatch):
        return schedule.size, schedule.size
    return schedule.head_batch, 2 ** (schedule.p + 2) if isinstance(schedule, AdaBatchDoubling) else schedule.tail_batch


def rate_of(policy: LrPolicy) -> float:
    """The peak rate of a policy."""
    return float(next(getattr(policy, name) for name in RATE_FIELDS if hasattr(policy, name)))


@cache
def _timeline(schedule: BatchSchedule, epochs: int) -> Timeline:
    return build_timeline(schedule, epochs=epochs, images=IMAGES)


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """A synthetic problem."""

    name: str
    space: DesignSpace
    epochs: int
    seed: int  # of the effects

    @cached_property
    def effects(self) -> Effects:
        """How much each choice matters."""
        return drawn_effects(self.seed)

    def timeline(self, point: DesignPoint) -> Timeline:
        """The phases of a run."""
        return _timeline(point.batch_schedule, self.epochs)

    def seconds(self, point: DesignPoint) -> float:
        """Of training, for the whole run: each step and each image cost their own."""
        size = (0.8 if point.weight_sharing else 1.0) * (0.95 if point.decoder == "small" else 1.0)
        image = 2e-3 * size * (1.0 + 0.15 * (point.routing_iterations - 3))
        return self.timeline(point).total_steps * 0.01 + self.epochs * IMAGES * image

    def params(self, point: DesignPoint) -> float:
        """The trainable parameters."""
        return float(parameter_count(point, SHAPE))

    def doublings(self, point: DesignPoint) -> float:
        """Of the last batch, from 16 images on."""
        return math.log2(batches_of(point.batch_schedule)[1] / 16)

    def best_rate(self, point: DesignPoint) -> float:
        """The logarithm of the peak rate with the least error."""
        effects = self.effects
        moved = effects.policy_rate[point.lr_policy.name] + effects.batch_rate * self.doublings(point)
        moved += effects.weight_sharing_rate * point.weight_sharing + effects.routing_rate * (point.routing_iterations - 3)
        return math.log(1e-3) + moved

    def best_value(self, name: str, point: DesignPoint) -> float:
        """The best value of a field that changes the error alone, on its scale."""
        return self.effects.shapes[name][1] + DRIFT[name] * self.doublings(point)

    def level(self, point: DesignPoint) -> float:
        """The logarithm of the error at the best peak rate."""
        effects, timeline = self.effects, self.timeline(point)
        first, last = batches_of(point.batch_schedule)
        head = timeline.phases[0].epochs / self.epochs if len(timeline.phases) > 1 else 0.0
        routed = 3 - min(3, point.routing_iterations)
        level = math.log(4.0) + effects.policy[point.lr_policy.name] + effects.batch * self.doublings(point)
        level += effects.weight_sharing * point.weight_sharing + effects.decoder * (point.decoder == "small")
        level += (
            routed * (effects.routing + effects.routing_with_weight_sharing * point.weight_sharing)
            + effects.shift * point.shift
        )
        level -= effects.head * math.sqrt(head) * math.log2(last / first) / 5 if last > first else 0.0
        for field in fields(point.lr_policy):
            if field.name in SHAPE_FIELDS:
                value = self._number(field.name, getattr(point.lr_policy, field.name), timeline)
                off = (_scaled(field.name, value) - self.best_value(field.name, point)) / UNIT[field.name]
                level += effects.shapes[field.name][0] * off**2
        return level

    @staticmethod
    def _number(name: str, value: float | str, timeline: Timeline) -> float:
        """The value of a field as a number: a cycle of a phase is as long as the longest one."""
        return float(max(phase.epochs for phase in timeline.phases)) if name == "cycle" and value == "phase" else float(value)

    def curve(self, point: DesignPoint, log_rates: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(error in %, share of the run until the highest accuracy) of a design with each of these peak rates, by their logarithm."""
        effects = self.effects
        off = (log_rates - self.best_rate(point)) / effects.width
        error = np.exp(self.level(point) + effects.bend * off**2 * np.where(off > 0, 2.0, 1.0))
        share = (
            0.6 + effects.policy_share[point.lr_policy.name] - effects.haste * np.minimum(off, 1.0)
        )  # what diverges is no faster
        return np.minimum(error, MOST_ERROR), np.clip(share, LEAST_SHARE, 1.0)

    def truth(self, point: DesignPoint) -> dict[str, float]:
        """The objectives of a design, without noise."""
        error, share = self.curve(point, np.array([math.log(rate_of(point.lr_policy))]))
        return {"acc": 100.0 - float(error[0]), "time": float(share[0]) * self.seconds(point), "params": self.params(point)}

    def measured(self, point: DesignPoint, seed: int) -> dict[str, float]:
        """The same as a run with this seed measures it."""
        true, whole = self.truth(point), self.seconds(point)
        noise = np.random.default_rng(zlib.crc32(f"{self.name} {point.key} {seed}".encode())).standard_normal(2)
        error = min(MOST_ERROR, (100.0 - true["acc"]) * math.exp(NOISE * noise[0]))
        share = min(1.0, max(LEAST_SHARE, true["time"] / whole * math.exp(2 * NOISE * noise[1])))
        return {"acc": 100.0 - error, "time": share * whole, "params": true["params"]}

    def costs(self, points: Sequence[DesignPoint]) -> NDArray[np.float64]:
        """True costs [N, 3]: the error, and time and parameters by their logarithm."""
        true = [self.truth(point) for point in points]
        return np.array([[100.0 - t["acc"], math.log(t["time"]), math.log(t["params"])] for t in true]).reshape(-1, 3)

    @cached_property
    def true_front(self) -> NDArray[np.float64]:
        """The costs of the true front [F, 3]."""
        found: dict[float, list[NDArray[np.float64]]] = {}
        for point, rates in self._cells():
            error, share = self.curve(point, rates)
            costs = np.stack(
                [error, np.log(share * self.seconds(point)), np.full(len(error), math.log(self.params(point)))], axis=1
            )
            found.setdefault(self.params(point), []).append(costs)
        members: list[NDArray[np.float64]] = []
        for parts in found.values():
            for first in range(0, len(parts), 2000):
                chunk = np.concatenate(parts[first : first + 2000])
                members.append(chunk[nondominated(chunk)])
        every = np.concatenate(members)
        return every[nondominated(every)]

    def _cells(self) -> Iterator[tuple[DesignPoint, NDArray[np.float64]]]:
        """Each discrete choice with the other fields at their best, and its grid of peak rates by their logarithm."""
        rest = [getattr(self.space, name) for name in PLAIN_DIMENSIONS]
        schedules = [s for base in self.space.batch_schedule for s in _variants(self.space, base)]
        for schedule, policy in itertools.product(schedules, self.space.lr_policy):
            rates = next(choice for name, choice in self.space.fields_of(policy).items() if name in RATE_FIELDS)
            assert isinstance(rates, Range)
            grid = np.linspace(math.log(rates.low), math.log(rates.high), RATES)
            example = DesignPoint(lr_policy=policy, batch_schedule=schedule)
            best = {}
            for name, choice in self.space.fields_of(policy).items():
                if isinstance(choice, Range) and name in SHAPE_FIELDS:
                    best[name] = min(choice.high, max(choice.low, _unscaled(name, self.best_value(name, example))))
            for variant in _variants(self.space, policy, best):
                for values in itertools.product(*rest):
                    plain: dict[str, Any] = dict(zip(PLAIN_DIMENSIONS, values, strict=True))
                    yield make_point(lr_policy=variant, batch_schedule=schedule, **plain), grid

    @cached_property
    def scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """(ideal point, range of the true front, its hypervolume up to 1.1 times this range)."""
        low, high = self.true_front.min(axis=0), self.true_front.max(axis=0)
        return low, high - low, hypervolume((self.true_front - low) / (high - low), REFERENCE)

    def share(self, costs: NDArray[np.float64]) -> float:
        """The hypervolume of these costs [N, 3] as a share of that of the true front."""
        low, span, whole = self.scale
        return hypervolume((costs - low) / span, REFERENCE) / whole


def _variants(space: DesignSpace, base: Any, fixed: Mapping[str, float] | None = None) -> Iterator[Any]:
    """A policy or schedule with each value of its open fields; of `fixed`, and of peak rates, one value."""
    open_here = {n: c for n, c in space.fields_of(base).items() if n not in RATE_FIELDS}
    choices = [[fixed[n]] if fixed and n in fixed else [*values_of(c)] for n, c in open_here.items()]
    for values in itertools.product(*choices):
        yield space.with_fields(base, dict(zip(open_here, values, strict=True)))


def landscape(name: str, seed: int = 1) -> Landscape:
    """The problem of this name, with the effects that the seed draws."""
    spec = parse_study(SPACES[name], default_name=name, source=name)
    return Landscape(name=name, space=spec.space, epochs=spec.epochs, seed=seed)
