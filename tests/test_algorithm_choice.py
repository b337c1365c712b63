"""The convolution algorithm of a batch size: measured once, repeated from the store, and kept by the runs that began with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
import torch

from fastrcaps_dse import data, store, trainer
from fastrcaps_dse.capsnet.algorithms import Algorithm, Algorithms, algorithms_from_dict, contenders, default_algorithm
from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.runs.kept_algorithms import KeptAlgorithms, describe_choices
from fastrcaps_dse.store import Store
from fastrcaps_dse.trainer import AlgorithmTiming, Training, algorithm_choice
from tests.sessions import Heard, curves, curves_of, explored, opened, shared, spec_of

CPU = torch.device("cpu")
Given = Callable[[Algorithm], list[int]]
SIZES = "[8, 16]"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Lets every measurement say that an algorithm is the fastest; the batch sizes that were measured."""
    monkeypatch.setenv(algorithm_choice.VARIABLE, "measured")

    def say(algorithm: Algorithm) -> list[int]:
        measured: list[int] = []

        def fastest(shape: ImageShape, batch_size: int, precision: str) -> AlgorithmTiming:
            measured.append(batch_size)
            return AlgorithmTiming(algorithm=algorithm, seconds={algorithm: 0.5})

        monkeypatch.setattr("fastrcaps_dse.runs.kept_algorithms.fastest_algorithm", fastest)
        return measured

    return say


def kept_in(ours: Store) -> dict[int, str]:
    return {choice.batch_size: choice.algorithm for choice in ours.algorithm_choices()}


def test_a_choice_is_measured_once_and_repeated_from_the_store(tmp_path: Path, tiny: Path, given: Given) -> None:
    point = parse_design("batch_schedule=8")
    with opened(tmp_path, spec_of(tiny)) as study:
        measured = given("dft")
        first = KeptAlgorithms(study.context)
        assert first.looked_up(point, 8) == Algorithms()
        assert first.algorithms(point, [8, 2]) == Algorithms(chosen={8: "dft"}) == first.looked_up(point, 8)  # 2 has no rivals
        later = given("direct")
        assert all(kept.algorithms(point, [8]).chosen == {8: "dft"} for kept in (first, KeptAlgorithms(study.context)))
        assert measured == [8] and later == [] and kept_in(study.store) == {8: "dft"}
        assert KeptAlgorithms(study.context).algorithms(parse_design("lenet5"), [8]) == Algorithms()
        another = KeptAlgorithms(replace(study.context, precision="bfloat16"))
        assert another.algorithms(point, [8]).chosen == {8: "direct"} and later == [8]
        (_, kept) = study.store.algorithm_choices()
        assert study.store.keep_algorithm_choice(replace(kept, algorithm="tiles")) == kept  # the earlier one stays
        assert "dft for 8" in str(describe_choices(study.store))


def test_fixed_limits_instead_of_measuring(tmp_path: Path, tiny: Path, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = given("dft")
    with opened(tmp_path, spec_of(tiny)) as study:
        monkeypatch.setenv(algorithm_choice.VARIABLE, "default")
        assert KeptAlgorithms(study.context).algorithms(parse_design("fixed"), [8, 16]) == Algorithms() and not measured
        assert describe_choices(study.store) is None
        monkeypatch.setenv(algorithm_choice.VARIABLE, "defualt")
        with pytest.raises(InputError, match="FASTRCAPS_ALGORITHMS is 'defualt'"):
            KeptAlgorithms(study.context).algorithms(parse_design("fixed"), [8])


@pytest.mark.slow
@pytest.mark.parametrize("stop", [pytest.param(1, marks=pytest.mark.thorough), 3])
@pytest.mark.usefixtures("small_capsnet")
def test_a_run_goes_on_with_the_algorithms_that_it_began_with(tmp_path: Path, tiny: Path, given: Given, stop: int) -> None:
    """Whatever is kept by then: the epochs are those of an uninterrupted run, bit for bit."""
    given("dft")
    with opened(tmp_path / "whole", spec_of(tiny)) as study:
        explored(study)
        expected = curves(study.store)
        assert study.store.runs(study.row.study_id)[0].algorithms == {"8": "dft", "16": "dft"}
    with opened(tmp_path / "begun", spec_of(tiny)) as study, pytest.raises(KeyboardInterrupt):
        explored(study, Heard(stop_after=stop))
    given("direct")
    with opened(tmp_path / "begun", spec_of(tiny)) as study:
        with study.store.engine.begin() as connection:
            connection.execute(sa.text("UPDATE fastrcaps_algorithm_choice SET algorithm = 'direct'"))
        heard = Heard()
        explored(study, heard)
        assert heard.begun == [stop] and curves(study.store) == expected
    with opened(tmp_path / "other", spec_of(tiny)) as study:
        explored(study)
        assert curves(study.store) != expected  # the algorithms do differ


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_prefixes_of_other_algorithms_are_not_taken(tmp_path: Path, tiny: Path, given: Given) -> None:
    given("dft")
    shared(tmp_path, tiny, epochs=2, schedules=SIZES)
    given("direct")
    ours = Store(store.parse_url(str(tmp_path / "s.db")))
    with ours.engine.begin() as connection:
        connection.execute(sa.text("UPDATE fastrcaps_algorithm_choice SET algorithm = 'direct' WHERE batch_size = 8"))
    ours, heard = shared(tmp_path, tiny, name="longer", epochs=4, schedules=SIZES)
    assert sorted(heard.begun) == [0, 2]
    (tmp_path / "fresh").mkdir()
    with opened(tmp_path / "fresh", spec_of(tiny)) as study:
        KeptAlgorithms(study.context).algorithms(parse_design("fixed"), [8])
        given("dft")
        KeptAlgorithms(study.context).algorithms(parse_design("fixed"), [16])
    fresh, _ = shared(tmp_path / "fresh", tiny, name="longer", fresh=True, epochs=4, schedules=SIZES)
    assert curves_of(ours, "longer") == curves_of(fresh, "longer")


def test_keys_of_prefixes_tell_the_algorithms_that_have_been_used(tiny: Path) -> None:
    dataset = data.load(str(tiny))

    def keys(algorithms: Algorithms) -> list[str]:
        point = parse_design("batch_schedule=adabatch(head_batch=8,tail_batch=16,head_epochs=1)")
        return Training(point, 0, dataset, epochs=3, device=CPU, algorithms=algorithms).prefix_keys()

    by_default = keys(Algorithms())
    assert keys(Algorithms(chosen={8: "tiles", 300: "tiles"})) == by_default  # 8 has it anyway, 300 is never used
    tail = keys(Algorithms(chosen={16: "dft"}))
    assert tail[0] == by_default[0] and not set(tail[1:]) & set(by_default)
    assert not set(keys(Algorithms(chosen={8: "dft"}))) & set(by_default)
    last = keys(Algorithms(chosen={7: "dft"}))  # of 39 images, the last batch in both phases
    assert not set(last) & set(by_default)


def test_steps_of_another_algorithm_have_a_time_of_their_own(tmp_path: Path, tiny: Path, given: Given) -> None:
    given("dft")
    point = parse_design("batch_schedule=8 decoder=small")
    with opened(tmp_path, spec_of(tiny)) as study:
        mine = study.cost_model.step_seconds(point, 8)
        others = study.cost_model.step_seconds(point, 8, Algorithms())
        by_key = {row.key: row.seconds for row in study.store.step_times()}
        assert sorted(key.endswith("batch 8, float32, dft") for key in by_key) == [False, True]
        assert {mine, others} == set(by_key.values()) and study.cost_model.step_seconds(point, 8) == mine
        assert study.cost_model.estimate(point) is not None


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_measuring_times_each_algorithm_that_can_win(precision: Precision) -> None:
    shape = ImageShape(channels=1, height=17, width=17, classes=3)
    kind = algorithm_choice.work_type(precision)
    found = trainer.fastest_algorithm(shape, 16, precision)
    assert set(found.seconds) == set(contenders(16, kind)) and min(found.seconds.values()) > 0
    assert found.algorithm == algorithm_choice.choose(found.seconds, default_algorithm(16, kind))
    assert trainer.fastest_algorithm(shape, 1, precision) == AlgorithmTiming(algorithm="direct", seconds={})


def test_the_default_algorithm_stays_unless_another_is_clearly_faster() -> None:
    assert algorithm_choice.choose({"direct": 0.97, "tiles": 1.0, "dft": 2.0}, "tiles") == "tiles"
    assert algorithm_choice.choose({"direct": 0.90, "tiles": 1.0, "dft": 2.0}, "tiles") == "direct"
    assert algorithm_choice.choose({"direct": 3.0, "dft": 2.0}, "tiles") == "dft"


def test_what_is_far_behind_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    calls: list[str] = []
    monkeypatch.setattr("fastrcaps_dse.trainer.algorithm_choice.time.perf_counter", lambda: now)

    def act(name: str, seconds: float) -> Callable[[], object]:
        def take() -> None:
            nonlocal now
            calls.append(name)
            now += seconds

        return take

    acts: dict[Algorithm, Callable[[], object]] = {"direct": act("direct", 0.01), "tiles": act("tiles", 0.011)}
    seconds = algorithm_choice._time_in_turn(acts | {"dft": act("dft", 0.1)})
    assert calls.count("dft") == 2 and calls.count("direct") == algorithm_choice.ROUNDS + 1  # a warm-up each
    assert seconds == pytest.approx({"direct": 0.01, "tiles": 0.011, "dft": 0.1})


def test_the_stored_form() -> None:
    algorithms = Algorithms(chosen={128: "dft", 16: "direct"})
    assert algorithms.to_dict() == {"16": "direct", "128": "dft"} and algorithms_from_dict(algorithms.to_dict()) == algorithms
    with pytest.raises(ValueError, match="no convolution algorithm 'fft'"):
        algorithms_from_dict({"16": "fft"})
