"""The front door: open a study, explore it, race seeds, read its results, pick. The command line and a notebook call the same functions.

study = open_study(find_study_file("quick"))
explore(study, trials=10)
results(study).front
"""

from fastrcaps_dse.export.picked import PickedNetwork
from fastrcaps_dse.session.exploring import Outcome, explore, race, share_budget
from fastrcaps_dse.session.exporting import export_design, load_exported, load_picked
from fastrcaps_dse.session.joining import join_study
from fastrcaps_dse.session.opening import OpenStudy, open_study
from fastrcaps_dse.session.reading import Picked, load_network, pick_design, plot_front, results

__all__ = [
    "OpenStudy",
    "Outcome",
    "Picked",
    "PickedNetwork",
    "explore",
    "export_design",
    "join_study",
    "load_exported",
    "load_network",
    "load_picked",
    "open_study",
    "pick_design",
    "plot_front",
    "race",
    "results",
    "share_budget",
]
