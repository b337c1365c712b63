"""The proposers: designs in a given order, a sampler of Optuna, the guided search. `make_proposers` chooses them for a study."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState, create_trial

from fastrcaps_dse.analysis.picks import Limit
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.candidates import Guided
from fastrcaps_dse.search.history import FinishedTrial, History
from fastrcaps_dse.search.optuna_storage import constraints_of, directions_of
from fastrcaps_dse.search.parameters import make_sampler, parameters, suggest
from fastrcaps_dse.search.protocols import Forecaster, Proposer

PROPOSALS = 20  # of a sampler; if all of them have a trial already, a random new design takes their place
RANDOM_TRIES = 1000  # random designs of a space that is not listed, before it is called exhausted


def make_proposers(spec: StudySpec, forecast: Forecaster, limits: Sequence[Limit] = ()) -> tuple[Proposer, ...]:
    """The proposers of a study, in the order in which they are asked: the designs to try first, then the study's sampler."""
    first = InOrder(designs=lambda: spec.first_designs)
    if spec.sampler == "guided":
        return first, Guided(spec=spec, forecast=forecast)
    if spec.sampler == "exhaustive":
        return first, InOrder(designs=spec.space.designs)
    view = optuna.create_study(directions=directions_of(spec))
    return first, OptunaSampler(spec=spec, limits=limits, view=view)


@dataclass(frozen=True, kw_only=True)
class InOrder:
    """Designs in a given order."""

    designs: Callable[[], Iterable[DesignPoint]]

    def propose(self, history: History) -> DesignPoint | None:
        """The first design that is new."""
        return next((point for point in self.designs() if history.is_new(point)), None)


@dataclass(kw_only=True)
class OptunaSampler:
    """A sampler of Optuna that proposes no design twice.

    It works on `view`, a study in memory that holds the measured designs. A proposal that has a trial already is told to the view as
    failed and never reaches the database.
    """

    spec: StudySpec
    limits: Sequence[Limit]
    view: optuna.Study
    asked: dict[str, optuna.Trial] = field(default_factory=dict)  # trials of the view that are being trained, by design
    told: int = 0  # finished trials that the view holds already

    def propose(self, history: History) -> DesignPoint | None:
        """What the sampler proposes, or a random design where it proposes none that is new."""
        for trial in history.finished[self.told :]:
            self._tell(trial)
        self.told = len(history.finished)
        for open_trial in history.under_way:
            if open_trial.point.key not in self.asked:  # another process has proposed it
                self._add_running(open_trial.point)
        space = self.spec.space
        new = [point for point in space.designs() if history.is_new(point)] if space.enumerable else None
        if new == []:
            return None
        seed = history.generator(self.spec.seed).getrandbits(32)
        sampler = make_sampler(self.spec.sampler, seed, crowded=bool(self.asked))
        point = next(self._new_proposals(sampler, PROPOSALS, history), None)
        if point is not None:
            return point
        if new is not None:
            return random.Random(seed).choice(new)
        return next(self._new_proposals(make_sampler("random", seed), RANDOM_TRIES, history), None)

    def _new_proposals(self, sampler: optuna.samplers.BaseSampler, tries: int, history: History) -> Iterator[DesignPoint]:
        """The new designs among so many proposals."""
        self.view.sampler = sampler
        for _ in range(tries):
            asked = self.view.ask()
            point = suggest(asked, self.spec.space)
            if history.is_new(point):
                self.asked[point.key] = asked
                yield point
                return
            self.view.tell(asked, state=TrialState.FAIL)

    def _tell(self, trial: FinishedTrial) -> None:
        """Let the view hold a finished trial; one that failed only if the sampler had proposed it."""
        asked = self.asked.pop(trial.point.key, None)
        if trial.measurement is None:
            if asked is not None:
                self.view.tell(asked, state=TrialState.FAIL)
            return
        values = [trial.measurement[objective.name] for objective in self.spec.objectives]
        constraints = constraints_of(self.limits, trial.measurement)
        if asked is not None:
            for name, violation in constraints.items():
                asked.set_constraint(name, violation)
            self.view.tell(asked, values)
            return
        chosen, distributions = parameters(trial.point, self.spec.space)
        self.view.add_trial(create_trial(values=values, params=chosen, distributions=distributions, constraints=constraints))

    def _add_running(self, point: DesignPoint) -> None:
        """Let the view hold a design that is being trained although this sampler has not proposed it."""
        chosen, distributions = parameters(point, self.spec.space)
        self.view.add_trial(create_trial(state=TrialState.RUNNING, params=chosen, distributions=distributions))
        self.asked[point.key] = optuna.Trial(self.view, self.view.get_trials(deepcopy=False)[-1]._trial_id)
