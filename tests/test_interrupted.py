"""A trial that no process trains is never said to be running: it is interrupted, and the next exploration goes on with it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from fastrcaps_dse import store
from fastrcaps_dse.page.content import study_content
from fastrcaps_dse.runs.budget import start_budget
from fastrcaps_dse.search.protocols import Event, StepsTaken, TrialStarted
from fastrcaps_dse.session import OpenStudy
from fastrcaps_dse.store.owner import process_name
from fastrcaps_dse.trainer import pace
from tests.conftest import Command
from tests.sessions import Heard, explored, opened, spec_of

pytestmark = pytest.mark.usefixtures("small_capsnet")


def states(study: OpenStudy) -> tuple[list[str], list[str]]:
    """Of the trials: here, and in Optuna's tables."""
    mirrored = optuna.load_study(study_name=study.row.name, storage=study.optuna.storage).get_trials()
    return [trial.state for trial in study.store.trials(study.row)], [trial.state.name for trial in mirrored]


class Stopper(Heard):
    """Interrupts at the first event of a kind, and notes the states that others saw then."""

    def __init__(self, study: OpenStudy, kind: type[Event]) -> None:
        super().__init__()
        self.study, self.kind = study, kind
        self.seen: list[str] = []

    def tell(self, event: Event) -> None:
        if isinstance(event, self.kind):
            self.seen = [trial.state for trial in self.study.store.trials(self.study.row)]
            raise KeyboardInterrupt


def test_a_budget_that_ends_at_once(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        ticks = iter(range(10**6))
        outcome = explored(study, None, None, budget=start_budget(3.5, lambda: float(next(ticks))))
        assert outcome.spent and outcome.trials == 0
        ours, optunas = states(study)
        assert set(ours) == {"interrupted"} and set(optunas) == {"WAITING"} and len(ours) == len(optunas) == 1
        assert "1 interrupted" in json.dumps(study_content(study.row, study.store.trials(study.row), study.row.objectives, {}))
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        assert explored(study, None, 2).trials == 2 and states(study) == (["done", "done"], ["COMPLETE", "COMPLETE"])


def test_an_interruption_before_the_first_epoch(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "INTERVAL", 0.0)
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        stopper = Stopper(study, TrialStarted)
        with pytest.raises(KeyboardInterrupt):
            explored(study, stopper, 2)
        assert stopper.seen == ["running"] and states(study) == (["interrupted"], ["WAITING"])
        stopper = Stopper(study, StepsTaken)
        with pytest.raises(KeyboardInterrupt):
            explored(study, stopper, 2)
        assert stopper.seen == ["running"] and states(study) == (["interrupted"], ["WAITING"])
        heard = Heard()
        assert explored(study, heard, 1).trials == 1 and heard.begun == [0] and states(study) == (["done"], ["COMPLETE"])


def test_a_trial_that_waits_for_its_next_seed_is_running(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny, time="measured", seeds=2)) as study:
        ours = study.store
        explored(study, Heard(), 1)
        database = sqlite3.connect(tmp_path / "s.db")
        with database:  # as if the second seed were to begin
            database.execute("UPDATE fastrcaps_run SET seed = 7, trial = 5, state = 'running' WHERE seed = 1")
            for owner, expected in ((process_name(), "running"), (None, "interrupted")):
                database.execute("UPDATE fastrcaps_run SET owner = ? WHERE seed = 7", [owner])
                database.commit()
                assert {trial.trial: trial.state for trial in ours.trials(study.row)} == {0: expected, 5: expected}
        database.close()


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_running(command: Command, tiny: Path, tmp_path: Path) -> None:
    space = 'network = ["lenet5"]\nlr_policy = ["fixed"]\nbatch_schedule = [16]'
    text = f'dataset = "{tiny}"\ntime = "measured"\nepochs = 400\n[space]\n{space}\n'
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    arguments = [sys.executable, "-m", "fastrcaps_dse", "explore", "tiny.toml", "--device", "cpu", "--workers", "1"]
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=here) as child:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not list(tmp_path.rglob("last.safetensors")):
            time.sleep(0.05)
        listed = json.loads(command("studies", "--json").out)[0]
        child.send_signal(signal.SIGKILL)
    assert (listed["running"], listed["interrupted"]) == (1, 0)
    listed = json.loads(command("studies", "--json").out)[0]
    assert (listed["running"], listed["interrupted"]) == (0, 1)
    assert "trial 0: " in command("show", 0).out and "interrupted" in command("show", 0).out
    ours = store.Store(store.parse_url(str(tmp_path / "studies/fastrcaps.db")))
    assert not store.any_alive(ours.owners(ours.study().study_id))
