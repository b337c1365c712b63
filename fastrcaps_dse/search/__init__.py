"""The Optuna study around an injected `evaluate`. This room owns Optuna, and knows no torch."""

from fastrcaps_dse.search.explorer import Explorer
from fastrcaps_dse.search.optuna_storage import find_study, open_storage
from fastrcaps_dse.search.parameters import draw, make_sampler, parameters, point_of, suggest
from fastrcaps_dse.search.protocols import Bounds, Evaluate, Foresee, Observer, Report

__all__ = [
    "Bounds",
    "Evaluate",
    "Explorer",
    "Foresee",
    "Observer",
    "Report",
    "draw",
    "find_study",
    "make_sampler",
    "open_storage",
    "parameters",
    "point_of",
    "suggest",
]
