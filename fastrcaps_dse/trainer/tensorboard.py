"""TensorBoard's event files, by the writer that comes with torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from fastrcaps_dse.errors import InputError


def open_writer(folder: Path) -> Any:
    """A `SummaryWriter` for the curves of one run. Raises InputError where TensorBoard is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TensorBoard's own dependencies
            from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("TensorBoard is not installed", "pip install 'fastrcaps-dse[tensorboard]'") from None
    return SummaryWriter(str(folder))
