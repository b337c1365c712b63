"""The seconds of a step of each network variant and batch size of a table of runs, measured alone.

The record, reports/benchmarks/step-times.json or step-times-wide.json, is what the replay of searches counts training seconds with.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks import record
from benchmarks.tables import TABLES
from fastrcaps_dse import data, trainer
from fastrcaps_dse.problem.schedules import build_timeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", choices=[*TABLES], default="grid")
    plan = TABLES[parser.parse_args().table]
    device = torch.device("cpu")
    precision = trainer.choose_precision(device)
    dataset = data.load(plan.dataset)
    found: dict[str, dict[str, float | int]] = {}
    for point in plan.designs():
        for phase in build_timeline(point.batch_schedule, epochs=plan.epochs, images=len(dataset.train)).phases:
            key = str(trainer.step_key(point, dataset.shape, phase.batch_size, precision))
            if key not in found:
                timing = trainer.measure_step(point, dataset, phase.batch_size, device, precision)
                found[key] = {"seconds": float(f"{timing.seconds:.5g}"), "spread": round(timing.spread, 4), "n": timing.n}
                print(key, found[key], flush=True)
    print(record.write(plan.steps, "benchmarks.step_times", device, {"steps": found}))


if __name__ == "__main__":
    main()
