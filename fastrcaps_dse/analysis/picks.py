"""The pick: the design on the front that suits a person's limits and preference, and the reasons for it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fastrcaps_dse.analysis import pareto
from fastrcaps_dse.analysis.uncertainty import SURE
from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.problem.objectives import Objective, costs_of, find_objective
from fastrcaps_dse.problem.quantities import counted, format_value, parse_quantity


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A bound on an objective, inclusive: the most or the least that is allowed."""

    objective: str
    bound: str  # "max" or "min"
    value: float  # in the objective's unit

    def admits(self, value: float) -> bool:
        return value <= self.value if self.bound == "max" else value >= self.value

    def violation(self, value: float) -> float:
        """By how much a value lies outside, in the objective's unit; 0 or less inside."""
        return value - self.value if self.bound == "max" else self.value - value

    def __str__(self) -> str:
        return f"{self.objective} {'<=' if self.bound == 'max' else '>='} {format_value(self.objective, self.value)}"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A measured design, as the pick sees it."""

    trial: int
    label: str
    values: Mapping[str, float]  # by objective name
    errors: Mapping[str, float] | None = None  # their standard errors, where a spread is known
    seeds: int = 1
    on_front: float | None = None  # the probability that it is on the front of the study

    @property
    def sure(self) -> bool:
        return self.on_front is not None and self.on_front >= SURE


@dataclass(frozen=True, kw_only=True)
class Pick:
    """The picked design and why, or the nearest miss where nothing satisfies the limits."""

    trial: int | None
    why: tuple[str, ...]
    nearest_miss: int | None


def parse_limit(objective: str, bound: str, text: str) -> Limit:
    """A limit from what a person writes, e.g. ("params", "max", "7M"). Raises InputError."""
    return Limit(objective=objective, bound=bound, value=parse_quantity(objective, text))


def parse_limits(texts: Sequence[str]) -> list[Limit]:
    """Limits from "latency<=5ms" or "acc>=99". Raises InputError."""
    limits = []
    for text in texts:
        name, sign, quantity = (
            re.split(r"\s*(<=|>=)\s*", text.strip(), maxsplit=1) if re.search("<=|>=", text) else (text, "", "")
        )
        if not sign:
            raise InputError(f"{text!r} is no limit", 'write it as "latency<=5ms" or "acc>=99"')
        limits.append(parse_limit(find_objective(name).name, "max" if sign == "<=" else "min", quantity))
    return limits


def check_limits(limits: Sequence[Limit]) -> None:
    """Raises InputError where two limits contradict each other."""
    for low in limits:
        for high in limits:
            if low.objective == high.objective and low.bound == "min" and high.bound == "max" and low.value > high.value:
                raise InputError(f"the limits {low} and {high} contradict each other", "loosen one of them")


@dataclass(frozen=True, kw_only=True)
class _Question:
    """What is asked of the pick."""

    candidates: Sequence[Candidate]
    objectives: Sequence[Objective]
    limits: Sequence[Limit]
    prefer: str

    def fitting(self) -> list[Candidate]:
        return [c for c in self.candidates if all(limit.admits(c.values[limit.objective]) for limit in self.limits)]

    def cost(self, candidate: Candidate) -> tuple[float, ...]:
        return costs_of(self.objectives, candidate.values)

    def members(self) -> list[Candidate]:
        """The front of the fitting candidates."""
        fitting = self.fitting()
        return [fitting[m] for m in pareto.front([self.cost(c) for c in fitting])]

    def answer(self) -> Candidate | None:
        """The picked candidate, or None where none satisfies the limits: the preferred one, or a surer one that equals it.

        One equals it that differs in what is preferred by no more than two standard errors of the difference.
        """
        first = self.preferred()
        if first is None or self.prefer == "knee" or first.errors is None or first.sure:
            return first
        name = self.prefer
        equal = [
            c
            for c in self.members()
            if c.sure
            and c.errors is not None
            and abs(c.values[name] - first.values[name]) <= 2 * math.hypot(c.errors[name], first.errors[name])
        ]
        return min(equal, key=self._order) if equal else first

    def _order(self, candidate: Candidate) -> tuple[float, ...]:
        """The preferred objective first, then the others."""
        names = [objective.name for objective in self.objectives]
        order = [names.index(self.prefer), *(i for i in range(len(names)) if names[i] != self.prefer)]
        return tuple(self.cost(candidate)[i] for i in order)

    def preferred(self) -> Candidate | None:
        """The best by the means alone."""
        members = self.members()
        if not members:
            return None
        if self.prefer == "knee":
            best = pareto.knee([self.cost(c) for c in members])
            assert best is not None
            return members[best]
        return min(members, key=self._order)


def pick(
    candidates: Sequence[Candidate], objectives: Sequence[Objective], limits: Sequence[Limit] = (), prefer: str | None = None
) -> Pick:
    """Pick among the non-dominated candidates that satisfy `limits`.

    `prefer` is an objective, whose extreme is picked (ties go to the other objectives, in order), or "knee". Without it, the
    first objective that no limit binds, in the study's order, is preferred. Raises InputError for an unknown preference.
    """
    names = [objective.name for objective in objectives]
    prefer = prefer or next((n for n in names if all(limit.objective != n for limit in limits)), names[0])
    if prefer != "knee" and prefer not in names:
        raise InputError(f"cannot prefer {prefer!r} in this study", nearest(prefer, [*names, "knee"]))
    check_limits(limits)
    for name in [*names, *(limit.objective for limit in limits)]:
        if any(name not in c.values for c in candidates):
            known = [n for n in candidates[0].values if all(n in c.values for c in candidates)]
            raise InputError(f"{name} was not measured of every design of this study", "it has " + ", ".join(known))
    question = _Question(candidates=candidates, objectives=objectives, limits=limits, prefer=prefer)
    chosen = question.answer()
    if chosen is None:
        return Pick(trial=None, why=_why_nothing(candidates, limits), nearest_miss=_nearest_miss(candidates, limits))
    return Pick(trial=chosen.trial, why=_why(chosen, question), nearest_miss=None)


def _why(chosen: Candidate, question: _Question) -> tuple[str, ...]:
    reason = "the knee of" if question.prefer == "knee" else f"the {_superlative(question.prefer)} of"
    allowed = " within " + ", ".join(map(str, question.limits)) if question.limits else ""
    others = [c for c in question.candidates if c is not chosen]
    beaten = sum(pareto.dominates(question.cost(chosen), question.cost(c)) for c in others)
    above = sum(pareto.dominates(question.cost(c), question.cost(chosen)) for c in others)
    return (
        f"{chosen.label} is {reason} {counted(len(question.fitting()), 'measured design')}{allowed}",
        f"it dominates {beaten} of the other {counted(len(others), 'design')}, and "
        + (f"{counted(above, 'design')} outside the limits dominate{'s' * (above == 1)} it" if above else "none dominates it"),
        *_surely(chosen, question),
        *_binding(chosen, question),
        *_next_designs(chosen, question),
    )


def _surely(chosen: Candidate, question: _Question) -> list[str]:
    """How sure its place on the front is, and what a less sure design promised."""
    if chosen.on_front is None:
        return []
    lines = [f"it is on the front with probability {chosen.on_front:.2f} ({counted(chosen.seeds, 'seed')})"]
    first = question.preferred()
    if first is not None and first.trial != chosen.trial:
        lines.append(f"preferred to one within its noise that is less sure: {trade(chosen, first, question.objectives)}")
    return lines


def _binding(chosen: Candidate, question: _Question) -> list[str]:
    """For each limit whether it binds, and what would be picked without it."""
    lines = []
    for limit in question.limits:
        without = replace(question, limits=[other for other in question.limits if other is not limit]).answer()
        if without is not None and without.trial != chosen.trial:
            lines.append(f"{limit} binds: without it, {trade(chosen, without, question.objectives)}")
        else:
            lines.append(f"{limit} does not bind")
    return lines


def _next_designs(chosen: Candidate, question: _Question) -> list[str]:
    """What the next design in each direction that the pick gives something up in would gain and cost."""
    lines = []
    for index, objective in enumerate(question.objectives):
        own = question.cost(chosen)[index]
        better = [c for c in question.members() if question.cost(c)[index] < own]
        if better and objective.name != question.prefer:
            step = max(better, key=lambda c: question.cost(c)[index])
            lines.append(f"next in {objective.name}: {trade(chosen, step, question.objectives)}")
    return lines


def trade(chosen: Candidate, other: Candidate, objectives: Sequence[Objective]) -> str:
    """What `other` gains and costs against `chosen`: "wab (trial 3): acc +0.30 %, time +2.1 s, params same"."""
    parts = []
    for objective in objectives:
        delta = other.values[objective.name] - chosen.values[objective.name]
        sign = "+" if delta > 0 else "-"
        parts.append(f"{objective.name} " + (sign + format_value(objective.name, abs(delta)) if delta else "same"))
    return f"{other.label} (trial {other.trial}): " + ", ".join(parts)


def _superlative(name: str) -> str:
    words = {
        "acc": "most accurate",
        "time": "fastest to its maximum accuracy",
        "params": "smallest",
        "epochs": "one with the fewest epochs to its maximum accuracy",
        "macs": "cheapest to compute",
        "memory": "one with the least memory",
        "latency": "fastest to classify an image",
    }
    return words.get(name) or f"fastest to {name.partition(':')[2]} %"


def _why_nothing(candidates: Sequence[Candidate], limits: Sequence[Limit]) -> tuple[str, ...]:
    if not candidates:
        return ("the study has no finished design yet",)
    lines = [f"none of the {counted(len(candidates), 'measured design')} satisfies " + ", ".join(map(str, limits))]
    for limit in limits:
        values = [c.values[limit.objective] for c in candidates]
        best = min(values) if limit.bound == "max" else max(values)
        if not limit.admits(best):
            lines.append(f"{limit}: the nearest measured value is {format_value(limit.objective, best)}")
    return tuple(lines)


def _nearest_miss(candidates: Sequence[Candidate], limits: Sequence[Limit]) -> int | None:
    """The design with the least total violation, each limit's in units of the spread of that objective."""
    if not candidates:
        return None

    def violation(candidate: Candidate) -> float:
        total = 0.0
        for limit in limits:
            values = [c.values[limit.objective] for c in candidates] + [limit.value]
            if not limit.admits(candidate.values[limit.objective]):
                total += abs(candidate.values[limit.objective] - limit.value) / ((max(values) - min(values)) or 1.0)
        return total

    return min(candidates, key=violation).trial
