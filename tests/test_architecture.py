"""The rooms: imports run downward, and each library has its owners."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fastrcaps_dse"
MODULES = sorted(PACKAGE.rglob("*.py"))

LEVELS: list[set[str]] = [
    {"cores", "errors", "interruption"},
    {"problem"},
    {"capsnet", "data", "store"},
    {"analysis"},
    {"search", "trainer"},
    {"export", "figures", "page", "runs"},
    {"session"},
    {"cli"},
    {"__main__"},
]
"""From the bottom up: a room imports rooms of its own level and below."""

OWNERS = {
    "torch": {"capsnet", "data", "export", "trainer"},
    "torchvision": {"data"},
    "safetensors": {"trainer"},
    "optuna": {"search"},
    "sqlalchemy": {"store"},
    "fsspec": {"store"},
    "plotly": {"figures", "page"},
    "typer": {"cli"},
    "rich": {"cli"},
    "moocore": {"analysis"},
    "pandas": {"analysis"},
    "starlette": {"page"},
    "uvicorn": {"page"},
}


def room(path: Path) -> str:
    """The room of a file: the module or folder under the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports when it runs; what is under `if TYPE_CHECKING` is left out."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def test_every_room_has_a_level() -> None:
    rooms = {room(path) for path in MODULES} - {"__init__"}
    assert rooms == set().union(*LEVELS)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downward(path: Path) -> None:
    level = {name: index for index, names in enumerate(LEVELS) for name in names}
    here = room(path)
    if here == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "fastrcaps_dse" and len(parts) > 1 and parts[1] in level:
            assert level[parts[1]] <= level[here], f"{here} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_each_library_has_its_owners(path: Path) -> None:
    for name in imports(path):
        library = name.split(".")[0]
        assert room(path) in OWNERS.get(library, {room(path)}), f"{room(path)} imports {library}"


def test_no_rooms_import_each_other_in_a_circle() -> None:
    """Within a level, too."""
    rooms = set().union(*LEVELS)
    arrows = {
        here: {name.split(".")[1] for path in MODULES if room(path) == here for name in imports(path) if _ours(name)}
        & rooms - {here}
        for here in rooms
    }
    while arrows:
        ready = {here for here, there in arrows.items() if not there & set(arrows)}
        assert ready, f"a circle among {sorted(arrows)}"
        arrows = {here: there for here, there in arrows.items() if here not in ready}


def _ours(name: str) -> bool:
    return name.startswith("fastrcaps_dse.")


def test_the_search_knows_no_trainer() -> None:
    names = set().union(*(imports(path) for path in (PACKAGE / "search").glob("*.py")))
    assert not any(name.startswith(("fastrcaps_dse.trainer", "fastrcaps_dse.runs", "torch")) for name in names)
    loaded = (
        "import sys, fastrcaps_dse.search.explorer, fastrcaps_dse.search.proposers, fastrcaps_dse.search.racing; "
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    "what", ["import fastrcaps_dse", "import fastrcaps_dse.cli", "from fastrcaps_dse import DesignPoint, explore"]
)
def test_the_package_and_help_import_nothing_heavy(what: str) -> None:
    heavy = {"torch", "optuna", "sqlalchemy", "plotly", "pandas", "numpy", "rich.console"}
    if "DesignPoint" in what:
        what = "from fastrcaps_dse import DesignPoint"
    code = f"import sys; {what}; print(sorted({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_public_names_are_there() -> None:
    import fastrcaps_dse

    for name in fastrcaps_dse.__all__:
        assert getattr(fastrcaps_dse, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fastrcaps_dse.nothing


def test_a_type_checker_knows_the_public_names() -> None:
    import fastrcaps_dse

    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    homes = {
        alias.name: str(node.module).removeprefix("fastrcaps_dse.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert homes == fastrcaps_dse._HOMES and sorted([*homes, "__version__"]) == sorted(fastrcaps_dse.__all__)


def test_every_folder_is_installed() -> None:
    document = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(document["tool"]["setuptools"]["packages"])
    folders = {".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob("__init__.py")}
    assert listed == folders | {"fastrcaps_dse.studies"}
