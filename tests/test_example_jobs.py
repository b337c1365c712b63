"""The examples for clusters: their syntax, and that every option in them exists."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml  # type: ignore[import-untyped]

from fastrcaps_dse.cli.app import app

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.sh"))
JOBS = sorted(EXAMPLES.glob("*.yaml"))


def options_of(command: str) -> set[str]:
    """The options of a command of the program."""
    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    return {name for parameter in found.params for name in parameter.opts}


def check(words: list[str]) -> None:
    """The words after `fastrcaps-dse`: a command that there is, and options that it has."""
    used = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
    assert used <= options_of(words[0]), words
    assert not any(re.search(r"://[^/]*:[^/]*@", word) for word in words)  # no password on a command line


def commands_in(text: str) -> list[list[str]]:
    """The command lines of the program in a shell script, with those that it runs elsewhere."""
    joined = text.replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if not line.lstrip().startswith("#")]
    found = [re.split(r" [>&|] ?", part)[0] for line in lines for part in re.findall(r"fastrcaps-dse (.*)", line)]
    return [shlex.split(words) for words in found]


def test_there_is_one_for_each_way() -> None:
    assert [path.name for path in (*SCRIPTS, *JOBS)] == ["sbatch.sh", "ssh.sh", "kubernetes.yaml"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts(path: Path) -> None:
    said = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert said.returncode == 0 and not said.stderr
    text = path.read_text(encoding="utf-8")
    commands = commands_in(text)
    assert any(words[:2] == ["explore", "--join"] for words in commands) and "PGPASSFILE" in text
    for words in commands:
        check(words)


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_jobs(path: Path) -> None:
    job = yaml.safe_load(path.read_text(encoding="utf-8"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    program, *words = container["command"]
    assert program == "fastrcaps-dse" and words[:2] == ["explore", "--join"] and all(isinstance(word, str) for word in words)
    check(words)
    names = {variable["name"]: variable["valueFrom"] for variable in container["env"]}
    assert "secretKeyRef" in names["PGPASSWORD"] and "FASTRCAPS_HOST" in names
