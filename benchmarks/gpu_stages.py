"""Stages of a long check of a machine: items one after the other in a process of their own, each finding told as it comes.

A stage has a moment at which it ends; what it has not come to is told as skipped. An item that raises is a failed finding. One
that breaks its process, as a fault of a GPU does, is a failed finding, too, and the next item gets a new process.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any, Protocol

import torch

BROKEN = 3  # exit code of a process whose device is broken


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and on what the stages run."""

    device: str
    folder: Path  # for databases and images
    data_dir: Path | None = None
    quick: bool = False  # sizes for a test of the stages themselves
    keep: Path | None = None  # the folder of the paper's studies, which a later call goes on with
    records: Path | None = None  # the folder of their records

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.startswith("cuda")


class Emit(Protocol):
    """Tells a finding: its name, whether a check passed (None for a figure), and its facts."""

    def __call__(self, name: str, ok: bool | None = None, **facts: Any) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Item:
    """A piece of a stage. `act` gets the moment of time.monotonic() at which the stage ends."""

    name: str
    act: Callable[[Setting, Emit, float], None]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A named list of items, and the share of the time that it gets, relative to the other stages."""

    name: str
    share: float
    items: Callable[[Setting], Sequence[Item]] = field(repr=False)


Tell = Callable[[dict[str, Any]], None]


def _finding(stage: str, name: str, ok: bool | None, facts: dict[str, Any]) -> dict[str, Any]:
    return {"stage": stage, "name": name, "ok": ok} | facts


def run_item(stage: str, item: Item, setting: Setting, end: float, tell: Tell) -> bool:
    """Run an item and tell its findings; whether the device still works after it."""
    start = time.monotonic()

    def emit(name: str, ok: bool | None = None, **facts: Any) -> None:
        tell(_finding(stage, name, ok, facts | {"seconds_since_item_began": round(time.monotonic() - start, 2)}))

    try:
        item.act(setting, emit, end)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        emit(item.name, False, error=f"{type(error).__name__}: {error}", at=f"{Path(last.filename).name}:{last.lineno}")
        return not isinstance(error, torch.AcceleratorError)
    return True


def skip(stage: str, items: Sequence[Item], why: str, tell: Tell) -> None:
    """Tell of items that they are skipped."""
    for item in items:
        tell(_finding(stage, item.name, None, {"skipped": why}))


def run_here(stage: Stage, setting: Setting, end: float, tell: Tell) -> None:
    """Run a stage in this process, which nothing ends but its items."""
    items = stage.items(setting)
    for index, item in enumerate(items):
        if time.monotonic() >= end:
            return skip(stage.name, items[index:], "out of time", tell)
        if not run_item(stage.name, item, setting, end, tell):
            return skip(stage.name, items[index + 1 :], "the device is broken", tell)
    return None


# --- in a process of its own ------------------------------------------------------------------------------------------------


def _serve(stage: Stage, first: int, setting: Setting, end: float, pipe: connection.Connection) -> None:
    """Run the items from the `first` on, and send ("begin", index), ("finding", finding)."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (connection.wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    for index, item in enumerate(stage.items(setting)):
        if index < first:
            continue
        pipe.send(("begin", index))
        if not run_item(stage.name, item, setting, end, lambda finding: pipe.send(("finding", finding))):
            pipe.close()
            os._exit(BROKEN)
    pipe.send(("begin", math.inf))


def run_apart(stage: Stage, setting: Setting, end: float, tell: Tell) -> None:
    """Run a stage in a process of its own, which is ended when the time is over, and replaced when it breaks."""
    items = stage.items(setting)
    spawn = multiprocessing.get_context("spawn")
    first = 0
    while first < len(items):
        if time.monotonic() >= end:
            return skip(stage.name, items[first:], "out of time", tell)
        pipe, theirs = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(stage, first, setting, end, theirs))
        process.start()
        theirs.close()
        try:
            at, failed = _hear(pipe, first, end, tell)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.join()
            pipe.close()
        if at < len(items) and time.monotonic() >= end:
            return skip(stage.name, items[int(at) :], "out of time", tell)
        if at < len(items) and not failed:
            tell(_finding(stage.name, items[int(at)].name, False, {"error": "its process died"}))
        first = int(min(at, len(items))) + 1
    return None


def _hear(pipe: connection.Connection, first: int, end: float, tell: Tell) -> tuple[float, bool]:
    """Tell findings until the process or the time is over; (the item that was begun last, whether it was told to have failed)."""
    at: float = first
    failed = False
    while at != math.inf:
        left = end - time.monotonic()
        if not pipe.poll(max(0.0, left) if left < math.inf else None):
            break
        try:
            kind, what = pipe.recv()
        except (EOFError, OSError):
            break
        if kind == "begin":
            at, failed = what, False
        else:
            failed = failed or what["ok"] is False
            tell(what)
    return at, failed
