"""The seconds of a step of each network variant and batch size of tables of runs, measured alone.

The records, step-times.json of CapsNets and step-times-lenet5.json in reports/benchmarks/, are what the replay of searches counts
training seconds with. `--tables` names the tables, which are of one record.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks import record
from benchmarks.tables import TABLES
from fastrcaps_dse import data, trainer
from fastrcaps_dse.problem.timelines import build_timeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default="grid,wide", help="whose steps are measured")
    plans = [TABLES[name] for name in parser.parse_args().tables.split(",")]
    device = torch.device("cpu")
    precision = trainer.choose_precision(device)
    found: dict[str, dict[str, float | int]] = {}
    for plan in plans:
        dataset = data.load(plan.dataset)
        for point in plan.designs():
            for phase in build_timeline(point.batch_schedule, epochs=plan.epochs, images=len(dataset.train)).phases:
                key = str(trainer.step_key(point, dataset.shape, phase.batch_size, precision))
                if key not in found:
                    timing = trainer.measure_step(point, dataset, phase.batch_size, device, precision)
                    found[key] = {"seconds": float(f"{timing.seconds:.5g}"), "spread": round(timing.spread, 4), "n": timing.n}
                    print(key, found[key], flush=True)
    print(record.write(plans[0].steps, "benchmarks.step_times", device, {"steps": found}))


if __name__ == "__main__":
    main()
