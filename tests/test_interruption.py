"""A signal at any moment: one line that says how to continue, exit code 130, no traceback, and no process that stays."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastrcaps_dse.interruption import CODE

STUDY = """
dataset = "{dataset}"
epochs = 50
trials = 6
[space]
lr_policy = ["fixed"]
batch_schedule = [4, 8, 16]
decoder = ["small"]
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc"),
]


def marked(mark: str) -> list[int]:
    """The processes that have this mark in their environment, but for those that have ended."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass
    return found


def interrupted(folder: Path, study: Path, moment: float | None, *signals: signal.Signals, workers: int = 2) -> tuple[int, str]:
    """(exit code, stderr) of an exploration that gets signals at a moment; None for when it trains."""
    mark = f"FASTRCAPS_TEST_MARK={folder.name}-{time.monotonic_ns()}"
    environment = {**os.environ, **dict([mark.split("=")])}
    arguments = [sys.executable, "-m", "fastrcaps_dse", "explore", str(study), "--device", "cpu", "--workers", str(workers)]
    with subprocess.Popen(
        arguments,
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as child:
        if moment is None:
            deadline = time.monotonic() + 120
            while not [*folder.rglob("last.safetensors")] and time.monotonic() < deadline:
                time.sleep(0.05)
        else:
            time.sleep(moment)
        for number in signals:  # to all processes, as a terminal does
            os.killpg(child.pid, number)
            time.sleep(0.15)
        sent = time.monotonic()
        _, err = child.communicate(timeout=60)
        while marked(mark) and time.monotonic() - sent < 3:
            time.sleep(0.05)
        assert not marked(mark), "processes stay"
        return child.returncode, err


def check(code: int, err: str) -> None:
    assert code == CODE, (code, err)
    assert "Traceback" not in err and "KeyboardInterrupt" not in err and "Exception ignored" not in err, err
    assert err.count("interrupted; nothing is lost. Continue with:") == 1 and "fastrcaps-dse explore" in err, err


@pytest.fixture
def study(tmp_path: Path, tiny: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY.format(dataset=tiny), encoding="utf-8")
    return path


def test_at_random_moments(tmp_path: Path, study: Path) -> None:
    seed = int(os.environ.get("FASTRCAPS_TEST_SEED") or time.time_ns())
    print(f"FASTRCAPS_TEST_SEED={seed}")  # pytest shows it where the test fails
    chance = random.Random(seed)
    for low, high in ((0.2, 1.0), (1.0, 3.0), (3.0, 8.0)):  # in the imports; the data; workers that start
        moment = chance.uniform(low, high)
        code, err = interrupted(tmp_path, study, moment, signal.SIGINT)
        print(f"after {moment:.2f} s: {err}")
        check(code, err)


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT, signal.SIGINT), pytest.param((signal.SIGHUP,), marks=pytest.mark.thorough)]
)
def test_while_it_trains(tmp_path: Path, study: Path, signals: tuple[signal.Signals, ...]) -> None:
    check(*interrupted(tmp_path, study, None, *signals, workers=2 if signals == (signal.SIGHUP,) else 1))


def test_what_follows_a_study_is_not_cut_short(tmp_path: Path, study: Path) -> None:
    """The command of --then runs to its end, although it takes longer than the end of the program may."""
    arguments = [
        sys.executable,
        "-m",
        "fastrcaps_dse",
        "explore",
        str(study),
        "--then",
        "sleep 3; echo $FASTRCAPS_STATUS > told",
    ]
    with subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        while not child.stderr.readline().startswith("study "):  # --then is in force from here on
            assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
    check(child.returncode, err)
    assert (tmp_path / "told").read_text(encoding="utf-8") == "interrupted\n"
