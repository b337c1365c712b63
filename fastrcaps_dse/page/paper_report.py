"""The paper, checked, as a page of its own: one HTML file without scripts, light or dark as the reader's system is; and as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from fastrcaps_dse.analysis.reproduction import Reproduction
from fastrcaps_dse.page.document import asset
from fastrcaps_dse.page.paper_texts import (
    MEANS,
    READING,
    SPEEDS,
    TextTable,
    claim_table,
    design_table,
    notes,
    summary_lines,
    trained_facts,
)
from fastrcaps_dse.store import TrialRow

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
SOURCE = "Marchisio et al., FasTrCaps, IJCNN 2020, arXiv 1905.10142"
VERDICTS = ("supported", "contradicted", "open")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure as SVG."""

    name: str  # of its file
    title: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class PaperReport:
    """All that the report shows."""

    found: Reproduction
    trials: Sequence[TrialRow]
    speed: TextTable  # Fig. 4b
    pictures: Sequence[Picture]
    unfinished: Sequence[str]  # designs that Fig. 4b and the figures lack, as not all of their seeds are finished

    @property
    def lacking(self) -> str:
        """What Fig. 4b and the figures lack, in words; empty if nothing."""
        return f"Without {', '.join(self.unfinished)}: not all of their seeds are finished." if self.unfinished else ""


# --- HTML ---------------------------------------------------------------------------------------------------------------


def paper_page(report: PaperReport) -> str:
    """The report as one HTML file, which opens offline and sends no request."""
    found, name = report.found, html.escape(report.found.study.name)
    summary = "".join(f'<p class="lead">{html.escape(line)}</p>' for line in summary_lines(found))
    lines = notes(found, report.trials)
    facts = "".join(
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>" for key, value in trained_facts(found, report.trials)
    )
    listed = f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>" if lines else ""
    sections = [
        _section("What was trained", f"<dl>{facts}</dl>{listed}"),
        _section("The claims", _table(claim_table(found)) + _hint(READING)),
        _section("The designs", _table(design_table(found)) + _hint(MEANS)),
    ]
    fast = (_table(report.speed) + _hint(SPEEDS) if report.speed.rows else "") + (
        _hint(report.lacking) if report.lacking else ""
    )
    if fast:
        sections.append(_section("How fast, as in Fig. 4b", fast))
    if report.pictures:
        drawn = "".join(
            f"<figure>{one.svg}<figcaption>{html.escape(one.title)}</figcaption></figure>" for one in report.pictures
        )
        sections.append(_section("Figures", f'<div class="figures">{drawn}</div>'))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<title>{name}: the paper, checked - fastrcaps-dse</title>\n'
        f'<link rel="icon" href="data:,">\n<style>{_style()}</style>\n</head>\n<body>\n'
        f'<header class="paper"><div><h1>The paper, checked: {name}</h1>{summary}</div></header>\n'
        f'<main class="paper">\n{"".join(sections)}</main>\n'
        f'<footer class="paper"><p>{html.escape(SOURCE)}. Made by fastrcaps-dse.</p></footer>\n</body>\n</html>\n'
    )


def _style() -> str:
    """The page's style and that of the tables; the dark colors of the page are those of a dark system."""
    light_and_dark = re.sub(
        r":root\[data-theme=dark\] (\{[^}]*\})", r"@media (prefers-color-scheme: dark) { :root \1 }", asset("page.css"), count=1
    )
    return light_and_dark + asset("paper.css")


def _section(title: str, inside: str) -> str:
    anchor = re.sub(r"\W+", "-", title.lower()).strip("-")
    return f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{html.escape(title)}</h2>{inside}</section>\n'


def _hint(text: str) -> str:
    return f'<p class="hint">{html.escape(text)}</p>'


def _table(table: TextTable) -> str:
    kinds = ["text" if k in table.words else "number" for k in range(len(table.heads))]
    heads = "".join(
        f'<th scope="col" class="{kind}">{html.escape(head)}</th>' for head, kind in zip(table.heads, kinds, strict=True)
    )
    rows = "".join(f"<tr>{''.join(_cells(row, table.heads, kinds))}</tr>" for row in table.rows)
    return f'<table class="cards"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _cells(row: Sequence[str], heads: Sequence[str], kinds: Sequence[str]) -> Iterator[str]:
    yield f'<th scope="row">{html.escape(row[0])}</th>'
    for cell, head, kind in zip(row[1:], heads[1:], kinds[1:], strict=True):
        first, *rest = html.escape(cell).split("\n")
        inside = f'<span class="verdict {cell}">{first}</span>' if cell in VERDICTS else first
        inside += "".join(f' <span class="interval">{line}</span>' for line in rest)
        yield f'<td class="{kind}" data-head="{html.escape(head)}">{inside}</td>'


# --- Markdown -----------------------------------------------------------------------------------------------------------


def paper_markdown(report: PaperReport, figures: str) -> str:
    """The report as Markdown. `figures` is the path of the folder of its figures, from where the file is."""
    found = report.found
    parts = [
        f"# The paper, checked: {_escaped(found.study.name)}",
        *(f"{_escaped(line)}." for line in summary_lines(found)),
        "## What was trained",
        "\n".join(f"- {key}: {_escaped(value)}" for key, value in trained_facts(found, report.trials)),
        *map(_escaped, notes(found, report.trials)),
        "## The claims",
        _markdown_table(claim_table(found)),
        READING,
        "## The designs",
        _markdown_table(design_table(found)),
        MEANS,
    ]
    fast = [_markdown_table(report.speed), SPEEDS] if report.speed.rows else []
    fast += [report.lacking] if report.lacking else []
    parts += ["## How fast, as in Fig. 4b", *fast] if fast else []
    if report.pictures:
        links = (f"![{one.title}]({quote(figures)}/{one.name}.svg)\n\n{one.title}" for one in report.pictures)
        parts += ["## Figures", *links]
    return "\n\n".join([*parts, f"Source of the paper's numbers: {SOURCE}."]) + "\n"


def _markdown_table(table: TextTable) -> str:
    rule = "|" + "|".join("---" if k in table.words else "---:" for k in range(len(table.heads))) + "|"
    lines = [" | ".join(_escaped(cell).replace("\n", "<br>") for cell in row) for row in (table.heads, *table.rows)]
    return "\n".join([f"| {lines[0]} |", rule, *(f"| {line} |" for line in lines[1:])])


def _escaped(text: str) -> str:
    return re.sub(r"([\\|`*_<>])", r"\\\1", text)


def svg_files(report: PaperReport) -> Mapping[str, str]:
    """The figures by the names of their files."""
    return {f"{one.name}.svg": one.svg for one in report.pictures}
