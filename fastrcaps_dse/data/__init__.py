"""A data set by name or folder, whole in memory: uint8 images and labels, checked.

Files are looked for in the data directory, where torchvision puts them (`MNIST/raw/...`) or plain, gzip or unpacked; then
where Debian's `dataset-fashion-mnist` has them; then torchvision downloads them, where the network allows.
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
