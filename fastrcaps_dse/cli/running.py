"""A study run with its progress shown."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastrcaps_dse.errors import visible

if TYPE_CHECKING:
    from fastrcaps_dse.analysis.picks import Limit
    from fastrcaps_dse.cli.progress import ExplorationProgress
    from fastrcaps_dse.problem.study_spec import StudySpec
    from fastrcaps_dse.session import OpenStudy, Outcome


@dataclass(frozen=True, kw_only=True)
class HowToRun:
    """Where a study runs and how long, as the command line says."""

    storage: str | None = None
    runs: str | None = None  # where the files of the runs are
    data_dir: Path | None = None
    device: str | None = None
    precision: str | None = None
    workers: int | None = 1  # None for as many as the GPUs have use for, or as fill the cores of a processor
    fresh: bool = False
    joins: bool = False  # the study is not extended
    reference: str | None = None  # the device in whose step times the study is counted; None for the one that it has
    budget: float | None = None  # s
    until_gain_below: float | None = None  # share of the hypervolume, of another hour of training
    logs: Sequence[str] = ()  # "csv=DIR", "tensorboard=DIR", "mlflow=URI"


def run_study(
    spec: StudySpec,
    how: HowToRun,
    trials: int | None,
    *,
    limits: Sequence[Limit] = (),
    max_seeds: int = 0,
    each_epoch: bool = False,
) -> tuple[Outcome, int]:
    """Explore, then race; (how it ended, how many runs were raced)."""
    from fastrcaps_dse.cli.progress import ExplorationProgress

    with ExplorationProgress(spec.objectives, each_epoch=each_epoch) as progress:
        progress.stage("loading PyTorch")
        return _run(spec, how, trials, progress, limits=limits, max_seeds=max_seeds)


def _run(
    spec: StudySpec,
    how: HowToRun,
    trials: int | None,
    progress: ExplorationProgress,
    *,
    limits: Sequence[Limit],
    max_seeds: int,
) -> tuple[Outcome, int]:
    """The same, while `progress` shows it."""
    from fastrcaps_dse import session, trainer
    from fastrcaps_dse.data import summary_line
    from fastrcaps_dse.runs.budget import start_budget
    from fastrcaps_dse.runs.devices import check_workers
    from fastrcaps_dse.runs.executors import open_executor
    from fastrcaps_dse.runs.followers import followed, open_follower
    from fastrcaps_dse.search.optuna_storage import quiet_optuna

    quiet_optuna()
    budget = start_budget(how.budget)
    followers = [open_follower(text, spec.name) for text in how.logs]
    check_workers(how.workers, trainer.choose_device(how.device), spec)  # before anything is written
    progress.stage(f"reading the data set {visible(spec.dataset)}")
    with (
        session.open_study(
            spec,
            how.storage,
            data_dir=how.data_dir,
            device=how.device,
            precision=how.precision,
            runs=how.runs,
            joins=how.joins,
        ) as study,
        ExitStack() as stack,
    ):
        if not progress.each_epoch:
            progress.say(_first_line(study))
        progress.say(f"data: {summary_line(study.context.dataset)}")
        budget = session.share_budget(study, budget)
        progress.stage("measuring this machine: seconds of a step, the fastest convolutions")
        executor = stack.enter_context(
            open_executor(
                study.cost_model,
                workers=how.workers,
                data_dir=how.data_dir,
                budget=budget,
                fresh=how.fresh,
                trials=trials,
            )
        )
        if executor.workers > 1:
            progress.say(f"{executor.workers} workers train side by side")
        tell = stack.enter_context(followed(progress.tell, followers))
        outcome = session.explore(
            study,
            executor,
            trials=trials,
            limits=limits,
            budget=budget,
            reference=how.reference,
            until_gain_below=how.until_gain_below,
            tell=tell,
        )
        raced = session.race(study, executor, max_seeds=max_seeds, budget=budget, tell=tell) if max_seeds else 0
        return outcome, raced


def _first_line(study: OpenStudy) -> str:
    from fastrcaps_dse.problem.quantities import counted
    from fastrcaps_dse.problem.study_spec import dataset_text

    spec, context = study.spec, study.context
    return (
        f"study {spec.name}: {dataset_text(spec.identity())}, {counted(spec.epochs, 'epoch')}, {counted(spec.seeds, 'seed')}, "
        f"sampler {spec.sampler}, on {context.device.type} in {context.precision}"
    )
