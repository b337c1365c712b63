"""The shared trainer: one design point and one seed, epoch by epoch.

Randomness has one root, the run's seed. From it one generator each for the initial weights (per network variant) and, per
epoch, for shuffle and shift: designs of one seed see the same weights and the same images in the same order, and an epoch
can be trained again from the checkpoint before it, bit for bit on CPU.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fastrcaps_dse import data
from fastrcaps_dse.capsnet.network import CapsNet, LeNet5, Precision, build_network
from fastrcaps_dse.data import DataSet, Split
from fastrcaps_dse.errors import InputError, MachineError, RunFailed, UserError
from fastrcaps_dse.schedules import FixedBatch, build_timeline, learning_rate, range_test_rate
from fastrcaps_dse.space import DesignPoint
from fastrcaps_dse.studyspec import Protocol

EVALUATION_BATCH = 500  # images
ADAM = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch of a run did."""

    epoch: int  # counted from 1
    batch_size: int  # images
    steps: int
    lr_first: float  # learning rate of the first step
    lr_last: float  # learning rate of the last step
    margin_loss: float  # mean over the images (cross-entropy for LeNet5)
    reconstruction_loss: float  # mean over the images, weighted as it is trained
    acc: float  # %, on the split that selects the epoch
    train_seconds: float
    eval_seconds: float


def derive_seed(root: int, *purpose: object) -> int:
    """A seed of 63 bits for one purpose, from the run's root."""
    digest = hashlib.blake2b(":".join(map(str, (root, *purpose))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(root: int, *purpose: object) -> torch.Generator:
    """A generator on the CPU for one purpose: the same numbers whatever the device of the training."""
    return torch.Generator().manual_seed(derive_seed(root, *purpose))


def choose_device(name: str | None = None) -> torch.device:
    """CUDA, MPS or CPU: the first that is there, or the one named. Raises InputError for one that is not."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name in (None, "auto"):
        return torch.device(next(kind for kind, there in available.items() if there))
    try:
        device = torch.device(str(name))
    except RuntimeError:
        device = None
    if device is None or not available.get(device.type, False):
        there = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise InputError(f"there is no device {name!r} here", f"this machine has: {there}")
    return device


def choose_precision(device: torch.device, name: str | None = None) -> Precision:
    """Of the convolutions: bfloat16 where the processor multiplies matrices of it fast, else float32; or the one named."""
    if name in ("float32", "bfloat16"):
        return "float32" if name == "float32" else "bfloat16"
    if name not in (None, "auto"):
        raise InputError(f"unknown precision {name!r}", "known: auto, float32, bfloat16")
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float32"
    return "bfloat16" if device.type == "cpu" and cpu_has_bfloat16() else "float32"


def cpu_has_bfloat16() -> bool:
    """Whether the processor has matrix or dot-product units for bfloat16 (AMX or AVX-512 BF16)."""
    capabilities = torch.backends.cpu.get_capabilities() if hasattr(torch.backends.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or _flagged())


def _flagged() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as info:
            flags = next((line for line in info if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def device_name(device: torch.device) -> str:
    """The device in words, for records."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{cpu_name()}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def cpu_name() -> str:
    """The processor in words."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as info:
            return next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def split_for(dataset: DataSet, protocol: Protocol) -> tuple[Split, Split]:
    """(training images, the images that select the epoch) under a protocol."""
    return (dataset.train, dataset.test) if protocol == "paper" else data.hold_out(dataset.train)


class Training:
    """One run: a design, a seed, a data set. `epochs()` trains and yields each epoch as it ends."""

    def __init__(
        self,
        point: DesignPoint,
        seed: int,
        dataset: DataSet,
        *,
        epochs: int,
        protocol: Protocol = "validation",
        device: torch.device | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.point, self.seed, self.dataset = point, seed, dataset
        self.device = device or choose_device()
        train, select = split_for(dataset, protocol)
        self.train_split, self.select_split = train.to(self.device), select.to(self.device)
        self.timeline = build_timeline(point.batch_schedule, epochs=epochs, images=len(train))
        self.network: CapsNet | LeNet5 = build_network(point, dataset.shape, precision).to(self.device)
        self.reset()

    def reset(self) -> None:
        """Begin anew: initial weights, a fresh optimizer."""
        variant = (self.point.network, self.point.weight_sharing, self.point.decoder)
        start = build_network(self.point, self.dataset.shape)
        start.initialise(generator(self.seed, "weights", *variant))  # on the CPU: the same weights whatever the device
        self.network.load_state_dict(start.state_dict())
        fused = self.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3, fused=fused, **ADAM)  # type: ignore[arg-type]
        self.done = 0  # epochs

    @property
    def params(self) -> int:
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def epochs(self) -> Iterator[Epoch]:
        """Train the epochs that are left. Raises RunFailed where the loss is no longer finite."""
        while self.done < self.timeline.epochs:
            yield self.run_epoch()

    def run_epoch(self) -> Epoch:
        """Train and evaluate the next epoch. Raises RunFailed."""
        epoch = self.done
        phase = self.timeline.phase_of_epoch(epoch)
        first = self.timeline.first_step(epoch)
        rates = [learning_rate(self.point.lr_policy, first + k, self.timeline) for k in range(phase.steps_per_epoch)]
        self._synchronize()
        start = time.perf_counter()
        images = epoch_images(self.train_split, self.seed, epoch, self.point.shift)
        sums = self.train_on(images, phase.batch_size, rates)
        margin, reconstruction = (sums / len(self.train_split)).tolist()  # waits for the device
        trained = time.perf_counter()
        if not (math.isfinite(margin) and math.isfinite(reconstruction)):
            raise RunFailed(f"the loss is not finite in epoch {epoch + 1} (learning rate up to {max(rates):.3g})")
        acc = self.accuracy(self.select_split)
        self.done += 1
        return Epoch(
            epoch=epoch + 1,
            batch_size=phase.batch_size,
            steps=len(rates),
            lr_first=rates[0],
            lr_last=rates[-1],
            margin_loss=margin,
            reconstruction_loss=reconstruction,
            acc=acc,
            train_seconds=trained - start,
            eval_seconds=time.perf_counter() - trained,
        )

    def train_on(self, images: Split, batch_size: int, rates: list[float]) -> Tensor:
        """A step for each learning rate, on batch after batch; the sums of both losses over the images, on the device."""
        self.network.train()
        sums = torch.zeros(2, device=self.device)
        for step, rate in enumerate(rates):
            batch = slice(step * batch_size, (step + 1) * batch_size)
            x, y = as_floats(images.images[batch]), images.labels[batch]
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.zero_grad(set_to_none=True)
            margin, reconstruction = self.network.losses(x, y)
            (margin + reconstruction).backward()
            self.optimizer.step()
            sums += torch.stack((margin.detach(), reconstruction.detach())) * len(y)
        return sums

    @torch.no_grad()
    def accuracy(self, split: Split) -> float:
        """Accuracy in percent; only the capsule lengths are computed, no decoder."""
        self.network.eval()
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        for start in range(0, len(split), EVALUATION_BATCH):
            batch = slice(start, start + EVALUATION_BATCH)
            correct += (self.network.scores(as_floats(split.images[batch])).argmax(1) == split.labels[batch]).sum()
        return 100.0 * int(correct) / len(split)

    def test_accuracy(self) -> float:
        """Accuracy in percent on the test set."""
        return self.accuracy(self.dataset.test.to(self.device))

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    # --- checkpoints: safetensors, never a pickle ---------------------------------------------------------------------

    def save_weights(self, path: Path) -> None:
        """Write the weights. Raises MachineError, e.g. for a full disk."""
        _write(path, {name: p.detach() for name, p in self.network.named_parameters()}, {"design": self.point.key})

    def load_weights(self, path: Path) -> None:
        """Read the weights of `save_weights`. Raises CheckpointError."""
        tensors = _read(path)[0]
        with torch.no_grad():
            for name, p in self.network.named_parameters():
                p.copy_(tensors[name])

    def save(self, path: Path) -> None:
        """Write weights, optimizer state and the number of epochs done. Raises MachineError, e.g. for a full disk."""
        tensors: dict[str, Tensor] = {}
        for name, p in self.network.named_parameters():
            tensors[f"weights.{name}"] = p.detach()
            for key, value in self.optimizer.state.get(p, {}).items():
                tensors[f"adam.{key}.{name}"] = value
        _write(path, tensors, {"design": self.point.key, "seed": str(self.seed), "epochs": str(self.done)})

    def load(self, path: Path) -> None:
        """Continue from a checkpoint of this design and seed. Raises CheckpointError for a broken or foreign one."""
        tensors, metadata = _read(path)
        if (metadata.get("design"), metadata.get("seed")) != (self.point.key, str(self.seed)):
            raise CheckpointError(f"{path} belongs to another run")
        with torch.no_grad():
            for name, p in self.network.named_parameters():
                p.copy_(tensors[f"weights.{name}"])
                state = self.optimizer.state[p]
                for key in ("step", "exp_avg", "exp_avg_sq"):
                    value = tensors[f"adam.{key}.{name}"]
                    on_cpu = key == "step" and self.device.type == "cpu"
                    state[key] = value.clone() if on_cpu else value.clone().to(self.device)
        self.done = int(metadata["epochs"])


class CheckpointError(Exception):
    """A checkpoint that cannot be used: cut short, not there, or of another run."""


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write beside, then rename: a file of this name is always whole."""
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        on_cpu = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        safetensors.torch.save_file(on_cpu, partial, metadata)
        os.replace(partial, path)
    except (OSError, safetensors.SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise MachineError(f"{path} cannot be written: {error}", "free disk space, then run the same command again") from None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: {error}") from None


# --- images -----------------------------------------------------------------------------------------------------------


def as_floats(images: Tensor) -> Tensor:
    """uint8 pixels as float32 in [0, 1]."""
    return images.to(torch.float32) / 255


def epoch_images(split: Split, seed: int, epoch: int, shift: int) -> Split:
    """The images and labels of one epoch in training order, shuffled and shifted."""
    count = len(split)
    device = split.labels.device
    order = torch.randperm(count, generator=generator(seed, "shuffle", epoch)).to(device)
    labels = split.labels[order]
    if not shift:
        return Split(images=split.images[order], labels=labels)
    moves = torch.randint(0, 2 * shift + 1, (2, count), generator=generator(seed, "shift", epoch)).to(device)
    padded = torch.nn.functional.pad(split.images, (shift, shift, shift, shift))
    height, width = split.images.shape[2:]
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [N, C, 2*shift+1, 2*shift+1, H, W], a view
    return Split(images=windows[order, :, moves[0], moves[1]], labels=labels)


def seconds_per_step(
    point: DesignPoint, dataset: DataSet, batch_size: int, device: torch.device, precision: Precision, *, steps: int = 3
) -> float:
    """The median of a few training steps of this batch size on this machine, after a warm-up; a rough estimate."""
    alone = replace(point, batch_schedule=FixedBatch(size=batch_size))
    training = Training(alone, 0, dataset, epochs=1, protocol="paper", device=device, precision=precision)
    times = []
    for _ in range(steps + 1):
        few = Split(images=training.train_split.images[:batch_size], labels=training.train_split.labels[:batch_size])
        start = time.perf_counter()
        training.train_on(few, batch_size, [1e-3]).tolist()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


# --- the learning-rate range test -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """The loss of each step of a range test."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]  # of the batch, before the step

    def suggestion(self) -> tuple[float, float] | None:
        """(lr_min, lr_max): up to where the smoothed loss falls fastest, from a tenth of it; None if it never falls."""
        smooth: list[float] = []
        average = 0.0
        for k, loss in enumerate(self.losses):
            average = 0.9 * average + 0.1 * loss
            smooth.append(average / (1 - 0.9 ** (k + 1)))
        window = max(2, len(smooth) // 20)
        falls = [(smooth[k] - smooth[k - window], self.rates[k]) for k in range(2 * window, len(smooth))]
        if not falls or min(falls)[0] >= 0:
            return None
        steepest = min(falls)[1]
        return steepest / 10, steepest


def range_test(
    training: Training, *, steps: int, lr_start: float, lr_end: float, batch_size: int
) -> Iterator[tuple[float, float]]:
    """find-lr: yields (learning rate, loss) of each step, the rate growing every step; stops where the loss explodes."""
    best = math.inf
    step = 0
    for epoch in range(steps):
        images = epoch_images(training.train_split, training.seed, epoch, training.point.shift)
        for first in range(0, len(images), batch_size):
            if step == steps:
                return
            rate = range_test_rate(step, steps=steps, lr_start=lr_start, lr_end=lr_end)
            few = Split(images=images.images[first : first + batch_size], labels=images.labels[first : first + batch_size])
            loss = float((training.train_on(few, batch_size, [rate]) / len(few)).sum())
            if not math.isfinite(loss):
                return
            yield rate, loss
            best = min(best, loss)
            if loss > 4 * best and step > steps // 10:
                return
            step += 1


def translate_device_errors(error: RuntimeError) -> UserError | None:
    """What a person can do about an error of the device, or None where it is none that we know."""
    if isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error):
        return MachineError("the device has too little memory for this batch size", "use smaller batch sizes or --device cpu")
    return None
