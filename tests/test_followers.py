"""Epochs in CSV files, TensorBoard and MLflow while a study runs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fastrcaps_dse import session
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.runs.followers import CsvFollower, Follower, followed, open_follower
from fastrcaps_dse.search.protocols import Event, Failed, Request, RunStarted
from tests.conftest import Command
from tests.sessions import Heard, opened, spec_of

REQUEST = Request(trial=3, point=parse_design("fixed"), seed=1, run_id=1, attempt=1)

pytestmark = pytest.mark.slow


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


def explore_followed(folder: Path, tiny: Path, follower: Follower) -> dict[tuple[int, int], list[float]]:
    """Explore a small study with a follower; the stored accuracies by (trial, seed)."""
    with opened(folder, spec_of(tiny)) as study, followed(Heard().tell, [follower]) as tell:
        session.explore(study, tell=tell)
        return {
            (trial.trial, run.seed): [epoch.acc for epoch in study.store.epochs(run.run_id)]
            for trial in study.store.trials(study.row)
            for run in trial.runs
        }


def test_csv_has_every_epoch(tmp_path: Path, tiny: Path, small_capsnet: None) -> None:
    stored = explore_followed(tmp_path, tiny, open_follower(f"csv={tmp_path / 'logs'}", "s"))
    told: dict[tuple[int, int], list[float]] = {}
    for row in rows(tmp_path / "logs" / "s.epochs.csv"):
        told.setdefault((int(row["trial"]), int(row["seed"])), []).append(float(row["acc"]))
    assert told == stored and len(stored) == 2


def test_tensorboard_has_every_epoch(tmp_path: Path, tiny: Path, small_capsnet: None) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stored = explore_followed(tmp_path, tiny, open_follower(f"tensorboard={tmp_path / 'logs'}", "s"))
    for (trial, seed), accuracies in stored.items():
        events = EventAccumulator(str(tmp_path / "logs" / "s" / f"trial-{trial:04d}-seed-{seed}"))
        events.Reload()
        assert [event.value for event in events.Scalars("acc")] == pytest.approx(accuracies, rel=1e-6)
        assert [event.step for event in events.Scalars("acc")] == [1, 2, 3, 4]
        assert events.Scalars("objective/acc")[0].value == pytest.approx(max(accuracies), rel=1e-6)


def test_mlflow_has_every_epoch(tmp_path: Path, tiny: Path, small_capsnet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder serves for a test
    from mlflow import MlflowClient

    uri = f"file://{tmp_path / 'ml'}"
    stored = explore_followed(tmp_path, tiny, open_follower(f"mlflow={uri}", "s"))
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == len(stored) and {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        history = client.get_metric_history(run.info.run_id, "acc")
        expected = stored[int(run.data.params["trial"]), int(run.data.params["seed"])]
        assert [metric.value for metric in sorted(history, key=lambda m: m.step)] == pytest.approx(expected)


class Broken(CsvFollower):
    """Fails when a run begins."""

    calls = 0

    def start(self, request: Request) -> None:
        type(self).calls += 1
        raise OSError("no space left")


def test_a_log_that_fails_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Event] = []
    events: list[Event] = [RunStarted(request=REQUEST, epochs=2, accuracies=()), Failed(request=REQUEST, reason="r")] * 2
    whole = CsvFollower(folder=tmp_path, study="a/b")
    with followed(heard.append, [Broken(folder=tmp_path, study="s"), whole]) as tell:
        for event in events:
            tell(event)
    assert heard == events and Broken.calls == 1
    assert [record.message for record in caplog.records] == ["a log is given up: no space left"]
    assert whole.path == tmp_path / "a_b.epochs.csv" and rows(whole.path) == []


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("csv", "does not say where", "csv=logs"),
        ("mlflow=", "does not say where", "mlflow=http"),
        ("tensorbord=x", "'tensorbord' is no kind of log", "did you mean 'tensorboard'"),
        ("mlflow=x", "mlflow is not installed", r"pip install 'fastrcaps-dse\[mlflow\]'"),
        ("tensorboard=x", "tensorboard is not installed", r"pip install 'fastrcaps-dse\[tensorboard\]'"),
    ],
)
def test_bad_logs(text: str, message: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=message) as error:
        open_follower(text, "s")
    with pytest.raises(InputError, match=hint):
        raise InputError(error.value.hint)


def test_the_command_line_takes_several(command: Command, tmp_path: Path, tiny: Path, small_capsnet: None) -> None:
    (tmp_path / "s.toml").write_text(
        f'dataset = "{tiny}"\nepochs = 1\ntrials = 1\n[space]\nlr_policy = ["fixed"]\nbatch_schedule = [16]\n'
        'weight_sharing = [false]\ndecoder = ["small"]\n'
    )
    said = command("explore", "s.toml", "--device", "cpu", "--workers", "1", "--log", "csv=a", "--log", "csv=b")
    assert said.code == 0, said.err
    first, second = (rows(tmp_path / name / "s.epochs.csv") for name in ("a", "b"))
    assert first == second and len(first) == 1
    assert command("explore", "s.toml", "--log", "nothing").code == 2
