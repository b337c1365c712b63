"""Inputs that nobody thought of, seeded, in one process: each must be answered or refused in order, in seconds, and tell no password.

A quarter each are command lines, study files, storage URLs with a secret in them, and requests to the server of the page. The number of an
input is its seed: `--parts fuzz --first NUMBER --inputs 1` repeats it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from benchmarks.soak_fuzz_inputs import NO_DATA, READS, SECRET, command_line, storage_url, study_file
from benchmarks.soak_fuzz_requests import request
from fastrcaps_dse import cli, store, trainer
from fastrcaps_dse.page.library import Library
from fastrcaps_dse.page.notes import NoteBook
from fastrcaps_dse.page.serve import PageServer, _bind
from fastrcaps_dse.page.server import News, make_app
from fastrcaps_dse.page.watch import Source, Watched
from fastrcaps_dse.store import Store
from tests.synthetic import write_study

SLOW_SECONDS = 10.0  # no input may take longer
STOPPED_SECONDS = 30  # an input that still runs is interrupted
ANSWER_SECONDS = 0.3  # without an answer, a request is taken for an incomplete one, and its sender says that nothing follows
ENVIRONMENT = {"FASTRCAPS_DEBUG": "1", "NO_COLOR": "1", "PGHOST": "127.0.0.1", "PGPORT": "1", "PGCONNECT_TIMEOUT": "2"}


@dataclass
class Found:
    """What the inputs led to."""

    inputs: Counter[str] = field(default_factory=Counter)  # by kind
    answers: Counter[str] = field(default_factory=Counter)  # exit codes, and statuses of the server
    longest: dict[str, tuple[float, int]] = field(default_factory=dict)  # seconds and input, by kind
    wrong: list[str] = field(default_factory=list)

    def took(self, kind: str, number: int, seconds: float) -> None:
        """Count an input."""
        self.inputs[kind] += 1
        self.longest[kind] = max(self.longest.get(kind, (0.0, 0)), (seconds, number))
        if seconds > SLOW_SECONDS:
            self.wrong.append(f"input {number} ({kind}): took {seconds:.1f} s")

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        longest = [{"kind": kind, "seconds": round(took, 2), "input": n} for kind, (took, n) in sorted(self.longest.items())]
        return {"inputs": dict(self.inputs), "answers": dict(self.answers), "longest": longest, "wrong": self.wrong}


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command has said, and how it ended."""

    code: int
    out: str
    err: str

    def faults(self) -> Iterator[str]:
        """What no command may say, whatever it was given."""
        if "Traceback" in self.out + self.err:
            yield "a traceback: " + " / ".join(self.err.strip().splitlines()[-4:])[-400:]
        if SECRET in self.out + self.err:
            yield "the secret is told: " + next(line for line in (self.out + self.err).splitlines() if SECRET in line)[:200]
        if self.code not in (0, 1, 2, 3):
            yield f"exit code {self.code}"
        elif self.code and "error: " not in self.err and "Usage" not in self.out and not (self.code == 3 and self.out):
            yield f"exit code {self.code} without a word"
        if any(not character.isprintable() and character not in "\n\t" for character in self.err):
            yield f"control characters on stderr: {self.err[:200]!r}"


def run(arguments: Sequence[str]) -> Said:
    """A command line in this process; what it raises is a traceback on its stderr."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    code = 0
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    given = mock.patch.object(sys, "argv", ["fastrcaps-dse", *arguments]), mock.patch.object(sys, "stdin", io.StringIO())
    with contextlib.ExitStack() as stack:
        for context in (*streams, *given):
            stack.enter_context(context)
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        except Exception:  # whatever it is, it is a finding
            traceback.print_exc(file=err)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode(errors="replace"))
    return Said(code=code, out=texts[0], err=texts[1])


def _study_file(seeded: random.Random) -> tuple[list[str], dict[str, str]]:
    Path("fuzzed.toml").write_bytes(study_file(seeded))
    return ["explore", *NO_DATA, "fuzzed.toml", *(["--dry-run"] if seeded.random() < 0.5 else [])], {}


def _storage_url(seeded: random.Random) -> tuple[list[str], dict[str, str]]:
    url, command = storage_url(seeded), seeded.choice((*READS, "explore"))
    more = {"explore": [*NO_DATA], "show": ["0"], "export-study": ["out"]}.get(command, [])
    if seeded.random() < 0.25 and "\x00" not in url:
        return [command, *more], {"FASTRCAPS_STORAGE": url}
    return [command, *more, "--storage", url], {}


COMMANDS: dict[str, Callable[[random.Random], tuple[list[str], dict[str, str]]]] = {
    "command line": lambda seeded: (command_line(seeded), {}),
    "study file": _study_file,
    "storage URL": _storage_url,
}


@contextlib.contextmanager
def _place(folder: Path, prepared: Path) -> Iterator[None]:
    """An empty folder to work in, with a study and some files that are none; gone afterwards."""
    (folder / "folder").mkdir(parents=True)
    shutil.copyfile(prepared, folder / "s.db")
    (folder / "garbage.db").write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 20)
    (folder / "empty.db").touch()
    (folder / "study.toml").write_text("trials = 3\n", encoding="utf-8")
    with contextlib.chdir(folder):
        yield
    shutil.rmtree(folder)


def _try_command(kind: str, number: int, folder: Path, prepared: Path, found: Found) -> None:
    seeded = random.Random(number)
    with _place(folder, prepared):
        arguments, environment = COMMANDS[kind](seeded)
        begun = time.monotonic()
        with mock.patch.dict(os.environ, environment):
            said = run(arguments)
        found.took(kind, number, time.monotonic() - begun)
        found.answers[f"exit code {said.code}"] += 1
        told = [str(path) for path in Path().rglob("*") if SECRET in str(path)]
    faults = [*said.faults(), *(f"the secret is in the name of a file: {name[:200]!r}" for name in told[:1])]
    found.wrong += [f"input {number} ({kind}): {fault}; given {(arguments, environment)!r:.500}" for fault in faults]


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@dataclass(kw_only=True)
class Page:
    """The server of a page, in a thread, and the lines of its log."""

    LOGS: ClassVar = ("uvicorn", "asyncio")

    server: PageServer
    port: int
    key: str  # with which notes are taken
    log: _Lines
    last: str = ""  # the status of the last answer

    def send(self, given: bytes) -> bytes:
        """The start of the answer; empty if the connection is closed without one. Raises TimeoutError if neither comes."""
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", self.port), timeout=SLOW_SECONDS) as client,
        ):
            with contextlib.suppress(ConnectionError):
                client.sendall(given)
            client.settimeout(ANSWER_SECONDS)
            with contextlib.suppress(TimeoutError):
                return client.recv(4096)
            client.shutdown(socket.SHUT_WR)
            client.settimeout(SLOW_SECONDS)
            return client.recv(4096)
        return b""

    def faults(self, given: bytes) -> Iterator[str]:
        """What is wrong with the answer to a request."""
        self.last = "none"
        try:
            answer = self.send(given)
        except TimeoutError:
            yield "no answer, and not closed"
            return
        if answer.startswith(b"HTTP/1.1 5"):
            yield f"answered {answer.splitlines()[0]!r}"
        if self.log.texts:
            yield "in the log of the server: " + " / ".join("\n".join(self.log.texts).splitlines()[-4:])[-600:]
            self.log.texts.clear()
        self.last = answer[9:12].decode(errors="replace") or "closed"


@contextlib.contextmanager
def _page(path: Path) -> Iterator[Page]:
    """The page of a study on a free port of loopback, with notes."""
    url = store.parse_url(str(path))
    ours = Store(url, read_only=True)
    study, news, bound = ours.study(), News(), _bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    first = Watched(source=Source(store=ours, study=study, objectives=study.objectives, storage=str(path)))
    book = NoteBook(store=Store(url))
    app = make_app(Library(first=first, offers_all=True), news, hosts=[f"127.0.0.1:{port}"], notes=book)
    page = Page(server=PageServer(app, news), port=port, key=book.secret, log=_Lines())
    thread = threading.Thread(target=page.server.run, kwargs={"sockets": [bound]}, daemon=True)
    for name in Page.LOGS:
        logging.getLogger(name).addHandler(page.log)
    thread.start()
    while not page.server.started:
        thread.join(0.02)
    try:
        yield page
    finally:
        page.server.should_exit = True
        thread.join(10)
        for name in Page.LOGS:
            logging.getLogger(name).removeHandler(page.log)


def _try_request(number: int, page: Page, found: Found) -> None:
    given = request(random.Random(number), f"127.0.0.1:{page.port}", page.key)
    begun = time.monotonic()
    faults = [*page.faults(given)]
    found.took("request", number, time.monotonic() - begun)
    found.answers[f"status {page.last}"] += 1
    found.wrong += [f"input {number} (request): {fault}; given {given!r:.400}" for fault in faults]


@contextlib.contextmanager
def _bounded(folder: Path) -> Iterator[None]:
    """No training, no input without an end, nothing of this user's home, and no name of a database in the environment."""

    def stop(*_: object) -> None:
        raise TimeoutError("still at work")

    def trains(*_: object, **__: object) -> None:
        raise AssertionError("a fuzzed input began to train")

    clean = {name: text for name, text in os.environ.items() if not name.startswith(("FASTRCAPS_", "COLUMNS", "XDG_"))}
    before = signal.signal(signal.SIGALRM, stop)
    try:
        environment = mock.patch.dict(os.environ, clean | ENVIRONMENT | {"HOME": str(folder)}, clear=True)
        with environment, mock.patch.object(trainer.Training, "__init__", trains):
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(folder: Path, *, first: int, inputs: int, seconds: float, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Try so many inputs from the `first` on, no further ones after so many seconds; what was found."""
    found, begun = Found(), time.monotonic()
    prepared = folder / "prepared.db"
    write_study(prepared, 6, failed=1).close()
    shutil.copyfile(prepared, folder / "page.db")
    in_threads: list[str] = []
    hook = mock.patch.object(threading, "excepthook", lambda failed: in_threads.append(repr(failed.exc_value)))
    kinds = [*COMMANDS, "request"]
    with _bounded(folder), hook, _page(folder / "page.db") as page:
        for number in range(first, first + inputs):
            if time.monotonic() > begun + seconds:
                break
            signal.alarm(STOPPED_SECONDS)
            kind = kinds[number % len(kinds)]
            if kind == "request":
                _try_request(number, page, found)
            else:
                _try_command(kind, number, folder / "cases" / str(number), prepared, found)
            found.wrong += [f"input {number} ({kind}): in a thread: {text}" for text in in_threads]
            in_threads.clear()
            if number % 500 == 499:
                say(f"{number + 1 - first} inputs, {len(found.wrong)} faults, {time.monotonic() - begun:.0f} s")
        healthy = page.send(b"GET /data HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % page.port)
        if not healthy.startswith(b"HTTP/1.1 200"):
            found.wrong.append(f"at the end the page answers {healthy[:60]!r}")
    return (
        {"numbers": [f"{first} to {first + found.inputs.total() - 1}"]}
        | found.record()
        | {"seconds": round(time.monotonic() - begun, 1)}
    )
