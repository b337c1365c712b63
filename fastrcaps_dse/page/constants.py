"""Constants that the page's scripts share with Python. They are written once, there, and put at the head of the page's script."""

from __future__ import annotations

from typing import Any

from fastrcaps_dse.analysis.picks import ANYTIME_SUPERLATIVES, SUPERLATIVES
from fastrcaps_dse.analysis.uncertainty import OUT, SURE
from fastrcaps_dse.problem.quantities import ESTIMATED, EXAMPLES, FACTORS, NEVER, PERCENT, UNITS

BEAT_SECONDS = 5.0  # between two signs of life to a page
SILENCE_SECONDS = 12.0  # without a sign of life, after which a page says that it is stale


def constants() -> dict[str, Any]:
    """The constants by the name that the scripts use."""
    return {
        "SURE": SURE,
        "OUT": OUT,
        "SUPERLATIVES": SUPERLATIVES,
        "ANYTIME_SUPERLATIVES": ANYTIME_SUPERLATIVES,
        "NEVER": NEVER,
        "ESTIMATED": ESTIMATED,
        "FACTORS": FACTORS,
        "EXAMPLES": EXAMPLES,
        "UNITS": UNITS,
        "PERCENT": PERCENT,
        "SILENCE_SECONDS": SILENCE_SECONDS,
    }
