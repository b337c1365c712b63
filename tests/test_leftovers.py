"""A process that is killed while it ends a run loses nothing and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.runs import files
from fastrcaps_dse.runs.files import RunFiles
from fastrcaps_dse.runs.prefix_cache import _writer
from fastrcaps_dse.store import Store
from tests.sessions import Heard, curves, explore, spec_of

pytestmark = pytest.mark.usefixtures("small_capsnet")


class Killed(BaseException):
    """Stands for the end of the process: nothing in the product catches it."""


def die(*_: Any, **__: Any) -> None:
    raise Killed


def files_in(place: Path) -> set[str]:
    """All files beside the database, and the folders of the prefix cache."""
    runs = place / "s.runs"
    return {
        str(path.relative_to(runs))
        for path in runs.rglob("*")
        if "prefixes" not in path.parts or path.parent.name == "prefixes"
    }


@pytest.fixture
def spec(tiny: Path) -> StudySpec:
    return spec_of(tiny)


def test_weights_are_selected_before_the_run_is_stored(
    tmp_path: Path, spec: StudySpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = explore(tmp_path / "whole", spec)
    for owner, name in ((Store, "finish_run"), (RunFiles, "tidy")):
        place = tmp_path / name
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(owner, name, die)
            explore(place, spec)
        heard = Heard()
        ours = explore(place, spec, heard)
        assert heard.begun == ([4] if name == "finish_run" else [])  # every epoch was kept; a finished run is not begun again
        assert not heard.warnings and curves(ours) == curves(whole)
        assert {name.replace("attempt-2", "attempt-1") for name in files_in(place)} == files_in(tmp_path / "whole")


def test_what_a_kill_leaves_is_swept(tmp_path: Path, spec: StudySpec) -> None:
    explore(tmp_path, spec)
    before = files_in(tmp_path)
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    runs = tmp_path / "s.runs"
    weights, here = next(runs.rglob(files.WEIGHTS)), _writer().rpartition("-")[0]
    for name in (
        "last.safetensors",
        "previous.safetensors",
        "epoch-0003.safetensors",
        "last.partial",
        "weights.safetensors.partial",
    ):
        (weights.parent / name).write_bytes(b"x")
    (runs / "prefixes" / f"abc.{here}-{ended.stdout.strip()}").mkdir(parents=True)
    alive = runs / "prefixes" / f"def.{here}-{os.getppid()}"  # another process that runs
    alive.mkdir()
    explore(tmp_path, spec)
    assert files_in(tmp_path) == before | {str(alive.relative_to(runs))}


def test_a_run_that_goes_on_drops_what_was_written_in_part(tmp_path: Path, spec: StudySpec) -> None:
    with pytest.raises(KeyboardInterrupt):
        explore(tmp_path, spec, Heard(stop_after=2))
    last = next(tmp_path.rglob("last.safetensors"))
    last.with_suffix(".partial").write_bytes(b"half of it")
    heard = Heard()
    explore(tmp_path, spec, heard)
    assert heard.begun == [2] and not [*tmp_path.rglob("*.partial")]
