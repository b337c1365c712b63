"""The stopwatch of steps: it repeats what is noisy, and sees who takes the cores meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from fastrcaps_dse import cores
from fastrcaps_dse.trainer import quiet as quiet_machine
from fastrcaps_dse.trainer import stopwatch


def test_the_stopwatch_measures_again_where_it_is_noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    steady, wild = [1.0, 1.01, 0.99], [1.0, 2.0, 1.5, 3.0, 1.2, 0.8, 1.1]
    for turns, noisy, n in (([steady], False, 5), ([wild, steady], False, 12), ([wild, wild, wild], True, 23)):
        values = iter([0.1, *(2 * v for turn in turns for v in turn)])  # 0.25 s at least: 2 repetitions
        asked: list[int] = []
        monkeypatch.setattr(stopwatch, "GROUP_SECONDS", 0.25)
        monkeypatch.setattr(stopwatch, "_seconds", lambda act, count, v=values, a=asked: (a.append(count), next(v))[1])
        timing = stopwatch._repeated(lambda count: None, 7, torch.device("cpu"))
        assert timing.noisy == noisy and len(asked) == n - 1 and set(asked[1:]) == {2}
        assert noisy or timing.seconds == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("loads", "quiet", "seconds", "others"),
    [
        ([0.0], True, 1.0, 0.0),
        ([1.0, 0.0], True, 2.0, 0.0),  # what was measured beside others does not count, however steady it was
        ([1.0, 0.9, 0.0], True, 3.0, 0.0),
        ([1.0], False, 1.0, 1.0),  # they never rest: it is told
        ([1.0, 1.0, 1.0], True, 1.0, 1.0),
    ],
)
def test_the_stopwatch_waits_for_other_programs(
    monkeypatch: pytest.MonkeyPatch, loads: list[float], quiet: bool, seconds: float, others: float
) -> None:
    given = iter(loads)
    rounds: list[float] = []

    @contextmanager
    def watching(_: torch.device) -> Iterator[quiet_machine.Load]:
        load = quiet_machine.Load()
        rounds.append(float(len(rounds) + 1))
        yield load
        load.others = next(given)

    monkeypatch.setattr(stopwatch, "watching", watching)
    monkeypatch.setattr(stopwatch, "wait_for_quiet", lambda _: quiet)
    monkeypatch.setattr(stopwatch, "_timed", lambda act, count, groups: [rounds[-1]] * 3)
    timing = stopwatch._repeated(lambda count: None, 3, torch.device("cpu"))
    assert (timing.seconds, timing.others, timing.beside_others) == (seconds, others, others > 0)
    assert next(given, None) is None


def test_who_takes_the_cores_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = "import os; pid = os.getppid()\nwhile os.getppid() == pid: sum(range(10_000))"
    monkeypatch.setattr(quiet_machine, "PATIENCE", 1.0)
    monkeypatch.setattr(quiet_machine, "_state", quiet_machine._State())
    programs = [subprocess.Popen([sys.executable, "-c", busy]) for _ in cores.own_processors()]
    try:
        time.sleep(0.3)
        monkeypatch.setattr(torch, "get_num_threads", lambda: len(programs))  # as many as there are cores
        with quiet_machine.watching(torch.device("cpu")) as load:
            time.sleep(0.5)
        assert load.others > quiet_machine.BUSY
        start = time.monotonic()
        assert not quiet_machine.wait_for_quiet(torch.device("cpu")) and time.monotonic() - start > 1.0
        start = time.monotonic()
        assert not quiet_machine.wait_for_quiet(torch.device("cpu")) and time.monotonic() - start < 0.5
    finally:
        for program in programs:
            program.kill()
            program.wait()


def test_others_compete_only_for_cores_that_this_process_would_use() -> None:
    before, after = cores.Usage(all_busy=100.0, own=50.0), cores.Usage(all_busy=106.0, own=52.0)
    assert quiet_machine.competing(before, after, 2.0, processors=4, threads=4) == 2.0
    assert quiet_machine.competing(before, after, 2.0, processors=4, threads=3) == 1.0
    assert quiet_machine.competing(before, after, 2.0, processors=4, threads=1) == 0.0
