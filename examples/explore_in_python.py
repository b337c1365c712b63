"""Explore a study from Python, pick a design, and classify images with it.

    python examples/explore_in_python.py [STUDY_FILE]

In a notebook the same lines are cells; it shows the DataFrames and the figure by itself.
"""

import sys

study_file = sys.argv[1] if len(sys.argv) > 1 else "quick"

import torch  # noqa: E402

import fastrcaps_dse as fd  # noqa: E402

study = fd.open_study(fd.find_study_file(study_file), storage="studies/example.db")
fd.explore(study)  # call it again to go on
fd.race(study, max_seeds=2)  # further seeds where it is uncertain which designs are on the front

found = fd.results(study)  # DataFrames: .trials, .runs, .epochs, .front
print(found.front[["label", "acc", "time", "params", "seeds"]])

picked = fd.pick_design(study, ["params<=7M"])
print(*picked.pick.why, sep="\n")
network = fd.load_network(study, picked.trial)
images = study.context.dataset.test.images[:5].float() / 255  # [5, C, H, W] in [0, 1]
with torch.no_grad():
    scores = network.scores(images)  # [5, classes]: the lengths of the digit capsules
print("classes:", scores.argmax(1).tolist())

figure = fd.plot_front(study)  # a plotly figure
figure.write_html("studies/example.html")
