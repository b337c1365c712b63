"""The objective `robust` in studies: what is measured, taken over, planned and printed, and the searches that model it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from fastrcaps_dse import data
from fastrcaps_dse.capsnet.network import CapsNet, LeNet5
from fastrcaps_dse.data.affine import Images, affine_copies, copy_count
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.page.watch import Source
from fastrcaps_dse.problem.objectives import parse_objectives
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import Protocol, StudySpec, holds_out, override
from fastrcaps_dse.runs import plans, robustness
from fastrcaps_dse.runs.plans import make_plan
from fastrcaps_dse.search.encoding import encoder_of
from fastrcaps_dse.search.guided import Acquisition, Candidate, Kernels, Observation, surrogate_of
from fastrcaps_dse.search.outlook import outlook
from fastrcaps_dse.search.pruning import PartialRun, Prune, cost_of, decide
from fastrcaps_dse.store import EpochRow, Store, parse_url
from fastrcaps_dse.trainer import Training, load_network, split_for
from tests.conftest import Command
from tests.sessions import Heard, explored, opened

CPU = torch.device("cpu")
NAMES = "acc,time,params,robust"
STUDY = """
name = "r"
dataset = "{dataset}"
epochs = 2
trials = 3
time = "measured"
objectives = ["acc", "time", "params", "robust"]
first = []
[space]
lr_policy = ["fixed"]
batch_schedule = [8]
weight_sharing = [false]
decoder = ["small"]
shift = [0]
routing_iterations = [1, 2, 3]
"""


def spec_of(tiny: Path, **changes: Any) -> StudySpec:
    return override(parse_study(STUDY.format(dataset=tiny), default_name="r"), **changes)


def share_right(network: CapsNet | LeNet5, images: data.Split, of: Images) -> float:
    """The share (%) of all copies of these images that a network classifies right, in one batch for each copy."""
    copies = [*affine_copies(images, of)]
    assert len(copies) == copy_count(len(images)) == 8
    with torch.no_grad():
        right = [network.scores(copy.images.float() / 255).argmax(1) == copy.labels for copy in copies]
    return 100.0 * float(torch.cat(right).double().mean())


# --- what is measured ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_capsnet")
@pytest.mark.parametrize("protocol", ["validation", "paper", "both", "all-images"])
def test_it_is_the_mean_over_the_copies(tiny: Path, protocol: Protocol) -> None:
    dataset = data.load(tiny)
    training = Training(parse_design("batch_schedule=8 shift=0"), 0, dataset, epochs=1, protocol=protocol, device=CPU)
    training.run_epoch()
    training.evaluated = 5  # images at once, so that batches end within a copy
    found = robustness.measure_robust(training, protocol, 1)
    assert found.test == pytest.approx(share_right(training.network, dataset.test, "test"))
    if holds_out(protocol):
        assert found.selecting == pytest.approx(share_right(training.network, split_for(dataset, protocol)[1], "selecting"))
    else:
        assert found.selecting == found.test


@pytest.mark.usefixtures("small_capsnet")
def test_it_repeats_itself_and_equal_runs_are_taken_over(tmp_path: Path, tiny: Path) -> None:
    """A study without it begins; one with it cannot take its runs over; a third takes over those of the second."""
    point = "lr_policy=fixed batch_schedule=8 decoder=small shift=0 routing_iterations=1"
    plain = spec_of(tiny, name="plain", objectives=parse_objectives("acc,time,params"), first=(parse_design(point),))
    measured, begun = [], []
    for spec in (plain, override(plain, name="second", objectives=parse_objectives(NAMES))):
        for again in (spec, replace(spec, name=f"{spec.name} again")):
            heard = Heard()
            with opened(tmp_path, again) as study:
                explored(study, heard)
                (run,) = study.store.runs(study.row.study_id)
                dataset = study.context.dataset
            measured.append(run.measurement)
            begun.append(len(heard.begun))
    assert begun == [1, 0, 1, 0]
    first, _, third, fourth = measured
    assert first is not None and third is not None and fourth is not None
    assert "robust" not in first.values and first.test_robust is None
    assert fourth["robust"] == third["robust"] and fourth.test_robust == third.test_robust is not None
    assert (first["acc"], first.test_acc) == (third["acc"], third.test_acc)
    assert run.weights is not None  # those of the selected epoch
    network = load_network(run.weights, run.design, dataset.shape)
    assert fourth["robust"] == pytest.approx(share_right(network, split_for(dataset, "validation")[1], "selecting"))
    assert fourth.test_robust == pytest.approx(share_right(network, dataset.test, "test"))


@pytest.mark.usefixtures("small_capsnet")
def test_a_pruned_run_has_it_too(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class AfterOne:
        def decide(self, epochs: Sequence[EpochRow]) -> Prune | None:
            return Prune(reason="enough", censored=True) if len(epochs) == 1 else None

    monkeypatch.setattr("fastrcaps_dse.runs.runner.make_pruner", lambda *_: AfterOne())
    with opened(tmp_path, spec_of(tiny, protocol="paper", pruning="safe", trials=1)) as study:
        explored(study)
        (run,) = study.store.runs(study.row.study_id)
        test = study.context.dataset.test
    assert run.measurement is not None and run.measurement.pruned_after == 1 and run.weights is not None
    network = load_network(run.weights, run.design, data.load(tiny).shape)
    assert run.measurement["robust"] == run.measurement.test_robust == pytest.approx(share_right(network, test, "test"))


@pytest.mark.usefixtures("small_capsnet")
def test_scores_that_are_not_finite_fail_the_run(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure_broken(training: Training, protocol: Protocol, epoch: int) -> robustness.Robustness:
        with torch.no_grad():
            next(iter(training.network.parameters())).fill_(math.nan)
        return robustness.measure_robust(training, protocol, epoch)

    monkeypatch.setattr("fastrcaps_dse.runs.runner.measure_robust", measure_broken)
    with opened(tmp_path, spec_of(tiny, trials=1)) as study:
        explored(study)
        (trial,) = study.store.trials(study.row)
    assert trial.state == "failed" and trial.measurement is None
    assert "not finite on affine copies of images, after epoch" in str(trial.runs[0].reason)


@pytest.mark.usefixtures("small_capsnet")
def test_a_plan_counts_the_copies(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(spec: StudySpec) -> float:
        plan = make_plan(spec, data_dir=None, device="cpu", precision="float32", workers=1)
        return sum(design.whole for design in plan.first)

    spec = spec_of(tiny, first=(parse_design("batch_schedule=8 decoder=small shift=0 routing_iterations=2"),))
    monkeypatch.setattr(plans, "seconds_of_a_copy", lambda _: 1000.0)
    dataset = data.load(tiny)
    for protocol in ("validation", "paper"):
        _, select = split_for(dataset, protocol)
        copies = 8 * len(dataset.test) + (8 * len(select) if protocol == "validation" else 0)
        seconds = whole(replace(spec, protocol=protocol))
        assert copies * 1000.0 < seconds < (copies + 1) * 1000.0
    assert whole(replace(spec, objectives=parse_objectives("acc,time"))) < 1000.0
    assert 0 < robustness.seconds_of_a_copy(dataset) < 1.0


# --- what is refused ------------------------------------------------------------------------------------------------------


def test_it_has_no_anytime_view(tiny: Path) -> None:
    with pytest.raises(InputError, match="robust is measured at the selected epoch of a whole run") as error:
        replace(spec_of(tiny), anytime=True)
    assert "leave out --anytime" in error.value.hint


# --- searches -------------------------------------------------------------------------------------------------------------


def candidate(x: float) -> Candidate:
    return Candidate(features={"x": x, "y": x}, epochs=10, seconds=60.0, fixed={"params": 8e6})


def acquisition(names: str, robust: float | None, pending: tuple[Candidate, ...] = ()) -> Acquisition:
    """The accuracy is the same everywhere; the error on copies falls from 40 % with x, by so much."""
    at = np.linspace(0, 0.5, 6).tolist()
    copies = [None if robust is None else 100 - 40 * math.exp(-robust * x) for x in at]
    seen = [Observation(candidate=candidate(x), acc=95.0, time=54.0, robust=r) for x, r in zip(at, copies, strict=True)]
    encoder = encoder_of([candidate(0.0).features, candidate(1.0).features])
    rest = [candidate(x) for x in np.linspace(0, 1, 21).tolist()]
    return Acquisition(parse_objectives(names), surrogate_of(seen, encoder, Kernels(), pending), rest)


def test_the_surrogate_models_it_for_itself() -> None:
    here = acquisition(NAMES, 1.4)
    expected = here.surrogate.predict([candidate(x) for x in (0.1, 0.3, 0.8)])
    assert expected.robust is not None and expected.robust_deviation is not None
    assert np.exp(expected.robust[:2]) == pytest.approx([40 * math.exp(-0.14), 40 * math.exp(-0.42)], rel=0.03)
    assert (
        expected.error == pytest.approx(math.log(5.05), abs=1e-6)
        and expected.robust_deviation[2] > expected.robust_deviation[0]
    )
    gains = here.gains([candidate(0.1), candidate(0.9)])
    assert gains[1] > 2 * gains[0]  # where it is expected to rise, beyond what is measured
    told = outlook(here, [candidate(0.9)], 100.0)
    flat = outlook(acquisition("acc,time,params", None), [candidate(0.9)], 100.0)
    assert told.gain > flat.gain + 0.01 and told.accuracy is not None and told.accuracy < 0.5
    assumed = acquisition(NAMES, 1.4, (candidate(0.9),)).surrogate.observations[-1]
    (log,) = np.asarray(here.surrogate.predict([candidate(0.9)]).robust).tolist()
    assert assumed.robust == pytest.approx(100.05 - math.exp(log))


def test_a_model_of_two_outputs_is_as_it_was() -> None:
    """What a third output adds leaves the others alone, to the bit."""
    some = [candidate(0.2), candidate(0.7)]
    two, three = (acquisition("acc,time,params", r).surrogate.predict(some) for r in (None, 1.4))
    assert two.robust is None
    assert (two.error == three.error).all() and (two.share_deviation == three.share_deviation).all()


def test_no_run_is_pruned_by_it() -> None:
    """A run that measured designs dominate in all else may still be more robust than they."""
    objectives, run = parse_objectives(NAMES), PartialRun(
        policy="fixed", fixed={"params": 9e6}, seconds=(10.0,) * 4, accuracies=(50.0,)
    )  # fmt: skip
    assert cost_of(run, objectives, 2, 60.0) == (-60.0, 20.0, 9e6, -100.0)
    front = [(-100.0, 5.0, 8e6, -99.0)]
    assert decide(run, objectives, front, [], "safe") is None
    assert decide(run, parse_objectives("acc,time,params"), [front[0][:3]], [], "safe") is not None
    assert decide(run, objectives, [(-100.0, 5.0, 8e6, -100.0)], [], "safe") is not None


# --- from the study file to the page --------------------------------------------------------------------------------------


def content_of(database: Path) -> dict[str, Any]:
    """What the page shows of the study."""
    ours = Store(parse_url(str(database)))
    return Source(store=ours, study=ours.study(), objectives=ours.study().objectives).content(epochs=True)


@pytest.mark.usefixtures("small_capsnet")
def test_a_study_file_with_it(tmp_path: Path, tiny: Path, command: Command) -> None:
    (tmp_path / "r.toml").write_text(STUDY.format(dataset=tiny), encoding="utf-8")
    explored_ = command("explore", "r.toml", "--storage", "s.db", "--device", "cpu", "--workers", "1")
    assert explored_.code == 0 and "robust" in explored_.out
    storage = ("--storage", "s.db")
    made = json.loads(command("front", "--json", *storage).out)
    assert {"name": "robust", "unit": "%", "direction": "maximize"} in made["objectives"]
    for design in made["designs"]:
        assert 0 <= design["values"]["robust"] <= 100 and 0 <= design["test_robust"] <= 100
    best = max(design["values"]["robust"] for design in made["designs"])
    picked = command("pick", "--limit", f"robust>={best}", "--prefer", "acc", *storage)
    assert picked.code == 0 and f"robust >= {best:.2f} %" in picked.out and "on its affine copies" in picked.out
    chosen = json.loads(command("pick", "--prefer", "robust", "--json", *storage).out)
    assert chosen["pick"]["values"]["robust"] == best and "the most accurate on affine copies of 3" in chosen["why"][0]
    assert "on affine copies" in command("show", "0", *storage).out
    assert "test robust" in command("trials", "--wide", *storage).out
    head, *rows = command("trials", "--csv", *storage).out.splitlines()
    assert {"robust", "test_robust"} <= set(head.split(",")) and len(rows) == 3
    refused = command("front", "--anytime", *storage)
    assert refused.code == 2 and "the anytime view has no value of it" in refused.err
    assert command("front", "--anytime", "--objectives", "acc,time,params", *storage).code == 0
    assert command("pick", "--anytime", *storage).code == command("trials", "--anytime", *storage).code == 2
    shown = content_of(tmp_path / "s.db")
    assert [c["name"] for c in shown["columns"]][:4] == NAMES.split(",") and not shown["study"]["has_epochs"]
    assert all(0 <= design["test_robust"] <= 100 for design in shown["designs"])
    assert command("report", "--out", "r.html", *storage).code == 0
    assert command("front", "--objectives", "acc,robust", *storage).code == 0
    assert command("report", "--anytime", *storage).code == command("view", "--anytime", "--no-open", *storage).code == 2
    design = f"batch_schedule=8 decoder=small shift=0 routing_iterations={made['designs'][0]['design']['routing_iterations']}"
    how = ("--dataset", tiny, "--epochs", "2", "--device", "cpu", *storage)
    trained = json.loads(command("train", "--design", design, "--objectives", NAMES, "--json", *how).out)
    assert trained["values"]["robust"] == made["designs"][0]["values"]["robust"]  # trained again
    retrained = json.loads(command("retrain", "0", "--study", "r", "--epochs", "1", "--device", "cpu", "--json", *storage).out)
    assert 0 <= retrained["values"]["robust"] <= 100
    again = command("explore", "r.toml", "--anytime", *storage)
    assert again.code == 2 and "robust is measured at the selected epoch" in again.err


def test_optuna_maximizes_it(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny)):
        found = optuna.load_study(study_name="r", storage=f"sqlite:///{tmp_path / 's.db'}")
    assert [direction.name for direction in found.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE", "MAXIMIZE"]
