"""Study files that are wrong in ways that nobody thought of: each is one clear line, at once."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.space import ENUMERABLE
from fastrcaps_dse.problem.study_file import parse_study

SPACE = '[space]\nlr_policy = ["one-cycle"]\nbatch_schedule = [16, 32]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objectives = [1, 2]", "objectives must list texts, got 1"),
        ("first = [16]", "first must list texts"),
        ("epochs = 1" + "0" * 30, "epochs must be a whole number"),
        (SPACE + "[space.fields]\nlr_min = ['fixed']", "lr_min must be a number, got 'fixed'"),
        (SPACE + "[space.fields]\nlr_min = [[1e-4]]", r"lr_min lists \[0.0001\]"),
        (SPACE + "[space.fields]\nlr_min = [true]", "lr_min lists True"),
        (SPACE + "[space.fields]\nlr_min = [nan]", "lr_min lists nan"),
        (SPACE + "[space.fields]\nlr_min = [1" + "0" * 400 + "]", "lr_min lists 1000"),
        ("seed = 1" + "0" * 5000, "is not valid TOML: Exceeds the limit"),
        ("seed = 0x1" + "0" * 5000, "is not valid TOML: Exceeds the limit"),
        ("seed = " + "[" * 5000, "is not valid TOML: too many brackets"),
        ("test_share = 1" + "0" * 400, "test_share must be above 0"),
        (SPACE + "[space.fields]\nlr_min = [-inf]", "lr_min lists -inf"),
        (SPACE + "[space.fields]\nlr_max = { low = 1e-3, high = 1" + "0" * 400 + " }", "must be numbers"),
        (SPACE + "[space.fields]\nlr_max = { low = 1e-3, high = nan }", "low, high and step of lr_max must be numbers"),
        (SPACE + "[space.fields]\nlr_max = { low = 1e-3, high = inf }", "must be numbers"),
        (SPACE + "[space.fields]\nlr_max = { low = true, high = 1e-2 }", "must be numbers"),
        (SPACE + "[space.fields]\nlr_max = { low = 1e-3, high = 1e-2, step = 'x' }", "must be numbers"),
        (SPACE + "[space.fields]\nlr_max = { low = 1e-3, high = 1e-2, step = nan }", "must be numbers"),
        (SPACE + "[space.fields]\nlr_max = { low = 1e-3, high = 1e-2, step = 1e-300 }", "the step of lr_max is too fine"),
        (SPACE + "[space.fields]\nlr_max = { low = 1e-3, high = 1e-2, log = 1 }", "log of lr_max must be true or false"),
        (SPACE + "[space.fields]\nsize = { low = 1.5, high = 8 }", "low, high and step of size must be whole numbers"),
        (SPACE + "[space.fields]\nsize = { low = 1, high = 8, log = true }", "whole numbers, which are sampled evenly"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        parse_study(text, default_name="x")
    assert error.value.hint


def counted(fields: str, batches: str = '["fixed"]', more: str = "") -> int | None:
    text = f'[space]\nlr_policy = ["fixed"]\nbatch_schedule = {batches}\nweight_sharing = [false]\ndecoder = ["full"]\n{more}'
    return parse_study(f"{text}[space.fields]\n{fields}", default_name="x").space.size()


def test_a_large_space_is_counted_and_not_listed() -> None:
    """Seven wide ranges have more designs than any machine lists; the count is their product."""
    begun = time.process_time()
    assert counted("size = { low = 1, high = 1e7, step = 1 }") == 10**7
    wide = "size = { low = 1, high = 1e7 }\nlr = { low = 0.001, high = 0.101, step = 0.001 }\n"
    assert counted(wide) == 10**7 * 101
    assert counted(wide, more='network = ["capsnet", "lenet5"]\nrouting_iterations = [1, 2, 3]\n') == 10**7 * 101 * 4
    spec = parse_study(f'[space]\nbatch_schedule = ["fixed"]\n[space.fields]\n{wide}', default_name="x")
    assert spec.space.finite and not spec.space.enumerable and len(spec.space.examples()) > 10
    with pytest.raises(ValueError, match="too large"):
        next(spec.space.designs())
    assert time.process_time() - begun < 5  # listing them takes minutes


@pytest.mark.parametrize(
    ("fields", "batches"),
    [
        ("size = [8, 16, 16, 32]", '["fixed", 16]'),
        ("lr = [1e-3, 0.001, 1.0000001e-3, 2e-3]", "[16, 16, 32]"),
        ("tail_batch = [16, 32]\nhead_batch = [1, 2]", '["adabatch", "adabatch(tail_batch=64)", "adabatch-p", 8]'),
        ("size = { low = 8, high = 40, step = 8 }\nlr = { low = 1e-3, high = 2e-3, step = 5e-4 }", '["fixed", "adabatch"]'),
    ],
)
def test_the_count_is_that_of_the_list(fields: str, batches: str) -> None:
    more = 'network = ["lenet5", "capsnet", "capsnet"]\nrouting_iterations = [1, 3]\nshift = [0, 2, 2]\nflip = [true, false, true]\n'
    text = f'[space]\nlr_policy = ["fixed", "exp-decay"]\nbatch_schedule = {batches}\n{more}[space.fields]\n{fields}'
    space = parse_study(text, default_name="x").space
    assert space.size() == len([*space.designs()]) == len({point.key for point in space.designs()})


def test_the_exhaustive_sampler_takes_no_more_than_can_be_listed() -> None:
    text = 'sampler = "exhaustive"\n[space]\nlr_policy = ["fixed"]\nbatch_schedule = ["fixed"]\n'
    text += "[space.fields]\nsize = {{ low = 1, high = {} }}"
    each = ENUMERABLE // 4  # with and without weight sharing, two decoders
    parse_study(text.format(each), default_name="x")
    with pytest.raises(InputError, match=f"at most {ENUMERABLE:,} designs, the space has {4 * (each + 1):,}"):
        parse_study(text.format(each + 1), default_name="x")


# --- anything at all --------------------------------------------------------------------------------------------------

texts = st.sampled_from(
    ["fixed", "one-cycle", "x", "", "phase", "1", "nan", "adabatch", "one-cycle(lr_max=1e400)", "wab · b16", "\x1b[31m"]
)
numbers = st.one_of(
    st.integers(-3, 40), st.sampled_from([2**63, 10**400]), st.floats(), st.sampled_from([1e-300, 1e-3, 1e7, 0.5])
)
plain = st.one_of(st.booleans(), numbers, texts)
tables = st.dictionaries(st.sampled_from(["low", "high", "step", "log"]), plain, max_size=4)
anything = st.recursive(st.one_of(plain, tables), lambda inner: st.lists(inner, max_size=3), max_leaves=5)
TOP: tuple[str, ...] = (
    "name",
    "dataset",
    "relabel",
    "test_share",
    "protocol",
    "epochs",
    "seeds",
    "trials",
    "within",
    "sampler",
    "seed",
    "objectives",
)
TOP = (*TOP, "first", "time", "pruning")
DIMENSIONS = (
    "lr_policy",
    "batch_schedule",
    "weight_sharing",
    "decoder",
    "network",
    "routing_iterations",
    "shift",
    "flip",
    "fields",
)
FIELDS: tuple[str, ...] = (
    "lr",
    "lr_min",
    "lr_max",
    "half",
    "cycle",
    "power",
    "decay",
    "decay_steps",
    "size",
    "p",
    "head_batch",
    "head_epochs",
)
FIELDS = (*FIELDS, "tail_batch", "tail_lr", "tail")


def toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value)
        case float() if not math.isfinite(value):
            return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{key} = {toml(inner)}' for key, inner in value.items())} }}"
    return repr(value)


def lines(table: dict[str, Any]) -> str:
    return "".join(f"{key} = {toml(value)}\n" for key, value in table.items())


@settings(max_examples=400, deadline=2000)
@given(
    st.dictionaries(st.sampled_from(TOP), anything, max_size=2),
    st.dictionaries(st.sampled_from(DIMENSIONS), anything, max_size=2),
    st.dictionaries(st.sampled_from(FIELDS), anything, max_size=3),
)
@example({}, {}, {"size": {"low": 1, "high": 1e7, "step": 1}})
@example({"objectives": [1, 2]}, {}, {})
@example({}, {}, {"lr": {"low": 1e-3, "high": 1e-2, "step": 1e-300}})
def test_any_study_file_is_read_or_refused_in_one_line(
    top: dict[str, Any], space: dict[str, Any], opened: dict[str, Any]
) -> None:
    text = lines(top) + "[space]\n" + lines(space) + ("" if "fields" in space else "[space.fields]\n" + lines(opened))
    try:
        spec = parse_study(text, default_name="x")
    except InputError as error:
        assert "\n" not in error.message and error.message
        return
    assert spec.identity() and spec.space.examples()
    size = spec.space.size()
    assert size is None or size > 0
