"""The ways to search that `benchmarks.search` compares, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.recorded import RecordedTable
from benchmarks.replay import Moment, Replay, explored, raced
from benchmarks.replay_others import oracle, plain_optuna
from benchmarks.shares import BY_EPOCH, Truth, View, shuffled
from fastrcaps_dse.problem.study_spec import Sampler

Search = Callable[..., Replay]
"""Called with (table, seed of the search) and `truth`."""
EVERY: tuple[View, ...] = ("whole", *BY_EPOCH)
WHOLE: tuple[View, ...] = ("whole",)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One search: what it had found, and when; how long it thought."""

    traces: dict[View, list[Moment]]
    spent: float  # s of training in all
    thinking: list[float]  # s of each decision


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to search."""

    search: Search
    views: tuple[View, ...] = EVERY  # in which it is recorded
    racing: bool = False
    thinks_long: bool = False  # so that it is searched with fewer times
    is_fixed: bool = False  # every search is the same

    def run(self, table: RecordedTable, truth: Truth, seed: int, *, shuffle: bool = False) -> Outcome:
        """One search; with `shuffle`, the recorded seeds of each design are in an order of its own."""
        executor = self.search(table, seed, truth=shuffled(truth, seed) if shuffle else truth)
        if self.racing:
            raced(executor, seed, table.seeds)
        return Outcome(traces=dict(executor.tally.traces), spent=executor.spent, thinking=executor.thinking)


def methods(table: RecordedTable, trials: int, gp_trials: int) -> dict[str, Method]:
    """Oracles; plain Optuna; the product with each sampler; on a grid guided with pruning and, with several seeds, racing, too."""
    found = {f"oracle, {view}": Method(search=partial(oracle, view=view), views=(view,), is_fixed=True) for view in EVERY}
    for sampler in ("tpe", "nsga2", "random", "gp"):
        search = partial(plain_optuna, sampler=sampler, trials=gp_trials if sampler == "gp" else trials)
        found[f"optuna {sampler}"] = Method(search=search, thinks_long=sampler == "gp")
    found["explore freeze-thaw"] = Method(search=partial(explored, sampler="freeze-thaw"), views=BY_EPOCH)
    samplers: tuple[Sampler, ...] = ("guided", "tpe", "nsga2", "random", "gp")
    for name in samplers:
        found[f"explore {name}"] = Method(search=partial(explored, sampler=name), thinks_long=name == "gp")
    if not table.is_sample:
        found |= _variants(table.seeds)
    return dict(sorted(found.items(), key=lambda item: item[1].thinks_long))


def _variants(seeds: int) -> dict[str, Method]:
    """The guided search with pruning and racing, which concern whole runs."""
    plain = partial(explored, sampler="guided")
    pruned = {mode: partial(plain, pruning=mode) for mode in ("safe", "on")}
    found = {f"explore guided, pruning {mode}": Method(search=search, views=WHOLE) for mode, search in pruned.items()}
    if seeds > 1:
        found["explore guided, racing"] = Method(search=plain, views=WHOLE, racing=True)
        found["explore guided, pruning on, racing"] = Method(search=pruned["on"], views=WHOLE, racing=True)
    return found
