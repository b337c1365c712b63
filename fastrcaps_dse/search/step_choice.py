"""Which step of training promises the most hypervolume for a second: of paused runs, and of new designs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from fastrcaps_dse.analysis.pareto import nondominated
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.search.anytime_gain import Cells, Costs, Counts, expected_gains, lowest_errors, make_cells
from fastrcaps_dse.search.curve_model import CurveModel, Floats, Points
from fastrcaps_dse.search.encoding import Features, encode, features_of
from fastrcaps_dse.search.guided import FLOOR
from fastrcaps_dse.search.protocols import Step

FITTED = 256  # epochs that the surrogate knows, at most
CELLS = 1024  # of the integral over the certain costs
COARSE = 256  # cells by which options are screened
SCREENED = 12  # options whose gain is computed by all cells
AHEAD = (1, 2, 3, 5, 8, 13, 21, 34, 55)  # further epochs that are looked at, and all
COARSE_AHEAD = (1, 3)  # those by which options are screened, and all
TAKING_UP = 0.5  # s to take a run up again: its checkpoint is read and written
STEP_SECONDS = 2.0  # of training, at least: shorter epochs are trained several at a time


@dataclass(frozen=True, kw_only=True)
class Option:
    """A design with what is certain of it, and the epochs that its run has."""

    point: DesignPoint
    trial: int | None  # None for a new design
    state: Literal["free", "under way", "ended"]  # free: not finished, and nobody trains it
    errors: Floats  # logarithm of the error that is left, after each epoch so far
    seconds: Floats  # of each epoch of the whole run
    costs: Costs

    @property
    def done(self) -> int:
        """Epochs that it has."""
        return len(self.errors)

    @property
    def epochs(self) -> int:
        """Of the whole run."""
        return len(self.seconds)

    @cached_property
    def features(self) -> Features:
        """Its dimensions."""
        return features_of(self.point)

    @cached_property
    def points(self) -> Floats:
        """[done, axes] its costs after each epoch, with the error so far."""
        fixed = np.broadcast_to(self.costs.fixed, (self.done, len(self.costs.fixed)))
        return np.column_stack([self.costs.growing[: self.done], fixed, np.minimum.accumulate(self.errors)])

    @cached_property
    def stride(self) -> int:
        """Epochs of a step."""
        return max(1, math.ceil(STEP_SECONDS / max(float(self.seconds.mean()), 1e-9)))

    @property
    def until(self) -> int:
        """The epochs that it has after its next step: a multiple of the stride, wherever it was interrupted."""
        return min(self.epochs, (self.done // self.stride + 1) * self.stride)

    @property
    def is_interrupted(self) -> bool:
        """Whether it was left within a step, or before it was measured."""
        return self.state == "free" and (self.done in (0, self.epochs) or self.done % self.stride != 0)

    @property
    def may_gain(self) -> bool:
        """Whether it is paused, and further epochs may be more accurate."""
        return self.state == "free" and self.done < self.epochs and float(self.errors.min()) > math.log(2 * FLOOR)

    def step(self) -> Step:
        """Its next step."""
        return Step(point=self.point, trial=self.trial, until=self.until)


def least_alike(begun: Sequence[Option], new: Sequence[Option]) -> Option:
    """The new design that is least like what was begun, and of equals the one with the shortest epoch."""
    codes = encode([option.features for option in (*begun, *new)])
    here, there = codes[: len(begun)], codes[len(begun) :]
    distances = [float(np.abs(here - code).sum(axis=1).min()) if begun else 0.0 for code in there]
    return new[min(range(len(new)), key=lambda k: (-round(distances[k], 9), float(new[k].seconds[0])))]


def most_promising(runs: Sequence[Option], new: Sequence[Option], least: float) -> Option | None:
    """What promises the most hypervolume for a second of training, of paused runs and new designs.

    Where no training promises at least this share (`least`) of the hypervolume so far, it is one of the new designs, or None. Runs that are
    under way are assumed to reach what the surrogate expects after their step. Some of `runs` must have an epoch.
    """
    observed = [run for run in runs if run.done]
    fitted = most_telling(observed)
    options = [*(run for run in fitted if run.may_gain), *new]
    if not options:
        return None
    pending = [run for run in runs if run.state == "under way" and run.done < run.epochs]
    mean, deviation = expected_errors(fitted, [*options, *pending])
    assumed = [assumed_errors(run, mean[len(options) + k]) for k, run in enumerate(pending)]
    errors = np.concatenate([run.errors for run in observed])
    reference = float(errors.max() + 0.1 * (errors.max() - errors.min()) + 1e-3)
    cells = make_cells([option.costs for option in (*runs, *new)], CELLS)
    lowest = lowest_of([*observed, *assumed], cells, reference)
    index, share = _best(options, cells, lowest, mean[: len(options)], deviation[: len(options)], reference)
    if share >= least:
        return options[index]
    if not new:
        return None
    first = len(options) - len(new)
    index, _ = _best(new, cells, lowest, mean[first : len(options)], deviation[first : len(options)], reference)
    return new[index]


def most_telling(observed: Sequence[Option]) -> list[Option]:
    """The runs that the surrogate knows, in their order: those with the most epochs, of equals the most accurate, as far as they fit."""
    order = sorted(range(len(observed)), key=lambda k: (-observed[k].done, float(observed[k].errors.min()), k))
    counts = np.cumsum([len(kept_epochs(observed[k].done)) for k in order])
    return [observed[k] for k in sorted(order[: max(2, int((counts <= FITTED).sum()))])]


def kept_epochs(done: int) -> list[int]:
    """Of so many epochs those that the surrogate knows, counted from 1: the latest ones tell the most."""
    return sorted({done - ahead + 1 for ahead in AHEAD if ahead <= done} | {1})


def horizons(done: int, epochs: int) -> list[int]:
    """The epochs that are looked at after so many, counted from 1."""
    return sorted({done + ahead for ahead in AHEAD if done + ahead < epochs} | {epochs})


def expected_errors(fitted: Sequence[Option], options: Sequence[Option]) -> tuple[Floats, Floats]:
    """(mean, standard deviation) of the logarithm of each option's error after each epoch of the whole run, [R, E] each.

    Only what lies ahead of an option is predicted, at its horizons, and is interpolated between them.
    """
    designs = {id(option): (k, option) for k, option in enumerate({id(o): o for o in (*fitted, *options)}.values())}
    codes = encode([option.features for _, option in designs.values()])
    rows = [(run, epoch) for run in fitted for epoch in kept_epochs(run.done)]
    given = _points([(designs[id(run)][0], epoch) for run, epoch in rows])
    model = CurveModel(codes, given, [float(run.points[epoch - 1, -1]) for run, epoch in rows])
    ahead = [horizons(option.done, option.epochs) for option in options]
    asked = [(designs[id(option)][0], epoch) for option, epochs in zip(options, ahead, strict=True) for epoch in epochs]
    means, deviations = model.predict(_points(asked))
    mean, deviation = np.zeros((len(options), options[0].epochs)), np.ones((len(options), options[0].epochs))
    every, start = np.log(np.arange(1.0, options[0].epochs + 1)), 0
    for k, epochs in enumerate(ahead):
        at, part = np.log(epochs), slice(start, start + len(epochs))
        mean[k], deviation[k] = np.interp(every, at, means[part]), np.interp(every, at, deviations[part])
        start += len(epochs)
    return mean, deviation


def _points(rows: Sequence[tuple[int, int]]) -> Points:
    """The points of (design, epoch): each design has one run."""
    designs, epochs = np.array(rows, dtype=np.int64).T
    return Points(designs=designs, epochs=epochs.astype(np.float64), runs=designs)


def assumed_errors(run: Option, mean: Floats) -> Option:
    """A run as if the step that is under way had given what is expected."""
    return replace(run, errors=np.concatenate([run.errors, mean[run.done : run.until]]))


def lowest_of(runs: Sequence[Option], cells: Cells, reference: float) -> Floats:
    """What the epochs of the runs have reached in each cell, [U]."""
    owners = np.repeat(np.arange(len(runs)), [run.done for run in runs])
    on_front = [
        runs[k] for k in np.unique(owners[nondominated(np.concatenate([run.points for run in runs]))])
    ]  # the others change nothing
    return lowest_errors(cells.epochs_within([run.costs for run in on_front]), [run.errors for run in on_front], reference)


def _best(
    options: Sequence[Option], cells: Cells, lowest: Floats, mean: Floats, deviation: Floats, reference: float
) -> tuple[int, float]:
    """(the option with the highest gain for a second, the highest gain of any as a share of the hypervolume)."""
    within = cells.coarse(COARSE).epochs_within([option.costs for option in options])
    coarse, gains = _rates(options, within, lowest[:COARSE], mean, deviation, COARSE_AHEAD)
    screened = np.sort(np.argsort(-coarse, kind="stable")[:SCREENED])
    chosen = [options[k] for k in screened]
    within = cells.epochs_within([option.costs for option in chosen])
    rates, _ = _rates(chosen, within, lowest, mean[screened], deviation[screened], AHEAD)
    return int(screened[int(np.argmax(rates))]), float(gains.max() / (reference - lowest[:COARSE]).mean())


def _rates(
    options: Sequence[Option], within: Counts, lowest: Floats, mean: Floats, deviation: Floats, aheads: Sequence[int]
) -> tuple[Floats, Floats]:
    """(the expected gain of each option for a second, with the horizon for which that is highest; the gain of all its epochs)."""
    done = np.array([option.done for option in options])
    seconds = np.stack([np.concatenate([[0.0], np.cumsum(option.seconds)]) for option in options])
    strides = np.array([option.stride for option in options])
    rows = np.arange(len(options))
    best, gains = np.zeros(len(options)), np.zeros(len(options))
    for ahead in (*aheads, seconds.shape[1]):
        if not (done + ahead < seconds.shape[1]).any() and ahead < seconds.shape[1]:
            continue
        until = np.minimum(done + ahead, seconds.shape[1] - 1)
        gains = expected_gains(lowest, within, done, until, mean, deviation)
        cost = seconds[rows, until] - seconds[rows, done] + TAKING_UP * np.ceil((until - done) / strides)
        best = np.maximum(best, gains / cost)
    return best, gains
