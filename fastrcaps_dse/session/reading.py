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
from fastrcaps_dse.analysis.results import Results, candidates_of, front_of, picked_row
from fastrcaps_dse.analysis.views import results_of, rows_of
from fastrcaps_dse.capsnet.network import CapsNet, LeNet5
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.figures.plots import pareto_figure, pareto_info
from fastrcaps_dse.session.exporting import weights_of
from fastrcaps_dse.session.opening import OpenStudy
from fastrcaps_dse.store import URL, Store, TrialRow

if TYPE_CHECKING:
    import plotly.graph_objects as go

logger = logging.getLogger(__name__)


def results(study: OpenStudy | str | None = None, *, storage: URL | str | None = None, anytime: bool | None = None) -> Results:
    """What a study has found, as DataFrames: `.trials`, `.runs`, `.epochs`, `.front`.

    `study` is an open one, or a name in the storage; by default the newest there. `anytime` is the view: with True, every epoch of a run
    is a design that one can have, and `.trials` and `.front` say in `stop_after` after which; by default as the study was started.
    Raises InputError where there is no such study.
    """
    if isinstance(study, OpenStudy):
        return results_of(study.store, study.store.study(study.spec.name), anytime)
    with _opened_store(storage) as ours:
        return results_of(ours, ours.study(study), anytime)


def plot_front(study: OpenStudy, *, anytime: bool | None = None) -> go.Figure:
    """The measured designs of a study with its Pareto front, as a plotly figure: in 3D for three objectives, else in 2D.

    `anytime` is the view, see `results`; in the anytime view a line joins the epochs of a design.
    """
    trials, objectives = rows_of(study.store, study.row, anytime), study.row.objectives
    return pareto_figure(pareto_info(trials, front_of(trials, objectives), objectives))


@dataclass(frozen=True, kw_only=True)
class Picked:
    """A pick with the design that it names: the picked one, or the nearest miss where nothing satisfies the limits."""

    pick: Pick
    trial: TrialRow | None  # None in a study without a finished design


def pick_design(
    study: OpenStudy, limits: Sequence[str] = (), prefer: str | None = None, *, anytime: bool | None = None
) -> Picked:
    """The design on the front for these limits, and why: `pick_design(study, ["params<=7M", "acc>=98"])`.

    `prefer` is an objective whose best value is wanted, or "knee"; by default the first objective without a limit. `anytime` is the
    view, see `results`: in the anytime view the pick is a design and after which epoch to stop it, `.trial.stop_after`. Raises InputError
    for limits or preferences that make no sense in this study.
    """
    rows = [trial for trial in rows_of(study.store, study.row, anytime) if trial.measurement is not None]
    objectives = study.row.objectives
    chosen = pick(candidates_of(rows, objectives), objectives, parse_limits(limits), prefer)
    return Picked(pick=with_note(chosen, study.row, rows), trial=picked_row(rows, chosen))


def load_network(study: OpenStudy, trial: TrialRow | None) -> CapsNet | LeNet5:
    """The trained network of a design, ready to classify: `network.scores(images)`.

    `images` are float32 [B, C, H, W] in [0, 1]; scores are [B, J], a row for each image. Weights of a design that stops early are made
    again, which takes its training, if they are not kept. Raises InputError where the weights of a whole run are not kept, as only those
    of designs on the front are, and for no trial, as from a pick in an empty study.
    """
    if trial is None:
        raise InputError("there is no design to load", "explore the study first")
    weights = weights_of(study.store, study.row, trial)[1]
    return trainer.load_network(weights, trial.design, ImageShape(**study.row.image_shape))


@contextmanager
def _opened_store(storage: URL | str | None) -> Iterator[Store]:
    ours = Store(storage if isinstance(storage, URL) else store.open_url(storage))
    try:
        yield ours
    finally:
        ours.close()
