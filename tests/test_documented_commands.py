"""Every command line in README and docs is run, in the order of the texts, on images small enough to train on in a test."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from fastrcaps_dse import data
from fastrcaps_dse.runs import probes
from tests.conftest import Command, write_tiny
from tests.exporting import write_pictures

ROOT = Path(__file__).parent.parent
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUICK = """
epochs = 1
trials = 2
dataset = "my-images"
[space]
lr_policy = ["fixed", "one-cycle"]
batch_schedule = [8]
weight_sharing = [false]
decoder = ["small", "full"]
"""
ELSEWHERE = ("view", "--workers", "postgresql", "--reference")
"""In a browser, in processes, in PostgreSQL, on a device of another machine: these have tests of their own."""


def command_lines(text: str) -> list[list[str]]:
    """The commands of this program in the shell blocks of a text, in their order; what is redirected or noted is left out."""
    found = []
    for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, flags=re.S):
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and Path(words[0]).name == "fastrcaps-dse":
                found.append(words[1 : words.index(">") if ">" in words else None])
    return found


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.usefixtures("small_capsnet", "one_onnx_registry")
def test_every_command_line_works(command: Command, tmp_path: Path, browser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "PATIENCE", 0.0)  # a dry run looks at one variant of the network
    images = write_tiny(tmp_path / "my-images")
    for name in ("MNIST", "FashionMNIST"):
        shutil.copytree(images, tmp_path / "data" / name / "raw")
    write_pictures(tmp_path / "pictures", data.load(str(images)).test, classes=3)
    shutil.copy(next((tmp_path / "pictures").glob("*/*.png")), tmp_path / "picture.png")
    (tmp_path / "studies").mkdir()
    for name in ("studies/quick.toml", "studies/wide.toml", "mine.toml"):
        (tmp_path / name).write_text(QUICK, encoding="utf-8")
    assert command("explore", "--device", "cpu").code == 0  # so that every text has a study to speak of
    lines = [words for path in TEXTS for words in command_lines(path.read_text(encoding="utf-8"))]
    assert len(lines) > 20
    for words in lines:
        if any(word.startswith(ELSEWHERE) for word in words):
            continue
        training = ["--dataset", "my-images", "--epochs", "1"] if words[0] == "train" else []
        said = command(*words, *training)
        assert said.code in ((0, 3) if words[0] == "pick" else (0,)), (words, said.err)
        assert "Traceback" not in said.err
