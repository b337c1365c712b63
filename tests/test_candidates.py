"""The candidates of the guided search: neighbors inside the space, and proposals that depend on the history alone."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from fastrcaps_dse.analysis.pareto import hypervolume
from fastrcaps_dse.problem.objectives import Measurement, parse_objectives
from fastrcaps_dse.problem.ranges import Range
from fastrcaps_dse.problem.schedules import AdaBatch, FixedBatch, FixedRate, OneCycle, WarmRestarts
from fastrcaps_dse.problem.space import DesignPoint, DesignSpace
from fastrcaps_dse.problem.study_spec import Sampler, StudySpec
from fastrcaps_dse.search.encoding import aligned_features, encoder_of, ranges_of, space_features
from fastrcaps_dse.search.guided import informative
from fastrcaps_dse.search.history import FinishedTrial, History
from fastrcaps_dse.search.neighbors import neighbor
from fastrcaps_dse.search.parameters import sample_design
from fastrcaps_dse.search.proposers import make_proposers
from fastrcaps_dse.search.protocols import Forecast

SPACE = DesignSpace(
    lr_policy=(FixedRate(), OneCycle(), WarmRestarts()),
    batch_schedule=(FixedBatch(), AdaBatch()),
    routing_iterations=(1, 2, 3),
    open_fields={
        "lr": Range(low=3e-4, high=3e-3, log=True),
        "lr_max": Range(low=5e-4, high=5e-3, log=True),
        "half": Range(low=0.2, high=0.5),
        "cycle": (0.5, 1, "phase"),
        "size": Range(low=16, high=128, step=16),
        "head_epochs": Range(low=1, high=6, step=1),
    },
)
SAMPLERS: tuple[Sampler, Sampler] = ("guided", "random")
LINE = DesignSpace(
    lr_policy=(OneCycle(),),
    batch_schedule=(FixedBatch(),),
    weight_sharing=(False,),
    decoder=("full",),
    open_fields={
        "lr_max": Range(low=5e-4, high=5e-2, log=True),
        "lr_min": Range(low=1e-6, high=4e-4, log=True),
        "half": Range(low=0.1, high=0.5),
        "size": Range(low=16, high=128, step=1),
    },
)


def test_neighbors_are_in_the_space_and_differ_in_few_dimensions() -> None:
    generator = random.Random(0)
    changed = set()
    for _ in range(600):
        point = sample_design(SPACE, generator)
        near = neighbor(point, SPACE, generator)
        assert SPACE.admits(near) and near != point
        before, after = aligned_features(point), aligned_features(near)
        differing = {name for name in before.keys() & after.keys() if before[name] != after[name]}
        if (point.lr_policy.name, point.batch_schedule.name) == (near.lr_policy.name, near.batch_schedule.name):
            assert 1 <= len(differing) <= 3
        changed |= differing
    assert changed >= {
        "lr_policy",
        "batch_schedule",
        "routing_iterations",
        "weight_sharing",
        "lr_policy.peak rate",
        "lr_policy.half",
    }


def test_a_space_of_one_design_has_no_neighbors() -> None:
    one = DesignSpace(lr_policy=(FixedRate(),), batch_schedule=(FixedBatch(),), weight_sharing=(False,), decoder=("full",))
    point = next(one.designs())
    assert neighbor(point, one, random.Random(0)) == point


def test_codes_are_over_the_range_of_the_space() -> None:
    encoder = encoder_of(space_features(SPACE), ranges_of(SPACE))
    generator = random.Random(1)
    codes = encoder.encode([aligned_features(sample_design(SPACE, generator)) for _ in range(200)])
    assert codes.min() >= 0 and codes.max() <= 1
    low, high = (DesignPoint(lr_policy=OneCycle(lr_max=rate), routing_iterations=2, shift=2).lr_policy for rate in (5e-4, 5e-3))
    ends = encoder.encode([aligned_features(DesignPoint(lr_policy=policy)) for policy in (low, high)])
    column = next(k for k, c in enumerate(encoder.columns) if c.name == "lr_policy.peak rate")
    assert ends[:, column] == pytest.approx([math.log(5 / 3) / math.log(50 / 3), 1.0])  # of 3e-4 to 5e-3, by the logarithm
    half = next(k for k, c in enumerate(encoder.columns) if c.name == "lr_policy.half")
    assert encoder.encode([aligned_features(DesignPoint())])[0, half] == 0.5  # a policy without it


def forecast(point: DesignPoint) -> Forecast:
    assert isinstance(point.batch_schedule, FixedBatch)
    return Forecast(seconds=20 + 1000 / point.batch_schedule.size, fixed={"params": 8e6})


def measured(number: int, point: DesignPoint) -> FinishedTrial:
    """The error is least at one peak rate for each batch size, at one lowest rate and at one shape."""
    assert isinstance(point.lr_policy, OneCycle) and isinstance(point.batch_schedule, FixedBatch)
    doublings = math.log2(point.batch_schedule.size / 16)
    off = (
        math.log(point.lr_policy.lr_max / 2e-3) - 0.4 * doublings,
        math.log(point.lr_policy.lr_min / 1e-4),
        point.lr_policy.half - 0.3,
    )
    error = 4 * math.exp(0.15 * doublings + 0.3 * off[0] ** 2 + 0.05 * off[1] ** 2 + 8 * off[2] ** 2)
    acc = 100 - min(90.0, error * math.exp(random.Random(point.key).gauss(0, 0.03)))
    values = {"acc": acc, "time": 0.9 * forecast(point).seconds, "params": 8e6}
    return FinishedTrial(number=number, point=point, measurement=Measurement(values=values, selected_epoch=9))


def searched(sampler: Sampler, trials: int, seed: int, history: History) -> History:
    """A search on the line, with a new proposer, from a history on."""
    spec = StudySpec(name="line", space=LINE, epochs=10, sampler=sampler, seed=seed, first=())
    proposer = make_proposers(spec, forecast)[-1]
    while len(history.finished) < trials:
        point = proposer.propose(history)
        assert point is not None and LINE.admits(point)
        history.finished.append(measured(len(history.finished), point))
        history.keys.add(point.key)
    return history


def spent(history: History) -> float:
    """The seconds of training."""
    return math.fsum(forecast(trial.point).seconds for trial in history.finished)


def found(history: History) -> float:
    """The hypervolume of accuracies from 90 % up, and of times."""
    values = [trial.measurement.values for trial in history.finished if trial.measurement is not None]
    return hypervolume(np.array([[(100 - v["acc"]) / 10, v["time"] / 100] for v in values]), [1.0, 1.0])


def test_it_finds_more_than_chance_does() -> None:
    """For less training, over two seeds."""
    guided, by_chance = ([searched(sampler, 24, seed, History()) for seed in (1, 2)] for sampler in SAMPLERS)
    assert math.fsum(map(spent, guided)) < 0.9 * math.fsum(map(spent, by_chance))
    assert math.fsum(map(found, guided)) > 1.1 * math.fsum(map(found, by_chance))


def test_a_search_that_was_stopped_proposes_the_same() -> None:
    """Whatever the order in which the trials are told: the proposals depend on nothing else."""
    whole = [trial.point.key for trial in searched("guided", 14, 3, History()).finished]
    stopped = searched("guided", 9, 3, History())
    again = History(finished=[*reversed(stopped.finished)], keys={*stopped.keys})
    assert [trial.point.key for trial in searched("guided", 14, 3, again).finished][9:] == whole[9:]


def test_of_many_designs_the_surrogate_knows_those_near_the_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastrcaps_dse.search.guided.MODELED", 20)

    trials = searched("random", 60, 1, History()).finished
    chosen = informative(trials, parse_objectives("acc,time"), 20)
    assert len(chosen) == 20 and [t.number for t in chosen] == sorted(t.number for t in chosen)
    best = max(trials, key=lambda t: t.measurement["acc"] if t.measurement else 0)
    assert best in chosen
    assert informative(trials[:20], parse_objectives("acc,time"), 20) == trials[:20]
