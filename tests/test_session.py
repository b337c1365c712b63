"""Whole explorations on real training: killed, cut, filled up, and gone on with."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from fastrcaps_dse import data, session, store, trainer
from fastrcaps_dse.analysis.results import front_of
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.problem.objectives import parse_objectives, selected_epoch, time_to
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import override
from fastrcaps_dse.runs.budget import Budget, start_budget
from fastrcaps_dse.runs.plans import make_plan
from fastrcaps_dse.search.protocols import EpochFinished
from fastrcaps_dse.store import Store
from tests.sessions import Heard, curves, explore, explored, opened, small_sizes, spec_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one design that nothing interrupted, of small networks."""
    place = tmp_path_factory.mktemp("whole")
    with small_sizes():
        explore(place, spec_of(tiny))
    return place


@pytest.fixture(scope="module")
def full_size(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study of networks of full size."""
    place = tmp_path_factory.mktemp("full")
    explore(place, spec_of(tiny))
    return place


def test_what_a_study_keeps(full_size: Path, tiny: Path) -> None:
    ours = Store(store.parse_url(str(full_size / "s.db")))
    (trial,) = ours.trials(ours.study())
    (run,) = trial.runs
    epochs = ours.epochs(run.run_id)
    assert [e.epoch for e in epochs] == [1, 2, 3, 4] and [e.batch_size for e in epochs] == [8, 16, 16, 16]
    measured = run.measurement
    assert measured is not None
    assert measured["acc"] == max(e.acc for e in epochs)
    assert measured.selected_epoch == selected_epoch([e.acc for e in epochs])
    assert measured["time"] == pytest.approx(sum(e.counted_seconds for e in epochs[: measured.selected_epoch]))
    assert run.wall_time == pytest.approx(sum(e.train_seconds for e in epochs[: measured.selected_epoch]))
    assert measured["epochs"] == measured.selected_epoch and measured["macs"] > 1e6
    # the weights that are kept are those of the selected epoch: they give its accuracies again
    loaded = trainer.Training(trial.design, 5, data.load(str(tiny)), epochs=1, device=torch.device("cpu"))
    loaded.load_weights(Path(run.weights or ""))
    assert loaded.accuracy(loaded.select_split) == measured["acc"] and loaded.test_accuracy() == measured.test_acc
    assert sum(t.numel() for t in safetensors.torch.load_file(run.weights or "").values()) == measured["params"]
    assert [p.name for p in Path(run.weights or "").parent.iterdir()] == ["weights.safetensors"]


def test_the_first_of_equal_accuracies_is_selected() -> None:
    assert selected_epoch([3.0, 7.0, 5.0, 7.0]) == 2


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import tests.sessions as t
from fastrcaps_dse.trainer import stopwatch
stopwatch.GROUP_SECONDS = 0.01
class Killer(t.Heard):
    def epoch_finished(self, event):
        print(event.epoch.epoch, flush=True)
t.explore(Path({place!r}), t.spec_of(Path({tiny!r})), Killer())
"""


@pytest.mark.thorough
def test_killed_at_a_random_moment_and_continued(tmp_path: Path, tiny: Path, full_size: Path) -> None:
    """SIGKILL after a random epoch, a random moment later; the continued study is the uninterrupted one, bit for bit."""
    code = KILLED.format(tests=str(Path(__file__).parent.parent), place=str(tmp_path), tiny=str(tiny))
    seed = int(os.environ.get("FASTRCAPS_TEST_SEED") or time.time_ns())
    print(f"FASTRCAPS_TEST_SEED={seed}")  # pytest shows it where the test fails
    chance = random.Random(seed)
    epoch, delay = chance.randint(1, 3), chance.uniform(0, 0.4)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == epoch:
                time.sleep(delay)
                os.kill(child.pid, signal.SIGKILL)
                break
    heard = Heard()
    ours = explore(tmp_path, spec_of(tiny), heard)
    assert not heard.warnings
    if heard.begun:  # else the kill came after the last epoch
        assert heard.begun[0] >= epoch
    assert curves(ours) == curves(Store(store.parse_url(str(full_size / "s.db")))), (epoch, delay)
    assert same_weights(tmp_path, full_size)


def same_weights(a: Path, b: Path) -> bool:
    left, right = (safetensors.torch.load_file(next(p.rglob("weights.safetensors"))) for p in (a, b))
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("cut", ["last", pytest.param("both", marks=pytest.mark.thorough)])
@pytest.mark.usefixtures("small_capsnet")
def test_a_checkpoint_cut_short(tmp_path: Path, tiny: Path, whole: Path, cut: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        explore(tmp_path, spec_of(tiny), Heard(stop_after=3))
    for path in tmp_path.rglob("last.safetensors" if cut == "last" else "[lp]*.safetensors"):
        path.write_bytes(path.read_bytes()[:1000])
    heard = Heard()
    ours = explore(tmp_path, spec_of(tiny), heard)
    assert len(heard.warnings) == (1 if cut == "last" else 2) and "going back" in heard.warnings[0]
    assert heard.begun == [2 if cut == "last" else 1]  # the cached prefix is still whole
    assert curves(ours) == curves(Store(store.parse_url(str(whole / "s.db")))) and same_weights(tmp_path, whole)


@pytest.mark.usefixtures("small_capsnet")
def test_a_full_disk(tmp_path: Path, tiny: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0
    real = safetensors.torch.save_file

    def save(tensors: Any, path: Path, metadata: Any) -> None:
        nonlocal written
        written += 1
        if written == 4:
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path, metadata)

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.save_file", save)
        with pytest.raises(MachineError, match="No space left") as error:
            explore(tmp_path, spec_of(tiny))
    assert "free disk space" in error.value.hint and not list(tmp_path.rglob("*.partial"))
    ours = explore(tmp_path, spec_of(tiny))
    assert curves(ours) == curves(Store(store.parse_url(str(whole / "s.db")))) and same_weights(tmp_path, whole)


@pytest.mark.usefixtures("small_capsnet")
def test_another_study_file_is_refused_and_loses_nothing(tmp_path: Path, tiny: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    before = curves(Store(store.parse_url(str(tmp_path / "s.db"))))
    with pytest.raises(InputError, match="was started differently: epochs: 4 there, 5 here") as error:
        explore(tmp_path, spec_of(tiny, epochs=5))
    assert "--study NAME" in error.value.hint
    changed = shutil.copytree(tiny, tmp_path / tiny.name)
    labels = changed / "t10k-labels-idx1-ubyte.gz"
    data.write_idx(labels, data.read_idx(labels)[::-1].copy())
    with pytest.raises(InputError, match="the images of the data set"):
        explore(tmp_path, override(spec_of(tiny), dataset=str(changed)))
    assert curves(Store(store.parse_url(str(tmp_path / "s.db")))) == before


@pytest.mark.usefixtures("small_capsnet")
def test_going_on_adds_designs_and_repeats_none(tmp_path: Path, tiny: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    heard = Heard()
    ours = explore(tmp_path, spec_of(tiny), heard, trials=None)  # one is done: as many again, but the space has only two
    trials = ours.trials(ours.study())
    assert [t.state for t in trials] == ["done", "done"] and heard.begun == [0]
    front = front_of(trials, ours.study().objectives)
    kept = {run.trial for t in trials for run in t.runs if run.weights}
    assert kept == {t.trial for t in front} and heard.fronts == [len(front)]
    assert len(list(tmp_path.rglob("weights.safetensors"))) == len(front)
    assert not explore(tmp_path, spec_of(tiny), heard, trials=2).trials(ours.study())[2:]


def test_images_too_small_are_refused_before_anything_is_written(tmp_path: Path, tiny: Path) -> None:
    from tests.conftest import write_tiny

    small = write_tiny(tmp_path / "small", side=16)
    with pytest.raises(InputError, match="16x16 pixels are too small"):
        explore(tmp_path, spec_of(tiny, dataset=str(small)))
    assert not list(tmp_path.glob("*.db"))


def test_a_plan_trains_nothing(tiny: Path) -> None:
    planned = make_plan(spec_of(tiny, seeds=3), data_dir=None, device="cpu", precision="float32")
    assert (planned.designs, planned.size, len(planned.first)) == (2, 2, 1)
    first = planned.first[0]
    assert first.steps == 5 + 3 * 3 and first.params == 6_172_241 and 0 < first.seconds < first.whole < planned.seconds


@pytest.mark.usefixtures("small_capsnet")
def test_time_is_counted_by_steps_measured_alone(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def measure(point: DesignPoint, dataset: Any, batch_size: int, device: Any, precision: Any, **_: Any) -> trainer.Timing:
        measured.append(batch_size)
        return trainer.Timing(seconds=1.0 / batch_size, spread=0.3, n=7)

    monkeypatch.setattr("fastrcaps_dse.runs.cost_model.measure_step", measure)
    heard = Heard()
    ours = explore(tmp_path, spec_of(tiny), heard, trials=2)
    assert measured == [8, 16]  # once each, for both designs
    assert len(heard.noise) == 2 and "±30 %" in heard.noise[0]
    for trial in ours.trials(ours.study()):
        (run,) = trial.runs
        epochs, measurement = ours.epochs(run.run_id), run.measurement
        assert measurement is not None
        assert [e.counted_seconds for e in epochs] == [pytest.approx(e.steps / e.batch_size) for e in epochs]
        assert measurement["time"] == pytest.approx(sum(e.counted_seconds for e in epochs[: measurement.selected_epoch]))
        assert run.wall_time != measurement["time"]
    with pytest.raises(InputError, match="time: steps there, measured here"):
        explore(tmp_path, spec_of(tiny, time="measured"), trials=2)


@pytest.mark.usefixtures("small_capsnet")
def test_time_by_the_clock_and_other_objectives(tmp_path: Path, tiny: Path) -> None:
    objectives = parse_objectives("acc,latency,time_to:40,epochs")
    ours = explore(tmp_path, spec_of(tiny, time="measured", objectives=objectives), trials=1)
    (trial,) = ours.trials(ours.study())
    (run,) = trial.runs
    epochs = ours.epochs(run.run_id)
    assert [e.counted_seconds for e in epochs] == [e.train_seconds for e in epochs]
    assert run.measurement is not None and run.measurement["time"] == run.wall_time
    others = run.measurement
    assert 0 < others["latency"] < 1000 and others["epochs"] == run.measurement.selected_epoch
    assert others["time_to:40"] == time_to(40, [e.acc for e in epochs], [e.counted_seconds for e in epochs])


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.usefixtures("small_capsnet")
def test_a_budget_stops_between_epochs_and_the_next_call_goes_on(tmp_path: Path, tiny: Path) -> None:
    spec, clock = spec_of(tiny), Clock()

    class Slow(Heard):
        def epoch_finished(self, event: EpochFinished) -> None:
            clock.now += 30 if event.epoch.epoch < 3 else 50  # over after the third epoch

    slow = Slow()
    with opened(tmp_path, spec) as study:
        outcome = explored(study, slow, None, budget=start_budget(100, clock))
    assert outcome.spent and outcome.trials == 0 and slow.begun == [0]
    heard = Heard()
    with opened(tmp_path, spec) as study:
        outcome = explored(study, heard, None, budget=start_budget(1000))
    assert heard.begun == [3, 0, 0, 0, 0][: len(heard.begun)] and outcome.exhausted and not outcome.spent  # both designs
    ours = Store(store.parse_url(str(tmp_path / "s.db")))
    assert ours.study().target_trials == 0 and outcome.trials == 2
    assert [e.epoch for run in ours.runs(ours.study().study_id) for e in ours.epochs(run.run_id)] == [1, 2, 3, 4] * 2


@pytest.mark.usefixtures("small_capsnet")
def test_a_budget_shorter_than_an_epoch_is_refused(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timing = trainer.Timing(seconds=100.0, spread=0.0, n=7)
    monkeypatch.setattr("fastrcaps_dse.runs.cost_model.measure_step", lambda *_, **__: timing)
    study = opened(tmp_path, spec_of(tiny))
    with pytest.raises(InputError, match=r"a budget of 60.0 s is shorter than one epoch"):
        explored(study, None, None, budget=start_budget(60))
    assert not study.store.runs(study.row.study_id)


def test_a_budget() -> None:
    clock = Clock()
    budget = start_budget(20, clock)
    assert (budget.limited, budget.over, budget.left) == (True, False, 20)
    clock.now += 20
    assert (budget.limited, budget.over, budget.left) == (True, True, 0)
    assert not Budget().limited and not Budget(clock=clock).over and not start_budget(None, clock).over


def test_everything_as_data_frames(whole: Path) -> None:
    found = session.results(storage=str(whole / "s.db"))
    (trial,) = Store(store.parse_url(str(whole / "s.db"))).trials(found.study)
    assert trial.measurement is not None
    row = found.trials.iloc[0]
    assert row["trial"] == 0 and row["label"] == trial.design.label and row["state"] == "done" and row["on_front"]
    assert {name: row[name] for name in trial.measurement.values} == trial.measurement.values
    assert row["test_acc"] == trial.measurement.test_acc and Path(row["weights"]).exists()
    assert found.trials.equals(found.front) and found.trials["pruned_after"].isna().all()
    (run,) = trial.runs
    assert run.measurement is not None
    (stored,) = found.runs.to_dict("records")
    assert stored["run"] == run.run_id and stored["seed"] == 0 and stored["selected_epoch"] == run.measurement.selected_epoch
    assert stored["software"] == run.software and 0 < stored["ended"] - stored["started"] < 600
    epochs = found.epochs
    assert epochs["epoch"].tolist() == [1, 2, 3, 4] and epochs["acc"].max() == row["acc"]
    assert epochs["counted_seconds"].iloc[: stored["selected_epoch"]].sum() == pytest.approx(row["time"])
    with pytest.raises(InputError, match="there is no study 'none'"):
        session.results("none", storage=str(whole / "s.db"))
