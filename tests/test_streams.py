"""What reaches a terminal: no control character of a name, in any encoding, and as much as is asked for."""

from __future__ import annotations

import io
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse.cli.log import LogLines
from fastrcaps_dse.cli.streams import REPLACEMENTS, plain_character, prepare_streams
from fastrcaps_dse.errors import visible
from tests.conftest import Command
from tests.synthetic import write_study

EVIL = "a\x1b[31mred\x07\x9b2J\r\u202e"
SAFE = r"a\x1b[31mred\x07\x9b2J\r\u202e"


@given(st.text())
def test_what_is_visible_has_nothing_that_a_terminal_obeys(text: str) -> None:
    seen = visible(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2028" or 0xD800 <= ord(c) < 0xE000 for c in seen)
    if text.isprintable():
        assert seen == text
    assert visible("a\nb\n", "\n") == "a\nb\n" and visible("a\nb") == r"a\nb"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a hostile name, as another program could have written it."""
    path = tmp_path_factory.mktemp("streams") / "s.db"
    write_study(path, 4, seeds=2)
    database = sqlite3.connect(path)
    with database:
        database.execute("UPDATE studies SET study_name = ?", [EVIL])
    database.close()
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ("studies", "--storage", "{db}"),
        ("studies", "--format", "markdown", "--storage", "{db}"),
        ("studies", "--format", "latex", "--storage", "{db}"),
        ("studies", "--json", "--storage", "{db}"),
        ("front", "--storage", "{db}"),
        ("trials", "--storage", "{db}"),
        ("show", "0", "--storage", "{db}"),
        ("front", "--study", EVIL + "x", "--storage", "{db}"),
        ("front", "--storage", EVIL),
        ("front", "--objectives", EVIL, "--storage", "{db}"),
        ("explore", EVIL),
        ("explore", f"{EVIL}.toml"),
        ("explore", "--dataset", EVIL, "--dry-run"),
        ("explore", "--set", f"{EVIL}=1"),
        ("explore", "--set", f"epochs={EVIL}"),
        ("data", EVIL),
        ("train", "--design", EVIL),
        ("pick", "--limit", EVIL, "--storage", "{db}"),
        ("report", "--out", f"{EVIL}.html", "--storage", "{db}"),
        ("init", f"{EVIL}.txt"),
        ("init", f"{EVIL}.toml"),
        ("predict", "--storage", "{db}", EVIL),
        (EVIL,),
        ("front", f"--{EVIL}"),
        ("show", EVIL),
    ],
    ids=lambda words: " ".join(words).encode("unicode_escape").decode()[:40],
)
def test_no_control_character_reaches_the_terminal(command: Command, database: Path, arguments: tuple[str, ...]) -> None:
    said = command(*(word.format(db=database) if word == "{db}" else word for word in arguments))
    text = said.out + said.err
    assert text.strip() and not set(text) & set("\x1b\x07\x9b\r\u202e"), text
    if arguments[0] != "show" or len(arguments) > 2:  # a number that is none is not repeated
        assert "x1b" in text or "u001b" in text


def test_a_warning_has_none_either() -> None:
    said: list[str] = []
    LogLines(said.append).emit(logging.LogRecord("x", logging.WARNING, "", 0, f"the folder {EVIL}", None, None))
    assert said == [f"warning: the folder {SAFE}"]


# --- encodings --------------------------------------------------------------------------------------------------------


FURTHER = [pytest.param(encoding, marks=pytest.mark.thorough) for encoding in ("latin-1", "utf-8")]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", *FURTHER])
def test_a_terminal_of_any_encoding_gets_readable_characters(
    command: Command, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path / "s.db", 8, seeds=2)
    shutil.copy(tmp_path / "s.db", tmp_path / "名.db")
    here = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(Path(__file__).parent.parent), "COLUMNS": "80"}
    for arguments in (["front", "--plot", "--storage", "s.db"], ["front", "--storage", "gone名é.db"], ["front", "--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "fastrcaps_dse", *arguments], cwd=tmp_path, capture_output=True, env=here, check=False
        )
        out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
        assert "UnicodeEncodeError" not in err and "Traceback" not in err and "a fault of" not in err
        if "--plot" in arguments:
            assert done.returncode == 0 and ("±" if encoding != "ascii" else "+-") in out
        if "gone名é.db" in arguments:
            expected = {"utf-8": "gone名é.db", "ascii": r"gone\u540de.db"}.get(encoding, r"gone\u540dé.db")
            assert done.returncode == 2 and expected in err


def test_every_replacement_is_plain() -> None:
    assert all(text.isascii() and text for text in map(plain_character, [*REPLACEMENTS, "é", "名", "\U0001f600"]))
    assert {c: plain_character(c) for c in "·±…→é"} == {"·": "-", "±": "+-", "…": "...", "→": "->", "é": "e"}


def test_streams_of_other_programs_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    class Buffer(io.StringIO):
        """No file: nothing to set."""

    monkeypatch.setattr(sys, "stdout", Buffer())
    prepare_streams()
    assert isinstance(sys.stdout, Buffer)


# --- quiet and verbose ------------------------------------------------------------------------------------------------


OTHER_PLACES = [pytest.param(*one, marks=pytest.mark.thorough) for one in (("-q", "after"), ("--quiet", "before"))]


@pytest.mark.parametrize(("option", "place"), [("-q", "before"), ("--quiet", "after"), *OTHER_PLACES])
def test_quiet_says_nothing_but_errors(command: Command, database: Path, option: str, place: str) -> None:
    def said(*words: object) -> tuple[str, str]:
        answer = command(option, *words) if place == "before" else command(*words, option)
        return answer.out, answer.err

    loud = command("front", "--storage", database)
    assert loud.err and said("front", "--storage", database) == (loud.out, "")
    assert "error: there is no database" in said("front", "--storage", "gone.db")[1]
    missed = command(option, "pick", "--max-params", "1", "--storage", database)
    assert missed.code == 3 and "nothing satisfies the limits" in missed.err  # an answer, not a hint
    assert command("front", "--storage", database).err  # it holds for one command


def test_quiet_and_verbose_contradict_each_other(command: Command) -> None:
    for words in (("-q", "-v", "studies"), ("-v", "studies", "-q"), ("studies", "--quiet", "--verbose")):
        said = command(*words)
        assert said.code == 2 and "contradict each other" in said.err


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_a_quiet_exploration(command: Command, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(
        f'dataset = "{tiny}"\nepochs = 1\ntrials = 1\ntime = "measured"\n[space]\ndecoder = ["small"]\n'
    )
    said = command("explore", "t.toml", "--device", "cpu", "-q")
    assert said.code == 0 and said.err == "" and "on the Pareto front" in said.out
    assert "info: next: " in command("explore", "t.toml", "--device", "cpu", "--trials", "2", "-v").err
