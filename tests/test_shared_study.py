"""Several processes work on one study: nothing is trained twice, and who is taken for dead may no longer write."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.boards import open_board
from fastrcaps_dse import session, store
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict
from fastrcaps_dse.runs.budget import Budget, start_budget
from fastrcaps_dse.runs.executors import InProcess
from fastrcaps_dse.runs.runner import MOST_DEATHS, Runner
from fastrcaps_dse.search.explorer import Explorer
from fastrcaps_dse.search.proposers import make_proposers
from fastrcaps_dse.search.protocols import EpochFinished, Event, Failed, GivenUp, Measured, Request, TrialFinished
from fastrcaps_dse.store import Store
from fastrcaps_dse.trainer import pace
from tests.sessions import Heard, curves, explored, opened, spec_of
from tests.test_explorer import FINITE, Fake, forecast
from tests.test_explorer import spec_of as fake_spec

pytestmark = pytest.mark.usefixtures("small_capsnet")

ELSEWHERE = json.dumps(["another-host", 1, ""])


def another(ours: Store, host: str = "another-host") -> Store:
    """The same database, as a process of another machine has it."""
    other = Store(ours.url)
    other.owner = json.dumps([host, 1, ""])
    return other


def age(ours: Store, seconds: float = 9999.0) -> None:
    """Let nobody have been heard of for so long."""
    with ours.engine.begin() as connection:
        connection.execute(sa.text("UPDATE fastrcaps_run SET heartbeat = heartbeat - :s"), {"s": seconds})


def claim_again(ours: Store) -> store.RunRow:
    """Take the first run over."""
    (run, *_) = ours.runs(ours.study().study_id)
    return ours.claim_run(ours.study().study_id, run.trial, design_to_dict(run.design), run.design.key, run.seed)


# --- claims -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["guided", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("tpe", "random"))])
def test_processes_at_once_train_every_design_once(tmp_path: Path, sampler: str) -> None:
    spec = fake_spec(FINITE, sampler=sampler, seeds=2)
    fakes = [Fake() for _ in range(4)]
    boards = [open_board(spec, store.parse_url(str(tmp_path / "s.db")), 20) for _ in fakes]
    errors: list[BaseException] = []
    together = threading.Barrier(4)
    events: list[Event] = []

    def work(number: int) -> None:
        together.wait()
        boards[number].store.owner = json.dumps([f"host-{number}", 1, ""])
        fakes[number].ours = boards[number].store
        explorer = Explorer(spec=spec, board=boards[number], proposers=make_proposers(spec, forecast), tell=events.append)
        try:
            explorer.run(fakes[number])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    asked = Counter(run for fake in fakes for run in fake.asked)
    assert max(asked.values()) == 1 and len(asked) == 40 and sum(bool(fake.asked) for fake in fakes) > 1
    ours = boards[0].store
    trials = ours.trials(ours.study())
    assert [trial.trial for trial in trials] == [*range(20)] and {trial.state for trial in trials} == {"done"}
    mirrored = boards[0].optuna.study.get_trials()
    assert [t.user_attrs["design"] for t in mirrored] == [t.design.key for t in trials]
    assert {t.state.name for t in mirrored} == {"COMPLETE"} and all(t.measurement for t in trials)
    assert [t.values for t in mirrored] == [
        [t.measurement[o] for o in ("acc", "time", "params")] for t in trials if t.measurement
    ]
    assert {e.trial for e in events if isinstance(e, TrialFinished)} == {*range(20)}


def test_a_process_sees_what_others_train(tmp_path: Path) -> None:
    spec = fake_spec(FINITE)
    board = open_board(spec, store.parse_url(str(tmp_path / "s.db")), 3)
    point = spec.first_designs[0]
    theirs = another(board.store)
    run = theirs.claim_run(board.study.study_id, None, design_to_dict(point), point.key, 0)
    fake = Fake()
    fake.ours = board.store
    explorer = Explorer(spec=spec, board=board, proposers=make_proposers(spec, forecast))
    explorer.run(fake)
    assert point.key not in {key for key, _ in fake.asked} and len(fake.asked) == 2  # theirs counts toward the target
    assert [trial.point for trial in explorer.history.under_way] == [point] and run.trial == 0
    assert [t.state.name for t in board.optuna.study.get_trials()] == ["RUNNING", "COMPLETE", "COMPLETE"]
    age(theirs)
    again = Explorer(spec=spec, board=open_board(spec, board.store.url, 3), proposers=make_proposers(spec, forecast))
    again.run(fake)
    assert fake.asked[-1] == (point.key, 0) and len(again.history.finished) == 3


def test_a_target_that_another_process_raises_is_everybodys(tmp_path: Path) -> None:
    spec = fake_spec(FINITE)
    board = open_board(spec, store.parse_url(str(tmp_path / "s.db")), 2)
    fake = Fake()
    fake.ours = board.store

    def raise_target(event: Event) -> None:
        if isinstance(event, TrialFinished):
            board.store.set_target(board.study.study_id, 4)

    explorer = Explorer(spec=spec, board=board, proposers=make_proposers(spec, forecast), tell=raise_target)
    explorer.run(fake)
    assert len(explorer.history.finished) == 4


# --- fencing ----------------------------------------------------------------------------------------------------------


def test_only_the_latest_attempt_may_write(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        ours, point = study.store, DesignPoint()
        run = ours.claim_run(study.row.study_id, None, design_to_dict(point), point.key, 0, most=9)
        theirs = another(ours)
        with pytest.raises(store.Taken):
            claim_again(theirs)
        assert ours.beat(run.run_id, run.attempt)
        age(ours)
        assert [left.run_id for left in ours.left_runs(study.row.study_id)] == [run.run_id]
        taken = claim_again(theirs)
        assert taken.run_id == run.run_id and taken.attempt == run.attempt + 1 and taken.deaths == 1
        mine = run.run_id, run.attempt
        measured = study_measurement()
        assert not ours.beat(*mine)
        for write in (
            lambda: ours.start_run(*mine, {"params": 1}),
            lambda: ours.drop_epochs(*mine, 0),
            lambda: ours.count_epochs(*mine, {1: 2.0}),
            lambda: ours.finish_run(*mine, measured, 1.0, None),
            lambda: ours.fail_run(*mine, "x"),
            lambda: ours.take_run(*mine),
            lambda: ours.retake_run(*mine),
        ):
            with pytest.raises(store.Superseded):
                write()
        ours.leave_run(*mine)  # it is no longer this process's to leave
        assert [row["owner"] for row in ours.owners(study.row.study_id)] == [theirs.owner]
        theirs.finish_run(taken.run_id, taken.attempt, measured, 1.0, None)
        theirs.finish_run(taken.run_id, taken.attempt, measured, 1.0, None)  # as after a lost answer: it changes nothing
        assert [r.state for r in ours.runs(study.row.study_id)] == ["done"]


def study_measurement() -> Measurement:
    return Measurement(values={"acc": 90.0, "time": 1.0, "params": 5.0})


class Frozen(Heard):
    """Is frozen after an epoch, until another process has taken its run over and trained it to the end."""

    def __init__(self, study: session.OpenStudy, after: int) -> None:
        super().__init__()
        self.study, self.after = study, after
        self.ends: list[type[Event]] = []

    def tell(self, event: Event) -> None:
        super().tell(event)
        if isinstance(event, (Measured, Failed, GivenUp)):
            self.ends.append(type(event))

    def epoch_finished(self, event: EpochFinished) -> None:
        if event.epoch.epoch == self.after and not self.ends:
            age(self.study.store)
            with opened(Path(self.study.store.url.database or "").parent, self.study.spec) as other:
                other.store.owner = ELSEWHERE
                assert explored(other, Heard(), 1).trials == 1
            self.study.store.set_target(self.study.row.study_id, 2)


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.thorough), 3])
def test_a_frozen_process_learns_that_its_run_is_taken_over_and_goes_on_with_another(
    tmp_path: Path, tiny: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "INTERVAL", 0.0)
    with opened(tmp_path / "whole", spec_of(tiny, time="measured")) as whole:
        explored(whole, None, 2)
        expected = curves(whole.store)
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        heard = Frozen(study, after)
        outcome = explored(study, heard, 2)
        assert outcome.trials == 2 and heard.ends == [GivenUp, Measured]
        assert any("has taken trial 0 over" in warning for warning in heard.warnings)
        assert curves(study.store) == expected  # bit for bit, and no epoch twice
        (first, second) = study.store.runs(study.row.study_id)
        assert (first.attempt, second.attempt) == (2, 1) and first.state == second.state == "done"
        kept = {path.relative_to(study.store.runs_folder).parts[:2] for path in study.store.runs_folder.rglob("*.safetensors")}
        assert ("run-000001", "attempt-1") not in kept  # of the attempt that was taken over, nothing is left


def test_without_its_files_a_run_begins_again_and_says_so(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        with pytest.raises(KeyboardInterrupt):
            explored(study, Heard(2), 1)
        study.store.runs_folder.rename(tmp_path / "elsewhere")
        heard = Heard()
        assert explored(study, heard, 1).trials == 1 and heard.begun == [0]
        (warning,) = heard.warnings
        assert "begins again: its checkpoints after 2 epochs are not in" in warning and "--runs" in warning
        (run,) = study.store.runs(study.row.study_id)
        assert [epoch.epoch for epoch in study.store.epochs(run.run_id)] == [1, 2, 3, 4]


def test_a_design_on_which_processes_keep_dying_is_given_up(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        point = study.spec.first_designs[0]
        ours = study.store
        ours.claim_run(study.row.study_id, None, design_to_dict(point), point.key, 0, most=9)
        for number in range(MOST_DEATHS - 1):
            age(ours)
            claim_again(another(ours, f"host-{number}"))
        age(ours)
        heard = Heard()
        assert explored(study, heard, 1).trials == 1
        (run,) = ours.runs(study.row.study_id)
        assert run.state == "failed" and run.reason == f"its processes died {MOST_DEATHS} times without finishing an epoch"


def test_a_new_epoch_forgives_deaths(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        with pytest.raises(KeyboardInterrupt):
            explored(study, Heard(1), 1)
        with study.store.engine.begin() as connection:
            connection.execute(sa.text("UPDATE fastrcaps_run SET deaths = 5"))
        with pytest.raises(KeyboardInterrupt):
            explored(study, Heard(1), 1)
        assert [run.deaths for run in study.store.runs(study.row.study_id)] == [0]


# --- deadlines --------------------------------------------------------------------------------------------------------


def test_the_first_process_sets_the_deadline_and_others_take_it_over(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        point, ours = DesignPoint(), study.store
        assert not session.share_budget(study, Budget()).limited
        first = session.share_budget(study, start_budget(100.0))
        assert first.seconds == 100.0
        run = another(ours).claim_run(study.row.study_id, None, design_to_dict(point), point.key, 0, most=9)
        joined = session.share_budget(study, Budget())
        assert joined.limited and 95.0 < joined.left <= 100.0
        assert 95.0 < session.share_budget(study, start_budget(5000.0)).left <= 100.0
        assert session.share_budget(study, start_budget(10.0)).left <= 10.0
        ours_deadline = ours.state(study.row.study_id).deadline
        assert ours_deadline is not None and 90.0 < ours_deadline - ours.state(study.row.study_id).now <= 100.0
        another(ours).leave_run(run.run_id, run.attempt)  # nobody works on it: whoever begins sets it anew
        assert not session.share_budget(study, Budget()).limited


# --- what an earlier version has left ---------------------------------------------------------------------------------


def test_a_trial_that_was_only_announced_is_trained(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        explored(study, None, 1)
        point = replace(study.spec.first_designs[0], weight_sharing=False)
        other = next(p for p in study.spec.space.designs() if p.key != point.key)
        trial = store.TrialRow(trial=1, design=other, state="interrupted", runs=(), measurement=None)
        study.optuna.mirror([(trial, [])])
        assert len(study.store.runs(study.row.study_id)) == 1
        heard = Heard()
        assert explored(study, heard, 2).trials == 2
        assert [t.design.key for t in study.store.trials(study.row)] == [point.key, other.key]
        assert [t.state.name for t in study.optuna.study.get_trials()] == ["COMPLETE", "COMPLETE"]


def test_a_request_of_another_attempt_is_given_up(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        point = study.spec.first_designs[0]
        run = study.store.claim_run(study.row.study_id, None, design_to_dict(point), point.key, 0, most=9)
        request = Request(trial=0, point=point, seed=0, run_id=run.run_id, attempt=run.attempt + 1)
        executor = InProcess(runner=Runner(context=study.context, cost_model=study.cost_model))
        requests = iter([request])
        assert [type(message) for message in executor.run(lambda: next(requests, None))] == [GivenUp]


# --- joining ----------------------------------------------------------------------------------------------------------


def test_who_joins_a_complete_study_trains_nothing(tmp_path: Path, tiny: Path) -> None:
    """A job of an array that starts when the others have ended does not extend the study, nor after its deadline."""
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        explored(study, None, 1)
    with session.join_study("s", str(tmp_path / "s.db"), device="cpu", precision="float32") as joined:
        heard = Heard()
        outcome = explored(joined, heard, None)
        assert outcome.trials == 1 and not heard.begun and joined.store.state(joined.row.study_id).target == 1
        with joined.store.engine.begin() as connection:  # a deadline that is over
            connection.execute(sa.text("UPDATE fastrcaps_study SET deadline = 1.0, target_trials = 2"))
        outcome = explored(joined, heard, None)
        assert outcome.spent and outcome.trials == 1 and not heard.begun
        assert explored(joined, heard, 2, budget=start_budget(1000.0)).trials == 2  # unless it is asked for


def test_designs_of_others_are_told_at_the_end(tmp_path: Path, tiny: Path) -> None:
    with opened(tmp_path, spec_of(tiny, time="measured")) as study:
        point = next(p for p in study.spec.space.designs() if p not in study.spec.first_designs)
        another(study.store).claim_run(study.row.study_id, None, design_to_dict(point), point.key, 0, most=9)
        outcome = explored(study, None, 2)
        assert (outcome.trials, outcome.elsewhere) == (1, 1)


# --- Optuna's tables --------------------------------------------------------------------------------------------------


def test_one_process_at_a_time_writes_optunas_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = open_board(fake_spec(FINITE), store.parse_url(str(tmp_path / "s.db")), 3)
    ours, study_id = board.store, board.study.study_id
    until = ours.begin_mirroring(study_id)
    assert until is not None and ours.begin_mirroring(study_id) is None
    longer = ours.go_on_mirroring(study_id, until)
    assert longer is not None and longer >= until
    if longer > until:
        assert ours.go_on_mirroring(study_id, until) is None
        ours.end_mirroring(study_id, until)  # not its right any more
    assert ours.begin_mirroring(study_id) is None
    ours.set_study(study_id, {"mirrored_until": 1.0})  # its process was killed, or froze
    again = ours.begin_mirroring(study_id)
    assert again is not None and ours.go_on_mirroring(study_id, longer) is None
    ours.end_mirroring(study_id, longer)
    assert ours.begin_mirroring(study_id) is None
    ours.end_mirroring(study_id, again)
    assert ours.begin_mirroring(study_id) is not None


def test_a_finished_trial_follows_further_seeds_of_others(tmp_path: Path) -> None:
    spec = fake_spec(FINITE)
    board = open_board(spec, store.parse_url(str(tmp_path / "s.db")), 1)
    fake = Fake()
    fake.ours = board.store
    explorer = Explorer(spec=spec, board=board, proposers=make_proposers(spec, forecast))
    explorer.run(fake)
    (ended,) = explorer.history.finished
    theirs = another(board.store)
    run = theirs.claim_run(board.study.study_id, ended.number, design_to_dict(ended.point), ended.point.key, 7)
    theirs.finish_run(run.run_id, run.attempt, study_measurement(), 1.0, None)
    assert explorer.next_request() is None
    (again,) = explorer.history.finished
    assert again.measurement is not None and ended.measurement is not None
    assert again.measurement["acc"] == pytest.approx((ended.measurement["acc"] + 90.0) / 2)
