"""The anytime view: against every epoch of every run, looked at one by one."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path

import pytest

from fastrcaps_dse.analysis.anytime import anytime_trials, is_anytime
from fastrcaps_dse.analysis.pareto import dominates
from fastrcaps_dse.analysis.picks import parse_limits, pick
from fastrcaps_dse.analysis.results import candidates_of, front_of, standings_of
from fastrcaps_dse.capsnet.sizes import ImageShape, static_objectives
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.objectives import costs_of
from fastrcaps_dse.problem.stored_spec import spec_from_identity
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.store import Store, TrialRow
from tests.synthetic import make_spec, write_study


def points_of(ours: Store) -> list[TrialRow]:
    row = ours.study()
    return anytime_trials(ours.trials(row), ours.epochs_of(row.study_id), row)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_front_is_that_of_all_epochs(tmp_path: Path, seeds: int) -> None:
    ours = write_study(tmp_path / "s.db", 12, seeds=seeds, running=2, failed=1)
    row, every = ours.study(), {}
    epochs = ours.epochs_of(row.study_id)
    for trial in ours.trials(row):
        if trial.state == "failed":
            continue
        curves = [epochs[run.run_id] for run in trial.runs]
        params = static_objectives(trial.design, ImageShape(**row.image_shape))["params"]
        for done in range(1, len(curves[0]) + 1):
            acc = statistics.fmean(max(e.acc for e in curve[:done]) for curve in curves)
            seconds = statistics.fmean(sum(e.counted_seconds for e in curve[:done]) for curve in curves)
            every[trial.trial, done] = (-acc, seconds, params)
    assert any(key[0] >= 13 for key in every)  # runs under way have epochs, too
    best = {k for k, cost in every.items() if not any(dominates(other, cost) for other in every.values())}
    found = {
        t.key: costs_of(row.objectives, t.measurement.values)
        for t in front_of(points_of(ours), row.objectives)
        if t.measurement
    }
    assert found.keys() == best
    for key, cost in found.items():
        assert cost == pytest.approx(every[key], rel=1e-12)  # type: ignore[index]


def test_a_point_is_its_run_stopped(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 6, failed=1, objectives="acc,time,params,epochs,macs,memory,time_to:98")
    row = ours.study()
    epochs = ours.epochs_of(row.study_id)
    points = points_of(ours)
    assert [t.measurement for t in points if t.state == "failed"] == [None]
    for trial, of_trial in itertools.groupby([t for t in points if t.measurement], key=lambda t: t.trial):
        stops = [*of_trial]
        accuracies = [t.measurement["acc"] for t in stops if t.measurement]
        assert accuracies == sorted(set(accuracies)) and stops[0].stop_after == 1
        whole = next(t for t in ours.trials(row) if t.trial == trial)
        assert whole.measurement is not None
        for t in stops:
            assert t.measurement is not None and t.stop_after is not None
            curve = epochs[t.runs[0].run_id][: t.stop_after]
            assert t.measurement["epochs"] == t.stop_after == t.measurement.selected_epoch
            reached = [sum(e.counted_seconds for e in curve[: k + 1]) for k, e in enumerate(curve) if e.acc >= 98]
            assert t.measurement["time_to:98"] == pytest.approx(reached[0]) if reached else t.measurement["time_to:98"] > 1e6
            ends = t.stop_after == whole.measurement.selected_epoch
            assert t.measurement.test_acc == (whole.measurement.test_acc if ends else None)
        last = stops[-1].measurement
        assert last is not None and {n: last[n] for n in ("acc", "time", "epochs")} == pytest.approx(
            {n: whole.measurement[n] for n in ("acc", "time", "epochs")}
        )


def test_labels_say_where_a_run_is_stopped(tmp_path: Path) -> None:
    points = {t.key: t for t in points_of(write_study(tmp_path / "s.db", 1, epochs=2))}
    assert [t.label.removeprefix(t.design.label) for t in points.values()] == [", stop after epoch 1 of 2", ", all 2 epochs"]
    only = points_of(write_study(tmp_path / "t.db", 1, epochs=1))[0]
    assert only.label == f"{only.design.label}, the only epoch"


def test_the_pick_says_after_which_epoch(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 8, seeds=2)
    row, points = ours.study(), points_of(ours)
    sure = standings_of(points, row.objectives)
    assert len(sure) == len(points) == len({t.key for t in points})
    budget = statistics.quantiles([t.measurement["time"] for t in points if t.measurement], n=5)[0]
    chosen = pick(candidates_of(points, row.objectives), row.objectives, parse_limits([f"time<={budget}s"]), "acc")
    fitting = [t for t in points if t.measurement and t.measurement["time"] <= budget]
    best = max(t.measurement["acc"] for t in fitting if t.measurement)
    (picked,) = [t for t in points if t.key == (chosen.trial, chosen.stop_after)]
    assert picked.measurement and picked.measurement["acc"] <= best and picked in fitting
    assert picked.label in chosen.why[0] and "stop after epoch" in chosen.why[0]
    nothing = pick(candidates_of(points, row.objectives), row.objectives, parse_limits(["time<=1ms"]), "acc")
    nearest = min((t for t in points if t.measurement), key=lambda t: t.measurement["time"] if t.measurement else 0)
    assert nothing.trial is None and (nothing.nearest_miss, nothing.stop_after) == nearest.key


def test_anytime_studies_are_studies_of_their_own() -> None:
    text = 'anytime = true\n[space]\nlr_policy = ["fixed"]\n'
    spec = parse_study(text, default_name="a")
    assert spec.anytime and spec.sampler == "freeze-thaw" and spec.identity()["anytime"] is True
    assert parse_study('sampler = "guided"\n' + text, default_name="a").sampler == "guided"
    again = spec_from_identity(spec.identity(), name="a", text=text)
    assert again.identity() == spec.identity() and again.anytime
    assert "anytime" not in make_spec("whole").identity()  # which those of earlier versions lack, too
    for wrong in ("anytime = 1", 'anytime = "yes"', 'sampler = "freeze-thaw"', 'anytime = true\npruning = "on"'):
        with pytest.raises(InputError):
            parse_study(wrong, default_name="a")


def test_a_study_knows_its_view(tmp_path: Path) -> None:
    assert not is_anytime(write_study(tmp_path / "s.db", 1).study())
