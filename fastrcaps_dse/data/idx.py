"""IDX files, gzip or not, and the pairs of them that make a data set."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fastrcaps_dse.data.splits import Split
from fastrcaps_dse.errors import InputError, MachineError


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes; its content tells whether it is gzip.

    Raises InputError, which names the file, for a broken one; MachineError for one that cannot be read.
    Source of the format: http://yann.lecun.com/exdb/mnist.
    """
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"the data file {path} is cut short or broken", "fetch it again") from None
    except OSError as error:
        raise MachineError(f"the data file {path} cannot be read: {error.strerror}", "check its permissions") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08" or not 1 <= content[3] <= 4:
        raise InputError(
            f"the data file {path} is not an IDX file of unsigned bytes", "the files must have the format of MNIST's"
        )
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
    """Write an array as an IDX file, gzip without a time stamp, so that equal arrays give equal files."""
    header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes(), 9, mtime=0))


def _pair(folder: Path, images: str, labels: str) -> tuple[Path, Path] | None:
    found = []
    for stem in (images, labels):
        variants = (stem, f"{stem}.gz", stem.replace("-idx", ".idx"))
        found.append(next((folder / v for v in variants if (folder / v).is_file()), None))
    return (found[0], found[1]) if found[0] and found[1] else None


def read_pair(paths: tuple[Path, Path]) -> Split:
    """The images and labels of two IDX files, images [N, H, W] or [N, H, W, C], labels [N].

    Raises InputError for files that do not match; see also `read_idx`.
    """
    images, labels = read_idx(paths[0]), read_idx(paths[1])
    if images.ndim not in (3, 4) or labels.ndim != 1 or len(images) != len(labels):
        raise InputError(
            f"{paths[0]} holds {images.shape} and {paths[1]} {labels.shape}: images and labels do not match",
            "images are [N, H, W] or [N, H, W, C], labels [N]",
        )
    pixels = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return Split(images=torch.from_numpy(pixels.copy()), labels=torch.from_numpy(labels.astype(np.int64)))


def idx_pairs(folder: Path, prefix: str = "") -> list[tuple[Path, Path]] | None:
    """The (images, labels) files of the training and the test images in a folder, or None if it lacks one of them.

    The files are named as MNIST's are. With a `prefix`, they are named as EMNIST's are.
    """
    parts = (f"{prefix}train", f"{prefix}test" if prefix else "t10k")
    pairs = [_pair(folder, f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in parts]
    if None in pairs:
        pairs = [_pair(folder, f"{part}-images-idx4-ubyte", f"{part}-labels-idx1-ubyte") for part in parts]
    return None if None in pairs else [pair for pair in pairs if pair]
