"""A session with its progress shown."""

from __future__ import annotations

import shlex
import signal
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from fastrcaps_dse.cli.app import INTERRUPTED, hint

if TYPE_CHECKING:
    from fastrcaps_dse.problem.study_spec import StudySpec
    from fastrcaps_dse.session import Outcome


def run_session(
    spec: StudySpec, storage: str | None, trials: int | None, *, each_epoch: bool = False, settle: int = 0, **how: Any
) -> Outcome:
    """Run a Session, `how` being its options; an interruption prints the command that continues."""
    from fastrcaps_dse import store
    from fastrcaps_dse.cli import console
    from fastrcaps_dse.problem.quantities import counted
    from fastrcaps_dse.session import Session

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with (console.TrainingProgress if each_epoch else console.ExplorationProgress)(spec.objectives) as progress:
            session = Session(spec, store.open_url(storage), progress, **how)
            if not each_epoch:
                progress.say(
                    f"study {spec.name}: {spec.dataset}, {counted(spec.epochs, 'epoch')}, {counted(spec.seeds, 'seed')}, "
                    f"sampler {spec.sampler}, on {session.device.type} in {session.precision}"
                    + (f", {len(session.places)} workers" if len(session.places) > 1 else "")
                )
            with closing(session):
                outcome = session.run(trials)
                return replace(outcome, seeds=session.settle(settle)) if settle else outcome
    except KeyboardInterrupt:
        command = ["fastrcaps-dse", *sys.argv[1:]]
        hint(f"\ninterrupted; nothing is lost. Continue with:\n  {shlex.join(command)}")
        raise typer.Exit(INTERRUPTED) from None


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
