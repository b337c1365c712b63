"""Designs as Optuna's parameters, designs at random, and samplers by name."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from fastrcaps_dse.problem.notation import parse_policy, parse_schedule, to_text
from fastrcaps_dse.problem.ranges import Choice, Range
from fastrcaps_dse.problem.schedules import is_whole_number
from fastrcaps_dse.problem.space import DesignPoint, DesignSpace, make_point


def distributions(space: DesignSpace) -> dict[str, BaseDistribution]:
    """Optuna's distributions for the dimensions that every design has. A study of an earlier version goes on with those of then."""
    category = optuna.distributions.CategoricalDistribution
    policies: list[Any] = [to_text(part) for part in space.lr_policy]
    schedules: list[Any] = [to_text(part) for part in space.batch_schedule]
    return {
        "lr_policy": category(policies),
        "batch_schedule": category(schedules),
        **{name: category(list(getattr(space, name))) for name in space.stated_dimensions},
    }


def field_distribution(name: str, choice: Choice) -> BaseDistribution:
    """Optuna's distribution for an open field of a policy or schedule."""
    if not isinstance(choice, Range):
        return optuna.distributions.CategoricalDistribution(list(choice))
    if is_whole_number(name):
        return optuna.distributions.IntDistribution(int(choice.low), int(choice.high), step=int(choice.step or 1))
    return optuna.distributions.FloatDistribution(choice.low, choice.high, log=choice.log, step=choice.step)


def suggest(trial: optuna.trial.BaseTrial, space: DesignSpace) -> DesignPoint:
    """The design that the sampler proposes, or that a fixed trial holds."""
    values: dict[str, Any] = {name: suggest_one(trial, name, d) for name, d in distributions(space).items()}
    parts: dict[str, Any] = {
        "lr_policy": parse_policy(values["lr_policy"]),
        "batch_schedule": parse_schedule(values["batch_schedule"]),
    }
    for dimension, part in parts.items():
        opened = {
            name: suggest_one(trial, f"{dimension}.{name}", field_distribution(name, choice))
            for name, choice in space.fields_of(part).items()
        }
        values[dimension] = space.with_fields(part, opened)
    return make_point(**values)


def sample_design(space: DesignSpace, generator: random.Random) -> DesignPoint:
    """A design at random: choices alike, ranges evenly (by their logarithm where they say so)."""

    def part(base: Any) -> Any:
        return space.with_fields(
            base, {name: sample_field(choice, generator) for name, choice in space.fields_of(base).items()}
        )

    plain = {name: generator.choice(getattr(space, name)) for name in space.stated_dimensions}
    policy, schedule = generator.choice(space.lr_policy), generator.choice(space.batch_schedule)
    return make_point(lr_policy=part(policy), batch_schedule=part(schedule), **plain)


def sample_field(choice: Choice, generator: random.Random) -> float | str:
    """A value of a field at random."""
    if not isinstance(choice, Range):
        return generator.choice(choice)
    if choice.log:
        return math.exp(generator.uniform(math.log(choice.low), math.log(choice.high)))
    if choice.step is None:
        return generator.uniform(choice.low, choice.high)
    return choice.low + choice.step * generator.randrange(choice.count)


def suggest_one(trial: optuna.trial.BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    """One parameter of a trial, through Optuna's public methods."""
    match distribution:
        case optuna.distributions.CategoricalDistribution():
            return trial.suggest_categorical(name, distribution.choices)
        case optuna.distributions.IntDistribution():
            return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step)
        case optuna.distributions.FloatDistribution():
            return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
    raise TypeError(f"unknown distribution {distribution}")


def parameters(point: DesignPoint, space: DesignSpace) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """(Optuna's parameters, their distributions) of a design that the space admits."""
    chosen = distributions(space)
    values: dict[str, Any] = {name: getattr(point, name) for name in chosen}
    for dimension in ("lr_policy", "batch_schedule"):
        part = getattr(point, dimension)
        base = space.base_of(part)
        if base is None:
            raise ValueError(f"the space does not admit {to_text(part)}")
        values[dimension] = to_text(base)
        for name, choice in space.fields_of(part).items():
            chosen[f"{dimension}.{name}"] = field_distribution(name, choice)
            values[f"{dimension}.{name}"] = getattr(part, name)
    return values, chosen


def point_of(trial: FrozenTrial, space: DesignSpace) -> DesignPoint:
    """The design of a stored trial."""
    return suggest(optuna.trial.FixedTrial(dict(trial.params)), space)


def make_sampler(name: str, seed: int, *, crowded: bool = False) -> optuna.samplers.BaseSampler:
    """Optuna's sampler of this name; `crowded` where it proposes while others of its designs are still trained."""
    samplers = optuna.samplers
    makers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "tpe": lambda: samplers.TPESampler(seed=seed, constant_liar=crowded),
        "nsga2": lambda: samplers.NSGAIISampler(seed=seed, population_size=20),
        "gp": lambda: samplers.GPSampler(seed=seed),
        "random": lambda: samplers.RandomSampler(seed=seed),
    }
    return makers[name]()
