"""Networks that train in no time, in this process and in workers, which import this alone and so start sooner."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

from fastrcaps_dse.capsnet import sizes
from fastrcaps_dse.runs import worker_pool
from fastrcaps_dse.trainer import Epoch, Training, stopwatch

SMALL: dict[str, Any] = {"CONV_CHANNELS": 32, "CAPSULE_TYPES": 4, "DECODER_HIDDEN": (32, 64)}
"""Layer sizes of a CapsNet that trains in no time, for tests of what happens around the training."""
CRASHING = "FASTRCAPS_TEST_CRASHING"
"""The variable with a file; workers die before each epoch of the design whose key is in the file."""

_work = worker_pool._work


def small_worker(pipe: Connection, setup: worker_pool.WorkerSetup) -> None:
    """A worker whose networks are small and whose step times are short."""
    for name, value in SMALL.items():
        setattr(sizes, name, value)
    stopwatch.GROUP_SECONDS = 0.01
    whole_epoch = Training.epoch_in_parts

    def epoch_in_parts(self: Training) -> Generator[int, None, Epoch]:
        if named is not None and Path(named).exists() and Path(named).read_text(encoding="utf-8") == self.point.key:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole_epoch(self)

    named = os.environ.get(CRASHING)
    with mock.patch.object(Training, "epoch_in_parts", epoch_in_parts):
        _work(pipe, setup)
