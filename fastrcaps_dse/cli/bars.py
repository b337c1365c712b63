"""The progress of an exploration as lines that fit a terminal of any width."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Text

from fastrcaps_dse.cli.layout import GAP, shorten
from fastrcaps_dse.problem.quantities import format_seconds
from fastrcaps_dse.problem.study_spec import UNBOUNDED

LEAST_BAR, MOST_BAR = 8, 24  # columns
NARROW = 60  # columns of a terminal; in a wider one the bar is longer
LEAST_LABEL = 12  # columns of a text; with fewer it is left out
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ASCII_SPINNER = "|/-\\"


@dataclass(kw_only=True)
class RunBar:
    """A run under way."""

    trial: int
    label: str
    seed: int = 0
    epochs: int = 0  # of the whole run; 0 until it begins
    done: int = 0  # epochs
    images: int = 0  # of the epoch under way
    of: int = 0  # images of an epoch
    note: str = ""  # what its last epoch reached

    @property
    def share(self) -> float:
        """Of the run that is done, 0 to 1."""
        return (self.done + (self.images / self.of if self.of else 0.0)) / self.epochs if self.epochs else 0.0


@dataclass(kw_only=True)
class State:
    """What the lines say."""

    stage: str = "starting"  # what happens before the first run
    since: float = 0.0  # s; the clock when the stage began
    finished: int = 0  # trials
    target: int = 0  # trials; 0 until it is known
    note: str = ""  # the front so far, and the estimated rest
    runs: dict[int, RunBar] = field(default_factory=dict)  # by trial


def lines(state: State, width: int, now: float, *, ascii_only: bool = False) -> list[Text]:
    """The stage, or the designs and the runs under way; no line is wider than `width`."""
    if not state.target:
        return [Text(_stage(state, width, now, SPINNER if not ascii_only else ASCII_SPINNER))]
    return [_designs(state, width, ascii_only), *(_run(bar, width, ascii_only) for bar in state.runs.values())]


def _stage(state: State, width: int, now: float, spinner: str) -> str:
    seconds = max(0.0, now - state.since)
    waited = f" ({format_seconds(int(seconds))})" if seconds >= 2 else ""
    return shorten(f"{spinner[int(now * 8) % len(spinner)]} {state.stage}{waited}", width)


def _designs(state: State, width: int, ascii_only: bool) -> Text:
    """How many designs are finished, with the shares of those under way."""
    if state.target >= UNBOUNDED:
        return Text(shorten(GAP.join(filter(None, [f"designs  {state.finished}", state.note])), width))
    share = (state.finished + sum(bar.share for bar in state.runs.values())) / state.target
    return _line("designs", share, f"{state.finished}/{state.target}", [], state.note, width, ascii_only)


def _run(bar: RunBar, width: int, ascii_only: bool) -> Text:
    if not bar.epochs:
        return _line(f"trial {bar.trial}", 0.0, "preparing", [], bar.label, width, ascii_only)
    epoch = f"epoch {min(bar.done + 1, bar.epochs)}/{bar.epochs}"
    of = f"{bar.of:,}"  # the counts keep their widths while they grow
    counts = [f"{epoch}, {bar.images:{len(of)},}/{of} images", f"{epoch} {100 * bar.images // bar.of:3d} %"] if bar.of else []
    seed = f", seed {bar.seed}" if bar.seed else ""
    text = GAP.join(filter(None, [bar.note, f"{bar.label}{seed}"]))
    return _line(f"trial {bar.trial}", bar.share, epoch, counts, text, width, ascii_only)


def _line(head: str, share: float, count: str, longer: list[str], text: str, width: int, ascii_only: bool) -> Text:
    """Head, bar, count and text; the bar depends on the width alone, so that it grows evenly.

    The longest count that leaves some room for the text is taken; then the text is shortened.
    """
    bar = min(MOST_BAR, LEAST_BAR + max(0, width - NARROW) // 5)
    used = cell_len(head) + bar + 2 * len(GAP)
    enough = min(cell_len(text), LEAST_LABEL)
    fitting = [wanted for wanted in longer if used + cell_len(wanted) + len(GAP) + enough <= width]
    count = fitting[0] if fitting else count
    used += cell_len(count)
    if used > width:
        return Text(shorten(f"{head}{GAP}{count}", width))
    room = width - used - len(GAP)
    text = shorten(text, room) if room >= enough and room > 0 else ""
    full = min(bar, max(0, round(bar * share)))
    marks = "#-" if ascii_only else "━─"
    made = Text(f"{head}{GAP}")
    made.append(marks[0] * full, style="cyan")
    made.append(marks[1] * (bar - full), style="dim")
    made.append(GAP + count + (GAP + text if text else ""))
    return made
