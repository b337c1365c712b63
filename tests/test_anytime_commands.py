"""The anytime view on the command line, in tables, figures and Python: against every epoch of every run, looked at one by one."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from fastrcaps_dse import data, session, store, trainer
from fastrcaps_dse.analysis import chance
from fastrcaps_dse.analysis.annealing import is_cut_short
from fastrcaps_dse.analysis.pareto import dominates
from fastrcaps_dse.analysis.uncertainty import standings
from fastrcaps_dse.analysis.views import results_of, rows_of
from fastrcaps_dse.capsnet.sizes import ImageShape, static_objectives
from fastrcaps_dse.figures.plots import pareto_figure, pareto_info
from fastrcaps_dse.figures.stops import runs_of
from fastrcaps_dse.problem.objectives import costs_of, parse_objectives
from fastrcaps_dse.problem.rates import learning_rate
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.timelines import build_timeline
from fastrcaps_dse.store import Store, TrialRow
from fastrcaps_dse.trainer import Training
from tests.conftest import Command
from tests.sessions import explored
from tests.sessions import opened as opened_study
from tests.synthetic import write_study

DESIGN = "lr_policy=fixed batch_schedule=8 decoder=small shift=0"
Stops = dict[tuple[int, int], dict[str, float]]
EPOCHS = 6


def every_epoch(ours: Store) -> Stops:
    """What one has of each design after each epoch, by (trial, epochs): the means of what its runs have reached by then."""
    row, found = ours.study(), Stops()
    epochs = ours.epochs_of(row.study_id)
    for trial in ours.trials(row):
        curves = [epochs[run.run_id] for run in trial.runs if run.state != "failed"]
        fixed = static_objectives(trial.design, ImageShape(**row.image_shape))
        for done in range(1, max(map(len, curves), default=0) + 1):
            reached: list[Mapping[str, float]] = [
                {
                    "acc": max(e.acc for e in curve[:done]),
                    "time": sum(e.counted_seconds for e in curve[:done]),
                    "epochs": float(done),
                    "time_to:97": next(
                        (sum(e.counted_seconds for e in curve[: k + 1]) for k, e in enumerate(curve[:done]) if e.acc >= 97), 1e9
                    ),
                }
                for curve in curves
            ]
            means = {name: statistics.fmean(values[name] for values in reached) for name in reached[0]}
            found[trial.trial, done] = means | {name: float(value) for name, value in fixed.items()}
    return found


def front_by_hand(every: Stops, names: str) -> list[tuple[int, int]]:
    """The stops that none dominates, the most accurate first."""
    costs = {key: costs_of(parse_objectives(names), values) for key, values in every.items()}
    members = [key for key, cost in costs.items() if not any(dominates(other, cost) for other in costs.values())]
    return sorted(members, key=lambda key: -every[key]["acc"])


def rises(every: Stops) -> list[tuple[int, int]]:
    """The stops that are more accurate than all earlier ones of their design."""
    return [
        (t, done) for (t, done), v in every.items() if all(every[t, k]["acc"] < v["acc"] for k in range(1, done))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies of the same designs, with runs under way and a failed one: `reached` has an objective that whole runs lack."""
    path = tmp_path_factory.mktemp("anytime") / "s.db"
    how: dict[str, Any] = {"epochs": EPOCHS, "running": 2, "failed": 1}
    write_study(path, 9, name="reached", objectives="acc,time_to:97,epochs", **how).close()
    write_study(path, 9, **how).close()
    return path


@pytest.fixture(scope="module")
def every(place: Path) -> Iterator[Stops]:
    with closing(opened(place)) as ours:
        yield every_epoch(ours)


def opened(place: Path) -> Store:
    return Store(store.parse_url(str(place)))


def keys_of(records: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(int(r["trial"]), int(r["stop_after"])) for r in records]


@pytest.mark.parametrize("names", ["acc,time,params", "acc,time_to:97,epochs", "acc,macs,memory"])
def test_the_front_is_that_of_all_epochs(command: Command, place: Path, every: Stops, names: str) -> None:
    study = "reached" if "97" in names else "synthetic"
    said = command("front", "--anytime", "--csv", "--objectives", names, "--study", study, "--storage", place)
    records = [*csv.DictReader(io.StringIO(said.out))]
    assert keys_of(records) == front_by_hand(every, names) and {r["epochs_in_all"] for r in records} == {str(EPOCHS)}
    for record in records:
        values = every[int(record["trial"]), int(record["stop_after"])]
        assert {n: float(record[n]) for n in ("acc", "time", "params")} == pytest.approx(
            {n: values[n] for n in ("acc", "time", "params")}
        )
        assert "epoch" not in record["label"]  # it has columns of its own
    assert ("one-cycle anneals over all 6 epochs: where a run stops early" in said.err) == any(
        r["lr_policy"].startswith("one-cycle") and int(r["stop_after"]) < EPOCHS for r in records
    )


def test_json_says_which_view(command: Command, place: Path, every: Stops) -> None:
    found = json.loads(command("front", "--anytime", "--json", "--storage", place).out)
    assert found["view"] == "anytime" and keys_of(found["designs"]) == front_by_hand(every, "acc,time,params")
    whole = json.loads(command("front", "--json", "--storage", place).out)
    assert whole["view"] == "whole runs" and {d["stop_after"] for d in whole["designs"]} == {None}
    assert whole == json.loads(command("front", "--json", "--whole-runs", "--storage", place).out)
    everything = json.loads(command("trials", "--anytime", "--json", "--storage", place).out)
    assert everything["view"] == "anytime" and keys_of([t for t in everything["trials"] if t["stop_after"]]) == rises(every)


def test_tables_for_reading_and_for_papers(
    command: Command, place: Path, every: Stops, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = front_by_hand(every, "acc,time,params")
    arguments = ("front", "--anytime", "--storage", place)
    said = command(*arguments, "--plot").out
    assert f"synthetic: {len(front)} of {len(rises(every))} designs and epochs on the Pareto front (acc, time, params)" in said
    stops = [f"{done} of {EPOCHS}" for _, done in front]
    rows = said[said.index("stop after  lr") :].splitlines()[1:]
    assert len(rows) == len(front) and all(stop in row for stop, row in zip(stops, rows, strict=True))
    assert "training time (s)" in command(*arguments, "--plot", "--objectives", "time,acc").out
    for form in ("markdown", "latex"):
        printed = command(*arguments, "--format", form).out
        assert all(stop in printed for stop in stops)
    monkeypatch.setenv("COLUMNS", "100")
    narrow = command(*arguments)
    assert all(stop in narrow.out for stop in stops) and "left out for lack of room" in narrow.err


@pytest.mark.parametrize("budget", [15, 40, 90, 400])
def test_the_pick_is_the_most_accurate_design_and_epoch_in_time(
    command: Command, place: Path, every: Stops, budget: int
) -> None:
    arguments = ("pick", "--anytime", "--max-time", f"{budget}s", "--storage", place)
    fitting = [key for key, values in every.items() if values["time"] <= budget]
    best = max(fitting, key=lambda key: (every[key]["acc"], -every[key]["time"]))
    found = json.loads(command(*arguments, "--json").out)
    assert found["view"] == "anytime" and keys_of([found["pick"]]) == [best] and found["nearest_miss"] is None
    many = [key for key in rises(every) if every[key]["time"] <= budget]
    assert f"of {len(many)} designs and epochs within time" in found["why"][0]
    stop = f", all {EPOCHS} epochs" if best[1] == EPOCHS else f", stop after epoch {best[1]} of {EPOCHS}"
    assert found["pick"]["label"].endswith(stop) and found["why"][0].startswith(found["pick"]["label"])
    assert f"of the other {len(rises(every)) - 1} designs and epochs, and none" in found["why"][1]
    said = command(*arguments).out
    trial, done = best
    assert f"export {trial} --stop-after {done} --study synthetic --storage {place} --out DIR" in said


def test_the_nearest_miss_is_a_design_and_an_epoch(command: Command, place: Path, every: Stops) -> None:
    arguments = ("pick", "--anytime", "--max-time", "1s", "--storage", place)
    nearest = min(every, key=lambda key: every[key]["time"])
    said, found = command(*arguments), command(*arguments, "--json")
    record = json.loads(found.out)
    assert said.code == found.code == 3 and record["pick"] is None and keys_of([record["nearest_miss"]]) == [nearest]
    assert f"trial {nearest[0]}: " in said.out and f"stop after epoch {nearest[1]} of {EPOCHS}" in said.out
    assert f"none of the {len(rises(every))} designs and epochs satisfies" in said.err


def test_one_design_with_its_stops(command: Command, place: Path, every: Stops) -> None:
    running = max(trial for trial, _ in every)
    for trial in (0, running):
        stops = [done for t, done in rises(every) if t == trial]
        found = json.loads(command("show", trial, "--anytime", "--json", "--storage", place).out)
        assert [stop["stop_after"] for stop in found["stops"]] == stops and found["view"] == "anytime"
        said = command("show", trial, "--anytime", "--storage", place).out
        assert [f"  stop after epoch {k} of" in said or f"  all {k} epochs: " in said for k in stops] == [True] * len(stops)
    assert "stops" not in json.loads(command("show", 0, "--json", "--storage", place).out)


def test_a_study_is_seen_as_it_was_started(command: Command, tmp_path: Path) -> None:
    write_study(tmp_path / "a.db", 4, anytime=True).close()
    for arguments in (("front", "--json"), ("pick", "--json"), ("show", "1", "--json"), ("trials", "--json")):
        assert json.loads(command(*arguments, "--storage", "a.db").out)["view"] == "anytime"
    assert json.loads(command("front", "--json", "--whole-runs", "--storage", "a.db").out)["view"] == "whole runs"
    (study,) = json.loads(command("studies", "--json", "--storage", "a.db").out)
    front = json.loads(command("front", "--json", "--storage", "a.db").out)["designs"]
    assert (study["designs"], study["front"]) == (4, len(front)) and len(front) > 4


def test_exported_tables(command: Command, place: Path, every: Stops, tmp_path: Path) -> None:
    for form, read in (("csv", pd.read_csv), ("json", pd.read_json)):
        command("export-study", tmp_path / form, "--anytime", "--format", form, "--storage", place)
        trials = read(tmp_path / form / f"trials.{form}").dropna(subset=["stop_after"])
        assert [*zip(trials["trial"], trials["stop_after"].astype(int), strict=True)] == rises(every)
        runs, epochs = (read(tmp_path / form / f"{name}.{form}") for name in ("runs", "epochs"))
        assert len(runs) == 12 and len(epochs) == len(every) + EPOCHS // 2  # of the failed run, too
        assert json.loads((tmp_path / form / "study.json").read_text())["view"] == "anytime"


def test_objectives_that_are_not_known_yet_are_told(command: Command, tmp_path: Path) -> None:
    write_study(tmp_path / "s.db", 3, running=1, objectives="acc,latency").close()
    said = command("front", "--anytime", "--storage", "s.db")
    assert said.code == 0 and not said.out and "4 designs left out: an objective is measured only when a run" in said.err


def test_python_has_both_views(place: Path, every: Stops) -> None:
    found = session.results(storage=str(place), anytime=True)
    stops = found.trials.dropna(subset=["stop_after"])
    assert [*zip(stops["trial"], stops["stop_after"], strict=True)] == rises(every) and str(
        stops["stop_after"].dtype
    ) == "Int64"
    whole = session.results(storage=str(place))
    assert "stop_after" not in whole.trials and len(whole.trials) == 12
    assert found.runs.equals(whole.runs) and found.epochs.equals(whole.epochs)


def test_lines_join_the_epochs_of_a_design(place: Path, every: Stops) -> None:
    with closing(opened(place)) as ours:
        row = ours.study()
        found, whole = results_of(ours, row, anytime=True), rows_of(ours, row)
    info = pareto_info(found.rows, [], row.objectives)
    lines = {run[0].trial: [p.stop_after for p in run] for run in runs_of(info.points)}
    assert lines == {t: [done for other, done in rises(every) if other == t] for t in {t for t, _ in every}}
    figure = pareto_figure(info)
    assert [trace.mode for trace in figure.data] == ["lines", "markers", "markers+text"]
    assert [*figure.data[0].y].count(None) == len(lines) and figure.layout.scene.yaxis.title.text == "training time (s)"
    assert len(pareto_figure(pareto_info(whole, [], row.objectives)).data) == 2


def test_figures_for_a_paper(command: Command, place: Path, every: Stops) -> None:
    arguments = ("report", "--figures", "f", "--format", "html", "--objectives", "acc,time", "--storage", place)
    said = command(*arguments, "--anytime")
    assert said.code == 0, said.err
    key = [*csv.DictReader(io.StringIO(Path("f/key.csv").read_text(encoding="utf-8")))]
    assert {*keys_of(key)} == {*front_by_hand(every, "acc,time")} and "epochs of a design" in Path(
        "f/fig8ab-pareto.html"
    ).read_text()
    command(*arguments)
    assert "stop_after" not in Path("f/key.csv").read_text()


@pytest.mark.usefixtures("small_capsnet")
def test_the_network_of_a_pick_is_that_of_its_epoch(tiny: Path, tmp_path: Path) -> None:
    """With weights that are not kept: the study is one of whole runs."""
    space = '[space]\nlr_policy = ["fixed"]\nbatch_schedule = [8]\nweight_sharing = [false]\ndecoder = ["small"]\nshift = [0]\n'
    spec = parse_study(f'dataset = "{tiny}"\nepochs = 2\nfirst = []\n{space}', default_name="whole")
    images = torch.rand(3, 1, 17, 17, generator=torch.Generator().manual_seed(0))
    with opened_study(tmp_path, spec) as study:
        explored(study, trials=1)
        picked = session.pick_design(study, ["epochs<=1"], anytime=True)
        assert picked.trial is not None and picked.trial.key == (0, 1) == (picked.pick.trial, picked.pick.stop_after)
        scores = session.load_network(study, picked.trial).scores(images)
        assert len(session.plot_front(study, anytime=True).data) >= 2
    once = Training(parse_design(DESIGN), 0, data.load(str(tiny)), epochs=2, device=torch.device("cpu"))
    once.run_epoch()
    once.save_weights(tmp_path / "oracle.safetensors")
    shape = ImageShape(channels=1, height=17, width=17, classes=3)
    oracle = trainer.load_network(tmp_path / "oracle.safetensors", parse_design(DESIGN), shape)
    assert torch.equal(scores, oracle.scores(images))
    loaded = session.load_picked(str(tmp_path / "s.db"), limits=["epochs<=1"], anytime=True)
    assert torch.equal(loaded(images), scores)


def test_a_pick_exports_its_epoch(command: Command, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hands on the design and epoch that it has picked; what an export writes of one is tested elsewhere."""
    exported: list[TrialRow] = []
    monkeypatch.setattr("fastrcaps_dse.session.exporting.export_design", lambda *what, **_: exported.append(what[2]))
    said = command("pick", "--anytime", "--max-time", "40s", "--export", "out", "--json", "--storage", place)
    assert [row.key for row in exported] == keys_of([json.loads(said.out)["pick"]]) and said.err == "exported: out\n"


# --- what the view has to know ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["16", "adabatch", "adabatch-p"])
@pytest.mark.parametrize(
    "policy",
    [
        *("fixed", "exp-decay", "one-cycle", "warm-restarts", "warm-restarts(cycle=4)", "warm-restarts-poly(cycle=phase)"),
        *("fine-tune(tail_lr=1e-4)", "fine-tune(tail_lr=1e-4,tail=0.63)", "fine-tune(tail_lr=1e-3)"),
    ],
)
def test_a_run_is_cut_short_before_its_rate_is_down(policy: str, schedule: str) -> None:
    design = parse_design(f"lr_policy={policy} batch_schedule={schedule}")
    line = build_timeline(design.batch_schedule, epochs=20, images=333)
    for done in range(1, 20):
        last = line.first_step(done) - 1
        is_down = learning_rate(design.lr_policy, last, line) < 1.3e-4  # of a restart, from 1e-3 to 1e-4
        falls = policy.startswith("warm") or (policy.startswith("fine-tune") and "1e-3" not in policy)
        expected = not is_down if falls else policy == "one-cycle"
        assert is_cut_short(design, stop_after=done, epochs=20, images=333) == expected, done
    assert not is_cut_short(design, stop_after=20, epochs=20, images=333)


def test_a_run_is_counted_once_against_guessing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of its epochs are listed, it was evaluated after each of them once."""
    counts: list[int] = []
    monkeypatch.setattr(chance, "is_at_chance", lambda acc, guess, evaluations: counts.append(evaluations))
    with closing(opened(place)) as ours:
        for anytime in (False, True):
            chance.chance_note(ours.study(), rows_of(ours, ours.study(), anytime))
    assert counts == [9 * EPOCHS, 11 * EPOCHS]  # the anytime view has the two runs under way, too


def test_epochs_of_one_run_share_their_luck() -> None:
    """A design dominates none of its own epochs: a later one is more accurate, an earlier one quicker."""
    luck, keys = (-0.4, 0.1, 0.0, 0.3), [(0, 1), (0, 2), (0, 3)]
    rows = [[[-(90 + done + 2 * off), float(done)] for off in luck] for done in (1, 2, 3)]
    assert [s.on_front for s in standings(rows, keys=keys)] == [1, 1, 1]
    assert min(s.on_front or 0 for s in standings(rows)) < 0.99


def test_the_spread_is_that_of_as_many_epochs() -> None:
    """After many epochs the seeds differ less. Where too few designs have so many, the next ones tell."""
    luck = (-0.4, 0.1, 0.0, 0.3)
    rows = [[[90 + done + off / done] for off in luck] for done in (1, 2)] + [
        [[95.0], [95.5]],
        [[99.0 + off / 3] for off in luck],
    ]
    found = standings(rows, keys=[(0, 1), (0, 2), (1, 7), (0, 3)])
    spread = statistics.stdev(luck)
    for standing, done in zip([found[0], found[1], found[3]], (1, 2, 3), strict=True):
        assert standing.error == pytest.approx((spread / done / 2,))
    pooled = ((0.5**2 / 2 + 3 * (spread / 3) ** 2) / 4) ** 0.5  # of its own two seeds, and of the four of epoch 3
    assert found[2].error == pytest.approx((pooled / 2**0.5,))
