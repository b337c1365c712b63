"""What happens once a study has ended: a command of the user, a bell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastrcaps_dse.cli.app import INTERRUPTED, hint
from fastrcaps_dse.errors import NothingFits
from fastrcaps_dse.interruption import unhurried


@dataclass(kw_only=True)
class Ending:
    """What to do at the end, and how the study ended: done, budget (it is over), interrupted or failed."""

    study: str
    then: str | None = None  # a command for the user's shell
    bell: bool = False
    status: str = "done"


@contextmanager
def afterwards(ending: Ending) -> Iterator[Ending]:
    """Do what is asked for at the end, however the study ends."""
    try:
        yield ending
    except KeyboardInterrupt:
        ending.status = "interrupted"
        raise
    except NothingFits:
        ending.status = "nothing-fits"
        raise
    except BaseException as error:
        if (code := getattr(error, "exit_code", 1)) != 0:
            ending.status = "interrupted" if code == INTERRUPTED else "failed"
        raise
    finally:
        _end(ending)


def _end(ending: Ending) -> None:
    if ending.bell and sys.stderr.isatty():
        print("\a", end="", file=sys.stderr, flush=True)
    if ending.then is None:
        return
    environment = {**os.environ, "FASTRCAPS_STUDY": ending.study, "FASTRCAPS_STATUS": ending.status}
    sys.stderr.flush()
    try:
        with unhurried():
            code = _run(ending.then, environment)
    except OSError as error:
        hint(f"the command of --then cannot be run: {error.strerror or error}", always=True)
        return
    if code:
        hint(f"the command of --then ended with exit code {code}: {ending.then}", always=True)


def _run(command: str, environment: dict[str, str]) -> int:
    """Run a command in the user's shell; what it prints goes to stderr, as stdout is for data. Its exit code."""
    shell = os.environ.get("SHELL") if os.name == "posix" else None
    out = sys.stderr if hasattr(sys.stderr, "fileno") and _has_file(sys.stderr) else subprocess.DEVNULL
    return subprocess.run(
        command, shell=True, executable=shell, env=environment, stdout=out, stderr=out, check=False
    ).returncode


def _has_file(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except OSError:  # one that a program has put in its place
        return False
    return True
