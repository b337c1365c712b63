"""What is asked of CUDA to capture a step, in which device and stream, and what comes of a capture that fails.

No GPU is needed: torch.cuda's device, streams and graphs are stand-ins that keep what torch documents of them, and the steps, where
they are taken, are taken on the CPU.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fastrcaps_dse.capsnet.network import CapsNet
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.data import Split
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.trainer.memory import clear_device_errors
from fastrcaps_dse.trainer.steps import CAPTURE_FROM, WARM_UP_STEPS, GraphSteps

CPU = torch.device("cpu")
OTHER = torch.device("cuda:1")  # not the current device
SHAPE = ImageShape(channels=1, height=17, width=17, classes=3)


def some_images(count: int) -> Split:
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (count, 1, 17, 17), generator=generator, dtype=torch.uint8)
    return Split(images=images, labels=torch.arange(count) % 3)


def steps_on(images: Split) -> GraphSteps:
    network = CapsNet(DesignPoint(decoder="small"), SHAPE)
    network.initialize(torch.Generator().manual_seed(1))
    return GraphSteps(network, CPU, images)


@dataclass
class Stream:
    """A stream that writes down for which other one it waits."""

    name: str
    cuda: FakeCuda = field(repr=False)

    def wait_stream(self, other: Stream) -> None:
        self.cuda.log.append(f"{self.name} waits for {other.name}")


class FakeCuda:
    """The current device and stream of torch.cuda, and the order of what was asked of it."""

    def __init__(self) -> None:
        self.current_device = torch.device("cuda:0")
        self.current_stream = Stream("current", self)
        self.log: list[str] = []
        self.ends_badly: RuntimeError | None = None

    @property
    def here(self) -> tuple[str, str]:
        return str(self.current_device), self.current_stream.name

    @contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        before, self.current_device = self.current_device, device
        try:
            yield
        finally:
            self.current_device = before

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current_stream = self.current_stream, stream
        try:
            yield
        finally:
            self.current_stream = before

    def graph(self, graph: Any, pool: object = None, stream: Stream | None = None) -> FakeCapture:
        """As torch: without a stream, the capture is on one of device 0."""
        return FakeCapture(self, f"captured in pool {pool}", stream or Stream("stream of cuda:0", self))


@dataclass
class FakeCapture:
    """As torch.cuda.graph: an error at the end of a capture comes before the stream is restored."""

    cuda: FakeCuda
    what: str
    stream: Stream

    def __enter__(self) -> None:
        self.before, self.cuda.current_stream = self.cuda.current_stream, self.stream
        self.cuda.log.append(self.what)

    def __exit__(self, *_: object) -> None:
        if self.cuda.ends_badly is not None:
            raise self.cuda.ends_badly
        self.cuda.current_stream = self.before


class FakeGraph:
    """A graph that replays nothing."""

    def replay(self) -> None: ...


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    for name in ("device", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(fake, name))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: fake.current_stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    return fake


@contextmanager
def steps_written_down(steps: GraphSteps, cuda: FakeCuda, fails_at: int | None = None) -> Iterator[None]:
    """A context in which the steps only say where they are taken; one of them may lack memory."""
    count = 0

    def step(size: int) -> None:
        nonlocal count
        count += 1
        cuda.log.append(f"step of {size} on {' '.join(cuda.here)}")
        if count == fails_at:
            raise torch.OutOfMemoryError("out of memory")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(steps, "_step_on_next", step)
        patched.setattr(steps, "device", OTHER)
        patched.setattr(steps, "stream", Stream("side", cuda))
        patched.setattr(steps, "pool", "P")
        yield


# --- devices and streams -------------------------------------------------------------------------------------------------


def test_the_stream_is_one_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "Stream", asked.append)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.optim, "Adam", lambda parameters, **_: torch.optim.SGD(parameters, lr=1e-3))
    network = CapsNet(DesignPoint(decoder="small"), SHAPE)
    with FakeTensorMode():
        images = torch.empty(2, 1, 17, 17, dtype=torch.uint8, device=OTHER)
        GraphSteps(network, OTHER, Split(images=images, labels=torch.empty(2, dtype=torch.int64, device=OTHER)))
    assert asked == [OTHER]


def test_a_step_is_warmed_up_and_captured_on_one_stream_of_its_device(cuda: FakeCuda) -> None:
    images = some_images(5)
    steps = steps_on(images)
    with steps_written_down(steps, cuda):
        steps.warm_up(images, 3, CAPTURE_FROM)
    for_each = [
        "side waits for current",
        *["step of {} on cuda:1 side"] * WARM_UP_STEPS,
        "current waits for side",
        "captured in pool P",
        "step of {} on cuda:1 side",
    ]
    sizes = list({3, 2})
    assert cuda.log == [line.format(size) for size in sizes for line in for_each]
    assert sorted(steps.replays) == [2, 3] and cuda.here == ("cuda:0", "current")


def test_a_capture_that_fails_leaves_device_and_stream_as_they_were(cuda: FakeCuda) -> None:
    images = some_images(2)
    steps = steps_on(images)
    cuda.ends_badly = RuntimeError("operation failed due to a previous error during capture")
    with steps_written_down(steps, cuda), pytest.warns(UserWarning, match="2 images are not captured.*previous error"):
        steps.warm_up(images, 2, CAPTURE_FROM)
    assert cuda.here == ("cuda:0", "current") and not steps.replays


@pytest.mark.parametrize("step", ["in the warm-up", "in the capture"])
def test_too_little_memory_is_not_a_device_that_cannot_capture(cuda: FakeCuda, step: str) -> None:
    """The end of the capture hides the error, so that only its chain tells it."""
    images = some_images(2)
    steps = steps_on(images)
    cuda.ends_badly = RuntimeError("operation failed due to a previous error during capture")
    fails_at = 1 if step == "in the warm-up" else WARM_UP_STEPS + 1
    with steps_written_down(steps, cuda, fails_at), pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        steps.warm_up(images, 2, CAPTURE_FROM)
    assert cuda.here == ("cuda:0", "current")
    assert cuda.log[-1].startswith("step" if step == "in the capture" else "current waits for side")


# --- steps that are really taken -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_a_data_set_smaller_than_the_warm_up(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """All images in one batch: one learning rate, but several steps before the capture. The weights stay as they are."""
    images = some_images(count)
    assert count < WARM_UP_STEPS
    steps = steps_on(images)
    monkeypatch.setattr(steps, "stream", Stream("side", cuda))
    before = [p.detach().clone() for p in steps.network.parameters()]
    steps.warm_up(images, count, CAPTURE_FROM)
    assert list(steps.replays) == [count]
    assert all(torch.equal(a, b) for a, b in zip(before, steps.network.parameters(), strict=True))


def test_adam_does_not_warn_of_steps_that_are_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks for a GPU and its stream, and would warn once of an optimizer that was read from a file. Warnings are errors here."""

    class NotCapturing:
        def is_capturing(self) -> bool:
            return False

    images = some_images(2)
    steps = steps_on(images)
    steps.optimizer.param_groups[0]["capturable"] = True
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "current_stream", NotCapturing)
    steps.run(images, 2, [1e-3])
    with pytest.raises(UserWarning, match="capturable=True"):
        copy.deepcopy(steps.optimizer).step()


def test_few_steps_are_prepared_without_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """One forward and backward pass with each size of a batch; nothing is captured, and nothing is left behind."""
    images = some_images(5)
    steps = steps_on(images)
    losses = steps.network.losses
    sizes: list[int] = []
    backward: list[torch.Tensor] = []

    def seen(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(y))
        margin, reconstruction = losses(x, y)
        margin.register_hook(backward.append)
        return margin, reconstruction

    monkeypatch.setattr(steps.network, "losses", seen)
    steps.warm_up(images, 3, CAPTURE_FROM - 1)
    assert sorted(sizes) == [2, 3] and len(backward) == 2
    assert not steps.replays and not steps.optimizer.state
    assert all(p.grad is None for p in steps.network.parameters())


# --- too little memory ----------------------------------------------------------------------------------------------------


def test_other_errors_of_a_device_are_not_changed() -> None:
    with pytest.raises(RuntimeError, match="illegal"), clear_device_errors():
        raise RuntimeError("an illegal memory access was encountered")
