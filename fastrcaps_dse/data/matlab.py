"""MATLAB's .mat files as affNIST's (https://www.cs.toronto.edu/~tijmen/affNIST/): a struct with images in columns and their labels.

A column holds the rows of an image one after the other, from the top. MATLAB itself would go down the columns of an image; affNIST's files
do not, and nothing in a file says which order it has. `fastrcaps-dse data PATH --picture` shows what is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastrcaps_dse.data.bad_files import printable
from fastrcaps_dse.data.class_folders import natural_order
from fastrcaps_dse.data.container import Contents
from fastrcaps_dse.data.labels import label_array
from fastrcaps_dse.data.mat5 import DamagedFile, read_arrays
from fastrcaps_dse.data.memory import check_memory
from fastrcaps_dse.data.splits import Split
from fastrcaps_dse.errors import InputError, MachineError

STRUCT, IMAGES, LABELS = "affNISTdata", "image", "label_int"
WITH_VALIDATION = "training_and_validation"
PARTS = {
    "training": "train",
    "train": "train",
    WITH_VALIDATION: "train",
    "validation": "validation",
    "valid": "validation",
    "test": "test",
}
"""The part that a file belongs to, by its name, or by that of its folder without `_batches`."""
BATCHES = "_batches"
HDF5 = b"\x89HDF\r\n\x1a\n"

Parts = Mapping[str, Sequence[Path]]


def find_mat_files(folder: Path) -> Parts:
    """The .mat files of a folder by part: `training.mat`, `test_batches/1.mat`, ...; empty if there are none. Raises InputError."""
    found: dict[str, list[Path]] = {}
    names: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()):
        is_batches = path.is_dir() and path.name.lower().endswith(BATCHES)
        if not is_batches and not (path.suffix.lower() == ".mat" and path.is_file()):
            continue
        part = PARTS.get(path.name.lower().removesuffix(BATCHES) if is_batches else path.stem.lower())
        files = sorted(path.glob("*.mat"), key=lambda path: natural_order(path.name)) if is_batches else [path]
        if part is not None and files:
            found.setdefault(part, []).extend(files)
            names.setdefault(part, []).append(path.name)
    if any(name.lower().startswith(WITH_VALIDATION) for name in names.get("train", ())) and "validation" in names:
        names["train"] += names["validation"]  # the same images again
    for part, own in names.items():
        if len(own) > 1:
            raise InputError(
                f"{folder} has several {part} sets: {', '.join(own)}", "put the files of one set into a folder of their own"
            )
    return found


def read_mat_files(parts: Parts, what: Path) -> Contents:
    """The contents of the .mat files of each part; `what` is their folder, or the only file.

    Raises InputError for a file that is broken, of another kind or without the variables, MachineError for one that cannot be read.
    """
    if "train" not in parts:
        raise InputError(
            f"{what} lacks training images; it has {', '.join(path.name for files in parts.values() for path in files)}",
            "name the file training.mat, or its folder training_batches",
        )
    try:
        check_memory(2 * sum(path.stat().st_size for files in parts.values() for path in files), str(what))
        splits = {part: _joined([_read(path) for path in files], files) for part, files in parts.items()}
    except OSError as error:
        raise MachineError(
            f"{error.filename or what} cannot be read: {error.strerror or error}", "check its permissions"
        ) from None
    except MemoryError:
        raise MachineError(f"{what} does not fit into memory", "use fewer of its batches, or free memory") from None
    return Contents(train=splits["train"], validation=splits.get("validation"), test=splits.get("test"))


def _joined(splits: Sequence[Split], files: Sequence[Path]) -> Split:
    """The images of all files of a part."""
    first = splits[0].images.shape[1:]
    for split, path in zip(splits, files, strict=True):
        if split.images.shape[1:] != first:
            raise InputError(
                f"{path} has images of {split.images.shape[2]} pixels a side, {files[0].name} of {first[1]}",
                "all must be alike",
            )
    if len(splits) == 1:
        return splits[0]
    images, labels = (torch.cat([getattr(split, name) for split in splits]) for name in ("images", "labels"))
    return Split(images=images, labels=labels)


def _read(path: Path) -> Split:
    """The images and labels of a file. Raises InputError, OSError, MemoryError."""
    record = _record(path)
    images, labels = record[IMAGES], record[LABELS]
    side = math.isqrt(images.shape[0]) if images.ndim == 2 else 0
    if images.dtype != np.uint8 or not side or side * side != images.shape[0]:
        raise InputError(
            f"{IMAGES} of {path} is {images.dtype} of the shape {images.shape}",
            "it needs bytes, uint8, with an image of side x side pixels in each column, as affNIST has [1600, N]",
        )
    if labels.size != images.shape[1]:
        raise InputError(
            f"{path} has {images.shape[1]} images and {labels.size} labels", "images and labels must be as many, in one order"
        )
    pixels = np.array(images.T, order="C").reshape(-1, 1, side, side)
    numbers = label_array(labels.reshape(-1), f"the labels of {path}")
    return Split(images=torch.from_numpy(pixels), labels=torch.from_numpy(numbers))


def _record(path: Path) -> dict[str, NDArray[Any]]:
    """The images and labels of a file, as they are written there. Raises InputError, OSError, MemoryError."""
    data = path.read_bytes()
    if data.startswith((HDF5, b"MATLAB 7.3")) or data[512:].startswith(HDF5):
        raise InputError(f"{path} is a file of MATLAB 7.3, which is HDF5", "save it with -v7 in MATLAB, or by scipy.io.savemat")
    try:
        arrays = {array.name: array for array in read_arrays(data)}
        fields = arrays[STRUCT].fields() if STRUCT in arrays else {}
        found = {name: fields[name].numbers() for name in (IMAGES, LABELS) if name in fields}
    except DamagedFile as error:
        raise InputError(f"{path} is broken or no .mat file of MATLAB 5 to 7: {error}", "fetch it again") from None
    missing = [f"{STRUCT}.{name}" for name in (IMAGES, LABELS) if name not in found]
    if missing:
        lacking, having = (" and ".join(missing), fields) if STRUCT in arrays else (STRUCT, arrays)
        raise InputError(
            f"{path} lacks {lacking}; it has {printable(', '.join(having)) or 'nothing else'}",
            f"it needs the struct {STRUCT} with {IMAGES} and {LABELS}, as affNIST has",
        )
    return found
