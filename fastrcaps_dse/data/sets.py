"""Data sets by name: where their files are searched for, and torchvision, which downloads them."""

from __future__ import annotations

import contextlib
import importlib.resources
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastrcaps_dse.data.folder import read_folder
from fastrcaps_dse.data.idx import idx_pairs, read_pair
from fastrcaps_dse.data.splits import DataSet, Split, checked
from fastrcaps_dse.errors import InputError, MachineError, UserError, nearest

SAMPLES = ("mnist-sample", "fashion-mnist-sample")
IDX_SETS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST", "emnist-digits": "EMNIST"}
OTHER_SETS = ("cifar10", "svhn")
NAMES = (*SAMPLES, *IDX_SETS, *OTHER_SETS)
DEFAULT_DIR = Path("data")
DEBIAN_DIRS = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}


def load(name: str, data_dir: Path | None = None, *, download: bool = True) -> DataSet:
    """The data set of this name (see `NAMES`), or in this folder.

    `data_dir` is where its files are, or are downloaded to if `download` is set; `DEFAULT_DIR` if it is None.
    Raises InputError for an unknown name or a broken file, MachineError for data that can be neither found nor downloaded.
    """
    root = data_dir or DEFAULT_DIR
    if name in SAMPLES:
        folder = importlib.resources.files("fastrcaps_dse.data") / "samples" / name
        with importlib.resources.as_file(folder) as path:
            return checked(name, *_read_idx_folder(path))
    if name in IDX_SETS:
        return checked(name, *_load_idx_set(name, root, download))
    if name in OTHER_SETS:
        return checked(name, *_load_other(name, root, download))
    if Path(name).is_dir():
        return checked(Path(name).resolve().name, *read_folder(Path(name)))
    raise InputError(f"unknown data set {name!r}", nearest(name, NAMES) + "; or a folder of your own")


def _read_idx_folder(folder: Path) -> tuple[Split, Split]:
    pairs = idx_pairs(folder)
    if pairs is None:
        raise MachineError(f"the sample in {folder} is incomplete", "install the package again")
    return read_pair(pairs[0]), read_pair(pairs[1])


def _load_idx_set(name: str, root: Path, download: bool) -> tuple[Split, Split]:
    pairs = _find_idx_set(name, root)
    if pairs is None and download:
        _torchvision(name, root)
        pairs = _find_idx_set(name, root)
    if pairs is None:
        raise _not_found(name, root)
    train, test = (read_pair(pair) for pair in pairs)
    return (_transposed(train), _transposed(test)) if name == "emnist-digits" else (train, test)


def _find_idx_set(name: str, root: Path) -> list[tuple[Path, Path]] | None:
    """The files of a data set, from the first folder that has them all."""
    prefix = "emnist-digits-" if name == "emnist-digits" else ""
    family = root / IDX_SETS[name]
    folders = [family / "raw", family, root / "raw", root]
    if name in DEBIAN_DIRS:
        folders.append(DEBIAN_DIRS[name])
    return next((pairs for folder in folders if (pairs := idx_pairs(folder, prefix))), None)


def _transposed(split: Split) -> Split:
    """The images upright: EMNIST stores them transposed."""
    return Split(images=split.images.transpose(2, 3).contiguous(), labels=split.labels)


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
        "emnist-digits": lambda train: datasets.EMNIST(root, split="digits", train=train, download=True),
        "cifar10": lambda train: datasets.CIFAR10(root, train=train, download=True),
        "svhn": lambda train: datasets.SVHN(root, split="train" if train else "test", download=True),
    }
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


def _load_other(name: str, root: Path, download: bool) -> tuple[Split, Split]:
    """CIFAR-10 and SVHN, read by torchvision, which checks each file's MD5 before it opens it."""
    if not download and not root.is_dir():
        raise _not_found(name, root)
    splits = []
    for dataset in _torchvision(name, root):
        images = np.asarray(dataset.data)
        pixels = images if name == "svhn" else images.transpose(0, 3, 1, 2)
        labels = np.asarray(dataset.labels if name == "svhn" else dataset.targets, dtype=np.int64)
        splits.append(Split(images=torch.from_numpy(pixels.copy()), labels=torch.from_numpy(labels)))
    return splits[0], splits[1]
