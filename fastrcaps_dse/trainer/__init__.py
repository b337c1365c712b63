"""The shared trainer: one design point and one seed, epoch by epoch."""

from fastrcaps_dse.trainer.checkpoint import CheckpointError
from fastrcaps_dse.trainer.device import choose_device, choose_precision, device_name, software, translate_device_errors
from fastrcaps_dse.trainer.images import derive_seed, epoch_images, split_for
from fastrcaps_dse.trainer.range_test import RangeTest, range_test
from fastrcaps_dse.trainer.stopwatch import Timing, measure_latency, measure_step, step_key
from fastrcaps_dse.trainer.training import Epoch, Training

__all__ = [
    "CheckpointError",
    "Epoch",
    "RangeTest",
    "Timing",
    "Training",
    "choose_device",
    "choose_precision",
    "derive_seed",
    "device_name",
    "epoch_images",
    "measure_latency",
    "measure_step",
    "range_test",
    "software",
    "split_for",
    "step_key",
    "translate_device_errors",
]
