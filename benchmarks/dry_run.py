"""What `explore --dry-run` estimates, and what the same exploration then takes: seconds by the clock, both as commands.

Each study is explored in a folder of its own, so that nothing is measured or trained before. The record is reports/benchmarks/dry-run.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import record

ADABATCH = """
dataset = "mnist-sample"
epochs = 2
trials = 4
first = []
sampler = "exhaustive"
[space]
lr_policy = ["one-cycle", "warm-restarts"]
batch_schedule = ["adabatch(head_batch=8,tail_batch=32)"]
weight_sharing = [true]
decoder = ["full", "small"]
shift = [0]
"""
SHARED = """
dataset = "mnist-sample"
epochs = 3
trials = 6
first = []
sampler = "exhaustive"
[space]
lr_policy = ["fixed"]
batch_schedule = [
    "adabatch(head_batch=16,head_epochs=20,tail_batch=32)",
    "adabatch(head_batch=16,head_epochs=20,tail_batch=64)",
    "adabatch(head_batch=16,head_epochs=20,tail_batch=128)",
]
weight_sharing = [false, true]
decoder = ["small"]
shift = [0]
"""
STUDIES = {"quick": None, "adabatch": ADABATCH, "shared": SHARED}


def timed(folder: Path, *arguments: str) -> tuple[float, str]:
    """(seconds, stdout) of an exploration as a command in this folder. Raises CalledProcessError."""
    command = [sys.executable, "-m", "fastrcaps_dse", "explore", *arguments]
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}  # this checkout, wherever the package is installed
    begun = time.perf_counter()
    said = subprocess.run(command, cwd=folder, env=here, capture_output=True, text=True, check=True).stdout
    return time.perf_counter() - begun, said


def compare(name: str, text: str | None) -> dict[str, Any]:
    """The estimate of a study, the seconds that it took to make, and those of the exploration."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if text is not None:
            (folder / f"{name}.toml").write_text(text, encoding="utf-8")
        study = name if text is None else f"{name}.toml"
        took, said = timed(folder, study, "--dry-run", "--json")
        plan = json.loads(said)
        real, found = timed(folder, study, "--json")
    return {
        "estimate_seconds": round(plan["seconds"], 1),
        "low": round(plan["low"], 1),
        "high": round(plan["high"], 1),
        "real_seconds": round(real, 1),
        "ratio": round(plan["seconds"] / real, 2),
        "estimated_in_seconds": round(took, 1),
        "workers": plan["workers"],
        "designs": plan["designs"],
        "on_the_front": len(json.loads(found)["designs"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=[*STUDIES])
    asked = parser.parse_args()
    path = record.PLACE / "dry-run.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found: dict[str, Any] = {name: earlier[name] for name in STUDIES if name in earlier and name not in asked.studies}
    for name in asked.studies:
        found[name] = compare(name, STUDIES[name])
        print(name, found[name], flush=True)
    print(record.write("dry-run", "benchmarks.dry_run", torch.device("cpu"), found))


if __name__ == "__main__":
    main()
