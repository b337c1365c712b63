"""What is looked at elsewhere: `report`; and `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastrcaps_dse.cli.app import (
    DataDirOption,
    JsonOption,
    ObjectivesOption,
    StorageOption,
    StudyOption,
    app,
    chosen_objectives,
    open_store,
    print_json,
    write_text,
)


@app.command()
def report(
    study: StudyOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="The HTML file; default reports/STUDY.html.")] = None,
    objectives: ObjectivesOption = None,
    storage: StorageOption = None,
) -> None:
    """The study as one HTML file that opens offline: front, curves, table."""
    from fastrcaps_dse.page.report import render
    from fastrcaps_dse.records import front_of

    ours = open_store(storage)
    row = ours.study(study)
    chosen = chosen_objectives(row, objectives)
    trials = ours.trials(row)
    path = out or Path("reports") / f"{row.name.replace('/', '-')}.html"
    write_text(path, render(row, trials, front_of(trials, chosen), ours.epochs_of(row.study_id), chosen))
    print(path)


@app.command()
def doctor(storage: StorageOption = None, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """What this machine, its torch, its data and its storage can do."""
    from dataclasses import asdict

    from fastrcaps_dse.doctor import examine

    findings = examine(storage, data_dir)
    if as_json:
        print_json([asdict(finding) for finding in findings])
        return
    for finding in findings:
        print(f"{'ok  ' if finding.ok else '--  '}{finding.what + ':':27} {finding.finding}")
