"""`predict`, `load_picked` and explanations: what a trained network says of pictures."""

from __future__ import annotations

import csv
import io
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fastrcaps_dse import data
from fastrcaps_dse.capsnet.network import CapsNet
from fastrcaps_dse.errors import InputError, MachineError, NothingFits
from fastrcaps_dse.export import files
from fastrcaps_dse.export.confusion import confusion_csv, confusion_matrix
from fastrcaps_dse.export.explaining import STEPS, explain, explanation_image, explanations_html, explanations_png
from fastrcaps_dse.export.images import confusion_image
from fastrcaps_dse.export.picked import predictions
from fastrcaps_dse.session import PickedNetwork, load_exported, load_picked
from fastrcaps_dse.store import TrialRow
from tests.conftest import Command
from tests.exporting import CAPSNET, LENET, explored_study, noisy_images, opened, write_pictures
from tests.sessions import small_sizes
from tests.test_export import refused

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_capsnet", "one_onnx_registry")]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noisy_images(tmp_path_factory.mktemp("data") / "noisy")


@pytest.fixture(scope="module")
def database(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with small_sizes():
        return explored_study(tmp_path_factory.mktemp("predict"), images, epochs=4)


@pytest.fixture(scope="module")
def pictures(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test images in class folders."""
    return write_pictures(tmp_path_factory.mktemp("pictures") / "test", data.load(str(images)).test, classes=3)


def trial_of(database: Path) -> TrialRow:
    ours = opened(database)
    (trial,) = ours.trials(ours.study())
    return trial


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_accuracy_is_the_one_that_the_run_measured(command: Command, database: Path, pictures: Path, images: Path) -> None:
    said = command("predict", 0, pictures, "--storage", database, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    measured = trial_of(database).measurement
    assert measured is not None and found["accuracy"] == measured.test_acc and 20 < found["accuracy"] < 100
    labels = data.load(str(images)).test.labels
    confusion = np.array(found["confusion"])
    assert confusion.sum(axis=1).tolist() == torch.bincount(labels, minlength=3).tolist()
    assert 100 * np.trace(confusion) / confusion.sum() == found["accuracy"]
    assert len(found["predictions"]) == 24 and found["classes"] == ["0", "1", "2"]
    for row in found["predictions"]:
        best, second = sorted(row["scores"], reverse=True)[:2]
        assert row["class"] == str(np.argmax(row["scores"])) and (row["score"], row["second_score"]) == (best, second)
        assert row["resized_from"] is None and row["true_class"] == Path(row["picture"]).parent.name


def test_the_accuracy_of_a_run_in_bfloat16(command: Command, images: Path, pictures: Path, tmp_path: Path) -> None:
    """The study's network computes as its run did; an export is in float32, and its card has both accuracies."""
    database = explored_study(tmp_path / "study", images, epochs=1, precision="bfloat16")
    measured = trial_of(database).measurement
    assert measured is not None
    found = json.loads(command("predict", pictures, "--storage", database, "--json").out)
    assert found["accuracy"] == measured.test_acc
    said = command("export", 0, "--storage", database, "--out", tmp_path / "m", "--no-onnx", "--json")
    card = json.loads(said.out)["card"]
    assert card["accuracy"]["test_when_trained"] == measured.test_acc and card["trained_on"]["precision"] == "bfloat16"
    exact = json.loads(command("predict", pictures, "--model", tmp_path / "m", "--json").out)
    assert card["accuracy"]["test"] == exact["accuracy"]
    scores = [row["scores"] for row in exact["predictions"]]
    assert scores != [row["scores"] for row in found["predictions"]]


def test_without_a_trial_the_limits_pick(command: Command, database: Path, pictures: Path) -> None:
    one = next(pictures.glob("1/*.png"))
    said = command("predict", one, "--storage", database, "--csv")
    (row,) = csv.DictReader(io.StringIO(said.out))
    assert "trial 0 of small" in said.err and row["picture"] == str(one) and 0 < float(row["score"]) < 1
    nothing = command("predict", one, "--storage", database, "--max-params", "10")
    refused(nothing, 3, "no design satisfies the limits", "the nearest measured value is")
    table = command("predict", "--max-params", "7M", one, one, "--storage", database)
    assert table.out.count(str(one)) == 2 and "second choice" in table.out


@pytest.mark.parametrize("pixels", ["uint8", pytest.param("float32", marks=pytest.mark.thorough)])
def test_an_export_says_what_the_study_says(
    command: Command, database: Path, pictures: Path, tmp_path: Path, pixels: str
) -> None:
    assert command("export", 0, "--storage", database, "--out", tmp_path / "m", "--input", pixels).code == 0
    expected = json.loads(command("predict", pictures, "--storage", database, "--json").out)
    for runtime in ("torch", "pt2", "onnx"):
        said = command("predict", "--model", tmp_path / "m", "--runtime", runtime, pictures, "--json")
        assert said.code == 0, said.err
        found = json.loads(said.out)
        assert found["accuracy"] == expected["accuracy"] and found["confusion"] == expected["confusion"]
        scores = [np.array([row["scores"] for row in each["predictions"]]) for each in (found, expected)]
        assert np.abs(scores[0] - scores[1]).max() < 2e-5


def test_pictures_of_other_sizes_and_kinds_are_converted_and_it_says_so(
    command: Command, database: Path, pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    with Image.open(next(pictures.glob("2/*.png"))) as opened_file:
        original = opened_file.copy()
    original.save(folder / "a.png")
    original.convert("RGBA").save(folder / "b.png")
    original.resize((34, 51), Image.Resampling.BILINEAR).save(folder / "c.png")
    (folder / "notes.txt").write_text("no picture")
    said = command("predict", folder, "--storage", database, "--json")
    rows = json.loads(said.out)["predictions"]
    assert rows[0]["scores"] == rows[1]["scores"] and [row["resized_from"] for row in rows] == [None, None, [34, 51]]
    assert f"resized to 17x17 pixels (bilinear, proportions not kept): {folder / 'c.png'} of 34x51 pixels" in said.err
    assert "1 file of the folders left out: not named like pictures" in said.err
    assert json.loads(said.out)["accuracy"] is None


def test_the_confusion_matrix_as_files(command: Command, database: Path, pictures: Path, tmp_path: Path) -> None:
    said = command("predict", pictures, "--storage", database, "--confusion", tmp_path / "c.png")
    assert said.code == 0 and "accuracy:" in said.out and "rows: true class" in said.out
    rows = list(csv.reader(io.StringIO((tmp_path / "c.csv").read_text())))
    assert rows[0] == ["true", "0", "1", "2"] and sum(int(n) for row in rows[1:] for n in row[1:]) == 24
    with Image.open(tmp_path / "c.png") as drawn:
        assert drawn.width > 100
    one = next(pictures.glob("1/*.png"))
    refused(command("predict", one, "--storage", database, "--confusion", tmp_path / "d.csv"), 2, "no folder tells the classes")


def test_a_confusion_matrix_by_hand() -> None:
    found = confusion_matrix([0, 0, 1, 2, 2, 2], [0, 1, 1, 0, 2, 2], 3)
    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    assert confusion_csv(found, ["a", "b,c", "d"]).splitlines()[1:3] == ["a,1,1,0", '"b,c",0,1,0']
    small, large = (
        confusion_image(found, ["a", "b", "c"]),
        confusion_image(np.eye(100, dtype=np.int64), [str(k) for k in range(100)]),
    )
    assert small.size[0] == small.size[1] and large.size[0] > 1600
    darkest = np.asarray(small)[40 + 10 + 3 * 44 - 40, 40 + 10 + 3 * 44 - 40]  # 2 of 3
    lightest = np.asarray(small)[40 + 10 + 4, 40 + 10 + 2 * 44 + 4]  # 0 of 2
    assert lightest.tolist() == [255, 255, 255] and darkest[0] < 100


def test_wrong_input(command: Command, database: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = ("--storage", database)
    one = next(pictures.glob("0/*.png"))
    refused(command("predict", 5, one, *there), 2, "there is no trial 5")
    refused(command("predict", 0, *there), 2, "there is no picture to classify")
    refused(command("predict", tmp_path / "none.png", *there), 2, "there is no file", "PNG or JPEG")
    (tmp_path / "text.png").write_text("not a picture")
    refused(command("predict", tmp_path / "text.png", *there), 2, "text.png is not a picture that can be read")
    (tmp_path / "cut.png").write_bytes(one.read_bytes()[:60])
    refused(command("predict", tmp_path / "cut.png", *there), 2, "cut.png is not a picture that can be read")
    (tmp_path / "empty").mkdir()
    refused(command("predict", tmp_path / "empty", *there), 2, "no picture in")
    (tmp_path / "cats" / "cat").mkdir(parents=True)
    refused(command("predict", tmp_path / "cats", *there), 2, "is not named like a class", "the classes: 0, 1, 2")
    refused(command("predict", one, *there, "--json", "--csv"), 2, "are different formats")
    refused(command("predict", one, *there, "--explain", "x.gif"), 2, "HTML or PNG")
    refused(command("predict", one, *there, "--confusion", "x.gif"), 2, "CSV and PNG")
    refused(command("predict", one, *there, "--runtime", "onnx"), 2, "runs the file of an export", "--model")
    refused(command("predict", one, "--model", tmp_path, *there), 2, "--model names an export")
    refused(command("predict", one, "--model", tmp_path), 2, "is not an export of fastrcaps-dse")
    refused(command("predict", 0, one, "--max-params", "7M", *there), 2, "both choose a design")
    refused(command("predict", one, "--storage", tmp_path / "no.db"), 2, "there is no database")
    assert command("export", 0, *there, "--out", tmp_path / "m", "--no-onnx").code == 0
    refused(command("predict", one, "--model", tmp_path / "m", "--runtime", "tf"), 2, "unknown runtime 'tf'")
    refused(command("predict", one, "--model", tmp_path / "m", "--runtime", "onnx"), 2, "has no model.onnx")
    for name in ("model.safetensors", "model.pt2"):
        (tmp_path / "m" / name).write_bytes(b"broken")
    refused(command("predict", one, "--model", tmp_path / "m"), 2, "does not hold an exported network", "export it again")
    monkeypatch.setattr(files, "find_spec", lambda name: None if name == "onnx" else find_spec(name))
    with pytest.raises(MachineError, match="needs onnx, not installed") as error:
        files.require_onnx("--runtime onnx")
    assert error.value.hint == "pip install 'fastrcaps-dse[onnx]'"


# --- from Python ------------------------------------------------------------------------------------------------------


def test_load_picked(database: Path, images: Path) -> None:
    network = load_picked(str(database), study="small", max_params="7M", min_acc=1)
    measured = trial_of(database).measurement
    assert measured is not None and not network.training and network.classes == ("0", "1", "2")
    test = data.load(str(images)).test
    said = network.predict(test.images)
    assert 100 * sum(p.label == int(y) for p, y in zip(said, test.labels, strict=True)) / 24 == measured.test_acc
    with torch.no_grad():
        scores = network(test.images[:5].float() / 255)
    assert scores.shape == (5, 3) and torch.equal(scores.argmax(1), torch.tensor([p.label for p in said[:5]]))
    assert load_picked(str(database), trial=0).design == network.design
    with pytest.raises(NothingFits, match="no design satisfies"):
        load_picked(str(database), max_params=10)
    with pytest.raises(InputError, match="both choose a design"):
        load_picked(str(database), trial=0, limits=["acc>=1"])
    with pytest.raises(InputError, match="there is no trial 9"):
        load_picked(str(database), trial=9)


def test_preprocess(database: Path, tiny: Path) -> None:
    network = load_picked(str(database))
    pixels = data.load(str(tiny)).test.images[0]
    expected = pixels.float().unsqueeze(0) / 255
    array = pixels[0].numpy()
    ways = [array, array[:, :, None], array[None], pixels, Image.fromarray(array), array.astype(np.float32) / 255]
    for given in (*ways, Image.fromarray(array).convert("RGB")):
        assert torch.equal(network.preprocess(given), expected)
    assert network.preprocess([array, Image.fromarray(array)]).shape == (2, 1, 17, 17)
    assert network.preprocess(np.zeros((40, 30), dtype=np.uint8)).shape == (1, 1, 17, 17)
    assert (
        network.predict(array)[0] == network.predict(pixels.unsqueeze(0))[0] == network.predict(pixels.unsqueeze(0).numpy())[0]
    )
    other_kinds: list[Any] = [np.zeros((2, 3, 4, 5, 6)), np.zeros((17, 17), int), "x", [], np.zeros((17, 17, 4), np.uint8)]
    other_values: list[Any] = [np.full((17, 17), 7.0), np.full((17, 17), np.nan), np.zeros((5, 5), np.float32)]
    for wrong in other_kinds + other_values:
        with pytest.raises(InputError):
            network.preprocess(wrong)
    with pytest.raises(InputError, match="are not the network's"):
        network.predict(torch.zeros(2, 1, 20, 20))


def test_second_choices() -> None:
    first, tied = predictions(torch.tensor([[0.1, 0.7, 0.3], [0.5, 0.5, 0.5]]), ["a", "b", "c"])
    assert (first.name, first.second) == ("b", "c") and first.second_score == pytest.approx(0.3)
    assert (tied.label, tied.second) == (0, "b")


# --- explanations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [CAPSNET, CAPSNET.replace("small", "full")])
def test_the_grid_is_what_the_decoder_makes_of_each_change(tiny: Path, tmp_path: Path, first: str) -> None:
    """Against the loop that the figure is made by: change one dimension of the winning capsule, decode, look."""
    network = load_picked(str(explored_study(tmp_path, tiny, first=first, epochs=1)))
    images = data.load(str(tiny)).test.images[:2]
    found = explain(network, images, ["a", "b"])
    capsnet = network.network
    assert isinstance(capsnet, CapsNet) and STEPS == (-0.25, -0.2, -0.15, -0.1, -0.05, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
    with torch.no_grad():
        for index, each in enumerate(found):
            v = capsnet.output_capsules(images[index : index + 1].float() / 255)
            winner = v.norm(dim=2).argmax(1)
            assert each.prediction.label == int(winner) and each.grid.shape == (16, 11, 1, 17, 17)
            assert torch.allclose(each.reconstruction.flatten(), capsnet.decode(v, winner)[0], atol=1e-6)
            for dimension in (0, 7, 15):
                for column, step in enumerate(STEPS):
                    changed = v.clone()
                    changed[0, int(winner), dimension] += step
                    expected = capsnet.decode(changed, winner)[0]
                    assert torch.allclose(each.grid[dimension, column].flatten(), expected, atol=1e-6)
            assert not torch.equal(each.grid[3, 0], each.grid[3, 10])
    assert explanation_image(found[0]).height * 2 == Image.open(io.BytesIO(explanations_png(found))).height


def test_explain_writes_files(command: Command, database: Path, pictures: Path, tmp_path: Path) -> None:
    odd = tmp_path / "<b>&.png"
    shutil.copy(next(pictures.glob("0/*.png")), odd)
    said = command("predict", odd, "--storage", database, "--explain", tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert said.code == 0 and "&lt;b&gt;&amp;.png" in text and "<b>" not in text and text.count("data:image/png;base64,") == 1
    assert "http" not in text  # it opens offline
    assert command("predict", odd, "--storage", database, "--explain", tmp_path / "x.png").code == 0
    with Image.open(tmp_path / "x.png") as drawn:
        assert drawn.height > 16 * 56
    many = command("predict", pictures, "--storage", database, "--explain", tmp_path / "y.png")
    refused(many, 2, "24 pictures are too many to explain", "up to 20")


def test_lenet5_has_nothing_to_explain(command: Command, tiny: Path, pictures: Path, tmp_path: Path) -> None:
    database = explored_study(tmp_path / "study", tiny, first=LENET, epochs=1)
    one = next(pictures.glob("0/*.png"))
    said = command("predict", one, "--storage", database, "--explain", tmp_path / "x.png")
    refused(said, 2, "LeNet5 has no capsules and no decoder")


def test_explanations_in_color() -> None:
    from fastrcaps_dse.capsnet.sizes import ImageShape
    from fastrcaps_dse.problem.space import DesignPoint
    from tests.test_export_plain import pixels_of, trained

    shape = ImageShape(channels=3, height=21, width=23, classes=2)
    network = PickedNetwork(trained(DesignPoint(), shape), design=DesignPoint(), shape=shape, classes=["cat", "dog"])
    found = explain(network, pixels_of(shape, 1), ["pet.png"])
    colors = np.asarray(explanation_image(found[0])).reshape(-1, 3)
    assert (colors.max(axis=1) != colors.min(axis=1)).any()
    assert b"cat" in explanations_html(found) and b"dog" in explanations_html(found)


def test_an_export_loads_from_python(command: Command, database: Path, tmp_path: Path) -> None:
    assert command("export", 0, "--storage", database, "--out", tmp_path / "m", "--no-onnx").code == 0
    network, picked = load_exported(tmp_path / "m"), load_picked(str(database))
    images = torch.rand(3, 1, 17, 17)
    with torch.no_grad():
        assert float((network(images) - picked(images)).abs().max()) < 2e-6 and network.classes == picked.classes
    with pytest.raises(InputError, match="is not an export"):
        load_exported(tmp_path)
