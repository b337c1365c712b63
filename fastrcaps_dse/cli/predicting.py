"""What a trained network says of pictures: `predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastrcaps_dse.cli.app import app, hint, open_store, print_csv, print_json, say, write_bytes, write_text
from fastrcaps_dse.cli.formats import OutputOptions, print_text_table
from fastrcaps_dse.cli.options import LimitOptions, StorageOption, StudyOption, grouped
from fastrcaps_dse.errors import InputError

if TYPE_CHECKING:
    from fastrcaps_dse.export.picked import PickedNetwork
    from fastrcaps_dse.session.predicting import Predicted

MOST_PRINTED = 12  # classes of a confusion matrix on a terminal


@app.command()
@grouped
def predict(
    limits: LimitOptions,
    how: OutputOptions,
    what: Annotated[
        list[str],
        typer.Argument(help="Pictures, or folders of them. The number of a trial may come first.", metavar="PICTURE"),
    ],
    study: StudyOption = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="The folder of an export, instead of a study.", metavar="FOLDER")
    ] = None,
    runtime: Annotated[
        str,
        typer.Option(
            "--runtime", help="What runs it: torch; or pt2 or onnx, the file of that kind in the export.", metavar="NAME"
        ),
    ] = "torch",
    explain: Annotated[
        Path | None,
        typer.Option(
            "--explain",
            help="Write what the network sees (reconstructions, dimensions) into an .html or .png file.",
            metavar="FILE",
        ),
    ] = None,
    confusion: Annotated[
        Path | None,
        typer.Option(
            "--confusion", help="Write the confusion matrix of class folders as a .csv and a .png file.", metavar="FILE"
        ),
    ] = None,
    storage: StorageOption = None,
) -> None:
    """Classify pictures with a trained design, or with an export."""
    from fastrcaps_dse.session.predicting import open_runtime
    from fastrcaps_dse.session.predicting import predict as predict_pictures

    form = how.form
    _check_endings(explain, confusion)
    number, paths = _trial_and_paths(what)
    picked = _network(storage, study, model, number, limits)
    if model is None and runtime != "torch":
        raise InputError(f"--runtime {runtime} runs the file of an export", "name its folder with --model")
    found = predict_pictures(picked, paths, None if model is None else open_runtime(model, runtime))
    _say_of_pictures(found, picked)
    if explain is not None:
        _explain(explain, picked, found)
    if confusion is not None:
        _write_confusion(confusion, found)
    if form == "json":
        print_json(_record(found))
    elif form == "csv":
        _print_csv(found)
    else:
        _print_table(found, how)


def _check_endings(explain: Path | None, confusion: Path | None) -> None:
    if explain is not None and explain.suffix.lower() not in (".html", ".png"):
        raise InputError(f"--explain writes HTML or PNG, not {explain.name}", "name a file that ends in .html or .png")
    if confusion is not None and confusion.suffix.lower() not in (".csv", ".png"):
        raise InputError(f"--confusion writes CSV and PNG, not {confusion.name}", "name a file that ends in .csv or .png")


def _trial_and_paths(what: Sequence[str]) -> tuple[int | None, list[Path]]:
    """The trial, if the first word is a number and not the name of a file; and the pictures."""
    if what[0].isdecimal() and not Path(what[0]).exists():
        if len(what) == 1:
            raise InputError("there is no picture to classify", f"name pictures or folders after the trial {what[0]}")
        return int(what[0]), [Path(word) for word in what[1:]]
    return None, [Path(word) for word in what]


def _network(
    storage: str | None, study: str | None, model: Path | None, number: int | None, limits: LimitOptions
) -> PickedNetwork:
    """The network that is asked for. Raises UserErrors."""
    from fastrcaps_dse.analysis.results import find_trial
    from fastrcaps_dse.session import load_exported
    from fastrcaps_dse.session.exporting import load_trained, pick_trial

    bounds = limits.limits()
    if model is not None:
        if study is not None or number is not None or bounds or storage is not None:
            raise InputError("--model names an export; a study, trial or limits choose another network", "give one of them")
        return load_exported(model)
    if number is not None and bounds:
        raise InputError("a trial and limits both choose a design", "give one of them")
    ours = open_store(storage)
    row = ours.study(study)
    trial = pick_trial(ours, row, bounds) if number is None else find_trial(ours.trials(row), number, row.name)
    hint(f"trial {trial.trial} of {row.name}: {trial.label}")
    return load_trained(ours, row, trial)


def _say_of_pictures(found: Predicted, picked: PickedNetwork) -> None:
    """What was done to the pictures."""
    pictures = found.pictures
    resized = [picture for picture in pictures.pictures if picture.resized]
    if resized:
        width, height = resized[0].size
        which = f"{resized[0].path} of {width}x{height} pixels"
        others = f" and {len(resized) - 1} more" if len(resized) > 1 else ""
        hint(f"resized to {picked.shape.width}x{picked.shape.height} pixels (bilinear, proportions not kept): {which}{others}")
    if pictures.left_out:
        from fastrcaps_dse.problem.quantities import counted

        hint(f"{counted(pictures.left_out, 'file')} of the folders left out: not named like pictures")


def _explain(path: Path, picked: PickedNetwork, found: Predicted) -> None:
    from fastrcaps_dse.export.explaining import explain, explanations_html, explanations_png

    names = [str(picture.path) for picture in found.pictures.pictures]
    made = explain(picked, found.pictures.pixels, names)
    write_bytes(path, explanations_html(made) if path.suffix.lower() == ".html" else explanations_png(made))
    hint(f"explanation: {path}")


def _write_confusion(path: Path, found: Predicted) -> None:
    from fastrcaps_dse.export.confusion import confusion_csv
    from fastrcaps_dse.export.images import confusion_image, png

    if found.confusion is None:
        raise InputError("no folder tells the classes of the pictures", "name a folder with a folder for each class")
    write_text(path.with_suffix(".csv"), confusion_csv(found.confusion, found.classes))
    write_bytes(path.with_suffix(".png"), png(confusion_image(found.confusion, found.classes)))
    hint(f"confusion matrix: {path.with_suffix('.csv')} and {path.with_suffix('.png')}")


def _rows(found: Predicted) -> list[dict[str, Any]]:
    """A row for each picture."""
    rows = []
    for picture, said in zip(found.pictures.pictures, found.predictions, strict=True):
        row: dict[str, Any] = {"picture": str(picture.path), "class": said.name, "score": said.score}
        row |= {"second": said.second, "second_score": said.second_score}
        rows.append(row | ({} if picture.label is None else {"true_class": found.classes[picture.label]}))
    return rows


def _record(found: Predicted) -> dict[str, Any]:
    """What was found as JSON."""
    rows = [
        row | {"scores": list(said.scores), "resized_from": list(picture.size) if picture.resized else None}
        for row, said, picture in zip(_rows(found), found.predictions, found.pictures.pictures, strict=True)
    ]
    confusion = None if found.confusion is None else found.confusion.tolist()
    return {"classes": list(found.classes), "predictions": rows, "accuracy": found.accuracy, "confusion": confusion}


def _print_csv(found: Predicted) -> None:
    from fastrcaps_dse.analysis.results import frame_of

    print_csv(frame_of(_rows(found)))


def _print_table(found: Predicted, how: OutputOptions) -> None:
    """A line for each picture; with class folders the accuracy and the confusion matrix instead."""
    from fastrcaps_dse.cli import console

    rows = _rows(found)
    if found.confusion is None or found.accuracy is None:
        cells = [
            [row["picture"], row["class"], f"{row['score']:.3f}", row["second"], f"{row['second_score']:.3f}"] for row in rows
        ]
        heads = ["picture", "class", "score", "second choice", "its score"]
        print_text_table(how, console.table(heads, cells, right=["score", "its score"]))
        return
    right = sum(row["class"] == row["true_class"] for row in rows)
    if how.for_reading:
        say(f"accuracy: {found.accuracy:.2f} % ({right:,} of {len(rows):,} pictures)")
    if len(found.classes) > MOST_PRINTED:
        hint("the confusion matrix is too large to print: write it with --confusion FILE.csv")
        return
    counts = [[name, *map(str, row)] for name, row in zip(found.classes, found.confusion.tolist(), strict=True)]
    if how.for_reading:
        say("rows: true class; columns: predicted class")
    print_text_table(how, console.table(["", *found.classes], counts, right=found.classes))
