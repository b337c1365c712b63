"""What a study would take: estimates against what recorded step times make of it."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, override
from fastrcaps_dse.problem.timelines import build_timeline
from fastrcaps_dse.runs.cost_model import on_the_line
from fastrcaps_dse.runs.estimates import Remaining, trials_within
from fastrcaps_dse.trainer import step_key

RECORD = json.loads((Path(__file__).parent.parent / "reports" / "benchmarks" / "step-times.json").read_text(encoding="utf-8"))
SHAPE = ImageShape(channels=1, height=28, width=28, classes=10)
STUDY = """
epochs = 10
trials = 40
[space]
lr_policy = ["fixed", "one-cycle", "warm-restarts"]
batch_schedule = [16, 32, 128, "adabatch(head_batch=8,tail_batch=64)"]
decoder = ["full", "small"]
"""


def phases(point: DesignPoint, spec: StudySpec) -> list[tuple[int, int]]:
    """(batch size, steps) of each phase of a run on 2,000 images."""
    line = build_timeline(point.batch_schedule, epochs=spec.epochs, images=2000)
    return [(phase.batch_size, phase.epochs * phase.steps_per_epoch) for phase in line.phases]


def step(point: DesignPoint, size: int) -> float:
    return float(RECORD["steps"][str(step_key(point, SHAPE, size, "float32"))]["seconds"])


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_the_estimated_rest(seed: int, workers: int) -> None:
    """Designs in a random order on a clock of recorded step times: every estimate, from the first trial on, is within 1.5 times,
    as long as a tenth of the whole is left.
    """
    spec = parse_study(STUDY, default_name="s")
    generator = random.Random(seed)
    order = [*spec.space.designs()]
    generator.shuffle(order)
    order = [*spec.first_designs, *(p for p in order if p.key not in {q.key for q in spec.first_designs})]
    known: dict[int, float] = {}

    def guess(point: DesignPoint) -> float:
        return sum(n * (known.get(b) or on_the_line(known, b)) for b, n in phases(point, spec))

    remaining = Remaining(spec=spec, estimate=guess, workers=workers)
    # the true schedule: each design goes to the worker that is free first, and takes what its steps take, with some noise
    free = [0.0] * workers
    events: list[tuple[float, int, str]] = []
    for trial, point in enumerate(order):
        worker = min(range(workers), key=free.__getitem__)
        events.append((free[worker], trial, "begin"))
        free[worker] += sum(n * step(point, b) for b, n in phases(point, spec)) * 1.15 * generator.uniform(0.9, 1.1)
        events.append((free[worker], trial, "end"))
    end, finished = max(free), 0
    ratios = []
    for now, trial, kind in sorted(events, key=lambda e: (e[0], e[2] == "begin", e[1])):
        if kind == "begin":
            remaining.begin(trial, order[trial], now)
            continue
        for b, _ in phases(order[trial], spec):
            known[b] = step(order[trial], b)
        remaining.end(trial, now)
        finished += 1
        estimate = remaining.seconds(len(order) - finished, now)
        assert estimate is not None
        if end - now > end / 10:
            ratios.append(estimate / (end - now))
    assert max(map(math.log, ratios)) < math.log(1.5) and min(map(math.log, ratios)) > -math.log(1.5), sorted(ratios)


def test_nothing_is_said_before_a_trial_is_finished() -> None:
    spec = parse_study(STUDY, default_name="s")
    remaining = Remaining(spec=spec, estimate=lambda _: 10.0, workers=2)
    remaining.begin(0, spec.first_designs[0], 0.0)
    assert remaining.seconds(4, 5.0) is None
    remaining.end(0, 20.0)  # twice as long as estimated
    assert remaining.seconds(0, 20.0) == 0
    assert remaining.seconds(3, 20.0) == pytest.approx(30.0)  # three of 20 s by two workers
    remaining.begin(1, spec.first_designs[1], 20.0)
    assert remaining.seconds(1, 25.0) == pytest.approx(15.0)  # the one under way has 15 s to go


def test_an_unknown_batch_size_lies_on_the_line() -> None:
    assert on_the_line({16: 1.0, 32: 2.0}, 64) == pytest.approx(4.0)
    assert on_the_line({16: 2.0}, 32) == pytest.approx(3.0)
    assert on_the_line({64: 1.0, 128: 3.0}, 8) > 0


def test_the_first_epoch_gives_an_estimate() -> None:
    """Epochs take twice as long as estimated; three of four trials follow."""
    spec = parse_study(STUDY, default_name="s")
    remaining = Remaining(spec=spec, estimate=lambda _: 10.0, workers=1)
    remaining.begin(0, spec.first_designs[0], 0.0)
    remaining.epoch(0, 1 / 10, 2.0)
    assert remaining.seconds(4, 2.0) == pytest.approx(4 * 20.0 - 2.0)
    remaining.epoch(0, 5 / 10, 4.0)  # no run is faster than its steps
    assert remaining.seconds(4, 4.0) == pytest.approx(4 * 10.0 - 4.0)
    remaining.end(0, 15.0)  # what a whole trial took replaces the estimate by epochs
    assert remaining.seconds(3, 15.0) == pytest.approx(45.0)


def test_a_slow_machine_tries_fewer_designs_and_never_fewer_than_make_a_front() -> None:
    spec = parse_study(STUDY + "[space.fields]\n", default_name="s")
    spec = override(spec, trials=8, within=100.0, first=tuple([*spec.space.designs()][:8]))
    seconds = {point.key: 10.0 + 2 * number for number, point in enumerate(spec.first_designs)}  # 10, 12, ... 24; 90 s for six
    for factor, expected in ((0.5, 8), (1.0, 6), (1.1, 6), (1.2, 5), (10.0, 5)):
        assert trials_within(spec, lambda point, factor=factor: factor * seconds[point.key]) == expected  # type: ignore[misc]
    assert trials_within(override(spec, trials=3), lambda _: 1e6) == 3
    assert trials_within(override(spec, seeds=2), lambda point: 0.5 * seconds[point.key]) == 6
    assert (
        trials_within(override(spec, trials=20), lambda _: 9.0) == 11
    )  # those after the first ones take as long as their mean


def test_the_time_to_keep_within_is_a_duration_and_does_not_tell_studies_apart() -> None:
    study, other = (parse_study(f'within = "{text}"\n' + STUDY, default_name="s") for text in ("3m", "90s"))
    assert (study.within, other.within) == (180.0, 90.0) and study.identity() == other.identity()
    for bad in ('"soon"', '"0s"', "3"):
        with pytest.raises(InputError):
            parse_study(f"within = {bad}\n" + STUDY, default_name="s")
