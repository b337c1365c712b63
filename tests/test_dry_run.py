"""`explore --dry-run`: what is probed, what is interpolated, and what becomes of it with several workers."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse import data, trainer
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_file import find_study_file, parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, override
from fastrcaps_dse.problem.timelines import build_timeline
from fastrcaps_dse.runs import plans, probes
from fastrcaps_dse.runs.plans import Plan, make_plan, makespan
from fastrcaps_dse.runs.probes import Costs, between, on_lines, sizes_to_probe, variant_of, variants_to_probe
from fastrcaps_dse.trainer import Training
from tests.conftest import Command
from tests.sessions import SHARED, explored, opened

BASE = ("capsnet", False, "full", 3)


# --- what is probed ---------------------------------------------------------------------------------------------------


def test_the_sizes_in_between_lie_on_lines() -> None:
    measured = {8: 1.0, 16: 3.0, 64: 4.0}
    assert [on_lines(measured, size) for size in (8, 12, 16, 40, 64, 112)] == pytest.approx([1, 2, 3, 3.5, 4, 5])
    assert on_lines({16: 2.0}, 32) == pytest.approx(3.0)
    assert 0 < on_lines({8: 1.0, 16: 3.0}, 1) <= 1.0
    assert on_lines({8: 1.0, 16: math.inf}, 8) == 1.0 and on_lines({8: 1.0, 16: math.inf}, 12) == math.inf


def test_few_sizes_and_variants_are_probed() -> None:
    assert sizes_to_probe([8, 12, 16, 24, 32]) == (8, 16, 32)
    assert sizes_to_probe([16]) == (16,) and sizes_to_probe([1, 2, 4, 512]) == (1, 4, 128)
    space = find_study_file("wide").space
    points = space.examples(500)
    probed = [variant_of(point) for point in variants_to_probe(points)]
    assert len({variant_of(point) for point in points}) > len(probed) == 1 + 1 + 1 + 2  # sharing, decoder, routing twice
    assert all(len(between(probed[0], other)) == 1 for other in probed[1:])


def test_a_variant_that_was_not_probed_has_the_cost_of_each_of_its_differences() -> None:
    steps = {BASE: {8: 1.0}, ("capsnet", True, "full", 3): {8: 0.8}, ("capsnet", False, "small", 3): {8: 0.9}}
    costs = Costs(base=BASE, steps=steps, evaluation=dict.fromkeys(steps, 0.5))
    assert costs.step(DesignPoint(weight_sharing=True, decoder="small"), 8) == pytest.approx(0.8 * 0.9)
    assert costs.step(DesignPoint(weight_sharing=True, routing_iterations=1), 8) == pytest.approx(0.8)
    assert costs.evaluate(DesignPoint(weight_sharing=True, decoder="small")) == 0.5


# --- what becomes of it -----------------------------------------------------------------------------------------------


def test_workers_take_designs_in_turn() -> None:
    assert makespan([4, 1, 1, 1], 2) == 4 and makespan([1, 1, 1, 4], 2) == 5
    assert makespan([3, 2], 1) == 5 and makespan([], 3) == 0 and makespan([3, 2], 4) == 3


def planned(
    monkeypatch: pytest.MonkeyPatch, spec: StudySpec, *, step: float = 0.01, workers: int = 1, **how: Any
) -> tuple[Plan, float]:
    """The plan of a study whose steps all take so long, nothing else takes time; and the seconds of all its epochs."""
    costs = Costs(base=BASE, steps={BASE: {1: step, 128: step}}, evaluation={BASE: 0.0})
    monkeypatch.setattr(plans, "probe", lambda points, sizes, here, **_: costs)
    monkeypatch.setattr(plans, "_measuring", lambda *_: 0.0)
    plan = make_plan(spec, data_dir=None, device="cpu", precision="float32", workers=workers, **how)
    return plan, plan.training


def shared_study(tiny: Path, schedules: str, **changes: Any) -> StudySpec:
    text = SHARED.format(name="a", dataset=tiny, epochs=3, schedules=schedules)
    return override(parse_study(text, default_name="s"), sampler="exhaustive", **changes)


def test_the_estimate_adds_up(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two designs of 6 and 12 steps an epoch, three epochs, two seeds."""
    plan, training = planned(monkeypatch, shared_study(tiny, "[4, 8]", seeds=2), start_up=5.0)
    images = trainer.split_for(data.load(str(tiny)), "validation")[0]
    steps = sum(3 * math.ceil(len(images) / size) for size in (4, 8))
    assert training == pytest.approx(2 * steps * 0.01)
    assert plan.seconds == pytest.approx(5.0 + training) and plan.low < plan.seconds < plan.high
    both, _ = planned(monkeypatch, shared_study(tiny, "[4, 8]", seeds=2), workers=2, start_up=5.0)
    longest = 2 * 3 * math.ceil(len(images) / 4) * 0.01
    assert both.seconds == pytest.approx(2 * 5.0 + longest)  # the workers load their libraries, too


def test_racing_and_pruning_are_told(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, training = planned(monkeypatch, shared_study(tiny, "[4, 8]"))
    raced, _ = planned(monkeypatch, shared_study(tiny, "[4, 8]", pruning="safe"), max_seeds=3)
    assert (plain.further_seeds, plain.pruned) == (0, False) and (raced.further_seeds, raced.pruned) == (4, True)
    assert raced.seconds == plain.seconds and raced.high == pytest.approx(plain.high + 2 * training)


SCHEDULES = [
    "adabatch(head_batch=4,head_epochs=10,tail_batch=8)",
    "adabatch(head_batch=4,head_epochs=10,tail_batch=16)",
    "4",
    "8",
]


@pytest.mark.usefixtures("small_capsnet")
def test_shared_epochs_are_those_that_the_prefix_cache_has(tiny: Path) -> None:
    """Designs share the epochs up to which their keys in the cache are equal, and no others."""
    dataset = data.load(str(tiny))
    points = [
        parse_study(SHARED.format(name="a", dataset=tiny, epochs=3, schedules=f'["{schedule}"]').replace('"fixed"', f'"{policy}"'),
                    default_name="s").space.examples()[0]
        for schedule, policy in itertools.product(SCHEDULES, ("fixed", "one-cycle", "exp-decay", "fine-tune", "fine-tune(tail=0.22)"))
    ]  # fmt: skip
    points.append(replace(points[0], flip=True))
    keys, ours = {}, {}
    for point in points:
        training = Training(point, 0, dataset, epochs=3, protocol="validation", device=trainer.choose_device("cpu"))
        keys[point] = training.prefix_keys()
        line = build_timeline(point.batch_schedule, epochs=3, images=len(training.train_split))
        ours[point] = plans._prefixes(point, line)
    alike = 0
    for one, other in itertools.combinations(points, 2):
        expected = [a == b for a, b in zip(keys[one], keys[other], strict=True)]
        assert [a == b for a, b in zip(ours[one], ours[other], strict=True)] == expected, (one.label, other.label)
        alike += any(expected)
    assert alike > 0


@pytest.mark.usefixtures("small_capsnet")
def test_shared_epochs_are_planned_as_the_exploration_shares_them(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = shared_study(tiny, json.dumps(SCHEDULES[:2]))
    plan, _ = planned(monkeypatch, override(spec, first=tuple(spec.space.examples())))
    with opened(tmp_path, spec) as study:
        from tests.sessions import Heard

        heard = Heard()
        explored(study, heard, 2)
    assert [design.shared for design in plan.first] == heard.begun == [0, 1]


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_the_probe_measures_what_a_run_takes(tiny: Path) -> None:
    """With real steps: finite, positive, larger for larger batches, and its threads leave the settings as they were."""
    threads = trainer.all_threads()
    spec = shared_study(tiny, "[4, 8, 32]")
    said: list[str] = []
    plan = make_plan(spec, data_dir=None, device="cpu", precision="float32", workers=2, say=said.append)
    assert plan.workers == 2 and 0 < plan.low < plan.seconds < plan.high and plan.measuring > 0
    assert trainer.all_threads() == threads and said[0] == f"loading {spec.dataset}" and "steps of 4 8 32 images" in said[-1]


@pytest.mark.usefixtures("small_capsnet")
def test_an_error_of_a_probe_is_raised(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> float:
        raise RuntimeError("broken")

    monkeypatch.setattr(probes, "_timed", broken)
    with pytest.raises(RuntimeError, match="broken"):
        make_plan(shared_study(tiny, "[4]"), data_dir=None, device="cpu", precision="float32", workers=2)


def test_progress_is_told_at_once(command: Command, tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything heavy is loaded or measured; the estimate goes to stdout."""
    (tmp_path / "a.toml").write_text(SHARED.format(name="a", dataset=tiny, epochs=3, schedules="[4, 8]"))
    planned(monkeypatch, shared_study(tiny, "[4, 8]"))  # which replaces the probe
    told = command("explore", "a.toml", "--dry-run", "--max-seeds", 2, "--workers", 1)
    assert told.code == 0 and told.err.splitlines()[0].startswith("looking at what training costs here")
    assert "estimated time on this machine: about" in told.out and "racing adds up to 2 runs" in told.out
    record = json.loads(command("explore", "a.toml", "--dry-run", "--json", "--workers", 1).out)
    assert record["low"] < record["seconds"] < record["high"] and record["workers"] == 1
