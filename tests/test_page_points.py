"""The anytime view of the page without a browser: what is sent when, the view that it opens with, how its hypervolume grows."""

from __future__ import annotations

from pathlib import Path

from fastrcaps_dse.analysis.anytime import anytime_trials
from fastrcaps_dse.analysis.pareto import hypervolume
from fastrcaps_dse.page.content import hypervolume_info, study_content
from fastrcaps_dse.problem.objectives import costs_of, parse_objectives
from fastrcaps_dse.store import Store
from tests.conftest import Command
from tests.serving import Server, watched_of
from tests.synthetic import add_designs, make_spec, write_study
from tests.test_page import inside


def start_anytime(ours: Store) -> None:
    """Let the study be one that was started with `anytime`."""
    row = ours.study()
    ours.set_study(row.study_id, {"identity": {**row.identity, "anytime": True}})


def test_a_server_reads_the_epochs_when_a_page_asks_for_them(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 4, running=1)
    with Server(watched_of(ours)) as server:
        first = server.ask("/data?since=0").json()
        assert "anytime" not in first and not any("points" in d for d in first["designs"])
        assert first["study"]["has_epochs"] and not first["study"]["starts_anytime"]
        found = server.ask(f"/data?since={first['revision']}&epochs=1").json()
        assert found["revision"] == 2 and [d["trial"] for d in found["designs"]] == [0, 1, 2, 3, 4]  # they have changed
        assert found["designs"][4]["points"]["stops"] and "values" not in found["designs"][4]
        again = server.ask("/data?since=2&epochs=1").json()
        assert again["designs"] == [] and again["anytime"] == found["anytime"]
    start_anytime(ours)
    with Server(watched_of(ours)) as server:
        assert server.ask("/data?since=0").json()["study"]["starts_anytime"]
        assert all("points" in d for d in server.ask("/data?since=0").json()["designs"])


def test_a_report_opens_with_the_view_that_is_asked_for(tmp_path: Path, command: Command) -> None:
    ours = write_study(tmp_path / "s.db", 3)

    def shown(*options: str) -> tuple[bool, bool]:
        assert command("report", "--storage", tmp_path / "s.db", "--out", tmp_path / "r.html", *options).code == 0
        content, _ = inside((tmp_path / "r.html").read_text())
        assert content["designs"][0]["points"]["stops"][0] == 1  # both views are in it
        return content["study"]["starts_anytime"], content["study"]["anytime"]

    assert shown("--anytime") == (True, False)
    start_anytime(ours)
    assert shown("--whole-runs") == (False, True)
    assert watched_of(ours).source.content()["study"]["starts_anytime"]
    only = write_study(tmp_path / "t.db", 2, epochs=1)
    content = study_content(only.study(), only.trials(only.study()), only.study().objectives, {}, epochs=only.epochs_of(1))
    assert not content["study"]["has_epochs"] and "anytime" not in content  # both views are the same


def test_the_hypervolume_grows_by_designs_and_the_unfinished_ones_come_last(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 3, running=1)
    add_designs(ours, ours.study(), make_spec("synthetic"), 2)
    row, objectives = ours.study(), parse_objectives("acc,params")
    points = anytime_trials(ours.trials(row), ours.epochs_of(row.study_id), row)
    found = hypervolume_info(points, objectives, ours.train_seconds(row.study_id))
    assert found.trials == (0, 1, 2, 4, 5, 3) and found.shares[-1] == 1
    assert list(found.seconds) == sorted(found.seconds)
    costs = {p.key: costs_of(objectives, p.measurement.values) for p in points if p.measurement}
    low, high = ([f(c[k] for c in costs.values()) for k in (0, 1)] for f in (min, max))
    scaled = {key: [(c[k] - low[k]) / (high[k] - low[k]) for k in (0, 1)] for key, c in costs.items()}
    volumes = [
        hypervolume([c for (trial, _), c in scaled.items() if trial in found.trials[: k + 1]], [1.1, 1.1]) for k in range(6)
    ]
    assert list(found.shares) == [round(volume / volumes[-1], 5) for volume in volumes]
