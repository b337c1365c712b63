"""The check of a machine with a GPU, on a CPU and in small: its findings are real, and a fault makes a check fail."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu, gpu_checks, gpu_product, training_rows
from benchmarks.gpu_checks import AGAINST_FLOAT64, PRECISIONS, check_restart, check_steps, steps_items
from benchmarks.gpu_product import check_memory, epochs_within
from benchmarks.gpu_stages import Item, Setting, Stage, run_apart, run_here
from benchmarks.training_cases import VARIANTS, Case, Form
from fastrcaps_dse import errors
from fastrcaps_dse.problem.space import NAMED_DESIGNS
from fastrcaps_dse.runs import worker_pool
from fastrcaps_dse.trainer import Training
from fastrcaps_dse.trainer.steps import GraphSteps
from tests.small_networks import small_worker

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_capsnet")]
FIXED, DECAY = (NAMED_DESIGNS[name].label for name in ("fixed", "exp-decay"))
Findings = list[dict[str, Any]]


class Heard:
    """Keeps findings."""

    def __init__(self) -> None:
        self.findings: Findings = []

    def __call__(self, name: str, ok: bool | None = None, **facts: Any) -> None:
        self.findings.append({"name": name, "ok": ok} | facts)

    @property
    def outcomes(self) -> dict[str, bool | None]:
        return {found["name"]: found["ok"] for found in self.findings}


class Here:
    """A process of the training benchmark that is none: the test of that benchmark starts real ones."""

    def __init__(self, case: Case, end: float) -> None:
        self.case, self.skipped, self.compile_seconds = case, None, 0.0
        self.form = Form(case)

    def wait(self) -> None:
        """It is ready."""

    def ask(self, what: str) -> tuple[float, Any]:
        start = time.perf_counter()
        answer = {"memory": lambda: 1e6, "algorithm": lambda: self.form.algorithm}.get(what) or getattr(self.form, what)
        said = answer()
        return time.perf_counter() - start, said

    def stop(self, *, now: bool = False) -> None:
        """It keeps nothing."""


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(device="cpu", folder=tmp_path, quick=True)


# --- the whole program ---------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.slow
def test_the_whole_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All stages in this process, with one precision and one batch size of the steps; every finding is in the files."""
    monkeypatch.setattr(worker_pool, "_work", small_worker)
    monkeypatch.setattr(training_rows, "Worker", Here)
    monkeypatch.setattr(gpu_checks, "PRECISIONS", ("float32",))
    monkeypatch.setattr(gpu_checks, "batch_sizes", lambda _: (4,))
    code = gpu.run(["--minutes", "5", "--out", str(tmp_path / "out"), "--device", "cpu", "--quick", "--in-process"])
    findings = [json.loads(line) for line in (tmp_path / "out" / "findings.jsonl").read_text().splitlines()]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    failed = [found for found in findings if found["ok"] is False]
    assert code == 0 and not failed, failed
    assert summary["findings"] == findings and summary["ended"] == "after all stages"
    assert [*dict.fromkeys(found["stage"] for found in findings)] == [stage.name for stage in gpu.STAGES]
    checks = {found["name"] for found in findings if found["ok"]}
    for variant in VARIANTS:
        for pair in ("captured against float64", "eager against float64", "captured against eager"):
            assert f"{variant}, float32, batch 4: {pair}" in checks
    assert {"full: continued after epoch 2", "2 workers against one process", "a run with too little memory"} <= checks
    assert "a sampler that measures a step with too little memory" in checks
    designs = {found["name"]: found for found in findings if found["stage"] == "designs"}
    assert designs[FIXED]["params"] > designs[FIXED]["time"] > 0
    speeds = designs["times faster than fixed"]
    assert speeds[FIXED] == 1
    assert speeds[DECAY] == pytest.approx(designs[FIXED]["time"] / designs[DECAY]["time"], abs=0.05)
    ours = next(found for found in findings if found["name"] == "ws+small, batch 4: float32")
    assert ours["best"] == "port" and ours["times_best"]["median"] > 0
    text = (tmp_path / "out" / "summary.txt").read_text()
    assert "FIGURES" in text and "FAILED" not in text and f"passed: {summary['passed']}" in text


def test_no_time_is_told_and_kept(tmp_path: Path) -> None:
    start = time.monotonic()
    assert gpu.run(["--minutes", "0", "--out", str(tmp_path), "--device", "cpu"]) == 0
    assert time.monotonic() - start < 5
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["skipped"] == len(summary["findings"]) > 24 + 2 + 1 + 2 + 12
    assert {found["skipped"] for found in summary["findings"]} == {"out of time"}
    assert "SKIPPED" in (tmp_path / "summary.txt").read_text()


def test_an_interrupted_program_sums_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu, "run_apart", interrupted)
    assert gpu.run(["--out", str(tmp_path), "--device", "cpu", "--stages", "memory"]) == 1
    assert json.loads((tmp_path / "summary.json").read_text())["ended"] == "early, interrupted"


# --- faults --------------------------------------------------------------------------------------------------------------


def test_each_case_of_the_steps_is_checked(setting: Setting) -> None:
    names = {item.name for item in steps_items(Setting(device="cuda", folder=setting.folder))}
    assert names == {f"{v}, {p}, batch {b}" for v in VARIANTS for p in PRECISIONS for b in (1, 16, 128)}
    assert {kind for kind, _ in AGAINST_FLOAT64} == {"cpu", "cuda"}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_right_steps_pass(setting: Setting, precision: Any) -> None:
    heard = Heard()
    check_steps("full", precision, 4, setting, heard, math.inf)
    assert len(heard.findings) == 3 and all(found["ok"] for found in heard.findings), heard.findings
    assert all(found["last_batch"] == 1 for found in heard.findings)
    exact = heard.findings[0]["differences"]
    assert 0 < exact["loss"] < exact["way"]  # float64 is another computation than the product's


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_wrong_loss_is_found(setting: Setting, monkeypatch: pytest.MonkeyPatch, precision: Any) -> None:
    """Captured and eager steps agree on it, and differ from float64."""
    monkeypatch.setattr("fastrcaps_dse.capsnet.losses.M_PLUS", 0.85)
    heard = Heard()
    check_steps("full", precision, 4, setting, heard, math.inf)
    assert [found["ok"] for found in heard.findings] == [False, False, True]


def test_a_captured_step_with_a_stale_rate_is_found(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = GraphSteps._begin

    def stale(self: GraphSteps, images: Any, rates: Sequence[float]) -> None:
        begin(self, images, [rates[0]] * len(rates))

    monkeypatch.setattr(GraphSteps, "_begin", stale)
    heard = Heard()
    check_steps("ws+small", "float32", 4, setting, heard, math.inf)
    assert [found["ok"] for found in heard.findings] == [False, True, False]


def test_a_captured_step_that_reads_other_images_is_found(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    step = GraphSteps._step_on_next

    def again(self: GraphSteps, batch_size: int) -> None:
        step(self, batch_size)
        self.first -= batch_size

    monkeypatch.setattr(GraphSteps, "_step_on_next", again)
    heard = Heard()
    check_steps("full", "float32", 4, setting, heard, math.inf)
    assert [found["ok"] for found in heard.findings] == [False, True, False]


def test_steps_that_are_not_captured_are_found(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(GraphSteps, "_capture", refused)
    told: Findings = []
    item = next(item for item in steps_items(setting) if item.name == "full, float32, batch 4")
    run_here(Stage(name="steps", share=1, items=lambda _: [item]), setting, math.inf, told.append)
    assert [found["ok"] for found in told] == [False] and "not captured" in told[0]["error"]


def test_a_checkpoint_that_loses_a_moment_is_found(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Training.load

    def forgetful(self: Training, path: Path, **how: Any) -> None:
        load(self, path, **how)
        for state in self.optimizer.state.values():
            state["exp_avg"].zero_()

    monkeypatch.setattr(Training, "load", forgetful)
    heard = Heard()
    check_restart("full", setting, heard, math.inf)
    assert set(heard.outcomes.values()) == {False}


def test_an_error_that_is_not_translated_is_found(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastrcaps_dse.trainer.memory.lacks_memory", lambda _: False)
    heard = Heard()
    check_memory(True, setting, heard, math.inf)
    assert heard.outcomes == {
        "a run with too little memory": False,
        "after a run with too little memory, training goes on": True,
    }


# --- stages --------------------------------------------------------------------------------------------------------------


def works(setting: Setting, emit: Any, end: float) -> None:
    emit("works", True, process=os.getpid())


def raises(setting: Setting, emit: Any, end: float) -> None:
    raise errors.InputError("nothing fits")


def breaks_the_device(setting: Setting, emit: Any, end: float) -> None:
    raise torch.AcceleratorError("an illegal memory access was encountered", 700)


def dies(setting: Setting, emit: Any, end: float) -> None:
    os._exit(9)


def never_ends(setting: Setting, emit: Any, end: float) -> None:
    emit("begun", None)
    time.sleep(600)


def faulty_items(_: Setting) -> list[Item]:
    return [Item(name=act.__name__, act=act) for act in (breaks_the_device, works, dies)]


@pytest.mark.thorough
def test_a_stage_in_processes_survives_faults(setting: Setting) -> None:
    told: Findings = []
    run_apart(Stage(name="faults", share=1, items=faulty_items), setting, math.inf, told.append)
    assert [(found["name"], found["ok"]) for found in told] == [("breaks_the_device", False), ("works", True), ("dies", False)]
    assert "illegal memory access" in told[0]["error"] and told[2]["error"] == "its process died"
    assert told[1]["process"] != os.getpid()


def endless_items(_: Setting) -> list[Item]:
    return [Item(name=act.__name__, act=act) for act in (never_ends, works)]


def test_a_stage_ends_in_time(setting: Setting) -> None:
    told: Findings = []
    start = time.monotonic()
    run_apart(Stage(name="endless", share=1, items=endless_items), setting, start + 0.5, told.append)
    assert time.monotonic() - start < 20
    skipped = [found["name"] for found in told if "skipped" in found]
    assert skipped == ["never_ends", "works"]


def test_a_stage_in_this_process_goes_on_after_an_error(setting: Setting) -> None:
    told: Findings = []
    items = [Item(name=act.__name__, act=act) for act in (raises, works, breaks_the_device, works)]
    run_here(Stage(name="faults", share=1, items=lambda _: items), setting, math.inf, told.append)
    assert [found["ok"] for found in told] == [False, True, False, None]
    assert "InputError: nothing fits" in told[0]["error"] and told[3]["skipped"] == "the device is broken"


def test_epochs_are_as_many_as_there_is_time_for() -> None:
    assert epochs_within(3000, 3000, 30) == 30 and epochs_within(2999, 3000, 30) == 20
    assert epochs_within(100, 3000, 30) == 1 and epochs_within(1, 3000, 30) == 1
    assert gpu_product.EPOCHS[0] == 30
