"""What an exploration does not train: shared beginnings, equal runs, what cannot enter the front; and the seeds it adds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from fastrcaps_dse import data, search, store, trainer
from fastrcaps_dse.analysis import results
from fastrcaps_dse.analysis.results import front_of
from fastrcaps_dse.problem.objectives import Measurement, parse_objectives
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import override, parse_study
from fastrcaps_dse.runs import Runner
from fastrcaps_dse.runs.prefix_cache import Beginnings
from fastrcaps_dse.session import Session
from tests.sessions import SHARED, Heard, curves_of, shared


def test_equal_beginnings_are_trained_once(tmp_path: Path, tiny: Path) -> None:
    ours, heard = shared(tmp_path, tiny)
    assert sorted(heard.begun) == [0, 1]  # both schedules begin with one epoch of batch 4
    (tmp_path / "fresh").mkdir()
    fresh, heard = shared(tmp_path / "fresh", tiny, fresh=True)
    assert heard.begun == [0, 0] and curves_of(ours, "a") == curves_of(fresh, "a")
    for run in ours.runs(ours.study().study_id):
        epochs, measured = ours.epochs(run.run_id), run.measurement
        assert measured is not None and len(epochs) == 3
        assert measured["time"] == pytest.approx(sum(e.counted_seconds for e in epochs[: measured.selected_epoch]))
        loaded = trainer.Training(run.design, 0, data.load(str(tiny)), epochs=1, device=torch.device("cpu"))
        if run.weights:
            loaded.load_weights(Path(run.weights))
            assert loaded.test_accuracy() == measured.test_acc


def test_a_longer_run_goes_on_from_a_shorter_one(tmp_path: Path, tiny: Path) -> None:
    shared(tmp_path, tiny, epochs=2, schedules="[8]")
    ours, heard = shared(tmp_path, tiny, name="longer", epochs=4, schedules="[8]")
    assert heard.begun == [2]
    (tmp_path / "fresh").mkdir()
    fresh, _ = shared(tmp_path / "fresh", tiny, name="longer", epochs=4, schedules="[8]", fresh=True)
    assert curves_of(ours, "longer") == curves_of(fresh, "longer")


def test_equal_runs_are_reused_across_studies(tmp_path: Path, tiny: Path) -> None:
    ours, _ = shared(tmp_path, tiny)
    again, heard = shared(tmp_path, tiny, name="b")
    assert heard.begun == [] and curves_of(again, "b") == curves_of(ours, "a")
    first, second = ([r.measurement for r in ours.runs(ours.study(n).study_id)] for n in ("a", "b"))
    assert sorted(map(repr, first)) == sorted(map(repr, second))
    shutil.rmtree(tmp_path / "s.runs" / "run-000001", ignore_errors=True)
    for run in again.runs(again.study("b").study_id):
        assert run.weights is None or Path(run.weights).exists()
    _, heard = shared(tmp_path, tiny, name="c", fresh=True)
    assert heard.begun == [0, 0]
    _, heard = shared(tmp_path, tiny, name="d", epochs=2)  # another length: only beginnings
    assert heard.begun in ([0, 1], [1, 1])


def test_a_broken_beginning_is_trained_again(tmp_path: Path, tiny: Path) -> None:
    shared(tmp_path, tiny)
    for path in (tmp_path / "s.runs" / "beginnings").glob("*/checkpoint.safetensors"):
        path.write_bytes(path.read_bytes()[:1000])
    _, heard = shared(tmp_path, tiny, name="longer", epochs=4, schedules="[8]")
    assert heard.begun == [0] and not heard.warnings
    _, heard = shared(tmp_path, tiny, name="again", epochs=4)
    assert heard.begun[0] == 0 and any("a shared beginning cannot be used" in w for w in heard.warnings)


def test_the_oldest_beginnings_go(tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.write_bytes(b"x" * 1000)
    kept = Beginnings(tmp_path / "kept", limit=5000)
    for number in range(4):
        kept.keep(f"key{number}", source, source, [{"acc": 1.0}])
        os.utime(tmp_path / "kept" / f"key{number}", (number, number))
    kept._trim()
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["key2", "key3"]
    found = kept.longest(["key3", "none"])
    assert found is not None and found.checkpoint.read_bytes() == source.read_bytes()
    assert kept.longest(["none", "key3"]) is None  # it has one epoch, not two


def test_settling_spends_seeds_where_membership_is_open(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracies that are known: two designs alike but for noise, one far behind."""
    spec = parse_study(SHARED.format(name="a", dataset=tiny, epochs=1, schedules="[8, 16, 32]"), default_name="s")
    session = Session(
        override(spec, objectives=parse_objectives("acc")), store.parse_url(str(tmp_path / "s.db")), Heard(), device="cpu"
    )
    trained: list[tuple[int, int]] = []

    def train(run: Any, point: DesignPoint, seed: int) -> Measurement:
        size = point.batch_schedule.size  # type: ignore[union-attr]
        trained.append((size, seed))
        noise = [0.0, 0.3, -0.2, 0.1, -0.1, 0.2][seed] * (1 if size == 8 else -1)
        measured = Measurement(values={"acc": {8: 95.0, 16: 95.05, 32: 60.0}[size] + noise, "time": 1.0, "params": 1.0})
        session.store.finish_run(run.run_id, measured, 1.0, None)
        return measured

    monkeypatch.setattr(Runner, "_train", lambda self, run, point, seed, report: train(run, point, seed))
    session.run(3)
    assert sorted(trained) == [(8, 0), (16, 0), (32, 0)]
    assert session.settle(6) == 10 and len(set(trained)) == len(trained)
    assert {size for size, _ in trained[3:]} == {8, 16}  # nothing was spent on the one far behind
    known = results.standings_of(session.store.trials(session.study), session.study.objectives)
    assert [s.seeds for s in known.values()].count(6) == 2 and min(s.on_front or 0 for s in known.values()) == 0
    assert session.settle(6) == 0  # all that are open have their seeds


def test_a_run_that_cannot_enter_the_front_is_stopped(tmp_path: Path, tiny: Path) -> None:
    """A first design reaches 100 %; the slower and larger one that follows cannot do better, and stops."""
    text = SHARED.format(name="a", dataset=tiny, epochs=4, schedules="[8, 48]")
    text = text.replace("first = []", 'first = ["lr_policy=fixed batch_schedule=8 decoder=small"]')
    objectives = parse_objectives("acc,params,epochs")
    spec = override(parse_study(text.replace('["small"]', '["small", "full"]'), default_name="s"), objectives=objectives)
    url = store.parse_url(str(tmp_path / "s.db"))
    session = Session(override(spec, pruning="safe"), url, Heard(), device="cpu")
    session.run(4)
    trials = session.store.trials(session.study)
    stopped = {run.reason: run for t in trials for run in t.runs if run.reason}
    assert set(stopped) == {"dominated, whatever its training gives", "its accuracy cannot rise further"}
    assert all(t.state == "done" for t in trials)
    for reason, run in stopped.items():
        done = len(session.store.epochs(run.run_id))
        assert done < 4 and run.measurement is not None
        assert run.measurement.pruned_after == (done if reason.startswith("dominated") else None)  # else it is not censored
    curve = search.find_study(session.spec, session.storage)[0].trials[0].intermediate_values
    (first,) = trials[0].runs
    assert curve == {e.epoch: e.acc for e in session.store.epochs(first.run_id)}
    # nothing is lost: the front is that of whole runs
    (tmp_path / "whole").mkdir()
    whole = Session(spec, store.parse_url(str(tmp_path / "whole" / "s.db")), Heard(), device="cpu")
    whole.run(4)
    # another study that stops nothing takes over whole runs only
    again = Session(override(spec, name="again"), url, Heard(), device="cpu")
    again.run(4)
    assert all(len(again.store.epochs(run.run_id)) == 4 for t in again.store.trials(again.study) for run in t.runs)
    fronts = [
        sorted((t.design.key, t.measurement["acc"]) for t in front_of(s.store.trials(s.study), objectives) if t.measurement)
        for s in (session, whole)
    ]
    assert fronts[0] == fronts[1]
