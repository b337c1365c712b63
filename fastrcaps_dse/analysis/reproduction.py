"""The paper's designs and claims in a study: a row for each design, a verdict for each claim.

A claim is supported if the test in its direction has a corrected p value below 5 %, contradicted if the test in the other direction has,
and open otherwise. The p values of each direction are corrected for the number of claims that the study can test, after Holm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fastrcaps_dse.analysis.claims import CLAIMS, Claim, Outcome
from fastrcaps_dse.analysis.outcomes import SELECTIONS, ByDesign, Epochs, Selection, left_out, outcomes
from fastrcaps_dse.analysis.paired import LEVEL, MeanInterval, PairedTest, holm, mean_interval, paired_test
from fastrcaps_dse.analysis.published import PublishedRow, Stated, published_data, published_row
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.space import NAMED_DESIGNS
from fastrcaps_dse.store import StudyRow, TrialRow

Verdict = Literal["supported", "contradicted", "open"]
ACCURACY_SCALE = 100.0  # of the values that are subtracted, in percent
CHANCE = 1.5  # times the share of a class: a run that never is more accurate has learned nothing
PERCENT_ROUNDING = 0.5  # "18 %" is what rounds to it


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What a design reached with one way to select the epoch."""

    acc: MeanInterval  # %, on the test set
    epoch: MeanInterval  # the selected one
    seconds: MeanInterval  # of training up to the end of it


@dataclass(frozen=True, kw_only=True)
class DesignRow:
    """A named design in a study, beside what the paper reports of it."""

    name: str
    seeds: tuple[int, ...]
    params: int
    reached: Mapping[Selection, Reached]
    gain: MeanInterval | None  # points that selection on the test set adds; None where the study has only one selection
    paper: PublishedRow | None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a study says of a claim."""

    claim: Claim
    verdict: Verdict
    why: str  # what decided, or what is missing
    seeds: tuple[int, ...] = ()  # that both designs have
    test: PairedTest | None = None
    effect: float | None = None  # in the unit of the claim
    low: float | None = None  # of its 95 % interval, which is not corrected
    high: float | None = None
    p_for: float | None = None  # corrected
    p_against: float | None = None  # corrected


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """The paper, checked by a study."""

    study: StudyRow
    selections: tuple[Selection, ...]
    rows: tuple[DesignRow, ...]
    findings: Mapping[Selection, tuple[Finding, ...]]  # in the order of CLAIMS
    gain: MeanInterval | None  # points that selection on the test set adds, the mean over the designs, by seed
    missing: tuple[str, ...]  # named designs without a run that can be compared
    left_out: tuple[str, ...]  # runs of named designs that cannot be compared
    at_chance: tuple[str, ...]  # runs of named designs that have learned nothing; they are compared

    @property
    def data(self) -> str | None:
        """The data set of the paper whose numbers stand beside those of the study; None if the paper has none."""
        return published_data(self.study.identity["dataset"])


def reproduce(study: StudyRow, trials: Sequence[TrialRow], epochs_of: Epochs) -> Reproduction:
    """The paper's designs and claims in a study. Raises InputError for a study that has none of the designs."""
    protocol = study.identity["protocol"]
    selections = SELECTIONS[protocol]
    found = {selection: outcomes(trials, epochs_of, protocol, selection) for selection in selections}
    excluded = left_out(trials, epochs_of, protocol)
    names = [name for name in NAMED_DESIGNS if name in found[selections[0]]]
    if not names:
        raise _nothing_to_compare(study, excluded)
    return Reproduction(
        study=study,
        selections=selections,
        rows=tuple(_design_row(name, {s: found[s][name] for s in selections}, study.identity["dataset"]) for name in names),
        findings={selection: findings(found[selection]) for selection in selections},
        gain=_gain_of_all(found) if len(selections) > 1 else None,
        missing=tuple(name for name in NAMED_DESIGNS if name not in names),
        left_out=tuple(excluded),
        at_chance=tuple(_at_chance({name: found[selections[0]][name] for name in names}, study.image_shape["classes"])),
    )


def _nothing_to_compare(study: StudyRow, excluded: Sequence[str]) -> InputError:
    if excluded:
        return InputError(
            f"the study {study.name!r} has no run of the paper's designs to compare: {'; '.join(excluded)}",
            "`fastrcaps-dse explore` goes on with a study; runs that are pruned or failed are not compared",
        )
    if {point.key for point in NAMED_DESIGNS.values()} & set(study.identity["first"]):
        hint = "they are among its first designs: `fastrcaps-dse explore` goes on with it"
    else:
        hint = "`fastrcaps-dse explore paper-mnist` trains all of them, `fastrcaps-dse train --design wab` one; --study names another study"
    return InputError(f"the study {study.name!r} has none of the paper's eight designs: {', '.join(NAMED_DESIGNS)}", hint)


def _at_chance(found: ByDesign, classes: int) -> Iterator[str]:
    """The designs with runs whose accuracy stays near the one that guessing a class has."""
    for name, by_seed in found.items():
        stuck = sum(max(run.curve) <= CHANCE * 100 / classes for run in by_seed.values())
        if stuck:
            yield f"{name}: {stuck} of {counted(len(by_seed), 'run')}"


# --- designs ------------------------------------------------------------------------------------------------------------


def _design_row(name: str, found: Mapping[Selection, Mapping[int, Outcome]], dataset: str) -> DesignRow:
    first = next(iter(found.values()))
    return DesignRow(
        name=name,
        seeds=tuple(sorted(first)),
        params=round(next(iter(first.values())).params),
        reached={selection: _reached([*by_seed.values()]) for selection, by_seed in found.items()},
        gain=mean_interval([*_gains(found["held-out"], found["test"]).values()]) if len(found) > 1 else None,
        paper=published_row(dataset, name),
    )


def _reached(runs: Sequence[Outcome]) -> Reached:
    return Reached(
        acc=mean_interval([run.acc for run in runs]),
        epoch=mean_interval([float(run.epoch) for run in runs]),
        seconds=mean_interval([run.time for run in runs]),
    )


def _gains(honest: Mapping[int, Outcome], optimistic: Mapping[int, Outcome]) -> dict[int, float]:
    """By seed, the points that selection on the test set adds to the accuracy of a run; never below zero."""
    return {seed: optimistic[seed].acc - run.acc for seed, run in honest.items()}


def _gain_of_all(found: Mapping[Selection, ByDesign]) -> MeanInterval | None:
    """The mean gain of all designs, over the seeds that all of them have; None if they have none in common."""
    gains = [_gains(honest, found["test"][name]) for name, honest in found["held-out"].items()]
    common = set.intersection(*map(set, gains))
    each_seed = [math.fsum(by_seed[seed] for by_seed in gains) / len(gains) for seed in sorted(common)]
    return mean_interval(each_seed) if each_seed else None


# --- claims -------------------------------------------------------------------------------------------------------------


def findings(found: ByDesign, claims: Sequence[Claim] = CLAIMS) -> tuple[Finding, ...]:
    """What these outcomes say of each claim, corrected for the number of claims that they can test."""
    made = [_finding(claim, found) for claim in claims]
    tested = [k for k, one in enumerate(made) if one.test is not None and one.test.method is not None]
    tests = [made[k].test for k in tested]
    above = holm([test.above for test in tests if test is not None and test.above is not None])
    below = holm([test.below for test in tests if test is not None and test.below is not None])
    for k, p_for, p_against in zip(tested, above, below, strict=True):
        made[k] = _judged(made[k], p_for, p_against)
    return tuple(made)


def _finding(claim: Claim, found: ByDesign) -> Finding:
    """A claim before the p values are corrected: its effect, or what is missing for it."""
    lacking = [name for name in claim.designs if name not in found]
    if lacking:
        return Finding(claim=claim, verdict="open", why=f"the study has no {' and no '.join(lacking)}")
    a, b = (found[name] for name in claim.designs)
    if claim.statistic is None:
        return _certain(claim, next(iter(a.values())).params, next(iter(b.values())).params)
    seeds = tuple(sorted(a.keys() & b.keys()))
    scale = ACCURACY_SCALE if claim.unit == "points" else 1.0
    test = paired_test([claim.statistic(a[seed], b[seed]) for seed in seeds], margin=claim.margin, scale=scale)
    if test is None:
        return Finding(claim=claim, verdict="open", why=f"{claim.designs[0]} and {claim.designs[1]} have no seed in common")
    low, high = (None if end is None else claim.in_unit(end) for end in (test.low, test.high))
    one = Finding(
        claim=claim, verdict="open", why="", seeds=seeds, test=test, effect=claim.in_unit(test.mean), low=low, high=high
    )
    return one if test.method else replace(one, why="one seed in common, and a test needs two")


def _certain(claim: Claim, params: float, compared: float) -> Finding:
    saved = 100 * (1 - params / compared)
    holds = saved >= claim.margin - PERCENT_ROUNDING
    why = f"{params:,.0f} of {compared:,.0f} parameters, counted: no test is needed"
    return Finding(claim=claim, verdict="supported" if holds else "contradicted", why=why, effect=saved)


def _judged(one: Finding, p_for: float, p_against: float) -> Finding:
    """A finding with its corrected p values, and the verdict that follows."""
    assert one.test is not None
    verdict: Verdict = "supported" if p_for < LEVEL else "contradicted" if p_against < LEVEL else "open"
    return replace(one, p_for=p_for, p_against=p_against, verdict=verdict, why=_method(one.test))


def _method(test: PairedTest) -> str:
    pairs = counted(test.n, "seed")
    if test.method == "t":
        return f"paired t test, {pairs}"
    if test.censored:
        runs = "1 run never reaches" if test.censored == 1 else f"{test.censored} runs never reach"
        return f"sign test, {pairs}: {runs} it, so the effect is at most this"
    return f"sign test, {pairs}: all differences are equal, and t needs a spread"


def stated(claim: Claim, data: str | None) -> Stated | None:
    """What the paper says of a claim for a data set; None if the paper has no numbers for the data set."""
    return None if data is None else claim.paper[data]
