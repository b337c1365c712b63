"""Studies are deleted, renamed and written as tables; the runs folder is looked through and freed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import optuna
import pandas as pd
import pytest

from fastrcaps_dse import session, store
from fastrcaps_dse.analysis.results import Results
from fastrcaps_dse.analysis.tables import write_tables
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.problem.quantities import format_bytes
from fastrcaps_dse.runs.holdings import CHECKPOINTS, LEFT_OVER, PREFIX_CACHE, STOPPED, WEIGHTS_KIND, holdings
from fastrcaps_dse.runs.prefix_cache import BEST, CHECKPOINT, EPOCHS
from fastrcaps_dse.runs.runner import PREFIXES
from fastrcaps_dse.runs.stopped_weights import FOLDER
from fastrcaps_dse.session.managing import clean, delete_study, rename_study
from fastrcaps_dse.store import Store, tables
from tests.conftest import Command
from tests.sessions import explored, opened, spec_of
from tests.synthetic import add_designs, make_spec, write_study

# --- delete and rename ----------------------------------------------------------------------------------------------------


def two_studies(path: Path) -> Store:
    """The studies a and b in one database."""
    ours = write_study(path, 4, name="a", seeds=2)
    spec = make_spec("b")
    from fastrcaps_dse.search.optuna_storage import open_optuna_study, open_storage

    mirror = open_optuna_study(spec, open_storage(ours.url))
    row = ours.study("a")
    kept = {"dataset_fingerprint": row.dataset_fingerprint, "image_shape": row.image_shape, "train_images": row.train_images}
    ours.add_study(
        {"study_id": mirror.study_id, "identity": spec.identity(), "spec_text": spec.text, "target_trials": 3} | kept
    )
    add_designs(ours, ours.study("b"), spec, 3)
    return ours


def count(ours: Store, table: str) -> int:
    with ours.engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() or 0)


def test_a_deleted_study_leaves_nothing_and_the_other_all(tmp_path: Path) -> None:
    ours = two_studies(tmp_path / "s.db")
    other, epochs = ours.trials(ours.study("b")), ours.epochs_of(ours.study("b").study_id)
    folders = [store.run_folder(store.runs_folder(ours.url), run.run_id) for run in ours.runs(ours.study("a").study_id)]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").write_bytes(b"w")
    delete_study(ours, "a")
    assert [study.name for study in ours.studies()] == ["b"] and not any(folder.exists() for folder in folders)
    assert ours.trials(ours.study()) == other and ours.epochs_of(ours.study().study_id) == epochs
    assert count(ours, "fastrcaps_run") == 3 and count(ours, "fastrcaps_epoch") == sum(map(len, epochs.values()))
    assert optuna.get_all_study_names(f"sqlite:///{tmp_path / 's.db'}") == ["b"]
    with pytest.raises(InputError, match="no study 'a'"):
        delete_study(ours, "a")


@pytest.mark.slow
def test_a_name_is_free_again_and_a_new_study_begins_anew(tmp_path: Path, tiny: Path, small_capsnet: None) -> None:
    with opened(tmp_path, spec_of(tiny)) as study:
        explored(study)
        ours = study.store
        before = len(ours.runs(study.row.study_id))
    assert before
    delete_study(ours, "s")
    with opened(tmp_path, spec_of(tiny)) as study:
        assert not study.store.trials(study.row) and study.optuna.is_new
        explored(study)
        assert len(study.store.runs(study.row.study_id)) == before


@pytest.mark.slow
def test_a_renamed_study_goes_on_under_its_name(tmp_path: Path, tiny: Path, small_capsnet: None) -> None:
    from fastrcaps_dse.problem.study_spec import override

    with opened(tmp_path, override(spec_of(tiny), trials=1)) as study:
        explored(study)
        ours = study.store
    rename_study(ours, "s", "new name")
    with opened(tmp_path, override(spec_of(tiny), name="new name")) as study:
        explored(study, trials=2)
        assert [trial.state for trial in study.store.trials(study.row)] == ["done", "done"]
    assert [row.name for row in ours.studies()] == ["new name"]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201])
def test_a_name_that_cannot_be(tmp_path: Path, name: str) -> None:
    ours = write_study(tmp_path / "s.db", 2, name="a")
    with pytest.raises(InputError, match="cannot be the name"):
        rename_study(ours, "a", name)
    assert ours.study().name == "a"


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    ours = two_studies(tmp_path / "s.db")
    with pytest.raises(InputError, match="there is a study 'b' already"):
        rename_study(ours, "a", "b")
    rename_study(ours, "a", "a")  # its own
    assert sorted(study.name for study in ours.studies()) == ["a", "b"]


def test_what_is_being_explored_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = write_study(tmp_path / "s.db", 2, running=1)
    with ours.engine.begin() as connection:
        running = tables.run.c.state == "running"
        connection.execute(tables.run.update().where(running).values(owner='["elsewhere", 1, ""]', heartbeat=9e9))
    for act in (lambda: delete_study(ours, "synthetic"), lambda: rename_study(ours, "synthetic", "b"), lambda: clean(ours)):
        with pytest.raises(MachineError, match="is being explored by another process"):
            act()
    assert len(ours.trials(ours.study("synthetic"))) == 3


def test_the_command_asks_before_it_deletes(command: Command, tmp_path: Path) -> None:
    two_studies(tmp_path / "s.db")
    said = command("studies", "--delete", "a", "--storage", "s.db")
    assert said.code == 2 and "the study 'a' with 4 designs would be deleted" in said.err and "--yes" in said.err
    assert command("studies", "--delete", "a", "--yes", "--storage", "s.db").code == 0
    assert command("studies", "--rename", "b", "c", "--storage", "s.db").code == 0
    assert [row["study"] for row in json.loads(command("studies", "--json", "--storage", "s.db").out)] == ["c"]
    assert command("studies", "--delete", "b", "--yes", "--storage", "s.db").code == 2


# --- what the runs folder holds -----------------------------------------------------------------------------------------------


def filled(path: Path) -> Store:
    """A runs folder with files of each kind, of known sizes."""
    ours = write_study(path, 3, running=1)
    folder = store.runs_folder(ours.url)
    runs = ours.runs(ours.study().study_id)

    def put(file: Path, size: int) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size))
        return file

    kept = put(store.run_folder(folder, runs[0].run_id) / "weights.safetensors", 100)
    put(store.run_folder(folder, runs[0].run_id) / "last.safetensors", 10)  # of a finished run: left over
    put(store.run_folder(folder, runs[3].run_id) / "last.safetensors", 1000)
    put(store.run_folder(folder, 999) / "weights.safetensors", 20)
    put(folder / "stray.tmp", 3)
    for name in (CHECKPOINT, BEST, EPOCHS):
        put(folder / PREFIXES / "abc" / name, 2000)
    put(folder / PREFIXES / "abc.77" / CHECKPOINT, 5)
    put(folder / FOLDER / "run-000001-epoch-0002-ab.safetensors", 7)
    with ours.engine.begin() as connection:
        connection.execute(tables.run.update().where(tables.run.c.run_id == runs[0].run_id).values(weights=str(kept)))
    return ours


def test_each_file_has_its_kind(tmp_path: Path) -> None:
    ours = filled(tmp_path / "s.db")
    assert {held.kind: held.size for held in holdings(ours)} == {
        WEIGHTS_KIND: 100,
        CHECKPOINTS: 1000,
        PREFIX_CACHE: 6000,
        STOPPED: 7,
        LEFT_OVER: 10 + 20 + 3 + 5,
    }


def test_only_what_nobody_needs_is_freed(tmp_path: Path) -> None:
    ours = filled(tmp_path / "s.db")
    folder = store.runs_folder(ours.url)
    assert clean(ours) == 6045
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    runs = ours.runs(ours.study().study_id)
    assert left == {f"run-{runs[0].run_id:06d}/weights.safetensors", f"run-{runs[3].run_id:06d}/last.safetensors"}
    assert not (folder / PREFIXES).exists() and not (folder / "run-000999").exists()
    assert clean(ours) == 0 and holdings(write_study(tmp_path / "none.db", 1))[0].paths == ()


def test_the_command_says_and_frees(command: Command, tmp_path: Path) -> None:
    filled(tmp_path / "s.db")
    said = command("clean", "--storage", "s.db")
    assert said.code == 0 and "6.0 kB" in said.out and "`fastrcaps-dse clean --free` frees 6.0 kB" in said.err
    told = json.loads(command("clean", "--free", "--json", "--storage", "s.db").out)
    assert told["freed_bytes"] == 6045 and sum(kind["bytes"] for kind in told["kinds"]) == 7145
    assert "there is nothing to free" in command("clean", "--storage", "s.db").err


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_600, "1.0 MB"), (1.23e9, "1.2 GB")]
)
def test_sizes_as_people_read_them(size: float, text: str) -> None:
    assert format_bytes(size) == text


# --- tables -----------------------------------------------------------------------------------------------------------------


def read(path: Path) -> pd.DataFrame:
    """A table, by pandas."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_json(path, orient="records", dtype=False)


@pytest.mark.parametrize("file_format", ["csv", "json", "parquet"])
def test_tables_hold_what_the_store_does(tmp_path: Path, file_format: str) -> None:
    if file_format == "parquet":
        pytest.importorskip("pyarrow")
    ours = write_study(tmp_path / "s.db", 5, failed=1, running=1, seeds=2)
    row = ours.study()
    results = Results(study=row, rows=ours.trials(row), epoch_rows=ours.epochs_of(row.study_id))
    files = write_tables(results, tmp_path / "out", file_format)
    assert [path.name for path in files] == [*(f"{n}.{file_format}" for n in ("trials", "runs", "epochs")), "study.json"]
    trials, runs, epochs = (read(path) for path in files[:3])
    assert len(trials) == 7 and len(runs) == 14 and len(epochs) == sum(len(e) for e in ours.epochs_of(row.study_id).values())
    first = ours.trials(row)[0]
    assert first.measurement is not None
    assert (
        trials.loc[0, "acc"] == pytest.approx(first.measurement["acc"], abs=1e-12)
        and trials.loc[0, "params"] == first.measurement["params"]
    )
    by_run = epochs[(epochs["trial"] == 0) & (epochs["seed"] == 0)]
    assert by_run["acc"].tolist() == pytest.approx([e.acc for e in ours.epochs(first.runs[0].run_id)])
    told = json.loads(files[3].read_text())
    assert told["identity"]["epochs"] == 6 and told["objectives"][0] == {"name": "acc", "unit": "%", "direction": "maximize"}


def test_an_empty_study_gives_empty_tables(command: Command, tmp_path: Path) -> None:
    write_study(tmp_path / "s.db", 0)
    for file_format in ("csv", "json"):
        assert command("export-study", "out", "--format", file_format, "--storage", "s.db").code == 0
    assert (tmp_path / "out" / "trials.json").read_text() == "[]\n" and (tmp_path / "out" / "trials.csv").exists()


def test_bad_input_of_the_tables(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(tmp_path / "s.db", 2)
    said = command("export-study", "out", "--format", "xlsx", "--storage", "s.db")
    assert said.code == 2 and "unknown format 'xlsx'" in said.err and "parquet" in said.err
    (tmp_path / "file").write_text("x")
    said = command("export-study", "file", "--storage", "s.db")
    assert said.code == 1 and "file cannot be written" in said.err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = command("export-study", "out", "--format", "parquet", "--storage", "s.db")
    assert said.code == 2 and "pip install 'fastrcaps-dse[parquet]'" in said.err


def test_the_csv_can_be_read_by_the_standard_reader(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 2)
    row = ours.study()
    write_tables(Results(study=row, rows=ours.trials(row), epoch_rows={}), tmp_path, "csv")
    with (tmp_path / "trials.csv").open(newline="", encoding="utf-8") as file:
        lines = [*csv.DictReader(file)]
    assert [line["label"] for line in lines] == [trial.design.label for trial in ours.trials(row)] and session
