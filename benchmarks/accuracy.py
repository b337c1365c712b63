"""Does speed cost accuracy? The plain yardstick and the trainer's precisions over several seeds, on the same images.

The record, reports/benchmarks/accuracy.json, has each accuracy, means and standard deviations, and for each precision the
mean difference from plain with its 95 % confidence interval (paired by seed, Student's t).
"""

from __future__ import annotations

import argparse
import math
import statistics
from typing import Any

import torch
from scipy import stats

from benchmarks import record
from benchmarks.plain_run import PlainRun
from fastrcaps_dse import data
from fastrcaps_dse.capsnet.network import Precision
from fastrcaps_dse.data import DataSet
from fastrcaps_dse.problem.space import parse_design
from fastrcaps_dse.trainer import Training

FORMS = ("plain", "float32", "bfloat16")


def accuracies(form: str, seed: int, design: str, dataset: DataSet, epochs: int) -> list[float]:
    """Test accuracy after each epoch, %."""
    kind = PlainRun if form == "plain" else Training
    precision: Precision = "bfloat16" if form == "bfloat16" else "float32"
    run = kind(
        parse_design(design), seed, dataset, epochs=epochs, protocol="paper", device=torch.device("cpu"), precision=precision
    )
    return [epoch.acc for epoch in run.epochs()]


def compared(plain: list[float], other: list[float]) -> dict[str, Any]:
    """The mean difference, its 95 % confidence interval and the p-value of no difference."""
    differences = [b - a for a, b in zip(plain, other, strict=True)]
    mean = statistics.mean(differences)
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * statistics.stdev(differences) / math.sqrt(len(differences))
    p = float(stats.ttest_rel(plain, other).pvalue)
    return {"mean_difference": round(mean, 3), "interval_95": [round(mean - half, 3), round(mean + half, 3)], "p": round(p, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="mnist-sample")
    parser.add_argument("--design", default="lr_policy=one-cycle batch_schedule=16")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    dataset = data.load(asked.dataset)
    curves: dict[str, list[list[float]]] = {form: [] for form in FORMS}
    for seed in range(asked.seeds):
        for form in FORMS:
            curves[form].append(accuracies(form, seed, asked.design, dataset, asked.epochs))
            print(f"seed {seed} {form}: {curves[form][-1]}", flush=True)
    final = {form: [curve[-1] for curve in curves[form]] for form in FORMS}
    found = {
        "dataset": asked.dataset,
        "design": asked.design,
        "epochs": asked.epochs,
        "test_accuracy_by_epoch": curves,
        "final": {
            form: {"mean": round(statistics.mean(v), 3), "standard_deviation": round(statistics.stdev(v), 3), "n": len(v)}
            for form, v in final.items()
        },
        "against_plain": {form: compared(final["plain"], final[form]) for form in FORMS[1:]},
    }
    print(record.write("accuracy", "benchmarks.accuracy", torch.device("cpu"), found))


if __name__ == "__main__":
    main()
