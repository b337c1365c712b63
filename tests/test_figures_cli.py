"""The figures of a study on the command line: in the terminal, as files for a paper."""

from __future__ import annotations

import csv
import re
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fastrcaps_dse import store
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.figures import export, plots
from fastrcaps_dse.figures.export import ImageSize
from fastrcaps_dse.problem.objectives import Measurement, parse_objectives, selected_epoch
from fastrcaps_dse.problem.space import design_to_dict, parse_design
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.search.optuna_storage import open_optuna_study, open_storage
from fastrcaps_dse.store import Store
from tests.conftest import Command
from tests.synthetic import epoch_row

SHAPE = {"channels": 1, "height": 28, "width": 28, "classes": 10}


def write_study(path: Path, curves: Mapping[str, Sequence[Sequence[float]]], seconds: Mapping[str, float]) -> None:
    """A study in the database `path`: for each design the accuracies of each seed's epochs, and the seconds of an epoch."""
    epochs = max((len(run) for runs in curves.values() for run in runs), default=1)
    spec = parse_study(f"epochs = {epochs}\nseeds = {max(map(len, curves.values()), default=1)}\n", default_name="small")
    url = store.parse_url(str(path))
    study = open_optuna_study(spec, open_storage(url))
    ours = Store(url, create=True)
    row = {"identity": spec.identity(), "spec_text": "", "target_trials": 3, "dataset_fingerprint": "0", "image_shape": SHAPE}
    ours.add_study(row | {"study_id": study.study_id, "train_images": 1600})
    for trial, (design, runs) in enumerate(curves.items()):
        point = parse_design(design)
        for seed, accuracies in enumerate(runs):
            run = ours.claim_run(study.study_id, trial, design_to_dict(point), point.key, seed)
            for k, acc in enumerate(accuracies):
                ours.set_epoch(run.run_id, run.attempt, epoch_row(k + 1, acc, seconds[design]))
            selected = selected_epoch(accuracies)
            params = 6_708_400 if point.weight_sharing else 8_215_728
            measured = Measurement(
                values={"acc": max(accuracies), "time": selected * seconds[design], "params": params}, selected_epoch=selected
            )
            ours.finish_run(run.run_id, run.attempt, measured, 1.0, None)
    ours.close()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A database with a study of three named designs and one without a name."""
    curves = {"fixed": [[90.0, 96.0, 95.0]], "wab": [[94.0, 97.0, 98.0]], "ws": [[85.0, 90.0, 91.0]]}
    seconds = {"fixed": 10.0, "wab": 15.0, "ws": 8.0, "lr_policy=one-cycle batch_schedule=128": 5.0}
    path = tmp_path / "small.db"
    write_study(path, curves | {"lr_policy=one-cycle batch_schedule=128": [[80.0, 81.0, 80.0]]}, seconds)
    return path


FIGURES = ["fig4a-accuracy", "fig8ab-pareto", "fig8ab-pareto-flat", "fig8c-accuracy", "fig8d-learning-rate"]
PRINTED = [
    "fig4a-accuracy",
    *(f"fig8ab-pareto-{pair}" for pair in ("acc-params", "acc-time", "time-params")),
    "fig8c-accuracy",
    "fig8d-learning-rate",
]
TABLES = ["key.csv", "fig4b-speed.csv", "fig4b-speed.md"]


# --- in the terminal ----------------------------------------------------------------------------------------------------


def test_the_front_is_plotted_above_the_table(command: Command, small: Path) -> None:
    said = command("front", "--plot", "--storage", small)
    plot, _, table = said.out.partition("\n\n")
    assert said.code == 0 and plot.startswith("time to max accuracy (s), logarithmic\n")
    assert all(re.search(rf"◆{trial}\b", plot) for trial in range(4)) and plot.count("◆") == 5
    assert "accuracy (%)" in plot and "95.00 %" in plot and max(map(len, plot.splitlines())) == 100
    assert plot.endswith("◆ on the Pareto front of acc, time, params (4)   • dominated (0)")
    assert table == command("front", "--storage", small).out


def test_the_objectives_choose_the_axes(command: Command, small: Path) -> None:
    plot = command("front", "--plot", "--objectives", "params,acc", "--storage", small).out
    assert plot.startswith("accuracy (%)\n") and "trainable parameters\n" in plot and "7,000,000" in plot
    assert re.search(r"◆1\b", plot) and "•" in plot and "of params, acc (2)" in plot
    assert "◆3" in command("front", "--plot", "--objectives", "time", "--storage", small).out


def test_a_plot_of_nothing(command: Command, tmp_path: Path) -> None:
    write_study(tmp_path / "none.db", {}, {})
    said = command("front", "--plot", "--storage", "none.db")
    assert said.code == 0 and not said.out and "has no finished design yet" in said.err
    figures_ = command("report", "--figures", "out", "--format", "html", "--storage", "none.db")
    assert figures_.code == 2 and "has no measured design yet" in figures_.err and not (tmp_path / "out").exists()


# --- as files -------------------------------------------------------------------------------------------------------------


def test_figures_as_html(command: Command, small: Path, tmp_path: Path) -> None:
    said = command("report", "--figures", "out", "--format", "html", "--storage", small)
    names = [f"{name}.html" for name in FIGURES] + TABLES
    assert said.code == 0 and said.out.splitlines() == [f"out/{name}" for name in names]
    assert said.err == (
        "small has not measured exp-decay, one-cycle, warm-restarts, adabatch, wab+ws: "
        "figure 4a and table 4b are without them\n"
    )
    for name in FIGURES:
        page = (tmp_path / "out" / f"{name}.html").read_text(encoding="utf-8")
        assert "Plotly.newPlot" in page and not re.search(r"<(?:script|link)[^>]+(?:src|href)=", page)
    assert not (tmp_path / "reports").exists()  # the report itself is not what was asked for


def test_the_table_of_speeds(command: Command, small: Path, tmp_path: Path) -> None:
    assert command("report", "--figures", "out", "--format", "html", "--storage", small).code == 0
    with (tmp_path / "out/fig4b-speed.csv").open(encoding="utf-8", newline="") as file:
        rows = {row.pop("design"): row for row in csv.DictReader(file)}
    # fixed: its highest in epoch 2 of 10 s; wab: in epoch 3 of 15 s, past 96 in epoch 2; ws: in epoch 3 of 8 s, never at 96
    assert list(rows) == ["fixed", "wab", "ws"] and rows["fixed"]["time_s"] == "20.0"
    names = ("max_acc_percent", "epochs_to_max_acc", "time_s", "time_by_fixed", "epochs_to_max_acc_of_fixed")
    assert [rows["wab"][name] for name in names] == ["98.0", "3.0", "45.0", "2.25", "2"]
    assert [rows["ws"][name] for name in names] == ["91.0", "3.0", "24.0", "1.2", ""]
    lines = (tmp_path / "out/fig4b-speed.md").read_text(encoding="utf-8").splitlines()
    assert "| wab | 98.00 | 3 | 45.0 | 2.25 | 2 | 1 |" in lines and "mnist-sample, 3 epochs" in lines[-1]


def test_a_study_without_named_designs(command: Command, tmp_path: Path) -> None:
    design = "lr_policy=one-cycle batch_schedule=128"
    write_study(tmp_path / "one.db", {design: [[80.0]]}, {design: 1.0})
    said = command("report", "--figures", "out", "--format", "html", "--objectives", "acc,time", "--storage", "one.db")
    assert said.code == 0 and said.err.endswith("figure 4a and table 4b are left out\n")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "fig8ab-pareto.html",
        "fig8c-accuracy.html",
        "fig8d-learning-rate.html",
        "key.csv",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["front", "--plot", "--json"], 2, "--plot is for reading"),
        (["report", "--figures", "out", "--format", "pgn"], 2, "unknown format 'pgn'"),
        (["report", "--format", "png"], 2, "are of figures"),
        (["report", "--width", "300"], 2, "are of figures"),
        (["report", "--figures", "out", "--out", "x.html"], 2, "--out names the report"),
        (["report", "--figures", "out", "--width", "0"], 2, "width must be 100 to 10,000 pixels, got 0"),
        (["report", "--figures", "out", "--height", "20000"], 2, "height must be 100 to 10,000 pixels"),
        (["report", "--figures", "out", "--format", "html", "--width", "300"], 2, "as large as its window"),
        (["report", "--figures", "/proc/none", "--format", "html"], 1, "cannot be written"),
    ],
)
def test_wrong_input_is_one_clear_line(command: Command, small: Path, arguments: list[str], code: int, message: str) -> None:
    said = command(*arguments, "--storage", small)
    lines = said.err.splitlines()
    assert said.code == code and not said.out and len(lines) == 2
    assert lines[0].startswith("error: ") and message in lines[0] and lines[1].startswith("hint: ")


def test_without_a_browser_nothing_is_written(
    command: Command, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(export.BROWSER, raising=False)
    monkeypatch.setattr(export, "BROWSERS", ("no-such-browser",))
    said = command("report", "--figures", "out", "--storage", small)
    assert said.code == 1 and "rendered by a browser, and none was found" in said.err and "--format html" in said.err
    monkeypatch.setenv(export.BROWSER, "no-such-browser")
    said = command("report", "--figures", "out", "--storage", small)
    assert said.code == 2 and "FASTRCAPS_BROWSER names no-such-browser, which is not a program" in said.err
    assert not said.out and not (tmp_path / "out").exists()


# --- the browser ----------------------------------------------------------------------------------------------------------


def scatter() -> plots.ParetoInfo:
    values = {"acc": 99.0, "time": 12.0, "params": 5.0}
    point = plots.ParetoPoint(trial=0, label="</script><b>", values=values, on_front=True)
    return plots.ParetoInfo(objectives=parse_objectives("acc,time,params"), points=(point,))


def fake_browser(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_what_a_page_says_is_read() -> None:
    said = '<pre data-figure="a">data:image/png;base64,aGk=</pre><pre data-figure="b">data:image/svg+xml,%3Csvg%2F%3E</pre>'
    assert export.images_in(f"<body>{said}</body>") == {"a": b"hi", "b": b"<svg/>"}
    with pytest.raises(MachineError, match="c was not rendered: failed: no <WebGL>"):
        export.images_in('<pre data-figure="c">failed: no &lt;WebGL&gt;</pre>')


def test_the_page_holds_all_and_no_text_of_a_figure_ends_it() -> None:
    page = export.image_page({"</script>": plots.pareto_figure(scatter())}, "svg", ImageSize(width=1000, height=500))
    work = re.search(r"<script id='work' type='application/json'>(.*?)</script>", page, flags=re.S)
    assert work is not None and "<" not in work[1] and '"width": 800, "height": 400.0, "scale": 1.25' in work[1]
    assert not re.search(r"<(?:script|link)[^>]+(?:src|href)=", page)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 7", "ended with code 7"),
        ("echo '<html></html>'", "did not render one"),
        ("sleep 60", "rendered nothing within 0 s"),
        ("sleep 60 & sleep 60", "rendered nothing within 0 s"),  # with a child that would hold the pipe open
    ],
)
def test_a_browser_that_renders_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str) -> None:
    monkeypatch.setenv(export.BROWSER, fake_browser(tmp_path / "browser", script))
    began = time.monotonic()
    with pytest.raises(MachineError, match=message) as error:
        export.render_images(
            {"one": plots.pareto_figure(scatter())}, "png", ImageSize(), patience=0.3 if "sleep" in script else 30
        )
    assert "--format html" in error.value.hint and time.monotonic() - began < 30


def test_a_program_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "browser"
    broken.write_bytes(b"\x7fELF no program")
    broken.chmod(0o755)
    monkeypatch.setenv(export.BROWSER, str(broken))
    with pytest.raises(MachineError, match="cannot be started"):
        export.render_images({"one": plots.pareto_figure(scatter())}, "png", ImageSize())
    with pytest.raises(InputError, match="width must be 100 to 10,000 pixels, got 1"):
        ImageSize(width=1)


@pytest.mark.browser
@pytest.mark.usefixtures("browser")
def test_figures_as_png_have_the_size_that_was_asked_for(command: Command, small: Path, tmp_path: Path) -> None:
    said = command("report", "--figures", "out", "--format", "png", "--width", 601, "--height", 403, "--storage", small)
    assert said.code == 0 and said.out.splitlines() == [f"out/{name}" for name in [*(f"{n}.png" for n in PRINTED), *TABLES]]
    for name in PRINTED:
        data = (tmp_path / "out" / f"{name}.png").read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", data[16:24]) == (601, 403)
        assert len(data) > 4000


@pytest.mark.browser
@pytest.mark.usefixtures("browser")
def test_figures_as_svg_are_vectors_with_their_texts(command: Command, small: Path, tmp_path: Path) -> None:
    said = command("report", "--figures", "out", "--width", 1600, "--no-error", "--storage", small)
    assert said.code == 0
    texts = {name: (tmp_path / "out" / f"{name}.svg").read_text(encoding="utf-8") for name in PRINTED}
    for text in texts.values():
        assert re.match(r'<svg [^>]*width="1600" height="1000"', text) and text.rstrip().endswith("</svg>")
        assert "<image" not in text and "http://www.w3.org/2000/svg" in text
    for name in ("fixed", "wab", "accuracy (%)", "epoch"):
        assert f">{name}</t" in texts["fig4a-accuracy"]
    assert "time to max accuracy (s)" in texts["fig8ab-pareto-acc-time"]
    assert "0, 2: fixed" in texts["fig8d-learning-rate"]
