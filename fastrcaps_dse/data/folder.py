"""The user's own data set: a folder of IDX files or of pictures by class, or a .npz or .mat file."""

from __future__ import annotations

from pathlib import Path

from fastrcaps_dse.data.class_folders import find_parts, has_class_folders, read_class_folders
from fastrcaps_dse.data.container import Contents
from fastrcaps_dse.data.idx import find_idx_files
from fastrcaps_dse.data.matlab import find_mat_files, read_mat_files
from fastrcaps_dse.data.npz import read_npz
from fastrcaps_dse.errors import InputError, MachineError


def read_own(path: Path) -> Contents:
    """The contents of a folder or file of the user's own.

    A folder holds IDX files named as MNIST's, EMNIST's or QMNIST's are, or pictures as `train/CLASS/...` and `test/CLASS/...`, or as
    `CLASS/...` alone, or one .npz file, or .mat files named as affNIST's are. Raises InputError for one that has none of them,
    MachineError for what cannot be read.
    """
    try:
        return _read_folder(path) if path.is_dir() else _read_file(path)
    except OSError as error:
        raise MachineError(
            f"{error.filename or path} cannot be read: {error.strerror or error}", "check its permissions"
        ) from None


def _read_file(path: Path) -> Contents:
    if path.suffix.lower() == ".npz":
        return read_npz(path)
    if path.suffix.lower() == ".mat":
        return read_mat_files({"train": [path]}, path)
    raise InputError(
        f"{path} is a file of no kind that holds a data set", "unpack it; a data set is a folder, a .npz or a .mat file"
    )


def _read_folder(folder: Path) -> Contents:
    sets = find_idx_files(folder)
    if len(sets) > 1:
        names = ", ".join(f"{prefix}*" if prefix else "train-*" for prefix in sets)
        raise InputError(
            f"{folder} holds several data sets: {names}",
            "put the files of one into a folder; EMNIST's have names, e.g. emnist-digits",
        )
    for files in sets.values():
        return files.read()
    if matlab := find_mat_files(folder):
        return read_mat_files(matlab, folder)
    if find_parts(folder):
        return read_class_folders(folder)
    archives = sorted(folder.glob("*.npz"))
    if len(archives) > 1:
        raise InputError(f"{folder} holds several data sets: {', '.join(p.name for p in archives)}", "name one of the files")
    if archives:
        return read_npz(archives[0])
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and (find_idx_files(path) or find_parts(path))]
    if not inner and has_class_folders(folder):
        return read_class_folders(folder)
    raise InputError(
        f"the folder {folder} holds no data set",
        f"did you mean {inner[0]}?"
        if inner
        else "it needs four IDX files, as MNIST has, or train/CLASS/*.png and test/CLASS/*.png, or a .npz file, or affNIST's .mat files",
    )
