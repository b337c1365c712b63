"""Processes on one device wait for each other: told, and not for ever."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from fastrcaps_dse.trainer import device_locks
from fastrcaps_dse.trainer.device_locks import alone, beside_others

CPU = torch.device("cpu")
OTHER = """
import sys, tempfile, torch
tempfile.tempdir = {folder!r}
from fastrcaps_dse.trainer.device_locks import alone, beside_others
with {kind}(torch.device("cpu")):
    print("inside", flush=True)
    sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(not device_locks.HAS_LOCKS, reason="files cannot be locked on this system")


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(device_locks, "TOLD_AFTER", 0.02)


@contextmanager
def another(folder: Path, kind: str, *, of_its_own: bool = True) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the device: of another exploration, whose parent is not this process, or a worker of this one."""
    code = OTHER.format(folder=str(folder), kind=kind)
    arguments = [sys.executable, "-c", code]
    if of_its_own:
        arguments = ["sh", "-c", 'exec 3<&0; "$@" <&3 & wait', "sh", *arguments]  # a grandchild
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None and process.stdout.readline() == "inside\n"
        yield process
        process.stdin.close()


def test_waiting_for_another_exploration_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with another(tmp_path, "beside_others") as other:
        with beside_others(CPU):
            pass  # those that train do not wait for each other
        assert not caplog.messages
        begun = time.monotonic()
        assert other.stdin is not None
        threading.Timer(0.5, other.stdin.close).start()
        with caplog.at_level(logging.WARNING), alone(CPU):
            assert 0.1 < time.monotonic() - begun < 20
    assert len(caplog.messages) == 1 and "waiting for another process that uses cpu" in caplog.messages[0]


def test_patience_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(device_locks, "PATIENCE", 0.2)
    with another(tmp_path, "alone") as other, beside_others(CPU):  # it is entered all the same
        assert other.poll() is None
    assert ["waiting" in caplog.messages[0], "going on beside it" in caplog.messages[-1]] == [True, True]


def test_waiting_for_a_worker_of_the_same_exploration_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(device_locks, "PATIENCE", 0.2)
    with another(tmp_path, "alone", of_its_own=False), beside_others(CPU):
        pass
    assert not any("waiting" in message for message in caplog.messages)
