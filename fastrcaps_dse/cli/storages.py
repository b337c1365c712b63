"""What a storage holds: `studies`, `export-study`, `clean`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastrcaps_dse.cli.app import app, hint, open_store, print_csv, print_json
from fastrcaps_dse.cli.options import CsvOption, JsonOption, StorageOption, StudyOption
from fastrcaps_dse.errors import InputError

if TYPE_CHECKING:
    from fastrcaps_dse.store import Store


@app.command()
def studies(
    storage: StorageOption = None,
    delete: Annotated[
        str | None, typer.Option("--delete", help="Delete this study, its runs and their files.", metavar="NAME")
    ] = None,
    rename: Annotated[
        tuple[str, str] | None, typer.Option("--rename", help="Give a study another name.", metavar="OLD NEW")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """List the studies of a storage; delete or rename one."""
    ours = open_store(storage)
    if delete is not None:
        _delete(ours, delete, yes)
    if rename is not None:
        from fastrcaps_dse.session.managing import rename_study

        rename_study(ours, *rename)
        hint(f"the study {rename[0]!r} is now {rename[1]!r}")
    if delete is None and rename is None:
        _list(ours, as_json, as_csv)


def _list(ours: Store, as_json: bool, as_csv: bool) -> None:
    from fastrcaps_dse.analysis.results import frame_of
    from fastrcaps_dse.cli import console
    from fastrcaps_dse.cli.records import study_record

    stored = ours.studies()
    rows = [study_record(study, ours.trials(study)) for study in stored]
    if as_json:
        print_json([row | {"study_file": study.spec_text} for row, study in zip(rows, stored, strict=True)])
    elif not rows:
        hint("no study yet: run `fastrcaps-dse explore`")
    elif as_csv:
        print_csv(frame_of(rows))
    else:
        console.print_table(console.table(list(rows[0]), [[*map(str, row.values())] for row in rows]))


def _delete(ours: Store, name: str, yes: bool) -> None:
    """Delete a study once the user agrees. Raises InputError where nobody can be asked."""
    from fastrcaps_dse.problem.quantities import counted
    from fastrcaps_dse.session.managing import delete_study

    study = ours.study(name)
    what = f"the study {name!r} with {counted(len(ours.trials(study)), 'design')}"
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(f"{what} would be deleted", "add --yes to delete it")
        if not typer.confirm(f"Delete {what}?", err=True):
            hint("nothing is deleted")
            return
    delete_study(ours, name)
    hint(f"deleted {what}")


@app.command()
def export_study(
    folder: Annotated[Path, typer.Argument(help="The folder to write into.", metavar="DIR")],
    file_format: Annotated[str, typer.Option("--format", help="csv, json or parquet.", metavar="FORMAT")] = "csv",
    study: StudyOption = None,
    storage: StorageOption = None,
) -> None:
    """Write the trials, runs and epochs of a study as tables that other software reads."""
    from fastrcaps_dse.analysis.results import Results
    from fastrcaps_dse.analysis.tables import write_tables

    ours = open_store(storage)
    row = ours.study(study)
    found = Results(study=row, rows=ours.trials(row), epoch_rows=ours.epochs_of(row.study_id))
    for path in write_tables(found, folder, file_format):
        print(path)


@app.command()
def clean(
    storage: StorageOption = None,
    free: Annotated[bool, typer.Option("--free", help="Delete the prefix cache and what is left over.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what the runs of a storage keep on disk; with --free, delete what no result and no continued run needs."""
    from fastrcaps_dse.cli import console
    from fastrcaps_dse.problem.quantities import format_bytes
    from fastrcaps_dse.runs.holdings import FREED, holdings
    from fastrcaps_dse.session.managing import clean as clean_storage
    from fastrcaps_dse.store import runs_folder

    ours = open_store(storage)
    held = holdings(ours)
    freed = clean_storage(ours) if free else 0
    if as_json:
        kinds = [{"kind": h.kind, "bytes": h.size, "files": len(h.paths), "freed": free and h.kind in FREED} for h in held]
        print_json({"folder": str(runs_folder(ours.url)), "kinds": kinds, "freed_bytes": freed})
        return
    rows = [[h.kind, str(len(h.paths)), format_bytes(h.size)] for h in held if h.paths]
    if rows:
        console.print_table(
            console.table(["what", "files", "size"], rows, title=str(runs_folder(ours.url)), right=["files", "size"])
        )
    could = sum(h.size for h in held if h.kind in FREED)
    if free:
        hint(f"freed {format_bytes(freed)}")
    else:
        hint(f"`fastrcaps-dse clean --free` frees {format_bytes(could)}" if could else "there is nothing to free")
