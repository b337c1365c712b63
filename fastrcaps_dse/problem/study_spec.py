"""Study files: TOML in, a validated StudySpec out, unknown keys refused with the nearest known one named."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.problem.notation import parse_policy, parse_schedule, to_text
from fastrcaps_dse.problem.objectives import Objective, parse_objectives
from fastrcaps_dse.problem.schedules import BATCH_SCHEDULES, LR_POLICIES
from fastrcaps_dse.problem.space import NAMED_DESIGNS, Decoder, DesignPoint, DesignSpace, Network, Range, parse_design

Pruning = Literal["off", "safe", "on"]
Protocol = Literal["validation", "paper"]
Sampler = Literal["guided", "tpe", "nsga2", "gp", "random", "exhaustive"]
TimeBy = Literal["steps", "measured"]
UNBOUNDED = 10**6  # trials: more than any study has


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """What a study is to explore, and how."""

    name: str
    space: DesignSpace
    dataset: str = "mnist-sample"  # a name or a folder
    protocol: Protocol = "validation"
    epochs: int = 30
    seeds: int = 1  # runs of each design, averaged
    trials: int = 20  # designs to try
    sampler: Sampler = "guided"
    seed: int = 0  # of the sampler, and the first of the runs' seeds
    objectives: tuple[Objective, ...] = field(default_factory=lambda: parse_objectives("acc,time,params"))
    first: tuple[DesignPoint, ...] = tuple(NAMED_DESIGNS.values())  # tried first, where the space admits them
    time: TimeBy = "steps"  # steps times the seconds of a step measured alone, or what a clock told of each epoch
    pruning: Pruning = "off"  # of runs that can no longer enter the front
    text: str = ""  # the study file as it was read

    def __post_init__(self) -> None:
        for name in ("epochs", "seeds", "trials"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}", f"e.g. {name} = 1")
        if self.seed < 0:
            raise InputError(f"seed must be 0 or more, got {self.seed}", "e.g. seed = 0")
        for name, kinds in (
            ("protocol", get_args(Protocol)),
            ("sampler", get_args(Sampler)),
            ("time", get_args(TimeBy)),
            ("pruning", get_args(Pruning)),
        ):
            if getattr(self, name) not in kinds:
                raise InputError(f"unknown {name} {getattr(self, name)!r}", nearest(str(getattr(self, name)), kinds))
        if self.sampler == "exhaustive" and not self.space.finite:
            raise InputError(
                "the exhaustive sampler needs a finite design space",
                "give each range under [space.fields] a step, or use guided",
            )

    @property
    def first_designs(self) -> list[DesignPoint]:
        """The designs to try first: those that the space admits."""
        return [point for point in self.first if self.space.admits(point)]

    def identity(self) -> dict[str, Any]:
        """What makes two studies the same study: everything but its length and its text."""
        return {
            "dataset": self.dataset,
            "protocol": self.protocol,
            "epochs": self.epochs,
            "seeds": self.seeds,
            "seed": self.seed,
            "sampler": self.sampler,
            "time": self.time,
            "pruning": self.pruning,
            "objectives": [objective.name for objective in self.objectives],
            "first": [point.key for point in self.first_designs],
            "space": space_to_dict(self.space),
        }


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between two identities, one line each: "epochs: 4 there, 5 here"."""
    lines = []
    for name in [*old, *(name for name in new if name not in old)]:
        a, b = old.get(name), new.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            lines.append(f"{prefix}{name}: {_brief(a)} there, {_brief(b)} here")
    return lines


def _brief(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def space_to_dict(space: DesignSpace) -> dict[str, Any]:
    """The space as plain values."""
    plain: dict[str, Any] = {f.name: list(getattr(space, f.name)) for f in fields(space) if f.name != "open_fields"}
    plain["lr_policy"] = [to_text(part) for part in space.lr_policy]
    plain["batch_schedule"] = [to_text(part) for part in space.batch_schedule]
    plain["fields"] = {
        name: {k: v for k, v in vars(r).items() if v is not None} if isinstance(r, Range) else list(r)
        for name, r in space.open_fields.items()
    }
    return plain


def load_study(path: Path) -> StudySpec:
    """A study file. Raises InputError for a file that cannot be read or understood."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"no study file {path}", "name one of studies/*.toml, or write one: see README") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the study file {path} cannot be read: {error}", "is it a readable TOML file?") from None
    return parse_study(text, default_name=path.stem, source=str(path))


PACKAGE = Path(__file__).parent.parent
STUDY_FOLDERS = (Path("studies"), PACKAGE / "studies", PACKAGE.parent / "studies")
"""Here, installed, or in the repository that an editable installation runs from."""


def find_study_file(name: str) -> StudySpec:
    """A study file by its path, or by its name from studies/ here or from those that are installed. Raises InputError."""
    if name.endswith(".toml") or Path(name).is_file():
        return load_study(Path(name))
    named = {path.stem: path for folder in reversed(STUDY_FOLDERS) for path in folder.glob("*.toml")}
    if name not in named:
        raise InputError(
            f"there is no study file {name!r}", nearest(name, sorted(named)) + "; or the path of a file of your own"
        )
    return load_study(named[name])


def parse_study(text: str, *, default_name: str, source: str = "the study file") -> StudySpec:
    """A study from the text of a study file. Raises InputError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source} is no TOML: {error}", "see studies/quick.toml for an example") from None
    known = [f.name for f in fields(StudySpec) if f.name != "text"]
    _refuse_unknown(document, known, source)
    given = dict(document)
    given["space"] = _parse_space(_table(given.get("space", {}), "space"), source)
    for name in ("epochs", "seeds", "trials", "seed"):
        if name in given and (type(given[name]) is not int):
            raise InputError(f"{source}: {name} must be a whole number, got {given[name]!r}", f"e.g. {name} = 1")
    for name in ("name", "dataset", "protocol", "sampler", "time", "pruning"):
        if name in given and not isinstance(given[name], str):
            raise InputError(f"{source}: {name} must be a text, got {given[name]!r}", f'e.g. {name} = "..."')
    if "objectives" in given:
        given["objectives"] = parse_objectives(_list(given["objectives"], "objectives"))
    if "first" in given:
        given["first"] = tuple(parse_design(str(text)) for text in _list(given["first"], "first"))
        for point in given["first"]:
            if not given["space"].admits(point):
                raise InputError(
                    f"{source}: the space does not admit {point.label!r} of first", "widen [space] or leave it out"
                )
    return StudySpec(**({"name": default_name} | given), text=text)


def _parse_space(table: Mapping[str, Any], source: str) -> DesignSpace:
    known = [f.name if f.name != "open_fields" else "fields" for f in fields(DesignSpace)]
    _refuse_unknown(table, known, f"[space] of {source}")
    choices = {name: _choices(table[name], name) for name in known if name in table and name != "fields"}
    defaults: dict[str, Any] = {
        "lr_policy": ["fixed", "exp-decay", "one-cycle", "warm-restarts", "warm-restarts(cycle=phase)"],
        "batch_schedule": [1, 16, 128, "adabatch"],
    }
    choices = defaults | choices
    space: dict[str, Any] = {name: tuple(values) for name, values in choices.items()}
    space["lr_policy"] = tuple(parse_policy(text) for text in choices["lr_policy"])
    space["batch_schedule"] = tuple(parse_schedule(text) for text in choices["batch_schedule"])
    for name, kinds in (("decoder", get_args(Decoder)), ("network", get_args(Network))):
        for value in choices.get(name, []):
            if value not in kinds:
                raise InputError(f"{source}: unknown {name} {value!r}", nearest(str(value), kinds))
    for name, kind in (("weight_sharing", bool), ("routing_iterations", int), ("shift", int)):
        for value in choices.get(name, []):
            if type(value) is not kind:
                raise InputError(
                    f"{source}: {name} lists {value!r}", f"write {'true or false' if kind is bool else 'whole numbers'}"
                )
    for point in ({"routing_iterations": value} for value in choices.get("routing_iterations", [])):
        DesignPoint(**point)
    for point in ({"shift": value} for value in choices.get("shift", [])):
        DesignPoint(**point)
    space["open_fields"] = _parse_fields(_table(table.get("fields", {}), "space.fields"), source)
    built = DesignSpace(**space)
    _check_corners(built)
    return built


def _check_corners(space: DesignSpace) -> None:
    """Every policy and schedule must be valid at both ends of every range, so that no trial can fail for a bad value."""
    for part in (*space.lr_policy, *space.batch_schedule):
        for name, r in space.fields_of(part).items():
            for value in (r.low, r.high) if isinstance(r, Range) else r:
                if name not in ("lr_min", "lr_max"):
                    space.with_fields(part, {name: value})
        open_here = space.fields_of(part)
        worst = {name: _extremes(open_here[name])[end] for name, end in (("lr_min", 1), ("lr_max", 0)) if name in open_here}
        space.with_fields(part, worst)


def _extremes(r: Range | tuple[float | str, ...]) -> tuple[float, float]:
    values = (r.low, r.high) if isinstance(r, Range) else tuple(float(v) for v in r)
    return min(values), max(values)


def _parse_fields(table: Mapping[str, Any], source: str) -> dict[str, Range | tuple[float | str, ...]]:
    known = sorted({f.name for cls in (*LR_POLICIES, *BATCH_SCHEDULES) for f in fields(cls)})
    _refuse_unknown(table, known, f"[space.fields] of {source}")
    parsed: dict[str, Range | tuple[float | str, ...]] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            _refuse_unknown(value, [f.name for f in fields(Range)], f"{name} of {source}")
            if not {"low", "high"} <= set(value):
                raise InputError(f"{source}: the range of {name} needs low and high", f"{name} = {{ low = 1e-4, high = 1e-3 }}")
            if not all(isinstance(value[k], (int, float)) for k in ("low", "high")):
                raise InputError(f"{source}: low and high of {name} must be numbers", f"{name} = {{ low = 1e-4, high = 1e-3 }}")
            r = Range(**({"step": 1, **value} if is_whole(name) else value))
            if not 0 <= r.low <= r.high or (r.log and r.low <= 0) or (r.step is not None and (r.step <= 0 or r.log)):
                raise InputError(f"{source}: bad range of {name}", "0 <= low <= high; log needs low > 0 and no step; step > 0")
            parsed[name] = r
        else:
            parsed[name] = tuple(_choices(value, name))
    return parsed


def is_whole(name: str) -> bool:
    """Whether the open field of this name is a whole number."""
    return any(f.name == name and str(f.type) == "int" for cls in (*LR_POLICIES, *BATCH_SCHEDULES) for f in fields(cls))


def _refuse_unknown(table: Mapping[str, Any], known: list[str], where: str) -> None:
    for name in table:
        if name not in known:
            raise InputError(f"unknown key {name!r} in {where}", nearest(name, known))


def _table(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{name} must be a table", f"write [{name}]")
    return value


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{name} must be a list, got {value!r}", f"write {name} = [...]")
    return value


def _choices(value: object, name: str) -> list[Any]:
    values = _list(value, name)
    if not values:
        raise InputError(f"{name} lists nothing", f"write {name} = [...] with at least one choice")
    return values


def override(spec: StudySpec, **changes: Any) -> StudySpec:
    """The spec with these fields changed; None leaves a field as it is."""
    return replace(spec, **{name: value for name, value in changes.items() if value is not None})


def single_design_study(point: DesignPoint, *, name: str | None, dataset: str, **settings: Any) -> StudySpec:
    """The study of one design, which `train` runs; settings as in `override`."""
    space = DesignSpace(
        lr_policy=(point.lr_policy,),
        batch_schedule=(point.batch_schedule,),
        weight_sharing=(point.weight_sharing,),
        decoder=(point.decoder,),
        network=(point.network,),
        routing_iterations=(point.routing_iterations,),
        shift=(point.shift,),
    )
    spec = override(StudySpec(name="train", space=space, dataset=dataset, trials=1, first=(point,)), **settings)
    stated = f"train {point.label} {Path(dataset).name} {spec.epochs} epochs {spec.protocol} seed {spec.seed}"
    return replace(spec, name=name or f"{stated}{f' x{spec.seeds}' if spec.seeds > 1 else ''}")
