"""What the paper reports, as data: the rows of its tables, and what its text says beside them.

Source: Marchisio et al., "FasTrCaps", IJCNN 2020 (arXiv 1905.10142). Each row is one number for each design: the mean of five runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastrcaps_dse.problem.study_spec import dataset_label

TITLES: Mapping[str, str] = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
"""The data sets of the paper, by the names that studies have for them."""
EPOCHS, IMAGES, SEEDS = 30, 60_000, 5  # of its runs
EPOCH_SECONDS: Mapping[int, float] = {1: 420.0, 16: 49.0, 128: 28.0}
"""Seconds that an epoch of CapsNet takes on the paper's GTX 1080 Ti, by batch size."""
HEAD_EPOCHS = 3  # of AdaBatch, at batch size 1; then 16


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """What the paper reports of a design."""

    acc: float  # %, highest test accuracy
    epoch: int  # the one of it
    epoch_text: str = ""  # where the paper gives two
    reaches_fixed: int | None = None  # epochs until the highest accuracy of Fixed; None if it is not given


CAPSNET: Mapping[str, Mapping[str, PublishedRow]] = {
    "mnist": {
        "fixed": PublishedRow(acc=99.37, epoch=29, reaches_fixed=29),
        "exp-decay": PublishedRow(acc=99.40, epoch=12, reaches_fixed=7),
        "one-cycle": PublishedRow(acc=99.38, epoch=24, reaches_fixed=23),
        "warm-restarts": PublishedRow(acc=99.44, epoch=11, reaches_fixed=6),
        "adabatch": PublishedRow(acc=99.41, epoch=8, reaches_fixed=5),
        "wab": PublishedRow(acc=99.45, epoch=8, reaches_fixed=3),
        "ws": PublishedRow(acc=99.26, epoch=26),
        "wab+ws": PublishedRow(acc=99.38, epoch=11, epoch_text="11 or 18"),
    },
    "fashion-mnist": {
        "fixed": PublishedRow(acc=90.99, epoch=17),
        "exp-decay": PublishedRow(acc=91.65, epoch=29),
        "one-cycle": PublishedRow(acc=91.73, epoch=27),
        "warm-restarts": PublishedRow(acc=91.35, epoch=17),
        "adabatch": PublishedRow(acc=91.27, epoch=27),
        "wab": PublishedRow(acc=91.47, epoch=27),
        "ws": PublishedRow(acc=90.47, epoch=17),
        "wab+ws": PublishedRow(acc=90.67, epoch=20),
    },
}
"""The eight CapsNet designs, by data set and name."""

LENET5: Mapping[str, Mapping[str, PublishedRow]] = {
    "mnist": {
        "lenet5": PublishedRow(acc=98.86, epoch=17, reaches_fixed=17),
        "lenet5-exp-decay": PublishedRow(acc=99.24, epoch=28, reaches_fixed=6),
        "lenet5-one-cycle": PublishedRow(acc=99.22, epoch=30, reaches_fixed=19),
        "lenet5-warm-restarts": PublishedRow(acc=99.23, epoch=20, reaches_fixed=4),
        "lenet5-adabatch": PublishedRow(acc=99.18, epoch=19, reaches_fixed=5),
    }
}
"""The five LeNet5 designs of Fig. 4b, by data set and name."""


def published_data(dataset: str) -> str | None:
    """The data set of the paper that a study's data set is, or is a sample of: a key of `TITLES`. None for others."""
    name = dataset_label(dataset).removesuffix("-sample").lower()
    return name if name in TITLES else None


def published_row(dataset: str, design: str) -> PublishedRow | None:
    """What the paper reports of a named design on a study's data set; None if nothing."""
    data = published_data(dataset)
    tables = [table[data] for table in (CAPSNET, LENET5) if data in table] if data is not None else []
    return next((table[design] for table in tables if design in table), None)


def seconds_until(epoch: int, *, adabatch: bool) -> float:
    """The seconds of training up to the end of an epoch, by the paper's seconds of an epoch."""
    head = min(epoch, HEAD_EPOCHS) if adabatch else 0
    return head * EPOCH_SECONDS[1] + (epoch - head) * EPOCH_SECONDS[16]


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What the paper says of a claim for one data set."""

    text: str
    effect: float | None = None  # in the unit of the claim, positive where it is in favor of it; None if it gives none
    remark: str = ""  # where its numbers contradict the claim, or each other
