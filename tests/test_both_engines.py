"""The store in SQLite and in PostgreSQL: both answer alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import pytest
import sqlalchemy as sa

from fastrcaps_dse import store
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.schedules import FixedBatch
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.search.optuna_storage import delete_optuna_study, open_optuna_study, open_storage
from fastrcaps_dse.store import Store, Superseded, Taken
from fastrcaps_dse.store.claims import Full
from fastrcaps_dse.store.notes import Note, notes_of, set_note
from tests.test_store import EPOCH, SHAPE

POINT = DesignPoint()
MEASURED = Measurement(
    values={"acc": 91.5, "time": 1.25, "params": 8_215_728.0, "macs": 2.5e8}, test_acc=90.5, selected_epoch=2
)


@pytest.fixture
def ours(storage_url: store.URL) -> Iterator[Store]:
    """A storage with one study, which has one run that is being trained."""
    spec = parse_study("", default_name="s")
    study = open_optuna_study(spec, open_storage(storage_url))
    made = Store(storage_url, create=True)
    row = {"identity": spec.identity(), "spec_text": "", "target_trials": 3, "dataset_fingerprint": "0", "image_shape": SHAPE}
    made.add_study(row | {"study_id": study.study_id, "train_images": 10})
    made.claim_run(study.study_id, 0, design_to_dict(POINT), POINT.key, 0)
    yield made
    made.close()
    study.close()


def only_run(ours: Store) -> store.RunRow:
    (run,) = ours.runs(ours.study().study_id)
    return run


def test_what_is_written_is_read(ours: Store) -> None:
    """Floats come back bit for bit, JSON with its types, and a run's state with its measurement."""
    run = only_run(ours)
    odd = replace(EPOCH, margin_loss=0.1 + 0.2, acc=100 / 3, counted_seconds=5e-324)
    ours.set_epoch(run.run_id, run.attempt, odd)
    ours.set_epoch(run.run_id, run.attempt, replace(odd, epoch=2))
    assert ours.epochs(run.run_id) == [odd, replace(odd, epoch=2)]
    ours.finish_run(run.run_id, run.attempt, MEASURED, 2.5, "w", None)
    again = only_run(ours)
    assert again.state == "done" and again.measurement == MEASURED and again.design == POINT and again.weights == "w"
    assert dict(ours.study().identity) == parse_study("", default_name="s").identity()


def test_the_pulse_tells_each_change(ours: Store) -> None:
    run, study_id = only_run(ours), ours.study().study_id
    beats = [ours.pulse(study_id)]
    assert ours.pulse(study_id) == beats[0]
    changes: tuple[Callable[[], None], ...] = (
        lambda: set_note(ours, study_id, 0, Note(text="a good one")),
        lambda: set_note(ours, study_id, 0, Note(text="a good one", starred=True)),
        lambda: ours.set_epoch(run.run_id, run.attempt, EPOCH),
        lambda: ours.finish_run(run.run_id, run.attempt, MEASURED, 2.5, None),
    )
    for change in changes:
        change()
        beats.append(ours.pulse(study_id))
    assert len(set(beats)) == len(beats)


def test_notes(ours: Store) -> None:
    study_id = ours.study().study_id
    text = "naïve 日本語 \U0001f600 'quoted' \"twice\" %s :name"
    set_note(ours, study_id, 0, Note(text=text, starred=True))
    assert notes_of(ours, study_id) == {0: Note(text=text, starred=True)}
    set_note(ours, study_id, 0, Note())
    assert not notes_of(ours, study_id)
    with pytest.raises(InputError, match="no trial 7"):
        set_note(ours, study_id, 7, Note(text="x"))


def test_foreign_keys_and_reading_alone(ours: Store) -> None:
    with pytest.raises(Superseded):
        ours.set_epoch(999, 1, EPOCH)
    with pytest.raises(MachineError), ours.engine.begin() as connection, store.clear_errors(ours.url):
        connection.execute(store.tables.epoch.insert().values(run_id=999, **asdict(EPOCH)))
    reading = Store(ours.url, read_only=True)
    assert reading.study().name == "s"
    with pytest.raises(MachineError, match=r"read-?only"):
        reading.set_target(1, 5)
    reading.close()


def another(ours: Store, host: str) -> Store:
    """The same storage, as a process of another machine sees it."""
    made = Store(ours.url)
    made.owner = json.dumps([host, 1, ""])
    return made


def claimed(ours: Store, seed: int, trial: int | None = 0, point: DesignPoint = POINT, **how: Any) -> store.RunRow:
    return ours.claim_run(ours.study().study_id, trial, design_to_dict(point), point.key, seed, **how)


def test_one_process_has_a_run_until_its_heart_stops(ours: Store) -> None:
    """The attempt fences: once another has taken a run over, all writes of the earlier process are refused, and change nothing."""
    first, second = another(ours, "a"), another(ours, "b")
    run = claimed(first, 1)
    assert run.attempt == 1
    with pytest.raises(Taken):
        claimed(second, 1)
    age = sa.update(store.tables.run).values(heartbeat=store.tables.run.c.heartbeat - 2 * store.STALE_SECONDS)
    with ours.engine.begin() as connection:
        connection.execute(age.where(store.tables.run.c.run_id == run.run_id))
    over = claimed(second, 1)
    assert (over.run_id, over.attempt, over.deaths) == (run.run_id, 2, 1)
    second.set_epoch(run.run_id, 2, EPOCH)
    refused: tuple[Callable[[], None], ...] = (
        lambda: first.set_epoch(run.run_id, 1, replace(EPOCH, acc=1.0)),
        lambda: first.finish_run(run.run_id, 1, MEASURED, 1.0, None),
        lambda: first.fail_run(run.run_id, 1, "x"),
        lambda: first.drop_epochs(run.run_id, 1, 0),
    )
    for late in refused:
        with pytest.raises(Superseded):
            late()
    assert not first.beat(run.run_id, 1) and second.beat(run.run_id, 2)
    assert second.epochs(run.run_id) == [EPOCH]
    second.finish_run(run.run_id, 2, MEASURED, 1.0, None)
    for store_ in (first, second):
        with pytest.raises(Taken):
            claimed(store_, 1)
        store_.close()


def test_processes_that_claim_at_once_never_share_a_run(ours: Store) -> None:
    """Six threads with a connection each claim new designs until there are 25: numbered without gaps, each once."""
    machines = [another(ours, f"m{number}") for number in range(6)]
    points = [DesignPoint(shift=0, batch_schedule=FixedBatch(size=size)) for size in range(1, 60)]

    def work(machine: Store) -> list[int]:
        got: list[int] = []
        for point in points:
            try:
                run = claimed(machine, 0, None, point, most=25)
            except Taken:
                continue
            except Full:
                return got
            got.append(run.trial)
        return got

    with ThreadPoolExecutor(len(machines)) as threads:
        got = [*threads.map(work, machines)]
    numbers = sorted(number for trials in got for number in trials)
    assert numbers == [*range(1, 25)]  # trial 0 was there
    runs = ours.runs(ours.study().study_id)
    assert len({run.design.key for run in runs}) == len(runs) == 25
    for machine in machines:
        machine.close()


def test_a_deleted_study_leaves_nothing(ours: Store) -> None:
    run, study_id = only_run(ours), ours.study().study_id
    ours.set_epoch(run.run_id, run.attempt, EPOCH)
    set_note(ours, study_id, 0, Note(text="x"))
    ours.delete_study(study_id)
    storage = open_storage(ours.url)
    delete_optuna_study(storage, study_id)
    assert not ours.studies() and not ours.runs(study_id) and not ours.epochs(run.run_id) and not notes_of(ours, study_id)
    storage.engine.dispose()
