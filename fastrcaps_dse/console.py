"""What a person sees of an exploration: progress on stderr, tables on stdout."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from fastrcaps_dse.objectives import OBJECTIVES, Measurement, format_seconds, format_value
from fastrcaps_dse.space import DesignPoint, to_text

if TYPE_CHECKING:
    from fastrcaps_dse.store import TrialRow
    from fastrcaps_dse.trainer import Epoch

PIPED_WIDTH = 160  # columns, where stdout is no terminal


def stderr() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def stdout() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, width=PIPED_WIDTH)


class ExplorationProgress:
    """Trials, the running epoch, the remaining time, the front so far. Bars where stderr is a terminal, lines elsewhere."""

    def __init__(self) -> None:
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
        self.started = time.monotonic()
        self.finished_here = 0
        self.target = 0
        self.finished = 0
        self.front = ""
        self.label = ""
        self.trials_bar: Any = None
        self.epochs_bar: Any = None

    def __enter__(self) -> ExplorationProgress:
        if self.bars:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def _line(self, text: str) -> None:
        (self.progress.console if self.bars else self.console).print(text, markup=False)

    def _rest(self) -> str:
        """The remaining time, from the trials finished by this process."""
        if not self.finished_here:
            return ""
        each = (time.monotonic() - self.started) / self.finished_here
        return f"about {format_seconds(each * (self.target - self.finished))} left"

    def trial_started(self, trial: int, point: DesignPoint, *, finished: int, target: int, resumed: bool) -> None:
        self.finished, self.target, self.label = finished, target, point.label
        if resumed:
            self._line(f"continuing trial {trial}: {point.label}")
        if self.bars:
            if self.trials_bar is None:
                self.trials_bar = self.progress.add_task("designs", total=target, note="")
                self.epochs_bar = self.progress.add_task("", note="")
            self.progress.update(self.trials_bar, completed=finished, note=f"{self._rest()}{self.front}")

    def run_started(self, seed: int, epochs: int, done: int) -> None:
        if self.bars:
            text = f"trial {self.finished + 1}: {self.label}, seed {seed}, epoch"
            self.progress.update(self.epochs_bar, description=text, total=epochs, completed=done, note="")

    def epoch_finished(self, epoch: Epoch) -> None:
        if self.bars:
            note = f"acc {epoch.acc:.2f} %, {format_seconds(epoch.train_seconds)} an epoch"
            self.progress.update(self.epochs_bar, completed=epoch.epoch, note=note)

    def trial_finished(self, trial: int, point: DesignPoint, measurement: Measurement) -> None:
        self.finished += 1
        self.finished_here += 1
        values = ", ".join(f"{name} {format_value(name, measurement.value(o))}" for name, o in OBJECTIVES.items())
        self._line(f"[{self.finished}/{self.target}] trial {trial}: {point.label}: {values}; {self._rest()}")

    def trial_failed(self, trial: int, point: DesignPoint, reason: str) -> None:
        self.finished += 1
        self.finished_here += 1
        self._line(f"[{self.finished}/{self.target}] trial {trial}: {point.label} failed: {reason}")

    def front_changed(self, size: int) -> None:
        self.front = f"; {size} on the front"

    def warned(self, message: str) -> None:
        self._line(f"warning: {message}")


class TrainingProgress(ExplorationProgress):
    """One design: a line an epoch."""

    def epoch_finished(self, epoch: Epoch) -> None:
        super().epoch_finished(epoch)
        self._line(epoch_line(epoch))


def epoch_line(epoch: Any) -> str:
    """An epoch in a line."""
    return (
        f"epoch {epoch.epoch:3d}: batch {epoch.batch_size:3d}, {epoch.steps} steps, lr {epoch.lr_first:.2e} to {epoch.lr_last:.2e}, "
        f"margin loss {epoch.margin_loss:.4f}, reconstruction loss {epoch.reconstruction_loss:.4f}, acc {epoch.acc:.2f} %, "
        f"{format_seconds(epoch.train_seconds)} training, {format_seconds(epoch.eval_seconds)} evaluation"
    )


def designs_table(trials: Sequence[TrialRow], title: str) -> Table:
    """Designs with their measurements."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in ("trial", "design", "lr policy", "batch", "weight sharing", "decoder"):
        table.add_column(name, justify="right" if name == "trial" else "left")
    for objective in OBJECTIVES.values():
        table.add_column(objective.name, justify="right")
    table.add_column("test acc", justify="right")
    table.add_column("seeds", justify="right")
    for trial in trials:
        measured = trial.measurement
        assert measured is not None
        design = trial.design
        cells = [design.label, to_text(design.lr_policy), to_text(design.batch_schedule)]
        cells += ["yes" if design.weight_sharing else "no", design.decoder]
        cells += [format_value(name, measured.value(o)) for name, o in OBJECTIVES.items()]
        test = "-" if measured.test_acc is None else format_value("acc", measured.test_acc)
        table.add_row(str(trial.trial), *cells, test, str(trial.seeds))
    return table
