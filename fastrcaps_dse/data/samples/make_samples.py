"""Make the shipped samples from the full data sets: 200 training and 100 test images of each class, chosen with a fixed seed.

    python -m fastrcaps_dse.data.samples.make_samples --data-dir DIR

Equal full sets give equal files, byte for byte.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from fastrcaps_dse import data

SEED = 1905  # of the choice
PER_CLASS = {"train": 200, "t10k": 100}  # images


def balanced_subset(split: data.Split, per_class: int, seed: int = SEED) -> data.Split:
    """`per_class` images of each class, chosen at random with `seed`, in the order in which the full set has them."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    chosen = [order[split.labels[order] == label][:per_class] for label in split.labels.unique()]
    return split.subset(torch.cat(chosen).sort().values)


def main() -> None:
    """Write the IDX files of both samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="where MNIST and Fashion-MNIST are")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where the samples go")
    arguments = parser.parse_args()
    for name in ("mnist", "fashion-mnist"):
        full = data.load(name, arguments.data_dir, download=False)
        folder = arguments.out / f"{name}-sample"
        folder.mkdir(parents=True, exist_ok=True)
        for part, split in (("train", full.train), ("t10k", full.test)):
            sample = balanced_subset(split, PER_CLASS[part])
            data.write_idx(folder / f"{part}-images-idx3-ubyte.gz", sample.images[:, 0].numpy())
            data.write_idx(folder / f"{part}-labels-idx1-ubyte.gz", sample.labels.numpy().astype(np.uint8))


if __name__ == "__main__":
    main()
