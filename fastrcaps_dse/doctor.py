"""What this machine, its torch, its data and its storage can do."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import torch

from fastrcaps_dse import __version__, data, store, trainer
from fastrcaps_dse.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    finding: str


def examine(storage: str | None, data_dir: Path | None) -> list[Finding]:
    """All findings; nothing is written or downloaded."""
    return [*_machine(), *_data(data_dir), *_storage(storage)]


def _machine() -> Iterator[Finding]:
    yield Finding(what="fastrcaps-dse", ok=True, finding=f"{__version__}, Python {platform.python_version()}")
    yield Finding(
        what="torch", ok=True, finding=f"{torch.__version__}, {torch.get_num_threads()} threads; optuna {optuna.__version__}"
    )
    device = trainer.choose_device()
    yield Finding(what="device", ok=True, finding=f"{device.type}: {trainer.device_name(device)}, {os.cpu_count()} processors")
    precision = trainer.choose_precision(device)
    yield Finding(what="precision", ok=True, finding=f"{precision} for the convolutions; the rest is float32")
    free = shutil.disk_usage(".").free / 1e9
    yield Finding(
        what="free disk", ok=free > 1, finding=f"{free:.1f} GB here; a run needs up to 0.3 GB, the weights of a design 33 MB"
    )


def _data(data_dir: Path | None) -> Iterator[Finding]:
    try:
        data.import_torchvision_datasets()
        yield Finding(what="torchvision", ok=True, finding="imports")
    except UserError as error:
        yield Finding(what="torchvision", ok=False, finding=error.message)
    for name in data.NAMES:
        if name in data.OTHER_SETS:
            here = (data_dir or data.DEFAULT_DIR).is_dir()
            text = "looked for by torchvision when it is asked for, downloaded where the network allows"
            yield Finding(what=f"data: {name}", ok=here, finding=text)
            continue
        try:
            found = data.load(name, data_dir, download=False)
            text = f"{len(found.train):,} training and {len(found.test):,} test images"
            yield Finding(what=f"data: {name}", ok=True, finding=text)
        except UserError as error:
            yield Finding(what=f"data: {name}", ok=False, finding=error.message)


def _storage(storage: str | None) -> Iterator[Finding]:
    try:
        url = store.parse_url(storage or store.default_url())
        if store.sqlite_path(url):
            yield Finding(what="SQLite", ok=True, finding=sqlite3.sqlite_version)
        studies = store.Store(url).studies()
        yield Finding(what="storage", ok=True, finding=f"{store.shown(url)}: {len(studies)} studies")
    except UserError as error:
        yield Finding(what="storage", ok=False, finding=f"{error.message}; {error.mend}")
