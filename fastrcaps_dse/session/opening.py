"""Open a study: find it in a storage, or make it."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastrcaps_dse import data, store, trainer
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.study_spec import StudySpec, differences
from fastrcaps_dse.runs.context import Context
from fastrcaps_dse.runs.cost_model import CostModel
from fastrcaps_dse.runs.estimates import check_designs
from fastrcaps_dse.runs.place_choice import choose_place
from fastrcaps_dse.search.optuna_storage import OptunaStudy, open_optuna_study, open_storage
from fastrcaps_dse.search.outages import patiently
from fastrcaps_dse.store import URL, Store, StudyRow

if TYPE_CHECKING:
    pass

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OpenStudy:
    """A stored study with its images and a device, ready to be explored. `with` closes its connections at the end."""

    context: Context
    optuna: OptunaStudy
    cost_model: CostModel
    joins: bool = False  # it explores what the study is on the way to, and does not extend one that is complete

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


def open_study(
    spec: StudySpec,
    storage: URL | str | None = None,
    *,
    data_dir: Path | str | None = None,
    device: str | None = None,
    precision: str | None = None,
    runs: str | None = None,
    joins: bool = False,
) -> OpenStudy:
    """The study of this spec: made in the storage, or found there if it was started in the same way.

    Arguments:
        storage: an SQLAlchemy URL or the path of an SQLite file; by default FASTRCAPS_STORAGE or studies/fastrcaps.db.
        data_dir: where data sets are looked for; by default data/.
        device: "cuda", "mps" or "cpu"; by default the first that this machine has.
        precision: "float32" or "bfloat16", of the convolutions; by default the one that is fast on the device.
        runs: where checkpoints and weights are kept, a folder or a URL such as s3://BUCKET/FOLDER, so that runs go on on other machines;
            by default where the study has them, else FASTRCAPS_RUNS, else beside the database.
        joins: explore what the study is on the way to, and do not extend one that is complete.

    Raises UserErrors for everything that can be found out before training: InputError for a study of this name that was started in
    another way, MachineError for data or a storage that is out of reach.
    """
    chosen = trainer.choose_device(device)
    number_type = trainer.choose_precision(chosen, precision)
    dataset = data.load_for(spec, data_dir)
    check_designs(spec, dataset.shape)
    url = storage if isinstance(storage, URL) else store.open_url(storage)
    store.warn_of_network_disk(url)
    named = store.named_place(runs)
    if named is not None:
        store.check_place(named)  # before the study is made
    mirror, ours, row = patiently(lambda: _open(spec, url, dataset))
    row = choose_place(ours, row, named)
    context = Context(spec=spec, study=row, store=ours, dataset=dataset, device=chosen, precision=number_type)
    return OpenStudy(context=context, optuna=mirror, cost_model=CostModel(context), joins=joins)


def _open(spec: StudySpec, url: URL, dataset: data.DataSet) -> tuple[OptunaStudy, Store, StudyRow]:
    rdb = open_storage(url)
    with store.opening_alone(url), store.clear_errors(url):
        mirror = open_optuna_study(spec, rdb)
        ours = Store(url, create=True)
        row = _stored_row(spec, ours, mirror, dataset)
    ours.patience = store.OUTAGE_SECONDS
    return mirror, ours, row


def _stored_row(spec: StudySpec, ours: Store, mirror: OptunaStudy, dataset: data.DataSet) -> StudyRow:
    """The study's row, made or found. Raises InputError where the found one is of another study."""
    rows = {row.name: row for row in ours.studies()}
    if spec.name not in rows:
        if not mirror.is_new and mirror.study.get_trials(deepcopy=False):
            raise InputError(
                f"the study {spec.name!r} in this database was not made by fastrcaps-dse", "name another with --study"
            )
        train, select = trainer.split_for(dataset, spec.protocol)
        ours.add_study(
            {
                "study_id": mirror.study_id,
                "identity": spec.identity(),
                "spec_text": spec.text,
                "target_trials": 0,
                "image_shape": asdict(dataset.shape),
                "train_images": len(train),
                "selection": {"images": len(select), "largest_class": int(select.labels.bincount().max())},
                **_facts(dataset),
            }
        )
        return ours.study(spec.name)
    row = rows[spec.name]
    differing = differences(_elsewhere(row, spec), spec.identity())
    if not _is_of(row, dataset):
        differing = [*differences(row.identity, spec.identity()), "the images of the data set"]
    if differing:
        raise InputError(
            f"the study {spec.name!r} was started differently: " + "; ".join(differing),
            "continue it as it was started, or begin another with --study NAME",
        )
    if not data.same_source(row.identity["dataset"], spec.dataset):
        logger.warning("the data set %s is now %s: its images are the same", row.identity["dataset"], spec.dataset)
    if row.dataset_fingerprint != dataset.fingerprint() or row.classes is None:  # of an earlier version
        ours.set_study(row.study_id, _facts(dataset))
        return ours.study(spec.name)
    return row


def _facts(dataset: data.DataSet) -> dict[str, Any]:
    """What the study's row keeps of its data set."""
    return {
        "dataset_fingerprint": dataset.fingerprint(),
        "classes": list(data.class_names(dataset)),
        "pixel_scaling": dataset.scaling,
    }


def _is_of(row: StudyRow, dataset: data.DataSet) -> bool:
    """Whether a study was started with these images. Up to schema 5, its fingerprint told nothing of their shape."""
    if row.dataset_fingerprint == dataset.legacy_fingerprint():
        return dict(row.image_shape) == asdict(dataset.shape)
    return row.dataset_fingerprint == dataset.fingerprint()


def _elsewhere(row: StudyRow, spec: StudySpec) -> dict[str, Any]:
    """The identity of a stored study, wherever its data set is now."""
    return {**row.identity, "dataset": spec.dataset}
