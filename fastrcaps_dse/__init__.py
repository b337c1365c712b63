"""fastrcaps-dse: multi-objective design-space exploration of Capsule Networks.

The public names are imported when they are first used, so that `import fastrcaps_dse` costs nothing; a type checker knows them all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fastrcaps_dse.cores import prepare_openmp

if TYPE_CHECKING:
    from fastrcaps_dse.analysis.picks import Candidate, Limit, Pick, parse_limit, pick
    from fastrcaps_dse.analysis.results import Results
    from fastrcaps_dse.capsnet.network import CapsNet
    from fastrcaps_dse.capsnet.sizes import parameter_count
    from fastrcaps_dse.data import DataSet, load
    from fastrcaps_dse.problem.objectives import Measurement
    from fastrcaps_dse.problem.rates import learning_rate
    from fastrcaps_dse.problem.space import NAMED_DESIGNS, DesignPoint, DesignSpace, parse_design
    from fastrcaps_dse.problem.study_file import find_study_file, load_study
    from fastrcaps_dse.problem.study_spec import StudySpec, override
    from fastrcaps_dse.problem.timelines import build_timeline
    from fastrcaps_dse.runs.budget import Budget, start_budget
    from fastrcaps_dse.runs.executors import open_executor
    from fastrcaps_dse.session import (
        OpenStudy,
        Outcome,
        Picked,
        PickedNetwork,
        explore,
        export_design,
        join_study,
        load_exported,
        load_network,
        load_picked,
        open_study,
        pick_design,
        plot_front,
        race,
        results,
    )
    from fastrcaps_dse.store import Store
    from fastrcaps_dse.trainer import Training

__version__ = "0.1.0"

prepare_openmp()  # before torch is imported

_HOMES = {
    "Budget": "runs.budget",
    "Candidate": "analysis.picks",
    "CapsNet": "capsnet.network",
    "DataSet": "data",
    "DesignPoint": "problem.space",
    "DesignSpace": "problem.space",
    "Limit": "analysis.picks",
    "Measurement": "problem.objectives",
    "NAMED_DESIGNS": "problem.space",
    "OpenStudy": "session",
    "Outcome": "session",
    "Pick": "analysis.picks",
    "Picked": "session",
    "PickedNetwork": "session",
    "Results": "analysis.results",
    "Store": "store",
    "StudySpec": "problem.study_spec",
    "Training": "trainer",
    "build_timeline": "problem.timelines",
    "explore": "session",
    "export_design": "session",
    "find_study_file": "problem.study_file",
    "join_study": "session",
    "learning_rate": "problem.rates",
    "load": "data",
    "load_exported": "session",
    "load_network": "session",
    "load_picked": "session",
    "load_study": "problem.study_file",
    "open_executor": "runs.executors",
    "open_study": "session",
    "override": "problem.study_spec",
    "parameter_count": "capsnet.sizes",
    "parse_design": "problem.space",
    "parse_limit": "analysis.picks",
    "pick": "analysis.picks",
    "pick_design": "session",
    "plot_front": "session",
    "race": "session",
    "results": "session",
    "start_budget": "runs.budget",
}

__all__ = [
    "NAMED_DESIGNS",
    "Budget",
    "Candidate",
    "CapsNet",
    "DataSet",
    "DesignPoint",
    "DesignSpace",
    "Limit",
    "Measurement",
    "OpenStudy",
    "Outcome",
    "Pick",
    "Picked",
    "PickedNetwork",
    "Results",
    "Store",
    "StudySpec",
    "Training",
    "__version__",
    "build_timeline",
    "explore",
    "export_design",
    "find_study_file",
    "join_study",
    "learning_rate",
    "load",
    "load_exported",
    "load_network",
    "load_picked",
    "load_study",
    "open_executor",
    "open_study",
    "override",
    "parameter_count",
    "parse_design",
    "parse_limit",
    "pick",
    "pick_design",
    "plot_front",
    "race",
    "results",
    "start_budget",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
