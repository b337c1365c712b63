"""Databases that earlier versions wrote: they open, show the same, and their studies go on.

`fixtures/schema-3.db.gz` holds two studies on the images of `write_tiny`, in a folder `tiny`: one with pruned runs, one with raced
seeds. `fixtures/schema-3.json` is what that version printed of them. Those of schema 4 are made alike.
"""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from fastrcaps_dse import store
from fastrcaps_dse.capsnet.algorithms import Algorithms
from fastrcaps_dse.problem.objectives import parse_objectives
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, override
from fastrcaps_dse.runs.runner import Runner
from fastrcaps_dse.store import Store
from fastrcaps_dse.trainer import AlgorithmTiming
from tests.conftest import Command, write_tiny
from tests.sessions import Heard, explored, opened

FIXTURES = Path(__file__).parent / "fixtures"
RENAMED = {"_".join(("stopped", "after")): "pruned_after"}
"""Keys that were called otherwise."""
NEW_KEYS = ("test_robust", "reference", "time_estimated", "wall_time", "view", "stop_after", "epochs_in_all")
SPACE = """
dataset = "tiny"
epochs = 4
trials = 4
first = ["lr_policy=fixed batch_schedule=8 decoder=small"]
[space]
lr_policy = ["fixed"]
batch_schedule = [8, 48]
weight_sharing = [false]
decoder = ["small", "full"]
"""


@pytest.fixture(params=[3, 4])
def schema(request: pytest.FixtureRequest) -> int:
    version: int = request.param
    return version


@pytest.fixture
def earlier(tmp_path: Path, schema: int) -> Path:
    """A folder with the database and its images."""
    (tmp_path / "s.db").write_bytes(gzip.decompress((FIXTURES / f"schema-{schema}.db.gz").read_bytes()))
    write_tiny(tmp_path / "tiny")
    return tmp_path


def renamed(value: Any) -> Any:
    """What that version printed, in today's words."""
    if isinstance(value, dict):
        plain = {RENAMED.get(k, k): renamed(v) for k, v in value.items()}
        if {"acc", "time", "params", "others"} <= plain.keys():  # a measurement
            plain["values"] = {k: float(plain.pop(k)) for k in ("acc", "time", "params")} | plain.pop("others")
        return plain
    return [renamed(v) for v in value] if isinstance(value, list) else value


def without_reference(value: Any) -> Any:
    """What is printed today, without what those versions did not know: the reference, and estimates."""
    if isinstance(value, dict):
        assert not value.get("time_estimated") and not value.get("reference")
        tested = {"test_acc"} if "lr_first" in value else set()  # of an epoch
        return {k: without_reference(v) for k, v in value.items() if k not in {*NEW_KEYS, *tested}}
    return [without_reference(v) for v in value] if isinstance(value, list) else value


def beside(value: Any, runs: Path) -> Any:
    """What was printed, with the paths of weights beside the database: it was moved since."""
    if isinstance(value, dict):
        moved = {"weights": str(runs.joinpath(*Path(value["weights"]).parts[-2:]))} if value.get("weights") else {}
        return {k: beside(v, runs) for k, v in value.items()} | moved
    return [beside(v, runs) for v in value] if isinstance(value, list) else value


def test_they_show_what_they_showed(command: Command, earlier: Path, schema: int) -> None:
    expected = renamed(json.loads((FIXTURES / f"schema-{schema}.json").read_text(encoding="utf-8")))

    def said(*arguments: str) -> Any:
        return json.loads(command(*arguments, "--storage", earlier / "s.db", "--json").out)

    studies = said("studies")
    assert all(study.pop("running") == study.pop("interrupted") == 0 for study in studies)
    assert all(study.pop("workers") == 0 and study.pop("hosts") == "" for study in studies)
    assert all(study.pop("train_images") is None for study in studies)
    assert all('dataset = "tiny"' in study.pop("study_file") for study in studies) and studies == expected.pop("studies")
    for study, printed in expected.items():
        for what, record in printed.items():
            assert without_reference(said(*what.split(), "--study", study)) == beside(record, earlier / "s.runs"), (study, what)


def test_the_anytime_view_of_what_they_measured(command: Command, earlier: Path) -> None:
    """Its front is that of all epochs that such a version has stored, and keeps the accuracy of the whole runs' front."""
    with closing(Store(store.parse_url(str(earlier / "s.db")))) as ours:
        for row in ours.studies():
            names = [objective.name for objective in row.objectives]
            found = json.loads(command("front", "--anytime", "--json", "--study", row.name, "--storage", earlier / "s.db").out)
            trials, epochs = ours.trials(row), ours.epochs_of(row.study_id)
            runs = {trial.trial: [run for run in trial.runs if run.measurement] for trial in trials}
            lengths = {trial: max(len(epochs[run.run_id]) for run in of_trial) for trial, of_trial in runs.items() if of_trial}
            every = {
                (trial, done): fmean(
                    max(e.acc for e in epochs[run.run_id][:done]) for run in of_trial if len(epochs[run.run_id]) >= done
                )
                for trial, of_trial in runs.items()
                for done in range(1, lengths.get(trial, 0) + 1)
            }
            assert found["designs"] and {*names} <= found["designs"][0]["values"].keys()
            assert found["designs"][0]["values"]["acc"] == pytest.approx(max(every.values()))
            for design in found["designs"]:
                assert design["values"]["acc"] == pytest.approx(every[design["trial"], design["stop_after"]])


def spec() -> StudySpec:
    return override(parse_study(SPACE, default_name="pruned"), pruning="safe", objectives=parse_objectives("acc,params,epochs"))


def test_their_studies_go_on(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(earlier)
    with opened(earlier, spec()) as study:
        assert study.row.identity["pruning"] == "safe" and study.row.identity == spec().identity()
        before = study.store.runs(study.row.study_id)
        assert [run.measurement.pruned_after for run in before if run.measurement and run.measurement.pruned_after]
        heard = Heard()
        outcome = explored(study, heard, 4)
        assert outcome.trials == 4 and not heard.begun and study.store.runs(study.row.study_id) == before
        assert all(run.algorithms == {} for run in before)  # the default ones, whatever would be measured now


def test_a_run_that_has_begun_keeps_the_default_algorithms(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on as it began, while a new run of the same study uses what is measured."""
    monkeypatch.chdir(earlier)
    monkeypatch.setenv("FASTRCAPS_ALGORITHMS", "measured")
    timing = AlgorithmTiming(algorithm="dft", seconds={"dft": 0.1})
    monkeypatch.setattr("fastrcaps_dse.runs.kept_algorithms.fastest_algorithm", lambda *_: timing)
    with opened(earlier, spec()) as study:
        run = study.store.runs(study.row.study_id)[0]
        runner = Runner(context=study.context, cost_model=study.cost_model)
        assert runner._algorithms(run) == Algorithms()
        assert runner._algorithms(replace(run, algorithms=None)) == Algorithms(chosen={8: "dft"})
