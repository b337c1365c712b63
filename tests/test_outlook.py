"""What another hour of training is expected to give: its simulation, its words, and the end of a search."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from fastrcaps_dse.analysis.pareto import hypervolume
from fastrcaps_dse.cli.exploring_options import parse_gain
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.objectives import Measurement, parse_objectives
from fastrcaps_dse.problem.schedules import FixedBatch, FixedRate
from fastrcaps_dse.problem.space import DesignPoint, DesignSpace
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.search.candidates import Guided
from fastrcaps_dse.search.encoding import encoder_of
from fastrcaps_dse.search.guided import Acquisition, Candidate, Kernels, Observation, surrogate_of
from fastrcaps_dse.search.history import FinishedTrial, History
from fastrcaps_dse.search.outlook import Outlook, outlook, planned
from fastrcaps_dse.search.protocols import Forecast
from fastrcaps_dse.session.enough import Enough


def candidate(number: float, seconds: float = 60.0, params: float = 8e6) -> Candidate:
    return Candidate(features={"x": number}, epochs=10, seconds=seconds, fixed={"params": params})


def acquisition(names: str = "acc,time,params") -> Acquisition:
    """The error falls from 20 % to 5 % with x, and designs up to .5 are measured."""
    seen = [
        Observation(candidate=candidate(x), acc=100 - 20 * math.exp(-1.4 * x), time=54.0)
        for x in np.linspace(0, 0.5, 6).tolist()
    ]
    encoder = encoder_of([{"x": 0.0}, {"x": 1.0}])
    rest = [candidate(x) for x in np.linspace(0, 1, 21).tolist()]
    return Acquisition(parse_objectives(names), surrogate_of(seen, encoder, Kernels()), rest)


def test_the_plan_fits_into_the_seconds_and_repeats_nothing() -> None:
    candidates = [candidate(x) for x in np.linspace(0.6, 1, 9).tolist()]
    here = acquisition()
    plan = planned(here, candidates, 200.0)
    assert len(plan) == 3 and len({d.features["x"] for d in plan}) == 3
    assert plan[0] == candidates[int(np.argmax(here.promises(candidates)))]
    assert planned(here, candidates, 59.0) == [] and planned(here, [], 3600.0) == []


def test_gains_of_a_single_design_are_means_over_its_outcomes() -> None:
    """Of the hypervolume with the error as it is and time by its logarithm, over the range of what is measured."""
    here = acquisition("acc,time")
    told = outlook(here, [candidate(0.8)], 100.0)
    expected = here.surrogate.predict([candidate(0.8)])
    measured = here.surrogate.predict([o.candidate for o in here.surrogate.observations])
    draws = np.random.default_rng(1).standard_normal((4000, 2))
    errors = np.exp(expected.error[0] + expected.error_deviation[0] * draws[:, 0]) - 0.05
    times = np.log(60) + np.clip(expected.share[0] + expected.share_deviation[0] * draws[:, 1], math.log(0.1), 0)
    front = np.stack([np.exp(measured.error) - 0.05, np.log(60) + measured.share], axis=1)
    low, span = front.min(axis=0), np.maximum(np.ptp(front, axis=0), 0)
    span = np.where(span > 0, span, 1.0)
    volumes = [hypervolume((np.vstack([front, [e, t]]) - low) / span, [1.1, 1.1]) for e, t in zip(errors, times, strict=True)]
    gains = np.array(volumes) / hypervolume((front - low) / span, [1.1, 1.1]) - 1
    assert told.gain == pytest.approx(gains.mean(), abs=4 * gains.std() / 8)  # it has 64 samples
    assert told.designs == 1 and told.accuracy == pytest.approx((np.maximum(front[:, 0].min() - errors, 0)).mean(), abs=1.5)


def test_larger_designs_are_not_of_the_same_size() -> None:
    larger = outlook(acquisition(), [candidate(0.9, params=9e6)], 3600.0)
    assert larger.designs in (0, 1) and larger.accuracy == 0
    same = outlook(acquisition(), [candidate(0.9)], 3600.0)
    assert same.accuracy is not None and same.accuracy > 1 and same.gain > 0


def test_words() -> None:
    told = Outlook(seconds=3600.0, designs=12, gain=0.0042, accuracy=0.051, has_size=True)
    assert told.text == (
        "another hour of training is expected to gain about 0.42 % of the hypervolume and +0.05 points of accuracy at the same size, "
        "with 12 designs"
    )
    assert replace(told, designs=0).text == "another hour of training has no design to add"
    assert "accuracy" not in replace(told, accuracy=None).text


@dataclass(kw_only=True)
class Foreseeing(Guided):
    """Says what it is told to say, and how often it was asked."""

    gains: list[float] = field(default_factory=list)

    def outlook(self, history: History, seconds: float = 3600.0) -> Outlook | None:
        return Outlook(seconds=seconds, designs=1, gain=self.gains.pop(0), accuracy=None, has_size=False)


def test_a_search_is_done_once_the_gain_is_below() -> None:
    spec = StudySpec(name="any", space=DesignSpace(lr_policy=(FixedRate(),), batch_schedule=(FixedBatch(),)))
    guided = Foreseeing(spec=spec, forecast=lambda _: Forecast(seconds=1.0, fixed={}), gains=[0.2, 0.02, 0.0009, 0.5])
    enough, history, ends = Enough(guided=guided, below=0.001), History(), []
    for number in range(12):
        history.finished.append(
            FinishedTrial(number=number, point=DesignPoint(), measurement=Measurement(values={}, selected_epoch=1))
        )
        ends.append(enough.is_reached(history))
    assert ends[:9] == [False] * 9 and ends[9] and len(guided.gains) < 3  # looks from the eighth design on
    never = Enough(guided=Foreseeing(spec=spec, forecast=guided.forecast), below=None)
    assert not never.is_reached(history)


@pytest.mark.parametrize("text, share", [("0.1%", 0.001), ("0.1 %", 0.001), ("0.02", 0.02), (None, None)])
def test_shares(text: str | None, share: float | None) -> None:
    assert parse_gain(text) == (pytest.approx(share) if share is not None else None)


@pytest.mark.parametrize("text", ["0", "-1%", "much", "100%", "nan"])
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="--until-gain-below"):
        parse_gain(text)
