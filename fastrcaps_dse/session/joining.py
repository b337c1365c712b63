"""Take part in a study that is in a storage already: nothing but its name is needed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from fastrcaps_dse import data, store
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.stored_spec import spec_from_identity
from fastrcaps_dse.problem.study_spec import StudySpec, override
from fastrcaps_dse.session.opening import OpenStudy, open_study
from fastrcaps_dse.store import URL, Store


def join_study(
    name: str,
    storage: URL | str | None = None,
    *,
    dataset: str | None = None,
    data_dir: Path | str | None = None,
    device: str | None = None,
    precision: str | None = None,
    runs: str | None = None,
) -> OpenStudy:
    """The study of this name as it is stored, ready to be explored: `explore(join_study("quick", "postgresql://..."))`.

    Arguments:
        dataset: where the study's images are on this machine, if not where they were when it was started; they are compared.
        storage, data_dir, device, precision, runs: as for `open_study`.

    It explores what the study is on the way to, and nothing where that is done, unless `explore` is asked for more trials. Raises
    UserErrors: InputError for a study that is not there, or other images; MachineError as `open_study`.
    """
    url = storage if isinstance(storage, URL) else store.open_url(storage)
    spec = stored_spec(name, url, dataset)
    return open_study(spec, url, data_dir=data_dir, device=device, precision=precision, runs=runs, joins=True)


def stored_spec(name: str, storage: URL | str | None = None, dataset: str | None = None) -> StudySpec:
    """What a stored study explores, and how; `dataset` is where its images are now. Raises UserErrors as `join_study`."""
    url = storage if isinstance(storage, URL) else store.open_url(storage)
    with closing(Store(url)) as ours:
        row = ours.study(name)
    stored = spec_from_identity(row.identity, name=row.name, text=row.spec_text, trials=row.target_trials or None)
    if dataset is None and not data.is_here(stored.dataset):
        raise InputError(
            f"the images of the study {name!r}, {stored.dataset}, are not on this machine",
            "say with --dataset where they are; they are compared with those of the study",
        )
    return override(stored, dataset=dataset)
