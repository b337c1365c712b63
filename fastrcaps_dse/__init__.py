"""fastrcaps-dse: multi-objective design-space exploration of Capsule Networks.

The public names are imported where they are first used, so that `import fastrcaps_dse` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "CapsNet": "capsnet.network",
    "DesignPoint": "space",
    "DesignSpace": "space",
    "Measurement": "objectives",
    "NAMED_DESIGNS": "space",
    "Session": "session",
    "Store": "store",
    "StudySpec": "studyspec",
    "Training": "trainer",
    "build_timeline": "schedules",
    "learning_rate": "schedules",
    "load": "data",
    "load_study": "studyspec",
    "parameter_count": "capsnet.sizes",
    "parse_design": "space",
    "pick": "picks",
}

__all__ = [
    "NAMED_DESIGNS",
    "CapsNet",
    "DesignPoint",
    "DesignSpace",
    "Measurement",
    "Session",
    "Store",
    "StudySpec",
    "Training",
    "__version__",
    "build_timeline",
    "learning_rate",
    "load",
    "load_study",
    "parameter_count",
    "parse_design",
    "pick",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
