"""Optuna's own tools read our studies: optuna-dashboard, by its HTTP API, and every plot of optuna.visualization."""

from __future__ import annotations

import csv
import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from benchmarks.boards import run_row
from fastrcaps_dse import store
from fastrcaps_dse.analysis.picks import Limit, parse_limits
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.search.optuna_storage import OptunaStudy, open_optuna_study, open_storage
from fastrcaps_dse.search.parameters import sample_design
from fastrcaps_dse.store import EpochRow, TrialRow, grouped_trials
from tests.sessions import explored, opened, spec_of
from tests.synthetic import epoch_row, make_spec

optuna_dashboard = pytest.importorskip("optuna_dashboard")

pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:Contour plot will not be displayed:UserWarning"),  # of fields that never go together
    pytest.mark.filterwarnings("ignore:Some regimes for parameter:UserWarning"),  # likewise, of few trials
    pytest.mark.filterwarnings("ignore:PedAnovaImportanceEvaluator computes:UserWarning"),
]

EPOCHS = 3
LIMITS = ("params<=7M", "acc>=95")
STUDIES: dict[str, dict[str, Any]] = {
    "finished": {"designs": 12},
    "empty": {"designs": 0},
    "begun": {"designs": 0, "running": 1},
    "mixed": {"designs": 8, "failed": 2, "running": 2, "pruned": 2},
    "limited": {"designs": 12, "limits": LIMITS},
    "one": {"designs": 6, "objectives": "acc"},
    "two": {"designs": 6, "objectives": "acc,time_to:95"},
    "five": {"designs": 6, "objectives": "acc,time,params,macs,latency"},
}
ONE_VALUE = ("contour", "edf", "optimization_history", "parallel_coordinate", "param_importances", "rank", "slice")
"""Plots of one objective at a time."""


def write(storage: optuna.storages.RDBStorage, name: str, **how: Any) -> OptunaStudy:
    """A study as an exploration leaves it, by the class that explorations use."""
    spec = make_spec(name, objectives=how.get("objectives", "acc,time,params"))
    study, generator = open_optuna_study(spec, storage), random.Random(1)
    limits: list[Limit] = parse_limits(how.get("limits", ()))
    done, failed, pruned = how["designs"], how.get("failed", 0), how.get("pruned", 0)
    trials: list[tuple[TrialRow, list[EpochRow]]] = []
    for number in range(done + failed + how.get("running", 0)):
        point = sample_design(spec.space, generator)
        stays = EPOCHS - 1 if number < pruned else EPOCHS
        epochs = [epoch_row(epoch, 80 + epoch + generator.random(), 1.0) for epoch in range(1, stays + 1)]
        run = run_row(number + 1, number, point, 0)
        if number < done:
            values = {o.name: 100 * generator.random() for o in spec.objectives} | {"acc": 90 + 9 * generator.random()}
            values |= {"params": 6_708_400.0 if point.weight_sharing else 8_142_000.0}
            after = stays if number < pruned else None
            measured = Measurement(values=values, test_acc=90.0, selected_epoch=2, pruned_after=after)
            run = replace(run, state="done", measurement=measured)
        elif number < done + failed:
            run = replace(run, state="failed", reason="the loss is not finite")
        trials += [(trial, epochs) for trial in grouped_trials([run], 1)]
    study.mirror(trials, limits)
    return study


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[optuna.storages.RDBStorage]:
    """A database with all these studies."""
    made = open_storage(store.parse_url(str(tmp_path_factory.mktemp("tools") / "s.db")))
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name, how in STUDIES.items():
        write(made, name, **how)
    yield made
    optuna.logging.set_verbosity(verbosity)
    made.engine.dispose()


Get = Callable[[str], tuple[int, bytes]]


def dashboard(storage: optuna.storages.BaseStorage) -> Get:
    """Asks the dashboard's own application for a path; (status, body)."""
    app = optuna_dashboard.wsgi(storage)

    def get(path: str) -> tuple[int, bytes]:
        said: list[str] = []
        request = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "here", "SERVER_PORT": "80"}
        request |= {"CONTENT_TYPE": "application/json", "SCRIPT_NAME": "", "SERVER_PROTOCOL": "HTTP/1.1"}
        environment = request | {"wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http"}
        body = b"".join(app(environment, lambda status, headers, error=None: said.append(status)))
        return int(said[0].split()[0]), body

    return get


def asked(get: Get, path: str) -> Any:
    status, body = get(path)
    assert status == 200, (path, body)
    return json.loads(body)


def study_ids(get: Get) -> dict[str, int]:
    return {found["study_name"]: found["study_id"] for found in asked(get, "/api/studies")["study_summaries"]}


# --- optuna-dashboard -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STUDIES)
def test_the_dashboard_has_every_study(storage: optuna.storages.RDBStorage, name: str) -> None:
    get, how = dashboard(storage), STUDIES[name]
    number = study_ids(get)[name]
    found = asked(get, f"/api/studies/{number}")
    trials = found["trials"]
    assert len(trials) == how["designs"] + how.get("failed", 0) + how.get("running", 0)
    objectives = make_spec(name, objectives=how.get("objectives", "acc,time,params")).objectives
    assert [d.lower() for d in found["directions"]] == [o.direction for o in objectives]
    shown = [text.split(" ")[0] for text in found["objective_names"]]
    assert shown == [o.name for o in objectives]
    attributes = {a["key"]: a["value"].strip('"') for a in found["user_attrs"]}
    assert attributes == {"dataset": "mnist-sample", "protocol": "validation", "epochs": "6", "seeds": "1"}
    importances = asked(get, f"/api/studies/{number}/param_importances")["param_importances"]
    assert len(importances) == len(objectives)
    assert get(f"/csv/{number}")[0] == 200


def test_the_dashboard_has_what_a_trial_is(storage: optuna.storages.RDBStorage) -> None:
    """Its curve, label and design, why it failed, after how many epochs it was pruned, and which limits it violates."""
    get = dashboard(storage)
    mixed = asked(get, f"/api/studies/{study_ids(get)['mixed']}")["trials"]
    states = [trial["state"] for trial in mixed]
    assert states == ["Complete"] * 8 + ["Fail"] * 2 + ["Running"] * 2
    assert [len(trial["intermediate_values"]) for trial in mixed] == [2, 2] + [3] * 10
    for trial in mixed:
        attributes = {a["key"]: a["value"] for a in trial["user_attrs"]}
        assert {"label", "design"} <= attributes.keys()
        assert ("pruned_after (epochs)" in attributes) == (trial["number"] < 2)
        assert ("reason" in attributes) == (trial["state"] == "Fail")
        assert ("test_acc (%)" in attributes) == (trial["state"] == "Complete")
    limited = asked(get, f"/api/studies/{study_ids(get)['limited']}")["trials"]
    for trial in limited:
        acc, _, params = trial["values"]
        violated = [
            str(limit) for limit, not_kept in zip(parse_limits(LIMITS), (params > 7e6, acc < 95), strict=True) if not_kept
        ]
        attributes = {a["key"]: a["value"].strip('"') for a in trial["user_attrs"]}
        assert attributes.get("violates", "") == ", ".join(violated)


def test_the_table_of_the_dashboard(storage: optuna.storages.RDBStorage) -> None:
    get = dashboard(storage)
    rows = list(csv.DictReader(io.StringIO(get(f"/csv/{study_ids(get)['finished']}")[1].decode())))
    assert len(rows) == 12 and {"acc (%)", "time (s)", "params", "UserAttribute label", "Param lr_policy"} <= rows[0].keys()


# --- optuna.visualization ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("plot", ONE_VALUE)
def test_plots_of_one_objective(storage: optuna.storages.RDBStorage, name: str, plot: str) -> None:
    study = optuna.load_study(study_name=name, storage=storage)
    names = study.metric_names
    assert names is not None
    few = {"params": ["decoder", "lr_policy"]} if plot in ("contour", "rank") and STUDIES[name]["designs"] else {}
    for index, title in enumerate(names[:3]):
        target = {} if len(names) == 1 else {"target": lambda trial, index=index: trial.values[index], "target_name": title}
        figure = getattr(optuna.visualization, f"plot_{plot}")(study, **few, **target)
        assert bool(figure.data) == bool(STUDIES[name]["designs"])


@pytest.mark.parametrize("name", STUDIES)
def test_plots_of_whole_trials(storage: optuna.storages.RDBStorage, name: str) -> None:
    study, how = optuna.load_study(study_name=name, storage=storage), STUDIES[name]
    curves = optuna.visualization.plot_intermediate_values(study)
    assert len(curves.data) == how["designs"] + how.get("running", 0)
    assert all(len(curve.x) in (EPOCHS, EPOCHS - 1) for curve in curves.data)
    timeline = optuna.visualization.plot_timeline(study)
    assert {t.name for t in timeline.data} <= {"COMPLETE", "INFEASIBLE", "FAIL", "RUNNING"} and bool(timeline.data) == bool(
        study.trials
    )
    if len(study.directions) == 1:
        return
    volume = optuna.visualization.plot_hypervolume_history(study, [0.0] + [1e9] * (len(study.directions) - 1))
    assert len(volume.data[0].x) == how["designs"]
    targets: dict[str, Any] = {}
    if len(study.directions) > 3:  # plot_pareto_front has no more axes: some are chosen
        targets = {"targets": lambda trial: trial.values[:3], "target_names": (study.metric_names or [])[:3]}
    front = optuna.visualization.plot_pareto_front(study, **targets)
    assert sum(len(t.x or ()) for t in front.data) == how["designs"]


def test_limits_are_constraints(storage: optuna.storages.RDBStorage) -> None:
    """A design outside the limits is infeasible to Optuna: in its plots, and for what it calls the best trials."""
    study = optuna.load_study(study_name="limited", storage=storage)
    within = {t.number for t in study.trials if t.values[0] >= 95 and t.values[2] <= 7e6}
    assert 0 < len(within) < len(study.trials)
    assert {t.number for t in study.trials if all(v <= 0 for v in t.constraints.values())} == within
    assert {t.number for t in study.best_trials} <= within
    assert set(study.trials[0].constraints) == {str(limit) for limit in parse_limits(LIMITS)}


def test_an_exploration_with_seeds(tiny: Path, tmp_path: Path, small_capsnet: None) -> None:
    """What training leaves: the values are means over the seeds, the curve is that of the first one."""
    with opened(tmp_path, spec_of(tiny, seeds=2)) as study:
        explored(study, trials=2)
        trials, stored = study.optuna.study.get_trials(), study.store.trials(study.row)
        for trial, ours in zip(trials, stored, strict=True):
            assert ours.measurement is not None and len(ours.runs) == 2
            assert trial.values == [ours.measurement[o.name] for o in study.row.objectives]
            first = study.store.epochs(ours.runs[0].run_id)
            assert trial.intermediate_values == {epoch.epoch: epoch.acc for epoch in first}
            assert trial.user_attrs["test_acc (%)"] == ours.measurement.test_acc
        get = dashboard(study.optuna.storage)
        assert [t["state"] for t in asked(get, f"/api/studies/{study.row.study_id}")["trials"]] == ["Complete"] * 2
        assert len(optuna.visualization.plot_pareto_front(study.optuna.study).data) > 0
