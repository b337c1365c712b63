"""The trials, runs and epochs of a study as files that other software reads."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastrcaps_dse.analysis.results import Results
from fastrcaps_dse.analysis.views import view_name
from fastrcaps_dse.errors import InputError, MachineError, nearest

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "json", "parquet")
TABLES = ("trials", "runs", "epochs")


def write_tables(results: Results, folder: Path, file_format: str) -> list[Path]:
    """Write trials, runs and epochs into a folder, one file each, and the study itself as study.json; the files.

    JSON has a list of records, with null where a value is missing. Files of earlier calls are replaced.
    Raises InputError for an unknown format or a missing package, MachineError for a folder that cannot be written.
    """
    if file_format not in FORMATS:
        raise InputError(f"unknown format {file_format!r}", nearest(file_format, FORMATS))
    if file_format == "parquet":
        _require_parquet()
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            written.append(folder / f"{name}.{file_format}")
            _write(getattr(results, name), written[-1])
        written.append(folder / "study.json")
        written[-1].write_text(json.dumps(_study(results), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{folder} cannot be written: {error.strerror or error}", "name another folder") from None
    return written


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a DataFrame as a Parquet file. Raises InputError for a missing package, MachineError for a file that cannot be written."""
    _require_parquet()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path, index=False, engine="pyarrow")
    except OSError as error:
        raise MachineError(f"{path} cannot be written: {error.strerror or error}", "name another file") from None


def _require_parquet() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError("Parquet needs the package pyarrow", "pip install 'fastrcaps-dse[parquet]', or use CSV")


def _write(frame: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False, lineterminator="\n")
    elif path.suffix == ".json":
        path.write_text((frame.to_json(orient="records", indent=2) if len(frame) else "[]") + "\n", encoding="utf-8")
    else:
        frame.to_parquet(path, index=False, engine="pyarrow")


def _study(results: Results) -> dict[str, Any]:
    """What the tables do not say: how the study was started, and what its objectives are."""
    study = results.study
    objectives = [{"name": o.name, "unit": o.unit, "direction": o.direction} for o in study.objectives]
    images = {"fingerprint": study.dataset_fingerprint, "shape": dict(study.image_shape), "train_images": study.train_images}
    identity = dict(study.identity)
    return {
        "study": study.name,
        "view": view_name(results.anytime),
        "objectives": objectives,
        "reference": study.reference,
        "identity": identity,
        "images": images,
        "study_file": study.spec_text,
    }
