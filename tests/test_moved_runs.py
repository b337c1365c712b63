"""A run that is interrupted on one machine goes on on another one, if its files are where both reach them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse import session, store
from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.runs.files import WEIGHTS
from fastrcaps_dse.session import OpenStudy
from fastrcaps_dse.store import Store
from fastrcaps_dse.store.remote import Remote
from fastrcaps_dse.trainer.checkpoint import read_tensors
from tests.conftest import Command
from tests.sessions import Heard, curves, explored, spec_of

pytestmark = pytest.mark.usefixtures("small_capsnet")


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}"


def opened_in(folder: Path, spec: StudySpec, runs: str | None = None) -> OpenStudy:
    folder.mkdir(exist_ok=True)
    return session.open_study(spec, store.parse_url(str(folder / "s.db")), device="cpu", runs=runs)


def interrupted(folder: Path, spec: StudySpec, runs: str | None, after: int) -> None:
    """A machine that ends once it has trained so many epochs of its first run."""
    with opened_in(folder, spec, runs) as study, pytest.raises(KeyboardInterrupt):
        explored(study, Heard(stop_after=after), 1)


def moved(folder: Path, to: Path) -> Path:
    """The database alone, on another machine."""
    to.mkdir()
    shutil.copyfile(folder / "s.db", to / "s.db")
    return to


def weights_of(ours: Store) -> list[dict[str, list[float]]]:
    """The tensors of each file of weights, by name."""
    paths = [str(run.weights) for run in ours.runs(ours.study().study_id) if run.weights]
    return [{name: tensor.flatten().tolist() for name, tensor in read_tensors(Path(path))[0].items()} for path in paths]


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_a_run_goes_on_elsewhere(tmp_path: Path, tiny: Path, url: str, kind: str) -> None:
    named, spec = url if kind == "memory" else str(tmp_path / "shared"), spec_of(tiny)
    interrupted(tmp_path / "a", spec, named, after=2)
    heard = Heard()
    with opened_in(moved(tmp_path / "a", tmp_path / "b"), spec) as study:
        explored(study, heard, 1)
        there, weights = curves(study.store), weights_of(study.store)
    assert weights and heard.begun == [2] and heard.warnings == []
    with opened_in(tmp_path / "c", spec) as study:
        explored(study, Heard(), 1)
        assert curves(study.store) == there and weights_of(study.store) == weights


def test_without_a_place_it_begins_again_and_says_so(tmp_path: Path, tiny: Path) -> None:
    spec, heard = spec_of(tiny), Heard()
    interrupted(tmp_path / "a", spec, None, after=2)
    with opened_in(moved(tmp_path / "a", tmp_path / "b"), spec) as study:
        explored(study, heard, 1)
    assert (
        heard.begun == [0]
        and len(heard.warnings) == 1
        and "begins again" in heard.warnings[0]
        and "--runs" in heard.warnings[0]
    )


def test_the_weights_of_the_front_are_all_that_stays(tmp_path: Path, tiny: Path, url: str) -> None:
    with opened_in(tmp_path / "a", spec_of(tiny), url) as study:
        explored(study, Heard(), 2)
        kept = {run.run_id: str(run.weights) for run in study.store.runs(study.row.study_id) if run.weights}
        there = study.store.runs_places.here.files()
        assert {study.store.runs_folder / name for name in there} == {Path(path) for path in kept.values()} and kept
    with opened_in(moved(tmp_path / "a", tmp_path / "b"), spec_of(tiny)) as study:
        for trial in study.store.trials(study.row):
            if any(run.run_id in kept for run in trial.runs):
                assert session.load_network(study, trial)
        assert len(weights_of(study.store)) == len(kept)


def test_what_a_killed_process_left_in_a_place_is_swept(tmp_path: Path, tiny: Path, url: str) -> None:
    with opened_in(tmp_path / "a", spec_of(tiny), url) as study:
        explored(study, Heard(), 1)
        there = study.store.runs_places.here
        kept, ours = there.files(), study.store.runs(study.row.study_id)
        folder = store.run_folder(there.folder, ours[0].run_id) / "attempt-7"
        folder.mkdir(parents=True)
        (folder / "last.safetensors").write_bytes(b"c")
        there.push(folder)
        assert len(there.files()) == len(kept) + 1
        explored(study, Heard(), 1)
        assert there.files() == kept


def test_the_network_may_fail_for_a_while(tmp_path: Path, tiny: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    put, failures = MemoryFileSystem.put_file, iter([True] * 3)

    def flaky(self: Any, *arguments: Any, **how: Any) -> None:
        if next(failures, False):
            raise ConnectionError("no route")
        put(self, *arguments, **how)

    monkeypatch.setattr("fastrcaps_dse.store.remote.FIRST_PAUSE", 0.001)
    with opened_in(tmp_path / "a", spec_of(tiny), url) as study:
        monkeypatch.setattr(MemoryFileSystem, "put_file", flaky)
        explored(study, Heard(), 1)
        assert next(failures, None) is None and study.store.runs_places.here.files()


def test_a_network_that_stays_away_ends_the_exploration(
    tmp_path: Path, tiny: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost: the run goes on from its last epoch, on the machine that has its files or on another one."""
    from fsspec.implementations.memory import MemoryFileSystem

    def broken(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    with opened_in(tmp_path / "a", spec_of(tiny), url) as study:
        remote = study.store.runs_places.here.remote
        assert remote is not None
        remote.patience = 0.01
        with monkeypatch.context() as patched, pytest.raises(MachineError, match="no route"):
            patched.setattr(MemoryFileSystem, "put_file", broken)
            explored(study, Heard(), 1)
        assert [run.state for run in study.store.runs(study.row.study_id)] == ["interrupted"]
    heard = Heard()
    with opened_in(tmp_path / "a", spec_of(tiny)) as study:
        explored(study, heard, 1)
        assert heard.begun == [1] and study.store.runs_places.here.files()


@pytest.mark.slow
@pytest.mark.thorough
def test_a_process_that_is_killed_goes_on_elsewhere(command: Command, tiny: Path, tmp_path: Path) -> None:
    """With workers, at the URL of a folder; killed while files arrive there."""
    space = 'network = ["lenet5"]\nlr_policy = ["fixed"]\nbatch_schedule = [16]'
    text = f'name = "s"\ndataset = "{tiny}"\ntime = "measured"\nepochs = 60\n[space]\n{space}\n'
    url, (a, b) = f"file://{tmp_path / 'there'}", (tmp_path / "a", tmp_path / "b")
    a.mkdir()
    (a / "tiny.toml").write_text(text, encoding="utf-8")
    options = ["--device", "cpu", "--workers", "1", "--storage", "s.db", "--trials", "1"]
    arguments = [sys.executable, "-m", "fastrcaps_dse", "explore", "tiny.toml", *options, "--runs", url]
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(arguments, cwd=a, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=here) as child:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not list((tmp_path / "there").rglob("last.safetensors")):
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    moved(a, b)
    done = len(Store(store.parse_url(str(b / "s.db"))).epochs(1))
    assert 0 < done < 60
    said = command("explore", a / "tiny.toml", *options[:5], b / "s.db", *options[6:])
    ours = Store(store.parse_url(str(b / "s.db")))
    (run,) = ours.runs(ours.study().study_id)
    assert said.code == 0 and run.state == "done" and len(ours.epochs(1)) == 60 and "begins again" not in said.err
    study = Remote(url).files()
    assert [Path(name).name for name in study] == [WEIGHTS]
