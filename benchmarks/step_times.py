"""The seconds of a step of each network variant and batch size of the tables of runs, measured alone.

The record, reports/benchmarks/step-times.json, is what the replay of searches counts training seconds with.
"""

from __future__ import annotations

import torch

from benchmarks import record
from benchmarks.tables import TABLES
from fastrcaps_dse import data, trainer
from fastrcaps_dse.problem.schedules import build_timeline


def main() -> None:
    device = torch.device("cpu")
    precision = trainer.choose_precision(device)
    found: dict[str, dict[str, float | int]] = {}
    for plan in TABLES.values():
        dataset = data.load(plan.dataset)
        for point in plan.designs():
            for phase in build_timeline(point.batch_schedule, epochs=plan.epochs, images=len(dataset.train)).phases:
                key = str(trainer.step_key(point, dataset.shape, phase.batch_size, precision))
                if key not in found:
                    timing = trainer.measure_step(point, dataset, phase.batch_size, device, precision)
                    found[key] = {"seconds": float(f"{timing.seconds:.5g}"), "spread": round(timing.spread, 4), "n": timing.n}
                    print(key, found[key], flush=True)
    print(record.write("step-times", "benchmarks.step_times", device, {"steps": found}))


if __name__ == "__main__":
    main()
