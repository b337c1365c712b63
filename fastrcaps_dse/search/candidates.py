"""The proposer of the guided search: candidates all over the space and around the front, refined where they promise most."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fastrcaps_dse.problem.quantities import ROBUST
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.encoding import Encoder, aligned_features, encoder_of, ranges_of, space_features
from fastrcaps_dse.search.guided import (
    FITTED,
    MODELED,
    Acquisition,
    Candidate,
    Kernels,
    Observation,
    informative,
    last_fit,
    novelty,
    surrogate_of,
)
from fastrcaps_dse.search.history import FinishedTrial, History
from fastrcaps_dse.search.neighbors import neighbor
from fastrcaps_dse.search.outlook import HOUR, Outlook, outlook
from fastrcaps_dse.search.parameters import sample_design
from fastrcaps_dse.search.protocols import Forecaster

ALL = 128  # of so few new designs, each is a candidate
ANYWHERE = 64  # candidates all over the space
AROUND = 64  # candidates near members of the front
ROUNDS = 2  # of refinement
BEST = 6  # candidates that a round refines
REFINED = 48  # candidates near them, in each round
WIDER = 3  # times as many candidates, for the outlook


@dataclass(kw_only=True)
class Guided:
    """Proposes the design that promises the most hypervolume for its training.

    What it keeps between proposals saves time only: the same history gives the same proposal.
    """

    spec: StudySpec
    forecast: Forecaster
    kernels: Kernels = field(default_factory=Kernels)
    listed: list[DesignPoint] = field(default_factory=list)  # the designs of a space that is listed
    encoder: Encoder | None = None

    def propose(self, history: History) -> DesignPoint | None:
        """The most promising new design; None where there is none."""
        generator = random.Random(history.generator(self.spec.seed).getrandbits(32))
        first, is_whole = self._first(history, generator, ANYWHERE)
        can = self._trainable(first)
        if not can:
            return first[0] if first else None  # it fails at once, and says why
        acquisition = self.acquisition(history, [*can.values()])
        if acquisition is None:
            return self._most_novel(history, can)
        promises = self._promises(acquisition, can)
        if not is_whole:
            self._refine(acquisition, promises, history, generator, 1)
        return max(promises, key=lambda point: promises[point])

    def outlook(self, history: History, seconds: float = HOUR) -> Outlook | None:
        """What the next `seconds` of training are expected to give; None while there is too little to say."""
        generator = random.Random(history.generator(self.spec.seed).getrandbits(32))
        first, is_whole = self._first(history, generator, WIDER * ANYWHERE)
        can = self._trainable(first)
        acquisition = self.acquisition(history, [*can.values()]) if can else None
        if acquisition is None:
            return None
        promises = self._promises(acquisition, can)
        if not is_whole:
            self._refine(acquisition, promises, history, generator, WIDER)
        return outlook(acquisition, [self._candidate(point) for point in promises], seconds)

    def acquisition(self, history: History, some: Sequence[Candidate]) -> Acquisition | None:
        """How much designs promise, by what was measured and what is under way; None with fewer than two measured designs.

        `some` designs are from all over the space.
        """
        finished = sorted(history.finished, key=lambda trial: trial.number)
        measured = [trial for trial in finished if trial.measurement is not None]
        observations = self._observations(measured, MODELED)
        if len(observations) < 2:
            return None
        if self.encoder is None:
            space = self.spec.space
            self.encoder = encoder_of(space_features(space), ranges_of(space))
        pending = self._trainable(trial.point for trial in history.under_way).values()
        fitting = self._observations(measured[: last_fit(len(measured))], FITTED) or observations
        surrogate = surrogate_of(observations, self.encoder, self.kernels, [*pending], fitting)
        return Acquisition(self.spec.objectives, surrogate, some)

    def _observations(self, measured: Sequence[FinishedTrial], most: int) -> list[Observation]:
        """So many of the measured designs, those that say most."""
        found = [self._observation(trial) for trial in informative(measured, self.spec.objectives, most)]
        return [observation for observation in found if math.isfinite(observation.candidate.seconds)]

    @staticmethod
    def _promises(acquisition: Acquisition, can: Mapping[DesignPoint, Candidate]) -> dict[DesignPoint, float]:
        """How much each candidate promises."""
        return dict(zip(can, acquisition.promises([*can.values()]).tolist(), strict=True))

    def _first(self, history: History, generator: random.Random, count: int) -> tuple[list[DesignPoint], bool]:
        """(the new designs of a small space; of a large or infinite one, some all over it; whether these are all new designs)."""
        space = self.spec.space
        if not space.enumerable:
            return _new((sample_design(space, generator) for _ in range(count)), history), False
        self.listed = self.listed or [*space.designs()]
        new = [point for point in self.listed if history.is_new(point)]
        return (new, True) if len(new) <= ALL else (generator.sample(new, min(count, len(new))), False)

    def _refine(
        self,
        acquisition: Acquisition,
        promises: dict[DesignPoint, float],
        history: History,
        generator: random.Random,
        wider: int,
    ) -> None:
        """Add designs near the front, then, in rounds, designs near those that promise most; `promises` of all."""
        space = self.spec.space
        members = [acquisition.surrogate.observations[k].candidate.point for k in acquisition.members.tolist()]
        front = [point for point in members if point is not None and space.admits(point)]
        for round_ in range(ROUNDS + 1):
            best = sorted(promises, key=lambda point: -promises[point])[: BEST * wider]
            parents, count = (front or best, AROUND * wider) if round_ == 0 else (best, REFINED * wider)
            near = (neighbor(generator.choice(parents), space, generator) for _ in range(count))
            added = self._trainable(point for point in _new(near, history) if point not in promises)
            if added:
                promises |= self._promises(acquisition, added)

    def _most_novel(self, history: History, can: dict[DesignPoint, Candidate]) -> DesignPoint:
        begun = [self._candidate(trial.point) for trial in history.finished]
        begun += [self._candidate(trial.point) for trial in history.under_way]
        return min(can, key=lambda point: novelty(begun, can[point]))

    def _trainable(self, points: Iterable[DesignPoint]) -> dict[DesignPoint, Candidate]:
        """The designs that can be trained here."""
        candidates = {point: self._candidate(point) for point in points}
        return {point: candidate for point, candidate in candidates.items() if math.isfinite(candidate.seconds)}

    def _candidate(self, point: DesignPoint) -> Candidate:
        forecast = self.forecast(point)
        return Candidate(
            point=point,
            features=aligned_features(point),
            epochs=self.spec.epochs,
            seconds=forecast.seconds,
            fixed=forecast.fixed,
        )

    def _observation(self, trial: FinishedTrial) -> Observation:
        assert trial.measurement is not None
        measured = trial.measurement
        is_judged = any(wanted.name == ROBUST for wanted in self.spec.objectives)
        return Observation(
            candidate=self._candidate(trial.point),
            acc=measured["acc"],
            time=measured["time"],
            robust=measured[ROBUST] if is_judged else None,
        )


def _new(points: Iterable[DesignPoint], history: History) -> list[DesignPoint]:
    """Those that have no trial yet, each once."""
    return [*{point.key: point for point in points if history.is_new(point)}.values()]
