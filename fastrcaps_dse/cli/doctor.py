"""What this machine, its torch, its data and its storage can do."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fastrcaps_dse import cores, data, store, trainer
from fastrcaps_dse.errors import InputError, UserError
from fastrcaps_dse.figures import export
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.runs.kept_algorithms import describe_choices

MOST_AHEAD = 1.0  # s, of the database's clock before or behind that of this machine
DOWNLOADED = "downloaded when asked for, where the network allows"


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
    yield Finding(what="software", ok=True, finding=f"{trainer.software()}, optuna {importlib.metadata.version('optuna')}")
    device = trainer.choose_device()
    yield Finding(what="device", ok=True, finding=f"{device.type}: {trainer.device_name(device)}")
    yield Finding(what="cores", ok=True, finding=_cores())
    yield Finding(what="OpenMP", ok=True, finding=f"idle threads wait {cores.waiting()}")
    precision = trainer.choose_precision(device)
    yield Finding(what="precision", ok=True, finding=f"{precision} for the convolutions; the rest is float32")
    free = shutil.disk_usage(".").free / 1e9
    needs = "a run needs up to 0.3 GB, the prefix cache up to 2 GB, the weights of a design 33 MB"
    try:
        yield Finding(what="browser", ok=True, finding=f"{export.find_browser()} draws figures as PNG and SVG")
    except UserError as error:
        yield Finding(what="browser", ok=False, finding=f"{error.message}; {error.hint}")
    yield Finding(what="free disk", ok=free > 1, finding=f"{free:.1f} GB here; {needs}")


def _cores() -> str:
    """How many threads train on the processor, and what decides their number."""
    available = cores.available_cores()
    text = f"{available} of {counted(os.cpu_count() or 1, 'processor')} may be used, {counted(trainer.all_threads(), 'thread')}"
    if cores.threads_are_set():
        return f"{text}, as the environment says"
    return f"{text}, fewer while other programs compute" if cores.usage() and available > 1 else text


def _data(data_dir: Path | None) -> Iterator[Finding]:
    try:
        data.import_torchvision_datasets()
        yield Finding(what="torchvision", ok=True, finding="imports")
    except UserError as error:
        yield Finding(what="torchvision", ok=False, finding=error.message)
    root = data_dir or data.DEFAULT_DIR
    for name in data.NAMES:
        if name in data.OTHER_SETS:
            yield Finding(what=f"data: {name}", ok=root.is_dir(), finding=f"looked for in {root} when asked for; {DOWNLOADED}")
            continue
        try:
            found = data.load(name, data_dir, download=False)
            text = f"{len(found.train):,} training and {len(found.test):,} test images"
            yield Finding(what=f"data: {name}", ok=True, finding=text)
        except InputError as error:  # a broken file
            yield Finding(what=f"data: {name}", ok=False, finding=error.message)
        except UserError:
            yield Finding(what=f"data: {name}", ok=False, finding=f"not in {root}; {DOWNLOADED}")


def _storage(storage: str | None) -> Iterator[Finding]:
    try:
        url = store.open_url(storage)
        if store.sqlite_path(url):
            disk = store.network_disk_of(url)
            where = f", on a network disk ({disk}), where its locks are not reliable" if disk else ""
            yield Finding(what="SQLite", ok=disk is None, finding=f"{sqlite3.sqlite_version}{where}")
        ours = store.Store(url)
        yield _answer(store.answer_of(ours))
        folder = ours.runs_folder
        used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        space = f"checkpoints and weights {used / 1e6:,.0f} MB in {folder}"
        where = store.url_text(url)
        yield Finding(what="storage", ok=True, finding=f"{where}: {counted(len(ours.studies()), 'study', 'studies')}, {space}")
        times = ours.step_times()
        if times:
            latest = datetime.fromtimestamp(times[0].measured).strftime("%Y-%m-%d")
            devices = Counter(time.device for time in times)
            on = "; ".join(f"{count} on {device}" for device, count in devices.items())
            yield Finding(what="step times", ok=True, finding=f"{on} measured in this storage, the latest on {latest}")
        choices = describe_choices(ours)
        if choices:
            yield Finding(what="convolutions", ok=True, finding=choices)
    except UserError as error:
        yield Finding(what="storage", ok=False, finding=f"{error.message}; {error.hint}")


def _answer(answer: store.Answer) -> Finding:
    """How the database answers. That its clock is another one harms nothing: processes go by it alone."""
    ahead = answer.clock_ahead
    clock = f"its clock is {abs(ahead):.3g} s {'ahead of' if ahead >= 0 else 'behind'} this machine's"
    is_near = abs(ahead) <= MOST_AHEAD
    more = "" if is_near else "; all processes of a study go by the database's"
    text = f"{answer.software}, answers in {1000 * answer.round_trip:.2g} ms; {clock}{more}"
    return Finding(what="database", ok=is_near, finding=text)
