"""`data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastrcaps_dse.cli.app import app, hint, say, write_bytes
from fastrcaps_dse.cli.completing import complete_data_set
from fastrcaps_dse.cli.formats import OutputOptions, print_data
from fastrcaps_dse.cli.options import DataDirOption, RelabelOption, TestShareOption, grouped
from fastrcaps_dse.errors import InputError


@app.command("data")
@grouped
def data_set(
    how: OutputOptions,
    dataset: Annotated[
        str,
        typer.Argument(
            help="A name (see `doctor`), or a folder, .npz or .mat file of your own.",
            metavar="PATH_OR_NAME",
            autocompletion=complete_data_set,
        ),
    ],
    data_dir: DataDirOption = None,
    relabel: RelabelOption = False,
    test_share: TestShareOption = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Write a few images of each class into this PNG file.", metavar="FILE")
    ] = None,
) -> None:
    """Show a data set as it is trained on: its classes, and what was skipped or converted."""
    from fastrcaps_dse import data
    from fastrcaps_dse.analysis.results import frame_of
    from fastrcaps_dse.cli import console

    if picture is not None and picture.suffix.lower() != ".png":
        raise InputError(f"the picture is a PNG file, not {picture.name!r}", "e.g. --picture data.png")
    try:
        loaded = data.load(dataset, data_dir, relabel=relabel, test_share=test_share)
    except data.BadFiles as error:
        if len(error.files) == 1:
            raise
        for bad in error.files:
            hint(f"{bad.name}: {bad.reason}")
        raise InputError(f"{len(error.files):,} files of {dataset} cannot be used", "remove them or make them again") from None
    rows = data.class_rows(loaded)
    cells = [[str(value) if isinstance(value, str) else f"{value:,}" for value in row.values()] for row in rows]
    if how.for_reading:
        say(data.summary_line(loaded))
    print_data(
        how,
        lambda: console.table(["label", "class", "train", "test"], cells, right=["label", "train", "test"]),
        frame=lambda: frame_of(rows),
        record=lambda: data.dataset_record(loaded),
    )
    if picture is not None:
        from fastrcaps_dse.figures.contact_sheet import contact_sheet

        write_bytes(picture, contact_sheet(loaded))
        hint(f"picture: {picture}")
