"""Runs that are paused and taken up again: they are trained as if they had not been, by whichever process."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse import store
from fastrcaps_dse.problem.space import design_to_dict
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, override
from fastrcaps_dse.runs import worker_pool
from fastrcaps_dse.runs.budget import start_budget
from fastrcaps_dse.runs.runner import Runner
from fastrcaps_dse.search import step_choice
from fastrcaps_dse.search.protocols import EpochFinished, Event, Measured, Paused, Request, RunStarted, StepsTaken
from fastrcaps_dse.session import OpenStudy, race
from fastrcaps_dse.store import Store
from fastrcaps_dse.trainer.checkpoint import read_tensors
from tests.conftest import Command
from tests.sessions import Heard, curves_of, explore, explored, opened
from tests.small_networks import small_worker

pytestmark = pytest.mark.usefixtures("small_capsnet")

STUDY = """
name = "a"
dataset = "{dataset}"
time = "measured"
epochs = 3
trials = 3
anytime = true
first = []
[space]
lr_policy = ["one-cycle"]
batch_schedule = [4, 8, 16]
weight_sharing = [false]
decoder = ["small"]
"""


@pytest.fixture(autouse=True)
def one_epoch_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of a few milliseconds are steps of their own, and are taken up for nothing."""
    monkeypatch.setattr(step_choice, "STEP_SECONDS", 0.0)
    monkeypatch.setattr(step_choice, "TAKING_UP", 0.0)


def spec_of(tiny: Path, **changes: Any) -> StudySpec:
    return override(parse_study(STUDY.format(dataset=tiny), default_name="a"), **changes)


class Pauses(Heard):
    """Keeps the pauses, and how many attempts of a run have files then."""

    def __init__(self, runs: Path, stop_after: int = 10**9) -> None:
        super().__init__(stop_after)
        self.runs = runs
        self.paused: list[tuple[int, int]] = []  # (run, epochs)
        self.attempts: list[int] = []

    def tell(self, event: Event) -> None:
        super().tell(event)
        if isinstance(event, Paused):
            run_id = event.request.run_id
            self.paused.append((run_id, event.epochs))
            self.attempts.append(len([*store.run_folder(self.runs, run_id).glob("attempt-*")]))


def weights_of(ours: Store) -> dict[str, dict[str, Any]]:
    """The weights of each design that keeps them."""
    runs = [run for run in ours.runs(ours.study("a").study_id) if run.weights]
    return {run.design.key: {k: v.tolist() for k, v in read_tensors(Path(run.weights or ""))[0].items()} for run in runs}


def test_a_run_that_pauses_is_trained_as_one_that_does_not(tmp_path: Path, tiny: Path) -> None:
    whole = explore(tmp_path / "whole", spec_of(tiny, sampler="exhaustive"), trials=3)
    paused = Pauses(tmp_path / "stepped" / "s.runs")
    stepped = explore(tmp_path / "stepped", spec_of(tiny), paused, trials=3)
    assert len(paused.paused) >= 3
    assert max(paused.attempts) == 1  # earlier attempts leave nothing
    expected, found = curves_of(whole, "a"), curves_of(stepped, "a")
    assert found.keys() == expected.keys() and any(len(curve) == 3 for curve in found.values())
    for design, curve in found.items():
        assert curve == expected[design][: len(curve)]
    runs = stepped.runs(stepped.study("a").study_id)
    assert {run.state for run in runs} == {"done"}
    for run in runs:
        assert run.measurement is not None and run.measurement.test_acc is not None
        epochs = len(found[run.design.key])
        assert run.measurement.pruned_after == (None if epochs == 3 else epochs)
        assert run.measurement["acc"] == max(epoch["acc"] for epoch in found[run.design.key])


def trained(place: Path, spec: StudySpec, untils: Sequence[int | None]) -> tuple[list[Any], list[Any], Any]:
    """(its messages, its curve, its weights) of a run that pauses after so many epochs each time."""
    with opened(place, spec) as study:
        runner = Runner(context=study.context, cost_model=study.cost_model)
        point, messages = next(iter(spec.space.designs())), []
        for until in untils:
            design = design_to_dict(point)
            run = study.store.claim_run(study.row.study_id, None if until == untils[0] else 0, design, point.key, 0, most=1)
            request = Request(trial=0, point=point, seed=0, run_id=run.run_id, attempt=run.attempt, until=until)
            messages += [m for m in runner.run(request) if not isinstance(m, StepsTaken)]
        return messages, list(curves_of(study.store, "a").values()), weights_of(study.store)


def test_pausing_leaves_no_trace_in_the_weights(tmp_path: Path, tiny: Path) -> None:
    _, whole, weights = trained(tmp_path / "whole", spec_of(tiny), [None])
    messages, stepped, same = trained(tmp_path / "stepped", spec_of(tiny), [1, 2, None])
    assert whole == stepped and len(whole[0]) == 3 and weights and weights == same
    kinds = [RunStarted, EpochFinished, Paused] * 2 + [RunStarted, EpochFinished, Measured]
    assert [type(message) for message in messages] == kinds
    assert [len(m.accuracies) for m in messages if isinstance(m, RunStarted)] == [0, 1, 2]


@pytest.mark.parametrize("stop", [2, pytest.param(5, marks=pytest.mark.thorough)])
def test_a_killed_search_goes_on_to_the_same_end(tmp_path: Path, tiny: Path, stop: int) -> None:
    """The times of all epochs are alike here, as steps are counted: what a clock tells would differ."""
    spec = spec_of(tiny, time="steps")
    with opened(tmp_path / "one", spec) as study:
        explored(study, None, 3)
        one = curves_of(study.store, "a"), weights_of(study.store), outcomes(study)
        times = study.store
        with opened(tmp_path / "two", spec) as other:
            copy_step_times(times, other.store)
            with pytest.raises(KeyboardInterrupt):
                explored(other, Heard(stop), 3)
            states = Counter(run.state for run in other.store.runs(other.row.study_id))
            assert states["interrupted"] >= 1 and not states["running"]
        with opened(tmp_path / "two", spec) as other:
            outcome = explored(other, None, 3)
            assert outcome.trials == 3 and not outcome.paused
            assert (curves_of(other.store, "a"), weights_of(other.store), outcomes(other)) == one


def outcomes(study: OpenStudy) -> list[tuple[str, Any]]:
    runs = study.store.runs(study.row.study_id)
    return [(run.design.key, run.measurement) for run in runs]


def copy_step_times(source: Store, target: Store) -> None:
    """Let both count the same seconds."""
    from fastrcaps_dse.store import tables

    for row in source.rows(tables.step_time.select()):
        target.write(lambda connection, row=row: connection.execute(tables.step_time.insert().values(**row)))  # type: ignore[misc]


def test_a_budget_that_ends_leaves_runs_paused(tmp_path: Path, tiny: Path) -> None:
    spec = spec_of(tiny)
    with opened(tmp_path, spec) as study:
        ticks = iter(range(10**6))
        outcome = explored(study, None, None, budget=start_budget(12.0, lambda: float(next(ticks))))
        assert outcome.spent and outcome.paused >= 1
        trials = study.optuna.study.get_trials()
        assert {"RUNNING"} <= {trial.state.name for trial in trials} <= {"RUNNING", "COMPLETE"}
    with opened(tmp_path, spec) as study:
        outcome = explored(study, None, 3)
        assert outcome.trials == 3 and not outcome.paused
        assert {trial.state.name for trial in study.optuna.study.get_trials()} == {"COMPLETE"}
        assert race(study, max_seeds=2) <= 3
        assert explored(study, None, 3).trials == 3  # further seeds change nothing of what is begun


@pytest.mark.slow
def test_workers_take_up_what_others_have_paused(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "_work", small_worker)
    whole = explore(tmp_path / "whole", spec_of(tiny, sampler="exhaustive"), trials=3)
    stepped = explore(tmp_path / "stepped", spec_of(tiny, time="steps"), trials=3, workers=2)
    found = curves_of(stepped, "a")
    assert len(found) == 3
    for design, curve in found.items():
        assert curve == curves_of(whole, "a")[design][: len(curve)]
    assert {run.state for run in stepped.runs(1)} == {"done"}


def test_the_command_line(command: Command, tiny: Path, tmp_path: Path) -> None:
    text = STUDY.format(dataset=tiny).replace("anytime = true\n", "").replace('name = "a"\n', "")
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    options = ("--device", "cpu", "--workers", 1)
    refused = command("explore", "tiny.toml", "--sampler", "freeze-thaw", *options)
    assert refused.code == 2 and "--anytime" in refused.err
    refused = command("explore", "tiny.toml", "--anytime", "--seeds", 2, *options)
    assert refused.code == 2 and "--max-seeds 2" in refused.err
    planned = command("explore", "tiny.toml", "--anytime", "--dry-run", *options)
    assert planned.code == 0 and "tiny-anytime in the anytime view" in planned.out and "freeze-thaw pauses runs" in planned.out
    told = command("explore", "tiny.toml", "--anytime", *options)
    assert told.code == 0 and "paused after 1 of 3 epochs: acc " in told.err
    assert "sampler freeze-thaw" in told.err and "[3/3] trial" in told.err
    listed = json.loads(command("studies", "--json").out)
    assert [study["study"] for study in listed] == ["tiny-anytime"]
    again = command("explore", "tiny.toml", "--anytime", "--sampler", "random", "--study", "whole", "--trials", 1, *options)
    assert again.code == 0 and "paused" not in again.err
