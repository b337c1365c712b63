"""What a person sees of an exploration: progress on stderr, tables on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from fastrcaps_dse.figures.plots import ParetoInfo
from fastrcaps_dse.figures.terminal import ASCII, LEAST_HEIGHT, UNICODE, pareto_lines
from fastrcaps_dse.problem.notation import to_text
from fastrcaps_dse.problem.objectives import Measurement, Objective, shown
from fastrcaps_dse.problem.quantities import counted, format_seconds, format_value
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import UNBOUNDED

if TYPE_CHECKING:
    from fastrcaps_dse.analysis.uncertainty import Standing
    from fastrcaps_dse.store import TrialRow
    from fastrcaps_dse.trainer import Epoch

PIPED_WIDTH = 160  # columns, where stdout is no terminal
PIPED_PLOT_WIDTH, PLOT_HEIGHT = 100, 22  # columns where stdout is no terminal; lines at most
PLOT_STYLES = {"front": "bold bright_red", "dominated": "cyan", "frame": "dim", "text": ""}


def stderr() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_table(rows: Table) -> None:
    """A table on stdout; wide enough for all of it where stdout is no terminal."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=PIPED_WIDTH)
    console.print(rows)


def print_plot(info: ParetoInfo) -> None:
    """The Pareto scatter on stdout, as wide as the terminal, in signs that its encoding has."""
    console = Console(highlight=False)
    wide = console.is_terminal or "COLUMNS" in os.environ
    height = max(LEAST_HEIGHT, min(PLOT_HEIGHT, console.height - 2)) if console.is_terminal else PLOT_HEIGHT
    signs = UNICODE if "utf" in (sys.stdout.encoding or "").lower() else ASCII
    for line in pareto_lines(info, width=console.width if wide else PIPED_PLOT_WIDTH, height=height, signs=signs):
        styled = Text.assemble(*((span.text, PLOT_STYLES[span.kind]) for span in line))
        console.print(styled, no_wrap=True, crop=False, overflow="ignore")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None, right: Sequence[str] = ()) -> Table:
    """A plain table; the columns named in `right` are numbers."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for head in heads:
        made.add_column(head, justify="right" if head in right else "left")
    for row in rows:
        made.add_row(*map(escape, row))
    return made


def values_text(values: Mapping[str, float]) -> str:
    """Objective values in a line."""
    return ", ".join(f"{name} {format_value(name, value)}" for name, value in values.items())


class ExplorationProgress:
    """Trials, the running epoch, the remaining time, the front so far. Bars where stderr is a terminal, lines elsewhere."""

    def __init__(self, objectives: Sequence[Objective] = ()) -> None:
        self.objectives = objectives
        self.console = stderr()
        self.bars = self.console.is_terminal
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
        )
        self.rest: float | None = None  # s, estimated
        self.target = 0
        self.finished = 0
        self.front = 0
        self.labels: dict[int, str] = {}  # of the trials under way
        self.trials_bar: Any = None
        self.epoch_bars: dict[int, Any] = {}  # by trial

    def __enter__(self) -> ExplorationProgress:
        if self.bars:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def say(self, text: str) -> None:
        """A line above the bars."""
        (self.progress.console if self.bars else self.console).print(text, markup=False)

    def _state(self) -> str:
        """The front so far, and the estimated rest."""
        parts = [f"{self.front} on the front"] if self.front else []
        if self.rest:
            parts.append(f"about {format_seconds(self.rest)} left")
        return ", ".join(parts)

    def rest_estimated(self, seconds: float) -> None:
        self.rest = seconds

    def trial_started(self, trial: int, point: DesignPoint, *, finished: int, target: int, resumed: bool) -> None:
        self.finished, self.target, self.labels[trial] = finished, target, point.label
        if resumed:
            self.say(f"continuing trial {trial}: {point.label}")
        if self.bars:
            if self.trials_bar is None:
                self.trials_bar = self.progress.add_task("designs", total=target, note="")
            self.progress.update(self.trials_bar, completed=finished, note=self._state())

    def run_started(self, trial: int, seed: int, epochs: int, done: int) -> None:
        if self.bars:
            if trial not in self.epoch_bars:
                self.epoch_bars[trial] = self.progress.add_task("", note="")
            text = f"trial {trial}: {self.labels.get(trial, '')}, seed {seed}, epoch"
            self.progress.update(self.epoch_bars[trial], description=text, total=epochs, completed=done, note="")

    def epoch_finished(self, trial: int, epoch: Epoch) -> None:
        if trial in self.epoch_bars:
            note = f"acc {epoch.acc:.2f} %, {format_seconds(epoch.train_seconds)} an epoch"
            self.progress.update(self.epoch_bars[trial], completed=epoch.epoch, note=note)

    def trial_finished(self, trial: int, point: DesignPoint, measurement: Measurement, front: int) -> None:
        self.front = front
        values = values_text({o.name: measurement[o.name] for o in shown(self.objectives)})
        stopped = measurement.pruned_after
        early = "" if stopped is None else f", pruned after {counted(stopped, 'epoch')}"
        self._finished(trial, f"{point.label}: {values}{early}")

    def trial_failed(self, trial: int, point: DesignPoint, reason: str) -> None:
        self._finished(trial, f"{point.label} failed: {reason}")

    def _finished(self, trial: int, text: str) -> None:
        if trial in self.epoch_bars:
            self.progress.remove_task(self.epoch_bars.pop(trial))
        self.finished += 1
        state = self._state()
        count = f"{self.finished}/{self.target}" if self.target < UNBOUNDED else f"{self.finished}"
        self.say(f"[{count}] trial {trial}: {text}" + (f"; {state}" if state else ""))

    def warned(self, message: str) -> None:
        self.say(f"warning: {message}")


class TrainingProgress(ExplorationProgress):
    """One design: a line an epoch."""

    def epoch_finished(self, trial: int, epoch: Epoch) -> None:
        super().epoch_finished(trial, epoch)
        self.say(epoch_line(epoch))


def epoch_line(epoch: Any) -> str:
    """An epoch in a line."""
    return (
        f"epoch {epoch.epoch:3d}: batch {epoch.batch_size:3d}, {epoch.steps} steps, lr {epoch.lr_first:.2e} to {epoch.lr_last:.2e}, "
        f"margin loss {epoch.margin_loss:.4f}, reconstruction loss {epoch.reconstruction_loss:.4f}, acc {epoch.acc:.2f} %, "
        f"{format_seconds(epoch.train_seconds)} training, {format_seconds(epoch.eval_seconds)} evaluation"
    )


def designs_table(
    trials: Sequence[TrialRow], title: str, objectives: Sequence[Objective] = (), known: Mapping[int, Standing] | None = None
) -> Table:
    """Designs with their measurements: the basic objectives and those given, and how sure they are where that is `known`."""
    sure = {t: s for t, s in (known or {}).items() if s.on_front is not None}
    columns = shown(objectives)
    names = [o.name for o in columns]
    heads = ["trial", "design", "lr policy", "batch", "weight sharing", "decoder", *names, "test acc", "seeds"]
    rows = []
    for trial in trials:
        measured, design = trial.measurement, trial.design
        assert measured is not None
        cells = [str(trial.trial), design.label, to_text(design.lr_policy), to_text(design.batch_schedule)]
        cells += ["yes" if design.weight_sharing else "no", design.decoder]
        errors = sure[trial.trial].errors(objectives) if trial.trial in sure else None
        cells += [format_value(o.name, measured[o.name]) + _give_or_take(o, errors) for o in columns]
        test = "-" if measured.test_acc is None else format_value("acc", measured.test_acc)
        rows.append([*cells, test, str(trial.seeds)])
        if sure:
            standing = sure[trial.trial]
            rows[-1].append(f"{standing.on_front:.2f}{' tied' if standing.doubtful else ''}")
    if sure:
        heads.append("P(front)")
    return table(heads, rows, title=title, right=["trial", *names, "test acc", "seeds"])


def _give_or_take(objective: Objective, errors: Mapping[str, float] | None) -> str:
    """The standard error behind a value: " +-0.12"; nothing where it is exact or unknown."""
    error = (errors or {}).get(objective.name)
    return f" ±{error:.2g}" if error else ""
