"""From a pick to a network, or to files that run elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from fastrcaps_dse import data, store, trainer
from fastrcaps_dse.analysis.anytime import of_epochs
from fastrcaps_dse.analysis.picks import parse_limit, parse_limits, pick
from fastrcaps_dse.analysis.results import candidates_of, find_trial, front_of, picked_row, standings_of
from fastrcaps_dse.analysis.views import rows_of
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError, NothingFits
from fastrcaps_dse.export.files import read_weights
from fastrcaps_dse.export.folder import check_target, read_card
from fastrcaps_dse.export.picked import PickedNetwork, as_tested
from fastrcaps_dse.export.source import Options, Source
from fastrcaps_dse.export.writing import WEIGHTS, write_export
from fastrcaps_dse.figures.plots import pareto_info
from fastrcaps_dse.session.stopped import stopped_weights, study_images
from fastrcaps_dse.store import URL, RunRow, Store, StudyRow, TrialRow


def load_picked(
    storage: URL | str | None = None,
    *,
    study: str | None = None,
    trial: int | None = None,
    max_params: str | float | None = None,
    max_time: str | float | None = None,
    min_acc: str | float | None = None,
    limits: Sequence[str] = (),
    prefer: str | None = None,
    anytime: bool | None = None,
) -> PickedNetwork:
    """The trained network of the design for these limits, in eval mode: `load_picked("studies/fastrcaps.db", max_params="7M")`.

    Arguments:
        storage: an SQLAlchemy URL or the path of an SQLite file; by default FASTRCAPS_STORAGE or studies/fastrcaps.db.
        study: its name; by default the newest.
        trial: a design by its number, instead of limits.
        max_params, max_time, min_acc: limits as `pick` has them, such as "7M", "10m", 99.2; `limits` has others, such as "macs<=200M".
        prefer: an objective, or "knee"; by default the first objective without a limit.
        anytime: whether a design may stop after any of its epochs; by default as the study was started.

    The network takes float32 images [B, C, H, W] in [0, 1] and gives scores [B, J]. It has `classes` (the names of the classes),
    `preprocess` (pictures and arrays as it takes them) and `predict` (what it says of them). Raises InputError for a study, trial or
    limit that is none, or a design whose weights are not kept; NothingFits where no design satisfies the limits.
    """
    given = {("params", "max"): max_params, ("time", "max"): max_time, ("acc", "min"): min_acc}
    named = [parse_limit(name, bound, str(value)) for (name, bound), value in given.items() if value is not None]
    chosen = [*named, *parse_limits(limits)]
    if trial is not None and (chosen or prefer):
        raise InputError("a trial and limits both choose a design", "give one of them")
    with closing(Store(storage if isinstance(storage, URL) else store.open_url(storage))) as ours:
        row = ours.study(study)
        if trial is not None:
            return load_trained(ours, row, find_trial(ours.trials(row), trial, row.name))
        return load_trained(ours, row, pick_trial(ours, row, chosen, prefer, anytime))


def load_exported(folder: Path | str) -> PickedNetwork:
    """The network of an export, with its decoder; see `load_picked`. Raises InputError for a folder that is no export."""
    card = read_card(Path(folder))
    network, point, shape, classes = read_weights(Path(folder) / WEIGHTS)
    scaling = card.get("pixel_scaling") or ""
    return PickedNetwork(network, design=point, shape=shape, classes=classes, scaling=scaling)


def export_design(
    ours: Store,
    row: StudyRow,
    trial: TrialRow,
    out: Path,
    options: Options | None = None,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Write the trained network of a design as files into the folder `out`, and return what its card says.

    Arguments:
        options: which files, and how much accuracy a smaller one may lose.
        dataset: the name or folder of the study's images; by default the one that the study was started with.
        data_dir: where data sets are looked for; by default data/.
        say: is told of each file that was checked.

    Raises UserErrors: InputError for weights that are not kept, other images, or a folder that is no export of ours; MachineError for a
    folder that cannot be written, or a file that does not compute what the network does. Nothing is left then.
    """
    check_target(out)
    run, weights = weights_of(ours, row, trial, dataset=dataset, data_dir=data_dir, say=say)
    shape = ImageShape(**row.image_shape)
    network = trainer.load_network(weights, trial.design, shape)
    stopped = trial.stop_after is not None
    objectives = of_epochs(row.objectives) if stopped else row.objectives
    trials = rows_of(ours, row, stopped, objectives)
    source = Source(
        network=network,
        shape=shape,
        classes=_classes(row, shape),
        study=row,
        trial=trial,
        run=run,
        errors=standings_of(trials, objectives)[trial.key].errors(objectives) or {},
        front=pareto_info(trials, front_of(trials, objectives), objectives),
        test=test_images(row, dataset, data_dir),
    )
    return write_export(out, source, options or Options(), say)


# --- designs and their weights ----------------------------------------------------------------------------------------


def pick_trial(
    ours: Store, row: StudyRow, limits: Sequence[Any] = (), prefer: str | None = None, anytime: bool | None = None
) -> TrialRow:
    """The design for these limits, as `pick` has it; `anytime` is the view. Raises NothingFits, InputError."""
    rows = [trial for trial in rows_of(ours, row, anytime) if trial.measurement is not None]
    chosen = pick(candidates_of(rows, row.objectives), row.objectives, limits, prefer)
    found = picked_row(rows, chosen)
    if found is None or chosen.trial is None:
        raise NothingFits("no design satisfies the limits", "; ".join(chosen.why))
    return found


def weights_of(
    ours: Store,
    row: StudyRow,
    trial: TrialRow,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[RunRow, Path]:
    """The run whose weights are those of a design, and their file; arguments as for `export_design`.

    Those of a design that stops early, or that has come to the front later, are made again if they are not kept. Raises UserErrors.
    """
    lost = trial.measurement is not None and not any(run.weights for run in trial.runs)
    if trial.stop_after is not None or (lost and trial.key in {one.key for one in front_of(ours.trials(row), row.objectives)}):
        return stopped_weights(ours, row, trial, dataset=dataset, data_dir=data_dir, say=say)
    run = trained_run(trial)
    return run, weights_path(ours, row, run)


def trained_run(trial: TrialRow) -> RunRow:
    """The run of a measured design whose weights are kept. Raises InputError where none is."""
    if trial.measurement is None:
        hint = "choose a finished one, or give --stop-after for what it has reached; see `show`"
        raise InputError(f"trial {trial.trial} has no measurement: it is {trial.state}", hint)
    return kept_run(trial)


def kept_run(trial: TrialRow) -> RunRow:
    """The run of a design whose weights are kept. Raises InputError where none is."""
    found = next((run for run in trial.runs if run.weights), None)
    if found is None:
        raise InputError(
            f"the weights of trial {trial.trial} are not kept: only designs on the front of their study keep theirs",
            f"make them again: fastrcaps-dse retrain {trial.trial} --stop-after {_selected(trial)}",
        )
    return found


def _selected(trial: TrialRow) -> int:
    """The selected epoch of a design's most accurate run."""
    measured = [run.measurement for run in trial.runs if run.measurement is not None]
    return max(measured, key=lambda one: one["acc"]).selected_epoch if measured else 1


def weights_path(ours: Store, row: StudyRow, run: RunRow) -> Path:
    """The file of a run's weights, fetched if the study keeps it behind a URL. Raises InputError where it is gone, MachineError."""
    path = ours.runs_places.bring(str(run.weights))
    if path is not None:
        return path
    if row.runs_place is not None:
        where = ours.runs_places.of(row.study_id).text
        raise InputError(
            f"the weights of trial {run.trial} are not in {where}", "is it mounted here? FASTRCAPS_RUNS names another"
        )
    raise InputError(f"the weights {run.weights} are gone", "train the design again, with --fresh")


def load_trained(ours: Store, row: StudyRow, trial: TrialRow) -> PickedNetwork:
    """The network of a design as its run tested it: with the precision and the convolution algorithms of the run. Raises InputError."""
    run, weights = weights_of(ours, row, trial)
    shape = ImageShape(**row.image_shape)
    network = as_tested(trainer.load_network(weights, trial.design, shape), run)
    scaling = row.pixel_scaling or ""
    return PickedNetwork(network, design=trial.design, shape=shape, classes=_classes(row, shape), scaling=scaling)


def _classes(row: StudyRow, shape: ImageShape) -> tuple[str, ...]:
    """The names of the classes of a study, by label; of an earlier one, those that its data set is known to have."""
    return tuple(row.classes) if row.classes else data.known_names(row.identity["dataset"], shape.classes)


def test_images(row: StudyRow, dataset: str | None = None, data_dir: Path | None = None) -> data.Split:
    """The test images of a study. Raises UserErrors for images that are not there, or are not those of the study."""
    name = dataset or row.identity["dataset"]
    how = {"relabel": row.identity.get("relabel", False), "test_share": row.identity.get("test_share")}
    how["train_images"] = row.identity.get("train_images")
    return study_images(row, name, lambda: data.load(name, data_dir, **how)).test
