"""Which designs the memory of the device does not suffice for: by estimate before they are trained, and by what was tried."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field

from fastrcaps_dse import trainer
from fastrcaps_dse.capsnet.memory import Load, in_words, largest_batch, training_bytes
from fastrcaps_dse.errors import InputError, TooLittleMemory
from fastrcaps_dse.problem.schedules import BatchSchedule
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.runs.context import Context

PROCESS_BYTES = 500 * 10**6  # of a worker that has loaded its libraries

logger = logging.getLogger(__name__)

Kind = tuple[str, bool, str, int]
"""Network, weight sharing, decoder, routing iterations: what decides the memory of a design beside its batch size."""


@dataclass(kw_only=True)
class MemoryGuard:
    """Refuses the designs of one study that do not fit the memory of one device."""

    context: Context
    beside: int = 1  # processes that train on the device
    bytes_of_a_run: int | None = None  # that each may take; by default what is free when it is first asked for, shared out
    refusals: dict[tuple[Kind, BatchSchedule], str | None] = field(default_factory=dict)  # by estimate
    failures: dict[str, str] = field(default_factory=dict)  # what was tried and lacked memory, by its key, with the reason
    told: set[Kind] = field(default_factory=set)
    untidy: bool = False  # something was tried, and what it allocated may not be free yet

    @property
    def room(self) -> int:
        """Bytes that a run may take."""
        if self.bytes_of_a_run is None:
            free = trainer.room(self.context.device)
            if self.beside > 1 and free < sys.maxsize:
                free = max(0, free // self.beside - PROCESS_BYTES)
            self.bytes_of_a_run = free
        return self.bytes_of_a_run

    def refusal(self, point: DesignPoint) -> str | None:
        """Why a run of a design is certain to lack memory; None where it may fit."""
        key = (_kind(point), point.batch_schedule)
        if key not in self.refusals:
            self.refusals[key] = self._estimated(point)
        return self.refusals[key]

    def _estimated(self, point: DesignPoint) -> str | None:
        size = max(phase.batch_size for phase in self.context.timeline(point).phases)
        images = self.context.study.train_images
        load = self._load(point, min(size, images))
        needed = training_bytes(load, images)
        if needed <= self.room:
            return None
        fits = largest_batch(load, images, self.room)
        advice = f"batches of up to {fits} images fit" if fits else "no batch size fits"
        free = in_words(self.room)
        return f"too little memory: batches of {size} images need about {in_words(needed)}, and {free} are free; {advice}"

    def bytes_of(self, point: DesignPoint) -> int:
        """About the bytes that a run of a design needs."""
        images = self.context.study.train_images
        return max(
            training_bytes(self._load(point, min(phase.batch_size, images)), images)
            for phase in self.context.timeline(point).phases
        )

    def _load(self, point: DesignPoint, batch: int) -> Load:
        here = self.context
        on_cpu = here.device.type == "cpu"
        return Load(point=point, shape=here.dataset.shape, batch=batch, work=trainer.work_type(here.precision), on_cpu=on_cpu)

    def admits(self, point: DesignPoint) -> bool:
        """Whether a design may fit. The first refusal of each kind of network is told."""
        refusal = self.refusal(point)
        if refusal is not None and _kind(point) not in self.told:
            self.told.add(_kind(point))
            logger.warning("%s is ruled out, and others like it: %s", point.label, refusal)
        return refusal is None

    def check(self, spec: StudySpec) -> None:
        """Raises InputError where no design of a space fits, or none of those that stand for a large or infinite one."""
        designs = spec.space.designs() if spec.space.enumerable else [*spec.first_designs, *spec.space.examples()]
        refusal = "no design fits"
        for point in designs:
            refused = self.refusal(point)
            if refused is None:
                return
            refusal = f"{point.label}: {refused}"
        raise InputError(refusal, "use smaller batches or images, weight_sharing=true, or a machine with more memory")

    # --- what was tried -------------------------------------------------------------------------------------------------

    def raise_if_tried(self, key: str) -> None:
        """Raises TooLittleMemory for what has lacked memory before in this process; else the memory is ready for a try."""
        if key in self.failures:
            raise TooLittleMemory(self.failures[key], "use smaller batch sizes or --device cpu")
        if self.untidy:
            trainer.free_memory()
            self.untidy = False

    def keep_failure(self, key: str, error: TooLittleMemory) -> None:
        """Keep what has lacked memory, so that it is not tried again."""
        self.failures[key], self.untidy = error.message, True
        logger.info("too little memory to measure: %s", key)


def _kind(point: DesignPoint) -> Kind:
    return (point.network, point.weight_sharing, point.decoder, point.routing_iterations)
