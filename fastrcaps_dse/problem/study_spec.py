"""What a study explores, and how: StudySpec. Two specs of one identity are the same study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from fastrcaps_dse.errors import InputError, nearest
from fastrcaps_dse.problem.notation import to_text
from fastrcaps_dse.problem.objectives import Objective, parse_objectives
from fastrcaps_dse.problem.quantities import ROBUST
from fastrcaps_dse.problem.ranges import Range
from fastrcaps_dse.problem.space import ENUMERABLE, LATER_DIMENSIONS, NAMED_DESIGNS, DesignPoint, DesignSpace, paper_name

Pruning = Literal["off", "safe", "on"]
Protocol = Literal["validation", "paper", "both", "all-images"]
Sampler = Literal["guided", "freeze-thaw", "tpe", "nsga2", "gp", "random", "exhaustive"]
TimeBy = Literal["steps", "measured"]
UNBOUNDED = 10**6  # trials; more than any study has


def holds_out(protocol: str) -> bool:
    """Whether a protocol holds training images out, which select the epoch."""
    return protocol in ("validation", "both")


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """What a study explores, and how. Raises InputError for a value that is not allowed."""

    name: str
    space: DesignSpace
    dataset: str = "mnist-sample"  # a name or a folder
    relabel: bool = False  # number the classes that occur 0, 1, ..., if the labels have gaps
    test_share: float | None = None  # of the images of each class: those that test, of a data set without a test set
    train_images: int | None = None  # that train, the same number of each class as far as there are; None for all
    # Held-out images select the epoch. both: they do, and the test set is evaluated after each epoch, too; paper: the test set selects
    # it; all-images: the last epoch counts.
    protocol: Protocol = "validation"
    epochs: int = 30  # of each run
    seeds: int = 1  # runs of each design, whose results are averaged
    trials: int = 20  # designs to try
    within: float | None = None  # s of training, by estimate: a machine that needs longer tries fewer designs
    sampler: Sampler = "guided"
    seed: int = 0  # of the sampler, and of the first run of each design
    objectives: tuple[Objective, ...] = field(default_factory=lambda: parse_objectives("acc,time,params"))
    first: tuple[DesignPoint, ...] = tuple(NAMED_DESIGNS.values())  # tried first, if the space admits them
    time: TimeBy = "steps"  # number of steps times the seconds of a step measured alone, or the clock time of each epoch
    pruning: Pruning = "off"  # whether runs that can no longer enter the front are ended early
    anytime: bool = False  # every epoch of a run is a design that one can have
    scale_decay: bool = False  # decay_steps are those of the paper's run, and scale with the steps of this one
    text: str = ""  # the study file as it was read

    def __post_init__(self) -> None:
        for name in ("epochs", "seeds", "trials"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}", f"e.g. {name} = 1")
        if self.within is not None and not 0 < self.within < math.inf:
            raise InputError(f"within must be a positive duration, got {self.within:g} s", 'e.g. within = "3m"')
        if self.test_share is not None and not 0 < self.test_share <= 0.9:
            raise InputError(f"test_share must be above 0 and at most 0.9, got {self.test_share}", "e.g. test_share = 0.2")
        if self.train_images is not None and self.train_images < 1:
            raise InputError(f"train_images must be at least 1, got {self.train_images}", "e.g. train_images = 6000")
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
        if self.protocol == "all-images" and self.pruning != "off":
            raise InputError("runs of the protocol all-images are not pruned: their last epoch counts", "use --pruning off")
        if self.sampler == "freeze-thaw" and not self.anytime:
            raise InputError(
                "the sampler freeze-thaw pauses runs, which gains nothing where only whole runs count",
                "add --anytime, or use --sampler guided",
            )
        if self.sampler == "freeze-thaw" and self.seeds > 1:
            raise InputError(
                f"the sampler freeze-thaw trains one run of each design, not {self.seeds}",
                f"use seeds = 1, and --max-seeds {self.seeds} adds seeds after the search where they matter",
            )
        if self.anytime and self.pruning != "off":
            raise InputError(
                "pruning ends runs that whole runs dominate; in the anytime view each epoch counts",
                "leave pruning off: the sampler freeze-thaw pauses what promises little",
            )
        if self.anytime and any(objective.name == ROBUST for objective in self.objectives):
            raise InputError(
                "robust is measured at the selected epoch of a whole run, so a study with it is not seen at any time",
                "leave out --anytime (anytime = true), or robust",
            )
        if self.sampler == "exhaustive" and not self.space.enumerable:
            size = self.space.size()
            raise InputError(
                f"the exhaustive sampler needs at most {ENUMERABLE:,} designs, "
                + ("the space has infinitely many" if size is None else f"the space has {size:,}"),
                "give each range under [space.fields] a step, list fewer values, or use guided",
            )

    @property
    def first_designs(self) -> list[DesignPoint]:
        """The designs of `first` that the space admits."""
        return [point for point in self.first if self.space.admits(point)]

    def identity(self) -> dict[str, Any]:
        """The settings that make two studies the same one: everything except how many trials it has and the text, as plain values."""
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
            **({"relabel": True} if self.relabel else {}),  # left out where they are not used, as in earlier versions
            **({} if self.test_share is None else {"test_share": self.test_share}),
            **({} if self.train_images is None else {"train_images": self.train_images}),
            **({"anytime": True} if self.anytime else {}),
            **({"scale_decay": True} if self.scale_decay else {}),
        }


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The differences between two identities, one line each, e.g. "epochs: 4 there, 5 here".

    `prefix` precedes each name; it is for nested tables.
    """
    lines = []
    for name in [*old, *(name for name in new if name not in old)]:
        a, b = old.get(name), new.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            lines.append(f"{prefix}{name}: {_brief(a)} there, {_brief(b)} here")
    return lines


def _brief(value: object) -> str:
    if value is None:
        return "not set"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def space_to_dict(space: DesignSpace) -> dict[str, Any]:
    """The space as plain values; without later dimensions that it does not open."""
    plain: dict[str, Any] = {f.name: list(getattr(space, f.name)) for f in fields(space) if f.name != "open_fields"}
    plain = {
        name: choices for name, choices in plain.items() if name not in LATER_DIMENSIONS or name in space.stated_dimensions
    }
    plain["lr_policy"] = [to_text(part) for part in space.lr_policy]
    plain["batch_schedule"] = [to_text(part) for part in space.batch_schedule]
    plain["fields"] = {
        name: {k: v for k, v in vars(r).items() if v is not None} if isinstance(r, Range) else list(r)
        for name, r in space.open_fields.items()
    }
    return plain


def override(spec: StudySpec, **changes: Any) -> StudySpec:
    """The spec with these fields changed. A change to None leaves the field as it is."""
    return replace(spec, **{name: value for name, value in changes.items() if value is not None})


def dataset_label(dataset: str) -> str:
    """The name of a data set, or of its folder, in names of studies."""
    name = Path(dataset).name
    return Path(dataset).resolve().name if name in ("", "..") else name


def dataset_text(identity: Mapping[str, Any]) -> str:
    """The data set of an identity, and how many of its images train if not all do, e.g. "mnist (6,000 images)"."""
    few = identity.get("train_images")
    return str(identity["dataset"]) if few is None else f"{identity['dataset']} ({few:,} training images)"


def single_design_study(point: DesignPoint, *, name: str | None, dataset: str, **settings: Any) -> StudySpec:
    """The study of a single design, which `train` runs.

    `name` is made from the settings if it is None. `settings` are fields of StudySpec, as in `override`.
    """
    space = DesignSpace(
        lr_policy=(point.lr_policy,),
        batch_schedule=(point.batch_schedule,),
        weight_sharing=(point.weight_sharing,),
        decoder=(point.decoder,),
        network=(point.network,),
        routing_iterations=(point.routing_iterations,),
        shift=(point.shift,),
        flip=(point.flip,),
    )
    spec = override(StudySpec(name="train", space=space, dataset=dataset, trials=1, first=(point,)), **settings)
    few = "" if spec.train_images is None else f" {spec.train_images} images"
    how = f"{spec.epochs} epochs{' scaled decay' if spec.scale_decay else ''} {spec.protocol} seed {spec.seed}"
    stated = f"train {paper_name(point) or point.label} {dataset_label(dataset)}{few} {how}"
    judged = " robust" if any(objective.name == ROBUST for objective in spec.objectives) else ""  # it needs a study of its own
    return replace(spec, name=name or f"{stated}{judged}{f' x{spec.seeds}' if spec.seeds > 1 else ''}")
