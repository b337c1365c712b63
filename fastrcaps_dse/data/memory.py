"""Whether a data set fits into memory, asked before it is read."""

from __future__ import annotations

from fastrcaps_dse import cores
from fastrcaps_dse.errors import MachineError

NEGLIGIBLE = 2**25  # bytes: what every machine has, so that small data sets need not ask


def check_memory(needed: int, what: str) -> None:
    """Raise MachineError if reading `what` takes more bytes than this process may still take."""
    if needed < NEGLIGIBLE:
        return
    free = cores.available_memory()
    if needed > free:
        raise MachineError(
            f"{what} needs about {needed / 1e9:.3g} GB of memory, and {free / 1e9:.3g} GB are free",
            "data sets are held in memory whole: use fewer or smaller images, or free memory",
        )
