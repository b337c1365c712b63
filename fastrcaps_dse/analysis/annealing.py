"""What a run that stops early has not done: its learning rate has not come down."""

from __future__ import annotations

from collections.abc import Sequence

from fastrcaps_dse.problem.notation import to_text
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.rates import cycle_position, learning_rate, tail_start
from fastrcaps_dse.problem.schedules import ExponentialDecay, FineTune, OneCycle, WarmRestarts, WarmRestartsPolynomial
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.problem.timelines import build_timeline
from fastrcaps_dse.store import StudyRow, TrialRow

HARDLY_FALLEN = 0.9  # of its rate at the start, at the end of a run: a decay that does nothing


def is_cut_short(design: DesignPoint, *, stop_after: int, epochs: int, images: int, scale_decay: bool = False) -> bool:
    """Whether a run that stops after `stop_after` of its `epochs` epochs ends while its learning rate is still to fall.

    One-cycle falls until the end of the run, warm restarts until the end of a cycle, fine-tune where its tail begins. A fixed rate does
    not fall. Exponential decay goes by the step, without `scale_decay`: a shorter run has the same rates. `images` is the number of
    training images.
    """
    if stop_after >= epochs:
        return False
    policy = design.lr_policy
    if isinstance(policy, OneCycle) or (scale_decay and isinstance(policy, ExponentialDecay)):
        return True
    line = build_timeline(design.batch_schedule, epochs=epochs, images=images)
    if isinstance(policy, FineTune):
        return policy.tail_lr < policy.lr and line.first_step(stop_after) <= tail_start(policy.tail, line.total_steps)
    if not isinstance(policy, (WarmRestarts, WarmRestartsPolynomial)):
        return False
    done, steps = cycle_position(policy.cycle, line.first_step(stop_after) - 1, line)
    return done < steps - 1


def decay_text(spec: StudySpec, images: int) -> str | None:
    """How far the rate of exponential decay falls over a run of `images` training images; None without such a policy.

    Decay steps are those of the paper's run: in a run of far fewer steps the rate hardly falls, unless the study scales them.
    """
    decaying = next((policy for policy in spec.space.lr_policy if isinstance(policy, ExponentialDecay)), None)
    if decaying is None:
        return None
    schedule = next((p.batch_schedule for p in spec.first_designs if p.lr_policy == decaying), spec.space.batch_schedule[0])
    line = build_timeline(schedule, epochs=spec.epochs, images=images, scale_decay=spec.scale_decay)
    left = learning_rate(decaying, line.total_steps - 1, line) / decaying.lr
    falls = f"{to_text(decaying)} falls to {100 * left:.3g} % of its rate by the end of a run"
    if spec.scale_decay:
        return f"{falls}: decay_steps are scaled by {line.decay_scale:.3g}, to the images of this run"
    return f"{falls}: scale_decay = true scales decay_steps to so short a run" if left > HARDLY_FALLEN else None


def annealing_note(points: Sequence[TrialRow], study: StudyRow) -> str | None:
    """A line that says which of these rows end before their learning rate has come down; None where none does.

    It is of the anytime view: rows of whole runs have no such epoch.
    """
    epochs, images, scaled = study.identity["epochs"], study.train_images, study.identity.get("scale_decay", False)
    cut = [
        point
        for point in points
        if point.stop_after is not None
        and is_cut_short(point.design, stop_after=point.stop_after, epochs=epochs, images=images, scale_decay=scaled)
    ]
    if not cut:
        return None
    names = sorted({point.design.lr_policy.name for point in cut})
    whole = f"over all {epochs} epochs"
    at = {OneCycle.name: whole, ExponentialDecay.name: whole, FineTune.name: f"in the last steps of all {epochs} epochs"}
    spans = [at.get(name, "over each of its cycles") for name in names]
    anneals = ", ".join(
        f"{name} {'anneals ' * (k == 0)}{span}" for k, (name, span) in enumerate(zip(names, spans, strict=True))
    )
    shorter = counted(cut[0].stop_after or 0, "epoch") if len({point.stop_after for point in cut}) == 1 else "fewer epochs"
    return f"{anneals}: where a run stops early, the rate has not come down; a run of {shorter} in all is a design of its own"
