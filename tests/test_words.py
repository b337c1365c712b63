"""The words: one term for one thing, in names and texts, and American spelling. Each rule says which word to use instead."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("fastrcaps_dse", "tests", "benchmarks", "examples", "docs", "studies", "reports")
SUFFIXES = (".py", ".js", ".css", ".html", ".md", ".toml")
FILES = sorted(
    path
    for path in [
        *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")),
        *(
            ROOT / name
            for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "Makefile", "pyproject.toml")
        ),
    ]
    if path.is_file() and (path.suffix in SUFFIXES or path.parent == ROOT) and path != Path(__file__)
)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A word that has a better one."""

    word: str  # a regular expression over lines in which names are split into words; case is ignored
    instead: str
    finds: str  # an example
    permits: str  # a line with the same letters that is right
    only: str = ""  # a regular expression over paths: where the rule holds; everywhere by default
    allowed: str = ""  # a regular expression over paths: where the word is right
    unless: str = ""  # a regular expression over lines: what the word is right with


OLD_NAMES = r"fastrcaps_dse/store/migration\.py|tests/test_store\.py|benchmarks/same_results\.py"
"""Where names of earlier versions, in their databases and command lines, are translated."""

RULES = [
    # --- features by their standard names
    Rule(
        word=r"foresight|foresees?\b|foreseen|foresaw",
        instead="cost model, forecast",
        finds="self.foresight",
        permits="the forecast",
    ),
    Rule(
        word=r"(?<!from the )(?<!at the )(?<!in the )\bbeginnings?\b(?! of\b)",
        instead="prefix, prefix cache",
        finds="training.beginning_keys()",
        permits="at the beginning of an epoch",
    ),
    Rule(
        word=r"\bsettl(e|es|ed|ing)\b",
        instead="racing, --max-seeds; final, certain",
        finds="explore --settle 6",
        permits="the settings",
        allowed=OLD_NAMES,
    ),
    Rule(
        word=r"\bstopping\b|\bstopped after\b|\bearly.stop\w*",
        instead="pruning, pruned_after",
        finds="row.stopped_after",
        permits="the study stopped",
        allowed=OLD_NAMES,
    ),
    Rule(word=r"\bmend(s|ed|ing)?\b", instead="fix, hint", finds="how to mend it", permits="recommended, amended"),
    Rule(word=r"\bremed(y|ies)\b", instead="hint", finds="error.remedy", permits="a hint"),
    Rule(word=r"\bdata base\b", instead="database", finds="the data base", permits="the database"),
    Rule(word=r"\bcrew\b|\bstaff\b", instead="worker pool, executor", finds="class Crew:", permits="a screw"),
    Rule(word=r"\bside_by_side\b", instead="executor", finds="side_by_side(2, job)", permits="runs side by side"),
    Rule(
        word=r"(?-i:\btextplot\b|\bstudyspec\b)", instead="terminal, study_spec", finds="import textplot", permits="a StudySpec"
    ),
    Rule(
        word=r"\bsurrogates?\b",
        instead="guided; the surrogate is the model inside that search",
        finds="from fastrcaps_dse import surrogate",
        permits="the guided search",
        only=r"fastrcaps_dse/(?!search/)",
    ),
    Rule(
        word=r"\bcandidates?\b",
        instead="design; a search chooses among candidates, and so does a pick",
        finds="candidates: Sequence[Design]",
        permits="candid",
        only=r"fastrcaps_dse/(problem|store|capsnet|data|trainer|runs|figures)/|^studies/|^README|^docs/study-files",
    ),
    Rule(
        word=r"\bconfig(s|urations?)?\b",
        instead="design, study file, options",
        finds="the best config",
        permits="config = uvicorn.Config(app)",
        unless=r"uvicorn|super\(\)|plotly|Plotly|displaylogo|fsspec|syne_tune|trial\.config|suggest\(\)\.config",  # what these call it
    ),
    Rule(
        word=r"\biterations?\b",
        instead="step, epoch; only routing has iterations",
        finds="training iterations",
        permits="routing_iterations",
        allowed=r"fastrcaps_dse/capsnet/|benchmarks/yardstick\.py|tests/test_(kernels|network)\.py",  # of routing
        unless=r"routing|StopIteration",
    ),
    Rule(
        word=r"\bsharing\b",
        instead="a word of its own; only weights are shared by `weight sharing`",
        finds="trainer.sharing",
        permits="weight_sharing: bool",
        unless=r"(?i)weight|decoder",  # a variable beside the decoder is that of the weights
        allowed=r"tests/test_guided\.py",  # the same
    ),
    Rule(
        word=r"\bdraw(s|n|ing|ings)?\b",
        instead="sample, choose at random; only figures are drawn",
        finds="DRAWS = 32",
        permits="a drawback",
        only=r"fastrcaps_dse/(problem|analysis|search|data|trainer|runs|store|capsnet)/",
    ),
    Rule(
        word=r"\bdrawn (at random|from|noise|with a)|\bdraw (of|around)\b",
        instead="sampled",
        finds="images drawn from the full set",
        permits="a figure drawn by a browser",
    ),
    # --- plain English
    Rule(
        word=r"\bgive or take\b|\bwhere(of|in|upon)\b|\bthere(of|in|upon)\b|\bhere(by|in|of)\b|\bhitherto\b|\bshall\b",
        instead="a short sentence in today's English",
        finds="3 ms, give or take 2 %",
        permits="shallow",
    ),
    Rule(
        word=r"\bof which it is\b|\bit is open whether\b|\bthat nobody trains\b",
        instead="`uncertain`, or the subject first",
        finds="designs of which it is open whether they are on the front",
        permits="it is uncertain whether",
    ),
    # --- American spelling
    Rule(
        word=r"\bcolour\w*|\b\w*behaviour\w*|\bneighbour\w*|\bfavour\w*|\bhonour\w*|\blabour\w*",
        instead="-or",
        finds="colours of the curves",
        permits="colors, behavior",
    ),
    Rule(word=r"\blicences?\b", instead="license", finds="MIT licence", permits="MIT license"),
    Rule(word=r"\bgrey\w*", instead="gray", finds="a grey line", permits="agree"),
    Rule(
        word=r"\b\w*(initial|minim|maxim|normal|optim|random|synchron|serial|parallel|general|visual|summar|recogn|organ|real|util"
        r"|categor|discret|standard|token|vector|quant)is(e|es|ed|ing|ations?|ers?)\b",
        instead="-ize",
        finds="minimised",
        permits="minimized, precise, promise",
    ),
    Rule(
        word=r"\bcentre\w*|\banalyse[sd]?\b|\bmodell(ed|ing)\b|\blabell(ed|ing)\b|\bartefacts?\b|\bcatalogue\b|\bwhilst\b|\blearnt\b",
        instead="American spelling",
        finds="the centre",
        permits="the center, modeled",
    ),
]


def words_of(line: str) -> str:
    """A line with its names split into words: `stepSeconds` and `step_seconds` read "step Seconds" and "step seconds"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", line).replace("_", " ")


def hits(rule: Rule, line: str) -> bool:
    """Whether a rule objects to a line, as it is written or with its names split."""
    if rule.unless and re.search(rule.unless, line):
        return False
    return any(re.search(rule.word, text, flags=re.IGNORECASE) for text in {line, words_of(line)})


@cache
def lines_of(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8").splitlines())


@cache
def text_of(path: Path) -> str:
    """All lines of a file, and after them all with their names split."""
    return "\n".join((*lines_of(path), *map(words_of, lines_of(path))))


def objections(rule: Rule) -> Iterator[str]:
    """ "path:line: text" of everything that a rule objects to."""
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        if not re.search(rule.only, name) or (rule.allowed and re.search(rule.allowed, name)):
            continue
        if hits(rule, path.stem):
            yield f"{name}: the name of the file"
        if not re.search(rule.word, text_of(path), flags=re.IGNORECASE | re.MULTILINE):
            continue  # most files: one look at the whole is quicker than one at each line
        for number, line in enumerate(lines_of(path), 1):
            if hits(rule, line):
                yield f"{name}:{number}: {line.strip()[:120]}"


def rule_names(rule: Rule) -> str:
    return re.sub(r"\W+", " ", rule.finds).strip()


@pytest.mark.parametrize("rule", RULES, ids=rule_names)
def test_a_rule_finds_its_word_and_permits_others(rule: Rule) -> None:
    assert hits(rule, rule.finds) and not hits(rule, rule.permits)


@pytest.mark.parametrize("rule", RULES, ids=rule_names)
def test_no_text_and_no_name_has_a_word_that_has_a_better_one(rule: Rule) -> None:
    found = [*objections(rule)]
    assert not found, f"use {rule.instead}:\n" + "\n".join(found)


CATCH_ALL = {"known", "shown", "place", "places"}
"""Names that say nothing of what they hold."""


def defined_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(name, line) of everything that a module defines: functions, classes, arguments, variables, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def test_defined_names_are_found() -> None:
    source = "class A:\n    b: int\n    def c(self, d):\n        self.e = [f for f in d]\n"
    assert {name for name, _ in defined_names(ast.parse(source))} == {"A", "b", "c", "self", "d", "e", "f"}


def test_no_name_of_the_package_is_a_catch_all() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in FILES
        if path.suffix == ".py" and path.is_relative_to(ROOT / "fastrcaps_dse")
        for name, line in defined_names(ast.parse(path.read_text(encoding="utf-8")))
        if name in CATCH_ALL
    ]
    assert not found, "use a name that says what it is:\n" + "\n".join(found)


def test_the_files_are_found() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in FILES}
    assert {
        "README.md",
        "CHANGELOG.md",
        "fastrcaps_dse/session/opening.py",
        "fastrcaps_dse/page/assets/app.js",
        "tests/conftest.py",
    } <= names
    assert {"reports/benchmarks/README.md", "studies/quick.toml", "docs/study-files.md", "benchmarks/search.py"} <= names
