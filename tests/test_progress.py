"""The progress of an exploration: bars that fit any terminal and move within an epoch, and something to see at once."""

from __future__ import annotations

import fcntl
import math
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fastrcaps_dse.cli.bars import LEAST_BAR, RunBar, State, lines
from fastrcaps_dse.problem.space import NAMED_DESIGNS
from fastrcaps_dse.problem.study_spec import UNBOUNDED

ROOT = Path(__file__).parent.parent
LABEL = NAMED_DESIGNS["wab+ws"].label + " · shift 0 · routing 2"


def state(images: int = 820, *, label: str = LABEL, epochs: int = 30) -> State:
    bar = RunBar(trial=12, label=label, epochs=epochs, done=11, images=images, of=1667, note="acc 97.44 %, 12.2 s an epoch")
    return State(finished=3, target=7, note="2 on the front, about 2 min 05 s left", runs={12: bar})


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_bar_and_count_are_there_at_any_width(width: int) -> None:
    designs, run = (line.plain for line in lines(state(), width, 0.0))
    assert max(map(cell_len, (designs, run))) <= width
    assert designs.startswith("designs  ") and "3/7" in designs and len(re.findall("[━─]", designs)) >= LEAST_BAR
    assert run.startswith("trial 12  ") and "epoch 12/30" in run and len(re.findall("[━─]", run)) >= LEAST_BAR
    assert "49 %" in run or "820/1,667 images" in run
    if width >= 120:
        assert "acc 97.44 %" in run and "about 2 min 05 s left" in designs


@given(st.integers(20, 220), st.integers(0, 1667), st.text(max_size=80), st.integers(0, 9999), st.booleans())
def test_no_line_is_wider(width: int, images: int, label: str, epochs: int, ascii_only: bool) -> None:
    for made in (
        state(images, label=label, epochs=epochs),
        State(target=UNBOUNDED, finished=7, note="x" * 90),
        State(stage=label),
    ):
        for line in lines(made, width, 3.5, ascii_only=ascii_only):
            assert cell_len(line.plain) <= width
            if ascii_only and label.isascii():
                assert not re.search("[━─⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", line.plain)


def test_bars_move_within_an_epoch() -> None:
    full = [line.plain.count("━") for images in range(0, 1668, 60) for line in lines(state(images, epochs=12), 80, 0.0)[1:]]
    assert full == sorted(full) and len({*full}) > 1
    whole = [state(images, epochs=1) for images in (0, 1667)]
    for made in whole:
        made.runs[12].done = 0
    first, last = (lines(made, 80, 0.0)[1].plain for made in whole)
    assert "━" not in first and "─" not in last
    designs = [lines(made, 80, 0.0)[0].plain.count("━") for made in whole]
    assert designs[0] < designs[1]  # the share of the run counts among the designs


# --- in a terminal ----------------------------------------------------------------------------------------------------

STUDY = """
epochs = 2
trials = 2
time = "measured"
[space]
network = ["lenet5"]
lr_policy = ["fixed"]
batch_schedule = [8, 16]
shift = [0]
"""
EXPLORE = [sys.executable, "-m", "fastrcaps_dse", "explore", "t.toml", "--device", "cpu"]


def in_terminal(arguments: list[str], cwd: Path, columns: int) -> tuple[int, float, list[str]]:
    """Exit code, seconds until something is seen, and all lines that the terminal was sent, in their order."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    start, first, sent = time.monotonic(), math.inf, b""
    with subprocess.Popen(arguments, cwd=cwd, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        while time.monotonic() < start + 120:
            if select.select([ours], [], [], 1.0)[0]:
                try:
                    chunk = os.read(ours, 65536)
                except OSError:  # the terminal of an ended process
                    break
                if chunk and math.isinf(first) and re.search(rb"[A-Za-z]", re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", chunk)):
                    first = time.monotonic() - start
                sent += chunk
            elif child.poll() is not None:
                break
        child.kill()
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent.decode())
    return child.returncode, first, [line for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "workers"), [(60, "2"), pytest.param(120, "1", marks=pytest.mark.thorough)])
def test_an_exploration_in_a_terminal(tmp_path: Path, columns: int, workers: str) -> None:
    (tmp_path / "t.toml").write_text(STUDY if workers == "1" else STUDY.replace('time = "measured"', ""))
    code, first, seen = in_terminal([*EXPLORE, "--workers", workers], tmp_path, columns)
    assert code == 0, seen
    assert math.isfinite(first) and any("loading PyTorch" in line for line in seen[:2])  # before the seconds in which it loads
    bars = [line for line in seen if re.search("[━─]{8}", line)]
    assert bars and max(map(cell_len, bars)) <= columns
    assert any(re.match(r"designs  [━─]+  [01]/2", line) for line in bars)
    runs = [line for line in bars if line.startswith("trial ") and "epoch " in line]
    within = {line for line in runs if re.search(r"epoch 1/2,? [^0]", line)}
    assert len({re.sub("[━─]", "", line) for line in within}) > 1, runs  # it moves within an epoch
    assert not any("(8 h" in line for line in seen)  # a stage tells its own seconds
    table = seen[next(k for k, line in enumerate(seen) if "on the Pareto front (" in line) :]
    heads = next(line for line in table if line.startswith("trial  design"))
    assert cell_len(heads) <= columns and "params" in heads


@pytest.mark.thorough
@pytest.mark.slow
def test_a_quiet_exploration_draws_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(STUDY.replace("epochs = 2", "epochs = 1"))
    code, _, seen = in_terminal([*EXPLORE, "--workers", "1", "-q"], tmp_path, 80)
    said = [line for line in seen if not line.startswith("warning: ")]
    assert code == 0 and "on the Pareto front (" in said[0] and not any(re.search("[━─⠋]", line) for line in said)
