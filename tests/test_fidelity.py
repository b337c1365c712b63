"""Studies on some of the training images: which they are, what the learning rates make of it, and tests after each epoch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse import data, session
from fastrcaps_dse.analysis.annealing import decay_text, is_cut_short
from fastrcaps_dse.data import DataSet, Split
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.rates import learning_rate
from fastrcaps_dse.problem.schedules import ExponentialDecay
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.problem.stored_spec import spec_from_identity
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import dataset_text, override
from fastrcaps_dse.problem.timelines import build_timeline
from fastrcaps_dse.store import Store, parse_url
from fastrcaps_dse.trainer import Training, split_for
from tests.conftest import Command
from tests.sessions import opened, spec_of

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def tiny_set(tiny: Path) -> DataSet:
    return data.load(tiny)


def numbered(labels: list[int]) -> Split:
    """Images that tell their index."""
    images = torch.zeros(len(labels), 1, 20, 20, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = torch.arange(len(labels)) % 256, torch.arange(len(labels)) // 256
    return Split(images=images, labels=torch.tensor(labels))


def indices(split: Split) -> list[int]:
    values: list[int] = (split.images[:, 0, 0, 0].int() + 256 * split.images[:, 0, 0, 1].int()).tolist()
    return values


# --- which images -------------------------------------------------------------------------------------------------------


@given(counts=st.lists(st.integers(6, 40), min_size=2, max_size=5), share=st.floats(0, 1))
def test_the_first_images_are_nested_balanced_and_not_held_out(counts: list[int], share: float) -> None:
    train = numbered([label for label, count in enumerate(counts) for _ in range(count)])
    order = data.balanced_order(train)
    assert sorted(order.tolist()) == list(range(len(train)))
    kept, held = data.hold_out(train)
    assert sorted(order[: len(kept)].tolist()) == indices(kept)  # those that are held out come last
    count = max(1, round(share * len(kept)))
    first = data.first_images(train, count, len(kept))
    assert indices(first) == sorted(order[:count].tolist())  # the first of one order: nested
    of_each = first.counts(len(counts))
    free = kept.counts(len(counts))
    full = [n for n, most in zip(of_each, free, strict=True) if n < most]
    assert not full or max(of_each) - min(full) <= 1  # equal, but for classes that have no further image
    assert not set(indices(first)) & set(indices(held))


def test_protocols_train_on_the_same_few_images(tiny_set: DataSet) -> None:
    few = replace(tiny_set, train_images=20)
    splits = {protocol: split_for(few, protocol) for protocol in ("validation", "both", "paper", "all-images")}
    trained = [train.images for train, _ in splits.values()]
    assert all(len(images) == 20 and torch.equal(images, trained[0]) for images in trained)
    whole = split_for(tiny_set, "validation")
    assert torch.equal(splits["validation"][1].images, whole[1].images)  # accuracies of all sizes compare
    assert torch.equal(splits["both"][1].images, whole[1].images)
    assert torch.equal(splits["paper"][1].images, tiny_set.test.images)
    everything = replace(tiny_set, train_images=len(whole[0]))
    assert torch.equal(split_for(everything, "validation")[0].images, whole[0].images)


def test_a_subset_has_a_fingerprint_of_its_own(tiny_set: DataSet) -> None:
    found = {replace(tiny_set, train_images=count).fingerprint() for count in (None, 10, 20)}
    assert len(found) == 3 and tiny_set.fingerprint() in found


def test_more_images_than_there_are(tiny: Path, tiny_set: DataSet) -> None:
    kept = len(data.hold_out(tiny_set.train)[0])
    with pytest.raises(InputError, match=f"{kept + 1} images cannot train: there are {kept} beside those held out") as caught:
        split_for(replace(tiny_set, train_images=kept + 1), "validation")
    assert f"--train-images {kept}" in (caught.value.hint or "")
    for count in (0, len(tiny_set.train) + 1):
        with pytest.raises(InputError, match=f"{count} images cannot train"):
            data.load(tiny, train_images=count)
    with pytest.raises(InputError, match="train_images must be at least 1"):
        spec_of(tiny, train_images=-5)
    for value in ('"all"', "1.5", "true"):
        with pytest.raises(InputError, match="train_images must be a whole number"):
            parse_study(f"train_images = {value}", default_name="s")
    with pytest.raises(InputError, match="scale_decay must be true or false"):
        parse_study("scale_decay = 1", default_name="s")


# --- learning rates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "design", ["lr_policy=exp-decay", "lr_policy=exp-decay(decay=0.9,decay_steps=700) batch_schedule=adabatch"]
)
def test_a_scaled_decay_has_the_shape_of_the_papers_run(design: str) -> None:
    point = parse_design(design)
    whole = build_timeline(point.batch_schedule, epochs=30, images=60_000)
    assert build_timeline(point.batch_schedule, epochs=30, images=60_000, scale_decay=True) == whole
    for images, epochs in ((6_000, 30), (2_000, 30), (1_200, 30)):
        few = build_timeline(point.batch_schedule, epochs=epochs, images=images, scale_decay=True)
        for share in (0.0, 0.25, 0.5, 0.99):
            there = learning_rate(point.lr_policy, round(share * whole.total_steps), whole)
            here = learning_rate(point.lr_policy, round(share * few.total_steps), few)
            # a step more or less, where the shares are rounded, or where an epoch ends with a smaller batch
            assert here == pytest.approx(there, rel=0.06 if images == 6_000 else 0.12)


def test_a_decay_keeps_its_steps_unless_scaled() -> None:
    policy = ExponentialDecay()
    line = build_timeline(parse_design("exp-decay").batch_schedule, epochs=30, images=2_000)
    assert learning_rate(policy, 2000, line) == pytest.approx(0.96e-3)
    scaled = build_timeline(parse_design("exp-decay").batch_schedule, epochs=30, images=2_000, scale_decay=True)
    assert learning_rate(policy, 2000, scaled) == pytest.approx(1e-3 * 0.96**30)  # 2,000 steps are 30 times 2,000 / 30
    assert learning_rate(parse_design("one-cycle").lr_policy, 2000, scaled) == learning_rate(
        parse_design("one-cycle").lr_policy, 2000, line
    )


def test_the_plan_says_how_far_the_rate_falls(tiny: Path) -> None:
    spec = override(parse_study("", default_name="s"), epochs=30)
    said = decay_text(spec, 2_000)
    assert said is not None and "falls to 92.6 % of its rate" in said and "scale_decay = true" in said  # .96 ** (3749 / 2000)
    said = decay_text(replace(spec, scale_decay=True), 2_000)
    assert said is not None and "falls to 10.1 % of its rate" in said and "scaled by 0.0333" in said
    assert decay_text(spec, 60_000) is None
    assert decay_text(spec_of(tiny), 60_000) is None  # it has no such policy


def test_a_run_that_stops_early_has_not_decayed() -> None:
    point = parse_design("exp-decay")
    assert not is_cut_short(point, stop_after=2, epochs=4, images=600)
    assert is_cut_short(point, stop_after=2, epochs=4, images=600, scale_decay=True)
    assert not is_cut_short(point, stop_after=4, epochs=4, images=600, scale_decay=True)


# --- tests after each epoch ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_capsnet")
def test_testing_after_each_epoch_changes_nothing_else(tiny_set: DataSet) -> None:
    point = parse_design("batch_schedule=8 decoder=small")
    made = {p: Training(point, 0, tiny_set, epochs=2, protocol=p, device=CPU) for p in ("validation", "both")}
    curves = {protocol: [*training.epochs()] for protocol, training in made.items()}
    assert [e.acc for e in curves["both"]] == [e.acc for e in curves["validation"]]
    assert [e.margin_loss for e in curves["both"]] == [e.margin_loss for e in curves["validation"]]
    assert [e.test_acc for e in curves["validation"]] == [None, None]
    assert curves["both"][-1].test_acc == made["validation"].test_accuracy()
    assert not set(made["both"].prefix_keys()) & set(made["validation"].prefix_keys())


@pytest.mark.usefixtures("small_capsnet")
def test_a_study_keeps_the_test_of_each_epoch(tmp_path: Path, tiny: Path, command: Command) -> None:
    spec = spec_of(tiny, protocol="both", train_images=24, scale_decay=True, trials=1)
    with opened(tmp_path, spec) as study:
        session.explore(study)
        (trial,) = study.store.trials(study.row)
        (run,) = trial.runs
        epochs = study.store.epochs(run.run_id)
        assert run.measurement is not None and study.row.train_images == 24
        assert all(epoch.test_acc is not None for epoch in epochs)
        assert run.measurement.test_acc == epochs[run.measurement.selected_epoch - 1].test_acc
        identity = study.row.identity
    assert identity["train_images"] == 24 and identity["scale_decay"] is True
    assert spec_from_identity(identity, name="s", text=spec.text).identity() == identity
    assert dataset_text(identity).endswith("(24 training images)")
    storage = ("--storage", str(tmp_path / "s.db"))
    assert "(24 training images)" in command("show", "0", *storage).out
    assert "(24 training images)" in command("studies", *storage).out
    assert f"test acc {epochs[0].test_acc:.2f} %" in command("show", "0", *storage).out
    assert "test acc" in command("trials", "--epochs", *storage).out
    (told,) = json.loads(command("studies", "--json", *storage).out)
    assert told["train_images"] == 24
    for options, count in (((), 24), (("--all-images",), 48)):
        again = command("retrain", 0, *storage, "--study", "s", "--epochs", 1, "--device", "cpu", "--json", *options)
        assert again.code == 0, again.err
        name = json.loads(again.out)["study"]
        assert (" 24 images 1 epochs scaled decay both" in name) == (count == 24)
        assert Store(parse_url(str(tmp_path / "s.db"))).study(name).train_images == count
    with pytest.raises(InputError, match=r"train_images: 24 there, 12 here"), opened(tmp_path, override(spec, train_images=12)):
        pass
