"""A StudySpec from what a database has of its study: the identity, the name and the study file's text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastrcaps_dse.errors import InputError
from fastrcaps_dse.problem.notation import parse_policy, parse_schedule
from fastrcaps_dse.problem.objectives import parse_objectives
from fastrcaps_dse.problem.ranges import Choice, Range
from fastrcaps_dse.problem.space import DesignSpace, parse_design
from fastrcaps_dse.problem.study_file import parse_study
from fastrcaps_dse.problem.study_spec import StudySpec, differences

AS_THEY_ARE = (
    "dataset",
    "protocol",
    "epochs",
    "seeds",
    "seed",
    "sampler",
    "time",
    "pruning",
    "relabel",
    "test_share",
    "train_images",
    "anytime",
    "scale_decay",
)
"""Settings of an identity that are plain values of a spec, too."""


def spec_from_identity(identity: Mapping[str, Any], *, name: str, text: str, trials: int | None = None) -> StudySpec:
    """The study of a stored identity (see `StudySpec.identity`), whatever options it was started with.

    Arguments:
        name: of the study.
        text: its study file; how many trials it asks for, and within which time, are not part of the identity.
        trials: how many trials a study without a text asks for; None for the default.

    Raises InputError for an identity that this version cannot take up exactly as it is.
    """
    given: dict[str, Any] = {setting: identity[setting] for setting in AS_THEY_ARE if setting in identity}
    spec = StudySpec(
        name=name,
        space=space_from_dict(identity["space"]),
        objectives=parse_objectives(identity["objectives"]),
        first=tuple(parse_design(key) for key in identity["first"]),
        text=text,
        **given,
        **_extent(text, name, trials),
    )
    differing = differences(identity, spec.identity())
    if differing:
        raise InputError(
            f"the study {name!r} cannot be taken up as it is stored: {'; '.join(differing)}",
            "continue it with its study file and options, or begin another with --study NAME",
        )
    return spec


def space_from_dict(plain: Mapping[str, Any]) -> DesignSpace:
    """The space that `space_to_dict` gave."""
    values: dict[str, Any] = {name: tuple(choices) for name, choices in plain.items() if name != "fields"}
    values["lr_policy"] = tuple(map(parse_policy, plain["lr_policy"]))
    values["batch_schedule"] = tuple(map(parse_schedule, plain["batch_schedule"]))
    return DesignSpace(**values, open_fields={name: _choice(choice) for name, choice in plain["fields"].items()})


def _choice(plain: Mapping[str, Any] | list[Any]) -> Choice:
    return Range(**plain) if isinstance(plain, Mapping) else tuple(plain)


def _extent(text: str, name: str, trials: int | None) -> dict[str, Any]:
    """How far a study goes: by its text, if this version can read it."""
    if text:
        try:
            parsed = parse_study(text, default_name=name)
            return {"trials": parsed.trials, "within": parsed.within}
        except InputError:  # an earlier version has written it: the rest of the study is in its identity
            pass
    return {} if trials is None else {"trials": trials}
