"""One time scale: runs of any device count in the step times of the study's reference. Devices are names with step times of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fastrcaps_dse import session, store, trainer
from fastrcaps_dse.errors import InputError, MachineError, TooLittleMemory
from fastrcaps_dse.problem.objectives import Measurement, parse_objectives, time_to
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, override
from fastrcaps_dse.runs import cost_model, kept_algorithms, runner
from fastrcaps_dse.runs.cost_model import CostModel
from fastrcaps_dse.runs.pruner import make_pruner
from fastrcaps_dse.runs.recounting import agree_on_reference, catch_up
from fastrcaps_dse.runs.reference import Reference
from fastrcaps_dse.session import OpenStudy
from fastrcaps_dse.store import RunRow, StepTime, Store, tables
from fastrcaps_dse.trainer import training
from tests.conftest import Command
from tests.sessions import Heard, curves, explored, opened

pytestmark = pytest.mark.usefixtures("small_capsnet")

OBJECTIVES = "acc,time,params,latency,time_to:40"
SOFTWARE = "this software"
STUDY = """
name = "s"
dataset = "{dataset}"
epochs = 2
trials = 3
objectives = {objectives}
first = {first}
[space]
lr_policy = ["fixed"]
batch_schedule = [8, 16, 32]
weight_sharing = [false]
decoder = ["small"]
"""


def spec_of(tiny: Path, sizes: Sequence[int] = (8, 16, 32), objectives: str = "acc,time,params", **changes: Any) -> StudySpec:
    """A study that tries these batch sizes, in this order."""
    first = json.dumps([f"lr_policy=fixed batch_schedule={size} decoder=small" for size in sizes])
    text = STUDY.format(dataset=tiny, first=first, objectives=json.dumps(objectives.split(",")))
    return override(parse_study(text, default_name="s"), **changes)


@dataclass(kw_only=True)
class Device:
    """A device that this process is made to have."""

    name: str
    factor: float  # its seconds by those of device A
    software: str = SOFTWARE
    steps: list[int] = field(default_factory=list)  # batch sizes that were measured
    latencies: int = 0

    def step(self, size: int, precision: str = "float32") -> float:
        """The seconds of a step: not in proportion to those of another device."""
        return self.factor * (0.25 + size) ** (1 if self.name == "A" else 0.75) * (0.5 if precision == "bfloat16" else 1)

    @property
    def latency(self) -> float:
        """Seconds, for the small decoder and no weight sharing."""
        return 0.001 * self.factor

    def measure_step(self, _point: Any, _dataset: Any, size: int, _device: Any, precision: str, **_: Any) -> trainer.Timing:
        self.steps.append(size)
        return trainer.Timing(seconds=self.step(size, precision), spread=0.0, n=3)

    def measure_latency(self, *_: Any) -> trainer.Timing:
        self.latencies += 1
        return trainer.Timing(seconds=self.latency, spread=0.0, n=3)


Switch = Callable[[Device], Device]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Switch:
    """Makes this process train on a device."""

    def switch(device: Device) -> Device:
        for module in (trainer, cost_model, runner, kept_algorithms, training):
            monkeypatch.setattr(module, "device_name", lambda _: device.name)
            monkeypatch.setattr(module, "software", lambda: device.software)
        monkeypatch.setattr(cost_model, "measure_step", device.measure_step)
        monkeypatch.setattr(cost_model, "measure_latency", device.measure_latency)
        return device

    return switch


@pytest.fixture
def a() -> Device:
    return Device(name="A", factor=1.0)


@pytest.fixture
def b() -> Device:
    return Device(name="B", factor=3.0)


def explore_on(place: Path, spec: StudySpec, trials: int, reference: str | None = None) -> Heard:
    heard = Heard()
    with opened(place, spec) as study, heard.listening():
        session.explore(study, trials=trials, reference=reference)
    return heard


def stored(place: Path) -> Store:
    return Store(store.parse_url(str(place / "s.db")))


def runs_of(place: Path, name: str | None = None) -> list[RunRow]:
    ours = stored(place)
    return ours.runs(ours.study(name).study_id)


def measured(run: RunRow) -> Measurement:
    assert run.measurement is not None
    return run.measurement


def expected_time(place: Path, run: RunRow, seconds: float) -> float:
    """The time of a run whose steps have these seconds."""
    epochs = stored(place).epochs(run.run_id)
    return sum(e.steps * seconds for e in epochs[: measured(run).selected_epoch])


def counted_epochs(place: Path, run: RunRow) -> list[float]:
    return [e.counted_seconds for e in stored(place).epochs(run.run_id)]


# --- counting ---------------------------------------------------------------------------------------------------------------


def test_a_run_of_another_device_counts_in_the_step_times_of_the_reference(
    tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device
) -> None:
    spec = spec_of(tiny)
    use(a)
    explore_on(tmp_path, spec, 1)
    with opened(tmp_path, spec) as study:
        study.cost_model.own_step_seconds(parse_design("batch_schedule=16 decoder=small"), 16)
    use(b)
    heard = explore_on(tmp_path, spec, 2)
    first, second = runs_of(tmp_path)
    assert (first.device, second.device) == ("A", "B") and b.steps == []
    assert counted_epochs(tmp_path, second) == [3 * a.step(16)] * 2  # 40 images train
    assert measured(second)["time"] == expected_time(tmp_path, second, a.step(16)) != second.wall_time
    assert not second.time_estimated and stored(tmp_path).study().reference == {
        "device": "A",
        "precision": "float32",
        "software": SOFTWARE,
    }
    (warning,) = heard.warnings
    assert "counted in the step times of A in float32 (this software)" in warning and "not comparable" not in warning


def test_what_the_reference_lacks_is_estimated_and_then_exactly_as_a_run_on_it(
    tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device
) -> None:
    spec = spec_of(tiny, objectives=OBJECTIVES)
    use(a)
    explore_on(tmp_path, spec, 1)
    use(b)
    explore_on(tmp_path, spec, 2)
    estimated = runs_of(tmp_path)[1]
    assert sorted(b.steps) == [8, 16] and estimated.time_estimated  # 8 for the ratio alone
    by_ratio = b.step(16) * (a.step(8) / b.step(8))
    assert counted_epochs(tmp_path, estimated) == [3 * by_ratio] * 2
    assert measured(estimated)["time"] == pytest.approx(expected_time(tmp_path, estimated, by_ratio))
    assert measured(estimated)["latency"] == pytest.approx(1e3 * a.latency)  # all variants are alike, so the store has it
    ours = stored(tmp_path)
    before = ours.study().revision
    use(a)
    explore_on(tmp_path, spec, 2)  # as many trials as there are: nothing is trained
    exact = runs_of(tmp_path)[1]
    assert a.steps == [8, 16] and not exact.time_estimated and exact.device == "B"
    assert exact.revision == ours.study().revision == before + 1
    alone = tmp_path / "alone"
    use(a)
    explore_on(alone, spec, 2)
    there = runs_of(alone)[1]
    assert measured(exact) == measured(there) and counted_epochs(tmp_path, exact) == counted_epochs(alone, there)
    epochs = ours.epochs(exact.run_id)
    assert measured(exact)["time_to:40"] == time_to(40, [e.acc for e in epochs], [3 * a.step(16)] * 2)
    assert exact.wall_time == estimated.wall_time and curves(ours) == curves(stored(alone))


@pytest.mark.thorough
def test_the_exploration_of_another_device_takes_over_what_was_measured_meanwhile(
    tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device
) -> None:
    spec = spec_of(tiny)
    use(a)
    explore_on(tmp_path, spec, 1)
    use(b)
    explore_on(tmp_path, spec, 2)
    assert runs_of(tmp_path)[1].time_estimated
    ours = stored(tmp_path)
    key = next(time.key for time in ours.step_times() if "batch 16" in time.key)
    ours.set_step_time(StepTime(key=key, device="A", software=SOFTWARE, seconds=7.0, spread=0.0, n=3, measured=1.0))
    explore_on(tmp_path, spec, 2)  # still on B
    run = runs_of(tmp_path)[1]
    assert not run.time_estimated and measured(run)["time"] == expected_time(tmp_path, run, 7.0)


def test_the_ratio_is_the_median_over_what_both_have(tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device) -> None:
    use(a)
    explore_on(tmp_path, spec_of(tiny), 3)
    use(b)
    with opened(tmp_path, spec_of(tiny)) as study:
        costs = study.cost_model
        costs.refresh()
        assert costs.scale.ratio("capsnet") is None
        for size in (8, 16, 32):
            costs.own_step_seconds(parse_design(f"batch_schedule={size} decoder=small"), size)
        costs.refresh()
        assert costs.scale.ratio("capsnet") == a.step(16) / b.step(16)
        assert costs.scale.ratio("lenet5") is None
        other = parse_design("batch_schedule=16 decoder=full")
        assert costs.counted_step(other, 16).estimated
        assert costs.step_seconds(other, 16) == b.step(16) * (a.step(16) / b.step(16))


@pytest.mark.thorough
def test_without_anything_in_common_the_seconds_of_the_own_device_count(
    tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device
) -> None:
    use(b)
    with opened(tmp_path, spec_of(tiny)) as study:
        reference = Reference(device="A", precision="float32", software=SOFTWARE)
        store.set_reference(study.store, study.row.study_id, reference.to_dict())
        study.cost_model.refresh()
        counted = study.cost_model.counted_step(parse_design("batch_schedule=16 decoder=small"), 16)
        assert counted.estimated and counted.seconds == b.step(16)


def test_forecasts_and_bounds_count_in_the_reference_and_budgets_on_this_device(
    tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device
) -> None:
    spec = spec_of(tiny, objectives=OBJECTIVES)
    use(a)
    explore_on(tmp_path, spec, 1)
    use(b)
    eight, large = (parse_design(f"lr_policy=fixed batch_schedule={size} decoder=small") for size in (8, 32))
    with opened(tmp_path, spec) as study:
        costs = study.cost_model
        costs.refresh()
        assert costs.forecast(eight).seconds == 2 * 5 * a.step(8)  # epochs, steps
        assert costs.bounds(eight, "time") == (5 * a.step(8), float("inf"))
        assert costs.bounds(eight, "latency") == (1e3 * a.latency,) * 2
        assert costs.run_seconds(eight) == 2 * 5 * b.step(8) and costs.first_epoch_seconds(eight) == 5 * b.step(8)
        assert costs.occupancy(eight) == min(1.0, (b.step(16) - b.step(8)) / b.step(8))
        estimate = b.step(32) * a.step(8) / b.step(8)
        assert costs.forecast(large).seconds == pytest.approx(2 * 2 * estimate)
        assert costs.bounds(large, "time") is None  # an estimate rules nothing out


@pytest.mark.thorough
def test_a_run_that_goes_on_elsewhere_counts_all_its_epochs_alike(
    tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device
) -> None:
    spec = spec_of(tiny)
    use(a)
    explore_on(tmp_path, spec, 1)
    use(b)
    heard = Heard(stop_after=1)
    with pytest.raises(KeyboardInterrupt), opened(tmp_path, spec) as study:
        explored(study, heard, 2)
    interrupted = runs_of(tmp_path)[1]
    assert interrupted.time_estimated and counted_epochs(tmp_path, interrupted) == [3 * b.step(16) * (a.step(8) / b.step(8))]
    use(a)
    explore_on(tmp_path, spec, 2)
    run = runs_of(tmp_path)[1]
    assert run.run_id == interrupted.run_id and not run.time_estimated
    assert counted_epochs(tmp_path, run) == [3 * a.step(16)] * 2


def test_the_precision_of_the_reference_counts_and_other_software_is_another_device(
    tmp_path: Path, tiny: Path, use: Switch, a: Device
) -> None:
    use(a)
    with opened(tmp_path, spec_of(tiny)) as study:
        reference = Reference(device="A", precision="bfloat16", software=SOFTWARE)
        store.set_reference(study.store, study.row.study_id, reference.to_dict())
        point = parse_design("batch_schedule=16 decoder=small")
        study.cost_model.refresh()
        assert study.cost_model.step_seconds(point, 16) == a.step(16, "bfloat16") != a.step(16)
        assert not study.cost_model.is_estimated(point)
        later = use(Device(name="A", factor=5.0, software="later software"))
        study.cost_model.refresh()
        assert study.cost_model.scale.elsewhere and not study.cost_model.is_estimated(point)
        assert study.cost_model.step_seconds(point, 16) == a.step(16, "bfloat16") and later.steps == []


@pytest.mark.thorough
def test_the_convolution_algorithm_of_the_reference_counts(tmp_path: Path, tiny: Path, use: Switch, b: Device) -> None:
    use(b)
    with opened(tmp_path, spec_of(tiny)) as study:
        given = {"precision": "float32", "device": "A", "software": SOFTWARE}
        choice = {"images": "1x17x17", "batch_size": 16, "algorithm": "dft", "seconds": {}, "measured": 1.0}
        study.store.keep_algorithm_choice(store.AlgorithmChoice(**given, **choice))  # type: ignore[arg-type]
        store.set_reference(study.store, study.row.study_id, given)
        study.cost_model.refresh()
        point = parse_design("batch_schedule=16 decoder=small")
        for key, seconds in ((study.cost_model.scale.text(point, 16), 2.0), ("another", 9.0)):
            study.store.set_step_time(
                StepTime(key=key, device="A", software=SOFTWARE, seconds=seconds, spread=0.0, n=3, measured=1.0)
            )
        assert study.cost_model.scale.text(point, 16).endswith("batch 16, float32, dft")
        assert study.cost_model.step_seconds(point, 16) == 2.0


def two_estimated(place: Path, spec: StudySpec, use: Switch, a: Device, b: Device) -> None:
    """Runs 2 and 3, of batch sizes 16 and 32, are trained on B, and A has not measured their steps."""
    use(a)
    explore_on(place, spec, 1)
    use(b)
    explore_on(place, spec, 3)
    assert [run.time_estimated for run in runs_of(place)] == [False, True, True]


@pytest.mark.thorough
def test_a_few_are_measured_between_runs_and_all_at_the_end(
    tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device
) -> None:
    spec = spec_of(tiny)
    two_estimated(tmp_path, spec, use, a, b)
    use(a)
    with opened(tmp_path, spec) as study:
        study.cost_model.refresh()
        assert catch_up(study.cost_model, most=1) == [2] and a.steps == [8, 16]
    again = Device(name="A", factor=1.0)
    use(again)
    explore_on(tmp_path, spec, 3)
    assert again.steps == [32] and not any(run.time_estimated for run in runs_of(tmp_path))


@pytest.mark.thorough
def test_what_does_not_fit_the_memory_of_the_reference_stays_estimated(
    tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(tiny)
    two_estimated(tmp_path, spec, use, a, b)
    use(a)

    def lacks(point: Any, dataset: Any, size: int, *rest: Any, **others: Any) -> trainer.Timing:
        if size == 16:
            raise TooLittleMemory("too little")
        return a.measure_step(point, dataset, size, *rest, **others)

    monkeypatch.setattr(cost_model, "measure_step", lacks)
    explore_on(tmp_path, spec, 3)
    assert [run.time_estimated for run in runs_of(tmp_path)] == [False, True, False]


def test_the_command_refuses_a_name_that_is_not_known(command: Command, tiny: Path, use: Switch, a: Device) -> None:
    use(a)
    Path("study.toml").write_text(spec_of(tiny).text, encoding="utf-8")
    how = ("explore", "study.toml", "--device", "cpu", "--workers", "1", "--trials", "1")
    said = command(*how, "--reference", "none")
    assert said.code == 2 and "no device 'none' has step times in this database" in said.err and "known: A" in said.err
    assert command(*how, "--reference", "A").code == 0
    assert "on A measured in this storage" in command("doctor").out


# --- what depends on times --------------------------------------------------------------------------------------------------


def test_a_reused_run_counts_as_its_study_counts(tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device) -> None:
    use(a)
    explore_on(tmp_path, spec_of(tiny), 1)
    use(b)
    explore_on(tmp_path, spec_of(tiny), 2)  # the run of 16 is trained here and counted in times of A
    heard = Heard()
    with opened(tmp_path, spec_of(tiny, (16,), name="other")) as study:
        explored(study, heard, 1)
    (run,) = runs_of(tmp_path, "other")
    assert heard.begun == [] and run.device == "B"  # reused
    assert stored(tmp_path).study("other").reference == {"device": "B", "precision": "float32", "software": SOFTWARE}
    assert counted_epochs(tmp_path, run) == [3 * b.step(16)] * 2 and not run.time_estimated
    assert measured(run)["time"] == expected_time(tmp_path, run, b.step(16))


@pytest.mark.thorough
def test_a_reused_run_is_estimated_where_the_reference_lacks_its_times(
    tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device
) -> None:
    use(b)
    explore_on(tmp_path, spec_of(tiny, (16,), name="other"), 1)
    use(a)
    explore_on(tmp_path, spec_of(tiny), 1)
    use(b)
    explore_on(tmp_path, spec_of(tiny), 2)
    run = runs_of(tmp_path, "s")[1]
    assert run.device == "B" and run.time_estimated
    assert counted_epochs(tmp_path, run) == [3 * b.step(16) * (a.step(8) / b.step(8))] * 2


def pruned(ours: Store, run: RunRow) -> None:
    """Let a finished run be one that was pruned after its first epoch."""
    with ours.engine.begin() as connection:
        epochs = tables.epoch.c
        connection.execute(tables.epoch.delete().where((epochs.run_id == run.run_id) & (epochs.epoch > 1)))
        values = {"pruned_after": 1, "selected_epoch": 1, "reason": "dominated, whatever it reaches"}
        connection.execute(tables.run.update().where(tables.run.c.run_id == run.run_id).values(**values))


@pytest.mark.thorough
def test_a_pruned_run_is_counted_anew_like_others(tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device) -> None:
    spec = spec_of(tiny)
    use(a)
    explore_on(tmp_path, spec, 1)
    use(b)
    explore_on(tmp_path, spec, 2)
    pruned(stored(tmp_path), runs_of(tmp_path)[1])
    use(a)
    explore_on(tmp_path, spec, 2)
    run = runs_of(tmp_path)[1]
    assert (measured(run).pruned_after, measured(run)["time"], run.time_estimated) == (1, 3 * a.step(16), False)
    assert run.reason == "dominated, whatever it reaches"


@pytest.mark.thorough
def test_an_estimate_neither_prunes_nor_is_pruned(tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device) -> None:
    spec = spec_of(tiny, pruning="safe")
    use(a)
    explore_on(tmp_path, spec, 1)
    use(b)
    explore_on(tmp_path, spec, 2)

    def costs(study: OpenStudy, size: int) -> int:
        study.cost_model.refresh()
        found = make_pruner(study.cost_model, parse_design(f"lr_policy=fixed batch_schedule={size} decoder=small"), None)
        assert found is not None
        return len(found.costs)

    with opened(tmp_path, spec) as study:
        assert len(study.store.trials(study.row)) == 2
        assert costs(study, 8) == 1 and costs(study, 32) == 0
    with opened(tmp_path, override(spec, name="s", objectives=parse_objectives("acc,time,params"))) as study:
        use(a)
        assert catch_up(CostModel(study.context)) == [2]
        use(b)
        assert costs(study, 8) == costs(study, 16) == 2 and costs(study, 32) == 0


@pytest.mark.thorough
def test_weights_that_an_estimate_may_bring_to_the_front_are_kept(
    tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device
) -> None:
    """On the estimate, the design of batch size 16 dominates that of 8, or the other way; each may be on the front."""
    use(a)
    explore_on(tmp_path, spec_of(tiny, objectives="time"), 1)
    use(b)
    explore_on(tmp_path, spec_of(tiny, objectives="time"), 2)
    assert all(run.weights for run in runs_of(tmp_path))
    use(a)
    explore_on(tmp_path, spec_of(tiny, objectives="time"), 3)  # the front is looked at again
    kept = [run.trial for run in runs_of(tmp_path) if run.weights]
    ours = stored(tmp_path)
    fastest = min(ours.trials(ours.study()), key=lambda t: t.measurement["time"] if t.measurement else 0)
    assert kept == [fastest.trial]


# --- the reference of a study -----------------------------------------------------------------------------------------------


def test_processes_that_begin_at_once_agree(tmp_path: Path, tiny: Path, use: Switch, a: Device) -> None:
    use(a)
    with opened(tmp_path, spec_of(tiny)) as study:
        study_id, url = study.row.study_id, study.store.url
    together = threading.Barrier(4)

    def claim(name: str) -> dict[str, str]:
        ours = Store(url)
        together.wait()
        found = store.set_reference(ours, study_id, {"device": name, "precision": "float32", "software": "x"})
        ours.close()
        return dict(found)

    for _ in range(5):
        stored(tmp_path).set_study(study_id, {"reference": sa.null()})
        with ThreadPoolExecutor(4) as pool:
            found = [*pool.map(claim, "ABCD")]
        assert found == [stored(tmp_path).study().reference] * 4 and found[0]["device"] in "ABCD"


def test_a_study_of_an_earlier_version_has_the_device_of_its_first_run(
    tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device
) -> None:
    spec = spec_of(tiny)
    use(a)
    explore_on(tmp_path, spec, 1)
    ours = stored(tmp_path)
    ours.set_study(ours.study().study_id, {"reference": sa.null()})
    before = measured(runs_of(tmp_path)[0])
    use(b)
    explore_on(tmp_path, spec, 2)
    reference = stored(tmp_path).study().reference
    assert reference is not None and reference["device"] == "A" and measured(runs_of(tmp_path)[0]) == before


def test_another_reference_counts_all_runs_anew(tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device) -> None:
    spec = spec_of(tiny)
    use(a)
    explore_on(tmp_path, spec, 2)
    use(b)
    explore_on(tmp_path, spec, 3, "B")  # measures what it lacks
    assert sorted(b.steps) == [8, 16, 32]
    for run, size in zip(runs_of(tmp_path), (8, 16, 32), strict=True):
        assert measured(run)["time"] == expected_time(tmp_path, run, b.step(size)) and not run.time_estimated
    with pytest.raises(InputError, match=r"A in float32 \(this software\) has measured 2 of the 3 step times") as refused:
        explore_on(tmp_path, spec, 3, "A")
    assert "on that machine" in str(refused.value.hint)
    assert stored(tmp_path).study().reference == {"device": "B", "precision": "float32", "software": SOFTWARE}
    use(a)
    with opened(tmp_path, spec) as study:
        study.cost_model.own_step_seconds(parse_design("batch_schedule=32 decoder=small"), 32)
    use(b)
    explore_on(tmp_path, spec, 3, "A")  # nothing lacks now, wherever it is called
    for run, size in zip(runs_of(tmp_path), (8, 16, 32), strict=True):
        assert measured(run)["time"] == expected_time(tmp_path, run, a.step(size))


def test_the_reference_stays_while_another_process_trains(
    tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device
) -> None:
    spec = spec_of(tiny)
    use(a)
    explore_on(tmp_path, spec, 2)
    claim = (
        "import sys; from fastrcaps_dse import store; ours = store.Store(store.parse_url(sys.argv[1])); "
        "run = ours.runs(ours.study().study_id)[0]; "
        "from fastrcaps_dse.problem.space import design_to_dict; "
        "ours.claim_run(ours.study().study_id, 7, design_to_dict(run.design), run.design.key, 7); print('claimed', flush=True); "
        "sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", claim, str(tmp_path / "s.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None and other.stdout.readline() == "claimed\n"
        use(b)
        with opened(tmp_path, spec) as study, pytest.raises(MachineError, match="so its reference stays"):
            agree_on_reference(study.cost_model, "B")
    finally:
        other.communicate()
    reference = stored(tmp_path).study().reference
    assert reference is not None and reference["device"] == "A"


def test_a_name_that_is_not_known_gets_the_nearest(tmp_path: Path, tiny: Path, use: Switch) -> None:
    use(Device(name="Accelerator One", factor=1.0))
    explore_on(tmp_path, spec_of(tiny), 1)
    with pytest.raises(InputError, match="no device 'accelerator on' has step times in this database") as refused:
        explore_on(tmp_path, spec_of(tiny), 1, "accelerator on")
    assert refused.value.hint == "known: Accelerator One" or "did you mean 'Accelerator One'?" in str(refused.value.hint)


def test_the_clock_has_no_reference(tmp_path: Path, tiny: Path, use: Switch, a: Device, b: Device) -> None:
    spec = spec_of(tiny, time="measured")
    use(a)
    explore_on(tmp_path, spec, 1)
    assert stored(tmp_path).study().reference is None
    with pytest.raises(InputError, match="takes the time from the clock"):
        explore_on(tmp_path, spec, 1, "A")
    use(b)
    heard = explore_on(tmp_path, spec, 2)
    assert any("their times are not comparable" in warning for warning in heard.warnings)
    assert [run.measurement["time"] == run.wall_time for run in runs_of(tmp_path) if run.measurement] == [True, True]
