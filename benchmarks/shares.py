"""How much of a table's front a search has found: shares of the hypervolume of true values, in three views.

- `whole`: a design is a point once its run has ended, with its accuracy, the seconds to it, its parameters.
- `anytime`: every epoch of every run is a point, with the accuracy so far, the seconds so far, the parameters.
- `accurate`: the same, but only what is as accurate as whole designs counts: its scale is that of `whole`, not that of all epochs, of
  which the first ones are far less accurate.

True values are means over the recorded seeds. Objectives are scaled to their ranges, time and parameters by their logarithm; the
reference point lies a tenth of the range beyond the worst values. Whole designs that never learned, with less than half of the best
accuracy, do not stretch the range.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.recorded import Cost, Recorded, RecordedTable
from fastrcaps_dse.analysis.pareto import hypervolume, nondominated

View = Literal["whole", "anytime", "accurate"]
BY_EPOCH: tuple[View, ...] = ("anytime", "accurate")
REFERENCE = (1.1, 1.1, 1.1)
LEARNED = 0.5  # of the best accuracy
Scaled = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The ranges of the objectives."""

    low: Scaled
    span: Scaled

    def of(self, cost: Cost) -> Scaled:
        """The costs over their ranges."""
        return tuple((c - a) / s for c, a, s in zip(logarithmic(cost), self.low, self.span, strict=True))


def logarithmic(cost: Cost) -> list[float]:
    """Accuracy as it is, time and parameters by their logarithm."""
    return [cost[0], math.log(cost[1]), math.log(cost[2])]


def scale_of(costs: Iterable[Cost]) -> Scale:
    """The scale of these points."""
    columns = [*zip(*map(logarithmic, costs), strict=True)]
    low = tuple(min(column) for column in columns)
    return Scale(low=low, span=tuple((max(column) - min(column)) or 1.0 for column in columns))


@dataclass(kw_only=True)
class Volume:
    """The hypervolume of points that come one by one."""

    front: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, len(REFERENCE))))
    volume: float = 0.0

    def gain(self, points: Sequence[Scaled]) -> float:
        """What these points would add."""
        new = self._new(points)
        return hypervolume(np.vstack([self.front, new]), REFERENCE) - self.volume if len(new) else 0.0

    def add(self, points: Sequence[Scaled]) -> float:
        """Take points in; the volume then."""
        new = self._new(points)
        if len(new):
            every = np.vstack([self.front, new])
            self.front = every[nondominated(every)]
            self.volume = hypervolume(self.front, REFERENCE)
        return self.volume

    def _new(self, points: Sequence[Scaled]) -> NDArray[np.float64]:
        """The points that lie below the reference and that no earlier one covers."""
        rows = np.asarray(points, dtype=np.float64).reshape(-1, len(REFERENCE))
        rows = rows[(rows < REFERENCE).all(axis=1)]
        better: NDArray[np.bool_] = np.all(self.front[None, :, :] <= rows[:, None, :], axis=2)
        new: NDArray[np.float64] = rows[~np.any(better, axis=1)]
        return new


def volume_of(points: Sequence[Scaled]) -> float:
    """The hypervolume of scaled points."""
    return hypervolume(np.asarray(points, dtype=np.float64).reshape(-1, len(REFERENCE)), REFERENCE)


@dataclass(frozen=True)
class Truth:
    """The true points of a table's designs, scaled, in each view."""

    designs: Mapping[str, Recorded]  # by key

    @cached_property
    def scales(self) -> dict[View, Scale]:
        """The scale of each view."""
        whole = [design.true_cost() for design in self.designs.values()]
        best = min(cost[0] for cost in whole)  # the accuracy is negative as a cost
        learned = scale_of(cost for cost in whole if cost[0] <= LEARNED * best)
        stopped = (cost for design in self.designs.values() for cost in design.true_stopped_costs())
        return {"whole": learned, "anytime": scale_of(stopped), "accurate": learned}

    @cached_property
    def whole(self) -> dict[str, Scaled]:
        """The point of each whole design, by key."""
        return {key: self.scales["whole"].of(design.true_cost()) for key, design in self.designs.items()}

    @cached_property
    def stopped(self) -> dict[View, dict[str, list[Scaled]]]:
        """The points after each epoch, by view and key."""
        costs = {key: design.true_stopped_costs() for key, design in self.designs.items()}
        return {view: {key: [*map(self.scales[view].of, row)] for key, row in costs.items()} for view in BY_EPOCH}

    @cached_property
    def volumes(self) -> dict[View, float]:
        """The hypervolume of all designs."""
        of_epochs = {view: volume_of([*itertools.chain(*self.stopped[view].values())]) for view in BY_EPOCH}
        return {"whole": volume_of([*self.whole.values()]), **of_epochs}

    def share(self, keys: Sequence[str]) -> float:
        """The hypervolume of these whole designs, as a share of that of all."""
        return volume_of([self.whole[key] for key in keys]) / self.volumes["whole"]

    def points(self, view: View, key: str, done: int, until: int) -> list[Scaled]:
        """The points that training a design from `done` to `until` epochs adds in a view."""
        if view != "whole":
            return self.stopped[view][key][done:until]
        return [self.whole[key]] if until == self.designs[key].epochs else []


def truth_of(table: RecordedTable) -> Truth:
    """The truth of a table."""
    return Truth({design.point.key: design for design in table.designs})


def shuffled(truth: Truth, seed: int) -> Truth:
    """The same truth with the recorded seeds of each design in random order, so that searches see different noise.

    Designs whose first epoch is the same training keep a common order.
    """
    orders: dict[int, list[int]] = {}
    designs = {}
    for key, design in truth.designs.items():
        recorded = sorted(design.curves)
        order = orders.setdefault(design.prefixes[0], random.Random(f"{seed} {key}").sample(recorded, len(recorded)))
        designs[key] = replace(design, curves={new: design.curves[old] for new, old in zip(recorded, order, strict=True)})
    found = Truth(designs)
    vars(found).update({name: getattr(truth, name) for name in ("scales", "whole", "stopped", "volumes")})  # means: the same
    return found
