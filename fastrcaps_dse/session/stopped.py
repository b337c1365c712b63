"""Designs that are stopped early: find one by trial and epoch, and have its weights, made again where they are not kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fastrcaps_dse import data, trainer
from fastrcaps_dse.analysis.anytime import anytime_trials
from fastrcaps_dse.analysis.results import find_trial
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.stored_spec import spec_from_identity
from fastrcaps_dse.runs.context import Context
from fastrcaps_dse.runs.place_choice import choose_place
from fastrcaps_dse.runs.remaking import Remaking
from fastrcaps_dse.store import RunRow, Store, StudyRow, TrialRow


def find_stopped(ours: Store, row: StudyRow, trial: int, stop_after: int) -> TrialRow:
    """A design as it is if its runs end with this epoch: with the last epoch up to it that was more accurate than all before.

    Raises InputError for an unknown trial, or one that has not so many epochs.
    """
    whole = find_trial(ours.trials(row), trial, row.name)
    epochs = {run.run_id: ours.epochs(run.run_id) for run in whole.runs}
    done = max(map(len, epochs.values()), default=0)
    if not 1 <= stop_after <= done:
        raise InputError(
            f"trial {trial} cannot stop after epoch {stop_after}: it has {counted(done, 'epoch')}",
            f"give --stop-after 1 to {done}" if done else "explore on, or choose another trial",
        )
    points = [p for p in anytime_trials([whole], epochs, row) if p.stop_after is not None and p.stop_after <= stop_after]
    if not points:
        raise InputError(f"trial {trial} has failed after {counted(done, 'epoch')}", "choose another trial")
    return points[-1]


def stopped_weights(
    ours: Store,
    row: StudyRow,
    point: TrialRow,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[RunRow, Path]:
    """The run of a design that is stopped early, and the file of its weights: the most accurate seed's.

    Arguments:
        point: as `find_stopped` gives it.
        dataset: the name or folder of the study's images; by default the one that the study was started with.
        data_dir: where data sets are looked for; by default data/.
        say: is told of each epoch that is trained again.

    Weights that are not kept are made again by the same training, bit for bit on the device that the run was trained on. Raises UserErrors.
    """
    measured = [(run.measurement["acc"], run) for run in point.runs if run.measurement is not None]
    run = max(measured, key=lambda pair: (pair[1].weights is not None, pair[0]))[1]
    if run.weights is not None and (kept := ours.runs_places.bring(run.weights)) is not None:
        return run, kept
    assert run.measurement is not None
    context = _context(ours, row, run, dataset, data_dir)
    return run, Remaking(context=context, run=run, epoch=run.measurement.selected_epoch).weights(say)


def _context(ours: Store, row: StudyRow, run: RunRow, dataset: str | None, data_dir: Path | None) -> Context:
    """What the run was trained with. Raises UserErrors for images that are not there, or are not those of the study."""
    spec = spec_from_identity(row.identity, name=row.name, text=row.spec_text)
    spec = replace(spec, dataset=dataset or spec.dataset)
    loaded = study_images(row, spec.dataset, lambda: data.load_for(spec, data_dir))
    here = trainer.choose_device("cpu")
    device = here if run.device == trainer.device_name(here) else trainer.choose_device(None)
    precision = trainer.choose_precision(device, run.precision)
    study = choose_place(ours, row, None)
    return Context(spec=spec, study=study, store=ours, dataset=loaded, device=device, precision=precision)


def study_images(row: StudyRow, name: str, load: Callable[[], data.DataSet]) -> data.DataSet:
    """The images of a study. Raises UserErrors for images that are not there, or are not those of the study."""
    try:
        loaded = load()
    except InputError as error:
        raise InputError(f"the images of the study are needed: {error.message}", "name them with --dataset") from None
    if loaded.fingerprint() != row.dataset_fingerprint:
        raise InputError(f"the images of {name} are not those of the study {row.name!r}", "name them with --dataset")
    return loaded
