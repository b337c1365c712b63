"""`export` and `pick --export`: what a folder holds, that it is whole or not there, and what its card says."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import safetensors
import torch
import yaml  # type: ignore[import-untyped]
from PIL import Image

from fastrcaps_dse import data
from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.export import checking, files, model_card, runtimes
from fastrcaps_dse.export.folder import CARD, new_folder
from fastrcaps_dse.figures.plots import ParetoInfo, ParetoPoint
from fastrcaps_dse.problem.objectives import parse_objectives
from fastrcaps_dse.session import load_exported
from tests.conftest import Answer, Command
from tests.exporting import LENET, SHARED, explored_study, noisy_images, opened
from tests.sessions import small_sizes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_capsnet", "one_onnx_registry")]

HUB_KEYS = {"license", "library_name", "pipeline_tag", "tags", "datasets", "metrics", "model-index"}
"""Keys of the hub's model-card metadata that are used here."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noisy_images(tmp_path_factory.mktemp("data") / "noisy")


@pytest.fixture(scope="module")
def database(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two designs with two seeds each."""
    with small_sizes():
        return explored_study(tmp_path_factory.mktemp("export"), images, trials=2, seeds=2, epochs=2)


@pytest.fixture(scope="module")
def exported(database: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An export of the front's most accurate design, by session functions, and its card."""
    from fastrcaps_dse.export.source import Options
    from fastrcaps_dse.session.exporting import export_design, pick_trial

    out = tmp_path_factory.mktemp("exported") / "out"
    with small_sizes():
        ours = opened(database)
        row = ours.study()
        made = export_design(ours, row, pick_trial(ours, row), out, Options(half=True, int8=True, tolerance=10, license="mit"))
    return out, made


# --- what is written --------------------------------------------------------------------------------------------------


def test_pick_exports(command: Command, database: Path, tmp_path: Path) -> None:
    said = command("pick", "--storage", database, "--export", tmp_path / "mine")
    assert said.code == 0 and f"exported: {tmp_path / 'mine'}" in said.err and "why:" in said.out
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    assert names == {"model.safetensors", "model.pt2", "model.onnx", "README.md", "card.json", "front.png"}
    for name in ("model.safetensors", "model.pt2", "model.onnx"):
        assert re.search(rf"^{re.escape(name)}: 24 test images, the same classes, [\d.]+ %, scores within \d", said.err, re.M)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]  # nothing is left beside it


def test_the_files_compute_what_the_card_says(exported: tuple[Path, dict[str, Any]], images: Path) -> None:
    out, made = exported
    test = data.load(str(images)).test
    assert json.loads((out / CARD).read_text()) == made
    network = load_exported(out)
    expected = network.scores_of(test.images)
    right = 100 * float((expected.argmax(1) == test.labels).sum()) / len(test)
    assert made["accuracy"]["test"] == right and 20 < right < 100
    assert set(made["files"]) == {path.name for path in out.glob("model*")} and len(made["files"]) == 6
    for name, known in made["files"].items():
        assert known["sha256"] == hashlib.sha256((out / name).read_bytes()).hexdigest()
        assert known["bytes"] == (out / name).stat().st_size and known["images"] == len(test)
        if name.endswith(".safetensors"):
            assert known["largest_difference"] < 2e-6  # another batch size has another convolution algorithm
            continue
        run = runtimes.load_onnx(out / name) if name.endswith(".onnx") else runtimes.load_program(out / name)
        scores, classes = run(test.images)
        assert known["accuracy"] == 100 * float((classes == test.labels).sum()) / len(test) or "int8" in name
        exact = known["numbers"] == "float32"
        assert float((scores - expected).abs().max()) < (known["bound"] if exact else 0.1)
        assert not exact or (known["accuracy"] == right and known["bound"] == pytest.approx(2e-5))


def test_the_card_says_what_the_study_has(exported: tuple[Path, dict[str, Any]], database: Path) -> None:
    _, made = exported
    ours = opened(database)
    row = ours.study()
    trial = next(t for t in ours.trials(row) if t.trial == made["trial"])
    run = next(r for r in trial.runs if r.weights)
    assert run.measurement is not None and trial.measurement is not None
    assert made["accuracy"]["test_when_trained"] == run.measurement.test_acc == made["accuracy"]["test"]
    tests = [r.measurement.test_acc or 0.0 for r in trial.runs if r.measurement]
    assert made["accuracy"]["test_mean"] == pytest.approx(np.mean(tests)) and made["accuracy"]["seeds"] == 2
    assert made["accuracy"]["test_error"] == pytest.approx(np.std(tests, ddof=1) / np.sqrt(2))
    assert made["values"] == dict(trial.measurement.values) and made["design_key"] == trial.design.key
    assert (made["seed"], made["epoch"]) == (run.seed, run.measurement.selected_epoch)
    assert made["dataset"]["name"] == "noisy" and made["dataset"]["test_images"] == 24
    assert str(database.parent) not in json.dumps(made)  # no path of this machine


def test_the_weights_say_what_they_are(exported: tuple[Path, dict[str, Any]]) -> None:
    out, made = exported
    with safetensors.safe_open(out / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["design"] == made["design_key"] and json.loads(metadata["classes"]) == ["0", "1", "2"]
    assert json.loads(metadata["shape"]) == {"channels": 1, "height": 17, "width": 17, "classes": 3}
    assert json.loads(metadata["scaling"])["divide_by"] == 255 and "torch" in metadata["software"]
    assert (metadata["study"], metadata["seed"], metadata["epoch"]) == ("small", str(made["seed"]), str(made["epoch"]))
    extra = {"metadata.json": ""}
    torch.export.load(out / "model.pt2", extra_files=extra)
    assert json.loads(extra["metadata.json"])["design"] == made["design_key"]
    properties = onnxruntime.InferenceSession(out / "model.onnx").get_modelmeta().custom_metadata_map
    assert properties["design"] == made["design_key"] and properties["classes"] == metadata["classes"]


# --- the model card ---------------------------------------------------------------------------------------------------


def check_hub_metadata(head: dict[str, Any]) -> None:
    """What the hub requires of a model-index, and of the keys beside it."""
    assert set(head) <= HUB_KEYS and isinstance(head["license"], str) and all(isinstance(tag, str) for tag in head["tags"])
    (model,) = head["model-index"]
    assert set(model) == {"name", "results"} and isinstance(model["name"], str)
    for result in model["results"]:
        assert set(result) == {"task", "dataset", "metrics"} and result["task"]["type"] == "image-classification"
        assert isinstance(result["dataset"]["name"], str) and re.fullmatch(r"[\w./-]+", result["dataset"]["type"])
        for metric in result["metrics"]:
            assert metric["type"] == "accuracy" and isinstance(metric["value"], float) and 0 <= metric["value"] <= 1


def test_the_model_card(exported: tuple[Path, dict[str, Any]]) -> None:
    out, made = exported
    text = (out / "README.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    metadata = yaml.safe_load(head)
    check_hub_metadata(metadata)
    assert metadata["license"] == "mit" and metadata["model-index"][0]["results"][0]["metrics"][0]["value"] == pytest.approx(
        made["accuracy"]["test"] / 100
    )
    titles = ["Design", "Data and protocol", "Results", "The front that it was picked from", "Files, and how to load them"]
    for title in (*titles, "Limits", "License", "Citation"):
        assert f"## {title}\n" in body
    for name in made["files"]:
        assert f"`{name}`" in body
    assert made["design_key"] in body and f"{int(made['values']['params']):,}" in body and "1905.10142" in body
    assert model_card.CITATION in (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_code_in_the_card_runs(exported: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = exported
    monkeypatch.chdir(out)
    picture = Image.new("L", (30, 30), 128)
    blocks = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(encoding="utf-8"), flags=re.S)
    assert len(blocks) == 3
    for block in blocks:
        names: dict[str, Any] = {"picture": picture}
        exec(compile(block, "README.md", "exec"), names)
        if "scores" in names:
            assert names["scores"].shape == (5, 3) and names["classes"].shape == (5,)


@pytest.mark.parametrize(
    "value",
    [{"a": "yes: [no]", "b": [1, 2.5, {"c": "#x", "d": ["- e"]}], "f": {"g": None, "h": True}}, {"a": [{"b": [{"c": 1e-9}]}]}],
)
def test_yaml_is_read_as_it_was_meant(value: dict[str, Any]) -> None:
    assert yaml.safe_load("\n".join(model_card.to_yaml(value))) == json.loads(json.dumps(value).replace("1e-09", "1e-09"))


def test_the_front_is_drawn_with_the_pick_in_a_ring() -> None:
    from fastrcaps_dse.export.images import front_image

    points = tuple(
        ParetoPoint(trial=k, label=f"d{k}", values={"acc": 90.0 + k, "time": 10.0 * (k + 1), "params": 1e6}, on_front=k != 1)
        for k in range(4)
    )
    info = ParetoInfo(objectives=parse_objectives("acc,time"), points=points)
    ring = (0x00, 0x72, 0xB2)
    drawn = np.asarray(front_image(info, picked=2))
    where = np.argwhere((drawn == ring).all(axis=2))
    other = np.argwhere((np.asarray(front_image(info, picked=0)) == ring).all(axis=2))
    center, at_first = where.mean(axis=0), other.mean(axis=0)
    assert (
        len(where) > 100 and center[1] > at_first[1] and center[0] < at_first[0]
    )  # more accurate, and slower: to the right, above
    single = ParetoInfo(objectives=parse_objectives("acc"), points=points[:1])
    assert front_image(single, picked=0).size == (1000, 640)


# --- smaller files ----------------------------------------------------------------------------------------------------


def test_a_smaller_file_that_loses_too_much_is_refused(
    command: Command, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checking.check
    calls: list[int] = []

    def worse(*arguments: Any) -> checking.Checked:
        found = real(*arguments)
        calls.append(1)
        lost = 0.25 if len(calls) > 2 else 0.0  # weights and program in float32 come first
        return checking.Checked(**{**vars(found), "accuracy": found.accuracy - lost})

    monkeypatch.setattr(checking, "check", worse)
    arguments = ("export", picked_trial(database), "--storage", database, "--out", tmp_path / "out", "--half", "--no-onnx")
    refused = command(*arguments)
    assert refused.code == 1 and "model-half.pt2 loses 0.25 percentage points" in refused.err and "--tolerance" in refused.err
    assert not list(tmp_path.iterdir())
    calls.clear()
    assert command(*arguments, "--tolerance", "0.3").code == 0


def picked_trial(database: Path) -> int:
    ours = opened(database)
    return next(trial.trial for trial in ours.trials(ours.study()) if any(run.weights for run in trial.runs))


# --- whole or not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["load_program", "load_onnx"])
def test_a_file_that_computes_something_else_is_an_error_and_leaves_nothing(
    command: Command, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    real: Callable[[Path], runtimes.Run] = getattr(runtimes, broken)

    def off(path: Path) -> runtimes.Run:
        run = real(path)

        def changed(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            scores = run(images)[0] + 1e-4
            return scores, scores.argmax(1)

        return changed

    monkeypatch.setattr(runtimes, broken, off)
    said = command("export", picked_trial(database), "--storage", database, "--out", tmp_path / "out")
    assert said.code == 1 and "a score is off by 0.0001" in said.err and not list(tmp_path.iterdir())


def test_weights_of_another_accuracy_are_an_error(
    command: Command, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking.Truth, "accuracy", property(lambda self: 12.5))
    said = command("export", picked_trial(database), "--storage", database, "--out", tmp_path / "out")
    assert said.code == 1 and "the weights reach 12.50 % on the test set, and the study says" in said.err
    assert not list(tmp_path.iterdir())


def test_an_export_replaces_an_earlier_one_and_nothing_else(command: Command, database: Path, tmp_path: Path) -> None:
    number = picked_trial(database)
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is used
    arguments = ("export", number, "--storage", database, "--out", out, "--no-onnx")
    assert command(*arguments).code == 0 and not (out / "model.onnx").exists()
    (out / "model.pt2").write_bytes(b"old")
    assert command(*arguments).code == 0 and (out / "model.pt2").stat().st_size > 1000
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    for target in (tmp_path / "other", tmp_path / "other" / "letter.txt"):
        said = command("export", number, "--storage", database, "--out", target)
        assert said.code == 2 and "error:" in said.err and "name a new folder" in said.err
    assert (tmp_path / "other" / "letter.txt").read_text() == "mine"


def test_an_error_while_replacing_keeps_the_earlier_export(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with new_folder(out) as folder:
        (folder / CARD).write_text(json.dumps({"format": "fastrcaps-dse export 1"}))
    with pytest.raises(MachineError, match="cannot be written"), new_folder(out) as folder:
        raise OSError(28, "No space left on device")
    with pytest.raises(KeyboardInterrupt), new_folder(out) as folder:
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and (out / CARD).is_file()


def test_a_folder_that_cannot_be_written(command: Command, database: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = command("export", picked_trial(database), "--storage", database, "--out", tmp_path / "file" / "out")
    assert said.code == 1 and "cannot be written" in said.err and "hint:" in said.err


KILLED = """
import sys
sys.path.insert(0, {root!r})
from fastrcaps_dse.capsnet import sizes
from tests.small_networks import SMALL
for name, value in SMALL.items():
    setattr(sizes, name, value)
from fastrcaps_dse.cli import main
sys.argv = {arguments!r}
main()
"""


@pytest.mark.thorough
@pytest.mark.slow
def test_a_kill_leaves_nothing_that_looks_like_an_export(command: Command, database: Path, tmp_path: Path) -> None:
    number, out = picked_trial(database), tmp_path / "out"
    arguments = ["fastrcaps-dse", "export", str(number), "--storage", str(database), "--out", str(out)]
    code = KILLED.format(root=str(Path(__file__).parent.parent), arguments=arguments)
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("model.pt2"):
                os.kill(child.pid, signal.SIGKILL)
                break
    left = list(tmp_path.iterdir())
    assert child.returncode == -signal.SIGKILL and not out.exists()
    assert [path.name for path in left] == [f".out.{child.pid}.partial"] and not (left[0] / CARD).exists()
    assert command("predict", "--model", left[0], "x.png").code == 2
    assert command(*arguments[1:]).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# --- other networks, and wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [pytest.param(SHARED, marks=pytest.mark.thorough), LENET])
def test_other_networks(command: Command, tiny: Path, tmp_path: Path, first: str) -> None:
    database = explored_study(tmp_path / "study", tiny, first=first, epochs=1)
    said = command("export", 0, "--storage", database, "--out", tmp_path / "out", "--int8", "--json", "--tolerance", "20")
    assert said.code == 0, said.err
    made = json.loads(said.out)["card"]
    assert len(made["files"]) == 4 and made["files"]["model-int8.onnx"]["opset"] == 20
    head = yaml.safe_load((tmp_path / "out" / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    check_hub_metadata(head)
    assert ("dynamic-routing" in head["tags"]) == (first == SHARED)


def refused(said: Answer, code: int, *words: str) -> None:
    """Two lines on stderr, with these words."""
    lines = [line for line in said.err.splitlines() if line.startswith(("error:", "hint:"))]
    assert said.code == code and len(lines) == 2 and not said.out, said
    for word in words:
        assert word in " ".join(lines), (word, lines)


def test_wrong_input(command: Command, database: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = ("--out", tmp_path / "out", "--storage", database)
    number = picked_trial(database)
    refused(command("export", 77, *out), 2, "there is no trial 77", "it has trials 0 to 1")
    refused(command("export", number, *out, "--study", "other"), 2, "there is no study 'other'")
    refused(command("export", number, *out, "--tolerance", "-1"), 2, "a tolerance of -1")
    refused(command("export", number, *out, "--input", "int16"), 2, "unknown pixels 'int16'", "uint8, float32")
    refused(command("export", number, *out, "--int8", "--no-onnx"), 2, "--int8 is an ONNX file")
    refused(command("export", number, *out, "--dataset", "mnist-sample"), 2, "are not those of the study", "--dataset")
    refused(command("export", number, *out, "--dataset", "nowhere"), 2, "the images of the study are needed", "--dataset")
    missing = lambda name: None if name == "onnxruntime" else find_spec(name)  # noqa: E731
    monkeypatch.setattr(files, "find_spec", missing)
    for option in ("--onnx", "--int8"):
        refused(command("export", number, *out, option), 1, "needs onnxruntime", "pip install 'fastrcaps-dse[onnx]'")
    assert not list(tmp_path.iterdir())
    without = command("export", number, *out)
    assert without.code == 0 and "no ONNX file: it needs pip install 'fastrcaps-dse[onnx]'" in without.err
    assert not list((tmp_path / "out").glob("*.onnx"))


def test_weights_that_are_not_kept_or_gone(command: Command, database: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(database.parent, moved)
    ours = opened(moved / "s.db")
    trial = next(t for t in ours.trials(ours.study()) if t.trial == picked_trial(database))
    arguments = ("export", trial.trial, "--storage", moved / "s.db", "--out", tmp_path / "out", "--no-onnx")
    for run in trial.runs:
        if run.weights:
            here = Path(run.weights)
            assert here.is_relative_to(moved / "s.runs")
            here = here.rename(here.parent.parent / here.name)
            with ours.engine.begin() as connection:  # as an earlier version stored it, before the database was moved
                connection.exec_driver_sql(
                    "UPDATE fastrcaps_run SET weights = 'nowhere/weights.safetensors' WHERE weights IS NOT NULL"
                )
            assert command(*arguments).code == 0
            shutil.rmtree(tmp_path / "out")
            here.write_bytes(here.read_bytes()[:100])
            refused(command(*arguments), 1, "cannot be used", "train the design again")
            here.unlink()
            refused(command(*arguments), 2, "are gone", "train the design again")
            ours.forget_weights(run.run_id)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    again = command(*arguments)  # a design on the front
    assert again.code == 0 and "is trained again" in again.err
