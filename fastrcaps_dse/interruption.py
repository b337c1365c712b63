"""Interruptions of the command line: from the first moment on, one line that says how to continue, an exit code, and nothing left behind.

A first signal raises KeyboardInterrupt, so that what is under way ends in order. A thread hears of it at once, also while a library
computes, and ends the process where that takes too long or a second signal comes. A study can be stopped at any moment, so nothing is lost.
"""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

CODE = 130  # the exit code, whichever signal it was
GRACE_SECONDS = 2.0  # for an end in order
CONTINUED = ("explore", "train", "retrain")  # commands that go on where they were stopped
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
SHOW_CURSOR = "\x1b[?25h"


@dataclass(kw_only=True)
class _State:
    """What has happened in this process; one attribute for each thing that the thread, the handler and `main` tell each other."""

    is_heard: bool = False  # by the thread
    is_raised: bool = False  # by the handler
    is_told: bool = False
    unhurried: int = 0  # contexts that may take as long as they do
    lock: threading.Lock = field(default_factory=threading.Lock)


_state = _State()


def watch() -> None:
    """Handle signals from now on, in the main thread of a program."""
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _raise)
    sys.unraisablehook = _unless_interrupted(sys.unraisablehook)
    threading.excepthook = _unless_interrupted(threading.excepthook)
    threading.Thread(target=_listen, args=(receiver,), daemon=True, name="interruptions").start()


def ignore() -> None:
    """Let a program that is at its end come to it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def was_interrupted() -> bool:
    """Whether a signal has come, even if a library has swallowed the exception."""
    return _state.is_heard or _state.is_raised


def tell() -> None:
    """Say once that the program was interrupted, and how to continue."""
    from fastrcaps_dse.errors import visible  # not before signals are handled

    with _state.lock:
        if _state.is_told:
            return
        words = sys.argv[1:]
        text = "interrupted"
        if next((word for word in words if not word.startswith("-")), None) in CONTINUED:
            text += f"; nothing is lost. Continue with:\n  {visible(shlex.join(['fastrcaps-dse', *words]))}"
        with suppress(OSError):  # the terminal may be gone
            cursor = SHOW_CURSOR if os.isatty(2) else ""
            os.write(2, f"{cursor}\n{text}\n".encode(sys.getfilesystemencoding(), errors="replace"))
        _state.is_told = True


@contextmanager
def unhurried() -> Iterator[None]:
    """A context that a first signal lets run to its end: what a person has asked for at the end of a study."""
    _state.unhurried += 1
    try:
        yield
    finally:
        _state.unhurried -= 1


@contextmanager
def starting_processes() -> Iterator[None]:
    """A context in which to start processes that a signal of the terminal does not reach before they can say what to do with it."""
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    from multiprocessing import resource_tracker  # not before signals are handled: it loads much

    resource_tracker.ensure_running()  # or starting a process would start it, and let signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """In a process that was started in such a context: signals of the terminal are its parent's, which ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _unless_interrupted(hook: Callable[[Any], object]) -> Callable[[Any], object]:
    """The hook, which is silent about an interruption that comes where nothing can be raised."""
    return lambda said: None if issubclass(said.exc_type, KeyboardInterrupt) and was_interrupted() else hook(said)


def finish() -> NoReturn:
    """End the command line as one that was interrupted."""
    tell()
    sys.exit(CODE)


def leave() -> NoReturn:
    """End the process after that. Python itself may end it by the signal, where that came while it compiled."""
    tell()
    with suppress(BaseException):
        atexit._run_exitfuncs()
    with suppress(BaseException):
        sys.stdout.flush()
    os._exit(CODE)


def _raise(number: int, frame: FrameType | None) -> None:
    """The handler: the first signal interrupts what is under way."""
    if not _state.is_raised:
        _state.is_raised = True
        raise KeyboardInterrupt


def _listen(receiver: int) -> None:
    """Hear of the first signal, and end the process with the second, or when its time is over."""
    os.read(receiver, 1)
    _state.is_heard = True
    deadline = time.monotonic() + GRACE_SECONDS
    os.set_blocking(receiver, False)
    while True:
        with suppress(BlockingIOError):
            os.read(receiver, 1)
            break
        if time.monotonic() > deadline and not _state.unhurried:
            break
        time.sleep(0.02)
    tell()
    if "multiprocessing" in sys.modules:
        for child in sys.modules["multiprocessing"].active_children():
            child.kill()
    os._exit(CODE)
