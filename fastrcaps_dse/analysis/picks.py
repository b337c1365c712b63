"""The pick: the design on the front that fits the limits and the preference of a person, and the reasons for it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fastrcaps_dse.analysis import pareto
from fastrcaps_dse.analysis.uncertainty import SURE
from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.problem.objectives import Objective, costs_of, find_objective
from fastrcaps_dse.problem.quantities import counted, format_difference, format_value, parse_quantity

SUPERLATIVES = {
    "acc": "most accurate",
    "time": "fastest to its maximum accuracy",
    "params": "smallest",
    "epochs": "one with the fewest epochs to its maximum accuracy",
    "macs": "cheapest to compute",
    "memory": "one with the least memory",
    "latency": "fastest to classify an image",
    "robust": "most accurate on affine copies",
}
"""What the extreme of an objective is called. That of `time_to:ACC` has the accuracy in it."""
ANYTIME_SUPERLATIVES = {**SUPERLATIVES, "time": "fastest", "epochs": "one with the fewest epochs"}
"""The same in the anytime view, where a run need not go on to its maximum accuracy."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The highest or the lowest value of an objective that is allowed."""

    objective: str  # its name
    bound: str  # "max" or "min"
    value: float  # in the objective's unit, allowed itself

    def admits(self, value: float) -> bool:
        """Whether a value, in the objective's unit, is within the limit."""
        return value <= self.value if self.bound == "max" else value >= self.value

    def violation(self, value: float) -> float:
        """How far a value is outside the limit, in the objective's unit; 0 or less for a value within it."""
        return value - self.value if self.bound == "max" else self.value - value

    def __str__(self) -> str:
        return f"{self.objective} {'<=' if self.bound == 'max' else '>='} {format_value(self.objective, self.value)}"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A measured design, from which to pick."""

    trial: int  # its number
    stop_after: int | None = None  # epochs, in the anytime view
    label: str
    values: Mapping[str, float]  # by objective name
    errors: Mapping[str, float] | None = None  # standard errors of the values; None if no spread is known
    seeds: int = 1
    on_front: float | None = None  # probability of being on the front of the study; None if no spread is known

    @property
    def key(self) -> tuple[int, int | None]:
        """What tells it from all others: its trial, and after which epoch it is stopped."""
        return self.trial, self.stop_after

    @property
    def sure(self) -> bool:
        """Whether the design is almost certainly on the front of the study."""
        return self.on_front is not None and self.on_front >= SURE


@dataclass(frozen=True, kw_only=True)
class Pick:
    """The picked design and the reasons, or the nearest miss if no design satisfies the limits."""

    trial: int | None  # of the pick; None if no design satisfies the limits
    stop_after: int | None = None  # epochs of the pick or the nearest miss, in the anytime view
    why: tuple[str, ...]  # one sentence each
    nearest_miss: int | None  # trial of the design that violates the limits least; None if there is a pick, or no design


def parse_limit(objective: str, bound: str, text: str) -> Limit:
    """The limit of an objective and a bound, with the quantity as a person writes it: ("params", "max", "7M"). Raises InputError."""
    return Limit(objective=objective, bound=bound, value=parse_quantity(objective, text))


def parse_limits(texts: Sequence[str]) -> list[Limit]:
    """The limits of texts such as "latency<=5ms" or "acc>=99". Raises InputError."""
    limits = []
    for text in texts:
        match = re.fullmatch(r"(.*?)\s*(<=|>=)\s*(.*)", text.strip(), flags=re.DOTALL)
        if match is None:
            raise InputError(f"{text!r} is not a valid limit; use <= or >=", 'e.g. "latency<=5ms" or "acc>=99"')
        limits.append(parse_limit(find_objective(match[1]).name, "max" if match[2] == "<=" else "min", match[3]))
    return limits


def check_limits(limits: Sequence[Limit]) -> None:
    """Refuse limits that no value satisfies. Raises InputError for two that contradict each other."""
    for low in limits:
        for high in limits:
            if low.objective == high.objective and low.bound == "min" and high.bound == "max" and low.value > high.value:
                raise InputError(f"the limits {low} and {high} contradict each other", "loosen one of them")


@dataclass(frozen=True, kw_only=True)
class _Question:
    """What to pick from, and how: the arguments of `pick`, checked."""

    candidates: Sequence[Candidate]
    objectives: Sequence[Objective]
    limits: Sequence[Limit]
    prefer: str

    def fitting(self) -> list[Candidate]:
        """The candidates that satisfy the limits."""
        return [c for c in self.candidates if all(limit.admits(c.values[limit.objective]) for limit in self.limits)]

    @property
    def anytime(self) -> bool:
        """Whether the candidates are designs whose runs stop after some of their epochs."""
        return any(candidate.stop_after is not None for candidate in self.candidates)

    def cost(self, candidate: Candidate) -> tuple[float, ...]:
        """The costs of a candidate, in the order of the objectives."""
        return costs_of(self.objectives, candidate.values)

    def members(self) -> list[Candidate]:
        """The front of the fitting candidates."""
        fitting = self.fitting()
        return [fitting[m] for m in pareto.front([self.cost(c) for c in fitting])]

    def answer(self) -> Candidate | None:
        """The candidate to pick, or None if none satisfies the limits: the preferred one, or a surer one that equals it.

        A candidate equals the preferred one if the two differ in the preferred objective by at most two standard errors of
        their difference.
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
        """The candidate that is preferred by the means alone."""
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
    """The pick among the candidates that satisfy `limits` and that no other such candidate dominates, and the reasons for it.

    `objectives` are those of the study, in its order. `prefer` is the name of the one whose extreme is picked (the others decide
    ties, in order), or "knee". By default it is the first objective that has no limit.

    Raises InputError for an unknown preference, limits that contradict each other, or an objective that was not measured.
    """
    names = [objective.name for objective in objectives]
    prefer = prefer or next((n for n in names if all(limit.objective != n for limit in limits)), names[0])
    if prefer != "knee" and prefer not in names:
        raise InputError(f"cannot prefer {prefer!r} in this study", nearest(prefer, [*names, "knee"]))
    check_limits(limits)
    for name in [*names, *(limit.objective for limit in limits)]:
        if any(name not in c.values for c in candidates):
            common = [n for n in candidates[0].values if all(n in c.values for c in candidates)]
            raise InputError(f"{name} was not measured for every design of this study", "it has " + ", ".join(common))
    question = _Question(candidates=candidates, objectives=objectives, limits=limits, prefer=prefer)
    chosen = question.answer()
    if chosen is None:
        miss = _nearest_miss(candidates, limits)
        number, stop_after = (miss.trial, miss.stop_after) if miss is not None else (None, None)
        return Pick(trial=None, stop_after=stop_after, why=_why_nothing(question), nearest_miss=number)
    return Pick(trial=chosen.trial, stop_after=chosen.stop_after, why=_why(chosen, question), nearest_miss=None)


def _why(chosen: Candidate, question: _Question) -> tuple[str, ...]:
    reason = "the knee of" if question.prefer == "knee" else f"the {_superlative(question.prefer, question.anytime)} of"
    allowed = " within " + ", ".join(map(str, question.limits)) if question.limits else ""
    others = [c for c in question.candidates if c is not chosen]
    beaten = sum(pareto.dominates(question.cost(chosen), question.cost(c)) for c in others)
    above = sum(pareto.dominates(question.cost(c), question.cost(chosen)) for c in others)
    anytime = question.anytime
    better = f"{counted_designs(above, anytime)} outside the limits dominate{'s' * (above == 1)} it"
    return (
        f"{chosen.label} is {reason} {counted_designs(len(question.fitting()), anytime, 'measured ')}{allowed}",
        f"it dominates {beaten} of the other {counted_designs(len(others), anytime)}, and "
        + (better if above else "none dominates it"),
        *_surely(chosen, question),
        *_binding(chosen, question),
        *_next_designs(chosen, question),
    )


def _surely(chosen: Candidate, question: _Question) -> list[str]:
    """How certain it is that the pick is on the front, and what a less certain design promised."""
    if chosen.on_front is None:
        return []
    lines = [f"it is on the front with probability {chosen.on_front:.2f} ({counted(chosen.seeds, 'seed')})"]
    first = question.preferred()
    if first is not None and first.key != chosen.key:
        lines.append(f"preferred to one within its noise that is less sure: {trade(chosen, first, question.objectives)}")
    return lines


def _binding(chosen: Candidate, question: _Question) -> list[str]:
    """For each limit, whether it binds, and what would be picked without it."""
    lines = []
    for limit in question.limits:
        without = replace(question, limits=[other for other in question.limits if other is not limit]).answer()
        if without is not None and without.key != chosen.key:
            lines.append(f"{limit} binds: without it, {trade(chosen, without, question.objectives)}")
        else:
            lines.append(f"{limit} does not bind")
    return lines


def _next_designs(chosen: Candidate, question: _Question) -> list[str]:
    """For each objective in which another design is better, what the nearest such design would gain and cost."""
    lines = []
    for index, objective in enumerate(question.objectives):
        own = question.cost(chosen)[index]
        better = [c for c in question.members() if question.cost(c)[index] < own]
        if better and objective.name != question.prefer:
            step = max(better, key=lambda c: question.cost(c)[index])
            lines.append(f"next in {objective.name}: {trade(chosen, step, question.objectives)}")
    return lines


def trade(chosen: Candidate, other: Candidate, objectives: Sequence[Objective]) -> str:
    """What `other` gains and costs compared with `chosen`: "wab (trial 3): acc +0.30 points, time +2.1 s, params same"."""
    parts = []
    for objective in objectives:
        delta = other.values[objective.name] - chosen.values[objective.name]
        parts.append(f"{objective.name} {format_difference(objective.name, delta) if delta else 'same'}")
    return f"{other.label} (trial {other.trial}): " + ", ".join(parts)


def counted_designs(n: int, anytime: bool, which: str = "") -> str:
    """A number of designs, or in the anytime view of designs and epochs: "24 measured designs", "24 designs and epochs"."""
    return counted(n, "design and epoch", "designs and epochs") if anytime else counted(n, f"{which}design")


def _superlative(name: str, anytime: bool) -> str:
    return (ANYTIME_SUPERLATIVES if anytime else SUPERLATIVES).get(name) or f"fastest to {name.partition(':')[2]} %"


def _why_nothing(question: _Question) -> tuple[str, ...]:
    candidates, limits = question.candidates, question.limits
    if not candidates:
        return ("the study has no finished design yet",)
    counted_all = counted_designs(len(candidates), question.anytime, "measured ")
    lines = [f"none of the {counted_all} satisfies " + ", ".join(map(str, limits))]
    for limit in limits:
        values = [c.values[limit.objective] for c in candidates]
        best = min(values) if limit.bound == "max" else max(values)
        if not limit.admits(best):
            lines.append(f"{limit}: the nearest measured value is {format_value(limit.objective, best)}")
    return tuple(lines)


def _nearest_miss(candidates: Sequence[Candidate], limits: Sequence[Limit]) -> Candidate | None:
    """The design that violates the limits least in total, each in units of the range of the objective."""
    if not candidates:
        return None

    def violation(candidate: Candidate) -> float:
        total = 0.0
        for limit in limits:
            values = [c.values[limit.objective] for c in candidates] + [limit.value]
            if not limit.admits(candidate.values[limit.objective]):
                total += abs(candidate.values[limit.objective] - limit.value) / ((max(values) - min(values)) or 1.0)
        return total

    return min(candidates, key=violation)
