"""Where the files of a study's runs are: kept with the study, brought to the machine that needs them, the same for every command."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fastrcaps_dse import session, store
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.runs.files import LAST, PREVIOUS, WEIGHTS
from fastrcaps_dse.runs.front_weights import keep_front_weights
from fastrcaps_dse.runs.holdings import CHECKPOINTS, LEFT_OVER, WEIGHTS_KIND, holdings
from fastrcaps_dse.runs.place_choice import choose_place
from fastrcaps_dse.session.exporting import weights_path
from fastrcaps_dse.session.managing import clean, delete_study
from fastrcaps_dse.store import RunRow, RunsPlace, Store, StudyRow
from fastrcaps_dse.store.remote import Remote
from fastrcaps_dse.store.runs_places import study_folder
from tests.conftest import Command
from tests.sessions import explored, opened, spec_of
from tests.synthetic import write_study
from tests.test_front_weights import set_run


@pytest.fixture(autouse=True)
def no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTRCAPS_RUNS", raising=False)


@pytest.fixture
def memory() -> str:
    """An empty place in the memory of this process, which all its machines reach."""
    return f"memory://{uuid.uuid4().hex}"


def machine(ours: Store, folder: Path) -> Store:
    """The same database as another machine has it: without the files of the first."""
    copy = folder / "s.db"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(str(ours.url.database), copy)
    return Store(store.parse_url(str(copy)))


def study_folder_of(study: StudyRow) -> str:
    return study_folder(study.study_id, study.created)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("fastrcaps_dse")]


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name.replace('_', '-')}.safetensors").write_text(text, encoding="utf-8")
    return folder


# --- files of a run, from one machine to another ------------------------------------------------------------------------------


def two(tmp_path: Path, url: str) -> tuple[RunsPlace, RunsPlace]:
    """One place as two machines see it."""
    return RunsPlace(tmp_path / "a", Remote(url)), RunsPlace(tmp_path / "b", Remote(url))


def texts(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_newest_attempt_comes_to_another_machine(tmp_path: Path, memory: str) -> None:
    a, b = two(tmp_path, memory)
    run = Path("run-000001")
    for attempt in (1, 2, 9, 10):
        a.push(
            write(a.folder / run / f"attempt-{attempt}", last=f"c{attempt}", epoch_0001="w", previous="p"), without=(PREVIOUS,)
        )
    a.push(write(a.folder / run / "attempt-11", epoch_0001="w"))  # it ended before its first checkpoint
    a.push(write(a.folder / "run-000010/attempt-1", last="another run's"))
    b.fetch(b.folder / run, LAST)
    assert texts(b.folder) == {f"run-000001/attempt-10/{LAST}": "c10", "run-000001/attempt-10/epoch-0001.safetensors": "w"}


def test_what_is_here_is_not_fetched(tmp_path: Path, memory: str) -> None:
    """A machine that trained an attempt has what it wrote last, pushed or not; and a later attempt is newer than an earlier one."""
    a, b = two(tmp_path, memory)
    a.push(write(a.folder / "run-000001/attempt-2", last="there"))
    write(b.folder / "run-000001/attempt-2", last="here")
    b.fetch(b.folder / "run-000001", LAST)
    assert texts(b.folder) == {f"run-000001/attempt-2/{LAST}": "here"}
    shutil.rmtree(b.folder)
    write(b.folder / "run-000001/attempt-3", last="later")
    b.fetch(b.folder / "run-000001", LAST)
    assert texts(b.folder) == {f"run-000001/attempt-3/{LAST}": "later"}
    shutil.rmtree(b.folder)
    write(b.folder / "run-000001/attempt-1", last="earlier")
    b.fetch(b.folder / "run-000001", LAST)
    assert texts(b.folder) == {f"run-000001/attempt-1/{LAST}": "earlier", f"run-000001/attempt-2/{LAST}": "there"}


def test_a_fetch_that_is_killed_is_done_again(tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint comes last, so that a folder that has one has its weights, too."""
    a, b = two(tmp_path, memory)
    a.push(write(a.folder / "run-000001/attempt-1", last="c", epoch_0001="w", zz="z"))
    fetched = Remote.get
    for killed_at in range(3):
        left = [killed_at]

        def get(self: Remote, name: str, target: Path, left: list[int] = left) -> bool:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return fetched(self, name, target)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Remote, "get", get)
            b.fetch(b.folder / "run-000001", LAST)
        assert not (b.folder / "run-000001/attempt-1" / LAST).exists()
    b.fetch(b.folder / "run-000001", LAST)
    assert texts(b.folder) == texts(a.folder)


def test_only_what_changed_is_pushed_and_what_is_gone_is_deleted(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two(tmp_path, memory)
    put, written = Remote.put, list[str]()

    def noted(self: Remote, source: Path, name: str) -> None:
        written.append(Path(name).name)
        put(self, source, name)

    monkeypatch.setattr(Remote, "put", noted)
    folder = write(a.folder / "run-000001", last="1", epoch_0001="1", previous="0")
    (folder / "x.partial").write_text("not whole")
    a.push(folder, without=(PREVIOUS,))
    assert written == ["epoch-0001.safetensors", LAST]  # the checkpoint after the weights that belong to it
    a.push(folder, without=(PREVIOUS,))
    write(folder, last="22")
    a.push(folder, without=(PREVIOUS,))
    assert written[2:] == [LAST]
    (folder / "epoch-0001.safetensors").unlink()
    a.push(folder, without=(PREVIOUS,))
    assert written[3:] == [] and b.files() == {f"run-000001/{LAST}": 2}


def test_only_the_weights_stay(tmp_path: Path, memory: str) -> None:
    a, b = two(tmp_path, memory)
    for attempt in (1, 2):
        a.push(write(a.folder / f"run-000001/attempt-{attempt}", last="c", weights="w"))
    a.push(write(a.folder / "run-000002", weights="v"))
    kept = a.folder / "run-000001/attempt-2" / WEIGHTS
    a.drop(a.folder / "run-000001", keep=[kept])
    assert set(b.files()) == {f"run-000001/attempt-2/{WEIGHTS}", f"run-000002/{WEIGHTS}"}
    assert b.bring(b.folder / "run-000001/attempt-2" / WEIGHTS) and not b.bring(b.folder / "run-000001/attempt-1" / WEIGHTS)
    assert texts(b.folder) == {f"run-000001/attempt-2/{WEIGHTS}": "w"}
    a.push(kept.parent)  # nothing of it is there any more, as far as it was dropped
    assert set(b.files()) >= {f"run-000001/attempt-2/{LAST}"}


def test_no_path_leads_out_of_a_place(tmp_path: Path, memory: str) -> None:
    a, b = two(tmp_path, memory)
    a.push(write(a.folder / "run-000001", weights="w"))
    assert not b.bring(b.folder / "run-000002/../run-000001" / WEIGHTS) and not b.bring(tmp_path / "x" / WEIGHTS)
    assert not b.folder.exists()


def test_a_drop_that_fails_is_told_and_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    place = RunsPlace(tmp_path / "a", Remote("nosuch://x"))
    with caplog.at_level(logging.WARNING):
        place.drop(place.folder / "run-000001")
    (text,) = warned(caplog)
    assert "clean --free" in text


def test_a_folder_needs_nothing_moved(tmp_path: Path) -> None:
    place = RunsPlace(tmp_path / "a")
    place.push(write(place.folder / "run-000001", last="c"))
    place.fetch(place.folder / "run-000001", LAST)
    place.drop(place.folder / "run-000001")
    assert place.bring(place.folder / "run-000001" / LAST) and place.files() == {}
    assert texts(tmp_path) == {f"a/run-000001/{LAST}": "c"}


# --- the place of a study -----------------------------------------------------------------------------------------------------


def with_files(ours: Store) -> tuple[StudyRow, list[RunRow]]:
    """Weights of all measured runs of the newest study, and a checkpoint of each that is not finished, in its place."""
    study = ours.study()
    place = ours.runs_places.of(study.study_id)
    for run in ours.runs(study.study_id):
        folder = store.run_folder(place.folder, run.run_id)
        if run.measurement is not None:
            write(folder, weights=f"w{run.run_id}")
            set_run(ours, run.run_id, weights=f"{folder.name}/{WEIGHTS}")
        else:
            write(folder, last=f"c{run.run_id}", epoch_0001="w")
        place.push(folder)
    return study, ours.runs(study.study_id)


def kept_files(runs: list[RunRow]) -> set[str]:
    """What a place has to have of these runs."""
    done = {f"run-{run.run_id:06d}/{WEIGHTS}" for run in runs if run.measurement is not None}
    names = ("epoch-0001.safetensors", LAST)
    return done | {f"run-{run.run_id:06d}/{name}" for run in runs if run.measurement is None for name in names}


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_the_files_follow_to_a_place_that_is_named_later(
    tmp_path: Path, memory: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    ours = write_study(tmp_path / "s.db", 3, running=1)
    study, runs = with_files(ours)
    named = memory if kind == "memory" else str(tmp_path / "shared")
    with caplog.at_level(logging.WARNING):
        row = choose_place(ours, study, named)
    assert row.runs_place == named == ours.study().runs_place
    own = study_folder_of(study)
    there = set(Remote(f"{memory}/{own}").files()) if kind == "memory" else set(texts(tmp_path / "shared" / own))
    assert there == kept_files(runs)
    assert warned(caplog)[0].startswith("5 files") and not any("neither" in text for text in warned(caplog))
    # another machine, later
    other = machine(ours, tmp_path / "b")
    for run in other.runs(study.study_id):
        if run.measurement is not None:
            assert weights_path(other, other.study(), run).read_text() == f"w{run.run_id}"
    # and on to the next place, from there
    caplog.clear()
    second = f"{memory}-2"
    choose_place(other, other.study(), second)
    assert set(Remote(f"{second}/{own}").files()) == kept_files(runs) and other.study().runs_place == second


def test_weights_that_cannot_be_reached_are_told(tmp_path: Path, memory: str, caplog: pytest.LogCaptureFixture) -> None:
    ours = write_study(tmp_path / "s.db", 3)
    with_files(ours)
    other = machine(ours, tmp_path / "b")
    with caplog.at_level(logging.WARNING):
        choose_place(other, other.study(), memory)
    (text,) = warned(caplog)
    assert "weights of 3 designs are neither in" in text
    with pytest.raises(InputError, match="are not in memory://"):
        weights_path(other, other.study(), other.runs(1)[0])


def test_two_databases_at_one_place(tmp_path: Path, memory: str) -> None:
    """Their runs have the same ids."""
    stores = [write_study(tmp_path / f"{name}.db", 1) for name in "ab"]
    for ours in stores:
        choose_place(ours, ours.study(), memory)
        with_files(ours)
    assert len(Remote(memory).files()) == 2 and stores[0].runs(1)[0].run_id == stores[1].runs(1)[0].run_id
    assert study_folder_of(stores[0].study()) != study_folder_of(stores[1].study())


def test_a_folder_that_is_not_mounted_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = write_study(tmp_path / "s.db", 2)
    mount = tmp_path / "mnt"
    choose_place(ours, ours.study(), str(mount))
    study, runs = with_files(ours)
    mount.rename(tmp_path / "net")
    later = Store(ours.url)
    with pytest.raises(MachineError, match="not on this machine"):
        choose_place(later, later.study(), None)
    assert not mount.exists()
    with pytest.raises(InputError, match="are not in"):
        weights_path(later, later.study(), later.runs(1)[0])
    # as it is called here: used, but the study keeps the name that the others have
    monkeypatch.setenv("FASTRCAPS_RUNS", str(tmp_path / "net"))
    later = Store(ours.url)
    assert weights_path(later, later.study(), later.runs(1)[0]).read_text() == f"w{runs[0].run_id}"
    assert choose_place(later, later.study(), store.named_place(None)).runs_place == str(mount)
    assert later.runs_folder == tmp_path / "net" / study_folder_of(study)


# --- the weights of the front, for every command ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[tuple[Path, str]]:
    """The folder of a study that was explored with a place, and the URL of the place."""
    folder, url = tmp_path_factory.mktemp("trained"), f"memory://{uuid.uuid4().hex}"
    from tests.sessions import small_sizes

    with small_sizes():
        spec = spec_of(tiny, trials=1, epochs=1)
        with session.open_study(spec, f"sqlite:///{folder / 's.db'}", device="cpu", runs=url) as study:
            explored(study, trials=1)
            run = study.store.runs(study.row.study_id)[0]
            study.store.runs_places.here.push(Path(str(run.weights)).parent)
    yield folder, url


@pytest.mark.usefixtures("small_capsnet")
def test_another_machine_loads_the_network(trained: tuple[Path, str], tiny: Path, tmp_path: Path) -> None:
    folder, url = trained
    first = Store(store.parse_url(str(folder / "s.db")))
    other = machine(first, tmp_path / "b")
    images = torch.rand(4, 1, 17, 17)
    here = session.load_picked(first.url, trial=0)
    assert first.study().runs_place == url and not list((tmp_path / "b").glob("s.runs/**/*.safetensors"))
    there = session.load_picked(other.url, trial=0)
    assert torch.equal(here(images), there(images)) and list((tmp_path / "b").glob("s.runs/**/*.safetensors"))
    shutil.rmtree(tmp_path / "b/s.runs")
    spec = spec_of(tiny, trials=1, epochs=1)
    with session.open_study(spec, other.url, device="cpu") as study:
        network = session.load_network(study, other.trials(other.study())[0])
        assert torch.equal(network.scores(images), there(images)) and study.store.runs_places.here.text.startswith(url)


def test_the_page_gives_them(tmp_path: Path, memory: str) -> None:
    from tests.serving import Server, watched_of

    ours = write_study(tmp_path / "s.db", 2)
    other = machine(ours, tmp_path / "b")
    watched = watched_of(other)
    assert watched.source.weights(0) is None
    for one in (ours, other):  # the page was opened before
        one.set_study(1, {"runs_place": memory})
    _, runs = with_files(Store(ours.url))
    for run in runs:
        set_run(other, run.run_id, weights=f"run-{run.run_id:06d}/{WEIGHTS}")
    with Server(watched) as server:
        assert server.ask("/weights?trial=1").text == f"w{runs[1].run_id}"
        assert server.ask("/weights?trial=7").status == 404


def test_weights_that_left_the_front_leave_the_place(tmp_path: Path, memory: str) -> None:
    ours = write_study(tmp_path / "s.db", 8)
    study = choose_place(ours, ours.study(), memory)
    with_files(ours)
    count = keep_front_weights(ours, study)
    kept = {f"{store.run_folder(Path(), run.run_id)}/{WEIGHTS}" for run in ours.runs(1) if run.weights}
    assert 0 < count == len(kept) < 8 and set(ours.runs_places.of(1).files()) == kept == set(texts(ours.runs_folder))


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_a_deleted_study_leaves_nothing_in_its_place(tmp_path: Path, memory: str, kind: str) -> None:
    ours = write_study(tmp_path / "s.db", 2)
    other = write_study(tmp_path / "t.db", 1)
    named = memory if kind == "memory" else str(tmp_path / "shared")
    for one in (ours, other):
        choose_place(one, one.study(), named)
        with_files(one)
    folder = ours.runs_folder
    delete_study(ours, "synthetic")
    left = Remote(memory).files() if kind == "memory" else texts(tmp_path / "shared")
    assert len(left) == 1 and not folder.exists() and next(iter(left)).startswith(study_folder_of(other.study()))


def test_clean_lists_and_frees_what_is_in_a_place(tmp_path: Path, memory: str, command: Command) -> None:
    ours = write_study(tmp_path / "s.db", 2, failed=1)
    failed = next(run for run in ours.runs(1) if run.state == "failed")
    choose_place(ours, ours.study(), memory)
    place = ours.runs_places.here
    for run in ours.runs(1):
        folder = store.run_folder(place.folder, run.run_id)
        place.push(write(folder, weights="ww"))
        if run is not failed and run.measurement is not None:
            set_run(ours, run.run_id, weights=f"{folder.name}/{WEIGHTS}")
    shutil.rmtree(place.folder)
    counts = {(held.kind, held.runs_place is not None): (len(held.paths), held.size) for held in holdings(ours, remote=True)}
    assert counts[WEIGHTS_KIND, True] == (2, 4) and counts[LEFT_OVER, True] == (1, 2)
    assert counts[WEIGHTS_KIND, False] == counts[LEFT_OVER, False] == (0, 0) and (CHECKPOINTS, True) not in counts
    said = command("clean", "--storage", tmp_path / "s.db", "--json")
    behind = {kind["kind"]: kind["files"] for kind in json.loads(said.out)["kinds"] if kind["place"]}
    assert behind == {WEIGHTS_KIND: 2, LEFT_OVER: 1}
    assert memory in command("clean", "--storage", tmp_path / "s.db", "--wide").out
    assert clean(ours) == 2 and {Path(name).name for name in place.files()} == {WEIGHTS} and len(place.files()) == 2


def test_clean_goes_on_without_a_place_that_is_out_of_reach(tmp_path: Path, command: Command) -> None:
    ours = write_study(tmp_path / "s.db", 1)
    (tmp_path / "file").write_bytes(b"")
    ours.set_study(1, {"runs_place": "nosuch://x/y"})
    said = command("clean", "--storage", tmp_path / "s.db", "--free")
    assert said.code == 0 and "cannot be read" in said.err and "Traceback" not in said.err


# --- what is refused before anything is trained -------------------------------------------------------------------------------


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_made(
    tmp_path: Path, tiny: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    for named in (
        tmp_path / "file" / "runs",
        f"file://{tmp_path}/file/runs",
        "s3://bucket/x",
        "sftp://ann:s3cr3t@h/x",
        "nosuch://x/y",
    ):
        said = command("explore", "--dataset", tiny, "--runs", named, "--device", "cpu", "--workers", 1, "--trials", 1, "-q")
        assert said.code in (1, 2) and len(said.err.strip().splitlines()) == 2, said.err
        assert "hint: " in said.err and "s3cr3t" not in said.err and not (tmp_path / "studies").exists()


def test_a_stored_place_is_checked_again(tmp_path: Path, tiny: Path) -> None:
    place = tmp_path / "there"
    with opened(tmp_path, spec_of(tiny)) as study:
        choose_place(study.store, study.row, f"file://{place}")
    shutil.rmtree(place)
    place.write_bytes(b"")
    with pytest.raises(MachineError, match="cannot be written"), opened(tmp_path, spec_of(tiny)):
        pass
