"""Run or continue the studies of the paper, and write their records into reports/paper.

    python -m benchmarks.paper paper-mnist-tenth paper-fashion-mnist-tenth --data-dir data

The first seed of all designs comes first, then the second. It may be killed at any moment: the same command goes on after the last
epoch that was stored, and the tables of the record are renewed with each finished run. A record is what it is: record.json says which
designs and seeds are missing. On a smaller scale, with `--train-images`, `--epochs` or `--dataset`, a study has a name and a record of
its own.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.paper_record import write_figures, write_tables, write_verdicts
from benchmarks.paper_runs import How, Plan, make_plan, missing, train, trials_of
from fastrcaps_dse.errors import InputError, UserError
from fastrcaps_dse.problem.quantities import format_seconds, parse_quantity
from fastrcaps_dse.problem.space import paper_name
from fastrcaps_dse.runs.budget import start_budget
from fastrcaps_dse.search.optuna_storage import quiet_optuna
from fastrcaps_dse.search.protocols import Failed, Measured

RECORDS = Path(__file__).parent.parent / "reports" / "paper"
STORAGE = Path("studies/paper.db")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("studies", nargs="+", metavar="STUDY", help="study files, or names of those in studies/")
    options.add_argument("--train-images", type=int, help="train on so many images instead")
    options.add_argument("--epochs", type=int, help="train for so many epochs instead")
    options.add_argument("--dataset", help="another data set")
    options.add_argument("--seeds", type=int, help="go only so far now; the record still says what the study lacks")
    options.add_argument("--within", metavar="TIME", help="stop after so long, e.g. 90m; the same command goes on")
    options.add_argument("--data-dir", type=Path, help="where the data sets are")
    options.add_argument("--device", help="cuda, cuda:1 or cpu; default: a GPU if there is one")
    options.add_argument("--workers", default="auto", help="processes; default: as many as the machine has use for")
    options.add_argument("--storage", type=Path, default=STORAGE, help=f"the database; default {STORAGE}")
    options.add_argument("--out", type=Path, default=RECORDS, help="the folder of the records; default reports/paper")
    options.add_argument("--record-only", action="store_true", help="train nothing; write the records of what is there")
    return options


def say_run(plan: Plan, event: Measured | Failed) -> None:
    """One line for a run that has ended."""
    request = event.request
    what = f"{plan.name}: {paper_name(request.point) or request.point.label}, seed {request.seed}"
    if isinstance(event, Failed):
        print(f"{what}: failed: {event.reason}", flush=True)
        return
    measured = event.measurement
    values = f"{measured['acc']:.2f} % after epoch {measured.selected_epoch}, {format_seconds(measured['time'])}"
    print(f"{what}: {values}", flush=True)


def write_record(plan: Plan, out: Path) -> None:
    """The whole record of a study, as far as it is; says what is missing."""
    folder = out / plan.name
    trials = trials_of(plan)
    if not trials:
        print(f"{plan.name}: nothing is trained yet", flush=True)
        return
    write_tables(plan, folder)
    left_out = {"verdicts": write_verdicts(plan, folder), "figures": write_figures(plan, folder)}
    lacking = missing(plan, trials)
    print(f"{folder}: {'not complete: ' + '; '.join(lacking) if lacking else 'complete'}", flush=True)
    for what, why in left_out.items():
        if why:
            print(f"{plan.name}: no {what}: {why}", flush=True)


def record_studies(plans: Sequence[Plan], asked: argparse.Namespace, how: How) -> int:
    """Train, then write the records, however it ends; the exit code."""

    def heard(plan: Plan, event: Measured | Failed) -> None:
        say_run(plan, event)
        write_tables(plan, asked.out / plan.name)

    budget = start_budget(None if asked.within is None else parse_quantity("time", asked.within))
    try:
        if not asked.record_only:
            train(plans, asked.seeds, how, budget, heard)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    finally:
        for plan in plans:
            write_record(plan, asked.out)
    return 0


def run(arguments: Sequence[str] | None = None) -> int:
    """Everything; the exit code."""
    asked = parser().parse_args(arguments)
    quiet_optuna()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        workers = None if asked.workers == "auto" else int(asked.workers)
        if asked.seeds is not None and asked.seeds < 1:
            raise InputError(f"--seeds {asked.seeds}: at least 1", "leave it out for all seeds of the study file")
        scale = {"train_images": asked.train_images, "epochs": asked.epochs, "dataset": asked.dataset}
        plans = [make_plan(name, asked.storage, **scale) for name in asked.studies]
        return record_studies(plans, asked, How(data_dir=asked.data_dir, device=asked.device, workers=workers))
    except UserError as error:
        print(f"error: {error.message}", f"hint: {error.hint}" if error.hint else "", sep="\n", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(run())
