"""The steps of an epoch, taken eagerly or as one captured CUDA graph for each batch size.

Both ways take the same steps. A captured step reads its images, its learning rate and its position in the epoch from the
device, so that the host only replays it, and never waits within an epoch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from fastrcaps_dse.capsnet.network import CapsNet, LeNet5
from fastrcaps_dse.data import Split
from fastrcaps_dse.trainer.adam import Adam, Optimizer
from fastrcaps_dse.trainer.images import as_floats
from fastrcaps_dse.trainer.memory import lacks_memory
from fastrcaps_dse.trainer.pace import Pace
from fastrcaps_dse.trainer.threads import follow_load

ADAM: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
CAPTURE_FROM = 200  # steps of a run; fewer are not worth a capture
T = TypeVar("T")
WARM_UP_STEPS = 3  # before a capture, as CUDA graphs need them


class Steps(Protocol):
    """A way to take the steps of an epoch."""

    optimizer: Optimizer

    def warm_up(self, images: Split, batch_size: int, steps: int) -> None:
        """Prepare for `steps` steps of this batch size; weights and optimizer state stay as they are."""

    def take(self, images: Split, batch_size: int, rates: Sequence[float]) -> Generator[int, None, Tensor]:
        """Take a step for each learning rate, on one batch after the other; yields now and then how many are done.

        Returns the sums of the (classification loss, reconstruction loss) over the images, [2], on the device.
        """

    def run(self, images: Split, batch_size: int, rates: Sequence[float]) -> Tensor:
        """Take the steps of `take` without a stop; its sums."""


def run_through(parts: Generator[int, None, T]) -> T:
    """What a generator returns, after all that it yields."""
    while True:
        try:
            next(parts)
        except StopIteration as stop:
            returned: T = stop.value
            return returned


def _update(network: CapsNet | LeNet5, optimizer: Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """Make one optimizer update. Returns the sums of both losses over the batch before it, [2]."""
    optimizer.zero_grad(set_to_none=True)
    margin, reconstruction = network.losses(x, y)
    (margin + reconstruction).backward()
    optimizer.step()
    return torch.stack((margin.detach(), reconstruction.detach())) * len(y)


def _pass_once(network: CapsNet | LeNet5, images: Split, batch_size: int) -> None:
    """Run forward and backward once with each size that a batch will have, so that memory and libraries are ready."""
    for few in {min(batch_size, len(images)), len(images) % batch_size or batch_size}:
        margin, reconstruction = network.losses(as_floats(images.images[:few]), images.labels[:few])
        (margin + reconstruction).backward()
    network.zero_grad(set_to_none=True)


class EagerSteps:
    """Steps as PyTorch runs them, one after the other."""

    def __init__(self, network: CapsNet | LeNet5, device: torch.device) -> None:
        self.network, self.device = network, device
        if device.type == "cpu":
            self.optimizer: Optimizer = Adam(network.parameters(), lr=1e-3, **ADAM)
        else:
            self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=device.type == "cuda", **ADAM)

    def warm_up(self, images: Split, batch_size: int, steps: int) -> None:
        """Run forward and backward once with each size that a batch will have."""
        self.network.train()
        _pass_once(self.network, images, batch_size)

    def run(self, images: Split, batch_size: int, rates: Sequence[float]) -> Tensor:
        """See `Steps.run`."""
        return run_through(self.take(images, batch_size, rates))

    def take(self, images: Split, batch_size: int, rates: Sequence[float]) -> Generator[int, None, Tensor]:
        """See `Steps.take`."""
        self.network.train()
        sums = torch.zeros(2, device=self.device)
        pace = Pace(self.device)
        for step, rate in enumerate(rates):
            follow_load(self.device)
            batch = slice(step * batch_size, (step + 1) * batch_size)
            x, y = as_floats(images.images[batch]), images.labels[batch]
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            sums += _update(self.network, self.optimizer, x, y)
            if (done := pace.done(step + 1)) is not None:
                yield done
        return sums


class GraphSteps:
    """Steps that find all they need on the device, captured on CUDA. On a CPU they are not captured; tests compare them there.

    The last, smaller batch of an epoch has a graph of its own. All graphs use one pool of memory, and are captured on one stream
    of the device, which need not be the current one.
    """

    # More than seven attributes, because a captured graph reads its inputs from memory that must stay where it is.

    def __init__(self, network: CapsNet | LeNet5, device: torch.device, images: Split) -> None:
        self.network, self.device = network, device
        on_cuda = device.type == "cuda"
        self.lr = torch.tensor(1e-3, device=device)
        self.optimizer: Optimizer = torch.optim.Adam(network.parameters(), lr=self.lr, fused=True, capturable=on_cuda, **ADAM)
        self.images, self.labels = torch.empty_like(images.images), torch.empty_like(images.labels)
        self.rates = torch.empty(len(images), device=device)
        self.first, self.step = (torch.zeros((), dtype=torch.int64, device=device) for _ in range(2))
        self.sums = torch.zeros(2, device=device)
        self.pool = torch.cuda.graph_pool_handle() if on_cuda else None
        self.stream = torch.cuda.Stream(device) if on_cuda else None
        self.replays: dict[int, Callable[[], None]] = {}

    def _step_on_next(self, batch_size: int) -> None:
        """Take one step, on the next images of the epoch."""
        here = self.first + torch.arange(batch_size, device=self.device)
        x, y = as_floats(self.images.index_select(0, here)), self.labels.index_select(0, here)
        self.lr.copy_(self.rates.index_select(0, self.step.view(1)).view(()))
        self.sums += _update(self.network, self.optimizer, x, y)
        self.first += batch_size
        self.step += 1

    def _begin(self, images: Split, rates: Sequence[float]) -> None:
        """Put an epoch's images and learning rates where the steps read them."""
        self.images[: len(images)].copy_(images.images)
        self.labels[: len(images)].copy_(images.labels)
        self.rates[: len(rates)].copy_(torch.tensor(rates))
        for counter in (self.first, self.step, self.sums):
            counter.zero_()

    def warm_up(self, images: Split, batch_size: int, steps: int) -> None:
        """Capture the step, and that of the last smaller batch, if the run has enough steps to make it worthwhile.

        With fewer, only make memory and libraries ready. A device that cannot capture takes the same steps one by one, after a
        warning. Raises torch.OutOfMemoryError.
        """
        self.network.train()
        if batch_size in self.replays:
            return
        if steps < CAPTURE_FROM:
            _pass_once(self.network, images, batch_size)
            return
        for size in {batch_size, len(images) % batch_size} - {0}:
            if size <= len(images):
                try:
                    self.replays[size] = self._unharmed(partial(self._capture, images, size))
                except RuntimeError as error:
                    if lacks_memory(error):  # a capture that lacks it ends with another error
                        raise torch.OutOfMemoryError("out of memory before or in a capture") from error
                    warnings.warn(f"steps of {size} images are not captured, and slower: {error}", stacklevel=2)

    def _capture(self, images: Split, size: int) -> Callable[[], None]:
        """The replay of a captured step on so many images. Some steps are taken before, all on the first images."""
        if self.stream is None:
            return lambda: self._step_on_next(size)
        self._begin(images, [1e-3])
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.device(self.device), torch.cuda.stream(self.stream):  # restored even if a capture fails
            try:
                for _ in range(WARM_UP_STEPS):
                    self._step_on_next(size)
                    self.first.zero_()
                    self.step.zero_()
            finally:
                current.wait_stream(self.stream)
            self.optimizer.zero_grad(set_to_none=True)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                self._step_on_next(size)
        return graph.replay

    def _unharmed(self, act: Callable[[], Callable[[], None]]) -> Callable[[], None]:
        """The result of `act`, after which weights and optimizer state are as before, in the same memory."""
        parameters = list(self.network.parameters())
        kept = [p.detach().clone() for p in parameters]
        states = [{k: v.clone() for k, v in self.optimizer.state[p].items()} for p in parameters if p in self.optimizer.state]
        try:
            return act()
        finally:
            with torch.no_grad():
                for p, before in zip(parameters, kept, strict=True):
                    p.copy_(before)
                for k, p in enumerate(parameters):
                    for name, value in self.optimizer.state.get(p, {}).items():
                        value.copy_(states[k][name]) if states else value.zero_()

    def run(self, images: Split, batch_size: int, rates: Sequence[float]) -> Tensor:
        """See `Steps.run`."""
        return run_through(self.take(images, batch_size, rates))

    def take(self, images: Split, batch_size: int, rates: Sequence[float]) -> Generator[int, None, Tensor]:
        """See `Steps.take`."""
        self.network.train()
        self._begin(images, rates)
        pace = Pace(self.device)
        for step in range(len(rates)):
            size = min(batch_size, len(images) - step * batch_size)
            replay = self.replays.get(size)
            if replay is None:
                self._step_on_next(size)
            else:
                replay()
            if (done := pace.done(step + 1)) is not None:
                yield done
        return self.sums.clone()


def make_steps(network: CapsNet | LeNet5, device: torch.device, images: Split) -> Steps:
    """The steps of a network on a device: captured on CUDA, eager elsewhere. `images` are those of an epoch."""
    return GraphSteps(network, device, images) if device.type == "cuda" else EagerSteps(network, device)
