"""What a study would train and how long the exploration takes by the clock, from a quick probe: `explore --dry-run`."""

from __future__ import annotations

import heapq
import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fastrcaps_dse import data, trainer
from fastrcaps_dse.analysis.annealing import decay_text
from fastrcaps_dse.capsnet.memory import Load, training_bytes
from fastrcaps_dse.capsnet.sizes import parameter_count
from fastrcaps_dse.problem.rates import learning_rate, tail_start
from fastrcaps_dse.problem.schedules import FineTune
from fastrcaps_dse.problem.space import DesignPoint
from fastrcaps_dse.problem.study_spec import StudySpec
from fastrcaps_dse.problem.timelines import Timeline, build_timeline
from fastrcaps_dse.runs.devices import workers_of_processor
from fastrcaps_dse.runs.estimates import check_designs, trials_within
from fastrcaps_dse.runs.probes import Costs, Machine, probe, variant_of
from fastrcaps_dse.runs.robustness import evaluated_copies, measures_robust, seconds_of_a_copy
from fastrcaps_dse.trainer.stopwatch import GROUP_SECONDS, GROUPS, QUIET_GROUPS

UNSURE = 1.2  # times longer or shorter: what a probe and a shared machine leave open
MOST_ORDERED = 500  # designs of a space that are planned one by one


@dataclass(frozen=True, kw_only=True)
class PlannedDesign:
    """A design that a study would train, and what that is estimated to take."""

    point: DesignPoint
    params: int
    steps: int  # of one run
    seconds: float  # of one run, training only; infinite where the memory does not suffice
    whole: float  # s of one run with what is not counted as training: evaluation, files, the test
    memory: int  # bytes that one run needs at once, about
    shared: int = 0  # epochs that an earlier design has trained already


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study would train, and for how long. Seconds are by the clock, with all workers, unless said otherwise."""

    first: tuple[PlannedDesign, ...]  # the designs that are tried first
    designs: int  # how many it would try in all
    size: int | None  # of the space; None for infinite
    workers: int
    training: float  # s of training, of all runs together
    start_up: float
    measuring: float  # step times and algorithms, alone
    seconds: float  # in all; without further seeds
    low: float  # it may take between this ...
    high: float  # ... and this, with further seeds
    pruned: bool  # runs may end early, which is not counted
    further_seeds: int  # runs at most, that racing may add
    decay: str | None = None  # how far exponential decay comes, where that says something


@dataclass(frozen=True, kw_only=True)
class _Study:
    """What is known of a study before anything is planned."""

    spec: StudySpec
    machine: Machine
    images: int  # that train
    selecting: int  # images that select an epoch
    free: int  # bytes

    def timeline(self, point: DesignPoint) -> Timeline:
        return build_timeline(
            point.batch_schedule, epochs=self.spec.epochs, images=self.images, scale_decay=self.spec.scale_decay
        )

    def bytes_of(self, point: DesignPoint, size: int) -> int:
        here = self.machine
        load = Load(
            point=point,
            shape=here.dataset.shape,
            batch=min(size, self.images),
            work=trainer.work_type(here.precision),
            on_cpu=here.device.type == "cpu",
        )
        return training_bytes(load, self.images)

    def most_bytes(self, point: DesignPoint) -> int:
        return max(self.bytes_of(point, phase.batch_size) for phase in self.timeline(point).phases)


def make_plan(
    spec: StudySpec,
    *,
    data_dir: Path | None,
    device: str | None,
    precision: str | None,
    workers: int | None = 1,
    max_seeds: int = 0,
    start_up: float = 0.0,
    say: Callable[[str], None] = lambda _: None,
) -> Plan:
    """What the study would train, and how long that takes here. Probes a few steps of a few batch sizes, within some 10 s.

    Arguments:
        workers: None for as many as `explore` would have by itself.
        max_seeds: of racing.
        start_up: seconds in which a process loads its libraries.
        say: is told what is looked at.

    Raises UserErrors.
    """
    chosen = trainer.choose_device(device)
    say(f"loading {spec.dataset}")
    dataset = data.load_for(spec, data_dir)
    check_designs(spec, dataset.shape)
    train, select = trainer.split_for(dataset, spec.protocol)
    number_type = trainer.choose_precision(chosen, precision)
    machine = Machine(dataset=dataset, protocol=spec.protocol, device=chosen, precision=number_type, workers=1)
    study = _Study(spec=spec, machine=machine, images=len(train), selecting=len(select), free=trainer.room(chosen))
    study = replace(study, machine=replace(machine, workers=workers or _workers(study)))
    order = _order(spec)
    sizes = {phase.batch_size for point in order for phase in study.timeline(point).phases}
    costs = probe(order, sizes, study.machine, fits=lambda p, size: study.bytes_of(p, size) <= study.free, say=say)
    return _plan(study, costs, order, max_seeds=max_seeds, start_up=start_up)


def _workers(study: _Study) -> int:
    """As many as `explore --workers auto` would have."""
    if study.machine.device.type != "cpu" or study.spec.time != "steps":
        return len(trainer.all_like(study.machine.device))
    designs = [*study.spec.first_designs, *study.spec.space.examples()]
    return workers_of_processor([study.most_bytes(point) for point in designs], study.spec.trials)


def _order(spec: StudySpec) -> list[DesignPoint]:
    """The designs in the order in which they are planned: those to try first, then all of a small space, or some of a large one."""
    size = spec.space.size()
    rest = spec.space.designs() if size is not None and size <= min(spec.trials, MOST_ORDERED) else spec.space.examples()
    first = {point.key for point in spec.first_designs}
    return [*spec.first_designs, *(point for point in rest if point.key not in first)]


def _plan(study: _Study, costs: Costs, order: Sequence[DesignPoint], *, max_seeds: int, start_up: float) -> Plan:
    spec, workers = study.spec, study.machine.workers
    planned = _planned(study, costs, order)
    size = spec.space.size()
    designs, fewer, more = _counts(spec, planned, costs.alone)
    start = start_up * (2 if workers > 1 else 1)  # the workers' own libraries are loaded after those of this process
    few, expected, many = (_seconds_of(spec, planned, count) for count in (fewer, designs, more))
    shortest = [seconds / spec.epochs for seconds in few[0]] if spec.sampler == "freeze-thaw" else few[0]
    trained = planned[: min(designs, len(spec.first_designs))]
    measuring = _measuring(study, costs, planned[:designs])

    def clock(each: Sequence[float]) -> float:
        return start + measuring + makespan([seconds * spec.seeds for seconds in each], workers)

    further = max(0, max_seeds - spec.seeds) * designs
    racing = further * statistics.fmean(expected[1] or [0.0]) / workers
    counted = [d.seconds for d in planned if math.isfinite(d.seconds)]
    rest = statistics.fmean(counted[len(trained) :] or [0.0]) * (designs - len(trained))
    return Plan(
        first=tuple(trained),
        designs=designs,
        size=size,
        workers=workers,
        training=spec.seeds * (math.fsum(d.seconds for d in trained if math.isfinite(d.seconds)) + rest),
        start_up=start,
        measuring=measuring,
        seconds=clock(expected[1]),
        low=clock(shortest) / UNSURE,
        high=clock(many[2]) * UNSURE + racing,
        pruned=spec.pruning != "off",
        further_seeds=further,
        decay=decay_text(spec, study.images),
    )


def _counts(spec: StudySpec, planned: Sequence[PlannedDesign], alone: float) -> tuple[int, int, int]:
    """How many designs are tried: as expected, at least and at most, as the time that the study allows is for so many."""
    size = spec.space.size()
    designs = spec.trials if size is None else min(spec.trials, size)
    if spec.within is None:
        return designs, designs, designs
    seconds = {design.point.key: design.seconds * alone for design in planned}
    within = [
        min(designs, trials_within(spec, lambda point, unsure=unsure: seconds[point.key] * unsure))  # type: ignore[misc]
        for unsure in (1.0, UNSURE, 1 / UNSURE)
    ]
    return within[0], within[1], within[2]


def _seconds_of(spec: StudySpec, planned: Sequence[PlannedDesign], count: int) -> tuple[list[float], list[float], list[float]]:
    """The seconds of a run of each of so many designs, those to try first before others: at best, as expected, at worst."""
    first = [d.whole for d in planned[: min(count, len(spec.first_designs))]]
    certain = [seconds for seconds in first if math.isfinite(seconds)]
    fitting = [design for design in planned[len(spec.first_designs) :] if math.isfinite(design.whole)]
    low, middle, high = _representative(spec, fitting, count - len(first))
    return [*certain, *low], [*certain, *middle], [*certain, *high]


def makespan(seconds: Sequence[float], workers: int) -> float:
    """The seconds until all are done, if each is taken in turn by the worker that is free first."""
    free = [0.0] * workers
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def _representative(spec: StudySpec, rest: Sequence[PlannedDesign], more: int) -> tuple[list[float], list[float], list[float]]:
    """The seconds of a run of each of `more` designs that the sampler proposes: if it prefers short ones, as expected, long ones.

    Where all designs of the space are trained, they are the same.
    """
    if more <= 0 or not rest:
        return [], [], []
    whole = [design.whole for design in rest]
    if more >= len(whole):
        each = [*itertools.islice(itertools.cycle(whole), more)]
        if more == len(whole):
            return each, each, each
    low, _, high = statistics.quantiles(whole, n=4, method="inclusive") if len(whole) > 1 else [whole[0]] * 3
    expected = (low + statistics.fmean(whole)) / 2 if spec.sampler == "guided" else statistics.fmean(whole)
    return [min(low, expected)] * more, [expected] * more, [max(high, expected)] * more


# --- what is not training ---------------------------------------------------------------------------------------------


def _measuring(study: _Study, costs: Costs, designs: Sequence[PlannedDesign]) -> float:
    """The seconds in which step times are measured and algorithms chosen, while nothing trains."""
    if study.spec.time != "steps":
        return 0.0
    keys = {(variant_of(d.point), phase.batch_size): d.point for d in designs for phase in study.timeline(d.point).phases}
    seconds = 0.0
    for (_, size), point in keys.items():
        step = costs.step(point, size) * costs.alone
        if math.isfinite(step):
            seconds += costs.set_up + 4 * step + (QUIET_GROUPS + GROUPS) / 2 * max(step, GROUP_SECONDS)
    return seconds + costs.choice * len({size for _, size in keys})


def _planned(study: _Study, costs: Costs, order: Sequence[DesignPoint]) -> list[PlannedDesign]:
    """What a run of each design takes, in this order. Epochs that an earlier one has trained in the same way are not trained again."""
    spec, dataset = study.spec, study.machine.dataset
    copies = evaluated_copies(dataset, study.selecting, spec.protocol) if measures_robust(spec) else 0
    copy = seconds_of_a_copy(dataset) if copies else 0.0
    kept: set[tuple[object, ...]] = set()
    planned = []
    for point in order:
        line = study.timeline(point)
        prefixes = _prefixes(point, line)
        shared = max((count for count in range(1, spec.epochs) if prefixes[count - 1] in kept), default=0)
        kept |= {prefixes[phase.first_epoch + phase.epochs - 1] for phase in line.phases}
        epochs = [line.phase_of_epoch(epoch) for epoch in range(spec.epochs)]
        seconds = [phase.steps_per_epoch * costs.step(point, phase.batch_size) for phase in epochs]
        every = study.selecting + (
            len(dataset.test) if spec.protocol == "both" else 0
        )  # images that are evaluated after an epoch
        each_epoch = every * costs.evaluate(point) + 4 / 3 * costs.checkpoint  # and weights, a third of a checkpoint
        test = len(dataset.test) * costs.evaluate(point) if spec.protocol == "validation" else 0.0
        left = math.fsum(seconds[shared:])
        planned.append(
            PlannedDesign(
                point=point,
                params=parameter_count(point, dataset.shape),
                steps=line.total_steps,
                seconds=math.fsum(seconds),
                whole=costs.set_up
                + left
                + each_epoch * (spec.epochs - shared)
                + test
                + copies * (costs.evaluate(point) + copy),
                memory=study.most_bytes(point),
                shared=shared,
            )
        )
    return planned


def _prefixes(point: DesignPoint, line: Timeline) -> list[tuple[object, ...]]:
    """For each epoch what decides the training up to its end: runs with equal ones share these epochs.

    Of the learning rates of an epoch, three tell its shape; one that drops within the epoch has the step, too.
    """
    begun: tuple[object, ...] = (*variant_of(point), point.shift, point.flip)
    drop = tail_start(point.lr_policy.tail, line.total_steps) if isinstance(point.lr_policy, FineTune) else line.total_steps
    found = []
    for epoch in range(line.epochs):
        start, steps = line.first_step(epoch), line.phase_of_epoch(epoch).steps_per_epoch
        rates = tuple(learning_rate(point.lr_policy, start + k, line) for k in (0, steps // 2, steps - 1))
        begun = (*begun, line.phase_of_epoch(epoch).batch_size, rates, min(max(drop - start, 0), steps))
        found.append(begun)
    return found
