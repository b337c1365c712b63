"""The names of the classes of a study's data set. This is the one function that gives them."""

from __future__ import annotations

GARMENTS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""The classes of Fashion-MNIST by label. Source: Table 2 of Xiao et al., arXiv:1708.07747."""


def class_names(dataset: str, classes: int) -> tuple[str, ...]:
    """The names of the classes of a data set by label; digits and label numbers are their own names."""
    if dataset in ("fashion-mnist", "fashion-mnist-sample") and classes == len(GARMENTS):
        return GARMENTS
    return tuple(map(str, range(classes)))
