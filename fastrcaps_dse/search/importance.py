"""How much each dimension of the designs matters for an objective, by Optuna's PED-ANOVA.

Source: Watanabe, Bansal, Hutter (2023), PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, create_trial

from fastrcaps_dse.problem.objectives import Objective, costs_of
from fastrcaps_dse.problem.space import PLAIN_DIMENSIONS, DesignPoint

LEAST_DESIGNS = 12  # that are measured; with fewer, an importance is chance
TOP_SHARE = 0.1  # of the designs: what the best ones are
LEAST_TOP = 5  # of the best designs: in a small study their share is larger
MOST_KINDS = 8  # values of a number that count as kinds; more are a range
RATES = ("lr", "lr_max")  # the highest learning rate of a policy, whatever the policy calls it


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The importance of each dimension for one objective."""

    objective: str
    shares: Mapping[str, float]  # by dimension, the most important first; they add up to 1, or are all 0
    top: int  # how many designs count as the best


def importances(
    designs: Sequence[DesignPoint], values: Sequence[Mapping[str, float]], objectives: Sequence[Objective]
) -> list[Importance]:
    """The importance of each dimension that varies, for each objective, from measured designs and their values.

    PED-ANOVA compares how a dimension is distributed among the best designs with how it is among all. A field of a policy or a schedule
    counts where the policy has it. Empty where fewer than `LEAST_DESIGNS` are measured, or no dimension varies.
    """
    named = [parameters_of(design) for design in designs]
    spaces = _distributions(named)
    if len(designs) < LEAST_DESIGNS or not spaces:
        return []
    share = max(TOP_SHARE, min(0.5, LEAST_TOP / len(designs)))
    found = []
    for objective in objectives:
        trials = [
            _trial({name: p[name] for name in p if name in spaces}, spaces, costs_of([objective], v)[0])
            for p, v in zip(named, values, strict=True)
        ]
        shares = _shares(trials, share)
        found.append(Importance(objective=objective.name, shares=shares, top=max(1, round(share * len(designs)))))
    return found


def parameters_of(design: DesignPoint) -> dict[str, Any]:
    """A design as parameters: its kinds of policy and schedule, their fields, and the plain dimensions."""
    found: dict[str, Any] = {"lr_policy": design.lr_policy.name, "batch_schedule": design.batch_schedule.name}
    for dimension in ("lr_policy", "batch_schedule"):
        part = getattr(design, dimension)
        for field in fields(part):
            name = "learning_rate" if field.name in RATES else f"{dimension}.{field.name}"
            found[name] = getattr(part, field.name)
    return found | {name: getattr(design, name) for name in PLAIN_DIMENSIONS}


def _distributions(named: Sequence[Mapping[str, Any]]) -> dict[str, BaseDistribution]:
    """The distribution of each parameter that varies."""
    found: dict[str, BaseDistribution] = {}
    for name in dict.fromkeys(name for parameters in named for name in parameters):
        values = {parameters[name] for parameters in named if name in parameters}
        numbers = [float(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if len(values) < 2:
            continue
        if len(numbers) == len(values) > MOST_KINDS:
            low, high = min(numbers), max(numbers)
            found[name] = FloatDistribution(low, high, log=low > 0 and high / low >= 10)
        else:
            found[name] = CategoricalDistribution(sorted(values, key=lambda v: (isinstance(v, str), v)))
    return found


def _trial(parameters: Mapping[str, Any], spaces: Mapping[str, BaseDistribution], cost: float) -> FrozenTrial:
    chosen = {name: spaces[name] for name in parameters}
    exact = {n: float(v) if isinstance(chosen[n], FloatDistribution) else v for n, v in parameters.items()}
    return create_trial(value=cost, params=exact, distributions=chosen)


def _shares(trials: Sequence[FrozenTrial], share: float) -> dict[str, float]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study()
        study.add_trials(trials)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of equal costs, which give importances of 0
            found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=share), normalize=False)
    finally:
        optuna.logging.set_verbosity(verbosity)
    total = sum(found.values())
    return {name: value / total if total > 0 else 0.0 for name, value in found.items()}
