"""A data set small enough to train on in a test, and a terminal for the command line."""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import alembic.util
import hypothesis
import numpy as np
import pytest
import sqlalchemy as sa

os.environ["OMP_NUM_THREADS"] = (
    "1"  # of the processes that tests start, too: one run after the other, unless a test asks for more
)
if os.environ.get("PYTEST_XDIST_WORKER"):  # beside others: locks of its own
    os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="fastrcaps-tests-")
    tempfile.tempdir = None

os.environ.setdefault("FASTRCAPS_ALGORITHMS", "default")  # two storages give the same bits, whatever would be measured for each

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell that runs the tests in the background has them ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)

from fastrcaps_dse import cli, cores, data, store
from fastrcaps_dse.capsnet import sizes
from fastrcaps_dse.errors import MachineError
from fastrcaps_dse.figures import export
from fastrcaps_dse.store import Store
from fastrcaps_dse.trainer import stopwatch
from tests.browsing import Open, Serve, eventually, file_of
from tests.postgres import NoServer, Server, create_database, running_server
from tests.small_networks import SMALL
from tests.synthetic import write_study

# A run of the tests says something of the code, not of its luck or of a busy machine; `--hypothesis-profile=wide` searches for more.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile(
    "wide", max_examples=5000, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile("repeatable")


# What costs much and says nothing of the code.


@sa.event.listens_for(sa.Engine, "connect")
def leave_to_the_system(connection: Any, _: object) -> None:
    """SQLite in this process waits for no disk: no test turns off the power, and a killed process loses nothing by it."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


# Optuna's migrations, which it reads again for each database.
alembic.util.load_python_file = functools.cache(alembic.util.load_python_file)  # type: ignore[assignment]


def pytest_collection_finish() -> None:
    """Let the collector of garbage, which each run calls before it asks how much memory is free, pass over all that was imported."""
    gc.collect()
    gc.freeze()


def write_tiny(folder: Path, *, train: int = 48, test: int = 24, side: int = 17, classes: int = 3) -> Path:
    """Images of a bright bar, whose row tells the class, in noise."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    for part, count in (("train", train), ("t10k", test)):
        labels = np.arange(count, dtype=np.uint8) % classes
        images = random.integers(0, 60, (count, side, side), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[3 + 4 * int(label) : 6 + 4 * int(label), 3:-3] += 180
        data.write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        data.write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder


LONGEST = (
    "documented_commands",
    "soak",
    "worker_pool",
    "browser_views",
    "browser_page",
    "export",
    "explorer",
    "browser_plots",
    "export_plain",
    "progress",
    "predict",
    "kernels",
    "paper_benchmark",
    "shared_study",
    "browser_pick",
    "cli",
    "reference",
    "session",
    "interruption",
    "printed_figures",
    "reuse_and_racing",
    "memory",
    "trainer",
    "browser_panels",
    "browser_anytime",
    "figures_cli",
    "joining",
    "moved_runs",
    "browser_accessibility",
    "browser_table",
    "optuna_tools",
    "network_api",
    "network",
    "cores",
    "interrupted",
    "device_locks",
    "browser_ranges",
)
"""Files of tests that take longest: they come first, so that the workers end together."""


def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores: some tests wait for a process of theirs, or for a browser."""
    return cores.available_cores() + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(autouse=True)
def quick_stopwatch(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step time of a few milliseconds is enough where nobody reads it."""
    monkeypatch.setattr(stopwatch, "GROUP_SECONDS", 0.01)
    defaults = stopwatch.measure_step.__kwdefaults__
    assert defaults is not None and defaults["groups"] == stopwatch.GROUPS
    monkeypatch.setitem(defaults, "groups", 1)


@pytest.fixture
def small_capsnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """CapsNets in this process are small: for tests of what happens around the training.

    By the test's own monkeypatch, so that what the test itself changes is undone in order.
    """
    for name, value in SMALL.items():
        monkeypatch.setattr(sizes, name, value)


@pytest.fixture(scope="session")
def one_onnx_registry() -> Iterator[None]:
    """PyTorch reads the source of all ONNX operators for each file that it writes; here it does so once."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with mock.patch.object(ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib))):
        yield


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The command line in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    for name in ("FASTRCAPS_STORAGE", "FASTRCAPS_RUNS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr("sys.argv", ["fastrcaps-dse", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capsys.readouterr()
        return Answer(code=int(exit_.value.code or 0), out=out, err=err)

    return run


@pytest.fixture(scope="session")
def browser() -> str:
    """A browser that draws; without one the test is skipped, unless it is required."""
    try:
        return export.find_browser()
    except MachineError:
        if os.environ.get("FASTRCAPS_BROWSER_TESTS") == "required":
            raise
        pytest.skip("no browser is installed")


# --- PostgreSQL ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A server for all tests of this process, started when the first one asks for it."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'fastrcaps-dse[postgresql]'")
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running_server())
        except NoServer as error:
            pytest.skip(str(error))
        yield server


@pytest.fixture
def postgresql(request: pytest.FixtureRequest) -> store.URL:
    """The URL of an empty database in PostgreSQL."""
    if named := os.environ.get("FASTRCAPS_POSTGRESQL"):
        return create_database(store.parse_url(named), f"fastrcaps_{os.getpid()}_{time.monotonic_ns()}")
    server: Server = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> store.URL:
    """The URL of an empty storage, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        return store.parse_url(str(tmp_path / "s.db"))
    url: store.URL = request.getfixturevalue("postgresql")
    return url


# --- the page in a real browser -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium(browser: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
        launched = playwright.chromium.launch(executable_path=browser, args=options)
        yield launched
        launched.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server with the arguments of `Server`, until the pages of `open_page` are closed: a page asks its server all the time."""
    from tests.serving import Server

    with ExitStack() as stack:
        yield lambda *what, **how: stack.enter_context(Server(*what, **how))


@pytest.fixture
def open_page(chromium: Any, serve: Serve) -> Iterator[Open]:
    """Opens an address and waits for the page; at the end no page has said an error, or shown a dialog.

    It asks for `serve`, so that its pages are closed before their servers end.
    """
    said: list[str] = []
    expected: list[str] = []  # in what a browser says itself, not the page
    contexts: list[Any] = []

    def open_(address: str, *, width: int = 1280, height: int = 900, **how: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **how)
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.goto(address)
        eventually(lambda: bool(page.evaluate("window.complete")))
        return page

    open_.expected = expected  # type: ignore[attr-defined]
    yield open_
    for context in contexts:
        context.close()
    assert not [text for text in said if not any(part in text for part in expected)], said


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Store, str]]:
    """A study by its traits, and the address of its file; each made once."""
    made: dict[str, tuple[Store, str]] = {}

    def study(designs: int = 40, **how: Any) -> tuple[Store, str]:
        key = json.dumps([designs, how])
        if key not in made:
            place = tmp_path_factory.mktemp("page")
            ours = write_study(place / "s.db", designs, **how)
            (place / "s.html").write_text(file_of(ours), encoding="utf-8")
            made[key] = ours, f"file://{place / 's.html'}"
        return made[key]

    return study
