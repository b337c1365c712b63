"""The sampler freeze-thaw: its surrogate and gains by slow references, and the loop around an executor that trains nothing."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from benchmarks.boards import MemoryBoard, open_board, run_row
from fastrcaps_dse import store
from fastrcaps_dse.analysis.pareto import hypervolume
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, override
from fastrcaps_dse.search import curve_model, step_choice
from fastrcaps_dse.search.anytime_gain import Costs, expected_gains, lowest_errors, make_cells
from fastrcaps_dse.search.board import StoreBoard
from fastrcaps_dse.search.curve_model import CurveModel, Points
from fastrcaps_dse.search.explorer import Explorer
from fastrcaps_dse.search.freeze_thaw import make_planner
from fastrcaps_dse.search.proposers import make_proposers
from fastrcaps_dse.search.protocols import Board, Event, Forecast, Paused, TrialFinished
from fastrcaps_dse.search.racing import Race
from fastrcaps_dse.search.step_choice import horizons, kept_epochs
from tests.stepping import EPOCHS, Curves, curve_of, forecast, params_of, seconds_of

STUDY = f"""
anytime = true
epochs = {EPOCHS}
trials = 24
[space]
lr_policy = ["fixed", "one-cycle", "warm-restarts"]
batch_schedule = [16, 32]
"""  # 24 designs


def spec_of(**changes: Any) -> StudySpec:
    return override(parse_study(STUDY, default_name="s"), **changes)


def explorer(spec: StudySpec, board: Board, events: list[Event] | None = None) -> Explorer:
    return Explorer(
        spec=spec,
        board=board,
        proposers=make_proposers(spec, forecast),
        planner=make_planner(spec, forecast),
        tell=(events if events is not None else []).append,
    )


def searched(spec: StudySpec, executor: Curves, events: list[Event] | None = None) -> Explorer:
    running = explorer(spec, MemoryBoard(target=spec.trials), events)
    running.run(executor)
    return running


# --- the surrogate ----------------------------------------------------------------------------------------------------


def test_the_surrogate_is_a_gaussian_process() -> None:
    generator = np.random.default_rng(3)
    codes = generator.random((6, 4))
    rows = [(d, e) for d in range(5) for e in range(1, 3 + d)]
    asked = [(d, e) for d in (0, 4, 5) for e in (1, 2, 7, 30)]  # design 5 has no epoch
    y = generator.normal(2.0, 0.7, len(rows))

    def points(of: list[tuple[int, int]]) -> Points:
        designs, epochs = np.array(of).T
        return Points(designs=designs, epochs=epochs.astype(float), runs=designs)

    model = CurveModel(codes, points(rows), y)

    def slow(a: tuple[int, int], b: tuple[int, int], length: float, scale: float) -> float:
        alike = math.exp(-length * sum(abs(p - q) for p, q in zip(codes[a[0]], codes[b[0]], strict=True)))
        walk = curve_model.START + min(math.log(a[1]), math.log(b[1]))
        return walk * (1 + scale**2 * alike + curve_model.RUN_SCALE**2 * (a[0] == b[0]))

    def fit(length: float, scale: float) -> tuple[float, np.ndarray, np.ndarray]:
        k = np.array([[slow(a, b, length, scale) for b in rows] for a in rows]) + curve_model.NOISE**2 * np.eye(len(rows))
        z = y - y.mean()
        likelihood = -0.5 * z @ np.linalg.solve(k, z) - 0.5 * np.linalg.slogdet(k)[1]
        cross = np.array([[slow(a, b, length, scale) for b in rows] for a in asked])
        prior = np.array([slow(a, a, length, scale) for a in asked])
        mean = y.mean() + cross @ np.linalg.solve(k, z)
        return likelihood, mean, np.sqrt(prior - np.diag(cross @ np.linalg.solve(k, cross.T)))

    fits = {(a, b): fit(a, b) for a in curve_model.LENGTHS for b in curve_model.DESIGN_SCALES}
    best = max(fits, key=lambda key: fits[key][0])
    mean, deviation = model.predict(points(asked))
    np.testing.assert_allclose(mean, fits[best][1], rtol=1e-8)
    np.testing.assert_allclose(deviation, fits[best][2], rtol=1e-6)


def test_what_the_surrogate_knows_is_bounded() -> None:
    assert kept_epochs(1) == [1] and kept_epochs(10) == [1, 3, 6, 8, 9, 10]
    assert horizons(0, 10) == [1, 2, 3, 5, 8, 10] and horizons(9, 10) == [10]
    assert len(kept_epochs(10_000)) <= 10 and len(horizons(3, 10_000)) <= 10


# --- the gain ---------------------------------------------------------------------------------------------------------


def costs_of(seconds: list[float], params: float) -> Costs:
    return Costs(growing=np.log(np.cumsum(seconds))[:, None], fixed=np.log([params]))


def test_the_cells_give_the_hypervolume_of_all_epochs() -> None:
    runs = [costs_of([2.0] * 6, 8e6), costs_of([1.0] * 3 + [4.0] * 3, 7e6), costs_of([1.5] * 6, 6.7e6)]
    curves = [np.log([30, 20, 9, 8, 7, 9]), np.log([40, 35, 32, 12, 10.0]), np.log([60, 50.0])]
    cells, reference = make_cells(runs, 4096), math.log(70)
    within = cells.epochs_within(runs)
    for run, epochs in zip(runs, within, strict=True):
        for u in range(0, 4096, 97):
            fits = [(run.growing[e] <= cells.growing[u]).all() and (run.fixed <= cells.fixed[u]).all() for e in range(6)]
            assert epochs[u] == sum(fits)
    growing, fixed = np.concatenate([run.growing for run in runs]), np.stack([run.fixed for run in runs])
    low = np.array([growing.min(), fixed.min()])
    top = low + 1.1 * (np.array([growing.max(), fixed.max()]) - low)
    points = [
        [run.growing[e, 0], run.fixed[0], error] for run, c in zip(runs, curves, strict=True) for e, error in enumerate(c)
    ]
    true = hypervolume(points, [*top, reference])
    found = (reference - lowest_errors(within, curves, reference)).mean() * float(np.prod(top - low))
    assert found == pytest.approx(true, rel=0.01)


def test_the_gain_is_the_expected_hypervolume_that_epochs_add() -> None:
    runs = [costs_of([2.0] * 6, 8e6), costs_of([1.0] * 6, 7e6)]
    cells, reference = make_cells(runs, 256), math.log(70)
    within = cells.epochs_within(runs)
    lowest = lowest_errors(within, [np.log([30, 20.0]), np.log([50.0])], reference)
    mean = np.log(np.array([[30, 20, 15, 12, 10, 9.5], [50, 35, 25, 20, 18, 16]]))
    deviation = np.full((2, 6), 0.3)
    done, until = np.array([2, 1]), np.array([4, 6])
    gains = expected_gains(lowest, within, done, until, mean, deviation)
    draws = np.random.default_rng(5).standard_normal(4000)
    for r, curve in enumerate([[30, 20.0], [50.0]]):
        added = []
        for z in draws:  # all epochs of a run are above or below expectation together, so errors so far fall
            ahead = mean[r, done[r] : until[r]] + z * deviation[r, 0]
            added.append(
                np.maximum(
                    0, lowest - lowest_errors(within[[r]], [np.concatenate([np.log(np.array(curve)), ahead])], reference)
                )
            )
        assert gains[r] == pytest.approx(np.mean(added), rel=0.05)


# --- the loop ---------------------------------------------------------------------------------------------------------


def reached(trained: list[tuple[str, int]], spec: StudySpec, share: float) -> float:
    """Seconds of training after which the epochs have this share of the anytime hypervolume of all designs."""
    designs = {point.key: point for point in spec.space.designs()}

    def costs(key: str, epoch: int) -> list[float]:
        point = designs[key]
        return [math.log(100 - curve_of(point)[epoch - 1]), math.log(epoch * seconds_of(point)), math.log(params_of(point))]

    every = np.array([costs(key, epoch) for key in designs for epoch in range(1, EPOCHS + 1)])
    low, high = every.min(axis=0), every.max(axis=0)
    whole = hypervolume((every - low) / (high - low), [1.1] * 3)
    seconds, points = 0.0, []
    for key, epoch in trained:
        seconds += seconds_of(designs[key])
        points.append((np.array(costs(key, epoch)) - low) / (high - low))
        if hypervolume(points, [1.1] * 3) >= share * whole:
            return seconds
    return math.inf


def test_it_finds_the_front_of_all_epochs_sooner_than_whole_runs() -> None:
    stepped, spec = Curves(), spec_of()
    running = searched(spec, stepped)
    assert max(Counter(stepped.trained).values()) == 1  # no epoch is trained twice
    assert len(running.history.finished) == 24 and running.exhausted and not running.history.open
    whole = Curves()
    guided = spec_of(sampler="guided")
    searched(guided, whole)
    assert len(whole.trained) == 24 * EPOCHS and make_planner(guided, forecast) is None
    assert reached(stepped.trained, spec, 0.95) <= 0.5 * reached(whole.trained, spec, 0.95)
    drawn = Curves()
    searched(spec_of(sampler="random"), drawn)
    assert reached(stepped.trained, spec, 0.99) <= 0.5 * reached(drawn.trained, spec, 0.99)
    assert stepped.spent < 0.8 * whole.spent
    ended = [trial.measurement for trial in running.history.finished]
    stopped = [m.pruned_after for m in ended if m is not None and m.pruned_after is not None]
    assert stopped and all(0 < epochs < EPOCHS for epochs in stopped)


def test_the_first_designs_come_first_one_step_each() -> None:
    executor, spec = Curves(budget=6), spec_of()
    running = searched(spec, executor)
    named = [point.key for point in spec.first_designs]
    assert running.spent and executor.trained[: len(named)] == [(key, 1) for key in named]
    assert all(request.until == 1 for request in executor.requests[: len(named)])


def test_epochs_shorter_than_a_step_are_trained_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_choice, "STEP_SECONDS", 7.0)
    executor = Curves()
    searched(spec_of(trials=6), executor)
    for request in executor.requests:
        stride = math.ceil(7.0 / seconds_of(request.point))
        assert request.ends or request.until == EPOCHS or (request.until or 0) % stride == 0


@pytest.mark.parametrize(
    "stop", [pytest.param(0, marks=pytest.mark.thorough), 3, 11, pytest.param(16, marks=pytest.mark.thorough)]
)
def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path: Path, stop: int) -> None:
    whole = Curves()
    spec = spec_of(trials=5)
    searched(spec, whole)
    assert len(whole.trained) > stop
    first, second = Curves(stop_after=stop), Curves()
    for executor in (first, second):
        board = open_board(spec, store.parse_url(str(tmp_path / "s.db")), 5)
        executor.ours = board.store
        running = explorer(spec, board)
        if executor is first:
            with pytest.raises(KeyboardInterrupt):
                running.run(executor)
        else:
            running.run(executor)
    assert first.trained + second.trained == whole.trained and len(running.history.finished) == 5
    assert isinstance(running.board, StoreBoard)
    assert {trial.state.name for trial in running.board.optuna.study.get_trials()} == {"COMPLETE"}


def test_optuna_sees_paused_trials_running_with_their_epochs(tmp_path: Path) -> None:
    spec = spec_of(trials=5)
    board = open_board(spec, store.parse_url(str(tmp_path / "s.db")), 5)
    events: list[Event] = []
    running = explorer(spec, board, events)
    running.run(Curves(ours=board.store, budget=8))
    assert running.spent and sum(isinstance(event, Paused) for event in events) >= 4
    trials = optuna.load_study(study_name="s", storage=board.optuna.storage).get_trials()
    assert "RUNNING" in {trial.state.name for trial in trials} <= {"RUNNING", "COMPLETE"}
    for trial in trials:
        point = next(point for point in spec.space.designs() if point.key == trial.user_attrs["design"])
        curve = curve_of(point)
        assert trial.intermediate_values == {k: curve[k - 1] for k in range(1, len(trial.intermediate_values) + 1)}
    board = open_board(spec, store.parse_url(str(tmp_path / "s.db")), 5)
    explorer(spec, board).run(Curves(ours=board.store))
    trials = optuna.load_study(study_name="s", storage=board.optuna.storage).get_trials()
    assert {trial.state.name for trial in trials} == {"COMPLETE"} and all(trial.values for trial in trials)


def test_workers_train_different_runs_at_once() -> None:
    events: list[Event] = []
    executor = Curves(workers=3)
    running = searched(spec_of(trials=12), executor, events)
    assert max(Counter(executor.trained).values()) == 1 and len(running.history.finished) == 12
    assert sum(isinstance(event, TrialFinished) for event in events) == 12


def test_two_processes_share_the_runs(tmp_path: Path) -> None:
    """Each goes on with runs that the other has paused; no epoch is trained twice, and both see the end."""
    spec, url = spec_of(trials=8), store.parse_url(str(tmp_path / "s.db"))
    sides: list[tuple[Curves, Explorer]] = []
    for _ in range(2):
        board = open_board(spec, url, 8)
        if sides:
            board.store.owner = '["elsewhere", 7, "another boot:1"]'
        executor = Curves(ours=board.store)
        sides.append((executor, explorer(spec, board)))
    loops = [executor.run(running.next_request) for executor, running in sides]
    turn, idle = 0, 0
    while idle < 4:
        message = next(loops[turn], None)
        if message is None:  # nothing to do until the other has done something
            loops[turn] = sides[turn][0].run(sides[turn][1].next_request)
            idle += 1
        else:
            sides[turn][1]._take(message)
            idle = 0
        turn = 1 - turn
    trained = [*sides[0][0].trained, *sides[1][0].trained]
    assert max(Counter(trained).values()) == 1 and all(len(executor.trained) > 5 for executor, _ in sides)
    both = {key for key, _ in sides[0][0].trained} & {key for key, _ in sides[1][0].trained}
    assert both  # a run that one has begun is trained by the other, too
    states = Counter(run.state for run in sides[0][0].ours.runs(1))  # type: ignore[union-attr]
    assert states == {"done": 8}


def test_designs_that_cannot_be_trained_here_are_left_out() -> None:
    def partly(point: DesignPoint) -> Forecast:
        found = forecast(point)
        return found if point.decoder == "small" else replace(found, seconds=math.inf)

    spec = spec_of(first=(), trials=24)
    running = Explorer(
        spec=spec,
        board=MemoryBoard(target=24),
        proposers=(),
        planner=make_planner(spec, partly),
        admits=lambda point: not point.weight_sharing,
    )
    executor = Curves(budget=40)
    running.run(executor)
    assert {request.point.decoder for request in executor.requests[:6]} == {"small"}
    assert not any(request.point.weight_sharing for request in executor.requests)


def test_what_is_not_supported_is_refused() -> None:
    with pytest.raises(InputError, match="one run of each design, not 3") as error:
        spec_of(seeds=3)
    assert "--max-seeds 3" in str(error.value.hint)
    with pytest.raises(InputError, match="gains nothing where only whole runs count"):
        spec_of(anytime=False)


def test_further_seeds_stop_where_the_first_one_did() -> None:
    point, other = [*spec_of().space.designs()][:2]
    told = []
    for number, (design, cut) in enumerate([(point, 3), (other, None)]):
        measured = Measurement(values={"acc": 90.0, "time": 10.0, "params": 8e6}, pruned_after=cut)
        told.append(replace(run_row(number + 1, number, design, 0), state="done", measurement=measured))
    made = {"objectives": spec_of().objectives, "seeds": 1, "max_seeds": 2, "first_seed": 0}
    for stops, expected in ((True, [(3, True), (None, False)]), (False, [(None, False)] * 2)):
        race = Race(board=MemoryBoard(target=0, told=[*told], runs=2), stops=stops, **made)  # type: ignore[arg-type]
        requests = [request for request in iter(race.next_request, None) if request is not None]
        assert [(r.until, r.ends) for r in sorted(requests, key=lambda r: r.trial)] == expected
