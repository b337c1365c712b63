"""Which classes a network takes for which."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(labels: Sequence[int], predicted: Sequence[int], classes: int) -> NDArray[np.int64]:
    """How many images of each true class (rows) were predicted as each class (columns), [J, J]."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (np.asarray(labels, dtype=np.int64), np.asarray(predicted, dtype=np.int64)), 1)
    return counts


def confusion_csv(confusion: NDArray[np.int64], classes: Sequence[str]) -> str:
    """A confusion matrix as CSV: the first column has the true classes, the first row the predicted ones."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["true", *classes])
    for name, row in zip(classes, confusion.tolist(), strict=True):
        writer.writerow([name, *row])
    return out.getvalue()
