"""The examples run, and say what they promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import explore_in_python
from fastrcaps_dse.store import Store, parse_url

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


def test_explore_in_python(tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study_file = tmp_path / "small.toml"
    study_file.write_text(STUDY.format(dataset=tiny), encoding="utf-8")
    explore_in_python.main(str(study_file), trials=3, folder=tmp_path / "out")
    said = capsys.readouterr().out
    trials = Store(parse_url(str(tmp_path / "out" / "example.db"))).trials(
        Store(parse_url(str(tmp_path / "out" / "example.db"))).study("small")
    )
    assert len(trials) == 3 and all(trial.design.label in said for trial in trials)
    assert "is the most accurate of" in said and "predicted classes: [" in said and "labels: [0, 1, 2, 0, 1]" in said
    assert (tmp_path / "out" / "example.html").stat().st_size > 1_000_000  # plotly is inside
