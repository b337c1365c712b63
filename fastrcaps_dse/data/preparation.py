"""From the contents of a container to a data set: its parts, its classes, its shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.data.container import Contents
from fastrcaps_dse.data.labels import with_classes
from fastrcaps_dse.data.splits import DataSet, joined, split_off_test
from fastrcaps_dse.errors import InputError

MOST_SHARE = 0.9
EXAMPLE_SHARE = 0.2
DARK = 32  # of 255; images without a brighter value were probably meant to be scaled


def check_share(test_share: float | None) -> None:
    """Raise InputError for a share of the images that cannot be for testing."""
    if test_share is not None and not 0 < test_share <= MOST_SHARE:
        raise InputError(f"the share of test images must be above 0 and at most {MOST_SHARE}, got {test_share:g}", "e.g. 0.2")


def prepare(
    name: str,
    contents: Contents,
    *,
    relabel: bool = False,
    test_share: float | None = None,
    famous: Sequence[str] | None = None,
) -> DataSet:
    """The data set of these contents.

    Arguments:
        name: of the data set.
        relabel: number the classes that occur 0, 1, ..., whatever their labels are.
        test_share: the share of the images of each class that is for testing, for contents without a test set.
        famous: names of the classes by label, for data sets that are famous.

    Raises InputError for parts that do not match or are empty, for a missing test set, and for labels with gaps.
    """
    check_share(test_share)
    contents = _with_joined_validation(contents)
    if not len(contents.train):
        tests = 0 if contents.test is None else len(contents.test)
        raise InputError(f"{name} has 0 training and {tests} test images", "both need at least one")
    if contents.test is None:
        if test_share is None:
            raise InputError(
                f"{name} has no test set",
                f"--test-share {EXAMPLE_SHARE}, or test_share = {EXAMPLE_SHARE} in a study file, takes that share of each class for "
                "testing; or add a test set",
            )
        train, test = split_off_test(contents.train, test_share)
        note = f"{test_share:.3g} of the images of each class are for testing"
        contents = replace(contents, train=train, test=test, notes=(*contents.notes, note))
    elif test_share is not None:
        raise InputError(f"{name} has a test set of its own", "leave out --test-share and test_share")
    assert contents.test is not None
    if not len(contents.test):
        raise InputError(f"{name} has {len(contents.train)} training and 0 test images", "both need at least one")
    _check_shapes(name, contents)
    contents = with_classes(name, contents, famous=famous, relabel=relabel)
    brightest = int(contents.train.images.numpy().max())  # faster than torch's
    if brightest < DARK:
        note = f"no value is above {brightest} of 255: the images are nearly black"
        contents = replace(contents, notes=(*contents.notes, note))
    assert contents.test is not None and contents.classes is not None
    channels, height, width = contents.train.images.shape[1:]
    return DataSet(
        name=name,
        train=contents.train,
        test=contents.test,
        shape=ImageShape(channels=channels, height=height, width=width, classes=len(contents.classes)),
        classes=contents.classes,
        scaling=contents.scaling,
        notes=contents.notes,
    )


def _with_joined_validation(contents: Contents) -> Contents:
    """The user's validation images join the training images: the tool holds out images of its own for each study."""
    own = contents.validation
    if own is None or not len(own):
        return replace(contents, validation=None)
    note = f"its {len(own):,} validation images join the training images, of which some are held out"
    return replace(contents, train=joined(contents.train, own), validation=None, notes=(*contents.notes, note))


def _check_shapes(name: str, contents: Contents) -> None:
    assert contents.test is not None
    train, test = (tuple(split.images.shape[1:]) for split in (contents.train, contents.test))
    if train != test:
        raise InputError(
            f"{name}: training images are {train}, test images {test}", "both must have the same channels, height and width"
        )
