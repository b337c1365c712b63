"""The ways to search that `benchmarks.search` compares, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.recorded import RecordedTable
from benchmarks.replay import Moment, Replay, explored, raced
from benchmarks.replay_others import oracle, plain_optuna
from benchmarks.shares import BY_EPOCH, Truth, View
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

    def run(self, table: RecordedTable, truth: Truth, seed: int) -> Outcome:
        """One search."""
        executor = self.search(table, seed, truth=truth)
        if self.racing:
            raced(executor, seed, table.seeds)
        return Outcome(traces=dict(executor.tally.traces), spent=executor.spent, thinking=executor.thinking)


def methods(table: RecordedTable, trials: int, gp_trials: int) -> dict[str, Method]:
    """Oracles; plain Optuna; the product with each sampler; on a grid with pruning and, with several seeds, racing, too."""
    found = {f"oracle, {view}": Method(search=partial(oracle, view=view), views=(view,), is_fixed=True) for view in EVERY}
    for sampler in ("tpe", "nsga2", "random", "gp"):
        search = partial(plain_optuna, sampler=sampler, trials=gp_trials if sampler == "gp" else trials)
        found[f"optuna {sampler}"] = Method(search=search, thinks_long=sampler == "gp")
    found["explore freeze-thaw"] = Method(search=partial(explored, sampler="freeze-thaw"), views=BY_EPOCH)
    samplers: tuple[Sampler, ...] = ("guided", "tpe", "nsga2", "random", "gp")
    for name in samplers:
        found[f"explore {name}"] = Method(search=partial(explored, sampler=name), thinks_long=name == "gp")
        if name != "gp" and not table.is_sample:
            found |= _variants(name, table.seeds)
    return dict(sorted(found.items(), key=lambda item: item[1].thinks_long))


def _variants(name: Sampler, seeds: int) -> dict[str, Method]:
    """A sampler with pruning and racing, which concern whole runs."""
    plain, pruned = partial(explored, sampler=name), partial(explored, sampler=name, pruning="on")
    found = {f"explore {name}, pruning on": Method(search=pruned, views=WHOLE)}
    if seeds > 1:
        found[f"explore {name}, racing"] = Method(search=plain, views=WHOLE, racing=True)
    if name == "guided":
        found[f"explore {name}, pruning safe"] = Method(search=partial(plain, pruning="safe"), views=WHOLE)
    if name == "guided" and seeds > 1:
        found[f"explore {name}, pruning on, racing"] = Method(search=pruned, views=WHOLE, racing=True)
    return found
