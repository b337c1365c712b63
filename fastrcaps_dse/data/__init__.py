"""A data set by name or folder, whole in memory: images and labels, checked.

Files are searched for in this order: in the data directory, as torchvision stores them (`MNIST/raw/...`) or directly, gzip or
unpacked; where Debian's `dataset-fashion-mnist` puts them; and then torchvision downloads them, if the network allows it.
"""

from fastrcaps_dse.data.idx import read_idx, write_idx
from fastrcaps_dse.data.sets import DEFAULT_DIR, NAMES, OTHER_SETS, SAMPLES, import_torchvision_datasets, load
from fastrcaps_dse.data.splits import DataSet, Split, hold_out

__all__ = [
    "DEFAULT_DIR",
    "NAMES",
    "OTHER_SETS",
    "SAMPLES",
    "DataSet",
    "Split",
    "hold_out",
    "import_torchvision_datasets",
    "load",
    "read_idx",
    "write_idx",
]
