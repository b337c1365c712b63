"""Multi-fidelity searches of other libraries on the recorded tables, in the anytime view.

Each peer runs its own scheduler or optimizer with its default settings, over the table's space with the number of epochs as fidelity. It
minimizes the logarithms of error, seconds and parameters after the epochs so far; seconds are counted as for all other searches, and
every epoch that it trains counts as found. A proposal becomes the nearest recorded design that was not begun yet. Once all are begun, the
nearest one of all, whose epochs so far cost nothing again.

- `Syne Tune MO-ASHA`: `MOASHA` of syne-tune: a random design is trained until its rung stops it.
- `NePS MO-ASHA`: `moasha` of neural-pipeline-search: random designs begin with one epoch, and are promoted from rung to rung.
- `NePS PriMO`: `primo` of neural-pipeline-search, without priors: the same at first, then Bayesian optimization of whole runs.

The libraries are no dependencies of this package. They may need older versions of others (neural-pipeline-search 0.17 works with
botorch 0.12.0 and gpytorch 1.13.0), so install them into a folder of their own and name it in PYTHONPATH. A library that is not there
is skipped, and said to be.
"""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import json
import math
import os
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

from benchmarks import record
from benchmarks.recorded import OBJECTIVES, Recorded, RecordedTable, load_table
from benchmarks.replay import Replay, make_replay
from benchmarks.search import curves_span, options, quartiles, summary
from benchmarks.search_methods import Outcome
from benchmarks.shares import BY_EPOCH, Truth, shuffled, truth_of
from benchmarks.snapping import Nearest
from benchmarks.tables import TABLES
from fastrcaps_dse.problem.notation import parse_policy, parse_schedule, to_text
from fastrcaps_dse.problem.ranges import Choice, Range
from fastrcaps_dse.problem.schedules import is_whole_number
from fastrcaps_dse.problem.space import DesignPoint, DesignSpace, make_point
from fastrcaps_dse.search.protocols import Request

RECORD = "search-peers"
ROUNDS = 5  # proposals of a search, at most, for each recorded design
ALL = 0.9999  # of the hypervolume, at which a search has found everything
FIDELITY = "epochs"
METRICS = tuple(f"log {objective.name}" for objective in OBJECTIVES)


def dimensions(space: DesignSpace) -> dict[str, Choice]:
    """The dimensions of a space by name, flat: a field counts only for the policies and schedules that have it."""
    choices: dict[str, Choice] = {
        "lr_policy": tuple(map(to_text, space.lr_policy)),
        "batch_schedule": tuple(map(to_text, space.batch_schedule)),
        "weight_sharing": tuple(map(str, space.weight_sharing)),
        "decoder": tuple(space.decoder),
    }
    return choices | dict(space.open_fields)


def point_of(space: DesignSpace, values: Mapping[str, Any]) -> DesignPoint:
    """The design of such values; those of choices are texts."""
    parts: dict[str, Any] = {
        "lr_policy": parse_policy(str(values["lr_policy"])),
        "batch_schedule": parse_schedule(str(values["batch_schedule"])),
    }
    for dimension, part in parts.items():
        parts[dimension] = space.with_fields(part, {name: values[name] for name in space.fields_of(part)})
    sharing = str(values["weight_sharing"]) == "True"
    return make_point(**parts, weight_sharing=sharing, decoder=str(values["decoder"]), network="capsnet")


@dataclass(kw_only=True)
class Seat:
    """What a peer gets of a table: a design for each proposal, and costs after its epochs."""

    table: RecordedTable
    executor: Replay
    seed: int
    designs: list[DesignPoint] = field(default_factory=list)  # by the number of the proposal
    idle: int = 0  # proposals since the last one that trained anything

    def sit(self, values: Mapping[str, Any]) -> int:
        """Take a proposal in; its number."""
        nearest = Nearest(space=self.table.around, recorded=[design.point for design in self.table.designs])
        begun = {point.key for point in self.designs}
        wanted = point_of(self.table.around, values)
        point = nearest.to(wanted, lambda other: other.key not in begun) or nearest.to(wanted, lambda _: True)
        assert point is not None
        self.designs.append(point)
        self.idle += 1
        return len(self.designs) - 1

    def train(self, number: int, until: int) -> dict[str, float]:
        """Train a proposal up to so many epochs; the costs then, by the names of the metrics."""
        point, spent = self.designs[number], self.executor.spent
        request = Request(trial=number, point=point, seed=self.seed, run_id=number, attempt=1, until=until)
        for _ in self.executor.answers(request):
            pass
        if self.executor.spent > spent:
            self.idle = 0
        design = self.executor.truth.designs[point.key]
        return costs_after(design, design.curves[self.seed % self.executor.seeds][:until])

    @property
    def is_over(self) -> bool:
        """Whether everything is found, there were many proposals, or many trained nothing any more."""
        trace, count = self.executor.tally.traces["anytime"], len(self.table.designs)
        return len(self.designs) >= ROUNDS * count or self.idle >= count or bool(trace and trace[-1].found >= ALL)


def costs_after(design: Recorded, accuracies: Sequence[float]) -> dict[str, float]:
    """The logarithms of error, seconds and parameters after these epochs."""
    accuracy, seconds, params = design.stopped_cost(accuracies)
    return dict(zip(METRICS, (math.log(100.05 + accuracy), math.log(seconds), math.log(params)), strict=True))


def take_seat(table: RecordedTable, truth: Truth, seed: int) -> Seat:
    """A seat for one search; the libraries' randomness begins with its seed."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    warnings.simplefilter("ignore")  # of the libraries
    return Seat(table=table, executor=make_replay(table, truth=truth), seed=seed)


def syne_tune(table: RecordedTable, truth: Truth, seed: int) -> Replay:
    """MO-ASHA of Syne Tune, with one worker."""
    spaces = importlib.import_module("syne_tune.config_space")
    trials = importlib.import_module("syne_tune.backend.trial_status")
    module = importlib.import_module("syne_tune.optimizer.schedulers.multiobjective.moasha")
    seat = take_seat(table, truth, seed)

    def domain(name: str, choice: Choice) -> Any:
        if not isinstance(choice, Range):
            return spaces.choice([*map(str, choice)])
        if is_whole_number(name):
            return spaces.randint(int(choice.low), int(choice.high))
        return (spaces.loguniform if choice.log else spaces.uniform)(choice.low, choice.high)

    space = {name: domain(name, choice) for name, choice in dimensions(table.around).items()}
    scheduler = module.MOASHA(space, metrics=[*METRICS], time_attr=FIDELITY, max_t=table.epochs, random_seed=seed)
    while not seat.is_over:
        with thinking(seat.executor):
            proposal = scheduler.suggest().config
        number = seat.sit(proposal)
        trial = trials.Trial(number, proposal, datetime.datetime.now())
        scheduler.on_trial_add(trial)
        for epoch in range(1, table.epochs + 1):
            result = seat.train(number, epoch) | {FIDELITY: epoch}
            with thinking(seat.executor):
                decision = scheduler.on_trial_result(trial, result)
            if decision != "CONTINUE":
                break
        scheduler.on_trial_remove(trial)
    return seat.executor


def neps(table: RecordedTable, truth: Truth, seed: int, *, algorithm: str, **settings: Any) -> Replay:
    """An algorithm of NePS, asked and told."""
    library = importlib.import_module("neps")
    seat = take_seat(table, truth, seed)

    def parameter(name: str, choice: Choice) -> Any:
        if not isinstance(choice, Range):
            return library.HPOCategorical([*map(str, choice)])
        if is_whole_number(name):
            return library.HPOInteger(int(choice.low), int(choice.high))
        return library.HPOFloat(choice.low, choice.high, log=choice.log)

    space = {name: parameter(name, choice) for name, choice in dimensions(table.around).items()}
    space[FIDELITY] = library.HPOInteger(1, table.epochs, is_fidelity=True)
    optimizer = library.AskAndTell(getattr(library.algorithms, algorithm)(library.SearchSpace(space), **settings))
    numbers: dict[str, int] = {}  # of proposals, by trial: a promotion goes on with a run
    while not seat.is_over:
        with thinking(seat.executor):
            trial = optimizer.ask()
        earlier = trial.metadata.previous_trial_id
        number = numbers[trial.metadata.id] = seat.sit(trial.config) if earlier is None else numbers[earlier]
        costs = seat.train(number, int(trial.config.get(FIDELITY, table.epochs)))
        optimizer.tell(trial.metadata.id, {"objective_to_minimize": [costs[name] for name in METRICS]})
    return seat.executor


@contextmanager
def thinking(executor: Replay) -> Iterator[None]:
    """A context whose seconds are those of a decision."""
    began = time.perf_counter()
    yield
    executor.thinking.append(time.perf_counter() - began)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A search of another library."""

    package: str
    module: str
    search: Callable[[RecordedTable, Truth, int], Replay]
    thinks_long: bool = False  # so that it is searched with fewer times

    def version(self) -> str | None:
        """The installed version; None where the library cannot be imported."""
        try:
            importlib.import_module(self.module)
            return importlib.metadata.version(self.package)
        except ImportError:
            return None

    def run(self, table: RecordedTable, truth: Truth, seed: int, *, shuffle: bool = False) -> Outcome:
        """One search, as those of `benchmarks.search_methods`."""
        executor = self.search(table, shuffled(truth, seed) if shuffle else truth, seed)
        return Outcome(traces=dict(executor.tally.traces), spent=executor.spent, thinking=executor.thinking)


of_neps = partial(Peer, package="neural-pipeline-search", module="neps")
PEERS = {
    "Syne Tune MO-ASHA": Peer(package="syne-tune", module="syne_tune", search=syne_tune),
    "NePS MO-ASHA": of_neps(search=partial(neps, algorithm="moasha")),
    "NePS PriMO": of_neps(search=partial(neps, algorithm="primo", prior_centers={}), thinks_long=True),
}


def installed(only: str) -> dict[str, str]:
    """The versions of the peers whose name has this in it; tells which ones are skipped."""
    found = {}
    for name, peer in PEERS.items():
        version = peer.version() if only in name else None
        if version is not None:
            found[name] = f"{peer.package} {version}"
        elif only in name:
            print(f"{name}: skipped, as {peer.package} is not installed (see python -m benchmarks.peers --help)")
    return found


def summed_up(table: RecordedTable, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What the searches of a peer found, with the median milliseconds of a decision, beside other processes."""
    begin, end = curves_span(table)
    decision = 1000 * float(np.median([seconds for outcome in outcomes for seconds in outcome.thinking]))
    told: dict[str, Any] = {"searches": len(outcomes), "ms_a_decision": float(f"{decision:.3g}")}
    for view in BY_EPOCH:
        told[view] = summary(outcomes, view) | {"curve": quartiles(outcomes, view, begin=begin, end=end)}
    return told


def main() -> None:
    parser = options()
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    versions = installed(asked.only)
    if not versions:
        return
    path = record.PLACE / f"{RECORD}.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if asked.only and path.exists() else {}
    found: dict[str, Any] = {"versions": earlier.get("versions", {}) | versions}
    found |= {name: earlier[name] for name in TABLES if name in earlier}
    with ProcessPoolExecutor(asked.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for table_name in asked.tables.split(","):
            table = load_table(TABLES[table_name], asked.seeds)
            truth = truth_of(table)
            of_table = found.setdefault(table_name, {"methods": {}})
            of_table["table"] = table.facts()
            for name in versions:
                count = asked.gp_searches if PEERS[name].thinks_long else asked.searches
                outcomes = [*pool.map(partial(PEERS[name].run, table, truth, shuffle=asked.shuffle), range(count))]
                of_table["methods"][name] = summed_up(table, outcomes)
                print(table_name, name, {view: of_table["methods"][name][view]["seconds_to"] for view in BY_EPOCH}, flush=True)
                record.write(RECORD, "benchmarks.peers", torch.device("cpu"), found)


if __name__ == "__main__":
    main()
