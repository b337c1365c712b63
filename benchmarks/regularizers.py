"""Would weight decay or label smoothing help? Fixed with either, and without, over several seeds and few images.

The design space has neither. The record, reports/benchmarks/regularizers.json, has the accuracies of each run, and for each of both the
mean difference from plain training with its 95 % interval (paired by seed, Student's t). It goes on with the runs that it lacks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import record
from fastrcaps_dse import data
from fastrcaps_dse.analysis.paired import Difference, mean_interval, paired_test
from fastrcaps_dse.capsnet.losses import ABSENT_WEIGHT, M_MINUS, M_PLUS, capsule_length, reconstruction_loss
from fastrcaps_dse.capsnet.network import CapsNet
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.trainer import Training

NAME = "regularizers"
DESIGN = "fixed"
FORMS = ("plain", "weight-decay", "label-smoothing")
DECAY = 0.01  # of a weight in a step, times the learning rate: the default of torch.optim.AdamW
SMOOTHING = 0.1  # of a target that all classes share: Szegedy et al., CVPR 2016
WORKERS = 2


def smoothed_margin_loss(lengths_BJ: Tensor, labels_B: Tensor, smoothing: float) -> Tensor:
    """The margin loss with targets that give `smoothing` of the true class to all classes alike; with 0 the margin loss itself."""
    classes = lengths_BJ.shape[1]
    present_BJ = F.one_hot(labels_B, classes).to(lengths_BJ) * (1 - smoothing) + smoothing / classes
    losses_BJ = present_BJ * (M_PLUS - lengths_BJ).relu().square()
    losses_BJ = losses_BJ + ABSENT_WEIGHT * (1 - present_BJ) * (lengths_BJ - M_MINUS).relu().square()
    return losses_BJ.sum(1).mean()


class Decayed(Training):
    """Training with Adam that lets weights decay apart from the gradients. Source: Loshchilov and Hutter, ICLR 2019."""

    def _make_steps(self) -> None:
        super()._make_steps()
        weights = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = self.steps.optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=DECAY, fused=True)


class Smoothed(Training):
    """Training with smoothed labels in the margin loss."""

    smoothing = SMOOTHING

    def _make_steps(self) -> None:
        super()._make_steps()
        network = self.network
        if not isinstance(network, CapsNet):
            raise TypeError("only a CapsNet has a margin loss")

        def losses(images_BCHW: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
            v_BJD = network.output_capsules(images_BCHW)
            reconstruction = reconstruction_loss(network.decode(v_BJD, labels_B), images_BCHW.flatten(1))
            return smoothed_margin_loss(capsule_length(v_BJD), labels_B, self.smoothing), reconstruction

        network.losses = losses  # type: ignore[method-assign]


KINDS: dict[str, Callable[..., Training]] = {"plain": Training, "weight-decay": Decayed, "label-smoothing": Smoothed}


def train(dataset: str, form: str, seed: int, epochs: int, train_images: int) -> dict[str, Any]:
    """A run: the highest accuracy on held-out images, its epoch, and the accuracy on the test set there (%)."""
    torch.set_num_threads(1)
    images = data.load(dataset, train_images=train_images)
    run = KINDS[form](parse_design(DESIGN), seed, images, epochs=epochs, device=torch.device("cpu"))
    best, selected, tested = -1.0, 0, 0.0
    for epoch in run.epochs():
        if epoch.acc > best:
            best, selected, tested = epoch.acc, run.done, run.test_accuracy()
    return {"dataset": dataset, "form": form, "seed": seed, "acc": best, "epoch": selected, "test_acc": round(tested, 4)}


def summary(runs: list[dict[str, Any]], dataset: str, measure: str) -> dict[str, Any]:
    """The mean of each form, and its difference from plain training over the seeds that both have."""
    of = {form: {r["seed"]: r[measure] for r in runs if (r["dataset"], r["form"]) == (dataset, form)} for form in FORMS}
    found: dict[str, Any] = {}
    for form in filter(of.get, FORMS):
        around = mean_interval([*of[form].values()])
        found[form] = {"mean": round(around.mean, 3), "error": around.error and round(around.error, 3), "n": around.n}
        pairs = [
            Difference(seed=seed, value=of[form][seed] - of["plain"][seed])
            for seed in sorted(of[form].keys() & of["plain"].keys())
        ]
        test = None if form == "plain" else paired_test(pairs, scale=100.0)
        if test is not None:
            interval = None if test.low is None or test.high is None else [round(test.low, 3), round(test.high, 3)]
            found[form]["against_plain"] = {"difference": round(test.mean, 3), "interval_95": interval, "p": test.two_sided}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist-sample,fashion-mnist-sample", help="data sets, separated by commas")
    parser.add_argument("--train-images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    settings = {"design": DESIGN, "train_images": asked.train_images, "epochs": asked.epochs}
    constants = {"weight_decay": DECAY, "label_smoothing": SMOOTHING}
    place = record.PLACE / f"{NAME}.json"
    before = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    runs: list[dict[str, Any]] = before.get("runs", []) if before.get("settings") == settings | constants else []
    there = {(r["dataset"], r["form"], r["seed"]) for r in runs}
    wanted = [(d, f, s) for d in asked.dataset.split(",") for s in range(asked.seeds) for f in FORMS if (d, f, s) not in there]
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        begun = [pool.submit(train, *one, asked.epochs, asked.train_images) for one in wanted]
        for done in as_completed(begun):
            runs.append(done.result())
            print(runs[-1], flush=True)
            runs.sort(key=lambda r: (r["dataset"], r["seed"], FORMS.index(r["form"])))
            by_set = {d: {m: summary(runs, d, m) for m in ("test_acc", "acc")} for d in sorted({r["dataset"] for r in runs})}
            found = {"settings": settings | constants, "by_dataset": by_set, "runs": runs}
            record.write(NAME, "benchmarks.regularizers", torch.device("cpu"), found)
    print(place)


if __name__ == "__main__":
    main()
