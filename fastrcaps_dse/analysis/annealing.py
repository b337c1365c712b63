"""What a run that stops early has not done: its learning rate has not come down."""

from __future__ import annotations

from collections.abc import Sequence

from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.schedules import (
    FineTune,
    OneCycle,
    WarmRestarts,
    WarmRestartsPolynomial,
    build_timeline,
    cycle_position,
    tail_start,
)
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.store import StudyRow, TrialRow


def is_cut_short(design: DesignPoint, *, stop_after: int, epochs: int, images: int) -> bool:
    """Whether a run that stops after `stop_after` of its `epochs` epochs ends while its learning rate is still to fall.

    One-cycle falls until the end of the run, warm restarts until the end of a cycle, fine-tune where its tail begins. A fixed rate does
    not fall, and exponential decay goes by the step: a shorter run has the same rates. `images` is the number of training images.
    """
    if stop_after >= epochs:
        return False
    policy = design.lr_policy
    if isinstance(policy, OneCycle):
        return True
    line = build_timeline(design.batch_schedule, epochs=epochs, images=images)
    if isinstance(policy, FineTune):
        return policy.tail_lr < policy.lr and line.first_step(stop_after) <= tail_start(policy.tail, line.total_steps)
    if not isinstance(policy, (WarmRestarts, WarmRestartsPolynomial)):
        return False
    done, steps = cycle_position(policy.cycle, line.first_step(stop_after) - 1, line)
    return done < steps - 1


def annealing_note(points: Sequence[TrialRow], study: StudyRow) -> str | None:
    """A line that says which of these rows end before their learning rate has come down; None where none does.

    It is of the anytime view: rows of whole runs have no such epoch.
    """
    epochs, images = study.identity["epochs"], study.train_images
    cut = [
        point
        for point in points
        if point.stop_after is not None
        and is_cut_short(point.design, stop_after=point.stop_after, epochs=epochs, images=images)
    ]
    if not cut:
        return None
    names = sorted({point.design.lr_policy.name for point in cut})
    at = {OneCycle.name: f"over all {epochs} epochs", FineTune.name: f"in the last steps of all {epochs} epochs"}
    spans = [at.get(name, "over each of its cycles") for name in names]
    anneals = ", ".join(
        f"{name} {'anneals ' * (k == 0)}{span}" for k, (name, span) in enumerate(zip(names, spans, strict=True))
    )
    shorter = counted(cut[0].stop_after or 0, "epoch") if len({point.stop_after for point in cut}) == 1 else "fewer epochs"
    return f"{anneals}: where a run stops early, the rate has not come down; a run of {shorter} in all is a design of its own"
