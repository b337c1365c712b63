"""A folder of pictures, with one folder for each class: `train/CLASS/...` and `test/CLASS/...`, or `CLASS/...` alone."""

from __future__ import annotations

import difflib
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch

from fastrcaps_dse import cores
from fastrcaps_dse.data.bad_files import STRAY, BadFile, bad_files_error, printable
from fastrcaps_dse.data.container import Contents
from fastrcaps_dse.data.memory import check_memory
from fastrcaps_dse.data.pictures import Picture, Unread, read_picture
from fastrcaps_dse.data.splits import Split
from fastrcaps_dse.data.unify import unify
from fastrcaps_dse.errors import InputError

PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""The names that the folder of each part may have, in upper or lower case."""
SYSTEM = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"),
    *("lost+found", "icon\r"),
}
"""Files and folders that systems leave behind; so are those whose names begin with a dot."""
MOST_THREADS = 4
FEW = 50  # pictures that one thread reads


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of one part: those of each class, and what belongs to none."""

    folder: Path
    classes: dict[str, list[Path]] = field(default_factory=dict)  # in natural order of the names
    strays: list[Path] = field(default_factory=list)  # files beside the folders of the classes
    skipped: int = 0  # hidden and system files and folders
    nested: int = 0  # files in folders inside a class

    def paths(self) -> Iterator[tuple[int, Path]]:
        """(label, path) of each file."""
        for label, paths in enumerate(self.classes.values()):
            yield from ((label, path) for path in paths)


def natural_order(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A key that sorts names as people count: 0, 1, 2, 10."""
    words = re.split(r"([0-9]+)", name)
    return [(1, int(word), "") if word.isascii() and word.isdigit() else (0, 0, word.casefold()) for word in words], name


def is_skipped(name: str) -> bool:
    """Whether a file or folder is hidden or a system's own."""
    return name.startswith(".") or name.lower() in SYSTEM


def find_parts(folder: Path) -> dict[str, Path]:
    """The folders of the parts: "train", "validation", "test", as far as they are there. Raises InputError for two of one part."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        part = next((part for part, names in PARTS.items() if path.name.lower() in names), None)
        if part is None or not path.is_dir():
            continue
        if part in found:
            raise InputError(f"{folder} has both {found[part].name}/ and {path.name}/", "keep one of them")
        found[part] = path
    return found


def has_class_folders(folder: Path) -> bool:
    """Whether a folder holds folders with files in them that are named as pictures."""
    return any(
        path.is_dir() and not is_skipped(path.name) and any(_is_named_as_picture(inner) for inner in path.iterdir())
        for path in folder.iterdir()
    )


def read_class_folders(folder: Path) -> Contents:
    """The pictures of a folder, labeled by the natural order of the names of their classes.

    Raises InputError for class folders that do not match or are empty, and for files that are no pictures of one size: all are named.
    """
    found = find_parts(folder)
    parts = {part: found[part] for part in PARTS if part in found}  # training images first
    listings = {part: list_part(path) for part, path in parts.items()} or {"train": list_part(folder, is_root=True)}
    if "train" not in listings:
        raise InputError(
            f"{folder} has {' and '.join(f'{path.name}/' for path in parts.values())} but no train/",
            "put the training images into train/CLASS/",
        )
    check_classes(listings)
    labeled = {part: [*listing.paths()] for part, listing in listings.items()}
    entries = [entry for part in labeled.values() for entry in part]
    pictures = read_all([path for _, path in entries], [*_strays(listings)], folder)
    names = [str(path) for _, path in entries]
    unified = unify(pictures, names)
    images, labels = torch.from_numpy(unified.images), torch.tensor([label for label, _ in entries])
    splits = {}
    for part, own in labeled.items():
        splits[part] = Split(images=images[: len(own)], labels=labels[: len(own)])
        images, labels = images[len(own) :], labels[len(own) :]
    classes = tuple(printable(name) for name in listings["train"].classes)
    return Contents(
        **splits, classes=classes, scaling=unified.scaling, notes=(*_notes(folder, parts, listings), *unified.notes)
    )


# --- which files --------------------------------------------------------------------------------------------------------


def list_part(folder: Path, *, is_root: bool = False) -> Listing:
    """The files of a part by class. The root of a data set may hold files that are not pictures, such as a README."""
    classes: dict[str, list[Path]] = {}
    strays: list[Path] = []
    skipped = nested = 0
    for path in sorted(folder.iterdir(), key=lambda path: natural_order(path.name)):
        if is_skipped(path.name):
            skipped += 1
        elif path.is_dir():
            files, hidden = _files_of(path)
            skipped += hidden
            nested += sum(file.parent != path for file in files)
            classes[path.name] = files
        elif not is_root or _is_named_as_picture(path):
            strays.append(path)
    return Listing(folder=folder, classes=classes, strays=strays, skipped=skipped, nested=nested)


def _files_of(folder: Path) -> tuple[list[Path], int]:
    """The (files of a class, hidden ones that are left out), with those of folders inside it; links are followed, once each."""
    files: list[Path] = []
    skipped = 0
    visited: set[str] = set()

    def refuse(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(root)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        skipped += sum(map(is_skipped, (*folders, *names)))
        folders[:] = sorted(name for name in folders if not is_skipped(name))
        files += [Path(root, name) for name in names if not is_skipped(name)]
    return sorted(files), skipped


def _is_named_as_picture(path: Path) -> bool:
    from PIL import Image

    return path.suffix.lower() in Image.registered_extensions()


def _strays(listings: dict[str, Listing]) -> Iterator[BadFile]:
    for listing in listings.values():
        yield from (BadFile(path=path, reason=STRAY) for path in listing.strays)


def check_classes(listings: dict[str, Listing]) -> None:
    """Raise InputError for parts whose classes differ, and for classes without files: all are named."""
    train = listings["train"]
    for part, listing in listings.items():
        lacking, more = (_without(a.classes, b.classes) for a, b in ((train, listing), (listing, train)))
        if lacking or more:
            differences = [f"{part} lacks {', '.join(lacking)}"] if lacking else []
            differences += [f"{part} also has {', '.join(more)}"] if more else []
            raise InputError(
                f"the classes of {train.folder} and {listing.folder} differ: {'; '.join(differences)}",
                "".join(_meant(name, lacking) for name in more) + "the names of the class folders must be equal",
            )
    empty = [
        str(listing.folder / name) for listing in listings.values() for name, files in listing.classes.items() if not files
    ]
    if empty:
        raise InputError(f"no pictures of a class: {', '.join(map(printable, empty))}", "add pictures, or remove the class")


def _without(some: dict[str, list[Path]], others: dict[str, list[Path]]) -> list[str]:
    return [printable(name) for name in some if name not in others]


def _meant(name: str, choices: Sequence[str]) -> str:
    """The question whether a name is meant as the nearest of the choices; nothing if none is near."""
    folded = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return f"is {name} meant as {folded[near[0]]}? " if near else ""


def _notes(folder: Path, parts: dict[str, Path], listings: dict[str, Listing]) -> Iterator[str]:
    skipped = sum(listing.skipped for listing in listings.values())
    if parts:
        beside = [path for path in sorted(folder.iterdir()) if path not in parts.values()]
        skipped += sum(is_skipped(path.name) for path in beside)
        unused = [printable(path.name) + "/" * path.is_dir() for path in beside if not is_skipped(path.name)]
        if unused:
            yield f"not used: {', '.join(unused)}"
    if skipped:
        yield f"skipped {skipped:,} hidden or system files"
    nested = sum(listing.nested for listing in listings.values())
    if nested:
        yield f"{nested:,} pictures lie in folders inside their class"


# --- their pictures -----------------------------------------------------------------------------------------------------


def read_all(paths: Sequence[Path], bad: Sequence[BadFile], folder: Path) -> list[Picture]:
    """The pictures of these files, all of one size. Raises InputError, which names every other file, and those in `bad`."""
    from PIL import Image

    if not paths and not bad:
        raise InputError(f"{folder} holds no images", "put them into one folder for each class")
    with warnings.catch_warnings():  # here, as threads share the filters
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        first = next((read for path in paths[:FEW] if isinstance(read := read_picture(path), Picture)), None)
        size = None if first is None else (first.pixels.shape[1], first.pixels.shape[0])
        if first is not None:
            check_memory((first.pixels.nbytes + first.pixels.size) * len(paths), str(folder))
        threads = min(MOST_THREADS, cores.available_cores()) if len(paths) > FEW else 1
        with ThreadPoolExecutor(threads) as pool:
            results = [*pool.map(lambda path: read_picture(path, size), paths)]
    pairs = zip(paths, results, strict=True)
    found = [*bad, *(BadFile(path=p, reason=r.reason) for p, r in pairs if isinstance(r, Unread) and r.size is None)]
    if found:
        raise bad_files_error(folder, found)
    _check_sizes(paths, results)
    return [picture for picture in results if isinstance(picture, Picture)]


def _check_sizes(paths: Sequence[Path], read: Sequence[Picture | Unread]) -> None:
    """Raise InputError for pictures of several sizes, with an example of each."""
    sizes = [(p.size or (0, 0)) if isinstance(p, Unread) else (p.pixels.shape[1], p.pixels.shape[0]) for p in read]
    counts = Counter(sizes).most_common()
    if len(counts) > 1:
        stated = [f"{n:,} of {w}x{h} ({paths[sizes.index((w, h))]})" for (w, h), n in counts[:5]]
        more = f" and {len(counts) - 5:,} more sizes" if len(counts) > 5 else ""
        raise InputError(f"pictures of several sizes, width x height: {', '.join(stated)}{more}", "make all images alike")
