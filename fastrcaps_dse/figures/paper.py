"""What the paper shows of its designs, of any study that has them: accuracy over epochs (Fig. 4a) and speed (Fig. 4b).

Only measured designs and finished runs count here: these figures are printed.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from fastrcaps_dse.figures.plots import Curve, curves_info, rate_curve
from fastrcaps_dse.problem.notation import to_text
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.schedules import (
    ExponentialDecay,
    FixedBatch,
    FixedRate,
    LrPolicy,
    WarmRestarts,
    WarmRestartsPolynomial,
)
from fastrcaps_dse.problem.space import NAMED_DESIGNS, DesignPoint
from fastrcaps_dse.store import EpochRow, TrialRow

BASELINE = "fixed"
COMPARED = ("fixed", "exp-decay", "one-cycle", "warm-restarts", "adabatch", "wab")  # the curves of Fig. 4a
SHOWN_CURVES = 8  # of Fig. 8c/d: as many as there are colors
LONG_RUN = 10  # epochs; of a run so long the first tenth is left out of the range of the accuracies


class Speed(NamedTuple):
    """How accurate a named design becomes, and how fast (Fig. 4b): means over its seeds."""

    design: str
    trial: int
    seeds: int
    acc: float  # %, the highest of a run
    epochs: float  # to the first epoch of that accuracy
    time: float  # s of training up to its end
    relative_time: float | None  # by that of the baseline; None without it
    epochs_to_baseline: int | None  # until the mean accuracy first reaches the highest of the baseline's; None for never
    pruned_after: int | None  # epochs, where a run was pruned: it might have reached more


class Drawn(NamedTuple):
    """A curve and its color, so that the same thing has the same one in every figure."""

    curve: Curve
    color: int  # place in the palette


class PaperInfo(NamedTuple):
    """What the paper's figures of a study draw."""

    named: tuple[Drawn, ...]  # Fig. 4a
    speeds: tuple[Speed, ...]  # Fig. 4b
    accuracy: tuple[Drawn, ...]  # Fig. 8c
    rate: tuple[Drawn, ...]  # Fig. 8d
    missing: tuple[str, ...]  # named designs that the study has not measured


def paper_info(
    trials: Sequence[TrialRow],
    front: Sequence[TrialRow],
    epochs_of: Mapping[int, Sequence[EpochRow]],
    *,
    epochs: int,
    images: int,
) -> PaperInfo:
    """The paper's figures of a study: its named designs, and the curves of its front, filled up with further designs."""
    done = [_finished(trial) for trial in trials if trial.measurement is not None]
    by_name = {trial.design.label: trial for trial in done if trial.design.label in NAMED_DESIGNS}
    order = [name for name in NAMED_DESIGNS if name in by_name]
    curves = {name: _mean_curve(name, by_name[name], epochs_of, epochs, images) for name in order}
    members = {trial.trial for trial in front}
    chosen = sorted(sorted(done, key=lambda t: (t.trial not in members, t.trial))[:SHOWN_CURVES], key=lambda t: t.trial)
    shown = curves_info(chosen, epochs_of, epochs=epochs, images=images)
    return PaperInfo(
        named=tuple(Drawn(c, k) for k, name in enumerate(COMPARED) if (c := curves.get(name)) is not None),
        speeds=tuple(_speed(name, by_name, curves) for name in order),
        accuracy=tuple(Drawn(curve, k) for k, curve in enumerate(shown.accuracy)),
        rate=shared_rates([trial for trial in chosen if any(epochs_of.get(r.run_id) for r in trial.runs)], epochs, images),
        missing=tuple(name for name in NAMED_DESIGNS if name not in by_name),
    )


def _finished(trial: TrialRow) -> TrialRow:
    """The trial without runs that are under way or have failed."""
    return replace(trial, runs=tuple(run for run in trial.runs if run.measurement is not None))


def _mean_curve(
    name: str, trial: TrialRow, epochs_of: Mapping[int, Sequence[EpochRow]], epochs: int, images: int
) -> Curve | None:
    """Accuracy over epochs, the mean of the seeds; None where no epoch is stored."""
    drawn = curves_info([trial], epochs_of, epochs=epochs, images=images).accuracy
    return drawn[0]._replace(name=name) if drawn else None


def shared_rates(trials: Sequence[TrialRow], epochs: int, images: int) -> tuple[Drawn, ...]:
    """The learning rates over the epochs; designs whose rates are the same share a curve, for one would hide the other."""
    groups: dict[tuple[LrPolicy, str], list[int]] = defaultdict(list)
    for place, trial in enumerate(trials):
        groups[trial.design.lr_policy, _schedule_told(trial.design)].append(place)
    drawn = []
    for (policy, schedule), places in groups.items():
        names = f"{', '.join(str(trials[place].trial) for place in places)}: "
        one = trials[places[0]].design.label
        names += one if len(places) == 1 else " / ".join(filter(None, [to_text(policy), schedule]))
        curves = [rate_curve(trials[place].design, name=names, epochs=epochs, images=images) for place in places]
        drawn.append(Drawn(max(curves, key=lambda c: len(c.x)), places[0]))
    return tuple(drawn)


def _schedule_told(point: DesignPoint) -> str:
    """The batch-size schedule where the learning rate over the epochs depends on it, else nothing.

    A rate that is constant, or restarts with every epoch, is the same in all schedules; one that follows the share of the
    run that is done, in all fixed batch sizes; exponential decay counts steps.
    """
    policy, schedule = point.lr_policy, point.batch_schedule
    restarts = isinstance(policy, (WarmRestarts, WarmRestartsPolynomial)) and policy.cycle == 1
    if isinstance(policy, FixedRate) or restarts:
        return ""
    if isinstance(schedule, FixedBatch) and not isinstance(policy, ExponentialDecay):
        return ""
    return to_text(schedule)


def _speed(name: str, by_name: Mapping[str, TrialRow], curves: Mapping[str, Curve | None]) -> Speed:
    trial, baseline = by_name[name], by_name.get(BASELINE)
    measured = trial.measurement
    assert measured is not None
    base_time = baseline.measurement["time"] if baseline is not None and baseline.measurement is not None else None
    curve, base_curve = curves[name], curves.get(BASELINE)
    reached = None
    if curve is not None and base_curve is not None:
        reached = next((int(x) for x, acc in zip(curve.x, curve.y, strict=True) if acc >= max(base_curve.y)), None)
    return Speed(
        design=name,
        trial=trial.trial,
        seeds=trial.seeds,
        acc=measured["acc"],
        epochs=statistics.fmean(run.measurement.selected_epoch for run in trial.runs if run.measurement is not None),
        time=measured["time"],
        relative_time=measured["time"] / base_time if base_time else None,
        epochs_to_baseline=reached,
        pruned_after=measured.pruned_after,
    )


def accuracy_range(curves: Sequence[Curve]) -> tuple[float, float] | None:
    """The accuracies (%) that a printed figure shows: of long runs without the first tenth, which would leave the rest no room."""
    if not curves or max(len(curve.y) for curve in curves) < LONG_RUN:
        return None
    kept = [acc for curve in curves for acc in (curve.y[len(curve.y) // 10 :] or curve.y)]
    margin = 0.05 * (max(kept) - min(kept)) or 0.5
    return min(kept) - margin, min(100.0, max(kept) + margin)


def lacking(info: PaperInfo) -> str:
    """What the figures go without, in words; empty where the study has all."""
    if not info.missing:
        return ""
    said = f"has not measured {', '.join(info.missing)}: "
    if not info.speeds:
        return said + "figure 4a and table 4b are left out"
    if not info.named:
        said += "figure 4a is left out, table 4b is without them"
    elif set(COMPARED) & set(info.missing):
        said += "figure 4a and table 4b are without them"
    else:
        said += "table 4b is without them"
    return said + (f", and has no times relative to {BASELINE}" if BASELINE in info.missing else "")


def caption(identity: Mapping[str, Any]) -> str:
    """What the table was measured on."""
    measured = {"validation": "held-out training images", "paper": "the test set"}[identity["protocol"]]
    return (
        f"{identity['dataset']}, {counted(identity['epochs'], 'epoch')}; accuracy on {measured}, means over the seeds. "
        "Time is the training time up to the end of the epoch of the highest accuracy, evaluation excluded. "
        f"The last but one column is when the mean of the seeds' accuracies first reaches the highest that this mean has for {BASELINE}."
    )


# --- the table ----------------------------------------------------------------------------------------------------------


def speed_rows(speeds: Sequence[Speed]) -> Iterator[list[Any]]:
    """Fig. 4b as CSV: the head, then a row for each design, exact; empty where there is no value."""
    yield [
        "design",
        "trial",
        "seeds",
        "max_acc_percent",
        "epochs_to_max_acc",
        "time_s",
        "time_by_fixed",
        "epochs_to_max_acc_of_fixed",
        "pruned_after_epochs",
    ]
    for speed in speeds:
        yield ["" if value is None else value for value in speed]


def speed_markdown(speeds: Sequence[Speed], caption: str) -> str:
    """Fig. 4b as a Markdown table, rounded for reading."""
    heads = ["design", "max accuracy (%)", "epochs to it", "time to it (s)", "time / fixed's", "epochs to fixed's max accuracy"]
    heads.append("seeds")
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for speed in speeds:
        relative = "-" if speed.relative_time is None else f"{speed.relative_time:.2f}"
        reached = "-" if speed.epochs_to_baseline is None else str(speed.epochs_to_baseline)
        design = speed.design + (f" (pruned after {counted(speed.pruned_after, 'epoch')})" if speed.pruned_after else "")
        cells = [design, f"{speed.acc:.2f}", f"{speed.epochs:.3g}", f"{speed.time:,.1f}", relative, reached, str(speed.seeds)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", caption, ""])
