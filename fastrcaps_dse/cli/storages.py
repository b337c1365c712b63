"""What a storage holds: `studies`, `export-study`, `clean`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastrcaps_dse.cli.app import app, hint, open_store, say
from fastrcaps_dse.cli.completing import complete_study
from fastrcaps_dse.cli.formats import OutputOptions, print_data
from fastrcaps_dse.cli.options import AnytimeOption, StorageOption, StudyOption, grouped
from fastrcaps_dse.errors import InputError

if TYPE_CHECKING:
    from fastrcaps_dse.store import Store


@app.command()
@grouped
def studies(
    how: OutputOptions,
    storage: StorageOption = None,
    delete: Annotated[
        str | None,
        typer.Option(
            "--delete",
            help="Delete this study, its runs and their files.",
            metavar="NAME",
            autocompletion=complete_study,
        ),
    ] = None,
    rename: Annotated[
        tuple[str, str] | None, typer.Option("--rename", help="Give a study another name.", metavar="OLD NEW")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    workers: Annotated[
        bool, typer.Option("--workers", help="List the processes that work on the studies instead, and what each trains.")
    ] = False,
) -> None:
    """List the studies of a database, or who works on them; delete or rename one."""
    ours = open_store(storage)
    if delete is not None:
        _delete(ours, delete, yes)
    if rename is not None:
        from fastrcaps_dse.session.managing import rename_study

        rename_study(ours, *rename)
        hint(f"the study {rename[0]!r} is now {rename[1]!r}")
    if workers:
        _list_workers(ours, how)
    elif delete is None and rename is None:
        _list(ours, how)


def _list(ours: Store, how: OutputOptions) -> None:
    from fastrcaps_dse.analysis.results import frame_of
    from fastrcaps_dse.analysis.views import rows_of
    from fastrcaps_dse.cli import console
    from fastrcaps_dse.cli.records import study_record
    from fastrcaps_dse.store import workers_of

    stored = ours.studies()
    workers = workers_of(ours, stored)
    rows = [study_record(study, ours.trials(study), workers, rows_of(ours, study)) for study in stored]
    if not rows and how.form != "json":
        hint("there is no study yet: run `fastrcaps-dse explore`")
        return
    print_data(
        how,
        lambda: console.studies_table(rows, wide=how.wide),
        frame=lambda: frame_of(rows),
        record=lambda: [row | {"study_file": study.spec_text} for row, study in zip(rows, stored, strict=True)],
    )


def _list_workers(ours: Store, how: OutputOptions) -> None:
    from fastrcaps_dse.analysis.results import frame_of
    from fastrcaps_dse.cli import console
    from fastrcaps_dse.cli.records import worker_record
    from fastrcaps_dse.store import workers_of

    workers = workers_of(ours, ours.studies())
    if not workers and how.form != "json":
        hint("no process works on a study of this database")
        return
    records = [worker_record(worker) for worker in workers]
    print_data(how, lambda: console.workers_table(workers), frame=lambda: frame_of(records), record=lambda: records)


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
    folder: Annotated[Path, typer.Argument(help="The folder to write into.", metavar="FOLDER")],
    file_format: Annotated[str, typer.Option("--format", help="csv, json or parquet.", metavar="FORMAT")] = "csv",
    study: StudyOption = None,
    anytime: AnytimeOption = None,
    storage: StorageOption = None,
) -> None:
    """Write the trials, runs and epochs of a study as tables that other software reads."""
    from fastrcaps_dse.analysis.tables import write_tables
    from fastrcaps_dse.analysis.views import results_of

    ours = open_store(storage)
    found = results_of(ours, ours.study(study), anytime)
    for path in write_tables(found, folder, file_format):
        say(path)


@app.command()
@grouped
def clean(
    how: OutputOptions,
    storage: StorageOption = None,
    free: Annotated[bool, typer.Option("--free", help="Delete the prefix cache and files that no run needs.")] = False,
) -> None:
    """Print what the runs of a database keep on disk; with --free, delete what no result and no continued run needs."""
    from fastrcaps_dse.analysis.results import frame_of
    from fastrcaps_dse.cli import console
    from fastrcaps_dse.problem.quantities import format_bytes
    from fastrcaps_dse.runs.holdings import FREED, holdings
    from fastrcaps_dse.session.managing import clean as clean_storage

    form, ours = how.form, open_store(storage)
    held, folder = holdings(ours, remote=True), str(ours.runs_folder)
    freed = clean_storage(ours) if free else 0
    kinds = [
        {"kind": h.kind, "bytes": h.size, "files": len(h.paths), "freed": free and h.kind in FREED}
        | {"place": h.runs_place.text if h.runs_place else None}
        for h in held
    ]
    rows = [
        [f"{h.kind}, in {h.runs_place.text}" if h.runs_place else h.kind, f"{len(h.paths):,}", format_bytes(h.size)]
        for h in held
        if h.paths
    ]
    if rows or form in ("json", "csv"):
        print_data(
            how,
            lambda: console.table(["what", "files", "size"], rows, title=folder, right=["files", "size"]),
            frame=lambda: frame_of(kinds),
            record=lambda: {"folder": folder, "kinds": kinds, "freed_bytes": freed},
        )
    could = sum(h.size for h in held if h.kind in FREED)
    if free:
        hint(f"freed {format_bytes(freed)}")
    else:
        hint(f"`fastrcaps-dse clean --free` frees {format_bytes(could)}" if could else "there is nothing to free")
