"""What a process of the training benchmark does: it holds one form of one network, and trains and evaluates it when asked."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import torch

from benchmarks.yardstick import YARDSTICKS, CannotCompile, PlainTraining, make_yardstick
from fastrcaps_dse import data
from fastrcaps_dse.capsnet.algorithms import BY_DEFAULT, Algorithm, Algorithms
from fastrcaps_dse.capsnet.network import CapsNet, Precision, build_network
from fastrcaps_dse.capsnet.sizes import ImageShape
from fastrcaps_dse.problem.rates import learning_rate
from fastrcaps_dse.problem.schedules import FixedBatch
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.timelines import build_timeline
from fastrcaps_dse.trainer import Training, alone, epoch_images, fastest_algorithm, measures_algorithms
from fastrcaps_dse.trainer.images import as_floats

VARIANTS: dict[str, tuple[bool, Literal["full", "small"]]] = {
    "full": (False, "full"),
    "small": (False, "small"),
    "ws": (True, "full"),
    "ws+small": (True, "small"),
}
EPOCH_IMAGES = 60_000
EVALUATED = 500  # images of one timing of the evaluation
PROFILED = 14  # rows of a profile
NAP = 0.05  # s between looks at whether a process lives


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one process measures."""

    variant: str
    batch_size: int
    form: str  # a yardstick, or the precision of the trainer
    device: str
    steps: int  # of one timing
    evaluated: int = EVALUATED  # images of one timing


class ProcessLost(Exception):
    """A process of the benchmark has died, or did not answer in time."""


def design(variant: str, batch_size: int) -> DesignPoint:
    """The design with which a variant is timed."""
    weight_sharing, decoder = VARIANTS[variant]
    return DesignPoint(weight_sharing=weight_sharing, decoder=decoder, batch_schedule=FixedBatch(size=batch_size))


def chosen_algorithms(shape: ImageShape, batch_size: int, precision: Precision, device: torch.device) -> Algorithms:
    """The convolution algorithms with which a run of this batch size trains on this machine."""
    if device.type != "cpu" or not measures_algorithms():
        return BY_DEFAULT
    with alone(device):
        return Algorithms(chosen={batch_size: fastest_algorithm(shape, batch_size, precision).algorithm})


class Form:
    """A form with its images. Each of its acts waits for the device at its end."""

    def __init__(self, case: Case) -> None:
        """Raises CannotCompile for the compiled form where that does not work."""
        self.case, self.device = case, torch.device(case.device)
        dataset = data.load("mnist-sample")
        few = case.batch_size * case.steps
        chosen = torch.arange(few) % len(dataset.train)
        self.images = dataset.train.subset(chosen).to(self.device)
        self.evaluated = dataset.test.subset(torch.arange(case.evaluated)).to(self.device)
        self.epoch = 0
        self.algorithm: Algorithm | None = None  # of the convolutions, where one was chosen
        point = design(case.variant, case.batch_size)
        line = build_timeline(point.batch_schedule, epochs=1, images=few)
        self.rates = [learning_rate(point.lr_policy, step, line) for step in range(case.steps)]
        self.compile_seconds = self._warm_up(point, dataset)

    def _warm_up(self, point: DesignPoint, dataset: data.DataSet) -> float:
        """Make the training, and prepare it for the batches; the seconds of compilation."""
        size = self.case.batch_size
        self.whole: Training | PlainTraining
        if self.case.form not in YARDSTICKS:
            precision: Any = self.case.form
            algorithms = chosen_algorithms(dataset.shape, size, precision, self.device)
            self.algorithm = algorithms.chosen.get(size)
            self.whole = Training(
                point, 0, dataset, epochs=1, protocol="paper", device=self.device, precision=precision, algorithms=algorithms
            )
            self.whole.warm_up(size, steps=EPOCH_IMAGES // size)
            return 0.0
        network = build_network(point, dataset.shape)
        network.initialize(torch.Generator().manual_seed(0))
        assert isinstance(network, CapsNet)
        self.whole = make_yardstick(self.case.form, network, self.device)
        return self.whole.prepare(as_floats(self.images.images[:size]), self.images.labels[:size])

    def train(self) -> None:
        """Take the steps of one timing."""
        self.epoch += 1
        shifted = epoch_images(self.images, 0, self.epoch, 2)
        if isinstance(self.whole, Training):
            self.whole.train_on(shifted, self.case.batch_size, self.rates).tolist()
            return
        for step, rate in enumerate(self.rates):
            batch = slice(step * self.case.batch_size, (step + 1) * self.case.batch_size)
            self.whole.step(as_floats(shifted.images[batch]), shifted.labels[batch], rate)

    @torch.no_grad()
    def evaluate(self) -> None:
        """Classify the images of one timing."""
        if isinstance(self.whole, Training):
            self.whole.accuracy(self.evaluated)
            return
        for start in range(0, len(self.evaluated), self.case.batch_size):
            images = self.evaluated.images[start : start + self.case.batch_size]
            self.whole.network.scores(as_floats(images)).argmax(1).sum().item()

    def profile(self) -> str:
        """The operators that take most of the steps of one timing, as a table."""
        with torch.profiler.profile() as profiled:
            self.train()
        key = "self_cuda_time_total" if self.device.type == "cuda" else "self_cpu_time_total"
        return str(profiled.key_averages().table(sort_by=key, row_limit=PROFILED, max_name_column_width=40))


def forget_peak(device: str) -> None:
    """Begin to measure the peak of memory anew, where the system can."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as peak:
        peak.write("5")


def peak_bytes(device: str) -> int:
    """The most memory of this process, in bytes: that of its tensors on a GPU, else all of it."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    with open("/proc/self/status", encoding="ascii") as status:  # of this process alone; ru_maxrss counts its parent's too
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def serve(case: Case, channel: Connection) -> None:
    """Say ("ready", seconds of compilation) or ("skipped", why); then do what is asked, and answer with the seconds it took."""
    with tempfile.TemporaryDirectory() as cache, contextlib.suppress(EOFError):  # EOFError: nobody listens any more
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # so that compilation is timed, not the reading of an earlier one
        try:
            form = Form(case)
        except CannotCompile as error:
            channel.send(("skipped", str(error)))
            return
        if case.form == "compiled":
            forget_peak(case.device)  # of the compiler
        channel.send(("ready", form.compile_seconds))
        acts: dict[str, Callable[[], Any]] = {
            "train": form.train,
            "evaluate": form.evaluate,
            "memory": lambda: peak_bytes(case.device),
            "profile": form.profile,
            "algorithm": lambda: form.algorithm,
        }
        while (asked := channel.recv()) is not None:
            start = time.perf_counter()
            answer = acts[asked]()
            channel.send((time.perf_counter() - start, answer))


class Worker:
    """A process that serves one case. `end` is the moment of time.monotonic() from which it is not waited for any more."""

    def __init__(self, case: Case, end: float) -> None:
        self.case, self.end = case, end
        self.skipped: str | None = None
        self.compile_seconds = 0.0
        context = multiprocessing.get_context("spawn")
        self.channel, other = context.Pipe()
        self.process = context.Process(target=serve, args=(case, other), daemon=True)
        self.process.start()
        other.close()

    def wait(self) -> None:
        """Wait until it is ready, or skips its case. Raises ProcessLost."""
        said, about = self._heard()
        if said == "skipped":
            self.skipped = about
        else:
            self.compile_seconds = about

    def ask(self, what: str) -> tuple[float, Any]:
        """(seconds that it took, answer). Raises ProcessLost."""
        self.channel.send(what)
        answer: tuple[float, Any] = self._heard()
        return answer

    def _heard(self) -> Any:
        while not self.channel.poll(NAP):
            if time.monotonic() > self.end:
                self.stop(now=True)
                raise ProcessLost(f"{self.case.form} did not answer in time")
        try:
            return self.channel.recv()
        except (EOFError, OSError):
            self.process.join()
            raise ProcessLost(f"the process of {self.case.form} died, exit code {self.process.exitcode}") from None

    def stop(self, *, now: bool = False) -> None:
        """End the process: after what it does, or `now`."""
        with contextlib.suppress(OSError):
            self.channel.send(None)
        if now:
            self.process.terminate()
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
