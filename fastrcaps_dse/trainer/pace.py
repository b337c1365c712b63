"""How far an epoch is, told now and then while it is trained."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

INTERVAL = 0.25  # s; the least time between two reports of an epoch


class Pace:
    """Says, at most every quarter of a second, how many steps of an epoch are done.

    It never waits for the device. On CUDA, where steps are queued long before they are taken, a step counts once an event
    behind it has passed; other devices than a CPU count the steps that are queued.
    """

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.monotonic) -> None:
        self.device, self.clock = device, clock
        self.last = clock()
        self.queued: tuple[int, torch.cuda.Event] | None = None  # a step that the device may not have taken yet

    def done(self, step: int) -> int | None:
        """Steps that are known to be done, once it is time for a report, after so many have been queued; else None."""
        now = self.clock()
        if now - self.last < INTERVAL:
            return None
        if self.device.type != "cuda":
            self.last = now
            return step
        passed = None
        if self.queued is not None and self.queued[1].query():
            passed, self.queued, self.last = self.queued[0], None, now
        if self.queued is None:
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(self.device))
            self.queued = step, event
        return passed
