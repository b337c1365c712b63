"""Two checkouts of this project give the same seeded losses, fronts and picks: what a change that claims to keep behavior shows.

Each checkout's own command line trains every network variant and explores one small study with every sampler, with pruning, with
racing and with several seeds. Both start from copies of one database, which holds the seconds of every step: so that nothing that
a clock says differs between them. The record is reports/benchmarks/same-results.json.

    git worktree add ../before COMMIT
    python -m benchmarks.same_results --before ../before
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import record
from fastrcaps_dse.data import write_idx

HERE = Path(__file__).parent.parent
VARIANTS = {
    "full": "fixed",
    "small decoder": "decoder=small",
    "weight sharing": "weight_sharing=true",
    "weight sharing, small decoder": "ws",
    "warm restarts, AdaBatch": "lr_policy=warm-restarts(cycle=phase) batch_schedule=adabatch(head_batch=16,tail_batch=64)",
    "lenet5": "lenet5",
}
SAMPLERS = ("guided", "tpe", "nsga2", "gp", "random", "exhaustive")
STUDY = """
epochs = 4
trials = 12
dataset = "{data}"
[space]
lr_policy = ["fixed", "one-cycle", "warm-restarts"]
batch_schedule = [4, 8, 16, "adabatch(head_batch=4,tail_batch=16)"]
weight_sharing = [false, true]
decoder = ["full", "small"]
"""
OLD_NAMES = {"--pruning": "--stopping", "--max-seeds": "--settle"}
"""Options under the names that checkouts of before have."""
KEPT = ("margin_loss", "reconstruction_loss", "acc", "lr_first", "lr_last")


def write_images(folder: Path) -> Path:
    """A small data set that is not easy: a faint bar, whose row tells the class, in noise."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(11)
    for part, count in (("train", 180), ("t10k", 90)):
        labels = np.arange(count, dtype=np.uint8) % 5
        images = random.integers(0, 190, (count, 20, 20), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 + 3 * int(label) : 5 + 3 * int(label), 2:-2] += 60
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder


class Checkout:
    """The command line of one checkout, on a copy of a database."""

    def __init__(self, root: Path, folder: Path, storage: Path | None = None) -> None:
        self.root, self.folder = root, folder
        folder.mkdir(parents=True)
        if storage is not None:
            shutil.copy(storage, folder / "s.db")

    def run(self, *arguments: str) -> str:
        """What a command prints. Raises CalledProcessError, with what it said, where it fails."""
        if not (self.root / "fastrcaps_dse" / "problem").is_dir():
            arguments = tuple(OLD_NAMES.get(argument, argument) for argument in arguments)
        alike = {"OMP_NUM_THREADS": "1", "FASTRCAPS_ALGORITHMS": "default"}  # what else each would choose for itself
        environment = os.environ | alike | {"PYTHONPATH": str(self.root), "FASTRCAPS_STORAGE": "s.db"}
        command = [sys.executable, "-m", "fastrcaps_dse", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        return done.stdout

    def losses(self, design: str) -> list[list[float]]:
        """Losses, accuracies and learning rates of each epoch of a run on Fashion-MNIST's sample."""
        shown = json.loads(
            self.run(
                "train", "--design", design, "--dataset", "fashion-mnist-sample", "--epochs", "2", "--device", "cpu", "--json"
            )
        )
        return [[epoch[name] for name in KEPT] for run in shown["runs"] for epoch in run["epochs"]]

    def explored(self, study_file: Path, name: str, *options: str) -> dict[str, Any]:
        """The designs of an exploration in their order, each with the epochs of its runs; its front and its picks."""
        self.run("explore", str(study_file), "--study", name, "--fresh", "--device", "cpu", "--workers", "1", *options)
        front = json.loads(self.run("front", "--study", name, "--json"))["designs"]
        designs = []
        for trial in range(json.loads(self.run("studies", "--json"))[0]["designs"]):
            shown = json.loads(self.run("show", str(trial), "--study", name, "--json"))
            epochs = [[[epoch[k] for k in KEPT] for epoch in run["epochs"]] for run in shown["runs"]]
            designs.append({"label": shown["label"], "values": shown["values"], "seeds": shown["seeds"], "epochs": epochs})
        picks = [
            json.loads(self.run("pick", "--study", name, "--json", *limit))
            for limit in ((), ("--max-params", "6.35M"), ("--prefer", "knee"), ("--min-acc", "99.99", "--max-params", "6.35M"))
        ]
        return {
            "designs": designs,
            "front": [(design["trial"], design["values"], design["on_front"]) for design in front],
            "picks": [
                [p["pick"] and p["pick"]["trial"], p["why"], p["nearest_miss"] and p["nearest_miss"]["trial"]] for p in picks
            ],
        }


def measured(root: Path, folder: Path, data: Path, storage: Path) -> dict[str, Any]:
    """Everything that is compared, of one checkout."""
    checkout = Checkout(root, folder, storage)
    study_file = folder / "small.toml"
    study_file.write_text(STUDY.format(data=data), encoding="utf-8")
    found: dict[str, Any] = {"losses": {name: checkout.losses(design) for name, design in VARIANTS.items()}}
    cases: dict[str, tuple[str, ...]] = {f"sampler {sampler}": ("--sampler", sampler) for sampler in SAMPLERS}
    cases["guided, pruning on"] = ("--sampler", "guided", "--pruning", "on", "--trials", "30")
    cases["tpe, pruning safe"] = ("--sampler", "tpe", "--pruning", "safe", "--trials", "30")
    cases["guided, 3 seeds"] = ("--sampler", "guided", "--seeds", "3", "--trials", "6")
    cases["nsga2, racing"] = ("--sampler", "nsga2", "--max-seeds", "4", "--trials", "8")
    cases["guided, a limit"] = ("--sampler", "guided", "--max-params", "6.35M", "--trials", "8")
    for name, options in cases.items():
        found[name] = checkout.explored(study_file, name, *options)
        print(f"{root.name}: {name}: {len(found[name]['designs'])} designs", flush=True)
    return found


def brief(results: dict[str, Any]) -> dict[str, Any]:
    """The results for the record: the epochs of an exploration as a digest."""

    def digest(designs: object) -> str:
        return hashlib.sha256(json.dumps(designs).encode()).hexdigest()

    explored = {
        case: found | {"designs": len(found["designs"]), "digest_of_all_epochs": digest(found["designs"])}
        for case, found in results.items()
        if case != "losses"
    }
    return {"losses": results["losses"]} | explored


def commit_of(root: Path) -> str:
    """The commit of a checkout."""
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
    return said.stdout.strip()


def kept_results(root: Path, folder: Path, name: str, data: Path, storage: Path) -> dict[str, Any]:
    """(commit, results) of a checkout, from the folder if it has those of this commit."""
    kept, commit = folder / f"{name}.json", commit_of(root)
    if kept.exists():
        earlier: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        if earlier["commit"] == commit:
            return earlier
    shutil.rmtree(folder / name, ignore_errors=True)
    found = json.loads(json.dumps({"commit": commit, "results": measured(root, folder / name, data, storage)}))
    kept.write_text(json.dumps(found), encoding="utf-8")
    return dict(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="a checkout to compare with")
    parser.add_argument("--folder", type=Path, help="keep what the checkouts did here, and take up what one has done already")
    asked = parser.parse_args()
    roots = {"before": asked.before.resolve(), "after": HERE}
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="fastrcaps-same-"))
    data = folder / "images"
    if not data.exists():
        write_images(data)
    seed = folder / "seed" / "s.db"
    if not seed.exists():
        checkout = Checkout(asked.before.resolve(), folder / "seed")
        (folder / "seed" / "small.toml").write_text(STUDY.format(data=data), encoding="utf-8")
        checkout.run(
            "explore", "small.toml", "--study", "steps", "--until-exhausted", "--sampler", "exhaustive", "--device", "cpu"
        )
        for design in VARIANTS.values():
            checkout.run("train", "--design", design, "--dataset", "fashion-mnist-sample", "--epochs", "1", "--device", "cpu")
    found = {name: kept_results(root, folder, name, data, seed) for name, root in roots.items()}
    equal = {case: found["before"]["results"][case] == found["after"]["results"][case] for case in found["after"]["results"]}
    facts = {name: found[name]["commit"] for name in roots} | {"equal": equal, "results": brief(found["after"]["results"])}
    for case, same in equal.items():
        print(f"{'equal    ' if same else 'DIFFERENT'} {case}")
    print(record.write("same-results", "benchmarks.same_results", torch.device("cpu"), facts))
    sys.exit(not all(equal.values()))


if __name__ == "__main__":
    main()
