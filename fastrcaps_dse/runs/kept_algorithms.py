"""The convolution algorithms of a study's runs: measured once for a batch size on a processor, then repeated from the store."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from fastrcaps_dse.capsnet.algorithms import BY_DEFAULT, Algorithm, Algorithms, parse_algorithm
from fastrcaps_dse.errors import TooLittleMemory
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.runs.context import Context
from fastrcaps_dse.runs.memory_guard import MemoryGuard
from fastrcaps_dse.store import AlgorithmChoice, Store
from fastrcaps_dse.trainer import alone, device_name, fastest_algorithm, has_rivals, measures_algorithms, software

logger = logging.getLogger(__name__)


class KeptAlgorithms:
    """The choices of the store for the images, device and precision of one study."""

    def __init__(self, context: Context, memory: MemoryGuard | None = None) -> None:
        self.context, self.memory = context, memory or MemoryGuard(context=context)
        self.chosen: dict[int, Algorithm] = {}  # by batch size; a cache of the store

    def algorithms(self, point: DesignPoint, batch_sizes: Iterable[int]) -> Algorithms:
        """The algorithms of a design that trains with these batch sizes; measured where the store has none.

        Only a CapsNet on a CPU has a choice. Never call it while this process holds a lock of the device. Raises TooLittleMemory, and
        again without another try.
        """
        if not self._has_choice(point):
            return BY_DEFAULT
        shape = self.context.dataset.shape
        rivals = [size for size in sorted(set(batch_sizes)) if has_rivals(size, self.context.precision, shape)]
        for size in rivals:
            if size not in self.chosen:
                self.chosen[size] = parse_algorithm(self._kept(size).algorithm)
        return Algorithms(chosen={size: self.chosen[size] for size in rivals})

    def looked_up(self, point: DesignPoint, batch_size: int) -> Algorithms:
        """The algorithm of a batch size if this process has looked it up or measured it already."""
        if not self._has_choice(point) or batch_size not in self.chosen:
            return BY_DEFAULT
        return Algorithms(chosen={batch_size: self.chosen[batch_size]})

    def _has_choice(self, point: DesignPoint) -> bool:
        return point.network == "capsnet" and self.context.device.type == "cpu" and measures_algorithms()

    def _kept(self, batch_size: int) -> AlgorithmChoice:
        """The choice of the store; else measured while no other process trains here, and stored."""
        here = self.context
        shape = here.dataset.shape
        images = f"{shape.channels}x{shape.height}x{shape.width}"
        entry = (images, batch_size, here.precision, device_name(here.device), software())
        stored = here.store.algorithm_choice(*entry)
        if stored is not None:
            return stored
        key = f"convolution of {batch_size} images"
        self.memory.raise_if_tried(key)
        with alone(here.device):
            stored = here.store.algorithm_choice(*entry)  # another process may have measured it while this one waited
            if stored is not None:
                return stored
            try:
                timing = fastest_algorithm(shape, batch_size, here.precision)
            except TooLittleMemory as error:
                self.memory.keep_failure(key, error)
                raise
            measured = AlgorithmChoice(
                images=images,
                batch_size=batch_size,
                precision=here.precision,
                device=entry[3],
                software=entry[4],
                algorithm=timing.algorithm,
                seconds={str(name): seconds for name, seconds in timing.seconds.items()},
                measured=time.time(),
            )
            kept = here.store.keep_algorithm_choice(measured)
        took = ", ".join(f"{name} {seconds * 1e3:.3g} ms" for name, seconds in timing.seconds.items())
        logger.info("convolution of %d images: %s (%s)", batch_size, kept.algorithm, took)
        return kept


def describe_choices(store: Store) -> str | None:
    """The choices that a storage keeps for this software, in words, the latest device first; None where there is none."""
    devices: dict[tuple[str, str, str], list[AlgorithmChoice]] = {}
    for choice in store.algorithm_choices():
        if choice.software == software():
            devices.setdefault((choice.device, choice.precision, choice.images), []).append(choice)
    texts = []
    for (device, precision, images), choices in devices.items():
        by_size = sorted(choices, key=lambda choice: choice.batch_size)
        sizes = ", ".join(f"{choice.algorithm} for {choice.batch_size}" for choice in by_size)
        texts.append(f"{device}, {precision}, images {images}: {sizes}")
    return "; ".join(texts) or None
