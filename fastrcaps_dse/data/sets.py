"""Data sets by name: where their files are looked for, and torchvision, which downloads them."""

from __future__ import annotations

import contextlib
import importlib.resources
import sys
from collections.abc import Iterator
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
    """The data set of this name, or in this folder.

    Raises InputError for an unknown name or a broken file, MachineError where the data can neither be found nor downloaded.
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
        raise MachineError(f"the sample in {folder} is not whole", "install the package again")
    return read_pair(pairs[0]), read_pair(pairs[1])


def _load_idx_set(name: str, root: Path, download: bool) -> tuple[Split, Split]:
    prefix = "emnist-digits-" if name == "emnist-digits" else ""
    family = IDX_SETS[name]
    for attempt in range(2 if download else 1):
        for folder in _places(root, family, DEBIAN_DIRS.get(name)):
            pairs = idx_pairs(folder, prefix)
            if pairs:
                splits = read_pair(pairs[0]), read_pair(pairs[1])
                # EMNIST stores its images transposed
                return tuple(_transposed(s) for s in splits) if prefix else splits  # type: ignore[return-value]
        if attempt == 0 and download:
            _torchvision(name, root)
    raise _not_found(name, root)


def _places(root: Path, family: str, extra: Path | None) -> Iterator[Path]:
    yield from (root / family / "raw", root / family, root / "raw", root)
    if extra:
        yield extra


def _transposed(split: Split) -> Split:
    return Split(images=split.images.transpose(2, 3).contiguous(), labels=split.labels)


def _not_found(name: str, root: Path) -> MachineError:
    return MachineError(
        f"the data set {name!r} is not in {root} and cannot be downloaded",
        "put its files there, name their folder with --data-dir, or use --dataset mnist-sample, which is shipped",
    )


def _torchvision(name: str, root: Path) -> list[Any]:
    """torchvision's own data sets for this name, downloaded into `root` where they are not there. Raises MachineError."""
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
    """`torchvision.datasets`. A torchvision built for CUDA fails to import beside a CPU torch, for two detection operators
    that nothing here uses; declaring their schemas makes it importable. Raises MachineError.
    """
    try:
        from torchvision import datasets

        return datasets
    except (ImportError, RuntimeError, AttributeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]  # imported in part
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
                   "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"):  # fmt: skip
        with contextlib.suppress(RuntimeError):  # already there
            library.define(schema)
    _KEPT.append(library)
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError, AttributeError) as error:
        raise MachineError(f"torchvision does not import: {error}", "install the torchvision that fits this torch") from None
    return datasets


_KEPT: list[torch.library.Library] = []  # a library's definitions go with it


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
