"""The examples run, and say what they promise."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from fastrcaps_dse import data
from fastrcaps_dse.capsnet import sizes
from fastrcaps_dse.store import Store, parse_url
from tests.exporting import explored_study, write_pictures

EXAMPLES = Path(__file__).parent.parent / "examples"
STUDY = """
dataset = "{dataset}"
epochs = 2
trials = 3
[space]
lr_policy = ["fixed", "one-cycle"]
batch_schedule = [8]
weight_sharing = [false]
decoder = ["full", "small"]
"""


@pytest.mark.slow
def test_explore_in_python(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"CONV_CHANNELS": 128, "CAPSULE_TYPES": 16, "DECODER_HIDDEN": (32, 64)}.items():
        monkeypatch.setattr(sizes, name, value)  # small, but large enough to learn something
    (tmp_path / "small.toml").write_text(STUDY.format(dataset=tiny), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["explore_in_python.py", "small.toml"])
    names = runpy.run_path(str(EXAMPLES / "explore_in_python.py"))
    names["study"].close()
    said = capsys.readouterr().out
    ours = Store(parse_url("studies/example.db"))
    trials = ours.trials(ours.study("small"))
    assert len(trials) == 3 and len(names["found"].trials) == 3
    assert all(label in said for label in names["found"].front["label"])
    assert "is the most accurate of" in said and f"classes: {names['scores'].argmax(1).tolist()}" in said
    assert names["scores"].shape == (5, 3) and 0 < float(names["scores"].max()) < 1
    assert (tmp_path / "studies" / "example.html").stat().st_size > 1_000_000  # plotly is inside


@pytest.mark.usefixtures("small_capsnet")
def test_load_a_pick(tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    database = explored_study(tmp_path / "study", tiny, epochs=1)
    pictures = sorted(write_pictures(tmp_path / "pictures", data.load(str(tiny)).test, classes=3).glob("*/*.png"))[:4]
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["load_a_pick.py", str(database), *map(str, pictures)])
    names = runpy.run_path(str(EXAMPLES / "load_a_pick.py"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "classes: 0, 1, 2" and lines[-1] == "scores: (4, 3)" and len(lines) == 7
    for path, line, row in zip(pictures, lines[2:], names["scores"], strict=False):
        assert line.startswith(f"{path}: {int(row.argmax())} ({float(row.detach().max()):.3f})")
