"""The paper's claims: what the paper says of them by its own tables, and verdicts on studies whose effects are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fastrcaps_dse.analysis.claims import (
    CLAIMS,
    Outcome,
    epochs_saved,
    fewer_epochs,
    longer_time,
    reached_earlier,
    seconds_saved,
)
from fastrcaps_dse.analysis.outcomes import Selection
from fastrcaps_dse.analysis.paired import holm
from fastrcaps_dse.analysis.published import CAPSNET, LENET5, published_data, published_row, seconds_until
from fastrcaps_dse.analysis.reproduction import Finding, Reproduction, findings, reproduce
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.space import LENET5_DESIGNS, NAMED_DESIGNS, design_to_dict, lenet5_name, paper_name, parse_design
from tests.paper_studies import Trained, write_paper_study

NOISE = (0.0, 0.03, -0.02, 0.01, -0.03, 0.02)


def outcome(
    seed: int, acc: float, *, epoch: int = 5, epochs: int = 10, seconds: float = 10.0, params: int = 8_215_728
) -> Outcome:
    """A run whose accuracy rises by a point an epoch up to `epoch`, and stays."""
    curve = [acc - max(0, epoch - number) for number in range(1, epochs + 1)]
    each = [seconds * number for number in range(1, epochs + 1)]
    return Outcome(seed=seed, acc=acc, epoch=epoch, curve=curve, seconds=each, params=params)


def by_seed(acc: float, noise: Sequence[float] = NOISE, *, epoch: int = 5, late: int = 0, **how: Any) -> dict[int, Outcome]:
    """Six runs; in every other one the highest accuracy comes `late` epochs later."""
    return {seed: outcome(seed, acc + change, epoch=epoch + late * (seed % 2), **how) for seed, change in enumerate(noise)}


def named(found: Sequence[Finding], name: str) -> Finding:
    return next(one for one in found if one.claim.name == name)


# --- what the paper says ------------------------------------------------------------------------------------------------


def test_the_effects_that_the_paper_states_follow_from_its_tables() -> None:
    """But for the 58.6 % and the 18 %, which it states itself; seconds are counted by its seconds of an epoch."""
    seen = 0
    for data, table in CAPSNET.items():
        for claim in CLAIMS:
            effect, (a, b) = claim.paper[data].effect, (table[name] for name in claim.designs)
            if effect is None:
                assert data == "fashion-mnist" and claim.name in ("warm-restarts-earlier", "epochs-saved", "seconds-saved")
                continue
            expected = {
                "wab-accuracy": a.acc - b.acc,
                "wab-epochs": b.epoch - a.epoch,
                "warm-restarts-earlier": b.epoch - (a.reaches_fixed or 0),
                "adabatch-time": 100 * (seconds_until(a.epoch, adabatch=True) / seconds_until(b.epoch, adabatch=False) - 1),
                "ws-parameters": 18.0,
                "ws-accuracy": a.acc - b.acc,
                "wab-regains-accuracy": a.acc - b.acc,
                "epochs-saved": 58.6,
                "seconds-saved": 100
                * (1 - seconds_until(a.reaches_fixed or 0, adabatch=True) / seconds_until(b.epoch, adabatch=False)),
            }[claim.name]
            assert effect == pytest.approx(expected, abs=1e-9), (data, claim.name)
            seen += 1
            contradicts = effect < (claim.margin if claim.statistic else 0)
            assert bool(claim.paper[data].remark) >= contradicts, "what contradicts the claim is said"
    assert seen == 15 and round(100 * (1 - 12 / 29), 1) == 58.6


def test_the_data_sets_of_the_paper_are_found_by_name() -> None:
    assert published_data("mnist") == published_data("mnist-sample") == published_data("some/folder/MNIST") == "mnist"
    assert published_data("fashion-mnist-sample") == "fashion-mnist" and published_data("kmnist") is None
    row = published_row("fashion-mnist", "wab+ws")
    assert row is not None and (row.acc, row.epoch) == (90.67, 20) and published_row("cifar10", "wab") is None
    assert all(set(table) == set(NAMED_DESIGNS) for table in CAPSNET.values()) and set(LENET5["mnist"]) == set(LENET5_DESIGNS)


def test_lenet5_designs_have_names_and_keep_their_keys() -> None:
    for name, point in LENET5_DESIGNS.items():
        assert parse_design(name) == point == parse_design(point.key) == parse_design(point.label)
        assert lenet5_name(point) == name and paper_name(point) is None and point.network == "lenet5"
    assert LENET5_DESIGNS["lenet5-one-cycle"] == parse_design("network=lenet5 lr_policy=one-cycle")
    assert (
        design_to_dict(LENET5_DESIGNS["lenet5-adabatch"])["batch_schedule"]
        == design_to_dict(NAMED_DESIGNS["adabatch"])["batch_schedule"]
    )
    assert lenet5_name(NAMED_DESIGNS["fixed"]) is None and next(iter(LENET5_DESIGNS)) == "lenet5"


# --- statistics of a seed -----------------------------------------------------------------------------------------------


def test_statistics_of_a_seed_by_hand() -> None:
    """Fixed reaches 90 % in epoch 8 of 10; the other is at 91 % in epoch 5, and so at 90 % in epoch 4, of 25 s each."""
    fixed, other = outcome(3, 90.0, epoch=8), outcome(3, 91.0, epoch=5, seconds=25.0)
    assert fewer_epochs(other, fixed).value == 3 and reached_earlier(other, fixed).value == 4
    assert longer_time(other, fixed).value == pytest.approx(math.log(125 / 80))
    assert epochs_saved(other, fixed).value == pytest.approx(math.log(8 / 4))
    assert seconds_saved(other, fixed).value == pytest.approx(math.log(80 / 100))
    assert not any(s(other, fixed).at_most for s in (reached_earlier, epochs_saved, seconds_saved))
    saved = next(claim for claim in CLAIMS if claim.name == "epochs-saved")
    assert saved.in_unit(math.log(8 / 4)) == pytest.approx(50.0) and saved.in_unit(math.log(0.5)) == pytest.approx(-100.0)
    more = next(claim for claim in CLAIMS if claim.name == "adabatch-time")
    assert more.in_unit(math.log(1.25)) == pytest.approx(25.0)


def test_a_run_that_never_reaches_is_censored() -> None:
    """It would need an epoch more than it has, at the least."""
    fixed, other = outcome(0, 92.0, epoch=8), outcome(0, 91.0, epoch=5, seconds=2.0)
    assert other.first_reaches(92.0) is None and reached_earlier(other, fixed).at_most
    assert reached_earlier(other, fixed).value == 8 - 11 and epochs_saved(other, fixed).value == pytest.approx(math.log(8 / 11))
    assert seconds_saved(other, fixed).at_most and seconds_saved(other, fixed).value == pytest.approx(math.log(80 / 20))


# --- verdicts -----------------------------------------------------------------------------------------------------------

SUPPORTING: dict[str, dict[int, Outcome]] = {
    "fixed": by_seed(99.0, epoch=8, late=1, noise=(0.0, 0.02, -0.02, 0.01, -0.01, 0.0)),
    "wab": by_seed(99.6, epoch=4),
    "warm-restarts": by_seed(99.5, epoch=5),
    "adabatch": by_seed(99.4, epoch=6, seconds=50.0),
    "ws": by_seed(98.9, epoch=8, params=6_708_400),
    "wab+ws": by_seed(99.3, epoch=4, noise=(0.0, 0.01, -0.02, 0.03, -0.03, 0.02), params=6_708_400),
}


def test_claims_are_supported_by_effects_that_are_there() -> None:
    found = findings(SUPPORTING)
    assert {one.claim.name: one.verdict for one in found} == dict.fromkeys((claim.name for claim in CLAIMS), "supported")
    accuracy = named(found, "wab-accuracy")
    assert accuracy.effect == pytest.approx(0.6 + 0.01 / 6, abs=1e-6) and accuracy.low is not None and accuracy.high is not None
    assert accuracy.effect is not None and accuracy.low < accuracy.effect < accuracy.high and accuracy.seeds == tuple(range(6))
    parameters = named(found, "ws-parameters")
    assert parameters.effect == pytest.approx(100 * (1 - 6_708_400 / 8_215_728)) and parameters.p_for is None
    assert named(found, "adabatch-time").effect == pytest.approx(100 * (300 / math.sqrt(80 * 90) - 1))


def test_claims_are_contradicted_by_the_opposite() -> None:
    """Each of the two designs of a claim is the other."""
    swapped = {"fixed": SUPPORTING["wab"], "wab": SUPPORTING["fixed"]}
    swapped |= {
        "wab+ws": by_seed(97.0, NOISE[::-1]),
        "ws": by_seed(98.5, (0.01, 0.0, -0.02, 0.03, 0.0, -0.01), params=8_000_000),
    }
    found = findings(swapped)
    verdicts = {one.claim.name: one.verdict for one in found}
    assert verdicts == {claim.name: "contradicted" for claim in CLAIMS} | dict.fromkeys(
        ("warm-restarts-earlier", "adabatch-time"), "open"
    )
    never = named(found, "epochs-saved")
    assert never.test is not None and never.test.method == "sign" and never.test.censored == 6 and never.low is None
    assert "6 runs never reach it" in never.why and never.p_for == 1.0
    assert never.p_against == 2 / 2**6  # two of six tests by signs alone
    assert named(found, "warm-restarts-earlier").why == "the study has no warm-restarts"


def test_the_loss_of_weight_sharing_is_judged_against_its_margin() -> None:
    """A loss of .2 points is a loss, and less than .3; one of .4 is not less; one that nobody can tell from .3 is open."""
    for loss, verdict in ((0.2, "supported"), (0.4, "contradicted"), (0.3, "open")):
        found = named(findings({"fixed": by_seed(99.0), "ws": by_seed(99.0 - loss, NOISE[::-1])}), "ws-accuracy")
        assert found.verdict == verdict and found.effect == pytest.approx(-loss)


def test_one_seed_and_seeds_that_are_not_in_common_leave_a_claim_open() -> None:
    one = {name: {0: runs[0]} for name, runs in SUPPORTING.items()}
    found = findings(one)
    assert {named(found, claim.name).verdict for claim in CLAIMS if claim.statistic} == {"open"}
    assert named(found, "wab-accuracy").why == "one seed in common, and a test needs two"
    assert named(found, "ws-parameters").verdict == "supported"
    apart = {"fixed": {0: SUPPORTING["fixed"][0]}, "wab": {1: SUPPORTING["wab"][1]}}
    assert named(findings(apart), "wab-accuracy").why == "wab and fixed have no seed in common"
    some = {"fixed": SUPPORTING["fixed"], "wab": {seed: run for seed, run in SUPPORTING["wab"].items() if seed in (1, 3, 4)}}
    assert named(findings(some), "wab-accuracy").seeds == (1, 3, 4)


def test_p_values_are_corrected_for_the_claims_that_can_be_tested() -> None:
    found = findings(SUPPORTING)
    tested = [one for one in found if one.test is not None]
    assert len(tested) == 8  # all but the parameters
    assert [one.p_for for one in tested] == holm([one.test.above for one in tested if one.test and one.test.above is not None])
    alone = findings({"fixed": SUPPORTING["fixed"], "ws": SUPPORTING["ws"]})
    raw = named(alone, "ws-accuracy")
    assert raw.test is not None and raw.p_for == raw.test.above  # one claim needs no correction


# --- studies ------------------------------------------------------------------------------------------------------------


def reproduced(path: Path, designs: dict[str, list[Trained]], **how: Any) -> Reproduction:
    ours = write_paper_study(path, designs, **how)
    row = ours.study()
    found = reproduce(row, ours.trials(row), ours.epochs_of(row.study_id))
    ours.close()
    return found


CURVES = {0: ([90.0, 95.0, 94.0], [91.0, 92.0, 93.5]), 1: ([90.0, 93.0, 96.0], [91.0, 92.5, 92.0])}
"""By seed: accuracies on held-out images, whose highest is in epoch 2 and 3; on the test set, whose highest is in epoch 3 and 2."""


@pytest.mark.parametrize(
    ("protocol", "selection", "accuracies", "epochs"),
    [
        ("validation", "held-out", (92.0, 92.0), (2, 3)),
        ("both", "held-out", (92.0, 92.0), (2, 3)),
        ("both", "test", (93.5, 92.5), (3, 2)),
        ("paper", "test", (95.0, 96.0), (2, 3)),  # the curve is that of the test set
        ("all-images", "test", (95.0, 96.0), (2, 3)),
    ],
)
def test_the_epoch_is_selected_as_the_protocol_says(
    tmp_path: Path, protocol: str, selection: Selection, accuracies: tuple[float, ...], epochs: tuple[int, ...]
) -> None:
    runs = [Trained(seed=seed, curve=curve, test=test) for seed, (curve, test) in CURVES.items()]
    found = reproduced(tmp_path / "s.db", {"wab": runs}, protocol=protocol)
    (row,) = found.rows
    reached = row.reached[selection]
    assert (reached.acc.mean, reached.epoch.mean) == (sum(accuracies) / 2, sum(epochs) / 2)
    assert reached.seconds.mean == pytest.approx(10 * sum(epochs) / 2)
    if protocol == "both":
        assert row.gain is not None and row.gain.mean == pytest.approx((1.5 + 0.5) / 2) and found.gain == row.gain
    else:
        assert found.selections == (selection,) and row.gain is None and found.gain is None


def test_what_selection_adds_is_the_mean_over_designs_by_seed(tmp_path: Path) -> None:
    def runs(gains: Sequence[float]) -> list[Trained]:
        return [Trained(seed=seed, curve=[90.0, 91.0], test=[92.0 + gain, 92.0]) for seed, gain in enumerate(gains)]

    found = reproduced(tmp_path / "s.db", {"fixed": runs([0.1, 0.3, 0.5]), "wab": runs([0.3, 0.5])}, protocol="both")
    assert found.gain is not None and found.gain.n == 2 and found.gain.mean == pytest.approx((0.2 + 0.4) / 2)
    assert found.gain.error == pytest.approx(0.1)


def test_runs_that_cannot_be_compared_are_left_out_and_named(tmp_path: Path) -> None:
    curve = [90.0, 91.0]
    runs = [
        Trained(seed=seed, curve=curve, ends=ends) for seed, ends in enumerate(("done", "failed", "pruned", "running", "done"))
    ]
    found = reproduced(tmp_path / "s.db", {"fixed": runs, "wab": [Trained(seed=0, curve=curve, ends="failed")]})
    assert found.rows[0].seeds == (0, 4) and found.missing == tuple(name for name in NAMED_DESIGNS if name != "fixed")
    assert found.left_out == ("fixed: 1 run failed, 1 run not finished, 1 run pruned", "wab: 1 run failed")


def test_runs_that_learn_nothing_are_compared_and_named(tmp_path: Path) -> None:
    curves = ([10.0, 15.0, 9.0], [10.0, 15.1], [10.0, 96.0])
    runs = [Trained(seed=seed, curve=curve) for seed, curve in enumerate(curves)]
    found = reproduced(tmp_path / "s.db", {"fixed": [Trained(seed=0, curve=[90.0])], "adabatch": runs})
    assert found.at_chance == ("adabatch: 1 of 3 runs",) and found.rows[1].seeds == (0, 1, 2)


def test_a_study_without_the_designs_is_refused(tmp_path: Path) -> None:
    other = [Trained(seed=0, curve=[90.0])]
    with pytest.raises(InputError, match="has none of the paper's eight designs") as error:
        reproduced(tmp_path / "s.db", {"lr_policy=fixed batch_schedule=128": other, "lenet5": other})
    assert "train --design wab" in error.value.hint
    ours = write_paper_study(tmp_path / "u.db", {})
    row = ours.study()
    ours.close()
    with pytest.raises(InputError, match="has none") as error:
        reproduce(replace(row, identity={**row.identity, "first": [NAMED_DESIGNS["wab"].key]}), [], {})
    assert "explore` goes on" in error.value.hint
    with pytest.raises(InputError, match="no run of the paper's designs to compare: wab: 1 run failed"):
        reproduced(tmp_path / "t.db", {"wab": [Trained(seed=0, curve=[90.0], ends="failed")]})
