"""An executor whose runs follow curves of a formula, epoch by epoch, for tests of searches that pause them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fastrcaps_dse.problem.objectives import Measurement, selected_epoch
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.search.protocols import (
    EpochFinished,
    Forecast,
    Measured,
    Message,
    OutOfTime,
    Paused,
    Request,
    RunStarted,
)
from fastrcaps_dse.store import EpochRow, Store

EPOCHS = 8


def seconds_of(point: DesignPoint) -> float:
    """Of each epoch."""
    size: int = point.batch_schedule.size  # type: ignore[union-attr]
    return (4.0 if size == 16 else 2.5) * (0.8 if point.decoder == "small" else 1.0)


def curve_of(point: DesignPoint) -> list[float]:
    """The accuracies (%) of a run: an error that falls as a power of the epoch, at a pace of the design's own."""
    size: int = point.batch_schedule.size  # type: ignore[union-attr]
    pace = {"fixed": 1.0, "one-cycle": 1.4, "warm-restarts": 0.6}[point.lr_policy.name] * (1.2 if size == 16 else 0.9)
    end = {"fixed": 6.0, "one-cycle": 4.0, "warm-restarts": 7.0}[point.lr_policy.name] + 2.0 * point.weight_sharing
    start = 35.0 + 10.0 * (size == 32) + 4.0 * (point.decoder == "small")
    return [100 - end - (start - end) * k**-pace for k in range(1, EPOCHS + 1)]


def params_of(point: DesignPoint) -> float:
    """Of a design, made up."""
    return 8e6 - 1e6 * point.weight_sharing - 2e5 * (point.decoder == "small")


def forecast(point: DesignPoint) -> Forecast:
    """What is certain of a design."""
    seconds = [seconds_of(point)] * EPOCHS
    return Forecast(seconds=math.fsum(seconds), fixed={"params": params_of(point)}, by_epoch=seconds)


def epoch_row(epoch: int, accuracy: float, seconds: float) -> EpochRow:
    """An epoch with an accuracy."""
    rates = {"lr_first": 1e-3, "lr_last": 1e-3, "margin_loss": 0.1, "reconstruction_loss": 0.1}
    times = {"warm_up_seconds": 0.0, "train_seconds": seconds, "eval_seconds": 0.0, "counted_seconds": seconds}
    return EpochRow(epoch=epoch, batch_size=16, steps=9, acc=accuracy, **rates, **times)


@dataclass(kw_only=True)
class Curves:
    """See `Executor`. It works on so many requests in turn, and stores what they reach where it has a store."""

    workers: int = 1
    ours: Store | None = None
    stop_after: int = 10**9  # epochs, then it is interrupted
    budget: int = 10**9  # epochs, then it is out of time
    trained: list[tuple[str, int]] = field(default_factory=list)  # (design, epoch) in order
    done: dict[int, int] = field(default_factory=dict)  # epochs that each run has, by id
    requests: list[Request] = field(default_factory=list)
    spent: float = 0.0  # s

    def run(self, next_request: Callable[[], Request | None]) -> Iterator[Message]:
        """See `Executor`."""
        at_work: list[Iterator[Message]] = []
        while True:
            while len(at_work) < self.workers and (request := next_request()) is not None:
                at_work.append(self.answer(request))
            if not at_work:
                return
            message = next(at_work[0], None)
            if message is None:
                at_work.pop(0)
            else:
                yield message
                at_work.append(at_work.pop(0))  # the others go on meanwhile

    def answer(self, request: Request) -> Iterator[Message]:
        """Train one request."""
        self.requests.append(request)
        mine = request.run_id, request.attempt
        curve, seconds = curve_of(request.point), seconds_of(request.point)
        done = self.done.get(request.run_id, 0) if self.ours is None else len(self.ours.epochs(request.run_id))
        yield RunStarted(request=request, epochs=EPOCHS, accuracies=tuple(curve[:done]))
        while done < (request.until or EPOCHS):
            if len(self.trained) >= self.stop_after:
                raise KeyboardInterrupt
            row = epoch_row(done + 1, curve[done], seconds)
            done += 1
            self.trained.append((request.point.key, done))
            self.spent += seconds
            self.done[request.run_id] = done
            if self.ours is not None:
                self.ours.set_epoch(*mine, row)
            yield EpochFinished(request=request, epoch=row)
            if len(self.trained) >= self.budget and done < EPOCHS:
                self._leave(mine)
                yield OutOfTime(request=request)
                return
        if done < EPOCHS and not request.ends:
            self._leave(mine)
            yield Paused(request=request, epochs=done)
            return
        selected = selected_epoch(curve[:done])
        values = {"acc": curve[selected - 1], "time": selected * seconds, "params": params_of(request.point)}
        measurement = Measurement(values=values, selected_epoch=selected, pruned_after=done if done < EPOCHS else None)
        if self.ours is not None:
            self.ours.finish_run(*mine, measurement, 1.0, None)
        yield Measured(request=request, measurement=measurement)

    def _leave(self, mine: tuple[int, int]) -> None:
        if self.ours is not None:
            self.ours.leave_run(*mine)
