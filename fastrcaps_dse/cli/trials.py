"""All designs of a study, and every epoch of their runs: `trials`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastrcaps_dse.cli.app import app, chosen_objectives, hint, open_store
from fastrcaps_dse.cli.formats import OutputOptions, print_data
from fastrcaps_dse.cli.options import AnytimeOption, ObjectivesOption, StorageOption, StudyOption, grouped

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from fastrcaps_dse.analysis.results import Results
    from fastrcaps_dse.cli.layout import Table


@app.command()
@grouped
def trials(
    how: OutputOptions,
    study: StudyOption = None,
    objectives: ObjectivesOption = None,
    anytime: AnytimeOption = None,
    epochs: Annotated[bool, typer.Option("--epochs", help="Print every epoch of every run instead.")] = False,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", help="Write the rows into this Parquet file instead.", metavar="FILE")
    ] = None,
    storage: StorageOption = None,
) -> None:
    """Print all designs of a study, or every epoch of their runs."""
    from fastrcaps_dse.analysis.results import estimated_note
    from fastrcaps_dse.analysis.views import left_out_note, results_of

    form, ours = how.form, open_store(storage)
    row = ours.study(study)
    found = results_of(ours, row, anytime, chosen_objectives(row, objectives), epochs=epochs)
    if parquet is not None:
        from fastrcaps_dse.analysis.tables import write_parquet

        write_parquet(found.epochs if epochs else found.trials, parquet)
        hint(f"written: {parquet}")
        return
    frame = found.epochs if epochs else found.trials
    if frame.empty and form not in ("json", "csv"):
        hint(f"the study {row.name!r} has no {'finished epoch' if epochs else 'design'} yet")
        return
    table: Callable[[], Table] = lambda: _epochs_table(frame, found) if epochs else _trials_table(frame, found, how.wide)  # noqa: E731
    print_data(how, table, frame=lambda: frame, record=lambda: _record(frame, found, "epochs" if epochs else "trials"))
    for note in (estimated_note(row, found.rows), left_out_note(found)):
        if note is not None and form != "json":
            hint(note)


def _trials_table(frame: pd.DataFrame, found: Results, wide: bool) -> Table:
    from fastrcaps_dse.analysis.picks import counted_designs
    from fastrcaps_dse.cli.console import designs_table

    many = int(frame["stop_after"].notna().sum()) if found.anytime else len(frame)
    title = f"{found.study.name}: {counted_designs(many, found.anytime)}, {frame['on_front'].sum()} on the Pareto front"
    return designs_table(frame, title, found.objectives, wide=wide, states=True)


def _epochs_table(frame: pd.DataFrame, found: Results) -> Table:
    from fastrcaps_dse.cli.layout import Column, Table
    from fastrcaps_dse.problem.quantities import counted, format_value

    tested = "test_acc" in frame and bool(frame["test_acc"].notna().any())
    columns = [
        Column(head="trial", number=True),
        Column(head="design", wraps=True, leaves=1),
        Column(head="seed", number=True, leaves=4),
        Column(head="epoch", number=True),
        Column(head="batch", number=True, leaves=5),
        Column(head="steps", number=True, leaves=6),
        Column(head="lr first", number=True, leaves=3),
        Column(head="lr last", number=True, leaves=3),
        Column(head="margin loss", number=True, leaves=2),
        Column(head="rec. loss", number=True, leaves=7),
        Column(head="acc", number=True),
        *([Column(head="test acc", number=True)] if tested else []),
        Column(head="training", number=True),
    ]
    rows = [
        [
            *(
                str(row["trial"]),
                row["label"],
                str(row["seed"]),
                str(row["epoch"]),
                f"{row['batch_size']:,}",
                f"{row['steps']:,}",
            ),
            *(f"{row[name]:.2e}" for name in ("lr_first", "lr_last")),
            *(f"{row[name]:.4f}" for name in ("margin_loss", "reconstruction_loss")),
            format_value("acc", row["acc"]),
            *([_or_dash(row["test_acc"])] if tested else []),
            format_value("time", row["counted_seconds"], estimated=row["time_estimated"]),
        ]
        for row in frame.to_dict("records")
    ]
    return Table(columns=columns, rows=rows, title=f"{found.study.name}: {counted(len(frame), 'epoch')}")


def _or_dash(acc: float | None) -> str:
    from fastrcaps_dse.problem.quantities import format_value

    return "-" if acc is None or math.isnan(acc) else format_value("acc", acc)


def _record(frame: pd.DataFrame, found: Results, name: str) -> dict[str, Any]:
    """The rows as JSON, with null where a value is missing."""
    from fastrcaps_dse.analysis.views import view_name

    stated = [{"name": o.name, "unit": o.unit, "direction": o.direction} for o in found.objectives]
    rows = json.loads(frame.to_json(orient="records", double_precision=15)) if len(frame) else []
    return {
        "study": found.study.name,
        "view": view_name(found.anytime),
        "reference": found.study.reference,
        "objectives": stated,
        name: rows,
    }
