"""The structure of the package, measured: rooms, floors, arrows, circles; the longest function, class and module.

A room is a module or folder of the package; an arrow says that one imports another; a room's floor is one above the highest that it
imports. The record is reports/benchmarks/structure.json, with the picture structure.svg.

    git worktree add ../before COMMIT
    python -m benchmarks.structure --before ../before
"""

from __future__ import annotations

import argparse
import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import torch

from benchmarks import record
from fastrcaps_dse.figures.export import ImageSize, render_images

HERE = Path(__file__).parent.parent
PACKAGE = "fastrcaps_dse"


@dataclass(frozen=True, kw_only=True)
class Structure:
    """The rooms of a checkout."""

    imports: dict[str, frozenset[str]]  # of each room, the rooms that it imports
    lines: dict[str, int]  # of each room
    longest: dict[str, list[Any]]  # kind: [name, lines]
    attributes: list[Any]  # [class, attributes] with the most attributes

    def floors(self) -> dict[str, int]:
        """The floor of each room, from 0; rooms of a circle share theirs."""
        floors: dict[str, int] = {}
        rest = dict(self.imports)
        while rest:
            ready = [room for room, needed in rest.items() if not needed & rest.keys() - {room}] or list(rest)
            for room in ready:
                floors[room] = 1 + max((floors[other] for other in rest[room] if other in floors), default=-1)
            for room in ready:
                del rest[room]
        return floors

    def facts(self) -> dict[str, Any]:
        """What the record says."""
        floors = self.floors()
        return {
            "rooms": len(self.imports),
            "floors": len(set(floors.values())),
            "arrows": sum(map(len, self.imports.values())),
            "longest": self.longest,
            "most_attributes": self.attributes,
            "lines": sum(self.lines.values()),
            "by_floor": {floor: sorted(r for r, f in floors.items() if f == floor) for floor in sorted(set(floors.values()))},
        }


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a module imports when it runs; what only a type checker reads is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imported_names(node)


def attributes_of(node: ast.ClassDef) -> int:
    """How many attributes the instances of a class have: its annotated fields, and what its methods assign to self."""
    fields = {n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    stores = (n for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store))
    return len(fields | {n.attr for n in stores if isinstance(n.value, ast.Name) and n.value.id == "self"})


def measure(root: Path) -> Structure:
    """The structure of a checkout."""
    imports: dict[str, set[str]] = {}
    lines: dict[str, int] = {}
    longest: dict[str, list[Any]] = {kind: ["", 0] for kind in ("function", "class", "module")}
    attributes: list[Any] = ["", 0]
    package = root / PACKAGE
    rooms = {p.stem for p in package.glob("*.py")} | {p.parent.name for p in package.glob("*/__init__.py")}
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        count = len(text.splitlines())
        name = str(path.relative_to(package))
        lines[room] = lines.get(room, 0) + count
        longest["module"] = max(longest["module"], [name, count], key=lambda found: found[1])
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                kind = "class" if isinstance(node, ast.ClassDef) else "function"
                size = (node.end_lineno or 0) - node.lineno + 1
                longest[kind] = max(longest[kind], [f"{name}: {node.name}", size], key=lambda found: found[1])
            if isinstance(node, ast.ClassDef):
                attributes = max(attributes, [f"{name}: {node.name}", attributes_of(node)], key=lambda found: found[1])
        if room in ("__init__", "__main__"):
            continue
        parts = (found.split(".") for found in imported_names(tree) if found.startswith(f"{PACKAGE}."))
        imports.setdefault(room, set()).update(p[1] for p in parts if p[1] in rooms - {room, "__init__"})
    frozen = {room: frozenset(found) for room, found in imports.items()}
    return Structure(imports=frozen, lines=lines, longest=longest, attributes=attributes)


GROUND = ("problem", "errors")
"""Rooms that nearly all others import: the ground that they stand on, without arrows."""
WIDTH, HEIGHT = 0.17, 0.46  # of a room, in the units of the axes


def positions(structure: Structure) -> dict[str, tuple[float, float]]:
    """The center of each room: floors upward, the rooms of a floor side by side, single ones in turn left and right."""
    floors = structure.floors()
    found: dict[str, tuple[float, float]] = {}
    for floor in sorted(set(floors.values())):
        here = sorted(room for room, f in floors.items() if f == floor)
        for index, room in enumerate(here):
            x = 0.5 if room in GROUND else 0.42 + 0.16 * (floor % 2) if len(here) == 1 else (index + 0.5) / len(here)
            found[room] = x, float(floor)
    return found


def picture(structure: Structure) -> go.Figure:
    """The rooms on their floors, an arrow for each import above the ground."""
    at = positions(structure)
    figure = go.Figure()
    for room, needed in structure.imports.items():
        for other in needed - set(GROUND):
            figure.add_annotation(
                x=at[other][0], y=at[other][1] + HEIGHT / 2, ax=at[room][0], ay=at[room][1] - HEIGHT / 2, text="",
                xref="x", yref="y", axref="x", ayref="y", showarrow=True, arrowhead=2, arrowwidth=1.2, arrowcolor="#8A99A8",
            )  # fmt: skip
    for room, (x, y) in at.items():
        half = 0.5 if room in GROUND else WIDTH / 2
        box = {"x0": x - half, "x1": x + half, "y0": y - HEIGHT / 2, "y1": y + HEIGHT / 2}
        figure.add_shape(**box, line={"color": "#0072B2", "width": 2}, fillcolor="white", layer="between")
        figure.add_annotation(x=x, y=y, text=f"<b>{room}</b><br>{structure.lines[room]:,} lines", showarrow=False)
    figure.add_scatter(x=[0, 1], y=[0, 0], mode="markers", marker={"opacity": 0})  # so that there are axes
    figure.update_layout(
        template="plotly_white",
        showlegend=False,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        font={"family": "Arial", "size": 13},
    )
    figure.update_xaxes(visible=False, range=[-0.02, 1.02])
    figure.update_yaxes(visible=False, range=[-0.4, max(y for _, y in at.values()) + 0.4])
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="a checkout to compare with")
    asked = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=asked.before, capture_output=True, text=True, check=True)
    before, after = measure(asked.before), measure(HERE)
    facts: dict[str, Any] = {"before_commit": commit.stdout.strip(), "before": before.facts(), "after": after.facts()}
    for name in ("before", "after"):
        print(name, {k: v for k, v in facts[name].items() if k != "by_floor"})
    path = record.PLACE / "structure.svg"
    path.write_bytes(render_images({"structure": picture(after)}, "svg", ImageSize(width=1400, height=1100))["structure"])
    print(path, record.write("structure", "benchmarks.structure", torch.device("cpu"), facts))


if __name__ == "__main__":
    main()
