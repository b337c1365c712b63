"""The cores of a process: affinity, quotas of containers, how busy others keep them, and what OpenMP is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse import cores, trainer
from fastrcaps_dse.runs.devices import filling
from fastrcaps_dse.trainer import stopwatch, threads

CPU = torch.device("cpu")


def python(code: str, **environment: str) -> str:
    """What a Python prints that has none of our variables but these."""
    clean = {name: value for name, value in os.environ.items() if name not in (*cores.WAITING, *cores.THREADS)}
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean | environment)
    return asked.stdout.strip()


# --- how OpenMP waits -------------------------------------------------------------------------------------------------


def test_the_environment_is_set_before_torch_is_imported_and_workers_inherit_it() -> None:
    code = (
        "import sys, fastrcaps_dse, os; assert 'torch' not in sys.modules; import subprocess;"
        "print(subprocess.run([sys.executable, '-c', 'import os; print(os.environ[\"GOMP_SPINCOUNT\"])'],"
        " capture_output=True, text=True).stdout)"
    )
    assert python(code) == cores.SHORT_WAIT["GOMP_SPINCOUNT"]


@pytest.mark.parametrize("name", cores.WAITING)
def test_what_a_person_has_set_stays(name: str) -> None:
    environ = {name: "17"}
    cores.prepare_openmp(environ)
    assert environ == {name: "17"} | cores.REPEATABLE
    environ = {"MKL_CBWR": "AVX2"}
    cores.prepare_openmp(environ)
    assert environ == {"MKL_CBWR": "AVX2"} | cores.SHORT_WAIT


@pytest.mark.slow
def test_the_words_say_what_is_in_force() -> None:
    say = "from fastrcaps_dse import cores; print(cores.waiting())"
    assert python(say).startswith("briefly, then they sleep: GOMP_SPINCOUNT=")
    assert python("import torch; " + say).startswith("as torch's own OpenMP does")
    assert python(say, OMP_WAIT_POLICY="passive") == "as the environment says: OMP_WAIT_POLICY=passive"


# --- how many ---------------------------------------------------------------------------------------------------------


def group(tmp_path: Path, text: str) -> int:
    """The cores where this process's group of cgroup v2, or the group around it, has such a cpu.max."""
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "cpu.max").write_text(text)
    return min((round(q) for q in cores._quotas(tmp_path, [("", "/outer/inner")])), default=99)


@pytest.mark.parametrize(("text", "expected"), [("max 100000\n", 99), ("200000 100000\n", 2), ("50000 100000\n", 0), ("?", 99)])
def test_quota_of_cgroup_v2(tmp_path: Path, text: str, expected: int) -> None:
    assert group(tmp_path, text) == expected


def test_quota_of_cgroup_v1(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert list(cores._quotas(tmp_path, [("cpu,cpuacct", "/missing"), ("memory", "/")])) == [3.0]
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")  # no quota
    assert list(cores._quotas(tmp_path, [("cpu,cpuacct", "/")])) == []


def test_a_quota_limits_the_cores_and_leaves_at_least_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "own_processors", lambda: list(range(64)))
    for quota, expected in ((1.5, 2), (0.25, 1), (8.0, 8), (100.0, 64)):
        monkeypatch.setattr(cores, "_quotas", lambda *_, quota=quota: iter([quota]))
        assert cores.available_cores() == expected
    monkeypatch.setattr(cores, "_quotas", lambda *_: iter(()))
    assert cores.available_cores() == 64


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_affinity_decides_the_threads() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from fastrcaps_dse import cores, trainer; print(cores.available_cores(), trainer.all_threads())"
    )
    assert python(code) == "1 1"


def test_memory_is_that_of_the_machine_or_of_the_container(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:   8000 kB\n")
    assert cores.available_memory(meminfo, tmp_path) == 8000 * 1024
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "memory.max").write_text("5000\n")
    (tmp_path / "group" / "memory.current").write_text("1200\n")
    assert list(cores._memory_left(tmp_path, [("", "/group/inner")])) == [3800]
    (tmp_path / "group" / "memory.max").write_text("max\n")
    assert list(cores._memory_left(tmp_path, [("", "/group")])) == []
    assert cores.available_memory(tmp_path / "missing", tmp_path) == sys.maxsize


def test_workers_fill_the_cores_as_the_memory_and_the_trials_allow() -> None:
    assert filling(16, 64 * 10**9, 10**9, 40) == 16
    assert filling(16, 64 * 10**9, 10**9, 7) == 7
    assert filling(2, 10**12, 2 * 10**9, 10) == 2
    assert filling(16, 7 * 10**9, 17 * 10**8, 40) == 4
    assert filling(16, 10**8, 17 * 10**8, 40) == 1


# --- how busy ---------------------------------------------------------------------------------------------------------

STAT = """cpu  100 0 0 0 0 0 0 0 0 0
cpu0 {0} 700 20 999 88 1 2 3 0 0
cpu1 50 0 0 999 0 0 0 0 0 0
cpu7 9999 0 0 0 0 0 0 0 0 0
intr 1 2 3
"""


def test_usage_counts_the_own_processors_and_no_work_of_low_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "own_processors", lambda: [0, 1])
    monkeypatch.setattr("os.nice", lambda _: 0)
    (tmp_path / "stat").write_text(STAT.format(100))
    found = cores.usage(tmp_path / "stat")
    assert found is not None and found.all_busy * os.sysconf("SC_CLK_TCK") == 100 + 20 + 1 + 2 + 3 + 50
    monkeypatch.setattr("os.nice", lambda _: 5)  # a process of low priority competes with the others of low priority
    found = cores.usage(tmp_path / "stat")
    assert found is not None and found.all_busy * os.sysconf("SC_CLK_TCK") == 876
    assert cores.usage(tmp_path / "missing") is None


@given(others=st.floats(0, 64), processors=st.integers(1, 64), threads_now=st.integers(1, 64), most=st.integers(1, 64))
def test_threads_are_within_bounds_and_never_more_beside_more(
    others: float, processors: int, threads_now: int, most: int
) -> None:
    chosen = threads.threads_beside(others, processors, threads_now, most)
    assert 1 <= chosen <= most and chosen in {most >> k for k in range(8)}
    assert threads.threads_beside(others + 1, processors, threads_now, most) <= chosen
    assert threads.threads_beside(0, max(processors, most), threads_now, most) == most


@pytest.mark.parametrize(
    ("others", "now", "expected"), [(0.0, 2, 2), (0.7, 2, 1), (1.0, 1, 1), (0.3, 1, 2), (0.5, 2, 2), (1.7, 2, 1)]
)
def test_two_cores(others: float, now: int, expected: int) -> None:
    """A busy program beside two threads gets two thirds of a core, or a whole one beside one thread; a little work is ignored."""
    assert threads.threads_beside(others, 2, now, 2) == expected


@pytest.fixture
def eight_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process whose person set no number of threads, on eight cores."""
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_state", threads._State())
    monkeypatch.setattr(cores, "own_processors", lambda: list(range(8)))
    monkeypatch.setattr(cores, "available_cores", lambda: 8)
    monkeypatch.setattr(cores, "threads_are_set", lambda: False)
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


def loads(monkeypatch: pytest.MonkeyPatch, others: list[float]) -> None:
    """Let each look at the load find that other programs kept so many cores busy since the last one, a second ago."""
    clock = iter(range(1, 100))
    usages = iter([cores.Usage(all_busy=sum(others[:k]), own=0.0) for k in range(len(others) + 1)])
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(cores, "usage", lambda: next(usages))


@pytest.mark.usefixtures("eight_threads")
def test_the_number_of_threads_follows_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    loads(monkeypatch, [0.0, 3.0, 3.0, 7.9, 0.0])
    seen = []
    for _ in range(6):
        threads.follow_load(CPU)
        seen.append(torch.get_num_threads())
    assert seen == [8, 8, 4, 4, 1, 8]
    assert trainer.all_threads() == 8  # whatever the load is


@pytest.mark.usefixtures("eight_threads")
def test_a_share_is_the_most_and_a_measurement_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer.take_share(2)
    loads(monkeypatch, [0.0, 6.5, 6.5])
    with threads.measuring():
        threads.follow_load(CPU)
        assert torch.get_num_threads() == 8
    seen = []
    for _ in range(3):
        threads.follow_load(CPU)
        seen.append(torch.get_num_threads())
    assert seen == [4, 4, 2]
    torch.set_num_threads(6)  # by the person: the whole is now 6
    assert trainer.all_threads() == 6 and threads.own_threads() == 3


@pytest.mark.usefixtures("eight_threads")
def test_a_number_that_a_person_set_does_not_follow_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "threads_are_set", lambda: True)
    loads(monkeypatch, [7.0, 7.0])
    for _ in range(2):
        threads.follow_load(CPU)
        assert torch.get_num_threads() == 8


@pytest.mark.usefixtures("eight_threads")
def test_a_quota_caps_the_default_but_not_what_a_person_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "available_cores", lambda: 2)
    assert trainer.all_threads() == 2
    torch.set_num_threads(5)
    assert trainer.all_threads() == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weight_sharing", "size"),
    [(False, 5), (True, 20), *(pytest.param(*further, marks=pytest.mark.thorough) for further in ((False, 20), (True, 5)))],
)
def test_the_number_of_threads_changes_no_bit(weight_sharing: bool, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load may change it in the middle of a run, which is repeatable all the same."""
    from fastrcaps_dse import data
    from fastrcaps_dse.problem.schedules import FixedBatch
    from fastrcaps_dse.problem.space import DesignPoint

    dataset = data.load("mnist-sample")
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_state", threads._State(follows=False))
    images = data.Split(images=dataset.train.images[: 2 * size], labels=dataset.train.labels[: 2 * size])
    point = DesignPoint(weight_sharing=weight_sharing, batch_schedule=FixedBatch(size=size))
    found = []
    for count in (1, 2, 4):
        torch.set_num_threads(count)
        training = trainer.Training(point, 0, dataset, epochs=1, protocol="paper", device=CPU)
        losses = training.train_on(images, size, [1e-3] * 2).tolist()
        found.append((losses, [p.detach().clone() for p in training.network.parameters()]))
    torch.set_num_threads(before)
    for losses, weights in found[1:]:
        assert losses == found[0][0]
        assert all(torch.equal(a, b) for a, b in zip(weights, found[0][1], strict=True))


def test_fewer_timings_are_taken_where_the_machine_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, taken in (([1.0, 1.02, 1.01], 3), ([1.0, 1.1, 1.0, 1.0], 7), ([2.0] * 7, 3)):
        clock = iter([*seconds, *[1.0] * 10])
        monkeypatch.setattr(stopwatch, "_seconds", lambda *_, clock=clock: next(clock))
        assert len(stopwatch._timed(lambda _: None, 1, 7)) == taken
