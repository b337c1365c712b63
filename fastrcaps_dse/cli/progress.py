"""The progress of an exploration on stderr: bars where it is a terminal, lines elsewhere; and the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from fastrcaps_dse.cli.console import epoch_line, stderr, values_text
from fastrcaps_dse.cli.log import LOGGER, LogLines
from fastrcaps_dse.problem.objectives import Objective, with_basic
from fastrcaps_dse.problem.quantities import counted, format_seconds
from fastrcaps_dse.problem.study_spec import UNBOUNDED
from fastrcaps_dse.search.protocols import (
    EpochFinished,
    Event,
    RunStarted,
    Status,
    TrialFailed,
    TrialFinished,
    TrialStarted,
)


@dataclass(kw_only=True)
class _Counts:
    """What the bars and lines say of the whole exploration."""

    status: Status = field(default_factory=lambda: Status(front=0, remaining=None))
    finished: int = 0  # trials
    target: int = 0  # trials

    def text(self) -> str:
        """The front so far, and the estimated rest."""
        parts = [f"{self.status.front} on the front"] if self.status.front else []
        if self.status.remaining:
            parts.append(f"about {format_seconds(self.status.remaining)} left")
        return ", ".join(parts)


class ExplorationProgress:
    """Shows events: trials, the running epochs, the front so far, the remaining time."""

    def __init__(self, objectives: Sequence[Objective] = (), *, each_epoch: bool = False) -> None:
        """`each_epoch` adds a line for every epoch."""
        self.objectives, self.each_epoch = objectives, each_epoch
        self.console = stderr()
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.counts = _Counts()
        self.labels: dict[int, str] = {}  # of the trials under way
        self.tasks: dict[int | str, Any] = {}  # bars: of all designs, and of each trial under way

    def __enter__(self) -> ExplorationProgress:
        self.bars.start()
        self.earlier, LOGGER.handlers = LOGGER.handlers, [LogLines(self.say)]
        return self

    def __exit__(self, *_: object) -> None:
        LOGGER.handlers = self.earlier
        self.bars.stop()

    def say(self, text: str) -> None:
        """A line above the bars."""
        self.bars.console.print(text, markup=False)

    def tell(self, event: Event) -> None:
        """Show an event."""
        match event:
            case TrialStarted():
                self._trial_started(event)
            case RunStarted():
                self._run_started(event)
            case EpochFinished():
                self._epoch_finished(event)
            case Status():
                if self.counts.status.remaining is None and event.remaining and not self.counts.finished:
                    self.say(f"after the first epoch: about {format_seconds(event.remaining)} left")
                self.counts.status = event
            case TrialFinished():
                values = values_text({o.name: event.measurement[o.name] for o in with_basic(self.objectives)})
                epochs = event.measurement.pruned_after
                pruned = "" if epochs is None else f", pruned after {counted(epochs, 'epoch')}"
                self._trial_ended(event.trial, f"{event.point.label}: {values}{pruned}")
            case TrialFailed():
                self._trial_ended(event.trial, f"{event.point.label} failed: {event.reason}")

    def _trial_started(self, event: TrialStarted) -> None:
        self.counts.finished, self.counts.target = event.finished, event.target
        self.labels[event.trial] = event.point.label
        if event.resumed:
            self.say(f"continuing trial {event.trial}: {event.point.label}")
        if "designs" not in self.tasks:
            self.tasks["designs"] = self.bars.add_task("designs", total=event.target, note="")
        self.bars.update(self.tasks["designs"], completed=event.finished, note=self.counts.text())

    def _run_started(self, event: RunStarted) -> None:
        trial = event.request.trial
        if trial not in self.tasks:
            self.tasks[trial] = self.bars.add_task("", note="")
        text = f"trial {trial}: {self.labels.get(trial, event.request.point.label)}, seed {event.request.seed}, epoch"
        self.bars.update(self.tasks[trial], description=text, total=event.epochs, completed=len(event.accuracies), note="")

    def _epoch_finished(self, event: EpochFinished) -> None:
        epoch = event.epoch
        note = f"acc {epoch.acc:.2f} %, {format_seconds(epoch.train_seconds)} an epoch"
        self.bars.update(self.tasks[event.request.trial], completed=epoch.epoch, note=note)
        if self.each_epoch:
            self.say(epoch_line(epoch))

    def _trial_ended(self, trial: int, text: str) -> None:
        if trial in self.tasks:
            self.bars.remove_task(self.tasks.pop(trial))
        self.counts.finished += 1
        target = f"/{self.counts.target}" if self.counts.target < UNBOUNDED else ""
        status = self.counts.text()
        self.say(f"[{self.counts.finished}{target}] trial {trial}: {text}" + (f"; {status}" if status else ""))
