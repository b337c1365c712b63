"""What is looked at elsewhere: `view`, `report`; and `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastrcaps_dse.cli.app import app, chosen_objectives, hint, open_store, say, write_text
from fastrcaps_dse.cli.formats import OutputOptions, print_data
from fastrcaps_dse.cli.options import AnytimeOption, DataDirOption, ObjectivesOption, StorageOption, StudyOption, grouped
from fastrcaps_dse.errors import InputError


@app.command()
def view(
    study: StudyOption = None,
    objectives: ObjectivesOption = None,
    port: Annotated[int, typer.Option("--port", help="Of the page; 0 takes a free one.", min=0, max=65535)] = 8157,
    expose: Annotated[
        str | None,
        typer.Option(
            "--expose", help="Let others in the network open the page, at this address of this machine, with a token."
        ),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the browser.")] = False,
    notes: Annotated[
        bool, typer.Option("--notes", help="Let the page write notes and stars into the storage; else it is read-only.")
    ] = False,
    anytime: AnytimeOption = None,
    storage: StorageOption = None,
) -> None:
    """The study as a page in the browser that follows it while it runs. Without --study, the page offers all studies."""
    from fastrcaps_dse import store
    from fastrcaps_dse.analysis.views import check_view, sees_anytime
    from fastrcaps_dse.page.serve import serve

    ours = store.Store(store.open_url(storage), read_only=True)
    row = ours.study(study)
    chosen = chosen_objectives(row, objectives)
    check_view(sees_anytime(row, anytime), chosen)
    serve(
        ours,
        row,
        chosen,
        port=port,
        expose=expose,
        storage=storage,
        open_browser=not no_open,
        say=hint,
        offers_all=study is None,
        notes=open_store(storage) if notes else None,
        anytime=anytime,
    )


@app.command()
def report(
    study: StudyOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="The HTML file; default reports/STUDY.html.")] = None,
    objectives: ObjectivesOption = None,
    compare: Annotated[
        str | None,
        typer.Option("--compare", help="A second study of the storage to compare with, in the report.", metavar="STUDY"),
    ] = None,
    anytime: AnytimeOption = None,
    storage: StorageOption = None,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper", help="Check the paper's claims instead: a page, a Markdown file and figures, with a verdict for each."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what --paper finds as JSON, and write no file.")] = False,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Write the paper's figures into this folder instead, each as a file.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--format", help="Of the figures: svg (the default), pdf, png or html.", metavar="FORMAT")
    ] = None,
    columns: Annotated[
        int | None, typer.Option("--columns", help="Width of a figure in a journal: 1 (3.5 in, the default) or 2 (7.16 in).")
    ] = None,
    designs: Annotated[
        str | None,
        typer.Option(
            "--designs", help="Labeled, and with curves: front (the default), named, all, or numbers and names, e.g. 3,7,wab."
        ),
    ] = None,
    error: Annotated[
        bool | None,
        typer.Option(
            "--error/--no-error", help="Accuracies as 100 % less them, logarithmic; default where all are above 90 %."
        ),
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", help="Of a figure, in pixels, instead of columns.", metavar="PX")
    ] = None,
    height: Annotated[int | None, typer.Option("--height", help="Of a figure, in pixels, with --width.", metavar="PX")] = None,
) -> None:
    """The same page as one HTML file, an offline report; or the figures of the study for a paper; or the paper's claims, checked."""
    if paper:
        from fastrcaps_dse.cli.paper import refuse_beside_paper, write_paper

        others: dict[str, object] = {"--compare": compare, "--figures": figures, "--anytime": anytime or None, "--format": kind}
        others |= {"--columns": columns, "--designs": designs, "--error": error, "--width": width, "--height": height}
        refuse_beside_paper(others | ({"--out": out} if as_json else {}), as_json=as_json)
        write_paper(out, storage=storage, study=study, objectives=objectives, as_json=as_json)
        return
    if as_json:
        raise InputError("--json is of --paper", "add --paper; `fastrcaps-dse front --json` prints the front")
    if figures is not None:
        from fastrcaps_dse.cli.figures import Wanted, write_figures

        if compare is not None:
            raise InputError("--compare is of the report, --figures a folder of figures", "give one of them")
        if out is not None:
            raise InputError("--out names the report, --figures a folder of figures", "give one of them")
        wanted = Wanted(kind=kind, width=width, height=height, columns=columns, designs=designs, error=error)
        write_figures(figures, wanted, storage=storage, study=study, objectives=objectives, anytime=anytime)
        return
    if any(option is not None for option in (kind, columns, designs, error, width, height)):
        raise InputError(
            "--format, --columns, --designs, --error, --width and --height are of figures",
            "name a folder for them with --figures",
        )
    from fastrcaps_dse.page.report import render
    from fastrcaps_dse.page.watch import Source
    from fastrcaps_dse.store import notes_of

    ours = open_store(storage)
    row = ours.study(study)
    second = None if compare is None else ours.study(compare)
    compared = (
        None if second is None else Source(store=ours, study=second, objectives=second.objectives, anytime=False).content()
    )
    chosen = chosen_objectives(row, objectives)
    path = out or Path("reports") / f"{row.name.replace('/', '-')}.html"
    notes = notes_of(ours, row.study_id)
    epochs = ours.epochs_of(row.study_id)
    html = render(row, ours.trials(row), epochs, chosen, storage=storage, notes=notes, compared=compared, anytime=anytime)
    write_text(path, html)
    say(path)


@app.command()
@grouped
def doctor(how: OutputOptions, storage: StorageOption = None, data_dir: DataDirOption = None) -> None:
    """What this machine, its torch, its data and its storage can do."""
    from dataclasses import asdict

    from fastrcaps_dse.analysis.results import frame_of
    from fastrcaps_dse.cli import console
    from fastrcaps_dse.cli.doctor import examine

    form = how.form
    findings = examine(storage, data_dir)
    if form != "table":
        records = [asdict(finding) for finding in findings]
        cells = [["yes" if f.ok else "no", f.what, f.finding] for f in findings]
        table = console.table(["ok", "what", "finding"], cells)
        print_data(how, lambda: table, frame=lambda: frame_of(records), record=lambda: records)
        return
    for finding in findings:
        say(f"{'ok  ' if finding.ok else '--  '}{finding.what + ':':27} {finding.finding}")
