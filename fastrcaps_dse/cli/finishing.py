"""What all commands have: --verbose and --quiet, examples in their --help, and types of options in words."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

from typer.models import ArgumentInfo, CommandInfo, OptionInfo

from fastrcaps_dse.cli.app import Command, QuietOption, VerboseOption
from fastrcaps_dse.cli.examples import EXAMPLES

WORDS = {bool: "", int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}
"""What --help calls the value of an option that names none itself."""


def finish(command: CommandInfo) -> None:
    """Give a registered command what all commands have."""
    callback = command.callback
    assert callback is not None
    name = command.name or callback.__name__.replace("_", "-")
    command.cls = Command
    command.epilog = "\n\n".join([f"e.g. {example}" for example in EXAMPLES[name]])
    command.callback = _finished(callback)


def _finished(callback: Callable[..., None]) -> Callable[..., None]:
    """The callback with the options of all commands, which it does not see itself."""
    hints = get_type_hints(callback, include_extras=True)
    parameters = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(callback).parameters.items()
    ]
    for parameter in parameters:
        _name_type(parameter.annotation)
    for name, option in (("verbose", VerboseOption), ("quiet", QuietOption)):
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option))

    @functools.wraps(callback)
    def finished(*, verbose: bool, quiet: bool, **given: Any) -> None:
        callback(**given)

    finished.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    finished.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return finished


def _name_type(annotation: Any) -> None:
    """Say in words what an option takes, where it does not say so itself."""
    kind, *extras = get_args(annotation)
    for extra in extras:
        if isinstance(extra, OptionInfo | ArgumentInfo) and extra.metavar is None:
            kinds = [k for k in (kind, *get_args(kind)) if k in WORDS]
            extra.metavar = WORDS[kinds[0]] if kinds else None
