"""A data set by name or folder, whole in memory: images and labels, checked.

The way of the data: a container (`idx`, `class_folders`, `npz`, `matlab`, `arrays`) gives its contents as they are written there;
`preparation` joins or splits its parts, checks the labels and names the classes; `summary` says in a line what came of it. Pictures are
decoded by `pictures` and made alike by `unify`; `affine` makes copies of images, by which `robust` is measured.

Files of data sets with names are searched for in this order: in the data directory, as torchvision stores them (`MNIST/raw/...`) or
directly, gzip or unpacked; where Debian's `dataset-fashion-mnist` puts them; and then torchvision downloads them, if the network allows
it.
"""

from fastrcaps_dse.data.bad_files import BadFile, BadFiles
from fastrcaps_dse.data.idx import read_idx, write_idx
from fastrcaps_dse.data.names import NAMES, OTHER_SETS, SAMPLES, known_names
from fastrcaps_dse.data.sets import DEFAULT_DIR, import_torchvision_datasets, is_here, load, load_for, same_source
from fastrcaps_dse.data.splits import DataSet, Split, balanced_order, first_images, hold_out
from fastrcaps_dse.data.summary import class_names, class_rows, dataset_record, summary_line

__all__ = [
    "DEFAULT_DIR",
    "NAMES",
    "OTHER_SETS",
    "SAMPLES",
    "BadFile",
    "BadFiles",
    "DataSet",
    "Split",
    "balanced_order",
    "class_names",
    "class_rows",
    "dataset_record",
    "first_images",
    "hold_out",
    "import_torchvision_datasets",
    "is_here",
    "known_names",
    "load",
    "load_for",
    "read_idx",
    "same_source",
    "summary_line",
    "write_idx",
]
