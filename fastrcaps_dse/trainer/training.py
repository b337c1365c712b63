"""The training of one design point with one seed, epoch by epoch.

Randomness has one root, the seed of the run. From it come one generator for the initial weights (of each network variant) and,
for each epoch, one each for the shuffle, the shift and the flip. Designs trained with one seed therefore see the same weights and the
same images in the same order, and an epoch can be trained again from the checkpoint before it, bit for bit on a CPU.
"""

from __future__ import annotations

import hashlib
import math
import time
from array import array
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fastrcaps_dse.capsnet.algorithms import BY_DEFAULT, Algorithm, Algorithms
from fastrcaps_dse.capsnet.memory import evaluation_batch
from fastrcaps_dse.capsnet.network import CapsNet, LeNet5, Precision, build_network
from fastrcaps_dse.data import DataSet, Split
from fastrcaps_dse.errors import RunFailed
from fastrcaps_dse.problem.rates import learning_rate
from fastrcaps_dse.problem.schedules import ExponentialDecay
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import Protocol
from fastrcaps_dse.problem.timelines import Timeline, build_timeline
from fastrcaps_dse.trainer.algorithm_choice import work_type
from fastrcaps_dse.trainer.checkpoint import CheckpointError, read_tensors, write_tensors
from fastrcaps_dse.trainer.device import choose_device, device_name, keep_memory, software
from fastrcaps_dse.trainer.images import as_floats, epoch_images, split_for
from fastrcaps_dse.trainer.steps import make_steps, run_through
from fastrcaps_dse.trainer.threads import follow_load
from fastrcaps_dse.trainer.weights import copy_weights, weights_metadata


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch of a run did, and how long it took."""

    epoch: int  # counted from 1
    batch_size: int  # images
    steps: int
    lr_first: float  # learning rate of the first step
    lr_last: float  # learning rate of the last step
    margin_loss: float  # mean over the images (cross-entropy for LeNet5)
    reconstruction_loss: float  # mean over the images, weighted as it is trained
    acc: float  # %, on the images that select the epoch
    test_acc: float | None = None  # %, on the test set, under a protocol that evaluates it after each epoch
    warm_up_seconds: float  # before the first epoch of a batch size; not part of train_seconds, because nothing is trained
    train_seconds: float
    eval_seconds: float


class Training:
    """One run: a design trained with a seed on a data set. `epochs()` trains, and yields each epoch as it ends.

    `epochs` is the length of the run. `protocol` says which images each epoch is evaluated on: held-out training images, with "paper"
    the test set, with "both" one after the other. `scale_decay` is that of `build_timeline`. `device` is chosen if it is None.
    `precision` is that of the convolutions; LeNet5 uses float32. `algorithms` are those of PrimaryCaps on a CPU: with others the bits
    differ, up to rounding. Raises InputError for a data set that the network does not admit, or that has too few images to hold some out.
    """

    # More than seven attributes: those of the run as it was asked for, and those of the network that is being trained.

    keeps_memory = True  # of each step for the next one, on a CPU

    def __init__(
        self,
        point: DesignPoint,
        seed: int,
        dataset: DataSet,
        *,
        epochs: int,
        protocol: Protocol = "validation",
        scale_decay: bool = False,
        device: torch.device | None = None,
        precision: Precision = "float32",
        algorithms: Algorithms = BY_DEFAULT,
    ) -> None:
        self.point, self.seed, self.dataset = point, seed, dataset
        self.device = device or choose_device()
        if self.device.type == "cpu" and self.keeps_memory:
            keep_memory()
        train, select = split_for(dataset, protocol)
        self.train_split, self.select_split = train.to(self.device), select.to(self.device)
        self.tests_every_epoch = protocol == "both"
        self.timeline = build_timeline(point.batch_schedule, epochs=epochs, images=len(train), scale_decay=scale_decay)
        self.evaluated = evaluation_batch(point, dataset.shape, work_type(precision))  # images at once
        self.precision: Precision = precision if point.network == "capsnet" else "float32"
        network = build_network(point, dataset.shape, precision, algorithms, seed=seed)  # on the CPU: the same on any device
        self.network: CapsNet | LeNet5 = network.to(self.device)
        self._begin()

    def reset(self) -> None:
        """Start from the beginning: initial weights, a fresh optimizer."""
        start = build_network(self.point, self.dataset.shape, seed=self.seed)
        self.network.load_state_dict(start.state_dict())
        self._begin()

    def _begin(self) -> None:
        """Be before the first epoch."""
        self._make_steps()
        self.done = 0  # epochs

    def _make_steps(self) -> None:
        """Set a fresh optimizer, with no batch size warmed up."""
        self.steps = make_steps(self.network, self.device, self.train_split)
        self.optimizer = self.steps.optimizer
        self.warm: set[int] = set()  # batch sizes

    @property
    def params(self) -> int:
        """The number of trainable parameters."""
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def epochs(self) -> Iterator[Epoch]:
        """Train the epochs that are left, and yield each. Raises RunFailed for a loss or class scores that are not finite."""
        while self.done < self.timeline.epochs:
            yield self.run_epoch()

    def run_epoch(self) -> Epoch:
        """Train and evaluate the next epoch. Raises RunFailed for a loss or class scores that are not finite."""
        return run_through(self.epoch_in_parts())

    def epoch_in_parts(self) -> Generator[int, None, Epoch]:
        """The same as `run_epoch`; yields now and then, at most four times a second, how many images the epoch has been trained on.

        What is done meanwhile counts as training time.
        """
        epoch = self.done
        phase = self.timeline.phase_of_epoch(epoch)
        rates = self._rates(epoch)
        warm_up_seconds = self.warm_up(phase.batch_size, steps=phase.epochs * phase.steps_per_epoch)
        start = time.perf_counter()
        images = epoch_images(self.train_split, self.seed, epoch, self.point.shift, flip=self.point.flip)
        sums = yield from self.train_in_parts(images, phase.batch_size, rates)
        margin, reconstruction = (sums / len(self.train_split)).tolist()  # waits for the device
        trained = time.perf_counter()
        if not (math.isfinite(margin) and math.isfinite(reconstruction)):
            raise RunFailed(f"the loss is not finite in epoch {epoch + 1} (learning rate up to {max(rates):.3g})")
        acc = self.accuracy(self.select_split, f"after epoch {epoch + 1}")
        test_acc = self.test_accuracy(epoch + 1) if self.tests_every_epoch else None
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
            test_acc=test_acc,
            warm_up_seconds=warm_up_seconds,
            train_seconds=trained - start,
            eval_seconds=time.perf_counter() - trained,
        )

    def _rates(self, epoch: int, timeline: Timeline | None = None) -> list[float]:
        """The learning rate of each step of an epoch, of this run or of one with another timeline."""
        line = timeline or self.timeline
        first, steps = line.first_step(epoch), line.phase_of_epoch(epoch).steps_per_epoch
        return [learning_rate(self.point.lr_policy, first + k, line) for k in range(steps)]

    def prefix_keys(self) -> list[str]:
        """A key for each epoch: runs with the same key have trained the same up to the end of that epoch, bit for bit.

        The key digests all that decides the bits: network, seed, images, batch sizes, learning rates, precision, convolution algorithms,
        device, software.
        """
        point = self.point
        network: tuple[object, ...] = (
            point.network,
            point.weight_sharing,
            point.decoder,
            point.routing_iterations,
            point.shift,
        )
        network += ("flip",) if point.flip else ()  # keys of runs without it stay
        machine = (self.precision, device_name(self.device), software())
        digest = hashlib.blake2b(repr((network, self.seed, self.dataset.fingerprint(), machine)).encode(), digest_size=16)
        digest.update(str((len(self.train_split), len(self.select_split))).encode())  # the protocol
        if self.tests_every_epoch:  # what is kept of each epoch has the accuracy of the test
            digest.update(b"tests")
        keys = []
        for epoch in range(self.timeline.epochs):
            batch_size = self.timeline.phase_of_epoch(epoch).batch_size
            digest.update(repr((batch_size, self._algorithms_of_epoch(batch_size))).encode())
            digest.update(array("d", self._rates(epoch)).tobytes())
            keys.append(digest.hexdigest())
        return keys

    def begins_longer_runs(self) -> bool:
        """Whether a run of one more epoch has the same last epoch but one: not where the learning rate depends on the length."""
        last, images = self.timeline.epochs - 1, len(self.train_split)
        if self.timeline.decay_scale != 1.0 and isinstance(self.point.lr_policy, ExponentialDecay):
            return False
        longer = build_timeline(self.point.batch_schedule, epochs=self.timeline.epochs + 1, images=images)
        if longer.phase_of_epoch(last).batch_size != self.timeline.phase_of_epoch(last).batch_size:
            return False
        return self._rates(last) == self._rates(last, longer)

    def _algorithms_of_epoch(self, batch_size: int) -> dict[int, Algorithm]:
        """The convolution algorithm of each size that a batch of an epoch has, in training and in evaluation."""
        if not isinstance(self.network, CapsNet) or self.device.type != "cpu":
            return {}
        kind = self.network.work_type or torch.float32
        pairs = ((len(self.train_split), batch_size), (len(self.select_split), self.evaluated))
        sizes = {size for images, most in pairs for size in (min(images, most), images % most) if size}
        return {size: self.network.algorithms.of(size, kind, self.network.grid) for size in sorted(sizes)}

    def warm_up(self, batch_size: int, *, steps: int) -> float:
        """Prepare for `steps` steps of a batch size, unless that is done; the weights stay as they are.

        Returns the seconds that it took.
        """
        start = time.perf_counter()
        if batch_size not in self.warm:
            self.steps.warm_up(self.train_split, batch_size, steps)
            self.warm.add(batch_size)
        self._synchronize()
        return time.perf_counter() - start

    def train_on(self, images: Split, batch_size: int, rates: Sequence[float]) -> Tensor:
        """Take a step for each learning rate, on one batch after the other.

        Returns the sums of the (classification loss, reconstruction loss) over the images, [2], on the device.
        """
        return run_through(self.train_in_parts(images, batch_size, rates))

    def train_in_parts(self, images: Split, batch_size: int, rates: Sequence[float]) -> Generator[int, None, Tensor]:
        """The same as `train_on`; yields now and then on how many images the steps have been taken."""
        steps = self.steps.take(images, batch_size, rates)
        while True:
            try:
                yield min(next(steps) * batch_size, len(images))
            except StopIteration as stop:
                sums: Tensor = stop.value
                return sums

    @torch.no_grad()
    def accuracy(self, split: Split, when: str = "") -> float:
        """The accuracy on these images, of any device, in percent. Only the class scores are computed; the decoder does not run.

        `when` says in the error which weights these are. Raises RunFailed for scores that are not finite: `argmax` would call the first
        of them the largest, and give the share of its class as the accuracy.
        """
        self.network.eval()
        counts = torch.zeros(2, dtype=torch.int64, device=self.device)  # of images: classified right; with finite scores
        for start in range(0, len(split), self.evaluated):
            follow_load(self.device)
            batch = slice(start, start + self.evaluated)
            scores_BJ = self.network.scores(as_floats(split.images[batch].to(self.device)))
            right_B = scores_BJ.argmax(1) == split.labels[batch].to(self.device)
            counts += torch.stack((right_B, scores_BJ.isfinite().all(1))).sum(1)
        correct, finite = counts.tolist()  # waits for the device
        if finite < len(split):
            raise RunFailed(f"the class scores of {len(split) - finite} of {len(split)} images are not finite {when}".rstrip())
        return 100.0 * int(correct) / len(split)

    def test_accuracy(self, epoch: int | None = None) -> float:
        """The accuracy on the test set, in percent. `epoch` is that of the weights, for the error.

        Raises RunFailed for scores that are not finite.
        """
        when = "in the test" if epoch is None else f"in the test of epoch {epoch}"
        return self.accuracy(self.dataset.test.to(self.device), when)

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    # --- checkpoints: safetensors, never a pickle -----------------------------------------------------------------------

    def save_weights(self, path: Path | str) -> None:
        """Write the weights to a file. Raises MachineError, e.g. for a full disk."""
        write_tensors(
            Path(path),
            {name: p.detach() for name, p in self.network.named_parameters()},
            weights_metadata(self.point, self.dataset),
        )

    def load_weights(self, path: Path | str) -> None:
        """Read the weights from a file of `save_weights`.

        Raises CheckpointError for a missing or broken file, InputError for weights of another network or of other images.
        """
        copy_weights(self.network, Path(path), self.point, self.dataset.shape)

    def save(self, path: Path) -> None:
        """Write a checkpoint: weights, optimizer state and the number of epochs done. Raises MachineError, e.g. for a full disk."""
        tensors: dict[str, Tensor] = {}
        for name, p in self.network.named_parameters():
            tensors[f"weights.{name}"] = p.detach()
            for key, value in self.optimizer.state.get(p, {}).items():
                tensors[f"adam.{key}.{name}"] = value
        write_tensors(
            path, tensors, weights_metadata(self.point, self.dataset) | {"seed": str(self.seed), "epochs": str(self.done)}
        )

    def load(self, path: Path, *, fork: bool = False) -> None:
        """Continue from a checkpoint of this design and seed; with `fork`, from that of any run of the same network.

        Raises CheckpointError for a checkpoint that is missing or broken, or that belongs to another run and is not forked.
        """
        tensors, metadata = read_tensors(path)
        if not fork and (metadata.get("design"), metadata.get("seed")) != (self.point.key, str(self.seed)):
            raise CheckpointError(f"{path} belongs to another run")
        with torch.no_grad():
            for name, p in self.network.named_parameters():
                p.copy_(tensors[f"weights.{name}"])
                state = self.optimizer.state[p]
                for key in ("step", "exp_avg", "exp_avg_sq"):
                    value = tensors[f"adam.{key}.{name}"]
                    if key in state:  # a captured step reads it where it is
                        state[key].copy_(value)
                    else:
                        state[key] = value.clone().to(self.device)
        self.done = int(metadata["epochs"])
