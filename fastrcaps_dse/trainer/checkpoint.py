"""Checkpoints and weights as safetensors files. No pickle is ever read."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from fastrcaps_dse.errors import MachineError


class CheckpointError(Exception):
    """A checkpoint cannot be used: it is cut short, missing, or belongs to another run."""


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file. It is written under another name and then renamed, so that `path` is always a whole file.

    Raises MachineError for a file that cannot be written.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        on_cpu = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        partial.touch()
        mode = partial.stat().st_mode
        safetensors.torch.save_file(on_cpu, partial, metadata)
        partial.chmod(mode)  # as the person's other files are; safetensors lets only the owner read
        os.replace(partial, path)
    except (OSError, safetensors.SafetensorError) as error:
        with suppress(OSError):
            partial.unlink()
        raise MachineError(f"{path} cannot be written: {error}", "free disk space, then run the same command again") from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The (tensors, metadata) of a safetensors file. Raises CheckpointError for a file that is missing or broken."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: {error}") from None
