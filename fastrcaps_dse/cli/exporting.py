"""A trained network as files that run elsewhere: `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fastrcaps_dse.cli.app import app, hint, open_store, print_json, say
from fastrcaps_dse.cli.options import WHERE, JsonOption, StopAfterOption, StorageOption, StudyOption, TrialArgument


@app.command()
def export(
    trial: TrialArgument,
    out: Annotated[
        Path, typer.Option("--out", help="The folder to write; an earlier export there is replaced.", metavar="FOLDER")
    ],
    study: StudyOption = None,
    stop_after: StopAfterOption = None,
    half: Annotated[bool, typer.Option("--half", help="Also write files with weights in float16.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Also write an ONNX file with 8-bit weights.")] = False,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", help="Percentage points of test accuracy that a smaller file may lose.", metavar="POINTS"),
    ] = 0.2,
    pixels: Annotated[
        str,
        typer.Option(
            "--input",
            help="Type of the pixels that the files take: uint8 (pixels 0 to 255) or float32 (in [0, 1]).",
            metavar="TYPE",
        ),
    ] = "uint8",
    onnx: Annotated[
        bool | None, typer.Option("--onnx/--no-onnx", help="Whether to write ONNX files; by default if the packages are there.")
    ] = None,
    license_: Annotated[
        str,
        typer.Option("--license", help="License of the weights, as the Hugging Face hub names it, e.g. mit.", metavar="NAME"),
    ] = "unknown",
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="The study's images, if they are elsewhere now: a name or a folder.",
            metavar="PATH_OR_NAME",
            rich_help_panel=WHERE,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="The folder with data sets; default data/.", metavar="FOLDER", rich_help_panel=WHERE),
    ] = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a trained design as files that run elsewhere, each checked on the test images."""
    from fastrcaps_dse.analysis.results import find_trial
    from fastrcaps_dse.export.source import Options
    from fastrcaps_dse.session.exporting import export_design
    from fastrcaps_dse.session.stopped import find_stopped

    asked: dict[str, Any] = {"half": half, "int8": int8, "tolerance": tolerance, "onnx": onnx, "license": license_}
    options = Options(pixels=pixels, **asked)  # type: ignore[arg-type]  # checked there
    ours = open_store(storage)
    row = ours.study(study)
    chosen = find_trial(ours.trials(row), trial, row.name)
    if stop_after is not None:
        chosen = find_stopped(ours, row, trial, stop_after)
    card = export_design(ours, row, chosen, out, options, dataset=dataset, data_dir=data_dir, say=hint)
    if as_json:
        print_json({"folder": str(out), "card": card})
    else:
        say(out)
