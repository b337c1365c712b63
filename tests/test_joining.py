"""A study that is taken up from the database alone: `explore --join`, `join_study`."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import shutil
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastrcaps_dse as fd
from fastrcaps_dse import store
from fastrcaps_dse.cli.starting import TEMPLATE
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.ranges import Range
from fastrcaps_dse.problem.schedules import FixedBatch, OneCycle
from fastrcaps_dse.problem.settings import to_toml
from fastrcaps_dse.problem.space import DesignPoint, DesignSpace, parse_design
from fastrcaps_dse.problem.stored_spec import spec_from_identity
from fastrcaps_dse.problem.study_file import PACKAGE, load_study, parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, override, single_design_study
from fastrcaps_dse.store import Store, process_of
from tests.conftest import Command, write_tiny
from tests.sessions import explore, opened, small_sizes, spec_of
from tests.test_earlier_databases import FIXTURES
from tests.test_earlier_databases import spec as earlier_spec

FILES = sorted((PACKAGE.parent / "studies").glob("*.toml"))
NOT_IDENTITY = {"name", "text", "trials", "within", "first"}
"""Fields of a spec that are told otherwise, or, as `first`, only as far as they count."""


def stored(spec: StudySpec) -> StudySpec:
    """The spec as it comes back from what a database keeps of it."""
    kept = json.loads(json.dumps(spec.identity()))
    return spec_from_identity(kept, name=spec.name, text=spec.text)


def assert_same(spec: StudySpec, back: StudySpec) -> None:
    assert back.identity() == spec.identity() and json.dumps(back.identity()) == json.dumps(spec.identity())
    for f in fields(StudySpec):
        if f.name not in NOT_IDENTITY:
            assert getattr(back, f.name) == getattr(spec, f.name), f.name
    assert back.first_designs == spec.first_designs and back.space.size() == spec.space.size()
    assert (back.name, back.text) == (spec.name, spec.text)


# --- the spec ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_study_file_comes_back(path: Path) -> None:
    spec = load_study(path)
    back = stored(spec)
    assert_same(spec, back)
    assert (back.trials, back.within) == (spec.trials, spec.within)


def test_the_template_comes_back() -> None:
    assert_same(parse_study(TEMPLATE, default_name="mine"), stored(parse_study(TEMPLATE, default_name="mine")))


rates = st.floats(1e-5, 0.5, allow_subnormal=False)


@st.composite
def ranges(draw: st.DrawFn, values: st.SearchStrategy[float]) -> dict[str, Any]:
    low, high = sorted((draw(values), draw(values)))
    return {"low": low, "high": high} | draw(st.sampled_from([{}, {"log": True}, {"step": max(high, 1e-3) / 7}]))


FIELD_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "lr": ranges(rates) | st.lists(rates, min_size=1, max_size=3),
    "decay": st.lists(st.sampled_from([0.9, 0.96, 1]), min_size=1, max_size=3),
    "half": st.just({"low": 0.3, "high": 0.45, "step": 0.05}),
    "cycle": st.lists(st.sampled_from([1, 2, "phase", "3"]), min_size=1, max_size=3),
    "size": st.just({"low": 2, "high": 64}) | st.just({"low": 2, "high": 64, "step": 2}) | st.just([4, 8, "16"]),
    "head_batch": st.lists(st.integers(1, 64), min_size=1, max_size=3),
    "p": st.just({"low": 1, "high": 3}),
}
POLICIES = [
    "fixed",
    "fixed(lr=2e-3)",
    "exp-decay(decay=0.9)",
    "one-cycle",
    "warm-restarts(cycle=phase)",
    "warm-restarts-poly(power=0.5)",
    "fine-tune(lr=0.6,tail=0.1)",
]
SCHEDULES: list[Any] = [1, 16, "128", "adabatch", "adabatch(head_batch=4,head_epochs=2)", "adabatch-p(p=4)"]


def some(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=4)


study_files = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=9),
        "dataset": st.sampled_from(["mnist-sample", "a folder/of mine", "~/x.npz"]),
        "relabel": st.booleans(),
        "test_share": st.floats(0.01, 0.9),
        "protocol": st.sampled_from(["validation", "paper", "all-images"]),
        "epochs": st.integers(1, 99),
        "seeds": st.integers(1, 4),
        "trials": st.integers(1, 99),
        "within": st.sampled_from(["3m", "90s"]),
        "sampler": st.sampled_from(["guided", "tpe", "nsga2", "gp", "random"]),
        "seed": st.integers(0, 2**53),
        "objectives": st.sampled_from(
            [["acc", "time"], ["macs", "acc", "latency"], ["acc", "time_to:97.5", "memory", "epochs"]]
        ),
        "time": st.sampled_from(["steps", "measured"]),
        "first": st.just([]),
        "space": st.fixed_dictionaries(
            {},
            optional={
                "lr_policy": some(POLICIES),
                "batch_schedule": some(SCHEDULES),
                "weight_sharing": some([False, True]),
                "decoder": some(["full", "small"]),
                "network": some(["capsnet", "lenet5"]),
                "routing_iterations": some([1, 2, 3]),
                "shift": some([0, 1, 2]),
                "flip": some([False, True]),
                "fields": st.fixed_dictionaries({}, optional=FIELD_VALUES),
            },
        ),
    },
)


@given(study_files)
def test_whatever_a_study_file_says_comes_back(document: dict[str, Any]) -> None:
    spec = parse_study(to_toml(document), default_name="x")
    back = stored(spec)
    assert_same(spec, back)
    assert (back.trials, back.within) == (spec.trials, spec.within)


@given(study_files, st.lists(st.integers(0, 23), max_size=6))
def test_first_designs_come_back(document: dict[str, Any], chosen: list[int]) -> None:
    """Those of the space; what a study names beside them counts for nothing."""
    spec = parse_study(to_toml(document), default_name="x")
    points = spec.space.examples()
    firsts = (DesignPoint(shift=8), *(points[k % len(points)] for k in chosen))
    named = override(spec, first=firsts)
    assert named.first_designs == [point for point in firsts if spec.space.admits(point)]
    assert_same(named, stored(named))


def test_options_of_the_command_line_come_back_without_their_text() -> None:
    spec = override(load_study(FILES[0]), epochs=77, pruning="safe", relabel=True, seed=5, trials=3)
    back = stored(spec)
    assert_same(spec, back)
    assert back.epochs == 77 and back.trials == load_study(FILES[0]).trials


def test_a_study_without_a_text_comes_back() -> None:
    spec = single_design_study(parse_design("wab+ws"), name=None, dataset="mnist-sample", epochs=3)
    back = spec_from_identity(json.loads(json.dumps(spec.identity())), name=spec.name, text="", trials=1)
    assert_same(spec, back)
    assert back.trials == 1


def test_what_does_not_come_back_exactly_is_refused() -> None:
    identity = load_study(FILES[0]).identity()
    with pytest.raises(InputError, match=r"cannot be taken up as it is stored: time: not set there, steps here"):
        spec_from_identity({k: v for k, v in identity.items() if k != "time"}, name="x", text="")
    with pytest.raises(InputError, match="unknown sampler 'best'"):
        spec_from_identity(identity | {"sampler": "best"}, name="x", text="")


def test_a_range_in_more_digits_than_a_text_has() -> None:
    """Only Python can make one. The design at its end, written in six digits, is outside of it when it comes back."""
    fine = 0.00123456321
    space = DesignSpace(
        lr_policy=(OneCycle(),), batch_schedule=(FixedBatch(),), open_fields={"lr_max": Range(low=fine, high=0.01)}
    )
    first = DesignPoint(lr_policy=OneCycle(lr_max=fine), weight_sharing=True)
    spec = StudySpec(name="x", space=space, first=(first,))
    assert spec.first_designs == [first]
    with pytest.raises(InputError, match="cannot be taken up as it is stored: first: "):
        stored(spec)
    assert_same(override(spec, first=()), stored(override(spec, first=())))


# --- the session ------------------------------------------------------------------------------------------------------


@pytest.fixture
def started(tmp_path: Path, tiny: Path, small_capsnet: None) -> Path:
    """A database whose study has one of its two designs."""
    explore(tmp_path, spec_of(tiny, epochs=1), trials=1).close()
    return tmp_path / "s.db"


def test_a_joined_study_is_the_same_one(started: Path, tiny: Path) -> None:
    with fd.join_study("s", str(started), device="cpu", precision="float32") as study:
        assert study.row.identity == spec_of(tiny, epochs=1).identity() == study.spec.identity()
        assert study.spec.trials == spec_of(tiny).trials == 2 and study.spec.text == spec_of(tiny).text
        outcome = fd.explore(study, trials=2)
        assert outcome.trials == 2 and [trial.state for trial in study.store.trials(study.row)] == ["done", "done"]
    with opened(started.parent, spec_of(tiny, epochs=1)) as study:  # and its study file goes on with it
        assert fd.explore(study, trials=2).trials == 2 and len(study.store.studies()) == 1


def test_the_images_may_be_elsewhere(started: Path, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    moved = shutil.copytree(tiny, tmp_path / "moved")
    with fd.join_study("s", str(started), dataset=str(moved), device="cpu", precision="float32") as study:
        assert study.spec.dataset == str(moved) and study.row.identity["dataset"] == str(tiny)
        assert fd.explore(study, trials=2).trials == 2
    assert "its images are the same" in caplog.text
    other = write_tiny(tmp_path / "other", train=60)
    with pytest.raises(InputError, match="the images of the data set"):
        fd.join_study("s", str(started), dataset=str(other), device="cpu")


def test_images_that_are_not_here(started: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastrcaps_dse.data.sets.expanded", lambda _: tmp_path / "gone")
    with pytest.raises(InputError) as error:
        fd.join_study("s", str(started))
    assert error.value.message == f"the images of the study 's', {tiny}, are not on this machine"
    assert error.value.hint.startswith("say with --dataset where they are")


EIGHT = """
epochs = 8
sampler = "random"
first = []
[space]
lr_policy = ["one-cycle"]
batch_schedule = [4]
decoder = ["small"]
[space.fields]
lr_max = [1e-3, 2e-3, 3e-3, 4e-3]
"""


def joins(storage: str, ready: Any) -> None:
    """What a process does that joins the study `s`, once all others are ready."""
    with small_sizes(), fd.join_study("s", storage, device="cpu", precision="float32") as study:
        ready.wait()
        fd.explore(study, trials=8)


@pytest.mark.slow
@pytest.mark.thorough
def test_processes_join_at_once(tmp_path: Path, tiny: Path, small_capsnet: None) -> None:
    """Each trains designs of its own, until the study has as many as were asked for."""
    spec = override(parse_study(EIGHT, default_name="s"), dataset=str(tiny))
    explore(tmp_path, spec, trials=1).close()
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(2)
    processes = [spawn.Process(target=joins, args=(str(tmp_path / "s.db"), ready)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
    assert [process.exitcode for process in processes] == [0, 0]
    with closing(Store(store.parse_url(str(tmp_path / "s.db")))) as ours:
        runs = ours.runs(ours.study("s").study_id)
    assert sorted(run.trial for run in runs) == [*range(8)] and len({run.design.key for run in runs}) == 8
    assert {(run.state, run.attempt) for run in runs} == {("done", 1)}
    assert {process_of(str(run.owner))[1] for run in runs} == {os.getpid(), *(process.pid for process in processes)}


# --- the command ------------------------------------------------------------------------------------------------------


def test_explore_joins(started: Path, command: Command) -> None:
    said = command("explore", "--join", "s", "--storage", started, "--trials", 2, "--device", "cpu", "--workers", 1)
    assert said.code == 0 and "[2/2]" in said.err and "s: " in said.out
    listed = json.loads(command("studies", "--storage", started, "--json").out)
    assert [(study["study"], study["designs"], study["epochs"]) for study in listed] == [("s", 2, 1)]


def test_a_dry_run_of_a_joined_study(started: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastrcaps_dse.runs.probes.PATIENCE", 0.0)
    said = command("explore", "--join", "s", "--storage", started, "--dry-run", "--json", "--device", "cpu")
    assert said.code == 0 and json.loads(said.out)["study"] == "s"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["quick"], "a study file"),
        (["--objectives", "acc"], "--objectives"),
        (["--study", "t"], "--study"),
        (["--sampler", "tpe"], "--sampler"),
        (["--seed", "0"], "--seed"),
        (["--time", "steps"], "--time"),
        (["--set", "epochs=3"], "--set"),
        (["--epochs", "3"], "--epochs"),
        (["--seeds", "3"], "--seeds"),
        (["--protocol", "paper"], "--protocol"),
        (["--pruning", "off"], "--pruning"),
        (["--relabel"], "--relabel"),
        (["--test-share", "0.2"], "--test-share"),
    ],
)
def test_what_a_study_is_cannot_be_said_again(command: Command, options: list[str], named: str) -> None:
    said = command("explore", "--join", "s", *options)
    assert said.code == 2 and said.out == "" and said.err.count("\n") == 2
    assert said.err.startswith(f"error: {named} says what a study is") and said.err.rstrip().endswith(
        f"leave out --join, or {named}"
    )


def test_an_unknown_study(started: Path, command: Command) -> None:
    said = command("explore", "--join", "t", "--storage", started)
    assert said.code == 2 and said.err == "error: there is no study 't'\nhint: known: s\n"
    said = command("explore", "--join", "s", "--storage", "none.db")
    assert said.code == 2 and "there is no database none.db yet" in said.err
    assert command("explore", "--join").code == 2


def test_studies_of_earlier_versions_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "tiny")
    for schema in (3, 4):
        (tmp_path / f"{schema}.db").write_bytes(gzip.decompress((FIXTURES / f"schema-{schema}.db.gz").read_bytes()))
        with fd.join_study("pruned", f"{schema}.db", device="cpu", precision="float32") as study:
            assert study.row.identity == earlier_spec().identity() and study.spec.pruning == "safe"
            assert {row.name for row in study.store.studies()} >= {"pruned"}
