"""What a study would train: `explore --dry-run`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from fastrcaps_dse.cli.app import print_json, say
from fastrcaps_dse.cli.options import DeviceOptions

if TYPE_CHECKING:
    from fastrcaps_dse.problem.study_spec import StudySpec


def print_plan(spec: StudySpec, data_dir: Path | None, device: DeviceOptions, as_json: bool) -> None:
    """What a study would train, and how long it would take."""
    from fastrcaps_dse.capsnet.memory import in_words
    from fastrcaps_dse.problem.quantities import counted, format_seconds
    from fastrcaps_dse.problem.space import design_to_dict
    from fastrcaps_dse.runs.estimates import make_plan

    plan = make_plan(spec, data_dir=data_dir, device=device.device, precision=device.precision)
    if as_json:
        designs = [
            {"label": d.point.label, "design": design_to_dict(d.point)}
            | {"params": d.params, "steps": d.steps, "seconds": d.seconds if math.isfinite(d.seconds) else None}
            | {"memory_bytes": d.memory}
            for d in plan.first
        ]
        size = {"study": spec.name, "designs": plan.designs, "seeds": spec.seeds, "seconds": plan.seconds}
        print_json(size | {"first": designs})
        return
    space = "infinitely many designs" if plan.size is None else counted(plan.size, "design")
    say(f"study {spec.name}: {plan.designs} of {space}, {counted(spec.seeds, 'run')} of each,")
    say(f"{counted(spec.epochs, 'epoch')} of {spec.dataset}, protocol {spec.protocol}, sampler {spec.sampler}")
    if plan.first:
        say("first the named designs that the space admits:")
    for d in plan.first:
        fits = math.isfinite(d.seconds)
        takes = f"about {format_seconds(d.seconds)} of training a run" if fits else "too little memory here"
        say(f"  {d.point.label:32} {d.params:>11,} params {d.steps:>9,} steps {in_words(d.memory):>8} memory, {takes}")
    if plan.designs > len(plan.first):
        say(f"{'then ' if plan.first else ''}{plan.designs - len(plan.first)} that the sampler proposes")
    say(f"estimated training time of the study on this machine: {format_seconds(plan.seconds)}")
