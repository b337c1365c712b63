"""Tables as lines of text that fit a terminal: numbers are whole at any width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

GAP = "  "  # between columns
LEAST = 12  # columns of text that may wrap, at least


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    head: str
    number: bool = False  # aligned on the right, never cut
    wraps: bool = False  # a text that may take several lines
    leaves: int = 0  # the highest leaves first where the table is too wide; 0 stays


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns and the texts in them, a row for each thing."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    title: str | None = None


@dataclass(frozen=True, kw_only=True)
class Lines:
    """A table as text."""

    parts: Sequence[tuple[str, Sequence[str]]]  # (heads, lines); a table that is too wide goes on in a further part
    left_out: Sequence[str] = ()  # heads of the columns that have left


def lay_out(table: Table, width: int | None) -> Lines:
    """The table in lines of at most `width` columns, None for any.

    First the less important columns leave, then texts wrap, then the table goes on below itself. Only a number or a part of a text
    that is wider than the terminal alone makes a longer line.
    """
    listed = list(range(len(table.columns)))
    widths = [_width([column.head, *(row[k] for row in table.rows)]) for k, column in enumerate(table.columns)]
    if width is None:
        return Lines(parts=[_part(table, listed, widths)])
    left: list[int] = []
    while _total(widths, listed) > width:
        leaving = max(listed, key=lambda k: table.columns[k].leaves)
        if not table.columns[leaving].leaves:
            break
        listed.remove(leaving)
        left.append(leaving)
    for k in sorted((k for k in listed if table.columns[k].wraps), key=lambda k: -widths[k]):
        over = _total(widths, listed) - width
        if over > 0:
            narrow = max(LEAST, *(_width(atoms(row[k])) for row in table.rows)) if table.rows else widths[k]
            widths[k] = min(widths[k], max(widths[k] - over, narrow, _width([table.columns[k].head])))
    blocks = _blocks(table, listed, widths, width)
    return Lines(
        parts=[_part(table, block, widths) for block in blocks], left_out=[table.columns[k].head for k in sorted(left)]
    )


def _blocks(table: Table, listed: Sequence[int], widths: list[int], width: int) -> list[list[int]]:
    """The columns that stand side by side; each further block begins with the first column again."""
    first, *others = listed
    blocks = [[first]]
    for k in others:
        if len(blocks[-1]) > 1 and _total(widths, [*blocks[-1], k]) > width:
            blocks.append([first])
        if _total(widths, [*blocks[-1], k]) > width and table.columns[k].wraps:
            widths[k] = max(_width([table.columns[k].head]), width - _total(widths, blocks[-1]) - len(GAP))
        blocks[-1].append(k)
    return blocks


def _width(texts: Sequence[str]) -> int:
    return max((cell_len(text) for text in texts), default=0)


def _total(widths: Sequence[int], listed: Sequence[int]) -> int:
    return sum(widths[k] for k in listed) + len(GAP) * (len(listed) - 1)


def _part(table: Table, listed: Sequence[int], widths: Sequence[int]) -> tuple[str, list[str]]:
    heads = _line([(table.columns[k], table.columns[k].head, widths[k]) for k in listed])
    lines = []
    for row in table.rows:
        cells = [wrap(row[k], widths[k]) if table.columns[k].wraps else [row[k]] for k in listed]
        for n in range(max(map(len, cells))):
            texts = [cell[n] if n < len(cell) else "" for cell in cells]
            lines.append(_line([(table.columns[k], text, widths[k]) for k, text in zip(listed, texts, strict=True)]))
    return heads, lines


def _line(cells: Sequence[tuple[Column, str, int]]) -> str:
    padded = []
    for column, text, width in cells:
        blank = " " * max(0, width - cell_len(text))
        padded.append(blank + text if column.number else text + blank)
    return GAP.join(padded).rstrip()


def atoms(text: str) -> list[str]:
    """The parts of a text between which a line may end: after a space, a comma or a slash."""
    return [part.rstrip() for part in re.findall(r"[^\s,/]*[,/]+ *|[^\s,/]+ *|\s+", text) if part.strip()]


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns; a single part that is wider is broken where the line ends."""
    lines, line = [], ""
    for part in re.findall(r"[^\s,/]*[,/]+ *|[^\s,/]+ *|\s+", text):
        if line and cell_len((line + part).rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += part
        while cell_len(line.rstrip()) > width:
            head = _head(line, width)
            lines.append(head)
            line = line[len(head) :]
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def _head(text: str, width: int) -> str:
    """As many characters as fit, one at least."""
    end = 1
    while end < len(text) and cell_len(text[: end + 1]) <= width:
        end += 1
    return text[:end]


def shorten(text: str, width: int) -> str:
    """The text in one line of at most `width` columns, with an ellipsis where it is cut."""
    if cell_len(text) <= width:
        return text
    return _head(text, width - 1).rstrip() + "…" if width > 1 else "…"[:width]
