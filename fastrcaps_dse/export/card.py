"""What is known of an exported network, as data: card.json, and the metadata of its files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastrcaps_dse import __version__
from fastrcaps_dse.export.folder import FORMAT
from fastrcaps_dse.export.plain import LARGEST_PIXEL
from fastrcaps_dse.export.source import Options, Source
from fastrcaps_dse.problem.space import design_to_dict


def scaling(options: Options) -> dict[str, Any]:
    """How the pixels of a picture become the numbers that the network sees."""
    inside = options.pixels == "uint8"
    return {"divide_by": LARGEST_PIXEL, "range": [0.0, 1.0], "inside_the_file": inside, "input": options.pixels}


def weights_metadata(source: Source, options: Options) -> dict[str, Any]:
    """What model.safetensors says of itself; the programs have it, too."""
    return {
        "format": FORMAT,
        "design": source.trial.design.key,
        "shape": asdict(source.shape),
        "classes": list(source.classes),
        "scaling": scaling(options),
        "software": source.run.software or "",
        "study": source.study.name,
        "trial": str(source.trial.trial),
        "seed": str(source.run.seed),
        "epoch": str(source.measured.selected_epoch),
        "exported_with": f"fastrcaps-dse {__version__}",
    }


def facts(source: Source, options: Options, files: Mapping[str, Mapping[str, Any]], test_accuracy: float) -> dict[str, Any]:
    """All that is known of an exported network. `files` are its model files; `test_accuracy` (%) is that of the trained network."""
    study, trial, run = source.study, source.trial, source.run
    return {
        "format": FORMAT,
        "exported_with": f"fastrcaps-dse {__version__}",
        "network": trial.design.network,
        "label": trial.label,
        "design": design_to_dict(trial.design),
        "design_key": trial.design.key,
        "classes": list(source.classes),
        "shape": asdict(source.shape),
        "scaling": scaling(options),
        "pixel_scaling": study.pixel_scaling,
        "study": study.name,
        "trial": trial.trial,
        "seed": run.seed,
        "epoch": source.measured.selected_epoch,
        "epochs": study.identity["epochs"],
        "stop_after": trial.stop_after,
        "protocol": study.identity["protocol"],
        "scale_decay": study.identity.get("scale_decay", False),
        "time_counted_by": study.identity.get("time", "clock"),
        "dataset": {
            "name": _dataset_name(study.identity["dataset"]),
            "fingerprint": study.dataset_fingerprint,
            "train_images": study.train_images,
            "first_images": study.identity.get("train_images"),
            "test_images": len(source.test),
        },
        "trained_on": {"device": run.device, "precision": run.precision, "software": run.software},
        "accuracy": _accuracy(source, test_accuracy),
        "values": {} if trial.measurement is None else dict(trial.measurement.values),
        "time_estimated": trial.time_estimated,
        "front": _front_facts(source),
        "tolerance": options.tolerance,
        "license": options.license,
        "files": {name: dict(of_file) for name, of_file in files.items()},
    }


def _accuracy(source: Source, test_accuracy: float) -> dict[str, Any]:
    """What is known of the accuracy, in percent: on the test images, and on those that selected the epoch."""
    test_mean, test_error = source.test_mean
    return {
        "test": test_accuracy,
        "test_when_trained": source.measured.test_acc,
        "test_robust": source.measured.test_robust,
        "test_of_seeds": {str(seed): measured.test_acc for seed, measured in source.runs},
        "test_mean": test_mean,
        "test_error": test_error,
        "selecting_mean": None if source.trial.measurement is None else source.trial.measurement["acc"],
        "selecting_error": source.errors.get("acc"),
        "seeds": len(source.runs),
    }


def _front_facts(source: Source) -> dict[str, Any]:
    """The front that the design was picked from."""
    return {
        "objectives": [{"name": o.name, "unit": o.unit, "direction": o.direction} for o in source.front.objectives],
        "designs": [
            {"trial": p.trial, "label": p.label, "stop_after": p.stop_after, "values": p.values, "time_estimated": p.estimated}
            for p in source.front.points
            if p.on_front
        ],
        "measured": len(source.front.points),
    }


def _dataset_name(dataset: str) -> str:
    """The name of a data set: of a folder its last part, so that no path of a machine is told."""
    return re.split(r"[/\\]", dataset.rstrip("/\\"))[-1]
