"""The trainer: one design point, trained with one seed, epoch by epoch."""

from fastrcaps_dse.capsnet.initialization import derive_seed
from fastrcaps_dse.trainer.algorithm_choice import (
    AlgorithmTiming,
    fastest_algorithm,
    has_rivals,
    measures_algorithms,
    work_type,
)
from fastrcaps_dse.trainer.checkpoint import CheckpointError
from fastrcaps_dse.trainer.device import (
    all_like,
    choose_device,
    choose_precision,
    device_name,
    memory_of,
    software,
)
from fastrcaps_dse.trainer.device_locks import alone, beside_others
from fastrcaps_dse.trainer.images import epoch_images, split_for
from fastrcaps_dse.trainer.memory import clear_device_errors, free_memory, room, translate_device_errors
from fastrcaps_dse.trainer.range_test import RangeTest, range_test
from fastrcaps_dse.trainer.stopwatch import StepKey, Timing, latency_key, measure_latency, measure_step, step_key
from fastrcaps_dse.trainer.threads import all_threads, take_share, with_share_of
from fastrcaps_dse.trainer.training import Epoch, Training
from fastrcaps_dse.trainer.weights import load_network

__all__ = [
    "AlgorithmTiming",
    "CheckpointError",
    "Epoch",
    "RangeTest",
    "StepKey",
    "Timing",
    "Training",
    "all_like",
    "all_threads",
    "alone",
    "beside_others",
    "choose_device",
    "choose_precision",
    "clear_device_errors",
    "derive_seed",
    "device_name",
    "epoch_images",
    "fastest_algorithm",
    "free_memory",
    "has_rivals",
    "latency_key",
    "load_network",
    "measure_latency",
    "measure_step",
    "measures_algorithms",
    "memory_of",
    "range_test",
    "room",
    "software",
    "split_for",
    "step_key",
    "take_share",
    "translate_device_errors",
    "with_share_of",
    "work_type",
]
