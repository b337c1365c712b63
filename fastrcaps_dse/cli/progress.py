"""The progress of an exploration on stderr: bars where it is a terminal, lines elsewhere; and the log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live

from fastrcaps_dse.cli.bars import RunBar, State, lines
from fastrcaps_dse.cli.console import epoch_line, stderr, values_text
from fastrcaps_dse.cli.log import LOGGER, LogLines, is_quiet
from fastrcaps_dse.errors import visible
from fastrcaps_dse.problem.objectives import Objective, with_basic
from fastrcaps_dse.problem.quantities import counted, format_seconds
from fastrcaps_dse.problem.study_spec import UNBOUNDED
from fastrcaps_dse.search.protocols import (
    EpochFinished,
    Event,
    Paused,
    RunStarted,
    Status,
    StepsTaken,
    TrialFailed,
    TrialFinished,
    TrialStarted,
)

REFRESHES = 5  # a second


@dataclass(kw_only=True)
class _Bars:
    """The state, drawn anew each time, as wide as the terminal is then."""

    state: State = field(default_factory=State)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ascii_only = "utf" not in console.encoding.lower()
        for line in lines(self.state, console.width, time.monotonic(), ascii_only=ascii_only):
            line.no_wrap, line.overflow = True, "ignore"
            yield line


class ExplorationProgress:
    """Shows events: what is prepared, trials, the running epochs, the front so far, the remaining time."""

    def __init__(self, objectives: Sequence[Objective] = (), *, each_epoch: bool = False) -> None:
        """`each_epoch` adds a line for every epoch."""
        self.objectives, self.each_epoch = objectives, each_epoch
        self.console = stderr()
        self.bars = _Bars()
        self.live = Live(self.bars, console=self.console, refresh_per_second=REFRESHES, transient=True)
        self.status = Status(front=0, remaining=None)
        self.completed: set[int] = set()  # trials that are complete with fewer epochs, as no further one promises enough

    def __enter__(self) -> ExplorationProgress:
        if self.console.is_terminal and not is_quiet():
            self.stage("starting")
            self.live.start(refresh=True)
        self.earlier, LOGGER.handlers = LOGGER.handlers, [LogLines(self._print)]
        return self

    def __exit__(self, *_: object) -> None:
        LOGGER.handlers = self.earlier
        self.live.stop()

    def say(self, text: str) -> None:
        """A line above the bars."""
        if not is_quiet():
            self._print(visible(text))

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False)

    def stage(self, text: str) -> None:
        """What is done from now on, before the first run begins."""
        self.bars.state.stage, self.bars.state.since = text, time.monotonic()

    def tell(self, event: Event) -> None:
        """Show an event."""
        match event:
            case TrialStarted():
                self._trial_started(event)
            case RunStarted():
                bar = self._bar(event.request.trial, event.request.point.label)
                bar.seed, bar.epochs, bar.done = event.request.seed, event.epochs, len(event.accuracies)
                bar.images, bar.note = 0, ""
                if event.request.ends:
                    self.completed.add(event.request.trial)
            case StepsTaken():
                bar = self._bar(event.request.trial, event.request.point.label)
                bar.images, bar.of = event.images, event.of
            case EpochFinished():
                self._epoch_finished(event)
            case Status():
                self._status(event)
            case TrialFinished():
                values = values_text(
                    {o.name: event.measurement[o.name] for o in with_basic(self.objectives)},
                    estimated=event.measurement.time_estimated,
                )
                epochs = event.measurement.pruned_after
                word = "complete" if event.trial in self.completed else "pruned"
                pruned = "" if epochs is None else f", {word} after {counted(epochs, 'epoch')}"
                self._trial_ended(event.trial, f"{event.point.label}: {values}{pruned}")
            case Paused():
                self._paused(event)
            case TrialFailed():
                self._trial_ended(event.trial, f"{event.point.label} failed: {event.reason}")

    def _bar(self, trial: int, label: str) -> RunBar:
        """The bar of a trial; racing trains further seeds of trials that were not started here."""
        state = self.bars.state
        state.target = state.target or UNBOUNDED
        return state.runs.setdefault(trial, RunBar(trial=trial, label=visible(label)))

    def _trial_started(self, event: TrialStarted) -> None:
        state = self.bars.state
        state.finished, state.target = event.finished, event.target
        self._bar(event.trial, event.point.label)
        if event.resumed:
            self.say(f"continuing trial {event.trial}: {event.point.label}")

    def _epoch_finished(self, event: EpochFinished) -> None:
        epoch, bar = event.epoch, self._bar(event.request.trial, event.request.point.label)
        bar.done, bar.images = epoch.epoch, 0
        bar.note = f"acc {epoch.acc:.2f} %, {format_seconds(epoch.train_seconds)} an epoch"
        if self.each_epoch:
            self.say(epoch_line(epoch))

    def _paused(self, event: Paused) -> None:
        trial, state = event.request.trial, self.bars.state
        bar = state.runs.pop(trial)
        text = f"{event.request.point.label} paused after {event.epochs} of {bar.epochs} epochs"
        note = f": {bar.note.partition(',')[0]}" if bar.note else ""
        self.say(f"trial {trial}: {text}{note}" + (f"; {state.note}" if state.note else ""))

    def _status(self, status: Status) -> None:
        state = self.bars.state
        if self.status.remaining is None and status.remaining and not state.finished:
            self.say(f"after the first epoch: about {format_seconds(status.remaining)} left")
        self.status = status
        parts = [f"{status.front} on the front"] if status.front else []
        if status.remaining:
            parts.append(f"about {format_seconds(status.remaining)} left")
        state.note = ", ".join(parts)

    def _trial_ended(self, trial: int, text: str) -> None:
        state = self.bars.state
        state.runs.pop(trial, None)
        state.finished += 1
        target = f"/{state.target}" if state.target < UNBOUNDED else ""
        self.say(f"[{state.finished}{target}] trial {trial}: {text}" + (f"; {state.note}" if state.note else ""))
