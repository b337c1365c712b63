"""Which weights a study keeps: one file for each design on its front."""

from __future__ import annotations

from pathlib import Path

from fastrcaps_dse import store
from fastrcaps_dse.analysis.results import front_of
from fastrcaps_dse.runs.front_weights import keep_front_weights
from fastrcaps_dse.store import Store, tables
from tests.synthetic import write_study


def write_weights(ours: Store) -> None:
    """A file of weights for each run."""
    for run in ours.runs(ours.study().study_id):
        folder = store.run_folder(store.runs_folder(ours.url), run.run_id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.safetensors").write_bytes(b"w")
        set_run(ours, run.run_id, weights=str(folder / "weights.safetensors"))


def set_run(ours: Store, run_id: int, **values: object) -> None:
    with ours.engine.begin() as connection:
        connection.execute(tables.run.update().where(tables.run.c.run_id == run_id).values(**values))


def kept(ours: Store) -> dict[int, int]:
    """The run with weights of each trial that has one; each file is there, and no other."""
    rows = [run for run in ours.runs(ours.study().study_id) if run.weights]
    files = {str(path) for path in store.runs_folder(ours.url).rglob("weights.safetensors")}
    assert files == {run.weights for run in rows}
    assert len({run.trial for run in rows}) == len(rows)
    return {run.trial: run.run_id for run in rows}


def test_the_most_accurate_run_of_each_design_on_the_front(tmp_path: Path) -> None:
    ours = write_study(tmp_path / "s.db", 12, seeds=3)
    write_weights(ours)
    study = ours.study()
    front = front_of(ours.trials(study), study.objectives)
    assert 0 < len(front) < 12 and keep_front_weights(ours, study) == len(front)
    best = {trial.trial: max(trial.runs, key=lambda run: run.measurement["acc"]).run_id for trial in front}  # type: ignore[index]
    assert kept(ours) == best
    assert keep_front_weights(ours, study) == len(front) and kept(ours) == best


def test_a_design_that_comes_back_keeps_what_it_has(tmp_path: Path) -> None:
    """The weights of its first runs are gone; those of a later seed are kept, though an earlier one was more accurate."""
    ours = write_study(tmp_path / "s.db", 12, seeds=3)
    study = ours.study()
    trial = front_of(ours.trials(study), study.objectives)[0]
    least = min(trial.runs, key=lambda run: run.measurement["acc"])  # type: ignore[index]
    folder = store.run_folder(store.runs_folder(ours.url), least.run_id)
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"w")
    set_run(ours, least.run_id, weights=str(folder / "weights.safetensors"))
    keep_front_weights(ours, study)
    assert kept(ours) == {trial.trial: least.run_id}
