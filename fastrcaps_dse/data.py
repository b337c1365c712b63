"""A data set by name or folder, whole in memory: uint8 images and labels, checked.

Files are looked for in the data directory, where torchvision puts them (`MNIST/raw/...`) or plain, gzip or unpacked; then
where Debian's `dataset-fashion-mnist` has them; then torchvision downloads them, where the network allows.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib.resources
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.errors import InputError, MachineError, UserError, nearest

SAMPLES = ("mnist-sample", "fashion-mnist-sample")
IDX_SETS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST", "emnist-digits": "EMNIST"}
OTHER_SETS = ("cifar10", "svhn")
NAMES = (*SAMPLES, *IDX_SETS, *OTHER_SETS)
DEFAULT_DIR = Path("data")
DEBIAN_DIRS = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}
VALIDATION_SHARE = 1 / 6  # of the training images: 10,000 of MNIST's 60,000


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images uint8 [N, C, H, W] and labels int64 [N]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Split:
        return Split(images=self.images[indices], labels=self.labels[indices])

    def to(self, device: torch.device) -> Split:
        return Split(images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A whole data set."""

    name: str
    train: Split
    test: Split
    shape: ImageShape

    def fingerprint(self) -> str:
        """A short digest of every pixel and label."""
        digest = hashlib.blake2b(digest_size=8)
        for split in (self.train, self.test):
            digest.update(split.images.numpy().tobytes())
            digest.update(split.labels.numpy().tobytes())
        return digest.hexdigest()


def load(name: str, data_dir: Path | None = None, *, download: bool = True) -> DataSet:
    """The data set of this name, or in this folder.

    Raises InputError for an unknown name or a broken file, MachineError where the data can neither be found nor downloaded.
    """
    root = data_dir or DEFAULT_DIR
    if name in SAMPLES:
        folder = importlib.resources.files("fastrcaps_dse") / "samples" / name
        with importlib.resources.as_file(folder) as path:
            return _checked(name, *_read_idx_folder(path))
    if name in IDX_SETS:
        return _checked(name, *_load_idx_set(name, root, download))
    if name in OTHER_SETS:
        return _checked(name, *_load_other(name, root, download))
    if Path(name).is_dir():
        return _checked(Path(name).resolve().name, *_read_folder(Path(name)))
    raise InputError(f"unknown data set {name!r}", nearest(name, NAMES) + "; or a folder of your own")


def hold_out(split: Split, share: float = VALIDATION_SHARE) -> tuple[Split, Split]:
    """(training, validation): `share` of each class's images is held out, the same ones whatever the seed of a run."""
    generator = torch.Generator().manual_seed(20200704)
    order = torch.randperm(len(split), generator=generator)
    held: list[Tensor] = []
    for label in split.labels.unique():
        members = order[split.labels[order] == label]
        held.append(members[: round(len(members) * share)])
    mask = torch.zeros(len(split), dtype=torch.bool)
    mask[torch.cat(held)] = True
    if not mask.any() or mask.all():
        raise InputError(f"{len(split)} training images are too few to hold out a validation split", "use --protocol paper")
    return split.take((~mask).nonzero().squeeze(1)), split.take(mask.nonzero().squeeze(1))


# --- files ------------------------------------------------------------------------------------------------------------


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes, gzip or not (told by its content). Raises InputError for a broken one, by name."""
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"the data file {path} is cut short or broken", "fetch it again") from None
    except OSError as error:
        raise MachineError(f"the data file {path} cannot be read: {error.strerror}", "check its permissions") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08" or not 1 <= content[3] <= 4:
        raise InputError(f"the data file {path} is no IDX file of unsigned bytes", "see README, 'Your own data set'")
    dims = content[3]
    if len(content) < 4 + 4 * dims:
        raise InputError(f"the data file {path} is cut short or broken", "fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(content[4 : 4 + 4 * dims], dtype=">u4"))
    body = content[4 + 4 * dims :]
    if len(body) != math.prod(shape):
        raise InputError(
            f"the data file {path} holds {len(body)} bytes where its header asks for {math.prod(shape)}",
            "it is cut short or broken: fetch it again",
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """An IDX file, gzip with no time stamp, so that equal data are equal files."""
    header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes(), 9, mtime=0))


def _pair(folder: Path, images: str, labels: str) -> tuple[Path, Path] | None:
    found = []
    for stem in (images, labels):
        variants = (stem, f"{stem}.gz", stem.replace("-idx", ".idx"))
        found.append(next((folder / v for v in variants if (folder / v).is_file()), None))
    return (found[0], found[1]) if found[0] and found[1] else None


def _read_pair(paths: tuple[Path, Path]) -> Split:
    images, labels = read_idx(paths[0]), read_idx(paths[1])
    if images.ndim not in (3, 4) or labels.ndim != 1 or len(images) != len(labels):
        raise InputError(
            f"{paths[0]} holds {images.shape} and {paths[1]} {labels.shape}: images and labels do not match",
            "images are [N, H, W] or [N, H, W, C], labels [N]",
        )
    pixels = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return Split(images=torch.from_numpy(pixels.copy()), labels=torch.from_numpy(labels.astype(np.int64)))


def _idx_pairs(folder: Path, prefix: str = "") -> list[tuple[Path, Path]] | None:
    parts = (f"{prefix}train", f"{prefix}test" if prefix else "t10k")
    pairs = [_pair(folder, f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in parts]
    if None in pairs:
        pairs = [_pair(folder, f"{part}-images-idx4-ubyte", f"{part}-labels-idx1-ubyte") for part in parts]
    return None if None in pairs else [pair for pair in pairs if pair]


def _read_idx_folder(folder: Path) -> tuple[Split, Split]:
    pairs = _idx_pairs(folder)
    if pairs is None:
        raise MachineError(f"the sample in {folder} is not whole", "install the package again")
    return _read_pair(pairs[0]), _read_pair(pairs[1])


def _load_idx_set(name: str, root: Path, download: bool) -> tuple[Split, Split]:
    prefix = "emnist-digits-" if name == "emnist-digits" else ""
    family = IDX_SETS[name]
    for attempt in range(2 if download else 1):
        for folder in _places(root, family, DEBIAN_DIRS.get(name)):
            pairs = _idx_pairs(folder, prefix)
            if pairs:
                splits = _read_pair(pairs[0]), _read_pair(pairs[1])
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
    that nothing here uses; declaring their schemas first makes it importable."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
                   "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"):  # fmt: skip
        with contextlib.suppress(RuntimeError):  # already there: torchvision's own extension is loaded
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


def _read_folder(folder: Path) -> tuple[Split, Split]:
    """A folder of one's own: four IDX files, or `train/CLASS/*.png` and `test/CLASS/*.png`."""
    pairs = _idx_pairs(folder)
    if pairs:
        return _read_pair(pairs[0]), _read_pair(pairs[1])
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        classes = sorted(p.name for p in (folder / "train").iterdir() if p.is_dir())
        return _read_images(folder / "train", classes), _read_images(folder / "test", classes)
    raise InputError(
        f"the folder {folder} holds no data set",
        "it needs four IDX files, as MNIST has, or train/CLASS/*.png and test/CLASS/*.png",
    )


def _read_images(folder: Path, classes: list[str]) -> Split:
    from PIL import Image, UnidentifiedImageError

    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).glob("*")):
            try:
                with Image.open(path) as image:
                    grey = image.mode in ("1", "L", "I;16", "LA")
                    pixels = np.atleast_3d(np.asarray(image.convert("L" if grey else "RGB")))
            except (UnidentifiedImageError, OSError):
                raise InputError(f"{path} is no image that can be read", "remove it or make it again") from None
            if images and pixels.shape != images[0].shape:
                raise InputError(f"{path} is {pixels.shape}, the images before it {images[0].shape}", "make all images alike")
            images.append(pixels)
            labels.append(label)
    if not images:
        raise InputError(f"{folder} holds no images", "put them into one folder a class")
    return Split(images=torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy()), labels=torch.tensor(labels))


def _checked(name: str, train: Split, test: Split) -> DataSet:
    if train.images.shape[1:] != test.images.shape[1:]:
        raise InputError(
            f"{name}: training images are {tuple(train.images.shape[1:])}, test images {tuple(test.images.shape[1:])}",
            "both must have the same channels, height and width",
        )
    if not len(train) or not len(test):
        raise InputError(f"{name} has {len(train)} training and {len(test)} test images", "both need at least one")
    classes = int(train.labels.max()) + 1
    if int(test.labels.max()) >= classes:
        raise InputError(
            f"{name}: the test labels reach {int(test.labels.max())}, the training labels {classes - 1}",
            "check the label files",
        )
    channels, height, width = train.images.shape[1:]
    shape = ImageShape(channels=channels, height=height, width=width, classes=classes)
    return DataSet(name=name, train=train, test=test, shape=shape)
