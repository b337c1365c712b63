"""What a study has found: results as DataFrames, a pick, its network, a plot."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastrcaps_dse import store, trainer
from fastrcaps_dse.analysis.chance import with_note
from fastrcaps_dse.analysis.picks import Pick, parse_limits, pick
from fastrcaps_dse.analysis.results import Results, candidates_of, front_of
from fastrcaps_dse.capsnet.network import CapsNet, LeNet5
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.figures.plots import pareto_figure, pareto_info
from fastrcaps_dse.session.exporting import kept_run, weights_path
from fastrcaps_dse.session.opening import OpenStudy
from fastrcaps_dse.store import URL, Store, StudyRow, TrialRow

if TYPE_CHECKING:
    import plotly.graph_objects as go

logger = logging.getLogger(__name__)


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
    candidates = candidates_of([*trials.values()], objectives)
    chosen = with_note(pick(candidates, objectives, parse_limits(limits), prefer), study.row, [*trials.values()])
    number = chosen.trial if chosen.trial is not None else chosen.nearest_miss
    return Picked(pick=chosen, trial=None if number is None else trials[number])


def load_network(study: OpenStudy, trial: TrialRow | None) -> CapsNet | LeNet5:
    """The trained network of a design, ready to classify: `network.scores(images)`.

    `images` are float32 [B, C, H, W] in [0, 1]; scores are [B, J], a row for each image. Raises InputError where its weights are not
    kept, as only those of designs on the front are, and for no trial, as from a pick in an empty study.
    """
    if trial is None:
        raise InputError("there is no design to load", "explore the study first")
    weights = weights_path(study.store, study.row, kept_run(trial))
    return trainer.load_network(weights, trial.design, ImageShape(**study.row.image_shape))


def _results(ours: Store, row: StudyRow) -> Results:
    return Results(study=row, rows=tuple(ours.trials(row)), epoch_rows=ours.epochs_of(row.study_id))


@contextmanager
def _opened_store(storage: URL | str | None) -> Iterator[Store]:
    ours = Store(storage if isinstance(storage, URL) else store.open_url(storage))
    try:
        yield ours
    finally:
        ours.close()
