"""The flip of training images: what is trained, and that nothing of a study without it changes: keys, identity, proposals, tables."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
from pathlib import Path

import optuna
import pandas as pd
import pytest
import torch

from fastrcaps_dse import data, trainer
from fastrcaps_dse.data import Split
from fastrcaps_dse.problem.settings import with_settings
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict, make_point, parse_design
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import differences, single_design_study
from fastrcaps_dse.search.encoding import aligned_features, encoder_of, space_features
from fastrcaps_dse.search.importance import parameters_of
from fastrcaps_dse.search.neighbors import neighbor
from fastrcaps_dse.search.parameters import distributions, parameters, point_of, sample_design
from tests import synthetic
from tests.browsing import FLAT, Open, file_of
from tests.conftest import Command

OPENED = '[space]\nlr_policy = ["fine-tune"]\nbatch_schedule = [16]\nflip = [false, true]\n'
BEFORE = """
[space]
lr_policy = ["fixed", "one-cycle"]
batch_schedule = ["fixed", "adabatch"]
routing_iterations = [1, 2, 3]
shift = [0, 2]
[space.fields]
lr = { low = 3e-4, high = 3e-3, log = true }
lr_max = { low = 5e-4, high = 5e-3, log = true }
size = [16, 32, 64]
"""  # the digests below are those of the version before the flip


FLIPPED = synthetic.SPACE.replace("[space]\n", "[space]\nflip = [true, false]\n")  # whose first design has none


def digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"".join(parts), digest_size=8).hexdigest()


@pytest.fixture(scope="module")
def split() -> Split:
    images = (torch.arange(40 * 3 * 6 * 7) * 37 % 251).to(torch.uint8).view(40, 3, 6, 7)
    return Split(images=images, labels=torch.arange(40) % 5)


# --- the images -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shift", "before"), [(0, "fb2bc18495eaf74d"), (2, "6cd6065b0fe3b1bc")])
def test_images_without_a_flip_are_those_of_earlier_versions(split: Split, shift: int, before: str) -> None:
    shown = trainer.epoch_images(split, 3, 4, shift)
    assert digest(shown.images.numpy().tobytes(), shown.labels.numpy().tobytes()) == before


@pytest.mark.parametrize("shift", [0, 2])
def test_each_image_is_mirrored_or_not(split: Split, shift: int) -> None:
    """Every image is that of the same epoch without a flip, or its mirror image: about half of them, others in another epoch or run."""
    chosen = []
    for seed, epoch in ((3, 4), (3, 5), (4, 4)):
        plain, shown, again = (trainer.epoch_images(split, seed, epoch, shift, flip=flip) for flip in (False, True, True))
        assert torch.equal(shown.images, again.images) and torch.equal(shown.labels, plain.labels)
        mirrored = torch.tensor([bool((a != b).any()) for a, b in zip(shown.images, plain.images, strict=True)])
        for image, original, is_mirrored in zip(shown.images, plain.images, mirrored, strict=True):
            assert torch.equal(image, original[:, :, torch.arange(6, -1, -1)] if is_mirrored else original)
        assert 10 <= int(mirrored.sum()) <= 30  # of 40: outside with a probability of 1e-3 for a seed, and these do not change
        chosen.append(tuple(mirrored.tolist()))
    assert len({*chosen}) == 3


@pytest.mark.usefixtures("small_capsnet")
@pytest.mark.parametrize("network", ["decoder=small batch_schedule=64", "network=lenet5 batch_schedule=64"])
def test_a_run_trains_on_mirrored_images(tiny: Path, network: str) -> None:
    dataset, cpu = data.load(str(tiny)), torch.device("cpu")
    plain, flipped = (
        trainer.Training(parse_design(f"{network} flip={flip}"), 0, dataset, epochs=1, device=cpu) for flip in ("false", "true")
    )
    assert {*plain.prefix_keys()}.isdisjoint(flipped.prefix_keys())
    losses = [run.run_epoch().margin_loss for run in (plain, flipped)]
    reference = trainer.Training(parse_design(network), 0, dataset, epochs=1, device=cpu)
    batches = trainer.epoch_images(reference.train_split, 0, 0, 2, flip=True)
    steps = flipped.timeline.total_steps
    margin = float(reference.train_on(batches, 64, [1e-3] * steps)[0]) / len(batches)
    assert losses[1] == pytest.approx(margin, rel=1e-6) and losses[0] != losses[1]
    assert all(torch.equal(a, b) for a, b in zip(flipped.network.parameters(), reference.network.parameters(), strict=True))


# --- a study without it is the same as before ---------------------------------------------------------------------------


def test_keys_and_identities_stay() -> None:
    key = "lr_policy=fixed batch_schedule=16 weight_sharing=False decoder=full network=capsnet routing_iterations=3 shift=2"
    assert DesignPoint().key == key and DesignPoint(flip=True).key == f"{key} flip=True"
    assert "flip" not in design_to_dict(DesignPoint()) and design_to_dict(DesignPoint(flip=True))["flip"] is True
    assert digest(json.dumps(parse_study(BEFORE, default_name="x").identity()).encode()) == "5b5ffb250425490f"
    plain, closed, opened = (
        parse_study(f"[space]\n{flip}", default_name="x") for flip in ("", "flip = [false]", "flip = [false, true]")
    )
    assert plain.identity() == closed.identity() and "flip" not in plain.identity()["space"]
    assert differences(plain.identity(), opened.identity()) == ["space.flip: not set there, False,True here"]
    train = single_design_study(DesignPoint(flip=True), name=None, dataset="mnist-sample")
    assert train.identity()["space"]["flip"] == [True] and train.first_designs == [DesignPoint(flip=True)]


def test_what_samplers_are_told_stays() -> None:
    """A study that goes on has the same parameters, and its proposals come from the same random numbers."""
    space, generator = parse_study(BEFORE, default_name="x").space, random.Random(7)
    points = [sample_design(space, generator) for _ in range(50)]
    points += [neighbor(point, space, generator) for point in points]
    assert digest("\n".join(point.key for point in points).encode()) == "cf5737dc689f8b5d"
    names = ["lr_policy", "batch_schedule", "weight_sharing", "decoder", "network", "routing_iterations", "shift"]
    assert [*distributions(space)] == names


# --- a study that opens it ----------------------------------------------------------------------------------------------


def test_a_space_that_opens_it() -> None:
    spec = parse_study(
        with_settings(OPENED.replace("flip = [false, true]\n", ""), ["space.flip=[false, true]"]), default_name="x"
    )
    space = parse_study(OPENED, default_name="x").space
    assert spec.space == space and space.size() == 8 == len([*space.designs()])
    assert distributions(space)["flip"] == optuna.distributions.CategoricalDistribution([False, True])
    generator = random.Random(0)
    sampled = [sample_design(space, generator) for _ in range(40)]
    assert {point.flip for point in sampled} == {False, True}
    assert any(neighbor(point, space, generator).flip != point.flip for point in sampled)
    for point in space.designs():
        values, kinds = parameters(point, space)
        assert point_of(optuna.trial.create_trial(value=1.0, params=values, distributions=kinds), space) == point
    encoder = encoder_of(space_features(space))
    codes = encoder.encode([aligned_features(DesignPoint(flip=flip)) for flip in (False, True)])
    assert ((codes[0] - codes[1]) ** 2).sum() == pytest.approx(1) and parameters_of(DesignPoint(flip=True))["flip"] is True


def test_lenet_has_it() -> None:
    values = {"weight_sharing": True, "decoder": "small", "routing_iterations": 1, "shift": 1, "flip": True}
    assert make_point(network="lenet5", **values) == DesignPoint(network="lenet5", shift=1, flip=True)
    text = OPENED + 'network = ["lenet5"]\n'
    assert parse_study(text, default_name="x").space.size() == 2


@pytest.mark.parametrize("is_open", [False, True])
def test_tables_have_a_column_where_designs_differ(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_open: bool
) -> None:
    if is_open:
        monkeypatch.setattr(synthetic, "SPACE", FLIPPED)
    ours = synthetic.write_study(tmp_path / "s.db", 12)
    points = [trial.design for trial in ours.trials(ours.study())]
    frame = pd.read_csv(io.StringIO(command("trials", "--csv", "--storage", "s.db").out))
    assert ("flip" in frame) == is_open
    if is_open:
        assert frame["flip"].tolist() == [point.flip for point in points] and {*frame["flip"]} == {False, True}
        assert [*frame].index("flip") == [*frame].index("shift") + 1
    wide = command("trials", "--wide", "--storage", "s.db").out
    for point in points:
        assert f"{point.key} " in wide and (point.flip or f"{point.key} flip" not in wide)


@pytest.mark.browser
def test_the_page_has_it_of_every_design(open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a dimension that varies, whichever design comes first, and in words to filter by."""
    monkeypatch.setattr(synthetic, "SPACE", FLIPPED)
    ours = synthetic.write_study(tmp_path / "s.db", 12)
    flips = {trial.trial: trial.design.flip for trial in ours.trials(ours.study())}
    assert not flips[0] and any(flips.values())
    (tmp_path / "page.html").write_text(file_of(ours), encoding="utf-8")
    page = open_page(f"{(tmp_path / 'page.html').as_uri()}{FLAT}")
    assert "flip" in page.evaluate("fastrcaps.study.dimensions")
    assert page.evaluate("fastrcaps.study.designs.map(d => [d.trial, d.design.flip])") == [[*pair] for pair in flips.items()]
    heads, *rows = csv.reader(page.evaluate("fastrcaps.views.table.csv()").splitlines())
    assert {int(row[0]): row[heads.index("flip")] for row in rows} == {k: str(v).lower() for k, v in flips.items()}
    page.locator("#filter").fill("flip")
    assert page.evaluate("fastrcaps.views.table.rows().map(d => d.trial).sort((a, b) => a - b)") == [
        k for k, v in flips.items() if v
    ]
