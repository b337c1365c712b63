"""fastrcaps-dse: multi-objective design-space exploration of Capsule Networks.

The public names are imported where they are first used, so that `import fastrcaps_dse` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "CapsNet": "capsnet.network",
    "DesignPoint": "problem.space",
    "DesignSpace": "problem.space",
    "Measurement": "problem.objectives",
    "NAMED_DESIGNS": "problem.space",
    "Session": "session",
    "Store": "store",
    "StudySpec": "problem.study_spec",
    "Training": "trainer",
    "build_timeline": "problem.schedules",
    "learning_rate": "problem.schedules",
    "load": "data",
    "load_study": "problem.study_spec",
    "parameter_count": "capsnet.sizes",
    "parse_design": "problem.space",
    "pick": "analysis.picks",
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
