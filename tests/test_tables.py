"""Tables fit any terminal with whole numbers, and come in the form that is asked for."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fastrcaps_dse.analysis.results import Results
from fastrcaps_dse.cli.console import REDUNDANT, designs_table
from fastrcaps_dse.cli.formats import escape_latex
from fastrcaps_dse.cli.layout import Column, Table, lay_out, shorten, wrap
from fastrcaps_dse.store import Store
from tests.conftest import Command
from tests.synthetic import write_study

WIDTHS = (60, 80, pytest.param(100, marks=pytest.mark.thorough), 120, 200)
ALL_OBJECTIVES = "acc,time,params,epochs,macs,memory"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "s.db"
    write_study(path, 14, seeds=2, failed=1, running=1)
    return path


def results(database: Path) -> Results:
    from fastrcaps_dse import store

    ours = Store(store.parse_url(str(database)))
    row = ours.study()
    return Results(study=row, rows=ours.trials(row), epoch_rows=ours.epochs_of(row.study_id), objectives=row.objectives)


def numbers(database: Path) -> list[str]:
    """The cells of numbers in the table of all designs, as they have to stand in it."""
    found = results(database)
    table = designs_table(found.front_and_tied, "", found.objectives)
    return [row[k] for row in table.rows for k, column in enumerate(table.columns) if column.number and not column.leaves]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("front",),
        ("front", "--objectives", ALL_OBJECTIVES),
        ("front", "--plot"),
        ("trials",),
        ("trials", "--epochs"),
        ("studies",),
        ("data", "mnist-sample"),
    ],
    ids=" ".join,
)
def test_no_line_is_wider_than_the_terminal(
    command: Command, database: Path, arguments: tuple[str, ...], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    said = command(*arguments, *(() if arguments[0] == "data" else ("--storage", database)))
    body = said.out if arguments[0] != "data" else said.out.partition("\n")[2]  # without the line of the data set
    assert said.code == 0 and body and max(map(cell_len, body.splitlines())) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_is_cut(command: Command, database: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    said = command("front", "--storage", database)
    words = re.split(r"\s{2,}|\n", said.out)
    assert len(numbers(database)) > 30
    for number in numbers(database):
        assert number in words, number
    assert "…" not in said.out


def test_the_columns_that_the_label_says_leave_first(command: Command, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    said = command("front", "--storage", database)
    heads = said.out.splitlines()[1]
    assert not any(head in heads for head in REDUNDANT) and "params" in heads and "design" in heads
    assert "left out for lack of room: lr policy, batch, weight sharing, decoder" in said.err and "--wide" in said.err


@pytest.mark.parametrize("width", [60, 200])
def test_wide_prints_all_columns_and_designs_in_full(
    command: Command, database: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for name in ("front", "trials"):
        said = command(name, "--wide", "--storage", database)
        assert all(head in said.out for head in (*REDUNDANT, "test acc", "seeds")) and "left out" not in said.err
        for trial in (*results(database).front["trial"],):
            key = next(row.design.key for row in results(database).rows if row.trial == trial)
            assert key in said.out


def test_nothing_leaves_where_stdout_is_no_terminal(command: Command, database: Path) -> None:
    said = command("front", "--storage", database)
    assert all(head in said.out.splitlines()[1] for head in REDUNDANT) and "left out" not in said.err


CELLS = st.text("abc -·,/()é漢", max_size=30)


@given(st.lists(st.tuples(CELLS, st.integers(0, 10**9), CELLS), min_size=1, max_size=4), st.integers(24, 120))
def test_any_table_keeps_its_numbers_and_its_words(rows: list[tuple[str, int, str]], width: int) -> None:
    columns = [Column(head="n", number=True), Column(head="text", wraps=True), Column(head="more", wraps=True)]
    table = Table(columns=columns, rows=[(f"{n:,}", a, b) for a, n, b in rows])
    laid = lay_out(table, width)
    lines = [line for heads, part in laid.parts for line in (heads, *part)]
    assert max(map(cell_len, lines)) <= width
    for n in (row[1] for row in rows):
        assert any(f"{n:,}" in line.split(" ") for line in lines)
    letters = sorted("".join("".join(lines).split()).replace("more", ""))
    expected = "".join(f"{a}{b}" for a, _, b in rows)
    assert all(letters.count(c) >= expected.count(c) for c in "é漢·")


@given(CELLS, st.integers(1, 40))
def test_wrapped_text_has_all_its_characters(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cell_len(line) <= max(width, 2) for line in lines)  # a wide character takes two columns
    assert cell_len(shorten(text, width)) <= width


# --- formats ----------------------------------------------------------------------------------------------------------


def test_csv_and_json_have_the_rows_in_full(command: Command, database: Path) -> None:
    found = results(database)
    rows = list(csv.DictReader(io.StringIO(command("trials", "--csv", "--storage", database).out)))
    assert [int(row["trial"]) for row in rows] == [trial.trial for trial in found.rows]
    for row, trial in zip(rows, found.rows, strict=True):
        assert row["state"] == trial.state and row["label"] == trial.design.label
        assert (float(row["acc"]) if row["acc"] else None) == (trial.measurement["acc"] if trial.measurement else None)
    said = json.loads(command("trials", "--epochs", "--format", "json", "--storage", database).out)
    epochs: Any = found.epochs
    assert len(said["epochs"]) == len(epochs) and [e["acc"] for e in said["epochs"]] == epochs["acc"].tolist()
    assert [o["name"] for o in said["objectives"]] == ["acc", "time", "params"]
    assert (
        command("front", "--format", "csv", "--storage", database).out == command("front", "--csv", "--storage", database).out
    )


def test_parquet(command: Command, database: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for options, name in (((), "trials"), (("--epochs",), "epochs")):
        said = command("trials", *options, "--parquet", tmp_path / "a" / f"{name}.parquet", "--storage", database)
        assert said.code == 0 and not said.out
        read = pd.read_parquet(tmp_path / "a" / f"{name}.parquet")
        expected: pd.DataFrame = getattr(results(database), name)
        assert read.shape == expected.shape and read["acc"].dropna().tolist() == expected["acc"].dropna().tolist()
    assert command("trials", "--parquet", "/proc/none/x.parquet", "--storage", database).code == 1


def test_markdown(command: Command, database: Path) -> None:
    lines = command("front", "--format", "markdown", "--storage", database).out.splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert len({len(row) for row in cells}) == 1 and set(lines[1]) == set("| -:")
    assert [int(row[0]) for row in cells[2:]] == results(database).front_and_tied["trial"].tolist()


def test_latex(command: Command, database: Path) -> None:
    text = command("trials", "--format", "latex", "--storage", database).out
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.strip()]
    kinds = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)[0]
    assert len(rows) == 16 and all(line.endswith(r" \\") for line in rows) and r"\toprule" in text and r"\end{tabular}" in text
    for line in rows:
        assert len(re.split(r"(?<!\\)&", line)) == len(kinds)
        assert not re.search(r"(?<!\\)[#%_]", line)


def test_special_characters_of_latex() -> None:
    assert escape_latex(r"50 % of a_b & {c} #1 $x \y ~ ^") == (
        r"50 \% of a\_b \& \{c\} \#1 \$x \textbackslash{}y \textasciitilde{} \textasciicircum{}"
    )
    assert escape_latex("1 ± 2 · b1->16 …") == r"1 $\pm$ 2 $\cdot$ b1-\textgreater{}16 \dots{}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("front", "--format", "cvs"), "unknown format 'cvs'"),
        (("front", "--json", "--csv"), "--csv and --json are different formats"),
        (("trials", "--json", "--format", "latex"), "--json and --format latex are different formats"),
        (("front", "--plot", "--format", "latex"), "--plot is for reading"),
        (("explore", "--dry-run", "--csv"), "--dry-run prints text or JSON, not csv"),
    ],
)
def test_wrong_formats(command: Command, database: Path, arguments: tuple[str, ...], message: str) -> None:
    said = command(*arguments, "--storage", database)
    assert said.code == 2 and message in said.err and not said.out


def test_a_study_without_designs(command: Command, tmp_path: Path) -> None:
    write_study(tmp_path / "s.db", 0)
    for name in (("front",), ("trials",), ("trials", "--epochs")):
        said = command(*name, "--storage", "s.db")
        assert said.code == 0 and not said.out and "yet" in said.err
        assert json.loads(command(*name, "--json", "--storage", "s.db").out)["study"] == "synthetic"
        assert command(*name, "--csv", "--storage", "s.db").out == ""
