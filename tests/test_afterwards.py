"""What `explore --then` and `--bell` do once a study ends, however it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastrcaps_dse.cli.afterwards import Ending, afterwards
from fastrcaps_dse.errors import InputError, MachineError, NothingFits
from tests.conftest import Command

TELL = 'echo "$FASTRCAPS_STUDY is $FASTRCAPS_STATUS" >> told.txt'


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHELL", "/bin/sh")
    return tmp_path / "told.txt"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "done"),
        (KeyboardInterrupt(), "interrupted"),
        (NothingFits("no design"), "nothing-fits"),
        (MachineError("the disk is full"), "failed"),
        (ZeroDivisionError(), "failed"),
    ],
)
def test_every_ending_has_a_status(told: Path, error: BaseException | None, status: str) -> None:
    raised = None
    try:
        with afterwards(Ending(study="a 'b' $c", then=TELL)):
            if error is not None:
                raise error
    except BaseException as caught:
        raised = caught
    assert raised is error  # the ending of the study stays what it was
    assert told.read_text() == f"a 'b' $c is {status}\n"


def test_the_users_shell_runs_it(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "$@" > told.txt\n')
    shell.chmod(0o755)
    monkeypatch.setenv("SHELL", str(shell))
    with afterwards(Ending(study="s", then="say 'it ended'")):
        pass
    assert told.read_text() == "-c say 'it ended'\n"


def test_a_failure_is_told(told: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with afterwards(Ending(study="s", then="exit 7")):
        pass
    assert capsys.readouterr().err == "the command of --then ended with exit code 7: exit 7\n"
    monkeypatch.setenv("SHELL", "/none/shell")
    with afterwards(Ending(study="s", then="true")):
        pass
    assert "the command of --then cannot be run" in capsys.readouterr().err


class Terminal:
    """A stderr that is one, or none."""

    def __init__(self, is_one: bool) -> None:
        self.is_one, self.text = is_one, ""

    def isatty(self) -> bool:
        return self.is_one

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


@pytest.mark.parametrize("is_one", [True, False])
def test_the_bell_rings_in_a_terminal(monkeypatch: pytest.MonkeyPatch, is_one: bool) -> None:
    terminal = Terminal(is_one)
    monkeypatch.setattr("sys.stderr", terminal)
    with afterwards(Ending(study="s", bell=True)):
        assert terminal.text == ""
    assert terminal.text == ("\a" if is_one else "")


def test_nothing_is_run_for_wrong_usage(command: Command, told: Path) -> None:
    for words in (("--trials", "0"), ("--workers", "none"), ("--budget", "soon"), ("--format", "x"), ("--max-params", "x")):
        assert command("explore", *words, "--then", TELL).code == 2 and not told.exists()
    with pytest.raises(InputError), afterwards(Ending(study="s", then=TELL)):
        raise InputError("wrong")
    assert told.read_text() == "s is failed\n"


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_explorations(command: Command, told: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.toml").write_text(
        f'dataset = "{tiny}"\nepochs = 1\ntrials = 1\ntime = "measured"\n[space]\ndecoder = ["small"]\n'
    )
    explore = ("explore", "t.toml", "--device", "cpu", "--then", TELL)
    assert command(*explore).code == 0
    said = command(*explore, "--max-params", "1k")
    assert said.code == 3
    said = command("explore", "t.toml", "--device", "cpu", "--then", "echo out; exit 1", "--json", "--trials", "1")
    assert said.code == 0 and said.out.startswith("{") and "ended with exit code 1" in said.err
    assert command(*explore, "--trials", "2", "--budget", "0.000001s").code == 0
    monkeypatch.setattr("fastrcaps_dse.session.explore", interrupt)
    said = command(*explore)
    assert said.code == 130
    assert told.read_text().splitlines() == ["t is done", "t is nothing-fits", "t is budget", "t is interrupted"]
    assert os.environ.get("FASTRCAPS_STATUS") is None


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
