"""What the tests of exports share: a small study that is explored once, and its test images as pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from fastrcaps_dse import data, session, store
from fastrcaps_dse.data import Split
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.store import Store
from tests.conftest import write_tiny

STUDY = """
name = "small"
dataset = "{dataset}"
epochs = {epochs}
seeds = {seeds}
trials = 4
first = ["{first}"]
[space]
lr_policy = ["one-cycle"]
batch_schedule = [8]
weight_sharing = [false, true]
decoder = ["small", "full"]
shift = [0]
"""
CAPSNET = "lr_policy=one-cycle batch_schedule=8 decoder=small shift=0"
SHARED = "lr_policy=one-cycle batch_schedule=8 weight_sharing=true decoder=full shift=0"
LENET = "network=lenet5 lr_policy=one-cycle batch_schedule=8 shift=0"


def explored_study(
    folder: Path,
    dataset: Path,
    *,
    first: str = CAPSNET,
    trials: int = 1,
    seeds: int = 1,
    epochs: int = 3,
    precision: str = "float32",
) -> Path:
    """The database of a study of this data set. Networks are as small as the sizes that are in force."""
    text = STUDY.format(dataset=dataset, first=first, seeds=seeds, epochs=epochs)
    if "lenet5" in first:
        text = text.replace("[space]", '[space]\nnetwork = ["lenet5"]')
    folder.mkdir(exist_ok=True)
    spec = parse_study(text, default_name="small")
    with session.open_study(spec, str(folder / "s.db"), device="cpu", precision=precision) as study:
        session.explore(study, trials=trials)
    return folder / "s.db"


def noisy_images(folder: Path) -> Path:
    """Images of three classes; every fourth test image has a wrong label, so that no accuracy on them is 100 %."""
    write_tiny(folder)
    path = folder / "t10k-labels-idx1-ubyte.gz"
    labels = data.read_idx(path).copy()
    labels[::4] = (labels[::4] + 1) % 3
    data.write_idx(path, labels)
    return folder


def opened(path: Path) -> Store:
    return Store(store.parse_url(str(path)))


def write_pictures(folder: Path, split: Split, *, classes: int) -> Path:
    """The images as PNG files in a folder for each class."""
    for label in range(classes):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
    for number, (pixels, label) in enumerate(zip(split.images, split.labels, strict=True)):
        array = pixels.permute(1, 2, 0).numpy()
        Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(folder / str(int(label)) / f"{number:05d}.png")
    return folder
