"""The paper, checked by a study: `report --paper`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastrcaps_dse.analysis.claims import CLAIMS
from fastrcaps_dse.analysis.paired import MeanInterval
from fastrcaps_dse.analysis.published import published_row
from fastrcaps_dse.analysis.reproduction import DesignRow, Finding, Reproduction, reproduce, stated
from fastrcaps_dse.analysis.views import results_of
from fastrcaps_dse.cli.app import chosen_objectives, hint, open_store, print_json, say, write_text
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.figures.paper import Speed
from fastrcaps_dse.page.paper_report import PaperReport, Picture, paper_markdown, paper_page, svg_files
from fastrcaps_dse.page.paper_texts import TextTable, summary_lines, trained_facts
from fastrcaps_dse.page.paper_texts import notes as notes_of_report
from fastrcaps_dse.problem.quantities import counted

if TYPE_CHECKING:
    from fastrcaps_dse.analysis.results import Results

TITLES = {
    "fig4a-accuracy": "Fig. 4a: accuracy of the paper's policies over the epochs",
    "fig8ab-pareto": "Fig. 8a and 8b: the Pareto front",
    "fig8c-accuracy": "Fig. 8c: accuracy over the epochs, of the front's designs and of others up to eight",
    "fig8d-learning-rate": "Fig. 8d: their learning rates",
}
"""What the figures show, by the first part of their names."""


def refuse_beside_paper(options: Mapping[str, object], *, as_json: bool) -> None:
    """Raise InputError for an option that is given beside --paper and does nothing there. `options` has None for those not given."""
    for name, given in options.items():
        if given is not None:
            raise InputError(
                f"{name} does not go with --paper{' --json' if name == '--out' and as_json else ''}", "give one of them"
            )


def write_paper(out: Path | None, *, storage: str | None, study: str | None, objectives: str | None, as_json: bool) -> None:
    """Write the page, the Markdown file and the figures, and print their paths; or print JSON. Raises InputError, MachineError."""
    ours = open_store(storage)
    row = ours.study(study)
    results = results_of(ours, row, False, chosen_objectives(row, objectives))
    found = reproduce(row, results.rows, results.epoch_rows)
    if as_json:
        print_json(paper_record(found, results))
        return
    path = out or Path("reports") / f"{row.name.replace('/', '-')}-paper.html"
    if path.suffix == ".md":
        raise InputError(
            f"--out names the page, and {path} is the name of its Markdown file", f"e.g. --out {path.with_suffix('.html')}"
        )
    report = _report(results, found)
    folder = path.with_name(f"{path.stem}-figures")
    files = {path: paper_page(report), path.with_suffix(".md"): paper_markdown(report, folder.name)}
    files |= {folder / name: svg for name, svg in svg_files(report).items()}
    for file, text in files.items():
        write_text(file, text)
        say(file)
    for line in summary_lines(found):
        hint(line)
    if found.missing:
        hint(f"{row.name} lacks {', '.join(found.missing)}")
    for line in found.left_out:
        hint(f"left out: {line}")
    for line in found.at_chance:
        hint(f"learned nothing: {line}")


def _report(results: Results, found: Reproduction) -> PaperReport:
    from fastrcaps_dse.cli.figures import printed_figures
    from fastrcaps_dse.figures.svg import svg_of

    made, info = printed_figures(results)
    pictures = [Picture(name=name, title=_title(name), svg=svg_of(one, name, _title(name))) for name, one in made.items()]
    return PaperReport(
        found=found,
        trials=results.rows,
        speed=_speed_table(info.speeds, found.study.identity["dataset"]),
        unfinished=tuple(row.name for row in found.rows if row.name in info.missing),
        pictures=pictures,
    )


def _title(name: str) -> str:
    """What a figure shows, in words."""
    first = next(key for key in TITLES if name.startswith(key))
    pair = name.removeprefix(first).strip("-").replace("-", " and ", 1)
    return TITLES[first] + (f", {pair}" if pair else "")


def _speed_table(speeds: Sequence[Speed], dataset: str) -> TextTable:
    """Fig. 4b: how accurate each named design becomes, and how fast."""
    heads = ["design", "highest accuracy (%)", "paper (%)", "epochs to it", "seconds to it", "seconds by Fixed's"]
    heads += ["epochs to Fixed's highest accuracy", "paper's epochs to it", "seeds"]
    rows = []
    for speed in speeds:
        paper = published_row(dataset, speed.design)
        reached = None if paper is None else paper.reaches_fixed
        rows.append(
            (
                speed.design + (f" (pruned after {counted(speed.pruned_after, 'epoch')})" if speed.pruned_after else ""),
                f"{speed.acc:.2f}",
                "-" if paper is None else f"{paper.acc:.2f}",
                f"{speed.epochs:.3g}",
                f"{speed.time:,.1f}",
                "-" if speed.relative_time is None else f"{speed.relative_time:.2f}",
                "-" if speed.epochs_to_baseline is None else str(speed.epochs_to_baseline),
                "-" if reached is None else str(reached),
                str(speed.seeds),
            )
        )
    return TextTable(heads=tuple(heads), rows=tuple(rows))


# --- JSON ---------------------------------------------------------------------------------------------------------------


def paper_record(found: Reproduction, results: Results) -> dict[str, Any]:
    """The report as plain values that JSON can hold."""
    from fastrcaps_dse.cli.figures import info_of

    return {
        "study": found.study.name,
        "dataset": found.study.identity["dataset"],
        "protocol": found.study.identity["protocol"],
        "train_images": found.study.train_images,
        "epochs": found.study.identity["epochs"],
        "trained": dict(trained_facts(found, results.rows)),
        "notes": notes_of_report(found, results.rows),
        "missing": list(found.missing),
        "left_out": list(found.left_out),
        "at_chance": list(found.at_chance),
        "selection_adds": None if found.gain is None else _mean(found.gain),
        "designs": [_design(row) for row in found.rows],
        "claims": [_claim(found, index) for index in range(len(CLAIMS))],
        "speeds": [speed._asdict() for speed in info_of(results).speeds],
    }


def _mean(found: MeanInterval) -> dict[str, Any]:
    return found._asdict()


def _design(row: DesignRow) -> dict[str, Any]:
    reached = {
        selection: {"acc": _mean(one.acc), "epoch": _mean(one.epoch), "seconds": _mean(one.seconds)}
        for selection, one in row.reached.items()
    }
    paper = None if row.paper is None else {"acc": row.paper.acc, "epoch": row.paper.epoch}
    record: dict[str, Any] = {"design": row.name, "seeds": list(row.seeds), "params": row.params, "reached": reached}
    return record | {"selection_adds": None if row.gain is None else _mean(row.gain), "paper": paper}


def _claim(found: Reproduction, index: int) -> dict[str, Any]:
    claim = CLAIMS[index]
    said = stated(claim, found.data)
    paper = None if said is None else {"text": said.text, "effect": said.effect, "remark": said.remark or None}
    record = {"claim": claim.name, "text": claim.text, "unit": claim.unit, "margin": claim.margin, "paper": paper}
    return record | {"here": {selection: _finding(found.findings[selection][index]) for selection in found.selections}}


def _finding(one: Finding) -> dict[str, Any]:
    test = one.test
    record: dict[str, Any] = {"verdict": one.verdict, "why": one.why, "seeds": list(one.seeds), "effect": one.effect}
    record |= {"low": one.low, "high": one.high, "p_for": one.p_for, "p_against": one.p_against}
    raw: dict[str, Any] = {"p_for_raw": None, "p_against_raw": None, "method": None, "censored": 0}
    if test is not None:
        raw |= {"p_for_raw": test.above, "p_against_raw": test.below, "method": test.method, "censored": test.censored}
    return record | raw
