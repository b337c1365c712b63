"""IDX files, gzip or not, and the sets of them that make a data set, named as MNIST's, EMNIST's or QMNIST's are."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastrcaps_dse.data.container import Contents
from fastrcaps_dse.data.labels import label_array
from fastrcaps_dse.data.memory import check_memory
from fastrcaps_dse.data.splits import Split
from fastrcaps_dse.errors import InputError, MachineError

GZIP = b"\x1f\x8b"
BYTES, WHOLE = {0x08: ">u1"}, {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4"}
"""The types of values by their codes: of images, and of labels."""
QMNIST_COLUMNS = 8  # of QMNIST's label files, whose first column is the class
DEFLATE_RATIO = 1032  # no deflated file grows more than so many times
TRANSPOSED = "emnist-"
"""The beginning of the names of files whose images lie on their sides."""
NAME = re.compile(r"(?P<prefix>.*?)(?P<part>train|t10k|test)-(?P<what>images|labels)[-.]idx\d-[a-z0-9]+(\.gz)?", re.IGNORECASE)


def read_idx(path: Path | str) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes; its content tells whether it is gzip.

    Raises InputError, which names the file, for a broken one; MachineError for one that cannot be read.
    Source of the format: http://yann.lecun.com/exdb/mnist.
    """
    array: NDArray[np.uint8] = _read(Path(path), BYTES, "unsigned bytes")
    return array


def read_labels(path: Path | str) -> NDArray[np.int64]:
    """The labels [N] of an IDX file of whole numbers, [N] or [N, 1], or [N, 8] of int32 as QMNIST's, whose first column is the class.

    Raises as `read_idx`, and InputError for negative labels and several for an image.
    """
    path = Path(path)
    array = _read(path, WHOLE, "whole numbers")
    if array.ndim == 2 and array.shape[1] == QMNIST_COLUMNS and array.dtype.itemsize == 4:
        array = array[:, 0]
    return label_array(array, f"the labels of {path}")


def _read(path: Path, types: dict[int, str], kind: str) -> NDArray[Any]:
    try:
        check_memory(2 * path.stat().st_size, str(path))
        raw = path.read_bytes()
    except OSError as error:
        raise MachineError(f"the data file {path} cannot be read: {error.strerror}", "check its permissions") from None
    packed = raw[:2] == GZIP
    head = _unpacked(path, raw, 20) if packed else raw[:20]
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in types or not 1 <= head[3] <= 4:
        raise InputError(f"the data file {path} is not an IDX file of {kind}", "the files must have the format of MNIST's")
    dims, number_type = head[3], np.dtype(types[head[2]])
    if len(head) < 4 + 4 * dims:
        raise InputError(f"the data file {path} is cut short or broken", "fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(head[4 : 4 + 4 * dims], dtype=">u4"))
    asked = math.prod(shape) * number_type.itemsize
    if packed and asked <= DEFLATE_RATIO * len(raw):  # else it is broken, as the length will tell
        check_memory(2 * asked, str(path))
    content = _unpacked(path, raw) if packed else raw
    held = len(content) - 4 - 4 * dims
    if held != asked:
        raise InputError(
            f"the data file {path} holds {held} bytes where its header asks for {asked}",
            "it is cut short or broken: fetch it again",
        )
    return np.frombuffer(content, dtype=number_type, offset=4 + 4 * dims).reshape(shape)


def _unpacked(path: Path, raw: bytes, most: int | None = None) -> bytes:
    """The content of a gzip file, or its first bytes. Raises InputError."""
    try:
        return gzip.decompress(raw) if most is None else zlib.decompressobj(wbits=31).decompress(raw[:4096], most)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"the data file {path} is cut short or broken", "fetch it again") from None


def write_idx(path: Path | str, array: NDArray[np.uint8]) -> None:
    """Write an array as an IDX file, gzip without a time stamp, so that equal arrays give equal files."""
    header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, dtype=">u4").tobytes()
    Path(path).write_bytes(gzip.compress(header + array.tobytes(), 9, mtime=0))


def read_pair(paths: tuple[Path, Path]) -> Split:
    """The images and labels of two IDX files, images [N, H, W] or [N, H, W, C], labels [N].

    Raises InputError for files that do not match; see also `read_idx` and `read_labels`.
    """
    images, labels = read_idx(paths[0]), read_labels(paths[1])
    if images.ndim not in (3, 4) or len(images) != len(labels):
        raise InputError(
            f"{paths[0]} holds {images.shape} and {paths[1]} {labels.shape}: images and labels do not match",
            "images are [N, H, W] or [N, H, W, C], labels [N]",
        )
    pixels = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return Split(images=torch.from_numpy(pixels.copy()), labels=torch.from_numpy(labels))


# --- sets of files ------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class IdxFiles:
    """The files of a data set whose names begin alike: (images, labels) of each part, either of which may be missing."""

    prefix: str
    train: dict[str, Path] = field(default_factory=dict)  # by "images" and "labels"
    test: dict[str, Path] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all four files are there."""
        return len(self.train) == len(self.test) == 2

    def read(self) -> Contents:
        """Their images. Raises InputError for a part of which one file is missing, and for broken files."""
        for part in (self.train, self.test):
            for missing, there in (("images", "labels"), ("labels", "images")):
                if there in part and missing not in part:
                    name = part[there].name
                    raise InputError(
                        f"{part[there].parent} has {name}, but no {name.replace(there, missing)}",
                        f"add the file of its {missing}",
                    )
        if not self.train:
            raise InputError(f"{self.test['images']} has no training images beside it", "add the files of the training images")
        splits = [read_pair((part["images"], part["labels"])) for part in (self.train, self.test) if part]
        if self.prefix.lower().startswith(TRANSPOSED):
            splits = [Split(images=split.images.transpose(2, 3).contiguous(), labels=split.labels) for split in splits]
        return Contents(train=splits[0], test=splits[1] if self.test else None)


def find_idx_files(folder: Path) -> dict[str, IdxFiles]:
    """The sets of IDX files in a folder, by what their names begin with: "" for those named as MNIST's are."""
    found: dict[str, IdxFiles] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.iterdir()):  # unpacked files and "t10k" come before their gzip twins and "test"
        match = NAME.fullmatch(path.name)
        if match and path.is_file():
            files = found.setdefault(match["prefix"], IdxFiles(prefix=match["prefix"]))
            part = files.train if match["part"].lower() == "train" else files.test
            part.setdefault(match["what"].lower(), path)
    return found
