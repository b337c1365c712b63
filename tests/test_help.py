"""What --help says: examples that work, types in words; and what the shell completes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from fastrcaps_dse import cli, store
from fastrcaps_dse.cli import completing
from fastrcaps_dse.cli.app import app
from fastrcaps_dse.cli.examples import EXAMPLES
from fastrcaps_dse.data.names import ALL_NAMES
from fastrcaps_dse.problem.objectives import OBJECTIVES
from fastrcaps_dse.problem.settings import KEYS
from fastrcaps_dse.problem.space import LENET5_DESIGNS, NAMED_DESIGNS
from fastrcaps_dse.problem.study_spec import Protocol, Sampler
from tests.conftest import Command
from tests.synthetic import write_study

ROOT = Path(__file__).parent.parent
GROUP: Any = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)
PARAMETERS = [(name, param) for name in COMMANDS for param in GROUP.commands[name].params]


def test_every_command_has_examples() -> None:
    assert sorted(EXAMPLES) == COMMANDS and all(1 <= len(lines) <= 2 for lines in EXAMPLES.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_parse_and_stand_in_the_help(command: Command, name: str) -> None:
    text = command(name, "--help").out
    for example in EXAMPLES[name]:
        assert example in text and len(example) <= 72
        program, *words = shlex.split(example)
        assert program == "fastrcaps-dse"
        with GROUP.make_context("fastrcaps-dse", words, resilient_parsing=False) as context:
            found, called, rest = GROUP.resolve_command(context, context._protected_args + context.args)
            with called.make_context(found, rest, parent=context):  # raises what is wrong
                assert found in (name, "explore")  # `init` shows what to do with its file


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_types_are_words(command: Command, name: str) -> None:
    text = command(*filter(None, [name]), "--help").out
    assert not re.search(r"<(str|int|float|bool|path|list)", text)
    for option in ("--verbose", "-v", "--quiet", "-q"):
        assert option in text


def test_every_option_says_what_it_takes() -> None:
    for name, param in PARAMETERS:
        if param.param_type_name == "option" and param.name != "help":
            assert bool(param.metavar) != bool(param.is_flag), f"{name} {param.name}"
            first = param.help.split()[0]
            assert param.help.endswith(".") and (first[0].isupper() or first in ("cuda,", "csv,", "table")), (name, param.help)


# --- completion -------------------------------------------------------------------------------------------------------


Completed = Callable[..., list[str]]


@pytest.fixture
def completed(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Completed:
    """What bash would offer for the last word of a line, by the program's own protocol."""
    monkeypatch.chdir(place)
    monkeypatch.delenv("FASTRCAPS_STORAGE", raising=False)

    def offered(words: str, **environment: str) -> list[str]:
        asked = {"_FASTRCAPS_DSE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        for name, value in (asked | environment).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit):
            cli.main()
        out, err = capsys.readouterr()
        assert not err
        return [line for line in out.split("\n") if line]

    return offered


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("completion")
    (folder / "studies").mkdir()
    write_study(folder / "studies" / "fastrcaps.db", 12, name="first")
    write_study(folder / "other.db", 3, name="elsewhere")
    yield folder


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fastrcaps-dse ini", ["init"]),
        ("fastrcaps-dse front --study ", ["first"]),
        ("fastrcaps-dse front --study x", []),
        ("fastrcaps-dse front --storage other.db --study ", ["elsewhere"]),
        ("fastrcaps-dse front --storage gone.db --study ", []),
        ("fastrcaps-dse show 1", ["11", "10", "1"]),
        ("fastrcaps-dse export --storage other.db ", ["2", "1", "0"]),
        ("fastrcaps-dse studies --delete f", ["first"]),
        ("fastrcaps-dse explore --join ", ["first"]),
        ("fastrcaps-dse explore --storage other.db --join e", ["elsewhere"]),
        ("fastrcaps-dse train --design wa", ["warm-restarts", "wab", "wab+ws"]),
        ("fastrcaps-dse explore --sampler ", [*get_args(Sampler)]),
        ("fastrcaps-dse explore --protocol ", [*get_args(Protocol)]),
        ("fastrcaps-dse explore --dataset mnist-", ["mnist-sample"]),
        ("fastrcaps-dse data e", [name for name in ALL_NAMES if name.startswith("e")]),
        ("fastrcaps-dse front --objectives acc,ti", ["acc,time"]),
        ("fastrcaps-dse explore qu", ["quick"]),
        ("fastrcaps-dse explore --set space.fields.lr_m", ["space.fields.lr_max=", "space.fields.lr_min="]),
        ("fastrcaps-dse trials --format ", ["table", "csv", "json", "markdown", "latex"]),
        ("fastrcaps-dse explore --pruning s", ["safe"]),
    ],
)
def test_the_shell_completes(completed: Completed, words: str, expected: list[str]) -> None:
    assert completed(words) == expected


def test_the_environment_names_the_database(completed: Completed) -> None:
    assert completed("fastrcaps-dse front --study ", FASTRCAPS_STORAGE="sqlite:///other.db") == ["elsewhere"]
    assert completed("fastrcaps-dse front --study ", FASTRCAPS_STORAGE="postgresql://u@h/n") == []


def test_completion_agrees_with_the_program(place: Path) -> None:
    assert f"sqlite:///{completing.DEFAULT_DATABASE}" == store.url.DEFAULT_URL
    assert completing.complete_design("") == [*NAMED_DESIGNS, *LENET5_DESIGNS]
    assert completing.complete_objectives("") == [*OBJECTIVES] and completing.complete_setting("") == [
        f"{key}=" for key in KEYS
    ]


def computed() -> float:
    """The seconds that ended child processes have computed, whoever computed beside them."""
    times = os.times()
    return times.children_user + times.children_system


def test_completion_is_quick_and_writes_nothing(place: Path) -> None:
    """It imports nothing heavy, whose import takes seconds; and it computes for about as long as Python itself to start."""
    before = sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*"))
    heavy = {"torch", "optuna", "sqlalchemy", "plotly", "pandas", "numpy", "rich"}
    code = (
        "import sys; from fastrcaps_dse.cli import main\n"
        f"try: main()\nfinally: print('heavy:', sorted({heavy!r} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "_FASTRCAPS_DSE_COMPLETE": "complete_bash"}
    environment |= {"COMP_WORDS": "fastrcaps-dse show 1", "COMP_CWORD": "2"}
    took = []
    for _ in range(3):
        start = computed()
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=place, env=environment, capture_output=True, text=True, check=True
        )
        took.append(computed() - start)
    assert "11" in done.stdout and "heavy: []" in done.stdout
    assert min(took) < 0.6  # 0.2 s alone on the machine
    assert sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*")) == before
