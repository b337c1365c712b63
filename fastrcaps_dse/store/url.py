"""Storage URLs, engines, and the errors of a database as one clear line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from fastrcaps_dse.errors import InputError, MachineError, UserError

DEFAULT_URL = "sqlite:///studies/fastrcaps.db"


def default_url() -> str:
    """FASTRCAPS_STORAGE, or SQLite in studies/."""
    return os.environ.get("FASTRCAPS_STORAGE") or DEFAULT_URL


EXAMPLES = "e.g. sqlite:///studies/fastrcaps.db or postgresql://USER@HOST/NAME"
SECRETS = re.compile("pass|pwd|secret|token|key", re.IGNORECASE)  # in the name of an option of a URL


def parse_url(text: str) -> URL:
    """The URL of a storage; a plain path is an SQLite file. Raises InputError, whose message tells no password."""
    if "://" not in text:
        # a URL with a slash too few would make a folder whose name has the password in it
        if re.match(r"[A-Za-z][\w+.-]+:", text) or re.search(r":.*@", text):
            raise InputError("the database is neither a path nor a URL: a URL has :// after its first word", EXAMPLES)
        text = f"sqlite:///{text}"
    try:
        url = make_url(text)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")  # the driver that the extra installs
        url.get_dialect()
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ValueError):
        raise InputError(f"{_scheme(text)} is not the URL of a database", EXAMPLES) from None
    # a password that stands where none is read would be told, as the name of a host, of a database or of a file
    is_file, rest = url.get_backend_name() == "sqlite", text.partition("://")[2]
    if is_file:
        _check_sqlite(url, may_tell=not re.search(r":[^/]*@", rest))
    elif not url.password and re.search(r":.*@", rest):
        raise InputError(
            f"the user and the password of {_scheme(text)} are not where they are read",
            f"write / as %2F and @ as %40; {EXAMPLES}",
        )
    return url


def _scheme(text: str) -> str:
    """The first word of a URL, without what may be a password."""
    word = text.partition("://")[0]
    return f"{word}://..." if re.fullmatch(r"[\w+.-]+", word) else "the text"


def _check_sqlite(url: URL, *, may_tell: bool) -> None:
    """Raises InputError for an SQLite URL that names no file, or has options that would fail later; `may_tell` its file's name."""
    if url.host or url.username or url.password or url.port:
        raise InputError("an SQLite URL names a file, no user and no host", "three slashes: sqlite:///studies/fastrcaps.db")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise InputError("the database is a file, so that a study can be continued", "e.g. sqlite:///studies/fastrcaps.db")
    if not may_tell:
        raise InputError("the name of the SQLite file has a : before an @, as a password has", "name a file without them")
    if not url.database.isprintable():
        raise InputError(f"the database {url.database!r} has characters that no file name has", "name a file")
    if url.query:
        raise InputError(
            f"an SQLite URL takes no options, got {', '.join(url.query)}", "leave out what follows the question mark"
        )


def open_url(storage: str | None) -> URL:
    """The URL that the user names, or the default one. Raises InputError."""
    return parse_url(storage or default_url())


def url_text(url: URL) -> str:
    """The URL without its password and without options that may be secret."""
    query = {name: "***" if SECRETS.search(name) else value for name, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def secrets_of(url: URL) -> list[str]:
    """The texts of a URL that must not be told."""
    values = [str(url.password)] if url.password else []
    for name, value in url.query.items():
        values += [value] if isinstance(value, str) and SECRETS.search(name) else []
        values += [*value] if isinstance(value, tuple) and SECRETS.search(name) else []
    return [value for value in values if value]


def without_password(storage: str) -> str:
    """A storage as the user named it, without a password."""
    url = make_url(storage) if "://" in storage else None
    return url_text(url) if url is not None and secrets_of(url) else storage


def sqlite_path(url: URL) -> Path | None:
    """The file of an SQLite storage."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:" else None


def runs_folder(url: URL) -> Path:
    """Where the checkpoints and weights of this storage's runs lie: beside an SQLite file, else in studies/."""
    path = sqlite_path(url)
    return path.with_suffix(".runs") if path else Path("studies") / f"{url.database or 'storage'}.runs"


def run_folder(runs: Path, run_id: int) -> Path:
    """The folder of a run, in the folder of all runs of a storage."""
    return runs / f"run-{run_id:06d}"


def attempt_folder(runs: Path, run_id: int, attempt: int) -> Path:
    """The folder of an attempt of a run, to which only its process writes. Earlier versions wrote to that of the run."""
    return run_folder(runs, run_id) / f"attempt-{attempt}" if attempt else run_folder(runs, run_id)


def weights_to_store(runs: Path, weights: Path) -> str:
    """The path of a run's weights as the database has it: relative to the folder of all runs, so that both can be moved together."""
    here, folder = weights.absolute(), runs.absolute()
    return here.relative_to(folder).as_posix() if here.is_relative_to(folder) else str(weights)


def weights_from_store(runs: Path, run_id: int, stored: str | None) -> str | None:
    """The path of a run's weights from the current directory; None if none are kept.

    Earlier versions stored it as it was seen from the directory that they trained in. What such a path says is now beside the database,
    if it was moved with its runs.
    """
    if stored is None:
        return None
    written, own = Path(stored), run_folder(runs, run_id)
    beside = own / written.name
    if written.parts[:1] == (own.name,):
        return str(runs / written)
    if beside.is_file():
        return str(beside)
    in_runs = written.parent.name == own.name and written.parent.parent.suffix == runs.suffix
    return str(beside) if in_runs and not written.is_file() else stored


@contextmanager
def clear_errors(url: URL) -> Iterator[None]:
    """Errors of the database as one clear line, without a password."""
    try:
        yield
    except (sa.exc.DBAPIError, ImportError) as error:
        raise translate(error, url) from None


def translate(error: BaseException, url: URL) -> UserError:
    """What the user can do about an error of the database."""
    text = str(getattr(error, "orig", error)).strip().splitlines()[0]
    where = sqlite_path(url) or url_text(url)
    if "not a database" in text:
        return InputError(f"{where} is not a database", "name another file with --storage")
    if "full" in text:
        return MachineError(f"the disk of {where} is full", "free space, then run the same command again: nothing is lost")
    if "locked" in text:
        return MachineError(f"{where} is locked by another program", "close it, then run the same command again")
    if isinstance(error, ImportError):
        extra = "'fastrcaps-dse[postgresql]'" if url.get_backend_name() == "postgresql" else "with the driver of this database"
        return MachineError(f"no driver for {url_text(url)}: {text}", f"pip install {extra}")
    for secret in secrets_of(url):
        text = text.replace(secret, "***")
    return MachineError(
        f"the database {where} cannot be used: {text}", "check --storage, that its folder exists and may be written"
    )


def make_engine(url: URL, *, read_only: bool = False) -> sa.Engine:
    """An engine that keeps foreign keys; `read_only`, the database itself refuses to write."""
    arguments: dict[str, Any] = {"timeout": 60} if url.get_backend_name() == "sqlite" else {}
    if read_only and (path := sqlite_path(url)):
        # not "ro": a reader that may not write cannot take back what a killed process has written in part, and reads nothing
        url = url.set(database=f"file:{quote(str(path.absolute()))}", query={"mode": "rw", "uri": "true"})
    elif read_only and url.get_backend_name() == "postgresql":
        arguments["options"] = "-c default_transaction_read_only=on"
    engine = sa.create_engine(url, connect_args=arguments)
    if url.get_backend_name() == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def _on_connect(connection: Any, _: object) -> None:
            connection.execute("PRAGMA foreign_keys = ON")
            if read_only:
                connection.execute("PRAGMA query_only = ON")

        _begin_with(engine, lambda connection: bool(connection.get_execution_options().get("takes_write_lock")))
    return engine


def begin_immediate(engine: sa.Engine) -> None:
    """Let each transaction of an SQLite engine take the write lock at once, so that no two processes act on one reading."""
    if engine.dialect.name == "sqlite":
        _begin_with(engine, lambda _: True)
        engine.dispose()


def _begin_with(engine: sa.Engine, takes_lock: Callable[[sa.Connection], bool]) -> None:
    """Begin the transactions of an SQLite engine: those that take the write lock at once, and others."""

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # sqlite3 must not begin transactions of its own

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if takes_lock(connection) else "BEGIN")
