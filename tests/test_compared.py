"""The comparison with other tools: each point that it states is checked by a test or a committed picture, which it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINES = (ROOT / "docs/compared.md").read_text(encoding="utf-8").splitlines()
ROWS = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in LINES if line.startswith("| ")]
HEAD = ["point", "best peer", "fastrcaps-dse", "checked by"]
POINTS = [row for row in ROWS if row != HEAD and not set("".join(row)) <= set("-: ")]


def test_there_are_enough_points_and_each_is_said_once() -> None:
    assert len(POINTS) >= 30 and len({row[0] for row in POINTS}) == len(POINTS)


@pytest.mark.parametrize("row", POINTS, ids=[row[0][:40] for row in POINTS])
def test_each_point_names_what_checks_it(row: list[str]) -> None:
    assert len(row) == len(HEAD) and all(row)
    references = re.findall(r"`([^`]+)`", row[-1])
    assert references
    for reference in references:
        path, _, name = reference.partition("::")
        assert (ROOT / path).is_file(), reference
        if path.endswith(".py"):
            functions = {
                node.name
                for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
                if isinstance(node, ast.FunctionDef)
            }
            assert name in functions, reference
