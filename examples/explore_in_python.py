"""Explore a study from Python, pick a design, and classify images with it. Run it in a terminal, or cell by cell in a notebook."""

from __future__ import annotations

import sys
from pathlib import Path

import fastrcaps_dse as fd


def main(study_file: str = "quick", *, trials: int | None = None, folder: Path = Path("studies")) -> None:
    """Explore a study file; the database and the plot go into `folder`."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    with fd.open_study(fd.find_study_file(study_file), storage=str(folder / "example.db")) as study:
        fd.explore(study, trials=trials)  # goes on where it was stopped
        fd.race(study, max_seeds=2)  # further seeds where membership of the front is uncertain

        found = fd.results(study)
        print(found.front[["label", "acc", "time", "params", "seeds"]])  # DataFrames: .trials, .runs, .epochs, .front
        print(found.epochs.groupby("label")["acc"].max())

        picked = fd.pick_design(study, ["params<=7M"])
        print(*picked.pick.why, sep="\n")
        assert picked.trial is not None
        network = fd.load_network(study, picked.trial)
        images = study.context.dataset.test.images[:5].float() / 255  # [5, C, H, W] in [0, 1]
        with torch.no_grad():
            scores = network.scores(images)  # [5, classes]: lengths of the digit capsules
        print("predicted classes:", scores.argmax(1).tolist(), "labels:", study.context.dataset.test.labels[:5].tolist())

        figure = fd.plot_front(study)  # a notebook shows it by itself
        figure.write_html(folder / "example.html")


if __name__ == "__main__":
    main(*sys.argv[1:2])
