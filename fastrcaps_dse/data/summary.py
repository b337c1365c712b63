"""A data set in a line, and its classes in rows."""

from __future__ import annotations

from typing import Any

from fastrcaps_dse.data.splits import DataSet

MOST_NAMED = 12  # classes that the line names with their counts


def summary_line(dataset: DataSet) -> str:
    """A data set in a line: images, size, channels, classes with their counts, what was skipped or converted."""
    shape = dataset.shape
    channels = {1: "gray", 3: "color"}.get(shape.channels, f"{shape.channels} channels")
    images = (
        f"{len(dataset.train):,} training and {len(dataset.test):,} test images of {shape.height}x{shape.width}, {channels}"
    )
    few = "" if dataset.train_images is None else f"; {dataset.train_images:,} of the training images train"
    return f"{dataset.name}: {images}; {_classes_text(dataset)}{few}" + "".join(f"; {note}" for note in dataset.notes)


def _classes_text(dataset: DataSet) -> str:
    """ "3 classes: cat 100 + 20, dog 90 + 20, owl 100 + 20", or shorter where they are alike or many."""
    names = class_names(dataset)
    train, test = dataset.train.counts(len(names)), dataset.test.counts(len(names))
    if len(names) > MOST_NAMED:
        listed = ", ".join([*names[:3], "...", names[-1]])
        return f"{len(names):,} classes of {_range_text(train)} + {_range_text(test)} images: {listed}"
    if len(set(train)) == len(set(test)) == 1:
        return f"{len(names)} classes of {train[0]:,} + {test[0]:,}: {', '.join(names)}"
    counted = (f"{name} {a:,} + {b:,}" for name, a, b in zip(names, train, test, strict=True))
    return f"{len(names)} classes: {', '.join(counted)}"


def _range_text(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def class_names(dataset: DataSet) -> tuple[str, ...]:
    """The names of the classes by label: the labels, for a data set that was made without."""
    return dataset.classes or tuple(map(str, range(dataset.shape.classes)))


def class_rows(dataset: DataSet) -> list[dict[str, Any]]:
    """A row for each class: its label, its name, how many training and test images it has."""
    names = class_names(dataset)
    counts = zip(dataset.train.counts(len(names)), dataset.test.counts(len(names)), strict=True)
    return [
        {"label": label, "name": name, "train": train, "test": test}
        for label, (name, (train, test)) in enumerate(zip(names, counts, strict=True))
    ]


def dataset_record(dataset: DataSet) -> dict[str, Any]:
    """A data set as JSON."""
    shape = dataset.shape
    return {
        "dataset": dataset.name,
        "train_images": len(dataset.train),
        "test_images": len(dataset.test),
        "height": shape.height,
        "width": shape.width,
        "channels": shape.channels,
        "classes": class_rows(dataset),
        "scaling": dataset.scaling,
        "notes": list(dataset.notes),
        "fingerprint": dataset.fingerprint(),
    }
