"""The Optuna study around an injected `evaluate`. This room owns Optuna, and knows no torch."""

from fastrcaps_dse.explorer.contract import Bounds, Evaluate, Foresee, Observer, Report
from fastrcaps_dse.explorer.parameters import draw, make_sampler, parameters, point_of, suggest
from fastrcaps_dse.explorer.search import Explorer
from fastrcaps_dse.explorer.storage import find_study, open_storage

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
