"""Figures: what they show, in the browser and on paper, is tested exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fastrcaps_dse.analysis.results import front_of
from fastrcaps_dse.figures import export, paper, plots
from fastrcaps_dse.problem.objectives import Measurement, mean_measurement, parse_objectives
from fastrcaps_dse.problem.rates import learning_rate
from fastrcaps_dse.problem.space import DesignPoint, parse_design
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.timelines import build_timeline
from fastrcaps_dse.store import EpochRow, RunRow, StudyRow, TrialRow
from tests.synthetic import epoch_row

OBJECTIVES = parse_objectives("acc,time,params")


def run_row(trial: int, point: DesignPoint, measured: Measurement | None, **changes: Any) -> RunRow:
    row = RunRow(
        run_id=trial,
        trial=trial,
        design=point,
        seed=0,
        state="done",
        reason=None,
        device="cpu",
        precision="float32",
        software="x",
        weights=None,
        wall_time=None,
        started=0.0,
        ended=1.0,
        measurement=measured,
    )
    return replace(row, **changes)


def trial_row(trial: int, design: str, acc: float, time: float, params: int) -> TrialRow:
    point = parse_design(design)
    measured = Measurement(values={"acc": acc, "time": time, "params": params}, test_acc=acc - 1, selected_epoch=2)
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
    return [epoch_row(k + 1, acc, 1.0) for k, acc in enumerate(accuracies)]


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
        image_shape={"channels": 1, "height": 28, "width": 28, "classes": 10},
        train_images=48,
        created=0.0,
    )


def test_what_the_scatter_shows() -> None:
    front = front_of(TRIALS, OBJECTIVES)
    assert [t.trial for t in front] == [1]
    info = plots.pareto_info(TRIALS, front, OBJECTIVES)
    assert [(p.trial, p.label, p.on_front) for p in info.points] == [
        (0, "fixed · b16", False),
        (1, "wab · b1->16 · ws+small", True),
        (2, "fixed · b16 · ws+small", False),
    ]
    assert info.points[1].values == {"acc": 99.2, "time": 10.0, "params": 6_708_400.0}
    figure = plots.pareto_figure(info)
    dominated, marked = figure.data
    assert list(marked.x) == [99.2] and list(marked.z) == [6_708_400] and dominated.opacity < 0.5 < marked.opacity
    scene = figure.layout.scene
    assert [axis.title.text for axis in (scene.xaxis, scene.yaxis, scene.zaxis)] == [
        "accuracy (%)",
        "time to max accuracy (s)",
        "trainable parameters",
    ]


@pytest.mark.parametrize(("names", "kind"), [("acc,time,params", "scatter3d"), ("params,acc", "scatter"), ("time", "scatter")])
def test_two_objectives_are_plotted_flat(names: str, kind: str) -> None:
    objectives = parse_objectives(names)
    figure = plots.pareto_figure(plots.pareto_info(TRIALS, front_of(TRIALS, objectives), objectives))
    assert {trace.type for trace in figure.data} == {kind}


def test_what_the_curves_show() -> None:
    info = plots.curves_info(TRIALS, EPOCHS, epochs=2, images=48)
    assert [(c.name, c.x, c.y) for c in info.accuracy][1] == ("1: wab · b1->16 · ws+small", (1, 2), (95.0, 99.2))
    wab = info.rate[1]
    line = build_timeline(TRIALS[1].design.batch_schedule, epochs=2, images=48)
    assert wab.x[0] == 0 and wab.y[0] == learning_rate(TRIALS[1].design.lr_policy, 0, line)
    assert max(wab.x) == 2 and wab.y[-1] == learning_rate(TRIALS[1].design.lr_policy, line.total_steps - 1, line)
    restart = wab.x.index(1.0)  # the old rate up to here, then the new one
    assert wab.x[restart + 1] == 1 and wab.y[restart + 1] == pytest.approx(1e-3) and wab.y[restart] < 1.1e-4
    assert len(plots.accuracy_figure(info).data) == len(plots.rate_figure(info).data) == 3


def test_axes_of_times_are_logarithmic() -> None:
    logarithmic = [plots.is_logarithmic(o) for o in parse_objectives("acc,time,time_to:99,params,latency")]
    assert logarithmic == [False, True, True, False, False]
    one = plots.pareto_info(TRIALS, [], parse_objectives("acc"))
    assert [o.name for o in plots.plotted_axes(one)] == ["acc", "time"]
    four = plots.pareto_info([], [], parse_objectives("acc,time,params,macs"))
    assert [o.name for o in plots.plotted_axes(four)] == ["acc", "time", "params"]


def test_no_mark_in_3d_lies_on_the_end_of_an_axis() -> None:
    assert plots.range_3d([10.0, 20.0, 30.0], False) == pytest.approx([8.8, 31.2])
    assert plots.range_3d([10.0, 1000.0], True) == pytest.approx([1 - 0.12, 3 + 0.12])
    assert plots.range_3d([5.0, 5.0], False) is None and plots.range_3d([], False) is None
    assert plots.range_3d([0.0, 5.0], True) is None


def test_seeds_are_averaged_in_the_curves() -> None:
    point = parse_design("fixed")
    measured = TRIALS[0].measurement
    runs = (run_row(0, point, measured), run_row(1, point, measured))
    both = TrialRow(trial=0, design=point, state="done", measurement=measured, runs=runs)
    info = plots.curves_info([both], {0: epochs_of([90.0, 94.0]), 1: epochs_of([92.0, 98.0])}, epochs=2, images=48)
    assert info.accuracy[0].y == (91.0, 96.0)


def test_the_range_test_figure() -> None:
    figure = plots.range_test_figure([1e-5, 1e-4, 1e-3], [1.0, 0.5, 2.0], (1e-5, 1e-4))
    assert list(figure.data[0].y) == [1.0, 0.5, 2.0] and figure.layout.xaxis.type == "log" and len(figure.layout.shapes) == 1


# --- the paper's figures ------------------------------------------------------------------------------------------------


def named_row(
    trial: int, design: str, runs: list[list[float]], seconds: float, **changes: Any
) -> tuple[TrialRow, dict[int, Any]]:
    """A measured trial of these accuracies, and its epochs by run."""
    point = parse_design(design)
    epochs = {10 * trial + seed: epochs_of(accuracies) for seed, accuracies in enumerate(runs)}
    measured = []
    for accuracies in runs:
        selected = accuracies.index(max(accuracies)) + 1
        measured.append(
            Measurement(
                values={"acc": max(accuracies), "time": selected * seconds, "params": 1.0}, selected_epoch=selected, **changes
            )
        )
    rows = tuple(run_row(trial, point, one, run_id=10 * trial + seed, seed=seed) for seed, one in enumerate(measured))
    return TrialRow(trial=trial, design=point, state="done", runs=rows, measurement=mean_measurement(measured)), epochs


def paper_info_of(*rows: tuple[TrialRow, dict[int, Any]], epochs: int = 3) -> paper.PaperInfo:
    trials = [trial for trial, _ in rows]
    kept = {run_id: run for _, stored in rows for run_id, run in stored.items()}
    return paper.paper_info(trials, front_of(trials, OBJECTIVES), kept, epochs=epochs, images=1600)


FIXED = named_row(0, "fixed", [[90.0, 94.0, 96.0], [92.0, 98.0, 97.0]], 10.0)
WAB = named_row(1, "wab", [[95.0, 98.0, 97.5], [96.0, 97.0, 99.0]], 16.0)
WS = named_row(2, "ws", [[80.0, 85.0, 90.0]], 8.0)


def test_accuracy_of_the_named_designs() -> None:
    info = paper_info_of(WAB, WS, FIXED)  # in the order of the paper, whatever that of the trials
    assert [(d.curve.name, d.curve.x, d.curve.y) for d in info.named] == [
        ("fixed", (1, 2, 3), (91.0, 96.0, 96.5)),
        ("wab", (1, 2, 3), (95.5, 97.5, 98.25)),
    ]
    assert [d.color for d in info.named] == [0, 5]  # those of all six designs, in every study
    assert info.missing == ("exp-decay", "one-cycle", "warm-restarts", "adabatch", "wab+ws")


def test_speed_of_the_named_designs() -> None:
    info = paper_info_of(FIXED, WAB, WS)
    # fixed: accuracies 96 in epoch 3 and 98 in epoch 2, hence (96 + 98) / 2 after (3 + 2) / 2 epochs of 10 s;
    # wab: 98 in epoch 2, 99 in epoch 3, epochs of 16 s: 40 s by 25 s; the mean of its accuracies passes 96.5 in epoch 2
    assert info.speeds == (
        paper.Speed("fixed", 0, 2, 97.0, 2.5, 25.0, 1.0, 3, None),
        paper.Speed("wab", 1, 2, 98.5, 2.5, 40.0, 1.6, 2, None),
        paper.Speed("ws", 2, 1, 90.0, 3.0, 24.0, 0.96, None, None),
    )


def test_speed_without_the_baseline_and_of_a_pruned_run() -> None:
    info = paper_info_of(WAB, named_row(2, "ws", [[80.0, 85.0]], 8.0, pruned_after=2))
    assert [(s.relative_time, s.epochs_to_baseline, s.pruned_after) for s in info.speeds] == [
        (None, None, None),
        (None, None, 2),
    ]
    assert paper.speed_markdown(info.speeds, "of a test").splitlines()[2:] == [
        "| wab | 98.50 | 2.5 | 40.0 | - | - | 2 |",
        "| ws (pruned after 2 epochs) | 85.00 | 2 | 16.0 | - | - | 1 |",
        "",
        "of a test",
    ]
    assert list(paper.speed_rows(info.speeds))[1:] == [
        ["wab", 1, 2, 98.5, 2.5, 40.0, "", "", ""],
        ["ws", 2, 1, 85.0, 2.0, 16.0, "", "", 2],
    ]
    assert {len(row) for row in paper.speed_rows(info.speeds)} == {len(paper.Speed._fields)}


def test_runs_that_have_not_ended_are_not_in_the_papers_figures() -> None:
    trial, epochs = FIXED
    running = run_row(0, trial.design, None, run_id=9, seed=2, state="running")
    more = replace(trial, runs=(*trial.runs, running))
    assert paper_info_of((more, epochs | {9: epochs_of([1.0])})).named == paper_info_of(FIXED).named
    info = paper_info_of((FAILED, {3: epochs_of([1.0, 2.0])}))
    assert not any((info.named, info.speeds, info.accuracy, info.rate)) and len(info.missing) == 8


def test_designs_with_equal_learning_rates_have_one_curve() -> None:
    names = [
        "fixed",
        "ws",
        "one-cycle",
        "lr_policy=one-cycle batch_schedule=128",
        "lr_policy=one-cycle batch_schedule=adabatch",
    ]
    names += ["exp-decay", "lr_policy=exp-decay batch_schedule=128", "warm-restarts", "wab"]
    trials = [named_row(k, name, [[1.0]], 1.0)[0] for k, name in enumerate(names)]
    merged = paper.merged_rates(trials, 30, 1600)
    assert [(d.curve.name, d.color) for d in merged] == [
        ("0, 1: fixed", 0),
        ("2, 3: one-cycle", 2),
        ("4: one-cycle · b1->16", 4),
        ("5: exp-decay · b16", 5),
        ("6: exp-decay · b128", 6),
        ("7: warm-restarts · b16", 7),
        ("8: wab · b1->16", 8),
    ]
    assert merged[1].curve.y == plots.rate_curve(trials[2].design, name="", epochs=30, images=1600).y  # the finer one


def test_the_curves_are_those_of_the_front_first() -> None:
    rows = [named_row(k, f"lr_policy=fixed(lr={k + 1}e-4)", [[50.0 + k, 60.0 + k]], 1.0) for k in range(12)]
    info = paper_info_of(*rows, epochs=2)
    assert [d.curve.name.split(":")[0] for d in info.accuracy] == ["0", "1", "2", "3", "4", "5", "6", "11"]
    assert [d.color for d in info.accuracy] == [d.color for d in info.rate] == list(range(8))


def test_the_range_of_the_accuracies_leaves_out_the_start_of_long_runs() -> None:
    def curve(*y: float) -> plots.Curve:
        return plots.Curve(name="c", x=tuple(range(1, len(y) + 1)), y=y)

    assert paper.accuracy_range([curve(10.0, 99.0, 99.5)]) is None and paper.accuracy_range([]) is None
    long = curve(20.0, 30.0, *(90.0 + k / 2 for k in range(18)))  # of 20 epochs the first two are left out: 90 to 98.5
    assert paper.accuracy_range([long]) == pytest.approx((90 - 0.425, 98.5 + 0.425))
    assert paper.accuracy_range([curve(*[99.9] * 10)]) == pytest.approx((99.4, 100.0))
    assert paper.accuracy_range([long, curve(95.0)]) == pytest.approx((90 - 0.425, 98.5 + 0.425))  # one that was pruned at once


@pytest.mark.parametrize(
    ("designs", "text"),
    [
        (["fixed", "exp-decay", "one-cycle", "warm-restarts", "adabatch", "wab", "ws", "wab+ws"], ""),
        (
            ["fixed", "exp-decay", "one-cycle", "warm-restarts", "adabatch", "wab"],
            "has not measured ws, wab+ws: table 4b is without them",
        ),
        (
            ["exp-decay", "one-cycle", "warm-restarts", "adabatch", "wab", "ws", "wab+ws"],
            "has not measured fixed: figure 4a and table 4b are without them, and has no times relative to fixed",
        ),
        (["ws", "wab+ws"], "figure 4a is left out, table 4b is without them, and has no times relative to fixed"),
        (["lr_policy=one-cycle batch_schedule=128"], "figure 4a and table 4b are left out"),
    ],
)
def test_what_a_study_lacks_is_said(designs: list[str], text: str) -> None:
    lacking = paper.lacking(paper_info_of(*(named_row(k, name, [[90.0]], 1.0) for k, name in enumerate(designs))))
    assert lacking.endswith(text) and bool(lacking) == bool(text)


def test_figures_for_print_stand_alone() -> None:
    info = paper_info_of(FIXED, WAB, WS)
    names = [d.curve.name for d in info.rate]
    figure = plots.rate_figure(plots.CurvesInfo(accuracy=(), rate=tuple(d.curve for d in info.rate)))
    export.curves_for_print(figure, names, [d.color for d in info.rate], (1.0, 2.0))
    assert [trace.name for trace in figure.data] == ["0, 2: fixed", "1: wab · b1-&gt;16"] and figure.layout.showlegend
    assert [trace.line.color for trace in figure.data] == list(plots.COLORS[:2])
    assert tuple(figure.layout.xaxis.range) == (0, 3) and figure.layout.yaxis.range == (1.0, 2.0)
    scatter = plots.pareto_info(TRIALS, front_of(TRIALS, OBJECTIVES), OBJECTIVES)
    flat = export.for_print(export.flat_pareto(scatter))
    assert {trace.type for trace in flat.data} == {"scatter"} and flat.data[1].name == "Pareto front of acc, time, params (1)"
    assert (flat.layout.xaxis.title.text, flat.layout.yaxis.title.text) == ("accuracy (%)", "time to max accuracy (s)")
