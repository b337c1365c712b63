"""What the shell completes: names of studies, trials, designs and settings. Nothing heavy is imported, and nothing is ever written."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

DEFAULT_DATABASE = "studies/fastrcaps.db"
MOST_TRIALS = 200  # that are offered, the latest first


def _starting(incomplete: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


# --- what the program has -----------------------------------------------------------------------------------------------


def complete_sampler(incomplete: str) -> list[str]:
    """Samplers."""
    from fastrcaps_dse.problem.study_spec import Sampler

    return _starting(incomplete, get_args(Sampler))


def complete_format(incomplete: str) -> list[str]:
    """Formats of tables."""
    from fastrcaps_dse.cli.formats import FORMATS

    return _starting(incomplete, FORMATS)


def complete_protocol(incomplete: str) -> list[str]:
    """Protocols."""
    from fastrcaps_dse.problem.study_spec import Protocol

    return _starting(incomplete, get_args(Protocol))


def complete_pruning(incomplete: str) -> list[str]:
    """Ways to prune."""
    from fastrcaps_dse.problem.study_spec import Pruning

    return _starting(incomplete, get_args(Pruning))


def complete_time(incomplete: str) -> list[str]:
    """Ways to count training time."""
    from fastrcaps_dse.problem.study_spec import TimeBy

    return _starting(incomplete, get_args(TimeBy))


def complete_precision(incomplete: str) -> list[str]:
    """Precisions of the convolutions."""
    return _starting(incomplete, ("float32", "bfloat16"))


def complete_device(incomplete: str) -> list[str]:
    """Kinds of devices."""
    return _starting(incomplete, ("cuda", "mps", "cpu"))


def complete_objectives(incomplete: str) -> list[str]:
    """A list of objectives: its last name."""
    from fastrcaps_dse.problem.objectives import OBJECTIVES

    earlier, comma, last = incomplete.rpartition(",")
    given = earlier.split(",")
    return [f"{earlier}{comma}{name}" for name in _starting(last, OBJECTIVES) if name not in given]


def complete_design(incomplete: str) -> list[str]:
    """Named designs."""
    from fastrcaps_dse.problem.space import LENET5_DESIGNS, NAMED_DESIGNS

    return _starting(incomplete, [*NAMED_DESIGNS, *LENET5_DESIGNS])


def complete_data_set(incomplete: str) -> list[str]:
    """Data sets by name; where none fits, folders, .npz and .mat files."""
    return _starting(incomplete, _data_sets()) or _paths(incomplete, (".npz", ".mat"))


def _data_sets() -> tuple[str, ...]:
    """The names in data/names.py, which needs nothing, read without the package around it, which needs torch."""
    path = Path(__file__).parent.parent / "data" / "names.py"
    spec = importlib.util.spec_from_file_location("fastrcaps_data_names", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names: tuple[str, ...] = module.ALL_NAMES
    return names


def complete_study_file(incomplete: str) -> list[str]:
    """Study files by name, then those of the folder."""
    from fastrcaps_dse.problem.study_file import STUDY_FOLDERS

    names = sorted({path.stem for folder in STUDY_FOLDERS for path in folder.glob("*.toml")})
    return [*_starting(incomplete, names), *_paths(incomplete, (".toml",))]


def complete_setting(incomplete: str) -> list[str]:
    """Keys of study files, for --set."""
    from fastrcaps_dse.problem.settings import KEYS

    return [f"{key}=" for key in _starting(incomplete, KEYS)]


def _paths(incomplete: str, endings: tuple[str, ...]) -> list[str]:
    """Folders, and files with one of the endings."""
    folder, name = os.path.split(incomplete)
    with suppress(OSError):
        entries = sorted(Path(folder or ".").iterdir())
        found = [path for path in entries if path.name.startswith(name) and not (path.name.startswith(".") and not name)]
        offered = [path for path in found if path.is_dir() or path.suffix in endings]
        return [os.path.join(folder, path.name) + ("/" if path.is_dir() else "") for path in offered]
    return []


# --- what the database has ----------------------------------------------------------------------------------------------


def complete_study(ctx: Any, incomplete: str) -> list[str]:
    """Names of studies, the newest first."""
    query = "SELECT study_name FROM studies JOIN fastrcaps_study USING (study_id) ORDER BY created DESC, study_id DESC"
    return _starting(incomplete, (name for (name,) in _query(ctx, query)))


def complete_trial(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    """Numbers of trials with their designs: those of the study that the line names, else of the newest one."""
    from fastrcaps_dse.problem.space import design_from_dict

    name = ctx.params.get("study")
    where, values = ("WHERE study_name = ?", [name]) if name else ("", [])
    newest = f"SELECT study_id FROM studies JOIN fastrcaps_study USING (study_id) {where} ORDER BY created DESC, study_id DESC LIMIT 1"
    query = f"SELECT trial, design, acc FROM fastrcaps_run WHERE study_id = ({newest}) GROUP BY trial ORDER BY trial DESC"
    rows = [row for row in _query(ctx, query, values) if str(row[0]).startswith(incomplete)]
    found = []
    for trial, design, acc in rows[:MOST_TRIALS]:
        accuracy = "" if acc is None else f", acc {acc:.2f} %"
        found.append((str(trial), design_from_dict(json.loads(design)).label + accuracy))
    return found


def _query(ctx: Any, query: str, values: Iterable[str] = ()) -> Iterator[tuple[Any, ...]]:
    """Rows of the SQLite database that the line names, else of the default one; none where it cannot be read."""
    text = ctx.params.get("storage") or os.environ.get("FASTRCAPS_STORAGE") or DEFAULT_DATABASE
    path = Path(text.removeprefix("sqlite:///") if "://" in text else text)
    if not path.is_file():
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as database:
        yield from database.execute(query, [*values]).fetchall()
