"""README against the program: commands, options, tree, study file, names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fastrcaps_dse.problem.schedules import BATCH_SCHEDULES, LR_POLICIES
from fastrcaps_dse.problem.space import NAMED_DESIGNS
from fastrcaps_dse.problem.study_spec import parse_study
from tests.conftest import Command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"`fastrcaps-dse ([a-z-]+)[^`]*`", README)))


def test_every_command_is_in_readme_and_the_other_way_round(command: Command) -> None:
    listed = set(re.findall(r"^│? *([a-z][a-z-]+)  ", command("--help").out, flags=re.M))
    assert listed == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_that_readme_names_exist(command: Command, name: str) -> None:
    text = command(name, "--help").out
    for line in re.findall(rf"fastrcaps-dse {name}([^`\n(#]*)", README):
        for option in re.findall(r"--[a-z-]+", line):
            assert option in text, f"{name} {option}"


def test_the_tree() -> None:
    block = re.search(r"```\nfastrcaps_dse/\n(.*?)\nstudies/", README, flags=re.S)
    assert block is not None
    named = {line.split()[0].rstrip("/") for line in block[1].splitlines()}
    there = {p.name for p in (ROOT / "fastrcaps_dse").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert named == there - {"__init__.py"}


def test_the_study_file_in_readme_is_one() -> None:
    text = re.search(r"```toml\n(.*?)```", README, flags=re.S)
    assert text is not None and parse_study(text[1], default_name="mine").trials == 30


def test_names_of_designs_policies_and_schedules() -> None:
    for name in (*NAMED_DESIGNS, *(part.name for part in LR_POLICIES), *(s.name for s in BATCH_SCHEDULES if s.name != "fixed")):
        assert f"`{name}`" in README


def test_pictures_and_files_that_readme_names_are_there() -> None:
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).stat().st_size > 10_000
    assert (ROOT / "fastrcaps_dse/data/samples/LICENSES.md").is_file()
    assert not re.findall(r"/work/|/root/|/tmp/", README)


def test_every_shown_command_is_well_formed() -> None:
    for block in re.findall(r"```(?:sh|console)\n(.*?)```", README, flags=re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                assert Path(shlex.split(line[2:], comments=True)[0]).name in ("fastrcaps-dse", "make")
