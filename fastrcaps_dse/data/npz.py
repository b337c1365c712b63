"""NumPy's .npz files, with the keys of MedMNIST or of Keras. No pickle is ever read."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrcaps_dse.data.arrays import contents_of
from fastrcaps_dse.data.container import Contents
from fastrcaps_dse.data.memory import check_memory
from fastrcaps_dse.errors import InputError, MachineError

KEYS = {
    "train": (("train_images", "train_labels"), ("x_train", "y_train")),
    "validation": (("val_images", "val_labels"), ("x_val", "y_val")),
    "test": (("test_images", "test_labels"), ("x_test", "y_test")),
}
"""The keys of (images, labels) of each part: MedMNIST's and Keras's."""
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, KeyError)


def read_npz(path: Path) -> Contents:
    """The images and labels of a .npz file, by the keys of MedMNIST (`train_images`, ...) or Keras (`x_train`, ...).

    Raises InputError for a file that is broken, needs pickle, or has other keys, and as `contents_of`; MachineError for one that cannot
    be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
        found = {part: keys for part, pairs in KEYS.items() for keys in pairs if set(keys) <= sizes.keys()}
        _check_keys(path, set(sizes), set(found))
        check_memory(2 * sum(sizes[key] for keys in found.values() for key in keys), str(path))
        with np.load(path, allow_pickle=False) as file:
            arrays = [(_array(file, keys[0], path), _array(file, keys[1], path)) for keys in found.values()]
    except BROKEN as error:
        raise InputError(f"{path} is broken or no .npz file: {error}", "fetch it again") from None
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror or error}", "check its permissions") from None
    return contents_of(arrays, [*found], str(path))


def _check_keys(path: Path, keys: set[str], found: set[str]) -> None:
    if "train" in found:
        return
    raise InputError(
        f"{path} lacks training images and labels; its keys are {', '.join(sorted(keys)) or 'none'}",
        "name its arrays train_images, train_labels, test_images, test_labels, or x_train, y_train, x_test, y_test",
    )


def _array(file: Any, key: str, path: Path) -> NDArray[Any]:
    """One array. Raises InputError for one that is a pickle."""
    try:
        array = file[key]
    except ValueError as error:
        if "pickle" not in str(error):
            raise InputError(f"{key} of {path} is broken: {error}", "fetch it again") from None
        raise InputError(
            f"{key} of {path} holds Python objects, which need pickle: it is never read", "save plain arrays of numbers"
        ) from None
    if not isinstance(array, np.ndarray):  # the bytes of a file that is no array
        raise InputError(f"{key} of {path} is broken: it is no array", "fetch it again")
    return array
