"""The command line: thin. Data on stdout; progress, warnings and hints on stderr. Heavy modules are imported where they are used."""

from __future__ import annotations

import os
import re
import sys
from typing import NoReturn

from fastrcaps_dse.cli import (  # noqa: F401  (each registers its commands)
    data_sets,
    designs,
    exploring,
    exporting,
    pages,
    predicting,
    showing,
    starting,
    storages,
    training,
    trials,
)
from fastrcaps_dse.cli.app import app
from fastrcaps_dse.cli.finishing import finish
from fastrcaps_dse.cli.log import start_log
from fastrcaps_dse.cli.streams import prepare_streams
from fastrcaps_dse.errors import InputError, MachineError, UserError, visible
from fastrcaps_dse.interruption import finish as finish_interrupted
from fastrcaps_dse.interruption import was_interrupted

ORDER = (
    *("explore", "front", "pick", "show", "trials", "export", "predict", "view", "report"),
    *("train", "retrain", "find_lr", "data_set", "init", "studies", "export_study", "clean", "doctor"),
)
"""Of the commands in --help."""
app.registered_commands.sort(key=lambda command: ORDER.index(getattr(command.callback, "__name__", "")))
for registered in app.registered_commands:
    finish(registered)


def main() -> None:
    """The entry point: every error that a person can cause or cure is two lines on stderr and an exit code."""
    start_log()
    prepare_streams()
    try:
        code = app(prog_name="fastrcaps-dse", standalone_mode=False) or 0
        if was_interrupted():  # a library has taken the interruption for itself
            finish_interrupted()
        sys.exit(code)
    except UserError as error:
        _fail(error)
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        finish_interrupted()
    except OSError as error:
        _fail(MachineError(str(error), "check free space and permissions"))
    except Exception as error:
        if was_interrupted():  # in an import, say
            finish_interrupted()
        if hasattr(error, "format_message"):  # wrong usage, in the words of Typer
            command = getattr(getattr(error, "ctx", None), "command_path", "fastrcaps-dse")
            _fail(InputError(_in_words(str(error.format_message())), f"see `{command} --help`"))
        if os.environ.get("FASTRCAPS_DEBUG"):
            raise
        _fail(UserError(f"a fault of fastrcaps-dse itself: {type(error).__name__}: {error}", "FASTRCAPS_DEBUG=1 shows where"))


def _in_words(message: str) -> str:
    """A message of Typer as a person would write it."""
    for kind, words in (("integer", "a whole number"), ("number", "a number")):
        message = re.sub(rf"Input should be a valid {kind}, .*", f"write {words}", message)
    return message.rstrip(".")


def _fail(error: UserError) -> NoReturn:
    print(f"error: {visible(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"hint: {visible(error.hint)}", file=sys.stderr)
    sys.exit(error.exit_code)
