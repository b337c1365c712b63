"""The model card of an export: README.md, from the facts of its card.

Its head is the metadata that the Hugging Face hub reads, with the results as its `model-index`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from fastrcaps_dse.analysis.picks import counted_designs
from fastrcaps_dse.export.files import CLASSES, INPUT, OPSET, SCORES
from fastrcaps_dse.export.source import UNKNOWN_LICENSE
from fastrcaps_dse.problem.quantities import counted, format_value

FRONT = "front.png"
HUB_DATASETS = {
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
    "svhn": "ufldl-stanford/svhn",
}
"""What the hub calls the data sets that it has."""

CITATION = """@inproceedings{marchisio2020fastrcaps,
  title     = {{FasTrCaps}: An Integrated Framework for Fast yet Accurate Training of Capsule Networks},
  author    = {Marchisio, Alberto and Bussolino, Beatrice and Colucci, Alessio and Hanif, Muhammad Abdullah
               and Martina, Maurizio and Masera, Guido and Shafique, Muhammad},
  booktitle = {International Joint Conference on Neural Networks (IJCNN)},
  year      = {2020},
  note      = {arXiv:1905.10142}
}"""


# --- the head of the card ---------------------------------------------------------------------------------------------


def hub_metadata(card: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of the model card, as the Hugging Face hub reads it."""
    name = card["dataset"]["name"]
    metrics = [{"type": "accuracy", "value": card["accuracy"]["test"] / 100, "name": "test accuracy, a fraction"}]
    result = {
        "task": {"type": "image-classification", "name": "image classification"},
        "dataset": {"name": name, "type": HUB_DATASETS.get(name, re.sub(r"[^\w.-]+", "-", name)), "split": "test"},
        "metrics": metrics,
    }
    head: dict[str, Any] = {"license": card["license"], "library_name": "fastrcaps-dse", "pipeline_tag": "image-classification"}
    head["tags"] = [card["network"], "image-classification", "dynamic-routing", "fastrcaps-dse"]
    if card["network"] != "capsnet":
        head["tags"].remove("dynamic-routing")
    if name in HUB_DATASETS:
        head["datasets"] = [HUB_DATASETS[name]]
    head["metrics"] = ["accuracy"]
    head["model-index"] = [{"name": _title(card), "results": [result]}]
    return head


def _title(card: Mapping[str, Any]) -> str:
    return f"{'CapsNet' if card['network'] == 'capsnet' else 'LeNet5'} for {card['dataset']['name']}"


def to_yaml(value: Any, indent: int = 0) -> list[str]:
    """Mappings, lists, texts, numbers as lines of YAML. Texts are quoted, so that none is read as something else."""
    pad = " " * indent
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, item in value.items():
            nested = isinstance(item, (Mapping, list)) and item
            lines += [f"{pad}{key}:", *to_yaml(item, indent + 2)] if nested else [f"{pad}{key}: {_scalar(item)}"]
    else:
        for item in value:
            below = to_yaml(item, indent + 2) if isinstance(item, Mapping) else [f"{pad}  {_scalar(item)}"]
            lines += [f"{pad}- {below[0].strip()}", *below[1:]]
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, float) and "e" in repr(value):
        return f"{value:.10f}"  # YAML 1.1 takes 1e-05 for a text
    return json.dumps(value, ensure_ascii=False)


# --- the text ---------------------------------------------------------------------------------------------------------


def readme(card: Mapping[str, Any]) -> str:
    """The model card."""
    sections = (_summary, _design, _data, _results, _front, _files, _limits, _license, _citation)
    head = "\n".join(["---", *to_yaml(hub_metadata(card)), "---"])
    return head + "\n\n" + "\n\n".join(section(card) for section in sections) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])


def _percent(value: float | None, error: float | None = None) -> str:
    return "not measured" if value is None else f"{value:.2f} %" + ("" if error is None else f" ± {error:.2f}")


def _summary(card: Mapping[str, Any]) -> str:
    what = "Capsule Network with dynamic routing" if card["network"] == "capsnet" else "LeNet5"
    shape, measured = card["shape"], counted_designs(card["front"]["measured"], card["stop_after"] is not None)
    kind = {1: "gray", 3: "RGB"}.get(shape["channels"], f"{shape['channels']}-channel")
    return (
        f"# {_title(card)}\n\nA {what} that classifies {kind} images of {shape['height']}x{shape['width']} pixels into "
        f"{shape['classes']} classes: {', '.join(card['classes'])}.\n\nIt reaches {_percent(card['accuracy']['test'])} on the "
        f"{card['dataset']['test_images']:,} test images of {card['dataset']['name']}. It is trial {card['trial']} of the study "
        f"`{card['study']}`, in which fastrcaps-dse measured {measured}, and was exported with {card['exported_with']}."
    )


def _design(card: Mapping[str, Any]) -> str:
    rows = [["choice", "value"], *([name, f"`{value}`"] for name, value in card["design"].items())]
    return (
        f"## Design\n\n{_table(rows)}\n\nTo train it again:\n\n```sh\nfastrcaps-dse train --design "
        f"'{card['design_key']}' --dataset {shlex.quote(card['dataset']['name'])} --protocol {card['protocol']} "
        f"--epochs {card['epochs']} --seed {card['seed']}{_subset(card)}\n```"
    )


def _subset(card: Mapping[str, Any]) -> str:
    """The options of a training on some of the images, and with their decay steps."""
    few = card["dataset"].get("first_images")
    return ("" if few is None else f" --train-images {few}") + (" --scale-decay" if card.get("scale_decay") else "")


PROTOCOLS = {
    "validation": "The epoch was selected on training images that were held out; "
    "the test images guided no decision and were measured once.",
    "both": "The epoch was selected on training images that were held out; "
    "the test images were evaluated after each epoch and guided no decision.",
    "paper": "The epoch was selected on the test images (the paper's protocol), so the test accuracy is optimistic.",
    "all-images": "All training images trained the network, none was held out. The last epoch counts; no accuracy selected it.",
}
"""What selected the weights, by protocol."""


def _data(card: Mapping[str, Any]) -> str:
    data, trained = card["dataset"], card["trained_on"]
    how = PROTOCOLS[card["protocol"]]
    lines = [
        f"Data set: {data['name']}, {data['train_images']:,} training and {data['test_images']:,} test images "
        f"(fingerprint `{data['fingerprint']}`).",
        f"Protocol: `{card['protocol']}`. {how}",
        f"Trained for {counted(card['epochs'], 'epoch')} with seed {card['seed']}; the weights are those of epoch {card['epoch']}.",
        f"On {trained['device']}, convolutions in {trained['precision']}; {trained['software']}.",
    ]
    return "## Data and protocol\n\n" + "\n".join(f"- {line}" for line in lines)


def _results(card: Mapping[str, Any]) -> str:
    acc, values, estimated = card["accuracy"], card["values"], card["time_estimated"]
    copies = acc.get("test_robust")
    clock = "steps times the seconds of a step, measured alone" if card["time_counted_by"] == "steps" else "by the clock"
    clock += ", estimated" if estimated else ""
    rows = [
        ["measure", "value"],
        ["test accuracy of these weights", _percent(acc["test"])],
        ["the same, when they were trained", _percent(acc["test_when_trained"])],
        [f"test accuracy, mean over seeds ({acc['seeds']}) and standard error", _percent(acc["test_mean"], acc["test_error"])],
        *([["accuracy of these weights on affine copies of the test images", _percent(copies)]] if copies is not None else []),
        ["accuracy on the selecting images, mean and standard error", _percent(acc["selecting_mean"], acc["selecting_error"])],
        [f"training time to the highest accuracy ({clock})", format_value("time", values["time"], estimated=estimated)],
        ["trainable parameters", f"{int(values['params']):,}"],
        *(
            [name, format_value(name, values[name], estimated=estimated)]
            for name in values
            if name not in ("acc", "time", "params")
        ),
    ]
    note = "" if acc["seeds"] > 1 else "\n\nOne seed was trained, so no standard error is known of this design alone."
    return f"## Results\n\n{_table(rows)}{note}"


def _front(card: Mapping[str, Any]) -> str:
    names = ", ".join(o["name"] for o in card["front"]["objectives"])
    rows = [["trial", "design", "acc", "time", "params"]]
    for design in card["front"]["designs"]:
        is_this = (design["trial"], design["stop_after"]) == (card["trial"], card["stop_after"])
        mark = " (this one)" if is_this else ""
        mean, estimated = design["values"], design["time_estimated"]
        cells = [format_value(name, mean[name], estimated=estimated) for name in ("acc", "time", "params")]
        rows.append([f"{design['trial']}{mark}", f"`{design['label']}`", *cells])
    return (
        f"## The front that it was picked from\n\nThe Pareto front of the study in {names}: designs that no other dominates. The ring "
        f"marks this design.\n\n![The Pareto front]({FRONT})\n\n{_table(rows)}"
    )


def _files(card: Mapping[str, Any]) -> str:
    rows = [["file", "numbers", "test accuracy", "largest difference of a score", "bytes"]]
    for name, of_file in card["files"].items():
        difference = f"{of_file['largest_difference']:.1e}" + (f" (bound {of_file['bound']:.0e})" if of_file["bound"] else "")
        rows.append([f"`{name}`", of_file["numbers"], _percent(of_file["accuracy"]), difference, f"{of_file['bytes']:,}"])
    shape = card["shape"]
    size = f"[B, {shape['channels']}, {shape['height']}, {shape['width']}]"
    inside = card["scaling"]["inside_the_file"]
    takes = f"`{INPUT}`, uint8 {size} with pixels 0 to 255" if inside else f"`{INPUT}`, float32 {size}: pixels divided by 255"
    make = "torch.zeros" if inside else "torch.rand"
    kind = ", dtype=torch.uint8" if inside else ""
    example = f"{make}(5, {shape['channels']}, {shape['height']}, {shape['width']}{kind})"
    parts = [
        "## Files, and how to load them",
        f"Programs take {takes}, for any number B of images. They give `{SCORES}`, float32 [B, {shape['classes']}], and `{CLASSES}`, the "
        "label of the highest score. Each file was loaded again and run on all test images; differences are from the scores of the "
        "trained network.",
        _table(rows),
        f'With torch alone:\n\n```python\nimport torch\n\nmodel = torch.export.load("model.pt2").module()\nscores, classes = '
        f"model({example})\n```",
    ]
    if "model.onnx" in card["files"]:
        listed = ", ".join(card["files"]["model.onnx"]["operators"])
        parts.append(
            f"With ONNX Runtime (opset {OPSET}; operators {listed}):\n\n```python\nimport numpy as np\nimport onnxruntime\n\nsession = "
            f'onnxruntime.InferenceSession("model.onnx")\nimages = np.zeros((5, {shape["channels"]}, {shape["height"]}, {shape["width"]}), '
            f'np.{"uint8" if inside else "float32"})\nscores, classes = session.run(None, {{"{INPUT}": images}})\n```'
        )
    parts.append(
        "With fastrcaps-dse, which has the decoder, too, and takes pictures:\n\n```python\nimport fastrcaps_dse as fd\n\nnetwork = "
        'fd.load_exported(".")\nprint(network.predict([picture]))  # PIL images or arrays\n```'
    )
    return "\n\n".join(parts)


def _limits(card: Mapping[str, Any]) -> str:
    lines = [
        f"- It gives one of its {card['shape']['classes']} classes to every image, whatever it shows; a low highest score is a hint only.",
        "- Its accuracy is that of test images like the training images: centered and scaled alike, dark and bright alike.",
        "- Scores are no calibrated probabilities"
        + (": they are the lengths of capsules, and need not sum to 1." if card["network"] == "capsnet" else "."),
    ]
    if card["network"] == "capsnet":
        lines.append(
            "- `.pt2` and `.onnx` files classify only. The decoder, which reconstructs images, is in `model.safetensors`."
        )
    if card["dataset"]["name"].endswith("-sample"):
        lines.append("- It was trained on a small sample of the data set; networks trained on all of it do better.")
    return "## Limits\n\n" + "\n".join(lines)


def _license(card: Mapping[str, Any]) -> str:
    if card["license"] == UNKNOWN_LICENSE:
        return "## License\n\nNone is stated for these weights. Images that they were trained on have licenses of their own."
    return f"## License\n\n`{card['license']}`. Images that the weights were trained on have licenses of their own."


def _citation(_: Mapping[str, Any]) -> str:
    return f"## Citation\n\n```bibtex\n{CITATION}\n```"
