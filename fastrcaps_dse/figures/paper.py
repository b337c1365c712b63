"""The figures of the paper, for any study: its named designs (Fig. 4) and the curves of its front (Fig. 8c, 8d).

Only measured designs and finished runs are included, because these figures are for print.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from fastrcaps_dse.figures.plots import Curve, curves_info, rate_curve
from fastrcaps_dse.problem.labels import SEPARATOR, policy_label, schedule_label
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.problem.schedules import (
    ExponentialDecay,
    FixedBatch,
    FixedRate,
    LrPolicy,
    WarmRestarts,
    WarmRestartsPolynomial,
)
from fastrcaps_dse.problem.space import LENET5_DESIGNS, NAMED_DESIGNS, DesignPoint, lenet5_name, paper_name
from fastrcaps_dse.problem.study_spec import dataset_text, holds_out
from fastrcaps_dse.store import EpochRow, TrialRow

BASELINE, LENET5_BASELINE = "fixed", "lenet5"
COMPARED = ("fixed", "exp-decay", "one-cycle", "warm-restarts", "adabatch", "wab")  # the curves of Fig. 4a
FILLED = 8  # curves in Fig. 8c/d that further designs fill up, if the front has fewer: as many as there are colors
MOST_CURVES = 24  # in a figure
LONG_RUN = 10  # epochs; the axis of accuracies leaves out the first tenth of a run of this length


class Speed(NamedTuple):
    """How accurate a named design becomes, and how fast (Fig. 4b). Values are means over its seeds."""

    design: str  # its name
    trial: int  # its number
    seeds: int
    acc: float  # %, the highest of a run
    epochs: float  # up to the first epoch with that accuracy
    time: float  # s of training up to the end of that epoch
    relative_time: float | None  # as a multiple of the time of the network's baseline; None if it is missing
    epochs_to_baseline: int | None  # until the mean accuracy first reaches the highest of the baseline; None if it never does
    pruned_after: int | None  # epochs; None if no run was pruned


class ColoredCurve(NamedTuple):
    """A curve and its color: a design has the same color in every figure."""

    curve: Curve
    color: int  # index of the palette
    error: tuple[float, ...] | None = None  # standard errors of the mean, for each value; None for one seed


class PaperInfo(NamedTuple):
    """What the figures of the paper show of a study."""

    named: tuple[ColoredCurve, ...]  # Fig. 4a
    speeds: tuple[Speed, ...]  # Fig. 4b
    accuracy: tuple[ColoredCurve, ...]  # Fig. 8c
    rate: tuple[ColoredCurve, ...]  # Fig. 8d
    missing: tuple[str, ...]  # named designs that the study has not measured


def paper_info(
    trials: Sequence[TrialRow],
    front: Sequence[TrialRow],
    epochs_of: Mapping[int, Sequence[EpochRow]],
    *,
    epochs: int,
    images: int,
    scale_decay: bool = False,
    chosen: Sequence[TrialRow] | None = None,
) -> PaperInfo:
    """What the figures of the paper show of a study: its named designs, and the curves of its front.

    A design whose runs have not ended, which the anytime view has with `stop_after`, has a curve only. Further designs fill up the
    curves, unless some are `chosen`; of many, the most accurate are shown. `epochs_of` has the stored epochs
    by run; `epochs` is the length of a run, `images` the number of training images, and `scale_decay` that of the study.
    """
    done = [_finished(trial) for trial in trials if trial.measurement is not None]
    whole = [trial for trial in done if trial.stop_after is None]
    by_name = named_trials(whole) | {name: trial for trial in whole if (name := lenet5_name(trial.design)) is not None}
    order = [name for name in (*NAMED_DESIGNS, *LENET5_DESIGNS) if name in by_name]
    curves = {name: _mean_curve(name, by_name[name], epochs_of, epochs, images) for name in order}
    wanted = {trial.trial for trial in (chosen if chosen is not None else _filled(done, front))}
    chosen = [trial for trial in done if trial.trial in wanted]
    most = sorted(chosen, key=lambda t: (-(t.measurement["acc"] if t.measurement else 0.0), t.trial))[:MOST_CURVES]
    chosen = [trial for trial in chosen if trial in most]
    with_epochs = [trial for trial in chosen if any(epochs_of.get(run.run_id) for run in trial.runs)]
    curves_of_front = curves_info(with_epochs, epochs_of, epochs=epochs, images=images, scale_decay=scale_decay)
    return PaperInfo(
        named=tuple(
            ColoredCurve(c, k, _errors(by_name[name], epochs_of)) for k, name in enumerate(COMPARED) if (c := curves.get(name))
        ),
        speeds=tuple(_speed(name, by_name, curves) for name in order),
        accuracy=tuple(
            ColoredCurve(curve, k, _errors(trial, epochs_of))
            for k, (curve, trial) in enumerate(zip(curves_of_front.accuracy, with_epochs, strict=True))
        ),
        rate=merged_rates(with_epochs, epochs, images, scale_decay=scale_decay),
        missing=tuple(name for name in NAMED_DESIGNS if name not in by_name),
    )


def named_trials(trials: Sequence[TrialRow]) -> dict[str, TrialRow]:
    """The trials of the named designs, by name: those that are equal to them, whatever their labels say."""
    return {name: trial for trial in trials if (name := paper_name(trial.design)) is not None}


def _filled(done: Sequence[TrialRow], front: Sequence[TrialRow]) -> list[TrialRow]:
    """The designs on the front, then others until there are enough curves."""
    members = {trial.trial for trial in front}
    return sorted(done, key=lambda t: (t.trial not in members, t.trial))[: max(FILLED, len(members))]


def _errors(trial: TrialRow, epochs_of: Mapping[int, Sequence[EpochRow]]) -> tuple[float, ...] | None:
    """The standard error of the mean accuracy after each epoch; None for one seed."""
    runs = [epochs_of[run.run_id] for run in trial.runs if epochs_of.get(run.run_id)]
    if len(runs) < 2:
        return None
    each_epoch = zip(*([epoch.acc for epoch in run] for run in runs), strict=False)
    return tuple(statistics.stdev(accuracies) / math.sqrt(len(accuracies)) for accuracies in each_epoch)


def _finished(trial: TrialRow) -> TrialRow:
    """The trial without the runs that have not finished or that failed."""
    return replace(trial, runs=tuple(run for run in trial.runs if run.measurement is not None))


def _mean_curve(
    name: str, trial: TrialRow, epochs_of: Mapping[int, Sequence[EpochRow]], epochs: int, images: int
) -> Curve | None:
    """Accuracy over epochs, the mean over the seeds; None if no epoch is stored."""
    found = curves_info([trial], epochs_of, epochs=epochs, images=images).accuracy
    return found[0]._replace(name=name) if found else None


def merged_rates(
    trials: Sequence[TrialRow], epochs: int, images: int, *, scale_decay: bool = False
) -> tuple[ColoredCurve, ...]:
    """The learning rates of these trials over the epochs. Designs with equal rates have one curve, or one would hide the other.

    `epochs` is the length of a run, and `images` the number of training images.
    """
    groups: dict[tuple[LrPolicy, str], list[int]] = defaultdict(list)
    for index, trial in enumerate(trials):
        groups[trial.design.lr_policy, _relevant_schedule(trial.design)].append(index)
    merged = []
    for (policy, schedule), group in groups.items():
        name = f"{', '.join(str(trials[index].trial) for index in group)}: "
        label = trials[group[0]].design.label
        name += label if len(group) == 1 else SEPARATOR.join(filter(None, [policy_label(policy), schedule]))
        curves = [
            rate_curve(trials[index].design, name=name, epochs=epochs, images=images, scale_decay=scale_decay)
            for index in group
        ]
        merged.append(ColoredCurve(max(curves, key=lambda c: len(c.x)), group[0]))
    return tuple(merged)


def _relevant_schedule(point: DesignPoint) -> str:
    """The batch-size schedule if the curve of the learning rate over the epochs depends on it, else nothing.

    A rate that is constant, or that restarts with every epoch, is the same with all schedules. A rate that follows the progress
    of the run is the same with all fixed batch sizes. Exponential decay counts steps, so it depends on the batch size.
    """
    policy, schedule = point.lr_policy, point.batch_schedule
    restarts = isinstance(policy, (WarmRestarts, WarmRestartsPolynomial)) and policy.cycle == 1
    if isinstance(policy, FixedRate) or restarts:
        return ""
    if isinstance(schedule, FixedBatch) and not isinstance(policy, ExponentialDecay):
        return ""
    return schedule_label(schedule)


def _speed(name: str, by_name: Mapping[str, TrialRow], curves: Mapping[str, Curve | None]) -> Speed:
    base = BASELINE if name in NAMED_DESIGNS else LENET5_BASELINE
    trial, baseline = by_name[name], by_name.get(base)
    measured = trial.measurement
    assert measured is not None
    base_time = baseline.measurement["time"] if baseline is not None and baseline.measurement is not None else None
    curve, base_curve = curves[name], curves.get(base)
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
    """The range of accuracies (%) of a printed figure, or None for plotly's own.

    The first tenth of long runs is left out, because it would leave no room for the rest.
    """
    if not curves or max(len(curve.y) for curve in curves) < LONG_RUN:
        return None
    kept = [acc for curve in curves for acc in (curve.y[len(curve.y) // 10 :] or curve.y)]
    margin = 0.05 * (max(kept) - min(kept)) or 0.5
    return min(kept) - margin, min(100.0, max(kept) + margin)


def lacking(info: PaperInfo) -> str:
    """In words, which named designs the figures lack and what follows; empty if they lack none."""
    if not info.missing:
        return ""
    text = f"has not measured {', '.join(info.missing)}: "
    if not info.speeds:
        return text + "figure 4a and table 4b are left out"
    if not info.named:
        text += "figure 4a is left out, table 4b is without them"
    elif set(COMPARED) & set(info.missing):
        text += "figure 4a and table 4b are without them"
    else:
        text += "table 4b is without them"
    return text + (f", and has no times relative to {BASELINE}" if BASELINE in info.missing else "")


def caption(identity: Mapping[str, Any]) -> str:
    """The caption of the table: what was measured, and how. `identity` is that of the study."""
    measured = "held-out training images" if holds_out(identity["protocol"]) else "the test set"
    return (
        f"{dataset_text(identity)}, {counted(identity['epochs'], 'epoch')}; accuracy on {measured}, means over the seeds. "
        "Time is the training time up to the end of the epoch of the highest accuracy, evaluation excluded. "
        f"The last but one column is when the mean of the seeds' accuracies first reaches the highest that this mean has for {BASELINE}."
    )


# --- the table ----------------------------------------------------------------------------------------------------------


def speed_rows(speeds: Sequence[Speed]) -> Iterator[list[Any]]:
    """Fig. 4b as the rows of a CSV file: a head, then a row for each design, exact. A missing value is an empty cell."""
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
    """Fig. 4b as a Markdown table with a caption, rounded for reading."""
    heads = ["design", "max accuracy (%)", "epochs to it", "time to it (s)", "time / fixed's", "epochs to fixed's max accuracy"]
    heads.append("seeds")
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for speed in speeds:
        relative = "-" if speed.relative_time is None else f"{speed.relative_time:.2f}"
        reached = "-" if speed.epochs_to_baseline is None else str(speed.epochs_to_baseline)
        design = speed.design + (f" (pruned after {counted(speed.pruned_after, 'epoch')})" if speed.pruned_after else "")
        cells = [design, f"{speed.acc:.2f}", f"{speed.epochs:.3g}", f"{speed.time:,.1f}", relative, reached, str(speed.seeds)]
        lines.append(f"| {' | '.join(cells)} |")
    if any(speed.design in LENET5_DESIGNS for speed in speeds):
        caption += f" LeNet5 is compared with its own fixed learning rate, `{LENET5_BASELINE}`."
    return "\n".join([*lines, "", caption, ""])
