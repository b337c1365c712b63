"""The front door: open a study, explore it, race seeds, read its results, pick. The command line and a notebook call the same functions.

study = open_study(find_study_file("quick"))
explore(study, trials=10)
results(study).front
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastrcaps_dse import data, store, trainer
from fastrcaps_dse.analysis.picks import Limit, Pick, parse_limits, pick
from fastrcaps_dse.analysis.results import Results, candidate, front_of, standings_of, weights_of
from fastrcaps_dse.capsnet.network import CapsNet, LeNet5
from fastrcaps_dse.errors import InputError, MachineError
from fastrcaps_dse.figures.plots import pareto_figure, pareto_info
from fastrcaps_dse.problem.objectives import Measurement
from fastrcaps_dse.problem.quantities import format_seconds
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import UNBOUNDED, StudySpec, differences
from fastrcaps_dse.runs.budget import Budget
from fastrcaps_dse.runs.context import Context
from fastrcaps_dse.runs.cost_model import CostModel
from fastrcaps_dse.runs.estimates import Remaining, check_designs
from fastrcaps_dse.runs.executors import InProcess
from fastrcaps_dse.runs.front_weights import keep_front_weights
from fastrcaps_dse.runs.progress import Progress
from fastrcaps_dse.runs.runner import Runner
from fastrcaps_dse.search.explorer import Explorer
from fastrcaps_dse.search.history import History
from fastrcaps_dse.search.limits import LimitFilter
from fastrcaps_dse.search.optuna_storage import OptunaStudy, open_optuna_study, open_storage
from fastrcaps_dse.search.proposers import make_proposers
from fastrcaps_dse.search.protocols import Event, Executor, Measured, Tell, ignore
from fastrcaps_dse.search.racing import Race, RacedDesign
from fastrcaps_dse.store import URL, Store, StudyRow, TrialRow

if TYPE_CHECKING:
    import plotly.graph_objects as go

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OpenStudy:
    """A stored study with its images and a device, ready to be explored. `with` closes its connections at the end."""

    context: Context
    optuna: OptunaStudy
    cost_model: CostModel

    @property
    def spec(self) -> StudySpec:
        """What is explored, and how."""
        return self.context.spec

    @property
    def row(self) -> StudyRow:
        """The study as it is stored."""
        return self.context.study

    @property
    def store(self) -> Store:
        """Its runs and epochs."""
        return self.context.store

    def close(self) -> None:
        """Close the storage's connections."""
        self.store.close()
        self.optuna.close()

    def __enter__(self) -> OpenStudy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an exploration ended."""

    study: StudyRow
    trials: int  # finished ones, of all calls
    exhausted: bool  # the space has no more designs
    spent: bool  # the budget is


def open_study(
    spec: StudySpec,
    storage: URL | str | None = None,
    *,
    data_dir: Path | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> OpenStudy:
    """The study of this spec: made in the storage, or found there if it was started in the same way.

    Arguments:
        storage: an SQLAlchemy URL or the path of an SQLite file; by default FASTRCAPS_STORAGE or studies/fastrcaps.db.
        data_dir: where data sets are looked for; by default data/.
        device: "cuda", "mps" or "cpu"; by default the first that this machine has.
        precision: "float32" or "bfloat16", of the convolutions; by default the one that is fast on the device.

    Raises UserErrors for everything that can be found out before training: InputError for a study of this name that was started in
    another way, MachineError for data or a storage that is out of reach.
    """
    chosen = trainer.choose_device(device)
    number_type = trainer.choose_precision(chosen, precision)
    dataset = data.load(spec.dataset, data_dir)
    check_designs(spec, dataset.shape)
    url = storage if isinstance(storage, URL) else store.open_url(storage)
    rdb = open_storage(url)
    with store.clear_errors(url):
        mirror = open_optuna_study(spec, rdb)
        ours = Store(url, create=True)
        row = _stored_row(spec, ours, mirror, dataset)
    context = Context(spec=spec, study=row, store=ours, dataset=dataset, device=chosen, precision=number_type)
    return OpenStudy(context=context, optuna=mirror, cost_model=CostModel(context))


def _stored_row(spec: StudySpec, ours: Store, mirror: OptunaStudy, dataset: data.DataSet) -> StudyRow:
    """The study's row, made or found. Raises InputError where the found one is of another study."""
    rows = {row.name: row for row in ours.studies()}
    if spec.name not in rows:
        if not mirror.is_new and mirror.study.get_trials(deepcopy=False):
            raise InputError(
                f"the study {spec.name!r} in this storage was not made by fastrcaps-dse", "name another with --study"
            )
        ours.add_study(
            {
                "study_id": mirror.study_id,
                "identity": spec.identity(),
                "spec_text": spec.text,
                "target_trials": 0,
                "dataset_fingerprint": dataset.fingerprint(),
                "image_shape": asdict(dataset.shape),
                "train_images": len(trainer.split_for(dataset, spec.protocol)[0]),
            }
        )
        return ours.study(spec.name)
    row = rows[spec.name]
    differing = differences(row.identity, spec.identity())
    if row.dataset_fingerprint != dataset.fingerprint():
        differing.append("the images of the data set")
    if differing:
        raise InputError(
            f"the study {spec.name!r} was started differently: " + "; ".join(differing),
            "continue it as it was started, or begin another with --study NAME",
        )
    return row


def explore(
    study: OpenStudy,
    executor: Executor | None = None,
    *,
    trials: int | None = None,
    limits: Sequence[Limit] = (),
    budget: Budget | None = None,
    tell: Tell = ignore,
) -> Outcome:
    """Train designs of a study, or go on with it where it was stopped.

    Arguments:
        executor: what trains; by default this process. `open_executor` gives others.
        trials: how many the study is to have in all; by default as many as it was on the way to, or as many again as the spec says.
        limits: rule out designs before they are trained.
        budget: `start_budget(seconds)` ends the exploration after so long; without it, it never ends early.
        tell: is called with each event.

    Raises UserErrors: MachineError where another process explores the study, NothingFits where the limits leave no design.
    """
    budget = budget or Budget()
    with store.clear_errors(study.store.url):
        _refuse_second_process(study)
        _warn_of_another_device(study)
        chosen = executor or InProcess(runner=Runner(context=study.context, cost_model=study.cost_model, budget=budget))
        limited = LimitFilter(limits=limits, bounds=study.cost_model.bounds)
        limited.check(study.spec)
        history = study.optuna.history(_measured(study), History(admits=limited.admits))
        explorer = Explorer(
            study=study.optuna,
            history=history,
            proposers=make_proposers(study.spec, study.cost_model.forecast, limits, workers=chosen.workers),
            target=_target(study, trials, budget, len(history.finished)),
            limits=limits,
            may_start=lambda point: _may_start(study, budget, point),
            tell=_progress(study, chosen, budget, tell),
        )
        explorer.run(chosen)
    return Outcome(study=study.row, trials=len(history.finished), exhausted=explorer.exhausted, spent=explorer.spent)


def race(
    study: OpenStudy,
    executor: Executor | None = None,
    *,
    max_seeds: int,
    budget: Budget | None = None,
    tell: Tell = ignore,
) -> int:
    """Train further seeds of the designs whose membership of the front is uncertain, up to `max_seeds` each; how many runs.

    It ends once every membership is certain at 95 % confidence, all looks together, or when the budget is over. Arguments and errors
    as for `explore`.
    """
    budget = budget or Budget()
    with store.clear_errors(study.store.url):
        measured = [trial for trial in study.store.trials(study.row) if trial.measurement is not None]
        designs = {
            trial.trial: RacedDesign(
                point=trial.design,
                runs=[run.measurement for run in trial.runs if run.measurement is not None],
                seeds={run.seed for run in trial.runs if run.state != "running"},
            )
            for trial in measured
        }

        def tell_and_keep(event: Event) -> None:
            if isinstance(event, Measured):
                keep_front_weights(study.store, study.row)
            tell(event)

        started = Race(
            designs=designs,
            objectives=study.row.objectives,
            max_seeds=max_seeds,
            first_seed=study.spec.seed,
            may_start=lambda: not budget.over,
            tell=tell_and_keep,
        )
        return started.run(
            executor or InProcess(runner=Runner(context=study.context, cost_model=study.cost_model, budget=budget))
        )


def results(study: OpenStudy | str | None = None, *, storage: URL | str | None = None) -> Results:
    """What a study has found, as DataFrames: `.trials`, `.runs`, `.epochs`, `.front`.

    `study` is an open one, or a name in the storage; by default the newest there. Raises InputError where there is none.
    """
    if isinstance(study, OpenStudy):
        return _results(study.store, study.store.study(study.spec.name))
    with _opened_store(storage) as ours:
        return _results(ours, ours.study(study))


def plot_front(study: OpenStudy) -> go.Figure:
    """The measured designs of a study with its Pareto front, as a plotly figure: in 3D for three objectives, else in 2D."""
    trials, objectives = study.store.trials(study.row), study.row.objectives
    return pareto_figure(pareto_info(trials, front_of(trials, objectives), objectives))


@dataclass(frozen=True, kw_only=True)
class Picked:
    """A pick with the design that it names: the picked one, or the nearest miss where nothing satisfies the limits."""

    pick: Pick
    trial: TrialRow | None  # None in a study without a finished design


def pick_design(study: OpenStudy, limits: Sequence[str] = (), prefer: str | None = None) -> Picked:
    """The design on the front for these limits, and why: `pick_design(study, ["params<=7M", "acc>=98"])`.

    `prefer` is an objective whose best value is wanted, or "knee"; by default the first objective without a limit. Raises InputError
    for limits or preferences that make no sense in this study.
    """
    trials = {trial.trial: trial for trial in study.store.trials(study.row) if trial.measurement is not None}
    objectives = study.row.objectives
    sure = standings_of([*trials.values()], objectives)
    candidates = [candidate(trial, objectives, sure[number]) for number, trial in trials.items()]
    chosen = pick(candidates, objectives, parse_limits(limits), prefer)
    number = chosen.trial if chosen.trial is not None else chosen.nearest_miss
    return Picked(pick=chosen, trial=None if number is None else trials[number])


def load_network(study: OpenStudy, trial: TrialRow | None) -> CapsNet | LeNet5:
    """The trained network of a design, ready to classify: `network.scores(images)`.

    `images` are float32 [B, C, H, W] in [0, 1]; scores are [B, J], a row for each image. Raises InputError where its weights are not
    kept, as only designs on the front keep theirs, and for no trial, as from a pick in an empty study.
    """
    if trial is None:
        raise InputError("there is no design to load", "explore the study first")
    weights = weights_of(trial)
    if weights is None:
        raise InputError(
            f"the weights of trial {trial.trial} are not kept: it is not on the front of its study",
            "train it: see `train --help`",
        )
    return trainer.load_network(Path(weights), trial.design, study.context.dataset.shape)


def _results(ours: Store, row: StudyRow) -> Results:
    return Results(study=row, rows=tuple(ours.trials(row)), epoch_rows=ours.epochs_of(row.study_id))


@contextmanager
def _opened_store(storage: URL | str | None) -> Iterator[Store]:
    ours = Store(storage if isinstance(storage, URL) else store.open_url(storage))
    try:
        yield ours
    finally:
        ours.close()


# --- the parts of an exploration --------------------------------------------------------------------------------------


def _measured(study: OpenStudy) -> dict[int, Measurement]:
    """The measurements of the store, by trial."""
    trials = study.store.trials(study.row)
    return {trial.trial: trial.measurement for trial in trials if trial.measurement is not None}


def _target(study: OpenStudy, trials: int | None, budget: Budget, finished: int) -> int:
    """How many trials the study is to have: as asked; else as many as it was on the way to; else as many again."""
    if trials is None and budget.limited:
        return UNBOUNDED
    stored = study.store.study(study.spec.name).target_trials
    wanted = trials if trials is not None else stored if stored > finished else finished + study.spec.trials
    study.store.set_target(study.row.study_id, wanted)
    return wanted


def _may_start(study: OpenStudy, budget: Budget, point: DesignPoint) -> bool:
    """False once the budget is over. Raises InputError where it is shorter than one epoch of the first design."""
    if budget.over:
        return False
    if budget.limited and not study.store.runs(study.row.study_id):
        needed = study.cost_model.first_epoch_seconds(point)
        if needed > budget.seconds:
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
    )


def _refuse_second_process(study: OpenStudy) -> None:
    """Only one process explores a study at a time. Raises MachineError."""
    for run in study.store.owners(study.row.study_id):
        if store.is_alive(run["owner"], run["heartbeat"]):
            raise MachineError(
                f"the study {study.spec.name!r} is being explored by another process",
                "wait for it, stop it, or use --study NAME",
            )


def _warn_of_another_device(study: OpenStudy) -> None:
    """Times of different devices or precisions are not comparable."""
    here = (trainer.device_name(study.context.device), study.context.precision)
    there = {(run.device, run.precision) for run in study.store.runs(study.row.study_id) if run.device} - {here}
    for device, precision in sorted(there, key=str):
        logger.warning(
            "earlier runs of this study were trained on %s in %s, not on %s in %s: their times are not comparable",
            *(device, precision, *here),
        )
