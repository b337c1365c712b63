"""The data sets that have names, and the names of their classes."""

from __future__ import annotations

SAMPLES = ("mnist-sample", "fashion-mnist-sample")
EMNIST_SPLITS = ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")
IDX_SETS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST", "emnist-digits": "EMNIST"}
"""Data sets of IDX files, and the folders in which torchvision keeps them."""
FURTHER_SETS = {f"emnist-{split}": "EMNIST" for split in EMNIST_SPLITS if split != "digits"}
OTHER_SETS = ("cifar10", "svhn")
NAMES = (*SAMPLES, *IDX_SETS, *OTHER_SETS)
ALL_NAMES = (*NAMES, *FURTHER_SETS)

_GARMENTS = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_HIRAGANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
CLASSES: dict[str, tuple[str, ...]] = {
    "fashion-mnist": _GARMENTS,
    "fashion-mnist-sample": _GARMENTS,
    "cifar10": _CIFAR10,
    "kmnist": _HIRAGANA,
}
"""The names of classes by label; those of the digits are their numbers."""


def known_names(dataset: str, classes: int) -> tuple[str, ...]:
    """The names of the classes of a data set by label: of one with a name, those that it has; else the labels."""
    named = CLASSES.get(dataset, ())
    return named if len(named) == classes else tuple(map(str, range(classes)))
