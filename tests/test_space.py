"""Design points, spaces and study files."""

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.notation import parse_policy, parse_schedule, to_text
from fastrcaps_dse.problem.schedules import (
    AdaBatch,
    AdaBatchDoubling,
    BatchSchedule,
    ExponentialDecay,
    FineTune,
    FixedBatch,
    FixedRate,
    LrPolicy,
    OneCycle,
    WarmRestarts,
    WarmRestartsPolynomial,
)
from fastrcaps_dse.problem.space import NAMED_DESIGNS, DesignPoint, design_from_dict, design_to_dict, paper_name, parse_design
from fastrcaps_dse.problem.study_file import find_study_file, load_study, parse_study
from fastrcaps_dse.problem.study_spec import differences, override, single_design_study

STUDIES = sorted((Path(__file__).parent.parent / "studies").glob("*.toml"))

rate = st.floats(1e-6, 1e-2).map(lambda x: float(f"{x:.6g}"))
phase: Literal["phase"] = "phase"
cycle = st.one_of(st.just(phase), st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0]))
ranges = st.tuples(rate, rate).map(sorted)
shares = st.floats(1e-4, 0.999).map(lambda x: float(f"{x:.6g}"))
policies = st.one_of(
    st.builds(FixedRate, lr=rate),
    st.builds(ExponentialDecay, lr=rate, decay_steps=st.integers(1, 9999)),
    ranges.flatmap(lambda r: st.just(OneCycle(lr_min=r[0], lr_max=r[1]))),
    st.tuples(ranges, cycle).map(lambda v: WarmRestarts(lr_min=v[0][0], lr_max=v[0][1], cycle=v[1])),
    st.tuples(ranges, cycle).map(lambda v: WarmRestartsPolynomial(lr_min=v[0][0], lr_max=v[0][1], cycle=v[1])),
    st.tuples(ranges, shares).map(lambda v: FineTune(tail_lr=v[0][0], lr=v[0][1], tail=v[1])),
)
schedules = st.one_of(
    st.builds(FixedBatch, size=st.integers(1, 999)),
    st.builds(AdaBatch, head_batch=st.integers(1, 9), head_epochs=st.integers(1, 29), tail_batch=st.integers(1, 99)),
    st.builds(AdaBatchDoubling, p=st.integers(0, 16)),
)
designs = st.builds(
    DesignPoint,
    lr_policy=policies,
    batch_schedule=schedules,
    weight_sharing=st.booleans(),
    decoder=st.sampled_from(["full", "small"]),
    routing_iterations=st.integers(1, 5),
    shift=st.integers(0, 4),
    flip=st.booleans(),
)


@given(designs)
def test_a_design_comes_back_from_its_texts(point: DesignPoint) -> None:
    assert parse_policy(to_text(point.lr_policy)) == point.lr_policy
    assert parse_schedule(to_text(point.batch_schedule)) == point.batch_schedule
    assert design_from_dict(design_to_dict(point)) == point
    assert parse_design(point.key) == point
    assert " " not in to_text(point.lr_policy)  # a key is split at its spaces


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (ExponentialDecay(lr=1e-5, decay_steps=1000), "exp-decay(lr=1e-05,decay_steps=1000)"),
        (OneCycle(lr_max=2e-3), "one-cycle(lr_max=0.002)"),
        (WarmRestarts(cycle="phase"), "warm-restarts(cycle=phase)"),
        (WarmRestarts(cycle=2.0), "warm-restarts(cycle=2.0)"),
        (WarmRestartsPolynomial(power=1 / 3), "warm-restarts-poly(power=0.333333)"),
        (FineTune(), "fine-tune"),
        (FineTune(lr=2e-3, tail_lr=5e-5, tail=0.25), "fine-tune(lr=0.002,tail_lr=5e-05,tail=0.25)"),
        (FixedBatch(size=128), "128"),
        (AdaBatch(), "adabatch"),
        (AdaBatchDoubling(p=4, head_epochs=2), "adabatch-p(p=4,head_epochs=2)"),
    ],
)
def test_the_texts_of_parts(part: LrPolicy | BatchSchedule, text: str) -> None:
    assert to_text(part) == text


@given(designs, designs)
def test_equal_keys_are_equal_designs(a: DesignPoint, b: DesignPoint) -> None:
    assert (a.key == b.key) == (a == b)


@given(designs, designs)
def test_a_label_is_read_back_and_no_two_designs_have_the_same(a: DesignPoint, b: DesignPoint) -> None:
    assert parse_design(a.label) == a
    assert (a.label == b.label) == (a == b)


@pytest.mark.parametrize(
    ("design", "label"),
    [
        ("fixed", "fixed · b16"),
        ("one-cycle", "one-cycle · b16"),
        ("adabatch", "fixed · b1->16"),
        ("wab", "wab · b1->16"),
        ("ws", "fixed · b16 · ws+small"),
        ("wab+ws", "wab · b1->16 · ws+small"),
        ("lenet5", "lenet5 · fixed · b16"),
        ("weight_sharing=true", "fixed · b16 · ws"),
        ("decoder=small", "fixed · b16 · small"),
        ("lr_policy=one-cycle(lr_max=0.003) batch_schedule=8 shift=0", "one-cycle(max 3e-3) · b8 · shift 0"),
        ("lr_policy=fixed(lr=0.0005) routing_iterations=1", "fixed(lr 5e-4) · b16 · routing 1"),
        ("lr_policy=exp-decay(decay=0.9,decay_steps=500)", "exp-decay(decay 0.9, decay_steps 500) · b16"),
        ("lr_policy=warm-restarts(cycle=phase)", "warm-restarts(cycle phase) · b16"),
        ("batch_schedule=adabatch(head_batch=4,head_epochs=5)", "fixed · b4->16(head 5)"),
        ("lr_policy=warm-restarts(cycle=phase) batch_schedule=adabatch-p", "wab · b1->8->16->32"),
        ("lr_policy=fine-tune(tail_lr=5e-5,tail=0.1) batch_schedule=128", "fine-tune(tail_lr 5e-5, tail 0.1) · b128"),
        ("decoder=small shift=1 flip=true", "fixed · b16 · small · shift 1 · flip"),
        ("network=lenet5 flip=true", "lenet5 · fixed · b16 · flip"),
    ],
)
def test_the_labels_of_designs(design: str, label: str) -> None:
    assert parse_design(design).label == label and parse_design(label) == parse_design(design)


def test_the_papers_eight_designs() -> None:
    assert list(NAMED_DESIGNS) == ["fixed", "exp-decay", "one-cycle", "warm-restarts", "adabatch", "wab", "ws", "wab+ws"]
    for name, point in NAMED_DESIGNS.items():
        assert parse_design(name) == point and paper_name(point) == name
    assert paper_name(DesignPoint(shift=0)) is None
    wab = NAMED_DESIGNS["wab+ws"]
    assert wab.lr_policy == WarmRestarts(cycle="phase") and wab.batch_schedule == AdaBatch(head_batch=1, tail_batch=16)
    assert wab.weight_sharing and wab.decoder == "small"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("wab+wz", "unknown design 'wab\\+wz'", "did you mean 'wab+ws'"),
        ("lr_policy=one-cylce", "unknown learning-rate policy 'one-cylce'", "did you mean 'one-cycle'"),
        ("lr_policy=one-cycle(lr_mx=1)", "unknown field 'lr_mx'", "did you mean 'lr_max'"),
        ("lr_policy=one-cycle(lr_max=big)", "lr_max must be a number", "e.g. lr_max="),
        ("lr_policy=exp-decay(decay_steps=2.5)", "decay_steps must be a whole number, got '2.5'", "e.g. decay_steps=2000"),
        ("lr_policy=warm-restarts(cycle=week)", "cycle must be a number, got 'week'", "e.g. cycle=1.0"),
        ("lr_policy=one-cycle(lr_min=1)", "lr_min <= lr_max", "ranges"),
        ("batch_schedule=0", "at least 1", "ranges"),
        ("batch_schedule=adbatch", "unknown batch-size schedule", "did you mean 'adabatch'"),
        ("decoder=tiny", "unknown decoder 'tiny'", "known: full, small"),
        ("decder=full", "unknown dimension 'decder'", "did you mean 'decoder'"),
        ("weight_sharing=maybe", "weight_sharing must be true or false", ""),
        ("routing_iterations=0", "must be 1 to 10", "3"),
        ("network=lenet5 decoder=small", "lenet5 has no capsules", "leave"),
        ("one-cycle ·", "unknown batch-size schedule ''", "b1->16"),
        ("lenet5 · fixed", "a learning-rate policy and a batch size", "one-cycle · b16"),
        ("one-cycle · 16", "unknown batch-size schedule '16'", "b16"),
        ("one-cycle · b0", "at least 1", "ranges"),
        ("one-cycle · b1->8->16->31", "unknown batch-size schedule", "b1->16"),
        ("one-cycel · b16", "unknown learning-rate policy 'one-cycel'", "did you mean 'one-cycle'"),
        ("one-cycle(mx 1) · b16", "unknown field 'mx'", "did you mean 'lr_max'"),
        ("wab · b16", "wab changes the batch size", "wab · b1->16"),
        ("fixed · b16 · tiny", "unknown part 'tiny'", "ws+small"),
        ("fixed · b16 · ws · small", "'small' comes twice or late", "ws+small"),
    ],
)
def test_bad_designs(text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        parse_design(text)
    assert hint in error.value.hint


# --- study files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_the_committed_study_files(path: Path) -> None:
    spec = load_study(path)
    assert spec.name == path.stem and spec.text == path.read_text(encoding="utf-8")
    for point in spec.first_designs:
        assert spec.space.admits(point)
    assert all(spec.space.base_of(point.lr_policy) for point in spec.space.examples())
    if path.stem.endswith("-tenth") and path.stem.startswith("paper"):
        assert (spec.epochs, spec.seeds, spec.protocol, spec.train_images) == (30, 3, "both", 6_000) and spec.scale_decay
        capsnets = [point for point in spec.first_designs if point.network == "capsnet"]
        assert {point.key for point in capsnets} == {point.key for point in NAMED_DESIGNS.values()}
        assert len(spec.first_designs) == spec.trials == len(capsnets) + 5
    elif path.stem.endswith("-small"):
        assert (spec.epochs, spec.seeds, spec.protocol, spec.train_images) == (30, 5, "validation", 200) and spec.scale_decay
        assert {point.key for point in spec.first_designs} == {point.key for point in NAMED_DESIGNS.values()}
        assert spec.trials == len(spec.first_designs)
    elif path.stem.startswith("paper"):
        assert (spec.epochs, spec.seeds, spec.protocol) == (30, 5, "paper")
        assert spec.first_designs == list(NAMED_DESIGNS.values())
        assert all(part in spec.space.batch_schedule for part in (FixedBatch(size=1), FixedBatch(size=128)))


SMALL = """
epochs = 2
[space]
lr_policy = ["fixed", "one-cycle"]
batch_schedule = ["fixed", "adabatch"]
weight_sharing = [false]
decoder = ["small"]
[space.fields]
size = [8, 16]
tail_batch = { low = 16, high = 48, step = 16 }
"""


def test_a_finite_space_lists_each_design_once() -> None:
    space = parse_study(SMALL, default_name="small").space
    found = list(space.designs())
    assert space.size() == len(found) == len({p.key for p in found}) == 2 * (2 + 3)
    assert all(space.admits(point) for point in found)
    assert not space.admits(DesignPoint()) and space.admits(DesignPoint(decoder="small", batch_schedule=FixedBatch(size=8)))


def test_an_infinite_space_has_no_size() -> None:
    spec = parse_study(SMALL + "lr_max = { low = 1e-3, high = 1e-2, log = true }\n", default_name="x")
    assert spec.space.size() is None
    with pytest.raises(InputError, match="the space has infinitely many"):
        override(spec, sampler="exhaustive")


def test_lenet_designs_that_differ_in_nothing_are_one() -> None:
    space = parse_study('[space]\nlr_policy = ["fixed"]\nbatch_schedule = [16]\nnetwork = ["lenet5"]\n', default_name="x").space
    assert space.size() == 1


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("epoch = 3", "unknown key 'epoch'", "did you mean 'epochs'"),
        ("epochs = 0", "epochs must be at least 1", ""),
        ("trials = -2", "trials must be at least 1", ""),
        ("seeds = 0", "seeds must be at least 1", ""),
        ("seed = -1", "seed must be 0 or more", ""),
        ("epochs = 2.5", "must be a whole number", ""),
        ("epochs = true", "must be a whole number", ""),
        ("name = 3", "must be a text", ""),
        ('sampler = "tp"', "unknown sampler 'tp'", "did you mean 'tpe'"),
        ('protocol = "papr"', "unknown protocol", "did you mean 'paper'"),
        ('objectives = ["acc", "tme"]', "unknown objective", "'time'"),
        ("objectives = 3", "objectives must be a list", ""),
        ('first = ["lenet5"]', "does not admit 'lenet5", "widen"),
        ("epochs =", "is not valid TOML", "quick.toml"),
        ("space = 3", "space must be a table", "[space]"),
        ("[space]\npolicy = []", "unknown key 'policy'", "lr_policy"),
        ("[space]\nlr_policy = []", "lists nothing", "at least one"),
        ('[space]\nlr_policy = ["fixd"]', "unknown learning-rate policy", "'fixed'"),
        ('[space]\ndecoder = ["big"]', "unknown decoder", "full, small"),
        ("[space]\nweight_sharing = [1]", "weight_sharing lists 1", "true or false"),
        ("[space]\nflip = [0]", "flip lists 0", "true or false"),
        ('first = ["flip=true"]', "does not admit 'fixed · b16 · flip'", "widen"),
        ("[space]\nrouting_iterations = [0]", "routing_iterations must be 1 to 10", ""),
        ("[space.fields]\nlr_mx = [1]", "unknown key 'lr_mx'", "'lr_max'"),
        ("[space.fields]\nlr_max = { low = 1e-3 }", "needs low and high", ""),
        ("[space.fields]\nlr_max = { low = 2e-3, high = 1e-3 }", "bad range", ""),
        ("[space.fields]\nlr_max = { low = 1e-5, high = 1e-3 }", "lr_min <= lr_max", "narrow"),
        ("[space.fields]\nlr_min = { low = 0, high = 1e-4 }", "0 < lr_min", "narrow"),
        ('[space.fields]\nlr_max = [1e-3, "nan"]', "got lr_min=0.0001, lr_max=nan", "narrow"),
        ('[space]\nlr_policy = ["fine-tune"]\n[space.fields]\nlr = { low = 1e-6, high = 1e-3 }', "tail_lr <= lr", "narrow"),
        ('[space]\nlr_policy = ["fine-tune"]\n[space.fields]\ntail = [0.5, 1]', "tail must be", "narrow"),
        ("[space.fields]\nhead_epochs = { low = 1, high = 40 }", "head_epochs must be", "narrow"),
    ],
)
def test_bad_study_files(text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        parse_study(text, default_name="bad")
    assert hint in error.value.hint


def test_what_makes_a_study_another_one() -> None:
    spec = parse_study(SMALL, default_name="small")
    assert not differences(spec.identity(), override(spec, trials=99, name="other").identity())
    other = override(spec, epochs=3, dataset="fashion-mnist-sample")
    assert differences(spec.identity(), other.identity()) == [
        "dataset: mnist-sample there, fashion-mnist-sample here",
        "epochs: 2 there, 3 here",
    ]
    wider = parse_study(SMALL.replace("high = 48", "high = 64"), default_name="small")
    assert differences(spec.identity(), wider.identity())[0].startswith("space.fields.tail_batch")


def test_study_files_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_study_file("quick").name == "quick"  # the installed one
    with pytest.raises(InputError, match="no study file 'quik'") as error:
        find_study_file("quik")
    assert "did you mean 'quick'" in error.value.hint
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "quick.toml").write_text("epochs = 7\n")
    assert find_study_file("quick").epochs == 7
    with pytest.raises(InputError, match=r"no study file gone\.toml"):
        find_study_file("gone.toml")


def test_the_study_of_one_design() -> None:
    point = parse_design("wab")
    spec = single_design_study(point, name=None, dataset="mnist-sample", epochs=4, seeds=2)
    assert spec.space.size() == 1 and spec.first_designs == [point] and spec.epochs == 4
    assert spec.name == "train wab mnist-sample 4 epochs validation seed 0 x2"
