"""What a study would train: `explore --dry-run`."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fastrcaps_dse.cli.app import hint, print_json, say
from fastrcaps_dse.cli.options import DeviceOptions

START_UP = 15.0  # s of a process, at most, in which it loads its libraries

if TYPE_CHECKING:
    from fastrcaps_dse.problem.study_spec import StudySpec
    from fastrcaps_dse.runs.plans import Plan


def print_plan(
    spec: StudySpec, data_dir: Path | None, device: DeviceOptions, workers: int | None, max_seeds: int, as_json: bool
) -> None:
    """What a study would train, and how long it would take."""
    hint("looking at what training costs here, for some 10 s ...")
    from fastrcaps_dse.capsnet.memory import in_words
    from fastrcaps_dse.problem.quantities import counted, format_seconds
    from fastrcaps_dse.problem.study_spec import dataset_text
    from fastrcaps_dse.runs.plans import make_plan

    plan = make_plan(
        spec,
        data_dir=data_dir,
        device=device.device,
        precision=device.precision,
        workers=workers,
        max_seeds=max_seeds,
        start_up=min(START_UP, time.process_time()),
        say=lambda text: hint(f"  {text}"),
    )
    if as_json:
        _print_json(spec, plan)
        return
    space = "infinitely many designs" if plan.size is None else counted(plan.size, "design")
    anytime = " in the anytime view" if spec.anytime else ""
    say(f"study {spec.name}{anytime}: {plan.designs} of {space}, {counted(spec.seeds, 'run')} of each,")
    say(f"{counted(spec.epochs, 'epoch')} of {dataset_text(spec.identity())}, protocol {spec.protocol}, sampler {spec.sampler}")
    if plan.decay is not None:
        say(plan.decay)
    if plan.first:
        say("first the designs that the study names:")
    for d in plan.first:
        fits = math.isfinite(d.seconds)
        takes = f"about {format_seconds(d.seconds)} of training a run" if fits else "too little memory here"
        takes += f", {counted(d.shared, 'epoch')} of it trained by an earlier design" if d.shared else ""
        say(f"  {d.point.label:32} {d.params:>11,} params {d.steps:>9,} steps {in_words(d.memory):>8} memory, {takes}")
    if plan.designs > len(plan.first):
        say(f"{'then ' if plan.first else ''}{plan.designs - len(plan.first)} that the sampler proposes")
    about = "at most" if spec.sampler == "freeze-thaw" else "about"
    say(f"training: {about} {format_seconds(plan.training)}, all runs together; {counted(plan.workers, 'worker')} side by side")
    parts = f"start-up {format_seconds(plan.start_up)}, step times {format_seconds(plan.measuring)}"
    say(
        f"estimated time on this machine: about {format_seconds(plan.seconds)} ({format_seconds(plan.low)} to "
        f"{format_seconds(plan.high)}), of it {parts}"
    )
    if spec.sampler == "freeze-thaw":
        say(
            "freeze-thaw pauses runs after each epoch, and ends those that promise little: the shorter time is one epoch of each design"
        )
    if plan.pruned:
        say(f"pruning (--pruning {spec.pruning}) ends runs early, which makes it shorter")
    if plan.further_seeds:
        say(f"racing adds up to {counted(plan.further_seeds, 'run')}; the longer time has all of them")


def _print_json(spec: StudySpec, plan: Plan) -> None:
    from fastrcaps_dse.problem.space import design_to_dict

    designs = [
        {"label": d.point.label, "design": design_to_dict(d.point)}
        | {"params": d.params, "steps": d.steps, "seconds": d.seconds if math.isfinite(d.seconds) else None}
        | {"memory_bytes": d.memory, "shared_epochs": d.shared}
        for d in plan.first
    ]
    size = {"study": spec.name, "designs": plan.designs, "seeds": spec.seeds, "workers": plan.workers}
    times = {"seconds": plan.seconds, "low": plan.low, "high": plan.high, "training_seconds": plan.training}
    parts = {"start_up": plan.start_up, "measuring": plan.measuring, "further_seeds": plan.further_seeds}
    print_json(size | times | parts | {"first": designs})
