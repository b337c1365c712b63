"""Explore an open study, and race seeds."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastrcaps_dse import store, trainer
from fastrcaps_dse.analysis.picks import Limit
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.quantities import format_seconds
from fastrcaps_dse.problem.space import DesignPoint, design_to_dict
from fastrcaps_dse.problem.study_spec import UNBOUNDED
from fastrcaps_dse.runs.budget import Budget, start_budget
from fastrcaps_dse.runs.estimates import Remaining, trials_within
from fastrcaps_dse.runs.executors import InProcess
from fastrcaps_dse.runs.front_weights import keep_front_weights
from fastrcaps_dse.runs.leftovers import sweep
from fastrcaps_dse.runs.progress import Progress
from fastrcaps_dse.runs.recounting import agree_on_reference, catch_up
from fastrcaps_dse.runs.runner import Runner
from fastrcaps_dse.search.board import StoreBoard
from fastrcaps_dse.search.candidates import Guided
from fastrcaps_dse.search.explorer import Explorer
from fastrcaps_dse.search.freeze_thaw import make_planner
from fastrcaps_dse.search.limits import LimitFilter
from fastrcaps_dse.search.outlook import Outlook
from fastrcaps_dse.search.proposers import make_proposers
from fastrcaps_dse.search.protocols import Event, Executor, Measured, Tell, ignore
from fastrcaps_dse.search.racing import Race
from fastrcaps_dse.session.enough import Enough
from fastrcaps_dse.session.opening import OpenStudy
from fastrcaps_dse.store import StudyRow

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an exploration ended."""

    study: StudyRow
    trials: int  # finished ones, of all calls
    exhausted: bool  # the space has no more designs
    spent: bool  # the budget is
    elsewhere: int = 0  # trials that other processes still train
    paused: int = 0  # trials that wait for further epochs
    complete: bool = False  # no run promises enough to be trained further
    enough: bool = False  # another hour is expected to gain too little
    outlook: Outlook | None = None  # what another hour of training is expected to give; None where there is nothing to say


def explore(
    study: OpenStudy,
    executor: Executor | None = None,
    *,
    trials: int | None = None,
    limits: Sequence[Limit] = (),
    budget: Budget | None = None,
    reference: str | None = None,
    until_gain_below: float | None = None,
    tell: Tell = ignore,
) -> Outcome:
    """Train designs of a study, or go on with it where it was stopped.

    Arguments:
        executor: what trains; by default this process. `open_executor` gives others.
        trials: how many the study is to have in all; by default as many as it was on the way to, or as many again as the spec says.
        limits: rule out designs before they are trained.
        budget: `start_budget(seconds)` ends the exploration after so long; without it, it never ends early.
        reference: the name of the device in whose step times the study is counted; by default the one that it has, else this one.
        until_gain_below: ends the exploration once another hour of training is expected to gain less, as a share of the hypervolume.
        tell: is called with each event.

    Other processes may explore the same study, on this machine or others: they share its target, its deadline and what was measured,
    and no design is trained twice. Raises UserErrors: NothingFits where the limits leave no design.
    """
    with store.clear_errors(study.store.url):
        budget = share_budget(study, budget or Budget())
        sweep(study.store, study.row)
        keep_front_weights(study.store, study.row)  # a process that was killed may have left those of designs off the front
        agree_on_reference(study.cost_model, reference)
        catch_up(study.cost_model)
        _warn_of_another_device(study)
        chosen = executor or _in_process(study, budget)
        enough = Enough(
            guided=Guided(spec=study.spec, forecast=study.cost_model.forecast),
            below=None if study.spec.sampler == "freeze-thaw" else until_gain_below,  # whose planner has its own measure
        )
        explorer = Explorer(
            spec=study.spec,
            admits=_admitted(study, limits),  # before the target is set, as there may be none
            board=_board(study, limits, _target(study, trials, budget.limited or enough.below is not None)),
            proposers=make_proposers(study.spec, study.cost_model.forecast, limits),
            planner=make_planner(study.spec, study.cost_model.forecast, until_gain_below),
            may_start=lambda point: _may_start(study, budget, point) and not enough.is_reached(explorer.history),
            tell=_progress(study, chosen, budget, _catching_up(study, tell)),
        )
        with trainer.clear_device_errors():
            explorer.run(chosen)
            if not budget.over:
                catch_up(study.cost_model, most=None)
            is_modeled = study.spec.sampler == "guided" or enough.below is not None
            seen = enough.outlook(explorer.history) if is_modeled and not explorer.exhausted else None
        if seen is not None:
            told = {"text": seen.text, "gain": seen.gain, "trials": len(explorer.history.finished)}
            study.store.set_study(study.row.study_id, {"outlook": told})
    return _outcome(study, explorer, enough.reached, seen)


def _admitted(study: OpenStudy, limits: Sequence[Limit]) -> Callable[[DesignPoint], bool]:
    """Whether the limits and the memory leave a design. Raises NothingFits where they leave none."""
    limited, memory = LimitFilter(limits=limits, bounds=study.cost_model.bounds), study.cost_model.memory
    limited.check(study.spec)
    memory.check(study.spec)
    return lambda point: limited.admits(point) and memory.admits(point)


def _outcome(study: OpenStudy, explorer: Explorer, enough: bool, outlook: Outlook | None) -> Outcome:
    """How an exploration has ended; `enough`: as another hour is expected to gain too little."""
    history, stepwise = explorer.history, explorer.planner is not None
    return Outcome(
        study=study.store.study(study.spec.name),  # with the reference that it has by now
        trials=len(history.finished),
        exhausted=explorer.exhausted,
        spent=explorer.spent and not enough,
        elsewhere=len(history.under_way),
        paused=sum(1 for trial in history.open.values() if stepwise and not trial.under_way),
        complete=stepwise and not history.open and not explorer.spent,
        enough=enough,
        outlook=outlook,
    )


def share_budget(study: OpenStudy, budget: Budget) -> Budget:
    """The budget of this process in the time that all processes of the study have: the first one sets their deadline, those that join
    it end with it, or earlier if their own budget does.
    """
    seconds = budget.left if budget.limited else None
    left = study.store.share_deadline(study.row.study_id, seconds, keeps=study.joins)
    return budget if left is None or left >= budget.left - 1.0 else start_budget(max(0.0, left), budget.clock)


def race(
    study: OpenStudy,
    executor: Executor | None = None,
    *,
    max_seeds: int,
    every: bool = False,
    budget: Budget | None = None,
    tell: Tell = ignore,
) -> int:
    """Train further seeds of the designs whose membership of the front is uncertain, up to `max_seeds` each; how many runs.

    It ends once every membership is certain at 95 % confidence, all looks together, or when the budget is over. With `every`, all
    measured designs get `max_seeds`, the second seed of all before the third. Arguments and errors as for `explore`.
    """
    budget = budget or Budget()
    with store.clear_errors(study.store.url):
        agree_on_reference(study.cost_model)

        def tell_and_keep(event: Event) -> None:
            if isinstance(event, Measured):
                catch_up(study.cost_model)
                keep_front_weights(study.store, study.row)
            tell(event)

        started = Race(
            board=_board(study),
            objectives=study.row.objectives,
            seeds=study.spec.seeds,
            max_seeds=max_seeds,
            every=every,
            first_seed=study.spec.seed,
            stops=study.spec.sampler == "freeze-thaw",
            may_start=lambda: not budget.over,
            tell=tell_and_keep,
        )
        return started.run(executor or _in_process(study, budget))


# --- the parts of an exploration --------------------------------------------------------------------------------------


def _in_process(study: OpenStudy, budget: Budget) -> Executor:
    """What trains if no executor is given."""
    return InProcess(runner=Runner(context=study.context, cost_model=study.cost_model, budget=budget))


def _board(study: OpenStudy, limits: Sequence[Limit] = (), target: int | None = None) -> StoreBoard:
    """The board of the study, with the trials that an earlier version had only announced."""
    tried = {run.design.key for run in study.store.runs(study.row.study_id)}
    for number, point in study.optuna.announced():
        if point.key in tried:
            continue
        study.store.adopt_run(study.row.study_id, number, design_to_dict(point), point.key, study.spec.seed)
    most = target if target == UNBOUNDED else None
    return StoreBoard(store=study.store, study=study.row, optuna=study.optuna, limits=limits, most=most)


def _target(study: OpenStudy, trials: int | None, is_limited: bool) -> int:
    """How many trials the study is to have: as asked; else as many as it was on the way to; else as many again.

    `is_limited` where something else ends the exploration, so that it needs no number.
    """
    if trials is None and is_limited:
        return UNBOUNDED
    row = study.store.study(study.spec.name)
    finished = sum(trial.state in ("done", "failed") for trial in study.store.trials(row))
    others = store.any_alive(study.store.owners(row.study_id))  # a process that joins goes on to their target
    is_on_the_way = row.target_trials > finished or ((others or study.joins) and row.target_trials)
    wanted = trials if trials is not None else row.target_trials if is_on_the_way else finished + _within(study, finished)
    study.store.set_target(row.study_id, wanted)
    return wanted


def _within(study: OpenStudy, finished: int) -> int:
    """How many trials the study adds: as many as its spec says, or those that are trained within the time that it allows."""
    spec = study.spec
    if spec.within is None or finished:
        return spec.trials
    count = trials_within(spec, study.cost_model.run_seconds)
    if count < spec.trials:
        logger.warning(
            "this machine trains %d of the %d designs within %s; --trials %d trains all",
            *(count, spec.trials, format_seconds(spec.within), spec.trials),
        )
    return count


def _may_start(study: OpenStudy, budget: Budget, point: DesignPoint) -> bool:
    """False once the budget is over. Raises InputError where it is shorter than one epoch of the first design."""
    if budget.over:
        return False
    if budget.limited and not study.store.runs(study.row.study_id):
        needed = study.cost_model.first_epoch_seconds(point)
        if math.isfinite(needed) and needed > budget.seconds:
            raise InputError(
                f"a budget of {format_seconds(budget.seconds)} is shorter than one epoch of {point.label}, "
                f"about {format_seconds(needed)}",
                "give it more, or use larger batches",
            )
    return True


def _progress(study: OpenStudy, executor: Executor, budget: Budget, tell: Tell) -> Callable[[Event], None]:
    return Progress(
        tell=tell,
        remaining=Remaining(spec=study.spec, estimate=study.cost_model.estimate, workers=executor.workers),
        keep_front=lambda: keep_front_weights(study.store, study.row),
        size=study.spec.space.size(),
        budget=budget,
        by_step=study.spec.sampler == "freeze-thaw",
    )


def _catching_up(study: OpenStudy, tell: Tell) -> Tell:
    """Between two runs, count anew what was estimated and is measured by now."""

    def tell_and_catch_up(event: Event) -> None:
        tell(event)
        if isinstance(event, Measured):
            catch_up(study.cost_model)

    return tell_and_catch_up


def _warn_of_another_device(study: OpenStudy) -> None:
    """Times of different devices or precisions are not comparable; steps of another device count as those of the reference."""
    scale = study.cost_model.scale
    if scale.elsewhere:
        logger.warning(
            "the times of this study are counted in the step times of %s: what it has not measured is estimated until it is; "
            "--reference NAME counts all runs in those of another device",
            scale.reference,
        )
    if scale.reference is not None:
        return
    here = (trainer.device_name(study.context.device), study.context.precision)
    there = {(run.device, run.precision) for run in study.store.runs(study.row.study_id) if run.device} - {here}
    for device, precision in sorted(there, key=str):
        logger.warning(
            "earlier runs of this study were trained on %s in %s, not on %s in %s: their times are not comparable",
            *(device, precision, *here),
        )
