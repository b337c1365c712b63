"""Figures: what they draw is tested exactly; the report as a file that asks nothing of anybody."""

from __future__ import annotations

from typing import Any

import pytest

from fastrcaps_dse import figures
from fastrcaps_dse.objectives import Measurement, parse_objectives
from fastrcaps_dse.records import front_of
from fastrcaps_dse.schedules import build_timeline, learning_rate
from fastrcaps_dse.space import DesignPoint, parse_design
from fastrcaps_dse.store import EpochRow, RunRow, StudyRow, TrialRow
from fastrcaps_dse.studyspec import parse_study

OBJECTIVES = parse_objectives("acc,time,params")


def run_row(trial: int, point: DesignPoint, measured: Measurement | None, **changes: Any) -> RunRow:
    fields = {"run_id": trial, "trial": trial, "design": point, "seed": 0, "state": "done", "reason": None}
    fields |= {
        "device": "cpu",
        "precision": "float32",
        "software": "x",
        "weights": None,
        "wall_time": None,
        "started": 0.0,
        "ended": 1.0,
    }
    return RunRow(measurement=measured, **(fields | changes))


def trial_row(trial: int, design: str, acc: float, time: float, params: int) -> TrialRow:
    point = parse_design(design)
    measured = Measurement(acc=acc, time=time, params=params, test_acc=acc - 1, selected_epoch=2)
    return TrialRow(trial=trial, design=point, state="done", runs=(run_row(trial, point, measured),), measurement=measured)


FAILED = TrialRow(
    trial=3,
    design=parse_design("adabatch"),
    state="failed",
    runs=(run_row(3, parse_design("adabatch"), None, state="failed", reason="<b>the loss</b> is not finite"),),
    measurement=None,
)
TRIALS = [
    trial_row(0, "fixed", 99.0, 20.0, 8_215_728),
    trial_row(1, "wab+ws", 99.2, 10.0, 6_708_400),
    trial_row(2, "ws", 98.0, 30.0, 6_708_400),
    FAILED,
]


def epochs_of(accuracies: list[float]) -> list[EpochRow]:
    constant = {"batch_size": 16, "steps": 3, "lr_first": 1e-3, "lr_last": 1e-4, "margin_loss": 0.1, "reconstruction_loss": 0.1}
    return [
        EpochRow(
            epoch=k + 1, acc=acc, warm_up_seconds=0.0, train_seconds=1.0, eval_seconds=0.1, counted_seconds=1.0, **constant
        )  # type: ignore[arg-type]
        for k, acc in enumerate(accuracies)
    ]


EPOCHS = {0: epochs_of([90.0, 99.0]), 1: epochs_of([95.0, 99.2]), 2: epochs_of([80.0, 98.0])}


def study_row(name: str = "s") -> StudyRow:
    identity = parse_study("epochs = 2\n", default_name=name).identity()
    return StudyRow(
        study_id=1,
        name=name,
        identity=identity,
        spec_text="",
        target_trials=3,
        dataset_fingerprint="0",
        image_shape={},
        train_images=48,
        created=0.0,
    )


def test_what_the_scatter_draws() -> None:
    front = front_of(TRIALS, OBJECTIVES)
    assert [t.trial for t in front] == [1]
    info = figures.pareto_info(TRIALS, front, OBJECTIVES)
    assert [(p.trial, p.label, p.on_front) for p in info.points] == [(0, "fixed", False), (1, "wab+ws", True), (2, "ws", False)]
    assert info.points[1].values == {"acc": 99.2, "time": 10.0, "params": 6_708_400.0}
    figure = figures.pareto_figure(info)
    dominated, marked = figure.data
    assert list(marked.x) == [99.2] and list(marked.z) == [6_708_400] and dominated.opacity < 0.5 < marked.opacity
    scene = figure.layout.scene
    assert [axis.title.text for axis in (scene.xaxis, scene.yaxis, scene.zaxis)] == [
        "accuracy (%)",
        "time to max accuracy (s)",
        "trainable parameters",
    ]


@pytest.mark.parametrize(("names", "kind"), [("acc,time,params", "scatter3d"), ("params,acc", "scatter"), ("time", "scatter")])
def test_two_objectives_are_drawn_flat(names: str, kind: str) -> None:
    objectives = parse_objectives(names)
    figure = figures.pareto_figure(figures.pareto_info(TRIALS, front_of(TRIALS, objectives), objectives))
    assert {trace.type for trace in figure.data} == {kind}


def test_what_the_curves_draw() -> None:
    info = figures.curves_info(TRIALS, EPOCHS, epochs=2, images=48)
    assert [(c.name, c.x, c.y) for c in info.accuracy][1] == ("1: wab+ws", (1, 2), (95.0, 99.2))
    wab = info.rate[1]
    line = build_timeline(TRIALS[1].design.batch_schedule, epochs=2, images=48)
    assert wab.x[0] == 0 and wab.y[0] == learning_rate(TRIALS[1].design.lr_policy, 0, line)
    assert max(wab.x) < 2 and wab.y[-1] == learning_rate(TRIALS[1].design.lr_policy, line.total_steps - 1, line)
    restart = wab.x.index(1.0)
    assert wab.y[restart] == pytest.approx(1e-3) and wab.y[restart - 1] < 1.1e-4
    assert len(figures.accuracy_figure(info).data) == len(figures.rate_figure(info).data) == 3


def test_seeds_are_averaged_in_the_curves() -> None:
    point = parse_design("fixed")
    measured = TRIALS[0].measurement
    runs = (run_row(0, point, measured), run_row(1, point, measured))
    both = TrialRow(trial=0, design=point, state="done", measurement=measured, runs=runs)
    info = figures.curves_info([both], {0: epochs_of([90.0, 94.0]), 1: epochs_of([92.0, 98.0])}, epochs=2, images=48)
    assert info.accuracy[0].y == (91.0, 96.0)


def test_the_range_test_figure() -> None:
    figure = figures.range_test_figure([1e-5, 1e-4, 1e-3], [1.0, 0.5, 2.0], (1e-5, 1e-4))
    assert list(figure.data[0].y) == [1.0, 0.5, 2.0] and figure.layout.xaxis.type == "log" and len(figure.layout.shapes) == 1
