"""A study file to start from, and single settings of one: `init` and `explore --set`."""

from __future__ import annotations

import json
import re
import sqlite3
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrcaps_dse.cli.starting import TEMPLATE
from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.schedules import BATCH_SCHEDULES, LR_POLICIES
from fastrcaps_dse.problem.settings import FIELDS, KEYS, to_toml, with_settings
from fastrcaps_dse.problem.space import DesignSpace
from fastrcaps_dse.problem.study_file import PACKAGE, parse_study
from fastrcaps_dse.problem.study_spec import StudySpec
from tests.conftest import Command

STUDIES = sorted((PACKAGE.parent / "studies").glob("*.toml"))


# --- init -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_the_parser_is_in_the_template(key: str) -> None:
    *table, name = key.split(".")
    section = TEMPLATE.partition("\n[space]")[0]
    if table:
        start = f"\n[{'.'.join(table)}]"
        section = re.split(r"\n\[", TEMPLATE.partition(start)[2])[0]
    assert re.search(rf"^(# )?{name} = \S", section, flags=re.M), key


def test_keys_are_those_of_the_parser() -> None:
    """The parser refuses a key that it does not have, and names all that it has."""
    with pytest.raises(InputError) as top:
        parse_study("nothing_like_it = 1", default_name="x")
    with pytest.raises(InputError) as space:
        parse_study("[space]\nnothing_like_it = 1", default_name="x")
    with pytest.raises(InputError) as inner:
        parse_study("[space.fields]\nnothing_like_it = 1", default_name="x")
    known = [error.value.hint.partition("known: ")[2].split(", ") for error in (top, space, inner)]
    names = [*known[0], *(f"space.{name}" for name in known[1]), *(f"space.fields.{name}" for name in known[2])]
    assert sorted(names) == sorted([*KEYS, "space", "space.fields"])
    assert set(FIELDS) == {f.name for cls in (*LR_POLICIES, *BATCH_SCHEDULES) for f in fields(cls)}


def test_the_defaults_in_the_template_are_the_defaults() -> None:
    """Whatever is commented out: with it, the study is the same. The keys without a default say so."""
    plain = parse_study(TEMPLATE, default_name="mine")
    fields_of_space = {f.name for f in fields(DesignSpace)}
    count = 0
    for line in TEMPLATE.splitlines():
        match = re.match(r"# (\w+) = ", line)
        if not match or "(no default)" in line:
            continue
        text = TEMPLATE.replace(line, line.removeprefix("# "))
        changed = parse_study(text, default_name="mine")
        count += 1
        if "; default: " in line:  # said in words
            assert changed.first != plain.first and len(changed.first) == 1
        elif match[1] in FIELDS:
            (value,) = changed.space.open_fields[match[1]] if "low" not in line else (0.45,)  # type: ignore[misc]
            assert any(
                f.name == match[1] and f.default == value for cls in (*LR_POLICIES, *BATCH_SCHEDULES) for f in fields(cls)
            )
        elif match[1] in fields_of_space:
            assert getattr(changed.space, match[1]) == getattr(plain.space, match[1])
        else:
            assert getattr(changed, match[1]) == getattr(plain, match[1])
    assert count > 20


def test_stated_defaults_of_the_small_space() -> None:
    default: Any = parse_study("", default_name="x")
    for name in ("epochs", "trials"):
        assert re.search(rf"^{name} = \d+ +# .*default {getattr(default, name)}$", TEMPLATE, flags=re.M)
    stated = tomllib.loads("[space]\n" + "\n".join(re.findall(r"^# default: (.+)$", TEMPLATE, flags=re.M)))
    space = parse_study(to_toml(stated), default_name="x").space
    assert (space.lr_policy, space.batch_schedule) == (default.space.lr_policy, default.space.batch_schedule)
    assert f"default {json.dumps(list(default.space.decoder))}" in TEMPLATE


def test_init_writes_once(command: Command, tmp_path: Path) -> None:
    said = command("init", "a/mine.toml")
    assert said.code == 0 and said.out == "a/mine.toml\n" and "explore a/mine.toml" in said.err
    (tmp_path / "a/mine.toml").write_text("epochs = 7\n")
    again = command("init", "a/mine.toml")
    assert again.code == 2 and "a/mine.toml is there already" in again.err and "hint: name another file" in again.err
    assert (tmp_path / "a/mine.toml").read_text() == "epochs = 7\n"
    assert command("init").out == "mine.toml\n" and (tmp_path / "mine.toml").read_text() == TEMPLATE
    assert command("init", "mine.txt").code == 2 and command("init", "/proc/none/x.toml").code == 1


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_explore_works_on_it(command: Command, tiny: Path) -> None:
    command("init")
    said = command("explore", "mine.toml", "--set", f'dataset="{tiny}"', "--set", "time=measured", "--device", "cpu")
    assert said.code == 0 and "[4/4]" in said.err
    assert json.loads(command("studies", "--json").out)[0]["study"] == "mine"


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("epochs=5", {"epochs": 5}),
        ("sampler=tpe", {"sampler": "tpe"}),
        ('dataset="my images"', {"dataset": "my images"}),
        ("dataset=fashion-mnist", {"dataset": "fashion-mnist"}),
        ("relabel=true", {"relabel": True}),
        ("objectives = ['acc', \"time\"]", {"objectives": ["acc", "time"]}),
        ("space.decoder=['small']", {"space": {"decoder": ["small"]}}),
        (
            "space.fields.lr_max={low=1e-3, high=5e-3, log=true}",
            {"space": {"fields": {"lr_max": {"low": 1e-3, "high": 5e-3, "log": True}}}},
        ),
        ("space.fields.lr_max.low=0.002", {"space": {"fields": {"lr_max": {"low": 0.002}}}}),
    ],
)
def test_a_setting(setting: str, expected: dict[str, Any]) -> None:
    assert tomllib.loads(with_settings("", [setting])) == expected


def test_settings_change_a_file_and_nothing_else() -> None:
    text = "epochs = 3\n[space]\nshift = [1]\n[space.fields]\nlr_max = { low = 1e-3, high = 2e-3 }\nsize = [4, 8]\n"
    changed = with_settings(
        text, ["space.fields.lr_max.high=0.004", "trials=9", "trials=8", "space.fields.size={low=4,high=8}"]
    )
    assert tomllib.loads(changed) == {
        "epochs": 3,
        "trials": 8,
        "space": {"shift": [1], "fields": {"lr_max": {"low": 1e-3, "high": 0.004}, "size": {"low": 4, "high": 8}}},
    }
    assert with_settings(text, []) == text


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: str(path.stem))
def test_study_files_stay_what_they_are(path: Path) -> None:
    text = path.read_text()
    document = tomllib.loads(text)
    assert tomllib.loads(to_toml(document)) == document
    plain, changed = (parse_study(t, default_name=path.stem) for t in (text, with_settings(text, ["trials=77"])))
    assert changed.trials == 77 and changed.identity() == plain.identity()


PLAIN = st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.text())
NAMES = st.text("abc_-9", min_size=1, max_size=5)


@given(
    st.dictionaries(NAMES, st.one_of(PLAIN, st.lists(PLAIN, max_size=3), st.dictionaries(NAMES, PLAIN, max_size=3)), max_size=5)
)
def test_toml_is_read_back(document: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(document)) == document


@pytest.mark.parametrize(
    ("setting", "message", "hint"),
    [
        ("epoch=5", "unknown key 'epoch' in --set", "did you mean 'epochs'"),
        ("space.fields.lr_mx=[1]", "unknown key 'space.fields.lr_mx'", "did you mean 'space.fields.lr_max'"),
        ("space.decoders=['small']", "unknown key", "did you mean 'space.decoder'"),
        ("space=1", "unknown key", "known: "),
        ("text=x", "unknown key", "known: "),
        ("epochs", "--set takes KEY=VALUE, got 'epochs'", "epochs=5"),
        ("dataset=my images", "'my images' is not a value of TOML", "--set dataset='\"my images\"'"),
        ("space.decoder=[small]", "is not a value of TOML", "space.decoder='[\"small\"]'"),
        ("epochs=5\ntrials=3", "is not a value of TOML", "quotes"),
    ],
)
def test_wrong_settings(setting: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        with_settings("", [setting])
    assert message in error.value.message and hint in error.value.hint


def test_a_wrong_value_is_told_by_the_parser(command: Command) -> None:
    said = command("explore", "--dry-run", "--set", "epochs=two")
    assert said.code == 2 and "epochs must be a whole number" in said.err and "--set" in said.err
    assert command("explore", "--dry-run", "--set", "space.decoder=['big']").code == 2


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_the_stored_study_file_has_the_settings(command: Command, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(f'dataset = "{tiny}"\ntime = "measured"\nepochs = 9\ntrials = 1\n')
    settings = ("--set", "epochs=1", "--set", 'space.decoder=["small"]', "--set", "space.lr_policy=['one-cycle']")
    more = (*settings, "--set", "space.fields.lr_max={low=1e-3, high=2e-3}", "--set", "space.batch_schedule=[8]")
    assert command("explore", "t.toml", *more, "--device", "cpu").code == 0
    stored = json.loads(command("studies", "--json").out)[0]
    document = tomllib.loads(stored["study_file"])
    assert stored["epochs"] == document["epochs"] == 1 and document["space"]["fields"]["lr_max"] == {"low": 1e-3, "high": 2e-3}
    spec: StudySpec = parse_study(stored["study_file"], default_name="t")
    database = sqlite3.connect(tmp_path / "studies/fastrcaps.db")
    identity = json.loads(database.execute("SELECT identity FROM fastrcaps_study").fetchone()[0])
    database.close()
    assert json.loads(json.dumps(spec.identity())) == identity
    again = command("explore", "t.toml", "--set", "epochs=2", "--device", "cpu")
    assert again.code == 2 and "epochs: 1 there, 2 here" in again.err
