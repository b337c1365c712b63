"""What an exploration does not train: cached prefixes, equal runs, what cannot enter the front; and the seeds that racing adds."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fastrcaps_dse import data, session, trainer
from fastrcaps_dse.analysis import results
from fastrcaps_dse.analysis.results import front_of
from fastrcaps_dse.capsnet import sizes
from fastrcaps_dse.errors import RunFailed
from fastrcaps_dse.problem.objectives import Measurement, parse_objectives
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import override
from fastrcaps_dse.runs.prefix_cache import PrefixCache
from fastrcaps_dse.runs.runner import PREFIXES, Runner
from fastrcaps_dse.search.protocols import Measured, Message, Request
from fastrcaps_dse.store import RunRow
from tests.sessions import SHARED, curves_of, explored, opened, shared

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_capsnet")]


def test_equal_prefixes_are_trained_once(tmp_path: Path, tiny: Path) -> None:
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
    _, heard = shared(tmp_path, tiny, name="d", epochs=2)  # another length: only prefixes
    assert heard.begun in ([0, 1], [1, 1])


def test_a_broken_prefix_is_trained_again(tmp_path: Path, tiny: Path) -> None:
    shared(tmp_path, tiny)
    for path in (tmp_path / "s.runs" / PREFIXES).glob("*/checkpoint.safetensors"):
        path.write_bytes(path.read_bytes()[:1000])
    _, heard = shared(tmp_path, tiny, name="longer", epochs=4, schedules="[8]")
    assert heard.begun == [0] and not heard.warnings
    _, heard = shared(tmp_path, tiny, name="again", epochs=4)
    assert heard.begun[0] == 0 and any("a cached prefix cannot be used" in w for w in heard.warnings)


def test_the_oldest_prefixes_go(tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.write_bytes(b"x" * 1000)
    kept = PrefixCache(folder=tmp_path / "kept", limit=5000)
    for number in range(4):
        kept.keep(f"key{number}", source, source, [{"acc": 1.0}])
        os.utime(tmp_path / "kept" / f"key{number}", (number, number))
    kept._trim()
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["key2", "key3"]
    found = kept.longest(["key3", "none"])
    assert found is not None and found.checkpoint.read_bytes() == source.read_bytes()
    assert kept.longest(["none", "key3"]) is None  # it has one epoch, not two


def test_racing_spends_seeds_where_membership_is_uncertain(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracies that are given: two designs alike but for noise, one far behind."""
    spec = parse_study(SHARED.format(name="a", dataset=tiny, epochs=1, schedules="[8, 16, 32]"), default_name="s")
    study = opened(tmp_path, override(spec, objectives=parse_objectives("acc")))
    trained: list[tuple[int, int]] = []

    def train(self: Runner, run: RunRow, request: Request, lost: threading.Event) -> Iterator[Message]:
        size = request.point.batch_schedule.size  # type: ignore[union-attr]
        trained.append((size, request.seed))
        noise = [0.0, 0.3, -0.2, 0.1, -0.1, 0.2][request.seed] * (1 if size == 8 else -1)
        measured = Measurement(values={"acc": {8: 95.0, 16: 95.05, 32: 60.0}[size] + noise, "time": 1.0, "params": 1.0})
        study.store.finish_run(run.run_id, run.attempt, measured, 1.0, None)
        yield Measured(request=request, measurement=measured)

    monkeypatch.setattr(Runner, "_train", train)
    explored(study, trials=3)
    assert sorted(trained) == [(8, 0), (16, 0), (32, 0)]
    assert session.race(study, max_seeds=6) == 10 and len(set(trained)) == len(trained)
    assert {size for size, _ in trained[3:]} == {8, 16}  # nothing was spent on the one far behind
    sure = results.standings_of(study.store.trials(study.row), study.row.objectives)
    assert [s.seeds for s in sure.values()].count(6) == 2 and min(s.on_front or 0 for s in sure.values()) == 0
    assert session.race(study, max_seeds=6) == 0  # all uncertain ones have their seeds
    frame = session.results(study).trials
    assert sorted(frame["seeds"]) == [1, 6, 6] and frame["tied"].sum() == sum(s.doubtful for s in sure.values())


def test_every_design_gets_its_seeds_in_rounds(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one far behind, too; and a run that failed is not tried again."""
    spec = parse_study(SHARED.format(name="a", dataset=tiny, epochs=1, schedules="[8, 16, 32]"), default_name="s")
    study = opened(tmp_path, override(spec, objectives=parse_objectives("acc")))
    trained: list[tuple[int, int]] = []

    def train(self: Runner, run: RunRow, request: Request, lost: threading.Event) -> Iterator[Message]:
        size = request.point.batch_schedule.size  # type: ignore[union-attr]
        trained.append((request.seed, size))
        if trained[-1] == (1, 16):
            raise RunFailed("the loss is not finite after epoch 1")
        measured = Measurement(values={"acc": {8: 95.0, 16: 95.05, 32: 60.0}[size], "time": 1.0, "params": 1.0})
        study.store.finish_run(run.run_id, run.attempt, measured, 1.0, None)
        yield Measured(request=request, measurement=measured)

    monkeypatch.setattr(Runner, "_train", train)
    explored(study, trials=3)
    assert session.race(study, max_seeds=1, every=True) == 0
    assert session.race(study, max_seeds=3, every=True) == 6
    order = [size for _, size in trained[:3]]
    assert sorted(order) == [8, 16, 32] and trained == [(seed, size) for seed in range(3) for size in order]
    assert session.race(study, max_seeds=3, every=True) == 0
    assert sorted(session.results(study).trials["seeds"]) == [2, 3, 3]


def test_a_run_that_cannot_enter_the_front_is_pruned(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first design reaches 100 %; the slower and larger one that follows cannot do better, and is pruned."""
    monkeypatch.setattr(sizes, "CONV_CHANNELS", 64)  # large enough to reach it
    monkeypatch.setattr(sizes, "CAPSULE_TYPES", 8)
    text = SHARED.format(name="a", dataset=tiny, epochs=4, schedules="[8, 48]")
    text = text.replace("first = []", 'first = ["lr_policy=fixed batch_schedule=8 decoder=small"]')
    objectives = parse_objectives("acc,params,epochs")
    spec = override(parse_study(text.replace('["small"]', '["small", "full"]'), default_name="s"), objectives=objectives)
    study = opened(tmp_path, override(spec, pruning="safe"))
    explored(study, trials=4)
    trials = study.store.trials(study.row)
    pruned = {run.reason: run for t in trials for run in t.runs if run.reason}
    assert set(pruned) == {"dominated, whatever it reaches", "its accuracy cannot rise further"}
    assert all(t.state == "done" for t in trials)
    for reason, run in pruned.items():
        done = len(study.store.epochs(run.run_id))
        assert done < 4 and run.measurement is not None
        assert run.measurement.pruned_after == (done if reason.startswith("dominated") else None)  # else it is not censored
    curve = study.optuna.study.trials[0].intermediate_values
    (first,) = trials[0].runs
    assert curve == {e.epoch: e.acc for e in study.store.epochs(first.run_id)}
    # nothing is lost: the front is that of whole runs
    whole = opened(tmp_path / "whole", spec)
    explored(whole, trials=4)
    # another study that prunes nothing takes over whole runs only
    again = opened(tmp_path, override(spec, name="again"))
    explored(again, trials=4)
    assert all(len(again.store.epochs(run.run_id)) == 4 for t in again.store.trials(again.row) for run in t.runs)
    fronts = [
        sorted((t.design.key, t.measurement["acc"]) for t in front_of(s.store.trials(s.row), objectives) if t.measurement)
        for s in (study, whole)
    ]
    assert fronts[0] == fronts[1]
