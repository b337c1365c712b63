"""Labels as they are written, and the classes that they mean: 0, 1, ... without gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastrcaps_dse.data.container import Contents
from fastrcaps_dse.data.splits import Split
from fastrcaps_dse.errors import InputError

LISTED = 5  # ranges of labels that an error names
HIGHEST = 2**31 - 1


def label_array(values: NDArray[Any], what: str) -> NDArray[np.int64]:
    """Labels as int64 [N]; `values` are whole numbers [N] or [N, 1]. `what` is what errors call them. Raises InputError."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise InputError(
            f"{what} have the shape {values.shape}: several labels for an image",
            "one class for each image, [N] or [N, 1]; argmax(1) makes labels of one-hot rows",
        )
    if values.dtype.kind not in "iub" and not (values.dtype.kind == "f" and (values == np.rint(values)).all()):
        raise InputError(f"{what} are not whole numbers but {values.dtype}", "number the classes 0, 1, 2, ...")
    if len(values) and (values.min() < 0 or values.max() > HIGHEST):
        raise InputError(f"{what} reach from {values.min()} to {values.max()}", "number the classes 0, 1, 2, ...")
    return values.astype(np.int64)


def ranges_text(numbers: Iterable[tuple[int, int]]) -> str:
    """Ranges of whole numbers in words: "0, 4 to 9"."""
    spans = list(numbers)
    parts = [str(low) if low == high else f"{low} to {high}" for low, high in spans[:LISTED]]
    return ", ".join(parts) + (", ..." if len(spans) > LISTED else "")


def with_classes(name: str, contents: Contents, *, famous: Sequence[str] | None, relabel: bool) -> Contents:
    """Contents whose labels are 0, 1, ... without gaps, with the names of their classes.

    Arguments:
        name: of the data set.
        famous: names of the classes by label as it is written, for data sets that are famous.
        relabel: number the classes that occur 0, 1, ...; training and test images by the same map.

    Raises InputError for labels that no training image has, unless `relabel` says so, and for a single class.
    """
    numbers = _distinct(contents.train)
    if contents.test is not None:
        trained = set(numbers)
        only_tested = [number for number in _distinct(contents.test) if number not in trained]
        if only_tested:
            raise InputError(_untrained(name, only_tested, numbers), "check the label files: every class needs training images")
    gaps = _gaps(numbers)
    if len(numbers) < 2:
        raise InputError(f"{name} has only one class: {_named(numbers[0], contents, famous)}", "a network needs at least 2")
    notes = contents.notes
    if gaps and not relabel:
        absent = sum(high - low + 1 for low, high in gaps)
        raise InputError(
            f"{name}: labels reach {numbers[-1]}, but no image has the label {ranges_text(gaps)} "
            f"({absent:,} of {numbers[-1] + 1:,} classes)",
            f"--relabel, or relabel = true in a study file, numbers the {len(numbers)} classes that occur 0 to {len(numbers) - 1}",
        )
    if gaps:
        contents = _renumbered(contents, torch.tensor(numbers))
        spans = _spans(numbers)
        notes = (*notes, f"labels {ranges_text(spans)} are numbered 0 to {len(numbers) - 1}")
    names = contents.classes or tuple(_named(number, contents, famous) for number in numbers)
    if contents.test is not None:
        untested = [names[label] for label, count in enumerate(contents.test.counts(len(names))) if not count]
        if untested:
            notes = (*notes, f"no test image of {', '.join(untested)}")
    return replace(contents, classes=names, notes=notes)


def _distinct(split: Split) -> list[int]:
    """The labels that occur, sorted. `np.unique` would import masked arrays, which takes as long as to read a sample."""
    ordered = np.sort(split.labels.numpy())
    is_new = np.ones(len(ordered), dtype=bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    numbers: list[int] = ordered[is_new].tolist()
    return numbers


def _untrained(name: str, only_tested: Sequence[int], trained: Sequence[int]) -> str:
    reach = f"{name}: the test labels reach {only_tested[-1]}, the training labels {trained[-1]}"
    return f"{reach}; no training image has the label {ranges_text(_spans(only_tested))}"


def _named(number: int, contents: Contents, famous: Sequence[str] | None) -> str:
    if contents.classes:
        return contents.classes[number]
    return famous[number] if famous and number < len(famous) else str(number)


def _renumbered(contents: Contents, labels: torch.Tensor) -> Contents:
    def of(split: Split) -> Split:
        return Split(images=split.images, labels=torch.searchsorted(labels, split.labels))

    test = None if contents.test is None else of(contents.test)
    return replace(contents, train=of(contents.train), test=test)


def _spans(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """The ranges of neighboring numbers, from sorted ones."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1] = spans[-1][0], number
        else:
            spans.append((number, number))
    return spans


def _gaps(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """The ranges from 0 to the last of the sorted numbers that are not among them."""
    spans = [(-1, -1), *_spans(numbers)]
    return [(low[1] + 1, high[0] - 1) for low, high in pairwise(spans) if low[1] + 1 < high[0]]
