"""The recorded tables that searches are replayed on: their designs, data, and files in reports/benchmarks/.

`grid` has the 48 designs of a grid. `wide` and `lenet5` have designs of the paper's space with continuous fields, in an order that fills
the space evenly: the first designs are a fair sample of all, however few of them are recorded. `wide` has CapsNets; runs whose first
batch size is 1 would take hours there, so its batch sizes begin at 8. `lenet5` has the network that the paper compares with, whose runs
take seconds; all its designs have the same number of parameters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import qmc

from benchmarks import record
from fastrcaps_dse.problem.notation import parse_policy, parse_schedule
from fastrcaps_dse.problem.ranges import Choice, Range
from fastrcaps_dse.problem.schedules import is_whole_number
from fastrcaps_dse.problem.space import DesignPoint, DesignSpace, Network, make_point, parse_design

GRID_POLICIES = ("fixed", "one-cycle", "warm-restarts")
GRID_SCHEDULES = ("16", "32", "128", "adabatch(head_batch=8,tail_batch=64)")
WIDE_POLICIES = ("fixed", "exp-decay", "one-cycle", "warm-restarts", "warm-restarts-poly")
WIDE_SCHEDULES = ("fixed", "fixed", "adabatch", "adabatch-p")  # half of the designs have one batch size
WIDE_FIELDS: Mapping[str, Choice] = {
    "lr": Range(low=3e-4, high=3e-3, log=True),
    "lr_max": Range(low=5e-4, high=5e-3, log=True),
    "lr_min": Range(low=1e-5, high=4e-4, log=True),
    "decay_steps": (50, 200, 800),
    "cycle": (0.5, 1.0, 2.0, "phase"),
    "size": (16, 32, 64, 128),
    "head_batch": (8, 16),
    "head_epochs": Range(low=1, high=6, step=1),
    "tail_batch": (32, 64, 128),
    "p": (4, 5),
}
LENET5_FIELDS: Mapping[str, Choice] = {
    **WIDE_FIELDS,
    "size": (4, 8, 16, 32, 64, 128),
    "head_batch": (1, 2, 4, 8),
    "tail_batch": (16, 32, 64, 128),
    "p": (2, 3, 4, 5),
}
FIRST_FIELD = 4  # coordinates before it: policy, schedule, weight sharing, decoder
WIDE_AXES: Mapping[str, int] = {  # the coordinate that a field takes; no design has two fields of one coordinate
    "lr": 4,
    "lr_max": 4,
    "lr_min": 5,
    "decay_steps": 6,
    "cycle": 6,
    "size": 7,
    "head_batch": 7,
    "head_epochs": 8,
    "tail_batch": 9,
    "p": 9,
}
WIDE_BLOCKS, WIDE_BLOCK = 8, 8  # Latin hypercubes one after the other, and the designs of each


@dataclass(frozen=True, kw_only=True)
class TablePlan:
    """What a table is to hold, and where its files are."""

    name: str
    csv: Path
    dataset: str
    epochs: int
    seeds: int
    designs: Callable[[], list[DesignPoint]]  # in the order in which they are recorded
    network: Network = "capsnet"  # of all designs
    steps: str = "step-times"  # the record of the seconds of their steps
    space: Callable[[], DesignSpace]  # which they are all of, or a sample


def grid_designs() -> list[DesignPoint]:
    """The designs of the grid."""
    grid = itertools.product(GRID_POLICIES, GRID_SCHEDULES, ("false", "true"), ("full", "small"))
    return [
        parse_design(f"lr_policy={policy} batch_schedule={schedule} weight_sharing={sharing} decoder={decoder}")
        for policy, schedule, sharing, decoder in grid
    ]


def grid_space() -> DesignSpace:
    """The space of the grid's designs."""
    return DesignSpace(
        lr_policy=tuple(map(parse_policy, GRID_POLICIES)), batch_schedule=tuple(map(parse_schedule, GRID_SCHEDULES))
    )


def wide_space(network: Network = "capsnet") -> DesignSpace:
    """The space that the wide table, or that of LeNet5, is a sample of."""
    return DesignSpace(
        lr_policy=tuple(parse_policy(text) for text in WIDE_POLICIES),
        batch_schedule=tuple(dict.fromkeys(parse_schedule(text) for text in WIDE_SCHEDULES)),
        network=(network,),
        open_fields=WIDE_FIELDS if network == "capsnet" else LENET5_FIELDS,
    )


def wide_designs(network: Network = "capsnet") -> list[DesignPoint]:
    """Designs at the points of small Latin hypercubes: each has every part of every coordinate once."""
    return [*_wide_designs(network)]


@cache
def _wide_designs(network: Network) -> tuple[DesignPoint, ...]:
    cubes = qmc.LatinHypercube(
        d=FIRST_FIELD + len({*WIDE_AXES.values()}), optimization="random-cd", rng=np.random.default_rng(0)
    )
    coordinates = [at for _ in range(WIDE_BLOCKS) for at in cubes.random(WIDE_BLOCK).tolist()]
    return tuple(dict.fromkeys(_wide_design(at, network) for at in coordinates))


def _wide_design(at: list[float], network: Network) -> DesignPoint:
    """The design at a point of the unit cube."""
    space = wide_space(network)
    parts: dict[str, Any] = {
        "lr_policy": parse_policy(_pick(WIDE_POLICIES, at[0])),
        "batch_schedule": parse_schedule(_pick(WIDE_SCHEDULES, at[1])),
    }
    for dimension, part in parts.items():
        opened = {name: _value(name, choice, at[WIDE_AXES[name]]) for name, choice in space.fields_of(part).items()}
        parts[dimension] = space.with_fields(part, opened)
    rest = {"weight_sharing": at[2] < 0.5, "decoder": "full" if at[3] < 0.5 else "small"}
    return make_point(**parts, **rest, network=network)


def _pick(choices: tuple[Any, ...], share: float) -> Any:
    return choices[min(int(share * len(choices)), len(choices) - 1)]


def _value(name: str, choice: Choice, share: float) -> float | str:
    """The value of a field at this share of its choices or its range."""
    if not isinstance(choice, Range):
        picked: float | str = _pick(choice, share)
        return picked
    if is_whole_number(name):
        return float(_pick(tuple(choice.values()), share))
    if choice.log:
        return math.exp(math.log(choice.low) + share * (math.log(choice.high) - math.log(choice.low)))
    return choice.low + share * (choice.high - choice.low)


TABLES: Mapping[str, TablePlan] = {
    "grid": TablePlan(
        name="grid",
        csv=record.PLACE / "search-table.csv",
        dataset="fashion-mnist-sample",
        epochs=10,
        seeds=3,
        designs=grid_designs,
        space=grid_space,
    ),
    "wide": TablePlan(
        name="wide",
        csv=record.PLACE / "search-table-wide.csv",
        dataset="fashion-mnist-sample",
        epochs=30,
        seeds=3,
        designs=wide_designs,
        space=wide_space,
    ),
    "lenet5": TablePlan(
        name="lenet5",
        csv=record.PLACE / "search-table-lenet5.csv",
        dataset="fashion-mnist-sample",
        epochs=30,
        seeds=3,
        designs=partial(wide_designs, "lenet5"),
        space=partial(wide_space, "lenet5"),
        network="lenet5",
        steps="step-times-lenet5",
    ),
}
