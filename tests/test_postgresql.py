"""A study in PostgreSQL: explored, gone on with, read and followed, by the command line and from Python."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from fastrcaps_dse import session, store
from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.page.watch import Source, Watched
from fastrcaps_dse.problem.study_spec import override
from fastrcaps_dse.runs.recounting import agree_on_reference, catch_up
from fastrcaps_dse.store import Store
from tests.conftest import Command
from tests.sessions import STUDY, Heard, explored, spec_of


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_a_study_in_postgresql(tiny: Path, postgresql: store.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgresql
    monkeypatch.chdir(tmp_path)  # weights lie in studies/
    spec = override(spec_of(tiny), name="elsewhere")
    with pytest.raises(KeyboardInterrupt), session.open_study(spec, url, device="cpu", precision="float32") as stopped:
        explored(stopped, Heard(stop_after=3), None)
    reading = Store(url, read_only=True)
    watched = Watched(source=Source(store=reading, study=reading.study("elsewhere"), objectives=spec.objectives))
    assert watched.look() and not watched.look()
    assert [design["state"] for design in watched.since(0)["designs"]] == ["interrupted"]
    heard = Heard()
    with session.open_study(spec, url, device="cpu", precision="float32") as study:
        explored(study, heard, None)
    assert heard.begun == [3, 0]
    assert watched.look() and [design["state"] for design in watched.since(1)["designs"]] == ["done", "done"]
    assert len(watched.source.curves([0])[0]["runs"][0]["acc"]) == 4
    with pytest.raises(MachineError, match="read-only"):
        reading.set_target(1, 5)
    reading.close()


def tables_with_rows(url: store.URL) -> set[str]:
    """The tables of a database that are not empty."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        names = sa.inspect(connection).get_table_names()
        found = {name for name in names if connection.scalar(sa.text(f'SELECT count(*) FROM "{name}"'))}
    engine.dispose()
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_the_commands_on_postgresql(command: Command, postgresql: store.URL, tiny: Path, tmp_path: Path) -> None:
    """Explored, read, renamed, exported, freed and deleted: what is left are the tables' versions and step times."""
    (tmp_path / "small.toml").write_text(STUDY.format(dataset=tiny), encoding="utf-8")
    where = ("--storage", postgresql.render_as_string(hide_password=False).replace("+psycopg", ""))
    said = command("explore", "small.toml", "--device", "cpu", "--workers", "1", *where)
    assert said.code == 0, said.err
    front = json.loads(command("front", "--json", *where).out)
    assert front["study"] == "s" and front["designs"]
    picked = json.loads(command("pick", "--json", *where).out)["pick"]
    assert Path(picked["weights"]).is_file()
    assert picked["values"]["acc"] == max(design["values"]["acc"] for design in front["designs"])
    for words in (("show", "0"), ("trials", "--epochs"), ("report", "--out", "r.html"), ("export-study", "tables"), ("clean",)):
        assert command(*words, *where).code == 0
    assert command("studies", "--rename", "s", "t", *where).code == 0
    assert [found["study"] for found in json.loads(command("studies", "--json", *where).out)] == ["t"]
    again = command("explore", "small.toml", "--study", "t", "--trials", "2", "--device", "cpu", "--workers", "1", *where)
    assert again.code == 0 and "trial" in again.out  # complete already: nothing is trained
    assert command("studies", "--delete", "t", "--yes", *where).code == 0
    assert command("clean", "--free", *where).code == 0  # of the prefix cache, which outlives a study
    assert not [*tmp_path.rglob("*.safetensors")]
    left = {"fastrcaps_schema", "fastrcaps_step_time", "fastrcaps_algorithm_choice", "version_info", "alembic_version"}
    assert tables_with_rows(postgresql) <= left


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
@pytest.mark.thorough
def test_the_reference_of_a_study_in_postgresql(
    tiny: Path, postgresql: store.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = override(spec_of(tiny), name="scaled")
    with session.open_study(spec, postgresql, device="cpu", precision="float32") as study:
        explored(study, None, 1)
        ours, study_id, model = study.store, study.row.study_id, study.cost_model
        first = model.scale.reference
        assert first is not None and ours.study("scaled").reference == first.to_dict()
        ours.set_study(study_id, {"reference": sa.null()})
        together = threading.Barrier(4)

        def claim(name: str) -> dict[str, str]:
            together.wait()
            return dict(store.set_reference(ours, study_id, {**first.to_dict(), "device": name}))

        with ThreadPoolExecutor(4) as pool:
            found = [*pool.map(claim, "ABCD")]
        assert found == [ours.study("scaled").reference] * 4
        (run,) = ours.runs(study_id)
        before = run.measurement
        agree_on_reference(model, first.device)  # back again: all is measured, so that the same numbers come out
        assert model.scale.reference == first and ours.runs(study_id)[0].measurement == before
        with ours.engine.begin() as connection:
            connection.execute(sa.text("UPDATE fastrcaps_run SET time_estimated = 1, time = 1e9"))
        assert catch_up(model) == [run.run_id] and catch_up(model) == []
        assert ours.runs(study_id)[0].measurement == before
