"""Data sets by name: where their files are searched for, and torchvision, which downloads them."""

from __future__ import annotations

import contextlib
import importlib.resources
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastrcaps_dse.data.container import Contents
from fastrcaps_dse.data.folder import read_own
from fastrcaps_dse.data.idx import IdxFiles, find_idx_files
from fastrcaps_dse.data.names import ALL_NAMES, CLASSES, FURTHER_SETS, IDX_SETS, NAMES, SAMPLES
from fastrcaps_dse.data.preparation import check_share, prepare
from fastrcaps_dse.data.splits import DataSet, Split
from fastrcaps_dse.errors import InputError, MachineError, UserError, nearest
from fastrcaps_dse.problem.study_spec import StudySpec

FOLDERS = IDX_SETS | FURTHER_SETS
DEFAULT_DIR = Path("data")
DEBIAN_DIRS = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}


def load(
    name: str | Path,
    data_dir: Path | str | None = None,
    *,
    download: bool = True,
    relabel: bool = False,
    test_share: float | None = None,
    train_images: int | None = None,
) -> DataSet:
    """The data set of this name (see `NAMES`), or in this folder, .npz or .mat file; a `Path` is never a name.

    Arguments:
        data_dir: where the files of data sets with names are, or are downloaded to; `DEFAULT_DIR` if it is None.
        download: whether they may be.
        relabel: number the classes that occur 0, 1, ..., if the labels have gaps.
        test_share: the share of the images of each class that is for testing, for data without a test set.
        train_images: how many of the training images train, the same number of each class as far as there are; None for all.

    Raises InputError for an unknown name and for data that are broken or ambiguous, MachineError for data that can be neither found nor
    downloaded, cannot be read, or do not fit into memory.
    """
    check_share(test_share)
    loaded = _load(name, data_dir, download, relabel, test_share)
    if train_images is None:
        return loaded
    if not 1 <= train_images <= len(loaded.train):
        raise InputError(
            f"{train_images:,} images cannot train: {loaded.name} has {len(loaded.train):,}",
            f"use --train-images 1 to {len(loaded.train)}, or leave it out to train on all",
        )
    return replace(loaded, train_images=train_images)


def _load(name: str | Path, data_dir: Path | str | None, download: bool, relabel: bool, test_share: float | None) -> DataSet:
    """The whole data set; arguments and errors as for `load`."""
    if isinstance(name, str) and name in ALL_NAMES:
        contents = _load_named(name, expanded(data_dir) if data_dir else DEFAULT_DIR, download)
        made = prepare(name, contents, relabel=relabel, test_share=test_share, famous=CLASSES.get(name))
        if Path(name).exists():
            note = f"this is the data set of that name, not the folder beside it, which is ./{name}"
            made = replace(made, notes=(*made.notes, note))
        return made
    path = expanded(name)
    if name == "" or not path.exists():
        raise _unknown(name)
    return prepare(path.resolve().name or str(path), read_own(path), relabel=relabel, test_share=test_share)


def load_for(spec: StudySpec, data_dir: Path | str | None = None) -> DataSet:
    """The data set of a study, as its spec says. Raises as `load`."""
    return load(spec.dataset, data_dir, relabel=spec.relabel, test_share=spec.test_share, train_images=spec.train_images)


def same_source(one: str, other: str) -> bool:
    """Whether two texts of a spec name the same data set: one name, or one folder, however it is written."""
    if one == other or one in ALL_NAMES or other in ALL_NAMES:
        return one == other
    return expanded(one).resolve() == expanded(other).resolve()


def is_here(name: str) -> bool:
    """Whether a text of a spec is the name of a data set, or a folder or file of this machine."""
    return name in ALL_NAMES or (bool(name) and expanded(name).exists())


def expanded(path: Path | str) -> Path:
    """A path with the home folder in place of `~`."""
    with contextlib.suppress(RuntimeError):  # nobody's home
        return Path(path).expanduser()
    return Path(path)


def _unknown(name: str | Path) -> InputError:
    text = str(name)
    if isinstance(name, Path) or Path(text).name != text or text.startswith("~"):
        folder = expanded(text)
        inner = sorted(path.name for path in folder.parent.iterdir()) if folder.parent.is_dir() else []
        near = nearest(folder.name, inner).partition("?")
        hint = f"{near[0]}?" if near[1] else "check the path; a name, such as mnist-sample, has no slash"
        return InputError(f"there is no folder {folder}", hint)
    return InputError(f"unknown data set {text!r}", nearest(text, NAMES) + "; or a folder of your own")


def _load_named(name: str, root: Path, download: bool) -> Contents:
    if name in SAMPLES:
        folder = importlib.resources.files("fastrcaps_dse.data") / "samples" / name
        with importlib.resources.as_file(folder) as path:
            files = find_idx_files(path).get("")
            if files is None or not files.complete:
                raise MachineError(f"the sample in {path} is incomplete", "install the package again")
            return files.read()
    return _load_idx_set(name, root, download) if name in FOLDERS else _load_other(name, root, download)


def _load_idx_set(name: str, root: Path, download: bool) -> Contents:
    files = _find_idx_set(name, root)
    if files is None and download:
        _torchvision(name, root)
        files = _find_idx_set(name, root)
    if files is None:
        raise _not_found(name, root)
    return files.read()


def _find_idx_set(name: str, root: Path) -> IdxFiles | None:
    """The files of a data set, from the first folder that has them all."""
    prefix = f"{name}-" if name.startswith("emnist-") else ""
    family = root / FOLDERS[name]
    folders = [family / "raw", family, root / "raw", root]
    if name in DEBIAN_DIRS:
        folders.append(DEBIAN_DIRS[name])
    found = (find_idx_files(folder).get(prefix) for folder in folders)
    return next((files for files in found if files and files.complete), None)


def _not_found(name: str, root: Path) -> MachineError:
    return MachineError(
        f"the data set {name!r} is not in {root} and cannot be downloaded",
        "put its files there, name their folder with --data-dir, or use --dataset mnist-sample, which is shipped",
    )


def _torchvision(name: str, root: Path) -> list[Any]:
    """The (training, test) data sets of torchvision, downloaded into `root` if they are not there. Raises MachineError."""
    datasets = import_torchvision_datasets()
    makers: dict[str, Any] = {
        "mnist": lambda train: datasets.MNIST(root, train=train, download=True),
        "fashion-mnist": lambda train: datasets.FashionMNIST(root, train=train, download=True),
        "kmnist": lambda train: datasets.KMNIST(root, train=train, download=True),
        "cifar10": lambda train: datasets.CIFAR10(root, train=train, download=True),
        "svhn": lambda train: datasets.SVHN(root, split="train" if train else "test", download=True),
    }
    if name.startswith("emnist-"):
        split = name.removeprefix("emnist-")
        makers[name] = lambda train: datasets.EMNIST(root, split=split, train=train, download=True)
    try:
        return [makers[name](train) for train in (True, False)]
    except UserError:
        raise
    except (OSError, RuntimeError):
        raise _not_found(name, root) from None


def import_torchvision_datasets() -> Any:
    """The module `torchvision.datasets`, even if torchvision was built for CUDA and torch was not.

    Raises MachineError for a torchvision that does not import.
    """
    try:
        from torchvision import datasets

        return datasets
    except (ImportError, RuntimeError, AttributeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]  # imported in part
    _declare_operators()
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError, AttributeError) as error:
        raise MachineError(f"torchvision does not import: {error}", "install the torchvision that fits this torch") from None
    return datasets


@cache  # the declarations live as long as the library object, which the cache keeps
def _declare_operators() -> torch.library.Library:
    """Declare two detection operators, without which a torchvision built for CUDA does not import beside a CPU torch.

    Nothing here uses them.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):  # already declared
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _load_other(name: str, root: Path, download: bool) -> Contents:
    """CIFAR-10 and SVHN, read by torchvision, which checks each file's MD5 before it opens it."""
    if not download and not root.is_dir():
        raise _not_found(name, root)
    splits = []
    for dataset in _torchvision(name, root):
        images = np.asarray(dataset.data)
        pixels = images if name == "svhn" else images.transpose(0, 3, 1, 2)
        labels = np.asarray(dataset.labels if name == "svhn" else dataset.targets, dtype=np.int64)
        splits.append(Split(images=torch.from_numpy(pixels.copy()), labels=torch.from_numpy(labels)))
    return Contents(train=splits[0], test=splits[1])
