"""The shared trainer: one design point and one seed, epoch by epoch."""

from fastrcaps_dse.trainer.checkpoint import CheckpointError
from fastrcaps_dse.trainer.device import choose_device, choose_precision, device_name, software, translate_device_errors
from fastrcaps_dse.trainer.images import derive_seed, epoch_images, split_for
from fastrcaps_dse.trainer.range_test import RangeTest, range_test
from fastrcaps_dse.trainer.training import Epoch, Training, seconds_per_step

__all__ = [
    "CheckpointError",
    "Epoch",
    "RangeTest",
    "Training",
    "choose_device",
    "choose_precision",
    "derive_seed",
    "device_name",
    "epoch_images",
    "range_test",
    "seconds_per_step",
    "software",
    "split_for",
    "translate_device_errors",
]
