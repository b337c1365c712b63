"""The loop of an exploration around an executor that trains nothing: what it asks for, in which order, and how it goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

from benchmarks.boards import open_board
from fastrcaps_dse import store
from fastrcaps_dse.analysis.picks import Limit, parse_limits
from fastrcaps_dse.errors import InputError, NothingFits
from fastrcaps_dse.problem.objectives import Measurement, parse_objectives
from fastrcaps_dse.problem.space import NAMED_DESIGNS, DesignPoint, paper_name
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, override
from fastrcaps_dse.search.board import StoreBoard
from fastrcaps_dse.search.explorer import Explorer
from fastrcaps_dse.search.history import History
from fastrcaps_dse.search.limits import LimitFilter
from fastrcaps_dse.search.parameters import make_sampler, parameters, point_of
from fastrcaps_dse.search.proposers import make_proposers
from fastrcaps_dse.search.protocols import (
    Event,
    Failed,
    Forecast,
    Measured,
    Message,
    OutOfTime,
    Request,
    RunStarted,
    TrialFailed,
    TrialFinished,
    TrialStarted,
)
from fastrcaps_dse.store import Store

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


class Fake:
    """An executor that trains nothing and remembers what it was asked for. It works on so many requests at once."""

    ours: Store

    def __init__(self, *, stop_after: int | None = None, fail: str = "", workers: int = 1) -> None:
        self.asked: list[tuple[str, int]] = []
        self.stop_after, self.fail, self.workers = stop_after, fail, workers
        self.pruned: set[str] = set()  # keys of designs whose runs are pruned
        self.out_of_time = False

    def run(self, next_request: Callable[[], Request | None]) -> Iterator[Message]:
        at_work: list[Request] = []
        while True:
            while len(at_work) < self.workers and (request := next_request()) is not None:
                at_work.append(request)
            if not at_work:
                return
            yield from self.answer(at_work.pop(0))

    def answer(self, request: Request) -> Iterator[Message]:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append((request.point.key, request.seed))
        yield RunStarted(request=request, epochs=1, accuracies=())
        mine = request.run_id, request.attempt
        if self.out_of_time:
            self.ours.leave_run(*mine)
            yield OutOfTime(request=request)
            return
        if paper_name(request.point) == self.fail:
            self.ours.fail_run(*mine, "the loss is not finite")
            yield Failed(request=request, reason="the loss is not finite")
            return
        number = sum(map(ord, request.point.key)) % 97
        values = {
            "acc": 90 + number / 10 + request.seed,
            "time": 1.0 + number,
            "params": 8e6 - 1e6 * request.point.weight_sharing,
        }
        measurement = Measurement(values=values, pruned_after=1 if request.point.key in self.pruned else None)
        self.ours.finish_run(*mine, measurement, 1.0, None)
        yield Measured(request=request, measurement=measurement)


def failures(events: list[Event]) -> list[tuple[str, int]]:
    return [(event.reason, event.trial) for event in events if isinstance(event, TrialFailed)]


def forecast(point: DesignPoint) -> Forecast:
    return Forecast(seconds=10.0, fixed={"params": 8e6 - 1e6 * point.weight_sharing})


def make(
    path: Path, spec: StudySpec, fake: Fake, target: int, limits: list[Limit] | None = None
) -> tuple[Explorer, list[Event]]:
    """An explorer on the database of a folder, and the events that it will tell."""
    events: list[Event] = []
    limited = LimitFilter(limits=limits or [], bounds=params_of)
    limited.check(spec)
    board = open_board(spec, store.parse_url(str(path / "s.db")), target, limits or [])
    fake.ours = board.store
    explorer = Explorer(
        spec=spec,
        board=board,
        proposers=make_proposers(spec, forecast, limits or []),
        admits=limited.admits,
        tell=events.append,
    )
    return explorer, events


def optuna_study(running: Explorer) -> optuna.Study:
    """What Optuna's tools see of an exploration."""
    assert isinstance(running.board, StoreBoard)
    return running.board.optuna.study


def explore(path: Path, spec: StudySpec, fake: Fake, target: int) -> tuple[bool, Explorer, list[Event]]:
    running, events = make(path, spec, fake, target)
    running.run(fake)
    return running.exhausted, running, events


def test_named_designs_come_first_then_the_sampler(tmp_path: Path) -> None:
    fake = Fake()
    exhausted, running, _ = explore(tmp_path, spec_of(), fake, 9)
    assert not exhausted and len(running.history.finished) == len(fake.asked) == 9
    assert [key for key, _ in fake.asked[:4]] == [NAMED_DESIGNS[name].key for name in NAMED]
    assert len({key for key, _ in fake.asked}) == 9


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler", ["guided", "tpe", "nsga2", pytest.param("gp", marks=pytest.mark.thorough), "random", "exhaustive"]
)
def test_a_finite_space_is_exhausted_without_a_repeat(tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastrcaps_dse.search.proposers.PROPOSALS", 2)  # those of the Gaussian process take long
    fake = Fake()
    spec = spec_of(FINITE.replace('"one-cycle", ', ""), sampler=sampler)  # 16 designs
    exhausted, running, _ = explore(tmp_path, spec, fake, 50)
    assert exhausted and len(running.history.finished) == 16
    assert {key for key, _ in fake.asked} == {p.key for p in spec.space.designs()} and len(fake.asked) == 16


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["guided", "tpe", "nsga2", "random"])
def test_an_infinite_space_is_not_repeated_either(tmp_path: Path, sampler: str) -> None:
    fake = Fake()
    explore(tmp_path, spec_of(INFINITE, sampler=sampler), fake, 16)
    assert max(Counter(fake.asked).values()) == 1 and len(fake.asked) == 16


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[StudySpec], list[tuple[str, int]]]:
    """What a study asks for that nothing stops, until it has ten trials; each is explored once."""
    found: dict[str, list[tuple[str, int]]] = {}

    def asked(spec: StudySpec) -> list[tuple[str, int]]:
        key = repr(spec)
        if key not in found:
            whole = Fake()
            explore(tmp_path_factory.mktemp("whole"), spec, whole, 10)
            found[key] = whole.asked
        return found[key]

    return asked


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "stop"),
    [
        *((FINITE, 0), (INFINITE, 3), (FINITE, 7)),
        *(pytest.param(*further, marks=pytest.mark.thorough) for further in ((INFINITE, 0), (FINITE, 3), (INFINITE, 7))),
    ],
)
def test_a_stopped_study_goes_on_as_if_it_had_not_been(
    tmp_path: Path, uninterrupted: Callable[[StudySpec], list[tuple[str, int]]], text: str, stop: int
) -> None:
    first = Fake(stop_after=stop)
    second = Fake()
    with pytest.raises(KeyboardInterrupt):
        explore(tmp_path, spec_of(text), first, 10)
    _, running, events = explore(tmp_path, spec_of(text), second, 10)
    assert first.asked + second.asked == uninterrupted(spec_of(text)) and len(running.history.finished) == 10
    begun = next(event for event in events if isinstance(event, TrialStarted))
    assert begun.resumed and begun.trial == stop


def test_seeds_are_averaged_and_never_trained_twice(tmp_path: Path) -> None:
    fake = Fake()
    _, running, _ = explore(tmp_path, spec_of(seeds=3, seed=5), fake, 4)
    assert [seed for _, seed in fake.asked] == [5, 6, 7] * 4 and max(Counter(fake.asked).values()) == 1
    for trial in optuna_study(running).trials:
        number = sum(map(ord, trial.user_attrs["design"])) % 97
        assert trial.values[0] == pytest.approx(90 + number / 10 + 6)


@pytest.mark.parametrize(
    "names", ["params,acc", "time", *(pytest.param(s, marks=pytest.mark.thorough) for s in ("acc,time,params", "acc"))]
)
def test_objectives_in_any_order_and_number(tmp_path: Path, names: str) -> None:
    spec = spec_of(objectives=parse_objectives(names))
    _, running, _ = explore(tmp_path, spec, Fake(), 12)
    wanted = names.split(",")
    assert [d.name.lower() for d in optuna_study(running).directions] == [o.direction for o in spec.objectives]
    for trial in optuna_study(running).trials:
        assert trial.values == [trial.user_attrs["measurement"]["values"][name] for name in wanted]
    assert [name.split()[0] for name in optuna_study(running).metric_names or []] == wanted


def test_a_failed_run_is_a_failed_trial_and_the_study_goes_on(tmp_path: Path) -> None:
    fake = Fake(fail="one-cycle")
    _, running, events = explore(tmp_path, spec_of(), fake, 6)
    states = Counter(trial.state.name for trial in optuna_study(running).trials)
    assert states == {"COMPLETE": 5, "FAIL": 1} and [(e.reason, e.trial) for e in events if isinstance(e, TrialFailed)] == [
        ("the loss is not finite", 1)
    ]
    assert optuna_study(running).trials[1].user_attrs["reason"] == "the loss is not finite"
    again = Fake()
    explore(tmp_path, spec_of(), again, 10)
    assert NAMED_DESIGNS["one-cycle"].key not in {key for key, _ in again.asked}


def test_optuna_itself_reads_the_study(tmp_path: Path) -> None:
    spec = spec_of(INFINITE)
    explore(tmp_path, spec, Fake(), 12)
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 's.db'}")
    assert study.metric_names == ["acc (%)", "time (s)", "params"]
    assert len(study.trials) == 12 and study.best_trials
    for trial in study.trials:
        point = point_of(trial, spec.space)
        assert trial.user_attrs["design"] == point.key and trial.user_attrs["label"] == point.label
        assert parameters(point, spec.space)[0] == trial.params
        assert trial.datetime_start and trial.datetime_complete and trial.datetime_complete >= trial.datetime_start
    assert any("lr_policy.lr_max" in trial.params for trial in study.trials)


def test_samplers_by_name() -> None:
    assert isinstance(make_sampler("tpe", 0), optuna.samplers.TPESampler)
    assert isinstance(make_sampler("gp", 0), optuna.samplers.GPSampler)


def params_of(point: DesignPoint, name: str) -> tuple[float, float] | None:
    value = 8_000_000.0 - 1_000_000 * point.weight_sharing
    return {"params": (value, value), "acc": (0.0, 100.0)}.get(name)


def limited(path: Path, spec: StudySpec, fake: Fake, target: int, *texts: str) -> tuple[bool, Explorer]:
    running, _ = make(path, spec, fake, target, parse_limits(texts))
    running.run(fake)
    return running.exhausted, running


@pytest.mark.slow
@pytest.mark.parametrize("text", [FINITE, INFINITE])
def test_what_a_limit_rules_out_is_never_trained(tmp_path: Path, text: str) -> None:
    fake = Fake()
    exhausted, running = limited(tmp_path, spec_of(text), fake, 15, "params<=7M", "time<=50s")
    assert len(fake.asked) == (12 if text == FINITE else 15) and exhausted == (text == FINITE)
    assert all("weight_sharing=True" in key for key, _ in fake.asked)
    for trial in optuna_study(running).get_trials():
        constraints = trial.constraints
        assert constraints["params <= 7,000,000"] == 0 and constraints["time <= 50.0 s"] == trial.values[1] - 50
    limited(tmp_path, spec_of(text), fake, 17)  # and without limits it goes on
    assert len(fake.asked) == 17


def test_limits_that_leave_nothing_are_told_before_training(tmp_path: Path) -> None:
    for text in (FINITE, INFINITE):
        fake = Fake()
        with pytest.raises(NothingFits, match=r"params <= 1,000 \(the nearest is 7,000,000\)") as error:
            limited(tmp_path, spec_of(text, name=text[-9:]), fake, 5, "params<=1000")
        assert error.value.exit_code == 3 and not fake.asked
    with pytest.raises(InputError, match="contradict"):
        limited(tmp_path, spec_of(), Fake(), 5, "params<=1000", "params>=2000")
    with pytest.raises(InputError, match="latency <= 5 ms needs an objective that is not measured"):
        limited(tmp_path, spec_of(), Fake(), 5, "latency<=5ms")
    with pytest.raises(InputError, match="is not a valid limit; use <= or >="):
        parse_limits(["params"])


@pytest.mark.slow
@pytest.mark.parametrize("stop", [2, 6])
def test_a_stopped_guided_study_goes_on_as_if_it_had_not_been(
    tmp_path: Path, uninterrupted: Callable[[StudySpec], list[tuple[str, int]]], stop: int
) -> None:
    first, second = Fake(stop_after=stop), Fake()
    spec = spec_of(sampler="guided", first=())
    with pytest.raises(KeyboardInterrupt):
        explore(tmp_path, spec, first, 10)
    explore(tmp_path, spec, second, 10)
    assert first.asked + second.asked == uninterrupted(spec)


# --- seeds, workers, budgets ------------------------------------------------------------------------------------------


def test_a_pruned_run_spares_the_seeds_after_it(tmp_path: Path) -> None:
    fake = Fake()
    fake.pruned = {NAMED_DESIGNS["one-cycle"].key}
    _, running, _ = explore(tmp_path, spec_of(seeds=3), fake, 3)
    assert Counter(key for key, _ in fake.asked) == {
        NAMED_DESIGNS["fixed"].key: 3,
        NAMED_DESIGNS["one-cycle"].key: 1,
        NAMED_DESIGNS["warm-restarts"].key: 3,
    }
    assert [trial.measurement and trial.measurement.pruned_after for trial in running.history.finished] == [None, 1, None]


@pytest.mark.parametrize(
    "sampler", ["guided", "tpe", "exhaustive", *(pytest.param(s, marks=pytest.mark.thorough) for s in ("nsga2", "random"))]
)
def test_workers_train_different_designs_and_each_its_seeds_in_a_row(tmp_path: Path, sampler: str) -> None:
    fake = Fake(workers=3)
    _, running, events = explore(tmp_path, spec_of(sampler=sampler, seeds=2), fake, 12)
    assert max(Counter(fake.asked).values()) == 1 and len(fake.asked) == 24
    seeds: dict[str, list[int]] = {}
    for key, seed in fake.asked:
        seeds.setdefault(key, []).append(seed)
    assert all(order == [0, 1] for order in seeds.values())
    assert sorted(e.trial for e in events if isinstance(e, TrialFinished)) == [*range(12)]
    assert not running.history.under_way and not running.history.open


def test_a_budget_that_ends_starts_nothing_more_and_its_trial_is_resumed(tmp_path: Path) -> None:
    fake = Fake(workers=2)
    fake.out_of_time = True
    _, running, _ = explore(tmp_path, spec_of(), fake, 9)
    assert running.spent and not running.exhausted and len(fake.asked) == 2
    again = Fake()
    _, running, events = explore(tmp_path, spec_of(), again, 3)
    assert [(e.trial, e.resumed) for e in events if isinstance(e, TrialStarted)] == [(0, True), (1, True), (2, False)]
    over, _ = make(tmp_path, spec_of(), again, 9)
    over.may_start = lambda _: False
    over.run(again)
    assert over.spent and len(again.asked) == 3


# --- one truth: the store ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["guided", "tpe"])
def test_a_continued_search_reads_the_store_not_what_optuna_was_told(tmp_path: Path, sampler: str) -> None:
    """Racing changes means after a trial has ended, and Optuna cannot be told. The next proposals follow the store's means."""
    spec = spec_of(sampler=sampler, first=())
    fake = Fake()
    explore(tmp_path, spec, fake, 11)
    told = {run.design.key: run.measurement for run in fake.ours.runs(fake.ours.study().study_id)}
    with fake.ours.engine.begin() as connection:  # the most accurate designs turn out to be the least accurate
        connection.execute(sa.text("UPDATE fastrcaps_run SET acc = 189.6 - acc"))

    def proposals(stale: bool) -> list[str]:
        history = History()
        for run in fake.ours.runs(fake.ours.study().study_id):
            history.take(replace(run, measurement=told[run.design.key]) if stale else run)
        assert all((t.measurement == told[t.point.key]) == stale for t in history.finished) and len(history.finished) == 11
        _, proposer = make_proposers(spec, forecast)
        keys = []
        for _ in range(6):
            point = proposer.propose(history)
            assert point is not None
            keys.append(point.key)
            history.keys.add(point.key)
        return keys

    assert proposals(stale=False) == proposals(stale=False) != proposals(stale=True)
