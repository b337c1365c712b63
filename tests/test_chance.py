"""What is no better than guessing is called so: on the front, in a pick, on the page; and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
import sqlalchemy as sa
import torch

from fastrcaps_dse import data, session
from fastrcaps_dse.analysis.chance import Guessing, binomial_tail, chance_note, guessing, is_at_chance
from fastrcaps_dse.page.content import study_content
from fastrcaps_dse.store import Store, tables
from tests.conftest import Command
from tests.sessions import opened, spec_of
from tests.synthetic import write_study


@pytest.mark.parametrize("n", [1, 9, 330, 10_000])
@pytest.mark.parametrize("p", [0.005, 0.1, 0.37, 0.9])
def test_the_binomial_tail_is_that_of_scipy(n: int, p: float) -> None:
    for least in {0, 1, n // 10, round(n * p), n // 2, n}:
        assert binomial_tail(least, n, p) == pytest.approx(scipy.stats.binom.sf(least - 1, n, p), rel=1e-8, abs=1e-300)


def test_a_constant_guess_is_at_chance_whatever_the_classes() -> None:
    for share, images in ((0.1, 330), (0.6, 50), (0.005, 10_000)):
        assert is_at_chance(100 * share, Guessing(share=share, images=images), 1)
    assert not is_at_chance(50.0, Guessing(share=0.1, images=330), 1000)
    assert is_at_chance(50.0, Guessing(share=0.6, images=50), 1)


def test_guessers_are_rarely_called_better_and_a_slight_edge_is_seen() -> None:
    """Of the best of 40 evaluations, at most about 5 % of the studies; 13 % of 10,000 images where guessing reaches 10 %."""
    guess, generator = Guessing(share=0.1, images=500), torch.Generator().manual_seed(0)
    right = (torch.rand(400, 40, 500, generator=generator) < 0.1).sum(2).max(1).values.tolist()
    better = sum(not is_at_chance(100 * k / 500, guess, 40) for k in right)
    assert better <= 0.05 * 400 + 3 * (0.05 * 0.95 * 400) ** 0.5
    assert not is_at_chance(13.0, Guessing(share=0.1, images=10_000), 1000)


def at_chance(ours: Store, acc: float = 10.2) -> Store:
    """All designs of a study, but with this accuracy."""
    with ours.engine.begin() as connection:
        connection.execute(tables.run.update().where(tables.run.c.state == "done").values(acc=acc))
    return ours


def test_front_pick_and_page_say_it(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "c.db"
    ours = write_study(path, 6)
    for arguments in (("front",), ("pick",)):
        said = command(*arguments, "--storage", path)
        assert "guessing" not in said.out + said.err and said.code == 0
    study = ours.study()
    assert "note" not in json.loads(command("front", "--json", "--storage", path).out)
    assert not any(
        "guessing" in note for note in study_content(study, ours.trials(study), study.objectives, {})["study"]["notes"]
    )

    at_chance(ours)
    text = (
        "no design is better than guessing: the most accurate one reaches 10.20 %, "
        "the most frequent class has 10.00 % of 333 images (one-sided binomial test at 5 %)"
    )
    said = command("front", "--storage", path)
    assert text in said.err.splitlines() and said.code == 0
    assert json.loads(command("front", "--json", "--storage", path).out)["note"] == text
    picked = command("pick", "--storage", path)
    assert picked.code == 0 and f"  {text}" in picked.out.splitlines()
    assert json.loads(command("pick", "--json", "--storage", path).out)["why"][-1] == text
    assert study_content(study, ours.trials(study), study.objectives, {})["study"]["notes"][0] == text


def test_a_pick_at_chance_from_a_better_study_says_it_of_the_design(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "c.db"
    ours = write_study(path, 6)
    with ours.engine.begin() as connection:
        fastest = connection.execute(sa.select(tables.run.c.run_id).order_by(tables.run.c.time)).scalars().first()
        connection.execute(tables.run.update().where(tables.run.c.run_id == fastest).values(acc=10.0))
    picked = command("pick", "--prefer", "time", "--storage", path)
    assert "  this design is not better than guessing: it reaches 10.00 %" in picked.out
    assert "guessing" not in command("front", "--storage", path).err


def test_the_counts_of_the_selection_are_kept(tiny: Path, tmp_path: Path, small_capsnet: None) -> None:
    dataset = data.load(str(tiny))
    for protocol in ("paper", "validation"):
        (tmp_path / protocol).mkdir()
        with opened(tmp_path / protocol, spec_of(tiny, protocol=protocol)) as study:
            select = dataset.test if protocol == "paper" else data.hold_out(dataset.train)[1]
            assert guessing(study.row).images == len(select)
            assert guessing(study.row).share == int(select.labels.bincount().max()) / len(select)


def test_a_study_that_learns_nothing_says_so(tiny: Path, tmp_path: Path, small_capsnet: None) -> None:
    spec = spec_of(tiny, first=(), epochs=1, sampler="exhaustive")
    with opened(tmp_path, spec) as study:
        session.explore(study, trials=2)
        picked = session.pick_design(study)
    best = max(run.measurement["acc"] for run in study.store.runs(study.row.study_id) if run.measurement is not None)
    assert any("guessing" in line for line in picked.pick.why) == is_at_chance(best, guessing(study.row), 2)


@pytest.mark.parametrize(("changes", "expected"), [({}, (0.1, 333)), ({"protocol": "paper"}, (0.1, None))])
def test_studies_of_earlier_versions(tmp_path: Path, changes: dict[str, Any], expected: tuple[float, int | None]) -> None:
    ours = at_chance(write_study(tmp_path / "c.db", 3))
    study = ours.study()
    earlier = replace(study, selection=None, identity={**study.identity, **changes})
    assert guessing(earlier) == Guessing(share=expected[0], images=expected[1])
    said = chance_note(earlier, ours.trials(study))
    assert (said is None) == (expected[1] is None)  # 10.2 % may be more than guessing, if the images are many
    at_chance(ours, 10.0)
    assert chance_note(earlier, ours.trials(study)) is not None


def test_an_empty_study_says_nothing(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "c.db", 0)
    assert chance_note(ours.study(), ours.trials(ours.study())) is None
