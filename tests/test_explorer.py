"""The explorer around an `evaluate` that trains nothing: what it asks for, in which order, and how it goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest

from fastrcaps_dse import search, store
from fastrcaps_dse.analysis.picks import parse_limits
from fastrcaps_dse.errors import InputError, NothingFits, RunFailed
from fastrcaps_dse.problem.objectives import Measurement, parse_objectives
from fastrcaps_dse.problem.space import NAMED_DESIGNS, DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec, override, parse_study
from fastrcaps_dse.search import Explorer, open_storage, parameters, point_of
from fastrcaps_dse.search.guided import Foreseen

FINITE = """
trials = 12
[space]
lr_policy = ["fixed", "one-cycle", "warm-restarts"]
batch_schedule = [16, 32]
"""  # 3 * 2 * 2 * 2 = 24 designs, of which fixed, one-cycle, warm-restarts and ws are named
INFINITE = FINITE + "[space.fields]\nlr_max = { low = 5e-4, high = 5e-3, log = true }\nsize = [8, 16, 32]\n"
NAMED = ["fixed", "one-cycle", "warm-restarts", "ws"]


def spec_of(text: str = FINITE, **changes: Any) -> StudySpec:
    return override(parse_study(text, default_name="s"), **changes)


class Silent:
    """Hears all, says nothing."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def trial_started(self, trial: int, point: DesignPoint, *, finished: int, target: int, resumed: bool) -> None:
        self.events.append(("resumed" if resumed else "started", trial))

    def trial_finished(self, trial: int, point: DesignPoint, measurement: Measurement) -> None:
        self.events.append(("finished", trial))

    def trial_failed(self, trial: int, point: DesignPoint, reason: str) -> None:
        self.events.append((reason, trial))


class Fake:
    """An `evaluate` that remembers what it was asked for."""

    def __init__(self, stop_after: int | None = None, fail: str = "") -> None:
        self.asked: list[tuple[str, int]] = []
        self.stop_after, self.fail = stop_after, fail

    def __call__(self, point: DesignPoint, seed: int, trial: int, report: search.Report) -> Measurement:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append((point.key, seed))
        if point.label == self.fail:
            raise RunFailed("the loss is not finite")
        number = sum(map(ord, point.key)) % 97
        return Measurement(
            values={"acc": 90 + number / 10 + seed, "time": 1.0 + number, "params": 8e6 - 1e6 * point.weight_sharing}
        )


def foresee(point: DesignPoint) -> Foreseen:
    return Foreseen(seconds=10.0, fixed={"params": 8e6 - 1e6 * point.weight_sharing})


def explore(path: Path, spec: StudySpec, fake: Fake, target: int) -> tuple[bool, Explorer, Silent]:
    silent = Silent()
    running = Explorer(spec, open_storage(store.parse_url(str(path / "s.db"))), fake, silent, foresight=foresee)
    return running.run(target), running, silent


def test_named_designs_come_first_then_the_sampler(tmp_path: Path) -> None:
    fake = Fake()
    exhausted, running, _ = explore(tmp_path, spec_of(), fake, 9)
    assert not exhausted and running.finished == len(fake.asked) == 9
    assert [key for key, _ in fake.asked[:4]] == [NAMED_DESIGNS[name].key for name in NAMED]
    assert len({key for key, _ in fake.asked}) == 9


@pytest.mark.parametrize("sampler", ["guided", "tpe", "nsga2", "gp", "random", "exhaustive"])
def test_a_finite_space_is_exhausted_without_a_repeat(tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastrcaps_dse.search.explorer.PROPOSALS", 2)  # those of the Gaussian process take long
    fake = Fake()
    spec = spec_of(FINITE.replace('"one-cycle", ', ""), sampler=sampler)  # 16 designs
    exhausted, running, _ = explore(tmp_path, spec, fake, 50)
    assert exhausted and running.finished == 16
    assert {key for key, _ in fake.asked} == {p.key for p in spec.space.designs()} and len(fake.asked) == 16


@pytest.mark.parametrize("sampler", ["guided", "tpe", "nsga2", "random"])
def test_an_infinite_space_is_not_repeated_either(tmp_path: Path, sampler: str) -> None:
    fake = Fake()
    explore(tmp_path, spec_of(INFINITE, sampler=sampler), fake, 25)
    assert max(Counter(fake.asked).values()) == 1 and len(fake.asked) == 25


@pytest.mark.parametrize("text", [FINITE, INFINITE])
@pytest.mark.parametrize("stop", [0, 3, 7])
def test_a_stopped_study_goes_on_as_if_it_had_not_been(tmp_path: Path, text: str, stop: int) -> None:
    whole = Fake()
    (tmp_path / "whole").mkdir()
    explore(tmp_path / "whole", spec_of(text), whole, 10)
    first, second = Fake(stop_after=stop), Fake()
    with pytest.raises(KeyboardInterrupt):
        explore(tmp_path, spec_of(text), first, 10)
    _, running, silent = explore(tmp_path, spec_of(text), second, 10)
    assert first.asked + second.asked == whole.asked and running.finished == 10
    assert silent.events[0] == ("resumed", stop)


def test_seeds_are_averaged_and_never_trained_twice(tmp_path: Path) -> None:
    fake = Fake()
    _, running, _ = explore(tmp_path, spec_of(seeds=3, seed=5), fake, 4)
    assert [seed for _, seed in fake.asked] == [5, 6, 7] * 4 and max(Counter(fake.asked).values()) == 1
    for trial in running.study.trials:
        number = sum(map(ord, trial.user_attrs["design"])) % 97
        assert trial.values[0] == pytest.approx(90 + number / 10 + 6)


@pytest.mark.parametrize("names", ["acc,time,params", "params,acc", "time", "acc"])
def test_objectives_in_any_order_and_number(tmp_path: Path, names: str) -> None:
    spec = spec_of(objectives=parse_objectives(names))
    _, running, _ = explore(tmp_path, spec, Fake(), 12)
    wanted = names.split(",")
    assert [d.name.lower() for d in running.study.directions] == [o.direction for o in spec.objectives]
    for trial in running.study.trials:
        assert trial.values == [trial.user_attrs["measurement"]["values"][name] for name in wanted]
    assert [name.split()[0] for name in running.study.metric_names or []] == wanted


def test_a_failed_run_is_a_failed_trial_and_the_study_goes_on(tmp_path: Path) -> None:
    fake = Fake(fail="one-cycle")
    _, running, silent = explore(tmp_path, spec_of(), fake, 6)
    states = Counter(trial.state.name for trial in running.study.trials)
    assert states == {"COMPLETE": 5, "FAIL": 1} and ("the loss is not finite", 1) in silent.events
    assert running.study.trials[1].user_attrs["reason"] == "the loss is not finite"
    again = Fake()
    explore(tmp_path, spec_of(), again, 10)
    assert NAMED_DESIGNS["one-cycle"].key not in {key for key, _ in again.asked}


def test_optuna_itself_reads_the_study(tmp_path: Path) -> None:
    spec = spec_of(INFINITE)
    explore(tmp_path, spec, Fake(), 12)
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 's.db'}")
    assert study.metric_names == ["acc (%)", "time (s)", "params (parameters)"]
    assert len(study.trials) == 12 and study.best_trials
    for trial in study.trials:
        point = point_of(trial, spec.space)
        assert trial.user_attrs["design"] == point.key and trial.user_attrs["label"] == point.label
        assert parameters(point, spec.space)[0] == trial.params
        assert trial.datetime_start and trial.datetime_complete and trial.datetime_complete >= trial.datetime_start
    assert any("lr_policy.lr_max" in trial.params for trial in study.trials)


def test_samplers_by_name() -> None:
    assert isinstance(search.make_sampler("tpe", 0), optuna.samplers.TPESampler)
    assert isinstance(search.make_sampler("gp", 0), optuna.samplers.GPSampler)


def params_of(point: DesignPoint, name: str) -> tuple[float, float] | None:
    value = 8_000_000.0 - 1_000_000 * point.weight_sharing
    return {"params": (value, value), "acc": (0.0, 100.0)}.get(name)


def limited(path: Path, spec: StudySpec, fake: Fake, target: int, *texts: str) -> tuple[bool, Explorer]:
    storage = open_storage(store.parse_url(str(path / "s.db")))
    running = Explorer(spec, storage, fake, Silent(), limits=parse_limits(texts), bounds=params_of, foresight=foresee)
    return running.run(target), running


@pytest.mark.parametrize("text", [FINITE, INFINITE])
def test_what_a_limit_rules_out_is_never_trained(tmp_path: Path, text: str) -> None:
    fake = Fake()
    exhausted, running = limited(tmp_path, spec_of(text), fake, 15, "params<=7M", "time<=50s")
    assert len(fake.asked) == (12 if text == FINITE else 15) and exhausted == (text == FINITE)
    assert all("weight_sharing=True" in key for key, _ in fake.asked)
    for trial in running.study.get_trials():
        constraints = trial.constraints
        assert constraints["params <= 7,000,000"] == 0 and constraints["time <= 50.0 s"] == trial.values[1] - 50
    limited(tmp_path, spec_of(text), fake, 17)  # and without limits it goes on
    assert len(fake.asked) == 17


def test_limits_that_leave_nothing_are_told_before_training(tmp_path: Path) -> None:
    for text in (FINITE, INFINITE):
        fake = Fake()
        with pytest.raises(NothingFits, match="params <= 1,000, of which the nearest is 7,000,000") as error:
            limited(tmp_path, spec_of(text, name=text[-9:]), fake, 5, "params<=1000")
        assert error.value.exit_code == 3 and not fake.asked
    with pytest.raises(InputError, match="contradict"):
        limited(tmp_path, spec_of(), Fake(), 5, "params<=1000", "params>=2000")
    with pytest.raises(InputError, match="latency <= 5 ms needs an objective that is not measured"):
        limited(tmp_path, spec_of(), Fake(), 5, "latency<=5ms")
    with pytest.raises(InputError, match="no limit"):
        parse_limits(["params"])


@pytest.mark.parametrize("stop", [2, 6])
def test_a_stopped_guided_study_goes_on_as_if_it_had_not_been(tmp_path: Path, stop: int) -> None:
    whole, first, second = Fake(), Fake(stop_after=stop), Fake()
    spec = spec_of(sampler="guided", first=())
    (tmp_path / "whole").mkdir()
    explore(tmp_path / "whole", spec, whole, 9)
    with pytest.raises(KeyboardInterrupt):
        explore(tmp_path, spec, first, 9)
    explore(tmp_path, spec, second, 9)
    assert first.asked + second.asked == whole.asked
