"""The recorder of the paper's studies, in small: what it trains in which order, that it goes on, and that its records are true."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
import statistics
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu, gpu_paper, paper, paper_record
from benchmarks.paper_record import interval
from benchmarks.paper_runs import Plan, lacks, make_plan, missing, trials_of
from fastrcaps_dse import session
from fastrcaps_dse.errors import InputError, RunFailed
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.study_file import find_study_file
from fastrcaps_dse.trainer import Epoch, Training, stopwatch
from tests.sessions import small_sizes
from tests.synthetic import epoch_row

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_capsnet", "undrawn")]

STUDY = """
dataset = "{dataset}"
protocol = "both"
epochs = 2
seeds = 2
trials = 9
sampler = "tpe"
first = ["fixed", "ws"]
[space]
lr_policy = ["fixed"]
batch_schedule = [16, 24]
"""
T_1 = math.tan(math.pi * 0.475)  # the 97.5 % quantile of Student's t with 1 degree of freedom
T_2 = math.sqrt(2) * 0.95 / math.sqrt(1 - 0.95**2)  # with 2


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures cost a browser each time."""
    for module in (paper, gpu_paper):
        for name in ("write_figures", "write_verdicts"):
            monkeypatch.setattr(module, name, lambda *_: "not in this test")


def study_in(folder: Path, tiny: Path) -> Path:
    path = folder / "bars.toml"
    path.write_text(STUDY.format(dataset=tiny))
    return path


@pytest.fixture
def study(tmp_path: Path, tiny: Path) -> Path:
    return study_in(tmp_path, tiny)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A study that is recorded in one go."""
    study = study_in(tmp_path_factory.mktemp("whole"), tiny)
    with small_sizes(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "write_figures", lambda *_: "not in this test")
        patch.setattr(stopwatch, "GROUP_SECONDS", 0.01)  # as `quick_stopwatch` has it in each test
        patch.setitem(stopwatch.measure_step.__kwdefaults__, "groups", 1)  # type: ignore[arg-type]
        assert recorded(study) == 0
    return study


def recorded(study: Path, *more: str, name: str = "bars") -> int:
    """Record the study, in this process."""
    place = study.parent / name
    where = ("--storage", str(place / "p.db"), "--out", str(place / "out"), "--device", "cpu", "--workers", "1")
    return paper.run([str(study), *where, *more])


def facts(study: Path, name: str = "bars", record: str = "bars") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((study.parent / name / "out" / record / "record.json").read_text())
    return found


def table(study: Path, kind: str, name: str = "bars") -> list[dict[str, str]]:
    with (study.parent / name / "out" / "bars" / f"{kind}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def losses(study: Path) -> dict[tuple[str, ...], tuple[str, ...]]:
    """What is no time, of each epoch."""
    kept = ("acc", "margin_loss", "reconstruction_loss", "lr_last")
    rows = table(study, "epochs")
    found = {tuple(row[key] for key in ("label", "seed", "epoch")): tuple(row[key] for key in kept) for row in rows}
    assert len(found) == len(rows)
    return found


def interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Let training stop at the beginning of an epoch, counted from 1 over all runs; the epochs that were begun."""
    whole, begun = Training.epoch_in_parts, [0]

    def epoch_in_parts(self: Training) -> Generator[int, None, Epoch]:
        begun[0] += 1
        if begun[0] == number:
            raise KeyboardInterrupt
        return whole(self)

    monkeypatch.setattr(Training, "epoch_in_parts", epoch_in_parts)
    return begun


def test_a_recording_that_was_stopped_goes_on(study: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = interrupt_at(monkeypatch, 8)  # in the last run, after its first epoch
    assert recorded(study) == 130
    found = facts(study)
    assert (found["runs"], found["complete"]) == (3, False)
    assert found["missing"] == ["only 1 of 2 seeds, the next is under way: ws"]
    assert recorded(study) == 0 and begun[0] == 2 * 2 * 2 + 1  # no epoch is trained twice
    assert facts(study)["missing"] == [] and facts(study)["complete"] and facts(study)["runs"] == 4
    assert losses(study) == losses(whole) and len(losses(study)) == 8
    assert recorded(study) == 0 and begun[0] == 9  # nothing is left to train


def test_the_first_seed_of_all_designs_comes_first(whole: Path) -> None:
    runs = sorted(table(whole, "runs"), key=lambda row: float(row["started"]))
    assert [(row["seed"], row["trial"]) for row in runs] == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]
    sessions = facts(whole)["trained"]
    assert [session["runs"] for session in sessions] == [4] and sessions[0]["machine"]["processors"]


def test_the_record_has_the_numbers_of_the_database(whole: Path) -> None:
    base = sqlite3.connect(whole.parent / "bars" / "p.db")
    names = ("acc", "time", "params", "epoch_of_max_acc", "test_acc", "max_test_acc", "epoch_of_max_test_acc")
    columns = "run_id, trial, seed, acc, time, params, selected_epoch, test_acc"
    runs = base.execute(f"SELECT {columns} FROM fastrcaps_run").fetchall()
    curves: dict[int, list[tuple[float, float]]] = {run: [] for run, *_ in runs}
    for run, acc, tested in base.execute("SELECT run_id, acc, test_acc FROM fastrcaps_epoch ORDER BY run_id, epoch"):
        curves[run].append((acc, tested))
    base.close()
    assert len(runs) == 4 and {len(curve) for curve in curves.values()} == {2}
    told: dict[tuple[str, str], list[float]] = {}
    for run, trial, seed, acc, *values in runs:
        accuracies, tests = zip(*curves[run], strict=True)
        assert acc == max(accuracies)
        told[str(trial), str(seed)] = [acc, *values, max(tests), tests.index(max(tests)) + 1]
        rows = [row for row in table(whole, "epochs") if (row["trial"], row["seed"]) == (str(trial), str(seed))]
        assert [(float(row["acc"]), float(row["test_acc"])) for row in rows] == curves[run]
    designs = {(row["trial"], row["quantity"]): row for row in table(whole, "designs")}
    for trial, known in (("0", "fixed"), ("1", "ws")):
        for name, pair in zip(names, zip(*(told[trial, seed] for seed in "01"), strict=True), strict=True):
            mean, error = statistics.fmean(pair), statistics.stdev(pair) / math.sqrt(2)
            row = designs[trial, name]
            said = [float(row[part]) for part in ("mean", "error", "low", "high")]
            assert said == pytest.approx([mean, error, mean - T_1 * error, mean + T_1 * error])
            assert (row["name"], row["seeds"]) == (known, "2")
    for row in table(whole, "runs"):
        assert [float(row[name]) for name in names[:3]] == told[row["trial"], row["seed"]][:3]
    assert not {"weights", "worker"} & {*table(whole, "runs")[0], *table(whole, "trials")[0]}
    told_here = {name: facts(whole)[name] for name in ("identity", "command", "trained")}
    assert str(whole.parent) not in json.dumps(told_here) and facts(whole)["identity"]["dataset"] == "tiny"


def test_a_partial_record_says_so(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recorded(study, "--seeds", "1") == 0
    out = capsys.readouterr().out
    assert "not complete: only 1 of 2 seeds: fixed, ws" in out and "no figures: " in out
    assert {(row["seeds"], row["error"], row["low"]) for row in table(study, "designs")} == {("1", "", "")}
    assert recorded(study, "--record-only") == 0 and facts(study)["runs"] == 2
    assert recorded(study, "--record-only", name="none") == 0
    assert "nothing is trained yet" in capsys.readouterr().out and not (study.parent / "none" / "out").exists()


def test_an_exploration_is_gone_on_with(study: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `explore` has begun, with all its seeds of a design before the next, is continued as it was begun."""
    begun = interrupt_at(monkeypatch, 4)
    storage = study.parent / "bars" / "p.db"
    storage.parent.mkdir()
    with (
        session.open_study(find_study_file(str(study)), str(storage), device="cpu") as opened,
        pytest.raises(KeyboardInterrupt),
    ):
        session.explore(opened, trials=2)
    assert recorded(study, "--record-only") == 0
    assert facts(study)["missing"] == ["not begun: ws", "only 1 of 2 seeds, the next is under way: fixed"]
    assert recorded(study) == 0 and facts(study)["complete"] and begun[0] == 9
    assert sum(one["runs"] for one in facts(study)["trained_on"]) == 4  # the journal has those of this program alone
    assert sum(one["runs"] for one in facts(study)["trained"]) == 3
    assert losses(study) == losses(whole)


def test_a_failed_run_is_told_and_not_tried_again(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, tried = Training.epoch_in_parts, []

    def epoch_in_parts(self: Training) -> Generator[int, None, Epoch]:
        if (self.seed, self.point.weight_sharing) == (1, True):
            tried.append(self.seed)
            raise RunFailed("the loss is not finite after epoch 1")
        return whole(self)

    monkeypatch.setattr(Training, "epoch_in_parts", epoch_in_parts)
    assert recorded(study) == 0 and recorded(study) == 0 and len(tried) == 1
    assert facts(study)["missing"] == ["ws: seed 1 failed: the loss is not finite after epoch 1"]
    assert {(row["name"], row["seeds"]) for row in table(study, "designs")} == {("fixed", "2"), ("ws", "1")}


def test_a_smaller_scale_is_another_study(study: Path, tiny: Path) -> None:
    storage = study.parent / "p.db"
    assert make_plan(str(study), storage).name == make_plan(str(study), storage, epochs=2, dataset=str(tiny)).name == "bars"
    smaller = make_plan(str(study), storage, epochs=1, dataset="mnist-sample")
    assert (smaller.name, smaller.scale) == ("bars-1-epoch-mnist-sample", {"epochs": 1, "dataset": "mnist-sample"})
    assert smaller.spec.seeds == 1 and smaller.seeds == 2 and smaller.designs == 2 and smaller.spec.epochs == 1
    assert make_plan("paper-mnist", storage, train_images=2000).name == "paper-mnist-2000-images"
    assert make_plan("paper-mnist", storage).designs == 8
    assert recorded(study, "--epochs", "1", "--seeds", "1") == 0
    assert facts(study, record="bars-1-epoch")["scale"] == {"epochs": 1}
    with pytest.raises(InputError, match="no study file"):
        make_plan("paper-mnst", storage)
    assert paper.run(["paper-mnst", "--storage", str(storage)]) == 1


def test_what_is_missing_before_anything_is_trained(study: Path) -> None:
    plan = make_plan(str(study), study.parent / "p.db")
    assert trials_of(plan) == [] and lacks([], plan.designs, 1) and missing(plan, []) == ["not begun: fixed, ws"]
    unlisted = replace(plan, spec=replace(plan.spec, first=()))
    assert missing(unlisted, []) == ["9 designs of 9 not begun"]


def test_intervals() -> None:
    assert interval([7.0]) == {"mean": 7.0}
    assert interval([1.0, 2.0, 3.0]) == pytest.approx(
        {"mean": 2.0, "error": 1 / math.sqrt(3), "low": 2 - T_2 / math.sqrt(3), "high": 2 + T_2 / math.sqrt(3)}
    )


def test_the_epoch_that_the_test_set_selects() -> None:
    """The first one of the highest test accuracy, whatever the held-out images select."""
    rows = [
        replace(epoch_row(k, acc, 1.0), test_acc=test) for k, acc, test in ((1, 90, 96), (2, 92, 97), (3, 94, 97), (4, 93, 95))
    ]
    measured = Measurement(values={"acc": 94.0, "epochs": 3.0}, test_acc=97.0, selected_epoch=3)
    values = {"acc": 94.0, "test_acc": 97.0, "epoch_of_max_acc": 3.0}
    assert paper_record.values_of(measured, rows) == values | {"max_test_acc": 97.0, "epoch_of_max_test_acc": 2.0}
    untested = [replace(rows[0], test_acc=None), *rows[1:]]  # in part, as in a study of an earlier version
    assert paper_record.values_of(measured, untested) == values


def test_verdicts_are_those_of_the_record(whole: Path, study: Path) -> None:
    plan = make_plan(str(whole), whole.parent / "bars" / "p.db")
    assert paper_record.write_verdicts(plan, study.parent) == ""
    found = json.loads((study.parent / "verdicts.json").read_text())
    means = {(row["name"], row["quantity"]): float(row["mean"]) for row in table(whole, "designs")}
    assert {row["design"] for row in found["designs"]} == {"fixed", "ws"} and "wab" in found["missing"]
    for row in found["designs"]:
        for selection, quantity in (("held-out", "test_acc"), ("test", "max_test_acc")):
            assert row["reached"][selection]["acc"]["mean"] == pytest.approx(means[row["design"], quantity])
    assert "# The paper, checked: bars" in (study.parent / "verdicts.md").read_text()
    unbegun = make_plan(str(study), study.parent / "none.db")
    assert paper_record.write_verdicts(unbegun, study.parent) == "none of the paper's designs is measured"


def test_without_a_browser_the_reason_is_told(study: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTRCAPS_BROWSER", "/nothing")
    plan = make_plan(str(whole), whole.parent / "bars" / "p.db")
    assert "/nothing" in paper_record.write_figures(plan, study.parent)
    unbegun = make_plan(str(study), study.parent / "none.db")
    assert paper_record.write_figures(unbegun, study.parent) == "no design is measured"


def test_the_two_studies_go_on_between_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage `paper` of the check of a GPU, cut off after three runs: the second call trains what is left."""

    def call(name: str, code: int) -> list[dict[str, Any]]:
        where = ("--out", str(tmp_path / name), "--keep", str(tmp_path / "kept"), "--device", "cpu", "--minutes", "2")
        assert gpu.run(["--stages", "paper", "--quick", "--in-process", *where]) == code
        found: list[dict[str, Any]] = json.loads((tmp_path / name / "summary.json").read_text())["findings"]
        return found

    written: list[Path] = []

    def write(plan: Plan, folder: Path) -> None:
        written.append(folder)
        if len(written) == 3:
            raise KeyboardInterrupt
        paper_record.write_tables(plan, folder)

    monkeypatch.setattr(gpu_paper, "write_tables", write)
    mnist, fashion = "paper-mnist-images-1-epoch", "paper-fashion-mnist-images-1-epoch"
    assert [found["name"] for found in call("first", 1)] == [f"{mnist}: fixed, seed 0", f"{fashion}: fixed, seed 0"]
    first = json.loads((tmp_path / "first" / "paper" / mnist / "record.json").read_text())
    assert first["missing"] == ["only 1 of 2 seeds: fixed"]
    findings = call("second", 0)
    assert [found["name"] for found in findings] == [f"{fashion}: fixed, seed 1", mnist, fashion]
    assert [found["lacks"] for found in findings[1:]] == ["nothing", "nothing"]
    for name in (mnist, fashion):
        assert json.loads((tmp_path / "second" / "paper" / name / "record.json").read_text())["runs"] == 2
