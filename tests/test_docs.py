"""The texts against the program: commands, options, the map, study file, names, links, citation."""

from __future__ import annotations

import ast
import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from fastrcaps_dse import __version__
from fastrcaps_dse.problem.objectives import OBJECTIVES
from fastrcaps_dse.problem.schedules import BATCH_SCHEDULES, LR_POLICIES
from fastrcaps_dse.problem.space import NAMED_DESIGNS
from fastrcaps_dse.problem.study_file import parse_study
from tests.conftest import Command

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS += sorted((ROOT / "reports").rglob("*.md"))
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in DOCUMENTS}
README = TEXTS["README.md"]
EVERYTHING = "\n".join(TEXTS.values())
COMMANDS = sorted(set(re.findall(r"`fastrcaps-dse ([a-z][a-z-]*)[^`]*`", README)))
BLOCKS = [
    (name, kind, text) for name, all_ in TEXTS.items() for kind, text in re.findall(r"```(\w*)\n(.*?)```", all_, flags=re.S)
]


def shell_lines() -> Iterator[tuple[str, str]]:
    """(document, command line) of everything that a document tells to type."""
    for name, kind, text in BLOCKS:
        for line in text.splitlines():
            if kind == "sh" and line.strip():
                yield name, line
            elif kind == "console" and line.startswith("$ "):
                yield name, line.removeprefix("$ ")


def said_of(name: str) -> Iterator[str]:
    """What the documents write after the name of a command, in a code span or a block of commands."""
    spans = re.findall(r"`([^`\n]+)`", EVERYTHING)
    for text in [*spans, *(line for _, line in shell_lines())]:
        yield from re.findall(rf"fastrcaps-dse {name}(?![a-z-])([^#(]*)", text)


# --- the command line -------------------------------------------------------------------------------------------------


def test_every_command_is_in_readme_and_the_other_way_round(command: Command) -> None:
    listed = set(re.findall(r"^│? *([a-z][a-z-]+)  ", command("--help").out, flags=re.M))
    assert listed == set(COMMANDS)


def test_the_summary_of_each_command_is_one_line(command: Command) -> None:
    table = dict(re.findall(r"^\| `fastrcaps-dse ([a-z-]+)` \| (.+) \|$", README, flags=re.M))
    assert set(table) == set(COMMANDS) and all(len(text) < 140 for text in table.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_that_documents_give_a_command_exist(command: Command, name: str) -> None:
    text = command(name, "--help").out
    for line in said_of(name):
        for option in re.findall(r"(?<!\S)--[a-z-]+", line):
            assert re.search(rf"{option}\b(?!-)", text), f"{name} {option}"


def test_every_option_that_a_document_names_exists(command: Command) -> None:
    helps = "\n".join(command(*name, "--help").out for name in [(), *((name,) for name in COMMANDS)])
    there = set(re.findall(r"--[a-z][a-z-]*", helps))
    there |= set(re.findall(r'"(--[a-z][a-z-]*)"', "\n".join(p.read_text() for p in (ROOT / "benchmarks").glob("*.py"))))
    for name, text in TEXTS.items():
        for option in set(re.findall(r"`(--[a-z][a-z-]*)", text)):
            assert option in there, f"{name}: {option}"


def test_every_typed_command_is_well_formed() -> None:
    programs = {"fastrcaps-dse", "make", "optuna", "pytest", "python"}
    lines = [*shell_lines()]
    assert len(lines) > 20
    for name, line in lines:
        words = shlex.split(line, comments=True)
        program = Path(words[0]).name
        assert program in programs, f"{name}: {line}"
        if program == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M), line
        if program == "python":
            assert words[1] == "-m" and (ROOT / (words[2].replace(".", "/") + ".py")).is_file(), line
        if program == "fastrcaps-dse":
            assert words[1] in COMMANDS, line


def test_benchmarks_that_documents_name_exist() -> None:
    named = set(re.findall(r"benchmarks\.(?!md\b)([a-z_]+)", EVERYTHING)) | set(
        re.findall(r"benchmarks/([a-z_]+)\.py", EVERYTHING)
    )
    assert named and all((ROOT / "benchmarks" / f"{name}.py").is_file() for name in named), named


# --- the map ----------------------------------------------------------------------------------------------------------


def test_the_map_has_every_wing_and_module() -> None:
    package = ROOT / "fastrcaps_dse"
    rows = re.findall(r"^\| `([a-z_]+(?:\.py|/))` \| [^|]+ \| ([^|]*)\|$", TEXTS["CONTRIBUTING.md"], flags=re.M)
    wings: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        wing, *module = path.relative_to(package).parts
        if module and module != ["__init__.py"]:
            wings.setdefault(f"{wing}/", set()).add(module[0].removesuffix(".py"))
        elif not module and wing != "__init__.py":
            wings[wing] = set()
    assert {wing: set(re.findall(r"`(\w+)`", modules)) for wing, modules in rows} == wings


# --- names ------------------------------------------------------------------------------------------------------------


def test_the_study_file_in_the_documents_is_one() -> None:
    files = [text for name, kind, text in BLOCKS if kind == "toml"]
    assert len(files) == 1 and parse_study(files[0], default_name="mine").trials == 30


def test_names_of_designs_policies_schedules_and_objectives() -> None:
    for name in (*NAMED_DESIGNS, *(part.name for part in LR_POLICIES), *(s.name for s in BATCH_SCHEDULES if s.name != "fixed")):
        assert f"`{name}`" in TEXTS["docs/study-files.md"], name
    for name in OBJECTIVES:
        assert f"`{name}`" in TEXTS["docs/objectives.md"], name


@pytest.mark.parametrize("part", [*LR_POLICIES, *BATCH_SCHEDULES], ids=lambda part: str(part.__name__))
def test_fields_of_policies_and_schedules(part: Any) -> None:
    for field in dataclasses.fields(part):
        assert f"`{field.name}`" in TEXTS["docs/study-files.md"], field.name


def test_defaults_of_study_files() -> None:
    spec = parse_study("", default_name="mine")
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", TEXTS["docs/study-files.md"].partition("## The space")[0], flags=re.M
    )
    stated = {name: value.strip("` ") for name, value in rows}
    assert set(stated) >= {
        "dataset",
        "protocol",
        "epochs",
        "seeds",
        "trials",
        "sampler",
        "seed",
        "objectives",
        "time",
        "pruning",
    }
    for name in ("dataset", "protocol", "epochs", "seeds", "trials", "sampler", "seed", "time", "pruning"):
        assert ast.literal_eval(stated[name]) == getattr(spec, name), name
    assert ast.literal_eval(stated["objectives"]) == [objective.name for objective in spec.objectives]


def test_parameter_counts_are_those_of_the_network() -> None:
    from fastrcaps_dse.capsnet.sizes import ImageShape, parameter_count
    from fastrcaps_dse.problem.space import DesignPoint

    shape = ImageShape(channels=1, height=28, width=28, classes=10)
    for shared in (False, True):
        for decoder in ("full", "small"):
            count = parameter_count(DesignPoint(weight_sharing=shared, decoder=decoder), shape)
            assert f"{count:,}" in TEXTS["docs/objectives.md"]


# --- README's figures and its example ---------------------------------------------------------------------------------


def test_figures_of_the_comparison_stand_in_the_records() -> None:
    section = README.partition("What is measured, on CPUs so far:")[2].partition("\n## ")[0]
    figures = re.findall(r"1/\d+\.\d+|\d+\.\d+(?= times)|\d+ %", section)
    assert len(figures) >= 5
    for figure in figures:
        assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.]*\d)", TEXTS["reports/benchmarks/README.md"]), figure


def test_the_python_example_is_that_of_the_examples() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    compile(block, "README.md", "exec")
    example = ROOT / "examples" / "explore_in_python.py"
    if example.is_file():
        assert block in example.read_text(encoding="utf-8")


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 240


# --- files, links, references -----------------------------------------------------------------------------------------


def test_pictures_are_there_and_no_path_of_a_machine_is_named() -> None:
    for name, text in TEXTS.items():
        for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
            assert ((ROOT / name).parent / path).stat().st_size > (1_000 if path.endswith(".svg") else 10_000)
        assert not re.findall(r"/work/|/root/|/tmp/", text)


def headings(text: str) -> set[str]:
    """The titles of a document's sections."""
    without_code = re.sub(r"```.*?```", "", text, flags=re.S)
    return set(re.findall(r"^#+ (.+)$", without_code, flags=re.M))


def anchor(title: str) -> str:
    """The address of a section within its document, as it is rendered."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_links_lead_to_files_and_sections() -> None:
    links = [(name, link) for name, text in TEXTS.items() for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    assert len(links) > 20
    for name, link in links:
        if re.match(r"https?:", link):
            continue
        path, _, section = link.partition("#")
        target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert target.exists(), f"{name}: {link}"
        if section:
            assert section in map(anchor, headings(target.read_text(encoding="utf-8"))), f"{name}: {link}"


def references(text: str) -> Iterator[tuple[str, str]]:
    """(document, section or "") of every document that a text names, e.g. "README, 'The map'" or "docs/page.md"."""
    for quoted in re.finditer(r"\b(README|CONTRIBUTING|CHANGELOG)(?:\.md)?(?:, ['\"“]([^'\"”\n]+)['\"”])?", text):
        yield f"{quoted[1]}.md", quoted[2] or ""
    for path in re.finditer(r"\b(docs/[\w/-]+\.md|reports/[\w/-]+\.md)(?:, ['\"“]([^'\"”\n]+)['\"”])?", text):
        yield path[1], path[2] or ""


SOURCES = sorted(
    path
    for folder in ("fastrcaps_dse", "benchmarks", "studies", "examples")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".js", ".css", ".html", ".toml", ".md")
)


def test_documents_that_the_program_names_exist() -> None:
    found = [(str(path), *named) for path in SOURCES for named in references(path.read_text(encoding="utf-8"))]
    found += [(name, *named) for name, text in TEXTS.items() for named in references(text)]
    assert len(found) > 10
    for source, document, section in found:
        assert (ROOT / document).is_file(), f"{source} names {document}"
        if section:
            assert section in headings((ROOT / document).read_text(encoding="utf-8")), f"{source} names {document}, {section!r}"


def test_references_are_found_in_what_people_write() -> None:
    text = "see the ranges in README, 'Study files'; or docs/nothing.md, \"Ranges\"; or CONTRIBUTING.md"
    assert [*references(text)] == [("README.md", "Study files"), ("CONTRIBUTING.md", ""), ("docs/nothing.md", "Ranges")]


# --- citation ---------------------------------------------------------------------------------------------------------


def test_the_citation_file() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert (cited["cff-version"], cited["version"], cited["type"]) == ("1.2.0", __version__, "software")
    for work in (cited, *cited["references"]):
        assert work["title"] and work["type"] and all("name" in a or "family-names" in a for a in work["authors"])
    assert "1905.10142" in str(cited["references"][0]) and "Sabour" in str(cited["references"][1])


def test_readme_cites_what_the_citation_file_cites() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    block = README.partition("```bibtex")[2].partition("```")[0].replace("{", "").replace("}", "")
    assert cited["references"][0]["title"] in block and "[CITATION.cff](CITATION.cff)" in README


def test_the_changelog_names_this_version() -> None:
    assert f"## {__version__}" in TEXTS["CHANGELOG.md"]
